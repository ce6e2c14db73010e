"""`reunite history`: who changed one row, when, and from what to what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from reunite.cli.entries import told
from reunite.cli.filters import (
    ActorOption,
    ReplicaOption,
    SinceOption,
    UntilOption,
    filters,
    moment_of,
    replica_names,
)
from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import emit, moment, readable, say, show_table
from reunite.cli.typed import key_of
from reunite.core.change import Op
from reunite.engine.history import HistoryEntry


def history(
    database: DatabaseArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table.")],
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="""The row's key, a JSON array: '["AA"]'.""")
    ],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Show instead what the row was then: 2026-05-01T12:00, or 3d ago."
        ),
    ] = None,
    actor: ActorOption = None,
    replica: ReplicaOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every change of one row: who, when, from which replica, from what to what.

    With --json, one object a line. With --at, the row as it was, one object with --json; null if
    there was none.
    """
    wanted = key_of(key)
    if at is not None:
        with open_hub(database) as hub:
            found = hub.row_at(table, wanted, moment_of(at))
        if as_json:
            emit(found)
        elif found is None:
            say(f"There was no row of {table} {key} then.")
        else:
            show_table(("column", "value"), [(name, value) for name, value in found.items()])
        return
    with open_hub(database) as hub:
        asked = filters(hub, actor=actor, replica=replica, since=since, until=until)
        entries = hub.history(table, wanted, **asked)
        names = replica_names(hub)
    if as_json:
        for entry in entries:
            emit({**told(entry), "changed": changed(entry)})
    elif not entries:
        what = "no such change" if any(asked.values()) else "no change"
        say(f"The log has {what} of {table} {key}.")
    else:
        show_table(COLUMNS, [row for entry in entries for row in rows_of(entry, names)])


COLUMNS = ("commit", "when", "who", "replica", "change", "column", "old", "new")


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
    ] or [("(erased)" if entry.is_erased else "", "", "")]
    return [(*(head if index == 0 else ("",) * 5), *cell) for index, cell in enumerate(cells)]
