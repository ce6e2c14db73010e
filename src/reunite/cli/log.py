"""`reunite log`: the hub's log, which is its audit trail."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.history import replica_names
from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import emit, moment, note, say, show_table
from reunite.core.values import INTEGER_MAX


def log(
    database: DatabaseArgument,
    after: Annotated[
        int,
        typer.Option(metavar="ID", help="Begin after this change.", min=0, max=INTEGER_MAX),
    ] = 0,
    limit: Annotated[int, typer.Option(help="How many changes at most.", min=1, max=1_000)] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the changes of all tables, oldest first.

    With --json, one object a line, each with what the row was before.
    """
    with open_hub(database) as hub:
        entries = hub.log(after_id=after, limit=limit)
        names = replica_names(hub)
    if as_json:
        for entry in entries:
            emit(entry)
    elif not entries:
        say("The log has no change after this one." if after else "The log is empty.")
    else:
        show_table(
            ("id", "commit", "when", "who", "replica", "change", "table", "key"),
            [
                (
                    entry.id,
                    "" if entry.seq is None else str(entry.seq),
                    moment(entry.at_ms),
                    entry.principal or "at the hub",
                    names.get(entry.replica or "", entry.replica or ""),
                    entry.op.name.lower(),
                    entry.table,
                    list(entry.key),
                )
                for entry in entries
            ],
        )
    if len(entries) == limit:
        note(f"There may be more: reunite log {database} --after {entries[-1].id}")
