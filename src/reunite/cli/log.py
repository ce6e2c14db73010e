"""`reunite log`: the hub's log, which is its audit trail."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.entries import told
from reunite.cli.filters import (
    ActorOption,
    ReplicaOption,
    SinceOption,
    TableOption,
    UntilOption,
    filters,
    replica_names,
)
from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, key_cell, moment, note, say, show_table, size
from reunite.core.values import INTEGER_MAX


def log(
    database: DatabaseArgument,
    after: Annotated[
        int,
        typer.Option(metavar="ID", help="Begin after this change.", min=0, max=INTEGER_MAX),
    ] = 0,
    limit: Annotated[int, typer.Option(help="How many changes at most.", min=1, max=1_000)] = 100,
    stats: Annotated[
        bool, typer.Option("--stats", help="Say how large the log is, and who has read how far.")
    ] = False,
    table: TableOption = None,
    actor: ActorOption = None,
    replica: ReplicaOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the changes of all tables, oldest first.

    With --json, one object a line, each with what the row was before.
    With --stats, one table of sizes and one of replicas instead; both in one object with --json.
    """
    if stats:
        _statistics(database, as_json=as_json)
        return
    with open_hub(database) as hub:
        asked = filters(hub, actor=actor, replica=replica, since=since, until=until)
        entries = hub.log(after_id=after, limit=limit, table=table, **asked)
        names = replica_names(hub)
    if as_json:
        for entry in entries:
            emit(told(entry))
    elif not entries:
        if table or any(asked.values()):
            say("The log has no such change.")
        else:
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
                    key_cell(entry.key),
                )
                for entry in entries
            ],
        )
    if len(entries) == limit:
        note(f"There may be more: the same with --after {entries[-1].id}")


def _statistics(database: str, *, as_json: bool) -> None:
    """How large the log is, and how far each replica has read it."""
    with open_hub(database) as hub:
        found = hub.log_statistics()
    if as_json:
        emit(found)
        return
    count = sum(found.changes.values())
    say(f"The log holds {counted(count, 'change')} of {counted(len(found.changes), 'table')}.")
    if found.oldest_ms is not None:
        first, last = found.trimmed_seq + 1, found.seq
        say(f"Commits {first:,} to {last:,}, the oldest of {moment(found.oldest_ms)}.")
    if found.bytes_total is not None:
        share = "" if found.bytes_log is None else f", {size(found.bytes_log)} of it reunite's"
        say(f"The database has {size(found.bytes_total)}{share}.")
    if found.changes:
        show_table(("table", "changes"), [(name, f"{n:,}") for name, n in found.changes.items()])
    if found.readers:
        show_table(
            ("replica", "who", "last seen", "has read", "commits behind"),
            [
                (
                    reader.name or reader.id,
                    reader.principal,
                    moment(reader.seen_ms),
                    f"{reader.seen_seq:,}",
                    f"{found.seq - reader.seen_seq:,}",
                )
                for reader in found.readers
            ],
        )
        say(
            "A trim keeps what a replica has not read that was seen within the age; the first one "
            "here holds back most. What they have read is noted every ten minutes."
        )
