"""Where a replica reads on: its cursor, the log as it is now, and the view that it has by now.

The rule         a cursor is the hub's own text, but it comes from outside: one that names what this
                 log and this replica do not have is as good as none.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reunite.core.checks import check_columns
from reunite.core.cursor import Cursor, SnapshotPosition
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.view import View, parse_view
from reunite.engine.ports import Head, ReplicaRecord, Transaction
from reunite.engine.view import still_fits
from reunite.errors import BadRequestError, ViewChangedError


def place_for(
    tx: Transaction,
    head: Head,
    cursor: Cursor,
    repaired: Cursor | None,
    view: View,
    record: ReplicaRecord,
    schemas: Mapping[str, TableSchema],
) -> tuple[Cursor, View | None] | None:
    """Where to read on for this view, and the view of before while it is replaced; None if all
    must be read from the beginning.

    Evicts name rows of an old view: one that this replica was not sent is as good as unknown.
    Raises ViewChangedError if the replica must first go back to its checkpoint, and BadRequestError
    for a cursor that stands outside of its view.
    """
    found = _cursor_for(tx, head, cursor, repaired, view, record)
    if found is None:
        return None
    old = None
    if found.old_view is not None:
        old = parse_view(tx.view(found.old_view) or "[]")
        if not still_fits(old, tx):
            return None
    if found.snapshot is not None:
        _check_snapshot(schemas, found.snapshot)
    return found, old


def _cursor_for(
    tx: Transaction,
    head: Head,
    cursor: Cursor,
    repaired: Cursor | None,
    view: View,
    record: ReplicaRecord,
) -> Cursor | None:
    if not is_of_log(tx, head, cursor):
        return None
    if repaired is not None and not is_of_log(tx, head, repaired):
        return None  # rows of a log that is gone are in its inbox
    if repaired is not None and repaired.view != view.hash:
        raise _changed_again()
    if cursor.old_view is not None and not _was_sent(tx, record, cursor.old_view):
        return None
    if view.reaches and 0 < cursor.checkpoint < tx.trimmed_seq():
        return None  # what parents were then cannot be told any more
    if cursor.view == view.hash:
        return cursor
    if is_between(cursor):
        if cursor.checkpoint == 0:
            return None  # a first clone, or a snapshot after a reset: it begins again
        raise _changed_again()
    if cursor.old_view is not None:
        raise _changed_again()
    if not _was_sent(tx, record, cursor.view):
        return None
    first = SnapshotPosition(table=min(view.tables, default=""), after=None, rows_total=0)
    position = first if view.tables else None
    return msgspec.structs.replace(cursor, view=view.hash, old_view=cursor.view, snapshot=position)


def is_between(cursor: Cursor) -> bool:
    """Whether there is more to come before the next checkpoint."""
    has_begun = cursor.snapshot is not None or cursor.expansion is not None
    return has_begun or cursor.id > 0 or cursor.seq != cursor.checkpoint


def _was_sent(tx: Transaction, record: ReplicaRecord, view: str) -> bool:
    """Whether the replica was sent this view, and the hub still knows what it means."""
    return view in record.views and tx.view(view) is not None


def _changed_again() -> ViewChangedError:
    return ViewChangedError(
        "The view changed while its rows were on their way: pull from the last checkpoint."
    )


def is_ours(tx: Transaction, head: Head, cursor: Cursor, view: str) -> bool:
    """Whether the log can be read on from the cursor: same epoch, same commit, same view."""
    return cursor.view == view and is_of_log(tx, head, cursor)


def is_of_log(tx: Transaction, head: Head, cursor: Cursor) -> bool:
    """Whether the log can be read on from the cursor: same epoch, and the commits that it names."""
    if cursor.epoch != head.epoch or cursor.seq < tx.trimmed_seq():
        return False
    named = [(cursor.seq, cursor.nonce)]
    if cursor.seen is not None:
        # Rows of the pages up to here are as they were then, newer than `seq` perhaps.
        named.append((cursor.seen.seq, cursor.seen.nonce))
    return all(seq == 0 or _has(tx, seq, nonce) for seq, nonce in named)


def _has(tx: Transaction, seq: int, nonce: str) -> bool:
    commit = tx.commit(seq)
    return commit is not None and commit.nonce == nonce


def _check_snapshot(schemas: Mapping[str, TableSchema], position: SnapshotPosition) -> None:
    """A cursor is the hub's own text, but it comes from outside. Raises BadRequestError."""
    schema = schemas.get(position.table)
    if schema is None:
        raise BadRequestError("The cursor stands in a table outside its view.", path="cursor")
    check_key(schema, position.after)


def check_key(schema: TableSchema, key: Key | None) -> None:
    """Refuse a position in a cursor that is no key of its table. Raises BadRequestError."""
    if key is not None:
        columns = [schema.column[name] for name in schema.key]
        check_columns(columns, [key], path="cursor", is_loose=True)
