"""Records of the directory: a table for each kind, and the same statements for all of them.

The rule         names of tables and columns come from `engine/directory.py`, values are parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from reunite.engine.directory import RECORD_KINDS, RecordKind, record_of, row_of
from reunite.engine.ports import Record
from reunite.stores.sql.ports import Session


def record_layout(*, text: str, integer: str) -> tuple[str, ...]:
    """The statements that make the tables, with a dialect's words for the two types."""
    kinds = RECORD_KINDS.values()
    indexes = [
        f"CREATE INDEX IF NOT EXISTS {kind.table}_{kind.index} ON {kind.table} ({kind.index})"
        for kind in kinds
        if kind.index is not None
    ]
    return (*(_table(kind, text, integer) for kind in kinds), *indexes)


def record_tables() -> tuple[str, ...]:
    """The names of the tables."""
    return tuple(kind.table for kind in RECORD_KINDS.values())


def _table(kind: RecordKind, text: str, integer: str) -> str:
    columns = [
        f"{name} {integer if name in kind.integers else text} NOT NULL" for name in kind.columns
    ]
    key = ", ".join(kind.columns[: kind.key])
    return f"CREATE TABLE IF NOT EXISTS {kind.table} ({', '.join(columns)}, PRIMARY KEY ({key}))"


def read_records(
    session: Session, kind: type[Record], where: Mapping[str, str | int]
) -> Sequence[Record]:
    """The records whose fields have these values, by key."""
    of = RECORD_KINDS[kind]
    rows = session.execute(
        f"SELECT {', '.join(of.columns)} FROM {of.table}{_where(of, where)}",
        [_plain(value) for value in where.values()],
    )
    # By code point, in whatever order the database would put texts.
    return [record_of(kind, row) for row in sorted(rows, key=lambda row: row[: of.key])]


def put_record(session: Session, record: msgspec.Struct) -> None:
    """Keep a record, instead of the one with its key."""
    session.execute(_put(type(record)), row_of(record))


def drop_records(
    session: Session, kind: type[msgspec.Struct], where: Mapping[str, str | int]
) -> int:
    """Remove the records whose fields have these values; how many."""
    of = RECORD_KINDS[kind]
    gone = session.execute(
        f"DELETE FROM {of.table}{_where(of, where)} RETURNING 1",
        [_plain(value) for value in where.values()],
    )
    return len(gone)


@cache
def _put(kind: type[msgspec.Struct]) -> str:
    of = RECORD_KINDS[kind]
    changed = ", ".join(f"{name} = excluded.{name}" for name in of.columns[of.key :])
    key = ", ".join(of.columns[: of.key])
    then = f"UPDATE SET {changed}" if changed else "NOTHING"
    return (
        f"INSERT INTO {of.table} ({', '.join(of.columns)}) "
        f"VALUES ({', '.join('?' * len(of.columns))}) ON CONFLICT ({key}) DO {then}"
    )


def _where(of: RecordKind, where: Mapping[str, str | int]) -> str:
    if unknown := set(where) - set(of.columns):
        raise ValueError(f"{of.table} has no column {min(unknown)}.")
    return " WHERE " + " AND ".join(f"{name} = ?" for name in where) if where else ""


def _plain(value: str | int) -> str | int:
    return int(value) if isinstance(value, bool) else value
