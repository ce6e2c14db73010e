"""Putting a row back: as it was before a change, or as a person decides in a conflict.

    what it was, by column ──► what it is now ──► the smallest write between them

What it is not   a push: no rule is asked, no hook is called. What the database refuses is refused.
The rule         a row is changed only for who has seen it as it is (`row_tag`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from reunite.core.checks import check_columns
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.history import check_key
from reunite.engine.ports import Store, Transaction, Update, Writes, WriteTransaction
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError

Named = Mapping[str, Any]


class PutBack(msgspec.Struct, frozen=True, kw_only=True):
    """A row before and after, by column, None where there is none; and the commit that made it so,
    None if nothing was to be written."""

    before: Named | None
    after: Named | None
    etag: str
    commit: int | None = None


class _DryRunError(Exception):
    """Nothing of it is to stay."""


def row_tag(row: Named | None) -> str:
    """What stands for a row as it is."""
    if row is None:
        return "-"
    text = msgspec.json.encode(row, order="sorted")
    return hashlib.sha256(text).hexdigest()[:24]


def named_row(tx: Transaction, schema: TableSchema, key: Key) -> dict[str, Any] | None:
    """The row under a key, by column."""
    row = tx.rows(schema.name, [key]).get(key)
    return None if row is None else dict(zip(schema.column_names, row, strict=True))


def before_change(tx: Transaction, table: str, key: Key, change: int) -> tuple[Key, Named | None]:
    """What a row was before a change, and under which key; None for no row. Raises
    BadRequestError."""
    found = [one for one in tx.entries(table, [key], after_id=change - 1) if one.id == change]
    if not found:
        raise BadRequestError(f"The log has no change {change} of this row.", path="change")
    (entry,) = found
    if entry.is_erased:
        raise BadRequestError("What the row was was erased.", path="change")
    return key, entry.image


def put_back(
    store: Store,
    tables: Tables,
    table: str,
    key: Key,
    *,
    wanted: Callable[[Transaction, TableSchema], Named | None],
    check: Callable[[Named | None, str], None],
    then: Callable[[WriteTransaction], None],
    actor: str,
    now_ms: int,
    is_dry_run: bool = False,
) -> tuple[PutBack, int | None]:
    """Make a row what `wanted` says, in one transaction; what came of it, and the id of the first
    change. Columns that are not named stay.

    check    is given the row as it is and its tag, and may raise
    then     what else belongs to the transaction

    Raises UnknownTableError, BadRequestError, ConstraintError.
    """
    first_id: int | None = None
    with store.write() as tx:
        schema = tables.at(tx).schema(table, path="table")
        check_key(schema, key)
        before = named_row(tx, schema, key)
        check(before, row_tag(before))
        target = wanted(tx, schema)
        after: Named | None = before
        try:
            with tx.savepoint():
                after = _put(tx, schema, key, before, target)
                fresh = tx.fresh()
                first_id = fresh[0].id if fresh else None
                if is_dry_run:
                    raise _DryRunError
        except _DryRunError:
            first_id = None
        if first_id is not None:
            tx.attribute(actor, now_ms=now_ms)
        if not is_dry_run:
            then(tx)
    return PutBack(before=before, after=after, etag=row_tag(before)), first_id


def _put(
    tx: WriteTransaction, schema: TableSchema, key: Key, before: Named | None, target: Named | None
) -> Named | None:
    """Write what is missing; the row then."""
    if target is None:
        if before is not None:
            tx.apply(Writes(inserts={}, updates={}, deletes={schema.name: [key]}))
        return None
    known = {name: value for name, value in target.items() if name in schema.column}
    if before is None:
        row = _whole(tx, schema, known)
        tx.apply(Writes(inserts={schema.name: [row]}, updates={}, deletes={}))
        return named_row(tx, schema, schema.key_of(row))
    columns = tuple(name for name, value in known.items() if before[name] != value)
    if columns:
        values = tuple(known[name] for name in columns)
        _check(schema, columns, values)
        update = Update(key=key, columns=columns, values=values)
        tx.apply(Writes(inserts={}, updates={schema.name: [update]}, deletes={}))
    return named_row(tx, schema, tuple(known.get(name, before[name]) for name in schema.key))


def _whole(tx: Transaction, schema: TableSchema, known: Named) -> Row:
    """A new row: what is known of it, and defaults."""
    defaults = dict(zip(schema.column_names, tx.defaults(schema.name), strict=True))
    row = tuple((defaults | dict(known))[name] for name in schema.column_names)
    _check(schema, schema.column_names, row)
    return row


def _check(schema: TableSchema, columns: tuple[str, ...], values: Row) -> None:
    check_columns([schema.column[name] for name in columns], [values], path="value", is_loose=True)
