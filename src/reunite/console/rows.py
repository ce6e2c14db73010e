"""Rows: what one is, what it was, and how it is put back by who has seen it."""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.console.audit import ChangeItem, change_items
from reunite.console.operations import READ, WRITE, Asked, Desk, Listed, operation
from reunite.console.paging import after_place
from reunite.console.problems import changed
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.engine.history import check_key, entries_of, with_rows
from reunite.engine.ports import Transaction
from reunite.engine.putting_back import Named, before_change, named_row, put_back, row_tag
from reunite.errors import BadRequestError


class RowAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which row: its key is a JSON array."""

    table: str
    key: str


class HistoryAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose history: `after` is the id of the change before which to go on."""

    table: str
    key: str


class RowSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A row as it is, by column; null for none. The tag stands for it."""

    row: Named | None
    etag: str


class RestoreAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put a row back as it was before a change of it."""

    table: str
    key: list[Any]
    change: int
    dry_run: bool = True


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """The row as it was and is, or would be; the commit that made it so."""

    before: Named | None
    after: Named | None
    etag: str
    commit: int | None


@operation("GET", "history", READ, "The changes of one row, newest first")
def history(desk: Desk, given: HistoryAsked) -> Listed[ChangeItem]:
    """A part of them."""
    desk.hub.number()
    before_id = after_place(given.after)
    with desk.reading() as tx:
        key = parsed_key(schema_of(desk, tx, given.table), given.key)
        entries = [
            entry
            for entry in entries_of(tx, given.table, key)
            if not before_id or entry.id < before_id
        ]
        part = entries[-given.limit :]
        return Listed(
            items=change_items(tx, with_rows(tx, desk.inside.tables, part))[::-1],
            next=str(part[0].id) if len(part) < len(entries) else None,
        )


@operation("GET", "row", READ, "One row as it is")
def row(desk: Desk, given: RowAsked) -> RowSeen:
    """The row."""
    with desk.reading() as tx:
        schema = schema_of(desk, tx, given.table)
        found = named_row(tx, schema, parsed_key(schema, given.key))
    return RowSeen(row=found, etag=row_tag(found))


def schema_of(desk: Desk, tx: Transaction, table: str) -> TableSchema:
    """The schema of a tracked table. Raises UnknownTableError."""
    return desk.tables(tx).schema(table, path="table")


def parsed_key(schema: TableSchema, text: str) -> Key:
    """A key of this table as a URL spells it. Raises BadRequestError."""
    try:
        found = msgspec.json.decode(text, type=list[str | int | float | bool | None])
    except (msgspec.DecodeError, RecursionError):
        raise BadRequestError('A key is a JSON array, such as ["p1"].', path="key") from None
    key = tuple(found)
    check_key(schema, key)
    return key


@operation("POST", "restore", WRITE, "Put a row back as it was before a change")
def restore(desk: Desk, given: RestoreAsked) -> Restored:
    """Put it back, or tell what would come of it."""
    key = tuple(given.key)

    def wanted(tx: Transaction, schema: TableSchema) -> Named | None:
        return before_change(tx, given.table, key, given.change)[1]

    found, first_id = put_back(
        desk.inside.store,
        desk.inside.tables,
        given.table,
        key,
        wanted=wanted,
        check=lambda before, tag: None if given.dry_run else check_row_tag(desk, before, tag),
        then=lambda tx: None,
        actor=desk.user,
        now_ms=desk.now_ms,
        is_dry_run=given.dry_run,
    )
    return Restored(
        before=found.before,
        after=found.after,
        etag=found.etag,
        commit=commit_of(desk, first_id),
    )


def check_row_tag(desk: Desk, before: Named | None, tag: str) -> None:
    """Raise ConsoleProblem if the row is not as the request says."""
    if desk.if_match is None:
        raise BadRequestError(
            "Say which row is to be changed: its `etag` in the header If-Match.", path="If-Match"
        )
    if desk.if_match.strip('"') != tag:
        raise changed(
            "The row has changed meanwhile: look at what it is now.", row=before, etag=tag
        )


def commit_of(desk: Desk, first_id: int | None) -> int | None:
    """The commit of a change that was made just now."""
    if first_id is None:
        return None
    desk.hub.number()
    with desk.reading() as tx:
        found = tx.log(after_id=first_id - 1, until_id=first_id, limit=1)
    return found[0].seq if found else None
