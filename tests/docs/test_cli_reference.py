"""docs/reference/cli.md names every command, argument and option, as they are."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from docs.generate_reference import pages
from reunite.cli.app import app
from tests.docs.files import ROOT

TEXT = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(get_command(app), "reunite"))


def section(path: str) -> str:
    """What the page says of a command, up to the next heading."""
    return (TEXT + "\n## ").partition(f"\n## {path}\n")[2].partition("\n## ")[0]


def test_page_is_what_the_commands_say() -> None:
    assert pages()["cli.md"] == TEXT, "run `make docs`"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_parameter_of_a_command_is_there(path: str) -> None:
    told = section(path)
    assert told, f"no section for `{path}`: run `make docs`"
    for parameter in COMMANDS[path].params:
        for name in (
            parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        ):
            assert name in told


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_parameter_says_what_it_is_for(path: str) -> None:
    assert COMMANDS[path].help, path
    silent = [parameter.name for parameter in COMMANDS[path].params if not parameter.help]
    assert silent == []


def test_json_is_everywhere() -> None:
    """Groups print nothing themselves, and the demo is a story."""
    without = {
        path
        for path, command in COMMANDS.items()
        if not hasattr(command, "commands") and "--json" not in section(path)
    }
    assert without == {"reunite demo"}
