"""`reunite history`: who changed one row, when, and from what to what."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import emit, moment, readable, say, show_table
from reunite.cli.typed import key_of
from reunite.core.change import Op
from reunite.engine.history import HistoryEntry
from reunite.hub import Hub


def history(
    database: DatabaseArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table.")],
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="""The row's key, a JSON array: '["AA"]'.""")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show every change of one row: who, when, from which replica, from what to what.

    With --json, one object a line.
    """
    wanted = key_of(key)
    with open_hub(database) as hub:
        entries = hub.history(table, wanted)
        names = replica_names(hub)
    if as_json:
        for entry in entries:
            emit({**msgspec.to_builtins(entry), "changed": changed(entry)})
    elif not entries:
        say(f"The log has no change of {table} {key}.")
    else:
        show_table(COLUMNS, [row for entry in entries for row in rows_of(entry, names)])


COLUMNS = ("commit", "when", "who", "replica", "change", "column", "old", "new")


def replica_names(hub: Hub) -> dict[str, str]:
    """What each replica calls itself, by id."""
    return {record.id: record.name for record in hub.status().replicas}


def changed(entry: HistoryEntry) -> dict[str, tuple[Any, Any]]:
    """Old and new value of every column in which the row differs."""
    old, new = entry.old or {}, entry.row or {}
    names = dict.fromkeys((*old, *new))
    return {
        name: (old.get(name), new.get(name))
        for name in names
        if entry.old is None or entry.row is None or old.get(name) != new.get(name)
    }


def rows_of(entry: HistoryEntry, names: dict[str, str]) -> list[tuple[str, ...]]:
    """An entry as rows of a table, one a changed column; the columns are `COLUMNS`."""
    head = (
        "" if entry.seq is None else str(entry.seq),
        moment(entry.at_ms),
        entry.principal or "at the hub",
        names.get(entry.replica or "", entry.replica or ""),
        entry.op.name.lower(),
    )
    cells = [
        (
            name,
            "" if entry.op is Op.INSERT else readable(old),
            "" if entry.op is Op.DELETE else readable(new),
        )
        for name, (old, new) in changed(entry).items()
    ] or [("", "", "")]
    return [(*(head if index == 0 else ("",) * 5), *cell) for index, cell in enumerate(cells)]
