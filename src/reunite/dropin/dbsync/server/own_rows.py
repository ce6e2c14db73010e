"""Classes that are only pushed: a node gets back what it pushed itself, and nothing of the others.

A replica shows what pages bring, so a node must see its own rows again, or they would vanish from
it. Whose they are is noted with the push that made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import compress
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, insert, select
from sqlalchemy.engine import Connection

from reunite.core.key import key_text
from reunite.protocol.pull import Page, TablePage
from reunite.protocol.push import PushAnswer, PushRequest
from reunite.protocol.repair import RepairAnswer

Names: TypeAlias = tuple[str, ...]


def own_rows_table(metadata: MetaData) -> Table:
    """Which rows of classes that are only pushed came from which node."""
    return Table(
        "reunite_dbsync_own",
        metadata,
        Column("node_id", Integer, primary_key=True, autoincrement=False),
        Column("table_name", String(500), primary_key=True),
        Column("row_key", Text, primary_key=True),
    )


def note_pushed(
    db: Connection,
    own: Table,
    node_id: int,
    request: PushRequest,
    answer: PushAnswer,
    tables: Mapping[str, Names],
) -> None:
    """Note the rows of these tables, given with the columns of their keys, that a push made."""
    known = _own(db, own, node_id)
    # What is not told of took effect as it was sent.
    others = {outcome.n: outcome.key for outcome in answer.outcomes}
    made: set[tuple[str, str]] = set()
    n = request.first_n
    for run in (run for group in request.groups for run in group.runs):
        if run.table in tables:
            sent = run.keys or _columns(run.columns, run.set, tables[run.table])
            for number, key in enumerate(sent, n):
                if number <= answer.last_n:
                    made.add((run.table, key_text(tuple(others.get(number) or key))))
        n += len(run.ids)
    fresh = [
        {"node_id": node_id, "table_name": table, "row_key": key} for table, key in made - known
    ]
    if fresh:
        db.execute(insert(own), fresh)


def _columns(columns: Names, rows: Iterable[Any], wanted: Names) -> list[tuple[Any, ...]]:
    """Some columns of rows."""
    places = [columns.index(name) for name in wanted]
    return [tuple(row[place] for place in places) for row in rows]


def _own(db: Connection, own: Table, node_id: int) -> set[tuple[str, str]]:
    found = db.execute(select(own.c.table_name, own.c.row_key).where(own.c.node_id == node_id))
    return {(table, key) for table, key in found}


def without_others(
    db: Connection, own: Table, node_id: int, page: Page, tables: Mapping[str, Names]
) -> Page:
    """The page without rows of these tables that other nodes made."""
    if not any(part.table in tables for part in page.tables):
        return page
    mine = _own(db, own, node_id)

    parts = tuple(_only_mine(part, mine, tables) for part in page.tables)
    return msgspec.structs.replace(page, tables=parts)


def repaired_only(
    db: Connection,
    own: Table,
    node_id: int,
    table: str,
    answer: RepairAnswer,
    tables: Mapping[str, Names],
) -> RepairAnswer:
    """What a repair says of one table, without rows and keys of these tables that others made."""
    if table not in tables:
        return answer
    mine = _own(db, own, node_id)
    known = [(table, key_text(key)) in mine for key in answer.keys]
    return msgspec.structs.replace(
        answer,
        page=None if answer.page is None else _only_mine(answer.page, mine, tables),
        keys=list(compress(answer.keys, known)),
        hashes=list(compress(answer.hashes, known)),
    )


def _only_mine(
    part: TablePage, mine: set[tuple[str, str]], tables: Mapping[str, Names]
) -> TablePage:
    if part.table not in tables:
        return part
    keys = _columns(part.columns, part.puts, tables[part.table])
    puts = [
        row for row, key in zip(part.puts, keys, strict=True) if (part.table, key_text(key)) in mine
    ]
    return msgspec.structs.replace(part, puts=puts)
