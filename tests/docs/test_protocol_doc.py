"""docs/protocol.md is the wire as it is: its examples decode, and its tables are complete."""

import ast
import importlib
import json
import re
from typing import Any

import msgspec
import pytest

from reunite.core.principal import CLAIM_VALUES_MAX
from reunite.core.values import DECIMAL_LENGTH_MAX, JSON_DEPTH_MAX
from reunite.engine.parse import parse_push
from reunite.engine.tables import Tables
from reunite.engine.undo import UNDO_CHANGES_MAX
from reunite.engine.view import ERASURES_TOLD_MAX
from reunite.protocol import limits, version
from reunite.protocol.codec import decode, encode
from reunite.protocol.problem import codes
from reunite.protocol.push import PushRequest
from reunite.protocol.register import RegisterAnswer
from reunite.protocol.routes import PROTOCOL_HEADER, ROUTES
from reunite.replica.http import ANSWER_BYTES_MAX
from reunite.server import limits as server_limits
from reunite.server.sealed.door import HELLO_BYTES_MAX
from tests.docs.files import ROOT, project_files
from tests.unit.test_protocol_guard import message_types

PAGE = ROOT / "docs" / "protocol.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- message: (\w+) -->\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = [(name, body) for name, body in EXAMPLE.findall(TEXT)]
MESSAGES = {message.__name__: message for message in message_types()}

# What a domain package contributes to the messages: parts of a table's schema.
SCHEMA_TYPES = ("TableSchema", "Column", "ForeignKey", "Unique")


def is_within(part: Any, whole: Any) -> bool:
    """Whether everything in `part` stands in `whole`, which may have more fields."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_within(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(is_within, part, whole))
    return bool(part == whole)


def code_words() -> set[str]:
    """Everything that stands in backticks outside of the examples."""
    return set(re.findall(r"`([^`\n]+)`", EXAMPLE.sub("", TEXT)))


def rows_of_tables() -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("|") and not line.startswith("| ---")
    ]


@pytest.mark.parametrize(("name", "body"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_is_such_a_message(name: str, body: str) -> None:
    message = decode(body.encode(), MESSAGES[name])
    assert is_within(json.loads(body), json.loads(encode(message))), "a field is not the message's"


def test_every_json_block_is_an_example_with_a_message() -> None:
    assert len(EXAMPLES) == TEXT.count("```json")


def test_every_message_of_the_routes_has_an_example() -> None:
    shown = {name for name, _ in EXAMPLES}
    for route in ROUTES.values():
        assert route.answer.__name__ in shown
        assert route.request is None or route.request.__name__ in shown
    assert "Problem" in shown


def test_the_push_fits_the_schema_that_was_registered() -> None:
    """The engine's own door takes the example."""
    by_name = dict(reversed(EXAMPLES))
    registered = decode(by_name["RegisterAnswer"].encode(), RegisterAnswer)
    request = decode(by_name["PushRequest"].encode(), PushRequest)
    tables = Tables()
    tables.schemas = {schema.name: schema for schema in registered.tables}
    parsed = parse_push(request, tables, now_ms=2**47)
    assert parsed.faults == {}
    assert [change.n for group in parsed.groups for change in group.changes] == [
        43,
        44,
        45,
        46,
        47,
        48,
    ]


def test_every_field_of_every_message_is_explained() -> None:
    schema_types = [
        getattr(importlib.import_module("reunite.core.schema"), name) for name in SCHEMA_TYPES
    ]
    words = code_words()
    missing = {
        f"{message.__name__}.{field.encode_name}"
        for message in [*MESSAGES.values(), *schema_types]
        for field in msgspec.structs.fields(message)
        if field.encode_name not in words
    }
    assert missing == set()


def test_every_route_and_header_is_named() -> None:
    for route in ROUTES.values():
        assert f"`{route.method} {route.path}`" in TEXT
    assert f"`{PROTOCOL_HEADER}`" in TEXT


def test_every_code_stands_with_its_status() -> None:
    told: dict[str, set[str]] = {}
    for names, *cells in rows_of_tables():
        if len(cells) == 2 and re.fullmatch(r"\d{3}(, \d{3})*", cells[0]):
            for code in re.findall(r"`([a-z-]+)`", names):
                told.setdefault(code, set()).update(cells[0].split(", "))
    missing = {
        code for code, kind in codes().items() if str(kind.status) not in told.get(code, set())
    }
    assert missing == set()
    assert set(told) == set(codes()), "no code is told that does not exist"


def test_every_rejection_code_is_told() -> None:
    found: set[str] = set()
    for path in (ROOT / "src" / "reunite" / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "GroupRejectedError":
                code = node.args[1]
                if isinstance(code, ast.Constant):
                    found.add(code.value)
    assert "parent-deleted" in found, "this test no longer finds where groups are rejected"
    assert found - code_words() == set()


def test_every_limit_stands_with_its_value() -> None:
    told = {
        cells[0].strip("`"): int(cells[1].replace(",", ""))
        for cells in rows_of_tables()
        if re.fullmatch(r"`[A-Z_]+`", cells[0])
    }
    limits_by_name = {
        name: value
        for module in (limits, server_limits)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int)
    }
    elsewhere = {
        "ANSWER_BYTES_MAX": ANSWER_BYTES_MAX,
        "CLAIM_VALUES_MAX": CLAIM_VALUES_MAX,
        "UNDO_CHANGES_MAX": UNDO_CHANGES_MAX,
        "JSON_DEPTH_MAX": JSON_DEPTH_MAX,
        "DECIMAL_LENGTH_MAX": DECIMAL_LENGTH_MAX,
        "ERASURES_TOLD_MAX": ERASURES_TOLD_MAX,
        "HELLO_BYTES_MAX": HELLO_BYTES_MAX,
    }
    assert told == limits_by_name | elsewhere


def test_every_limit_that_an_error_names_is_told() -> None:
    named = {
        keyword.value.value
        for path in project_files("src/reunite/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "limit"
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    assert "UNDO_CHANGES_MAX" in named, "this test no longer finds where limits are named"
    told = {cells[0].strip("`") for cells in rows_of_tables()}
    assert named - told == set()


def test_every_version_is_told_as_in_its_history() -> None:
    history = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (version.__doc__ or "").splitlines()
        if line.strip().startswith("|")
    ]
    assert [row for row in rows_of_tables() if row in history] == history
