"""Keys are used again: is the row under this key still the one that the replica saw?

SQLite gives the largest rowid anew after a delete, and programs choose natural keys twice. A change
speaks of the row that its replica saw at its mark. So the log after the mark decides: once anyone
but this replica deleted the key's row, moved it away, or made another under it, the row that the
replica meant is gone, whatever holds the key now; once this replica's own insert (or move) took
effect there, the row is its own again. A log trimmed past the mark counts as gone. Where updates
win, a push brings deleted rows back; generated keys are leased once, so what a push puts under one
that was deleted is that row again.

The rule: an entry without a pushed change (`n` None) is not this replica's, even inside its own
push: the replica knows nothing of what cascades and hooks did at the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from reunite.core.change import Change, Op
from reunite.core.key import Key
from reunite.core.schema import RowMerge, TableSchema
from reunite.core.stamp import commit_stamp
from reunite.core.values import Row, Value, same
from reunite.engine.ports import LogEntry, Transaction


def may_return(schema: TableSchema) -> bool:
    """Whether what a push puts under a key of which a row was deleted is that row again."""
    return schema.rows is RowMerge.UPDATE_WINS and schema.generated_key


def is_gone(
    entries: Sequence[LogEntry],
    key: Key,
    *,
    mark: int,
    is_mine: Callable[[LogEntry], bool],
    returns: bool = False,
    stood: bool = True,
) -> bool:
    """Whether the row that stood under `key` at `mark` is gone. `entries` are the key's, by id;
    `returns` says that a push may have brought it back. Unless it surely `stood`, a row that came
    when nothing was there is the one that is meant."""
    gone = False
    for entry in entries:
        if entry.place <= mark:
            continue
        arrives = entry.key == key and (entry.op is Op.INSERT or entry.old_key is not None)
        if arrives and not stood:
            # Steps of a row that were put together have the mark of the first one, and may point
            # to what was seen with a later one.
            stood = True
            continue
        stood = True
        if is_mine(entry):
            if arrives or entry.pushed_op is Op.INSERT:
                gone = False
        elif returns and entry.n is not None and arrives and (gone or entry.op is Op.INSERT):
            # Also of a row that was deleted before the mark, and shown here for a change of ours.
            gone = False
        elif arrives or entry.old_key == key or (entry.op is Op.DELETE and entry.key == key):
            gone = True
    return gone


def lost_for_good(
    tx: Transaction, schema: TableSchema, keys: Collection[Key], changes: Sequence[Change]
) -> set[Key]:
    """Those of these missing rows that none of the changes, where updates win, brings back."""
    if schema.rows is not RowMerge.UPDATE_WINS:
        return set(keys)
    mark = min(change.mark for change in changes)
    return set(keys) - {entry.key for entry in tx.entries(schema.name, keys, after_id=mark)}


def hub_stamps(
    schema: TableSchema,
    entries: Sequence[LogEntry],
    key: Key,
    row: Row,
    columns: Sequence[str],
    *,
    now_ms: int,
) -> dict[str, str]:
    """For each column, the stamp of the last change of `key` in which its value differs.

    `row` is the row of today; the row after a change is the `old` of the next one. Columns that
    no entry changed are missing: they count as older than anything.
    """
    stamps: dict[str, str] = {}
    after: Mapping[str, Value] = dict(zip(schema.column_names, row, strict=True))
    for entry in reversed(entries):
        if entry.key != key and entry.old_key != key:
            continue
        before = entry.image
        for name in columns:
            if name in stamps:
                continue
            if before is None or not same(
                schema.column[name].type, before.get(name), after.get(name)
            ):
                stamps[name] = _stamp_of(entry, now_ms)
        if before is not None:
            after = before
        if len(stamps) == len(columns):
            break
    return stamps


def _stamp_of(entry: LogEntry, now_ms: int) -> str:
    return entry.stamp or commit_stamp(entry.at_ms if entry.at_ms is not None else now_ms)


def last_image(
    schema: TableSchema, entries: Sequence[LogEntry], key: Key, *, mark: int
) -> Row | None:
    """The row under `key` as it was when it was last deleted or moved away after `mark`."""
    for entry in reversed(entries):
        if entry.place > mark and entry.old is not None and entry.op is Op.DELETE:
            if entry.key != key:
                continue
            return entry.image_in(schema)
    return None


def images(
    schema: TableSchema, entries: Sequence[LogEntry], key: Key, *, mark: int
) -> Iterator[Row]:
    """What stood under `key` after `mark` before it was changed, deleted or moved away."""
    for entry in entries:
        if entry.place > mark and key == (entry.old_key or entry.key):
            image = entry.image_in(schema)
            if image is not None:
                yield image
