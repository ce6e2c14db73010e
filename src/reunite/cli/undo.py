"""`reunite undo`: take a commit back, as a new commit."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, key_cell, readable, say, show_table
from reunite.core.values import INTEGER_MAX

# What each code says; others are those of constraints.
_REASONS = {
    "changed": "changed since",
    "deleted": "deleted since",
    "replaced": "another row has come since",
    "erased": "it was erased",
    "key-taken": "another row has the key",
    "has-children": "other rows point to it",
    "unknown-table": "the table is not tracked any more",
}


def undo(
    database: DatabaseArgument,
    commit: Annotated[
        int,
        typer.Argument(
            metavar="COMMIT", help="Its number, as `log` shows it.", min=1, max=INTEGER_MAX
        ),
    ],
    actor: Annotated[
        str | None, typer.Option(metavar="USER", help="Who undoes it, for the history.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would come of it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put back what a commit changed, as a new commit; replicas get it with their next sync.

    What changed since stays as it is, and is listed. Undoing an undo does the commit again.
    """
    with open_hub(database) as hub:
        report = hub.undo(commit, actor=actor, dry_run=dry_run)
    if as_json:
        emit(report)
        return
    rows = counted(report.rows, "row")
    if dry_run:
        say(f"Commit {commit:,} can be undone in {rows}; nothing was changed.")
    elif report.commit is None:
        say(f"Nothing of commit {commit:,} is left to undo.")
    else:
        say(f"Commit {commit:,} is undone in {rows}, as commit {report.commit:,}.")
    if report.conflicts:
        say("What changed since was left as it is:")
        show_table(
            ("table", "key", "why", "column", "undone", "now"),
            [
                (
                    each.table,
                    key_cell(each.key),
                    _REASONS.get(each.code, each.code),
                    each.column or "",
                    readable(each.undone),
                    readable(each.now),
                )
                for each in report.conflicts
            ],
        )
