"""Records of the directory: a table for each kind, and the same statements for all of them.

The rule         names of tables and columns come from `engine/directory.py`, values are parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import msgspec

from reunite.engine.directory import RECORD_KINDS, RecordKind, record_of, row_of
from reunite.engine.ports import Record
from reunite.stores.sql.ports import Session


def record_layout(*, text: str, integer: str) -> tuple[str, ...]:
    """The statements that make the tables, with a dialect's words for the two types."""
    kinds = RECORD_KINDS.values()
    indexes = [
        f"CREATE INDEX IF NOT EXISTS {kind.table}_{name} ON {kind.table} "
        f"({name if kind.order is None else f'{name}, {kind.order}'})"
        for kind in kinds
        for name in kind.indexes
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


def latest_records(
    session: Session,
    kind: type[Record],
    where: Mapping[str, str | int],
    *,
    since: str | int | None,
    before: str | int | None,
    limit: int,
) -> list[Record]:
    """The newest of the records whose fields have these values, in this stretch."""
    of = RECORD_KINDS[kind]
    condition, parameters = _stretch(of, where, since, before)
    # One index gives the order; of several that would do, the first condition's.
    rows = session.execute(
        f"SELECT {', '.join(of.columns)} FROM {of.table}{condition} "
        f"ORDER BY {of.order} DESC LIMIT ?",
        [*parameters, limit],
    )
    return [record_of(kind, row) for row in rows]


def count_records(
    session: Session,
    kind: type[msgspec.Struct],
    where: Mapping[str, str | int],
    *,
    since: str | int | None,
    limit: int,
) -> int:
    """How many records have these values, since then; at most `limit`."""
    of = RECORD_KINDS[kind]
    condition, parameters = _stretch(of, where, since, None)
    rows = session.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {of.table}{condition} LIMIT ?) AS found",
        [*parameters, limit],
    )
    return int(rows[0][0])


def put_record(session: Session, record: msgspec.Struct) -> None:
    """Keep a record, instead of the one with its key."""
    session.execute(_put(type(record)), row_of(record))


def put_records(session: Session, records: Iterable[msgspec.Struct]) -> None:
    """Keep records, instead of those with their keys; a statement for each kind."""
    by_kind: dict[type[msgspec.Struct], list[tuple[str | int, ...]]] = {}
    for record in records:
        by_kind.setdefault(type(record), []).append(row_of(record))
    for kind, rows in by_kind.items():
        session.executemany(_put(kind), rows)


def drop_records(
    session: Session,
    kind: type[msgspec.Struct],
    where: Mapping[str, str | int],
    *,
    before: str | int | None = None,
    limit: int | None = None,
) -> int:
    """Remove the records whose fields have these values, at most `limit`; how many."""
    of = RECORD_KINDS[kind]
    condition, parameters = _stretch(of, where, None, before)
    if limit is not None:
        key = ", ".join(of.columns[: of.key])
        condition = f" WHERE ({key}) IN (SELECT {key} FROM {of.table}{condition} LIMIT ?)"
        parameters.append(limit)
    return len(session.execute(f"DELETE FROM {of.table}{condition} RETURNING 1", parameters))


def _stretch(
    of: RecordKind,
    where: Mapping[str, str | int],
    since: str | int | None,
    before: str | int | None,
) -> tuple[str, list[str | int]]:
    """A condition and its parameters."""
    condition = _where(of, where)
    parameters = [_plain(value) for value in where.values()]
    for sign, bound in ((">=", since), ("<", before)):
        if bound is not None:
            condition += f" {'AND' if condition else 'WHERE'} {of.order} {sign} ?"
            parameters.append(bound)
    return condition, parameters


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
