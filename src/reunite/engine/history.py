"""History: the log read as an audit trail. The same rows that sync are the record of who did what.

    history    every change of one row          row_at    what stood under a key at a time
    log        changes of all tables            trail     the same, each with the row after it

The row after a change is the `old` of the key's next change, or the row of today.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.change import Op
from reunite.core.checks import check_columns
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import INTEGER_MAX
from reunite.engine.ports import ALL_ENTRIES, LogEntry, LogFilter, Store, Transaction
from reunite.engine.tables import Tables
from reunite.engine.taking_back import image_under
from reunite.errors import BadRequestError

# Entries that `log` answers at a time, and that `trail` holds in memory.
LOG_ENTRIES_MAX = 1_000


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one row: who, when, from which replica, from what to what.

    `seq` and `at_ms` are None until the change's commit is numbered. `replica` is None for
    changes made at the hub; with `n` None inside a push they were made by a cascade or hook.
    `is_rewrite` marks an entry that left the row as it was. Of one that `is_erased` nobody knows
    the rows any more; an update that is erased and came with an erasure tells when that was.
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
    is_erased: bool = False


def history(
    store: Store, tables: Tables, table: str, key: Key, only: LogFilter = ALL_ENTRIES
) -> list[HistoryEntry]:
    """Every change of the row that is, or was, under `key`, oldest first; follows key moves back.

    A table that is not tracked any more has its history while the log has it. Raises
    UnknownTableError, BadRequestError. An indexed read of the key's entries, whatever `only`
    leaves of them.
    """
    with store.read() as tx:
        schema = schema_of(tx, tables, table)
        check_key(schema, key)
        check_filter(tx, tables, only)
        entries = entries_of(tx, table, key)
        rows = _rows_after(tx, tables, schema, entries)
    return [_entry(entry, rows[entry.id, entry.key]) for entry in entries if only.means(entry)]


def schema_of(tx: Transaction, tables: Tables, table: str) -> TableSchema:
    """The schema by which a table's history is read: its own, or the last one that it had while
    it was tracked. Raises UnknownTableError."""
    now = tables.at(tx)
    if table not in now.schemas:
        former = tx.last_schema(table)
        if former is not None:
            return former
    return now.schema(table)


def check_filter(tx: Transaction, tables: Tables, only: LogFilter) -> None:
    """Refuse names that nobody knows, of which the log would have nothing. Raises
    UnknownTableError, BadRequestError."""
    if only.table is not None:
        schema_of(tx, tables, only.table)
    if only.replica is not None and tx.replica(only.replica) is None:
        raise BadRequestError(
            f"No replica has the id {only.replica!r}: `reunite log --stats` lists them.",
            path="replica",
        )


def entries_of(tx: Transaction, table: str, key: Key) -> list[LogEntry]:
    """The entries of the rows that were under `key`, by id; of those that moved there also the
    ones before, under the keys that they had."""
    return lineage_of(tx, table, key)[0]


def lineage_of(tx: Transaction, table: str, key: Key) -> tuple[list[LogEntry], list[Key]]:
    """The same, and these keys."""
    keys = {key: None}
    found: dict[int, LogEntry] = {}
    until: dict[Key, float] = {key: math.inf}
    while until:
        came: dict[Key, float] = {}
        for entry in tx.entries(table, until, after_id=0):
            if entry.id in found or not any(
                entry.id < until.get(each, 0)
                for each in (entry.key, entry.old_key)
                if each is not None
            ):
                continue
            found[entry.id] = entry
            if entry.old_key is not None and entry.key in until:
                came[entry.old_key] = max(entry.id, came.get(entry.old_key, 0))
        keys |= dict.fromkeys(came)
        until = came
    return [found[id_] for id_ in sorted(found)], list(keys)


def row_at(
    store: Store, tables: Tables, table: str, key: Key, *, at_ms: int
) -> dict[str, Any] | None:
    """What stood under `key` once everything of `at_ms` and before was committed; None if nothing
    did.

    Raises UnknownTableError, BadRequestError (also: the log does not reach back so far). An
    indexed read of the key's entries.
    """
    with store.read() as tx:
        schema = schema_of(tx, tables, table)
        check_key(schema, key)
        trimmed = tx.commit(tx.trimmed_seq())
        if trimmed is not None and at_ms < trimmed.at_ms:
            raise BadRequestError("The log was trimmed, and does not reach back so far.", path="at")
        for entry in tx.entries(table, [key], after_id=0):
            if entry.at_ms is None or entry.at_ms > at_ms:
                if entry.is_erased and (entry.op is not Op.INSERT or entry.key != key):
                    raise BadRequestError("What the row was at that time was erased.", path="at")
                return image_under(entry, key)
        if table not in tables.at(tx).schemas:
            return None
        row = tx.rows(table, [key]).get(key)
        return None if row is None else dict(zip(schema.column_names, row, strict=True))


def trail(
    store: Store, tables: Tables, only: LogFilter = ALL_ENTRIES, *, key: Key | None = None
) -> Iterator[HistoryEntry]:
    """The changes of all tables, oldest first, each with the row before and after it; of one row,
    if there is a `key`, which needs the filter's table.

    Of one moment each `LOG_ENTRIES_MAX`; a change that comes meanwhile may be among them. Raises
    UnknownTableError, BadRequestError. Memory is bounded; each part reads all later changes of
    its keys.
    """
    if key is not None:
        if only.table is None:
            raise BadRequestError("A key is one of a table: name it, too.", path="table")
        yield from history(store, tables, only.table, key, only)
        return
    with store.read() as tx:
        check_filter(tx, tables, only)
    after_id = 0
    while True:
        with store.read() as tx:
            until_id = tx.last_change_id()
            entries = tx.log(after_id=after_id, until_id=until_id, limit=LOG_ENTRIES_MAX, only=only)
            told = with_rows(tx, tables, entries)
        yield from told
        if len(entries) < LOG_ENTRIES_MAX:
            return
        after_id = entries[-1].id


def with_rows(tx: Transaction, tables: Tables, entries: Sequence[LogEntry]) -> list[HistoryEntry]:
    """These entries, each with the row before and after it. Reads what came after them of their
    keys."""
    by_table: dict[str, list[LogEntry]] = {}
    for entry in entries:
        by_table.setdefault(entry.table, []).append(entry)
    rows: dict[tuple[int, Key], dict[str, Any] | None] = {}
    for table, found in by_table.items():
        rows |= _rows_after(tx, tables, schema_of(tx, tables, table), found)
    return [_entry(entry, rows.get((entry.id, entry.key))) for entry in entries]


def _rows_after(
    tx: Transaction, tables: Tables, schema: TableSchema, entries: Sequence[LogEntry]
) -> dict[tuple[int, Key], dict[str, Any] | None]:
    """The row after each of these entries, by id and key; of a table that is not tracked any more
    as far as the log tells. Reads what came after the first."""
    if not entries:
        return {}
    keys = list(dict.fromkeys(entry.key for entry in entries))
    names = schema.column_names
    rows = tx.rows(schema.name, keys) if schema.name in tables.at(tx).schemas else {}
    after = {key: dict(zip(names, row, strict=True)) for key, row in rows.items()}
    # Places, not ids: what became visible late has a small id.
    first = min(min(entry.id, entry.place) for entry in entries)
    later = tx.entries(schema.name, keys, after_id=first - 1)
    found: dict[tuple[int, Key], dict[str, Any] | None] = {}
    for entry in reversed(later):
        found[entry.id, entry.key] = after.get(entry.key)
        for key in (entry.key, entry.old_key):
            if key is not None:
                image = image_under(entry, key)
                after.pop(key, None)
                if image is not None:
                    after[key] = image
    return found


def check_key(schema: TableSchema, key: Key) -> None:
    """Raises BadRequestError for what is no key of the table."""
    if len(key) != len(schema.key):
        raise BadRequestError(
            f"A key of {schema.name!r} has a value for each of {', '.join(schema.key)}; this one "
            f"has {len(key)} for {len(schema.key)}.",
            path="key",
        )
    check_columns([schema.column[name] for name in schema.key], [key], path="key", is_loose=True)


def log(
    store: Store,
    tables: Tables,
    *,
    after_id: int = 0,
    limit: int = LOG_ENTRIES_MAX,
    only: LogFilter = ALL_ENTRIES,
) -> Sequence[LogEntry]:
    """The log's entries after an id, oldest first: the audit trail of all tables.

    Raises BadRequestError for an id or a limit that cannot be, and for a replica that nobody
    knows; UnknownTableError for such a table.
    """
    if not 0 <= after_id <= INTEGER_MAX:
        raise BadRequestError(f"{after_id} is no change's id: ids are from 1 on.", path="after_id")
    if limit < 1:
        raise BadRequestError(
            f"The log is read in parts of 1 entry or more, not of {limit}.", path="limit"
        )
    with store.read() as tx:
        check_filter(tx, tables, only)
        return tx.log(after_id=after_id, until_id=tx.last_change_id(), limit=limit, only=only)


def _entry(entry: LogEntry, after: dict[str, Any] | None) -> HistoryEntry:
    old = entry.image
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
        is_rewrite=entry.op is Op.UPDATE and not entry.is_erased and old == after,
        is_erased=entry.is_erased,
    )
