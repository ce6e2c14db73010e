"""`reunite migrate`: run a migration tool on a hub's database, with capture out of its way."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from reunite.cli.failures import EXIT_FAILED
from reunite.cli.opening import open_hub, shown
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import emit, note, say
from reunite.engine.ports import TableMigration

_SENTENCES = {
    "gone": "is gone: replicas drop it.",
    "new": "is new: `reunite serve` tracks it.",
    "written": "was written, or may have been: replicas compare it.",
}


def migrate(
    database: DatabaseArgument,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="What to run, after two dashes."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Run a command that changes the hub's tables, with the triggers of reunite out of its way.

    They are on again when it ends, also when it fails or is killed.
    Replicas that sync meanwhile are told to try later; afterwards they get what changed.
    With --json, what the command prints goes to stderr.
    """
    try:
        with open_hub(database) as hub, hub.migrating() as tables:
            code = _run(command, as_json=as_json)
    except OSError:
        note("Nothing was run, and every write is captured again.")
        raise
    if as_json:
        emit({"database": shown(database), "code": code, "tables": tables})
    else:
        for table in tables:
            if table.what != "unchanged":
                say(_sentence(table))
        if all(table.what == "unchanged" for table in tables):
            say("No tracked table was changed or written.")
        note("Every write is captured again.")
    if code:
        note(f"command-failed: {command[0]} {_end(code)}.")
        raise typer.Exit(EXIT_FAILED)


def _run(command: Sequence[str], *, as_json: bool) -> int:
    """Run a command to its end; its exit code, negative if a signal ended it."""
    told: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: Any) -> None:
        told.append(number)
        for child in children:
            child.send_signal(number)

    # Before the command runs: an end of this process would leave capture out of the way.
    former = signal.signal(signal.SIGTERM, pass_on)
    try:
        with subprocess.Popen(command, stdout=sys.stderr if as_json else None) as child:
            children.append(child)
            for number in told:
                child.send_signal(number)
            while True:
                try:
                    return child.wait()
                except KeyboardInterrupt:
                    continue  # Ctrl-C reaches the command as well; its end is waited for
    finally:
        signal.signal(signal.SIGTERM, former)


def _end(code: int) -> str:
    """How a command ended that did not end well."""
    return f"ended with code {code}" if code > 0 else f"was ended by signal {-code}"


def _sentence(table: TableMigration) -> str:
    if table.what in _SENTENCES:
        return f"{table.table} {_SENTENCES[table.what]}"
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (("gained", table.added), ("lost", table.removed))
        if names
    ]
    how = f" ({'; '.join(parts)})" if parts else ""
    return f"{table.table} is at version {table.version} now{how}: replicas get it anew."
