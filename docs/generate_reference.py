"""Writes the pages of docs/reference/ that are read from the code; `make docs` runs it.

    cli.md       the commands, their arguments and options, from the typer application
    errors.md    the error tree: code, meaning and next step, from the classes' docstrings

The rule         a generated page is never edited; tests fail when it is not what this prints.
"""

# ruff: noqa: E501 — a sentence of a page stands on one line

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from reunite.cli.app import app
from reunite.cli.default_command import DEFAULT_COMMAND, DefaultCommandGroup
from reunite.cli.failures import COMMAND_CODES
from reunite.errors import LimitExceededError, ReuniteError
from reunite.protocol.problem import CODES_OF, HTTP_KINDS, KINDS

FOLDER = Path(__file__).parent / "reference"
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z`])")


def pages() -> dict[str, str]:
    """Each generated page by its file's name."""
    return {"cli.md": cli_page(), "errors.md": errors_page()}


# --- The command line -----------------------------------------------------------------------------

_CLI_HEAD = """# The command line

<!-- Made from the commands by `make docs`; do not edit. -->

`reunite COMMAND --help` shows the same in the terminal.

With `--json`, stdout has one JSON object, or one a line, and prose goes to stderr.
Colours, boxes and progress bars appear only on a terminal; one that is too narrow for a table gets lists.
A table shortens long values and says their size (`Once upon a time… (1.2 MB)`); `--json` has them whole.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | not done; one line on stderr says why and what to do, and begins with the error's [code](errors.md) |
| 2 | the command line is wrong |
| 75 | the hub cannot be reached; nothing is lost, try later |

The token of a hub is looked for in `--token`, then in the variable `REUNITE_TOKEN`, then in the file `FILE-token` beside the replica.
That file is written when a token was given with `--token` or somebody logged in with `--user`, and only its owner may read it.
The token is never in the replica itself, which is copied and backed up, and no command but `serve` and `token create` prints one.
"""


def cli_page() -> str:
    """docs/reference/cli.md."""
    return _CLI_HEAD + "".join(f"\n{part}\n" for part in _commands(get_command(app), ()))


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    path = (*path, command.name)
    yield "\n\n".join(_command_parts(command, path))
    for name, child in getattr(command, "commands", {}).items():
        child.name = name
        yield from _commands(child, path)


def _command_parts(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    yield f"## {' '.join(path)}"
    yield f"```text\n{_usage(command, path)}\n```"
    if command.help:
        yield "\n\n".join(_lines(part) for part in inspect.cleandoc(command.help).split("\n\n"))
    rows = [_row(parameter) for parameter in command.params if not parameter.hidden]
    if rows:
        yield "| | | default |\n| --- | --- | --- |\n" + "\n".join(rows)
    if isinstance(command, DefaultCommandGroup):
        yield f"Without the name of a command, `{DEFAULT_COMMAND}` is meant."


def _usage(command: Any, path: tuple[str, ...]) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [*path, "[OPTIONS]"]
    words += [p.metavar if p.required else f"[{p.metavar}]" for p in arguments]
    if hasattr(command, "commands"):
        words.append("COMMAND …")
    return " ".join(words)


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if is_option else parameter.metavar
    if is_option and not parameter.is_flag:
        name += f" {parameter.metavar or 'VALUE'}"
    help_text = (parameter.help or "").replace("|", "\\|")
    if parameter.envvar:
        help_text += f" Also from the variable `{parameter.envvar}`."
    default = "" if parameter.default in (None, "", False) else f"`{parameter.default}`"
    return f"| `{name}` | {help_text} | {'required' if parameter.required else default} |"


def _lines(paragraph: str) -> str:
    """One sentence per line."""
    return "\n".join(_SENTENCE_END.split(" ".join(paragraph.split())))


# --- Errors ---------------------------------------------------------------------------------------

_ERRORS_HEAD = """# Errors

<!-- Made from src/reunite/errors.py by `make docs`; do not edit. -->

Every error that reunite raises on purpose is a `ReuniteError`.
Its `code` is stable, and what programs compare; its message is for people and says what to do next.
The command line prints both on one line, and the [protocol](../protocol.md#problems) sends both as a problem with the status that is given here.

The classes form a tree; to catch a class is to catch those below it.
A pushed change that the hub does not take is no error: it is [parked](../howto/your-first-sync.md#when-a-change-is-rejected) with a code of its own, which the [protocol](../protocol.md#pushing) lists.

| class | code | status | meaning | next step |
| --- | --- | --- | --- | --- |
"""

_HTTP_HEAD = """
## Answers without a class

These are answered before a request reaches the hub's engine.
A replica raises the class that fits their status, with this code.

| code | status | meaning |
| --- | --- | --- |
"""

_COMMAND_HEAD = """
## Codes of the command line

The command line has these besides; they begin a line on stderr like the others, and the exit code is 1.

| code | meaning | next step |
| --- | --- | --- |
"""


def errors_page() -> str:
    """docs/reference/errors.md."""
    rows = [_error_row(error, depth) for error, depth in _tree(ReuniteError)]
    http = [f"| `{code}` | {kind.status} | {kind.title}. |" for code, kind in HTTP_KINDS.items()]
    own = [f"| `{code}` | {' | '.join(said)} |" for code, said in COMMAND_CODES.items()]
    parts = (_ERRORS_HEAD, rows), (_HTTP_HEAD, http), (_COMMAND_HEAD, own)
    return "".join(head + "\n".join(lines) + "\n" for head, lines in parts)


def _tree(error: type[ReuniteError], depth: int = 0) -> Iterator[tuple[type[ReuniteError], int]]:
    yield error, depth
    for child in error.__subclasses__():
        if child.__module__ == error.__module__:
            yield from _tree(child, depth + 1)


def _error_row(error: type[ReuniteError], depth: int) -> str:
    meaning, next_step = meaning_and_next_step(error)
    own = CODES_OF.get(error, (error.code,))
    codes = ", ".join(f"`{code}`" for code in own)
    indent = "&emsp;" * depth
    statuses = "413, 429" if error is LimitExceededError else str(KINDS[error].status)
    return f"| {indent}`{error.__name__}` | {codes} | {statuses} | {meaning} | {next_step} |"


def meaning_and_next_step(error: type[ReuniteError]) -> tuple[str, str]:
    """The first sentence of the docstring, and the rest of its first paragraph."""
    paragraph = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0]
    meaning, *rest = _lines(paragraph).split("\n")
    return meaning, " ".join(rest)


def main() -> int:
    """Write the pages that are not as they should be."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote docs/reference/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
