"""History: the log read as an audit trail. The same rows that sync are the record of who did what.

The row after a change is the `old` of the key's next change, or the row of today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import INTEGER_MAX, check_columns
from reunite.engine.ports import LogEntry, Store
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError

# Entries that `log` answers at a time.
LOG_ENTRIES_MAX = 1_000


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one row: who, when, from which replica, from what to what.

    `seq` and `at_ms` are None until the change's commit is numbered. `replica` is None for
    changes made at the hub; with `n` None inside a push they were made by a cascade or hook.
    `is_rewrite` marks an entry that left the row as it was.
    """

    id: int
    seq: int | None
    at_ms: int | None
    table: str
    key: Key
    old_key: Key | None
    op: Op
    old: Mapping[str, Any] | None
    row: Mapping[str, Any] | None
    replica: str | None
    principal: str | None
    n: int | None
    stamp: str | None
    is_rewrite: bool = False


def history(store: Store, tables: Tables, table: str, key: Key) -> list[HistoryEntry]:
    """Every change of the row that is, or was, under `key`, oldest first; follows key moves back.

    Raises UnknownTableError, BadRequestError. An indexed read of the key's entries.
    """
    with store.read() as tx:
        schema = tables.at(tx).schema(table)
        _check_key(schema, key)
        rows = tx.rows(table, [key])
        entries: list[LogEntry] = []
        seen: set[int] = set()
        keys = [key]
        while keys:
            found = [entry for entry in tx.entries(table, keys, after_id=0) if entry.id not in seen]
            seen.update(entry.id for entry in found)
            entries.extend(found)
            keys = [entry.old_key for entry in found if entry.old_key is not None]
        entries.sort(key=lambda entry: entry.id)
    today = rows.get(key)
    after = None if today is None else dict(zip(schema.column_names, today, strict=True))
    result = []
    for entry in reversed(entries):
        old = _named(entry)
        result.append(_entry(entry, old, after))
        after = old
    result.reverse()
    return result


def _check_key(schema: TableSchema, key: Key) -> None:
    if len(key) != len(schema.key):
        raise BadRequestError(
            f"A key of {schema.name!r} has a value for each of {', '.join(schema.key)}; this one "
            f"has {len(key)} for {len(schema.key)}.",
            path="key",
        )
    check_columns([schema.column[name] for name in schema.key], [key], path="key", is_loose=True)


def log(store: Store, *, after_id: int = 0, limit: int = LOG_ENTRIES_MAX) -> Sequence[LogEntry]:
    """The log's entries after an id, oldest first: the audit trail of all tables.

    Raises BadRequestError for an id or a limit that cannot be.
    """
    if not 0 <= after_id <= INTEGER_MAX:
        raise BadRequestError(f"{after_id} is no change's id: ids are from 1 on.", path="after_id")
    if limit < 1:
        raise BadRequestError(
            f"The log is read in parts of 1 entry or more, not of {limit}.", path="limit"
        )
    with store.read() as tx:
        return tx.log(after_id=after_id, until_id=tx.last_change_id(), limit=limit)


def _named(entry: LogEntry) -> dict[str, Any] | None:
    if entry.old is None:
        return None
    return dict(zip(entry.old_columns, entry.old, strict=True))


def _entry(
    entry: LogEntry, old: dict[str, Any] | None, after: dict[str, Any] | None
) -> HistoryEntry:
    return HistoryEntry(
        id=entry.id,
        seq=entry.seq,
        at_ms=entry.at_ms,
        table=entry.table,
        key=entry.key,
        old_key=entry.old_key,
        op=entry.op,
        old=old,
        row=after,
        replica=entry.replica,
        principal=entry.principal,
        n=entry.n,
        stamp=entry.stamp,
        is_rewrite=entry.op is Op.UPDATE and old == after,
    )
