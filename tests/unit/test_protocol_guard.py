"""The wire does not change by accident: a sum of all message schemas is pinned to each version.

`python -m tests.unit.test_protocol_guard` writes the sum of the current version, unless a release
has been made with it. Docstrings do not count: they may be improved at any time.
"""

import hashlib
import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import reunite.protocol
from reunite.protocol import version
from reunite.protocol.routes import Route
from reunite.protocol.version import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN

PINS = Path(__file__).with_name("protocol_versions.json")
COMMAND = "python -m tests.unit.test_protocol_guard"

# Structs of the protocol package that describe the wire and never travel on it.
NOT_MESSAGES = {"Kind", Route.__name__}


def message_types() -> list[type[msgspec.Struct]]:
    """Every struct that is defined in a module of the protocol, by name."""
    found: dict[str, type[msgspec.Struct]] = {}
    for module_info in pkgutil.iter_modules(reunite.protocol.__path__, "reunite.protocol."):
        module = importlib.import_module(module_info.name)
        found |= {
            name: value
            for name, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, msgspec.Struct)
            and value.__module__ == module.__name__
            and name not in NOT_MESSAGES
        }
    return [found[name] for name in sorted(found)]


def without_descriptions(schema: Any, *, holds_names: bool = False) -> Any:
    """The schema without the prose of docstrings; a property called `description` stays."""
    if isinstance(schema, dict):
        return {
            name: without_descriptions(value, holds_names=name == "properties")
            for name, value in schema.items()
            if holds_names or name != "description"
        }
    if isinstance(schema, list):
        return [without_descriptions(entry) for entry in schema]
    return schema


def wire_sum() -> str:
    _, schemas = msgspec.json.schema_components(message_types())
    canonical = json.dumps(without_descriptions(schemas), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def pins() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads(PINS.read_text(encoding="utf-8"))
    return loaded


def test_the_wire_is_that_of_its_version() -> None:
    pin = pins().get(str(PROTOCOL_VERSION))
    if pin is not None and pin["sha256"] == wire_sum():
        return
    if pin is None or not pin["is_released"]:
        pytest.fail(
            f"The messages of protocol version {PROTOCOL_VERSION} changed, or have no pin yet. "
            f"Mend docs/protocol.md and src/reunite/protocol/version.py, then run `{COMMAND}`."
        )
    pytest.fail(
        f"The messages changed, but protocol version {PROTOCOL_VERSION} has been released. Raise "
        "PROTOCOL_VERSION in src/reunite/protocol/version.py, give it a line in the history "
        f"there, keep answering the version before, mend docs/protocol.md, then run `{COMMAND}`."
    )


def test_every_version_has_a_line_of_history_and_a_pin() -> None:
    lines = [line for line in (version.__doc__ or "").splitlines() if line.strip()[:1] == "|"]
    numbers = [line.strip().strip("|").split("|")[0].strip() for line in lines]
    every = [str(number) for number in range(1, PROTOCOL_VERSION + 1)]
    assert numbers == ["version", *every], "one line a version, in version.py's docstring"
    assert list(pins()) == every
    assert 1 <= PROTOCOL_VERSION_MIN <= PROTOCOL_VERSION


def test_all_messages_of_the_routes_are_guarded() -> None:
    from reunite.protocol.routes import ROUTES

    guarded = {message.__name__ for message in message_types()}
    for route in ROUTES.values():
        assert route.answer.__name__ in guarded
        assert route.request is None or route.request.__name__ in guarded
    assert "Problem" in guarded


def test_a_field_called_description_counts() -> None:
    schema = {"description": "prose", "properties": {"description": {"description": "prose"}}}
    assert without_descriptions(schema) == {"properties": {"description": {}}}


def write_pin() -> None:
    """Pin the current version's sum. Refuses for a version that has been released."""
    known = pins() if PINS.exists() else {}
    number = str(PROTOCOL_VERSION)
    if known.get(number, {}).get("is_released", False):
        raise SystemExit(f"Version {number} has been released: raise PROTOCOL_VERSION first.")
    known[number] = {"sha256": wire_sum(), "is_released": False}
    PINS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    print(f"pinned version {number}")


if __name__ == "__main__":
    write_pin()
