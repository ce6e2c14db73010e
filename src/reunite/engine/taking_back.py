"""What a commit did to rows, and what they are to be when it is undone. Decisions over the log.

    the log                 the commit               what undo wants
    insert                  made the row             it goes, if it is as it was made
    delete                  took the row away        it comes back, if its key is free
    update, another key     changed the row          each column goes back that is as it was left

What stood before is in the first entry of a key, what stood after in the next entry that the
commit did not make, or in the table of today. Columns go back by the merge that pushes use, with
the hub's values winning: so counters and unions go back by what the commit added.

The rule         what changed since stays, and is told as a conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.merge import merge_row
from reunite.core.schema import Column, ColumnMerge, ColumnType, TableSchema
from reunite.core.values import Row, Value, same, wire_integer
from reunite.engine.ports import LogEntry
from reunite.engine.workspace import Slot

# Policies that take back what was added, whatever else was.
_DELTAS = frozenset({ColumnMerge.COUNTER, ColumnMerge.UNION})


class UndoConflict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What undo left as it is, because something happened since.

    code      `changed` (a column, or a new row that would go), `deleted` or `replaced` (the row),
              `erased` (nobody knows what it was), `key-taken`, `has-children` (rows point to it),
              or that of the constraint that refused it
    column    None if it is about the whole row
    undone    what undo would have put there: a value, or a row by column; None for no row
    now       what is there
    """

    table: str
    key: Key
    code: str
    column: str | None = None
    undone: Value = None
    now: Value = None


@dataclass(slots=True)
class Undone:
    """One row through a commit: under which key it was before and after, and what it was."""

    before_key: Key | None = None
    after_key: Key | None = None
    before: Mapping[str, Value] | None = None
    after: Mapping[str, Value] | None = None
    is_replaced: bool = False  # another row has its key since
    is_erased: bool = False


def undone_rows(
    schema: TableSchema,
    entries: Sequence[LogEntry],
    of_commit: Iterable[int],
    today: Mapping[Key, Row],
) -> list[Undone]:
    """What a commit did to the rows of a table.

    entries     of all keys that it touched, by id, from its first one on
    of_commit   the ids of those that it made
    today       the rows under these keys now
    """
    ids = set(of_commit)
    states = _States(schema, entries, ids, today)
    origins: dict[Key, Key | None] = {}  # where each row that is there was before the commit
    gone: dict[Key, None] = {}
    for entry in entries:
        if entry.id not in ids:
            continue
        key = entry.key
        if entry.old_key is not None and entry.old_key != key:
            origins[key] = origins.pop(entry.old_key, entry.old_key)
        elif entry.op is Op.INSERT:
            origins[key] = None
        elif entry.op is Op.DELETE:
            origin = origins.pop(key, key)
            if origin is not None:
                gone[origin] = None
        else:
            origins.setdefault(key, key)
    moved = {origin for key, origin in origins.items() if origin != key}
    found = []
    for key, origin in origins.items():
        if origin is None and states.before[key] is not None and key not in moved:
            origin = key  # taken away and made again, in whatever way
            gone.pop(key, None)
        found.append(states.row(origin, key))
    found += [states.row(key, None) for key in gone]
    return [
        row for row in found if row.before is not None or row.after is not None or row.is_erased
    ]


class _States:
    """What stood under each key before a commit, and after it."""

    def __init__(
        self,
        schema: TableSchema,
        entries: Sequence[LogEntry],
        ids: set[int],
        today: Mapping[Key, Row],
    ) -> None:
        self.before: dict[Key, Mapping[str, Value] | None] = {}
        self.after: dict[Key, Mapping[str, Value] | None] = {}
        self._replaced: set[Key] = set()
        self._erased: set[Key] = set()
        last_id = max(ids)
        for entry in entries:
            for key in dict.fromkeys((entry.key, entry.old_key)):
                if key is None:
                    continue
                image = image_under(entry, key)
                if entry.is_erased:
                    self._erased.add(key)
                if entry.id in ids:
                    self.before.setdefault(key, image)
                    self.after.pop(key, None)
                elif entry.id > last_id:
                    self.after.setdefault(key, image)
                    if entry.op is not Op.UPDATE or entry.old_key is not None:
                        self._replaced.add(key)
        for key in self.before:
            row = today.get(key)
            named = None if row is None else dict(zip(schema.column_names, row, strict=True))
            self.after.setdefault(key, named)

    def row(self, before_key: Key | None, after_key: Key | None) -> Undone:
        after = None if after_key is None else self.after[after_key]
        is_erased = not self._erased.isdisjoint((before_key, after_key))
        return Undone(
            before_key=before_key,
            after_key=None if after is None and not is_erased else after_key,
            before=None if before_key is None else self.before[before_key],
            after=after,
            is_replaced=after_key in self._replaced,
            is_erased=is_erased,
        )


def image_under(entry: LogEntry, key: Key) -> dict[str, Any] | None:
    """What stood under one of an entry's keys before it, by column; None for nothing."""
    arrives = entry.old_key is not None and entry.old_key != key
    return None if arrives else entry.image


def wanted(
    schema: TableSchema, row: Undone, today: Mapping[Key, Row]
) -> tuple[Slot | None, list[UndoConflict]]:
    """What is to be written so that a row is as it was before, and what stands in the way."""
    if row.is_erased:
        key = row.before_key or row.after_key
        return None, [] if key is None else [_conflict(schema, key, "erased")]
    if row.after_key is None:
        return _restored(schema, row, today)
    now = today.get(row.after_key)
    if row.before is None:
        return _removed(schema, row, now)
    if now is None or row.is_replaced:
        code = "deleted" if now is None else "replaced"
        undone = dict(row.before)
        return None, [
            _conflict(schema, row.after_key, code, undone=undone, now=_named(schema, now))
        ]
    return _put_back(schema, row, now)


def _restored(
    schema: TableSchema, row: Undone, today: Mapping[Key, Row]
) -> tuple[Slot | None, list[UndoConflict]]:
    """A row that the commit took away."""
    assert row.before_key is not None, "it was there"
    assert row.before is not None, "it was there"
    image, now = _row(schema, row.before), today.get(row.before_key)
    if now is None:
        slot = Slot(schema, row.before_key, None)
        slot.after = image
        return slot, []
    if _alike(schema, now, image):
        return None, []
    undone, named = _named(schema, image), _named(schema, now)
    return None, [_conflict(schema, row.before_key, "key-taken", undone=undone, now=named)]


def _removed(
    schema: TableSchema, row: Undone, now: Row | None
) -> tuple[Slot | None, list[UndoConflict]]:
    """A row that the commit made."""
    assert row.after_key is not None, "it was there"
    assert row.after is not None, "it was there"
    if now is None:
        return None, []
    if row.is_replaced or not _alike(schema, now, _row(schema, row.after, now)):
        code = "replaced" if row.is_replaced else "changed"
        return None, [_conflict(schema, row.after_key, code, now=_named(schema, now))]
    slot = Slot(schema, row.after_key, now)
    slot.after = None
    return slot, []


def _put_back(schema: TableSchema, row: Undone, now: Row) -> tuple[Slot | None, list[UndoConflict]]:
    """A row that the commit changed, column by column."""
    before, after, before_key, after_key = row.before, row.after, row.before_key, row.after_key
    assert before is not None, "it was there"
    assert after is not None, "it was there"
    assert before_key is not None, "it was there"
    assert after_key is not None, "it was there"
    columns = [
        column
        for column in schema.columns
        if column.name in before and column.name in after and column.name not in schema.key
    ]
    merged = merge_row(
        _hub_wins(schema),
        columns=[column.name for column in columns],
        base=[after[column.name] for column in columns],
        mine=[before[column.name] for column in columns],
        theirs=now,
        stamp="",
        hub_stamps={},
    )
    conflicts = [
        _conflict(
            schema,
            after_key,
            "changed",
            column=conflict.column,
            undone=conflict.replica,
            now=conflict.hub,
        )
        for conflict in merged.conflicts
    ]
    slot = Slot(schema, after_key, now)
    values = list(merged.row)
    for place, value in zip(schema.key_positions, before_key, strict=True):
        values[place] = value if before_key != after_key else values[place]
    slot.after, slot.after_key = tuple(values), before_key
    return (None if slot.after == now else slot), conflicts


def _hub_wins(schema: TableSchema) -> TableSchema:
    """The table with policies that leave what changed since, or take back what was added."""
    columns = tuple(
        column
        if column.merge in _DELTAS
        else msgspec.structs.replace(column, merge=ColumnMerge.HUB_WINS)
        for column in schema.columns
    )
    return msgspec.structs.replace(schema, columns=columns)


def _row(schema: TableSchema, image: Mapping[str, Value], now: Row | None = None) -> Row:
    """An image as a row of today's columns; those that it lacks are as `now`, or as in a new
    row."""
    return tuple(
        image[column.name]
        if column.name in image
        else _default(column)
        if now is None
        else now[schema.position[column.name]]
        for column in schema.columns
    )


def _default(column: Column) -> Value:
    """What a new row has in a column that came later, where that is a plain value."""
    text = (column.default or "").strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    try:
        if column.type is ColumnType.BOOLEAN:
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
        if column.type is ColumnType.INTEGER:
            return wire_integer(int(text))
        if column.type is ColumnType.REAL:
            return float(text)
    except ValueError:
        pass
    return None


def _alike(schema: TableSchema, a: Row, b: Row) -> bool:
    return all(same(c.type, x, y) for c, x, y in zip(schema.columns, a, b, strict=True))


def _named(schema: TableSchema, row: Row | None) -> dict[str, Value] | None:
    return None if row is None else dict(zip(schema.column_names, row, strict=True))


def _conflict(
    schema: TableSchema,
    key: Key,
    code: str,
    *,
    column: str | None = None,
    undone: Value = None,
    now: Value = None,
) -> UndoConflict:
    return UndoConflict(
        table=schema.name, key=key, code=code, column=column, undone=undone, now=now
    )
