"""A step's rows in memory: what the hub has, what a group makes of it, the net writes.

    slot: the row as it was read (`before`, under `before_key`) and as it is to be (`after`)
    no before, an after → insert · both → update of what differs · a before, no after → delete

What it is       plain bookkeeping for `engine/group.py`; nothing here decides.
The rule         a step holds no key twice: what would need it (a key that this step deletes or
                 moves away, taken again by an insert) must be flushed first; `must_flush` says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.ports import Update, Writes


class Slot:
    """One row through one step."""

    __slots__ = ("after", "after_key", "before", "before_key", "schema")

    def __init__(self, schema: TableSchema, key: Key, row: Row | None) -> None:
        self.schema = schema
        self.before = row
        self.before_key = key
        self.after = row
        self.after_key = key


class Workspace:
    """The slots of one step, found by the key that a row has now."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, Key], Slot] = {}
        self._vacated: set[tuple[str, Key]] = set()
        self.tables_deleted_from: set[str] = set()

    def load(self, schema: TableSchema, key: Key, row: Row | None) -> None:
        """Take in what the database has under a key, unless the step already knows it."""
        self._slots.setdefault((schema.name, key), Slot(schema, key, row))

    def find(self, table: str, key: Key) -> tuple[bool, Row | None]:
        """Whether the step knows this key, and what it makes of the row under it."""
        slot = self._slots.get((table, key))
        return (False, None) if slot is None else (True, slot.after)

    def slot(self, table: str, key: Key) -> Slot:
        """The place of a row that this step has read. Raises KeyError for another."""
        return self._slots[table, key]

    def is_vacated(self, table: str, key: Key) -> bool:
        """Whether this step deletes the key or moves it away: flush before it is used again."""
        return (table, key) in self._vacated

    def put(self, slot: Slot, row: Row) -> None:
        """The row is to be so; its key has not changed."""
        slot.after = row

    def delete(self, slot: Slot) -> None:
        """The row is to be gone."""
        slot.after = None
        self._vacated.add((slot.schema.name, slot.after_key))
        self.tables_deleted_from.add(slot.schema.name)

    def move(self, slot: Slot, key: Key, row: Row) -> None:
        """The row is to be so, under a new key."""
        table = slot.schema.name
        self._vacated.add((table, slot.after_key))
        self._slots[table, slot.after_key] = Slot(slot.schema, slot.after_key, None)
        self._vacated.discard((table, key))
        self._slots[table, key] = slot
        slot.after_key = key
        slot.after = row

    def changed(self) -> list[Slot]:
        """The slots that the step changes."""
        return [
            slot
            for slot in self._slots.values()
            if slot.after is not slot.before and slot.after != slot.before
        ]

    def writes(self) -> Writes:
        """The net writes of the step."""
        return writes_of(self.changed())


def writes_of(slots: Iterable[Slot]) -> Writes:
    """The net writes of slots that differ."""
    inserts: dict[str, list[Row]] = {}
    updates: dict[str, list[Update]] = {}
    deletes: dict[str, list[Key]] = {}
    for slot in slots:
        name = slot.schema.name
        if slot.before is None:
            assert slot.after is not None, "a changed slot without a before has an after"
            inserts.setdefault(name, []).append(slot.after)
        elif slot.after is None:
            deletes.setdefault(name, []).append(slot.before_key)
        else:
            updates.setdefault(name, []).append(_update(slot, slot.before, slot.after))
    return Writes(inserts=inserts, updates=updates, deletes=deletes)


def _update(slot: Slot, before: Row, after: Row) -> Update:
    names = slot.schema.column_names
    # Identity first: values taken over unchanged are the same objects; 1 and True are not alike.
    places = [
        i
        for i in range(len(names))
        if before[i] is not after[i]
        and (before[i] != after[i] or type(before[i]) is not type(after[i]))
    ]
    return Update(
        key=slot.before_key,
        columns=tuple(names[i] for i in places),
        values=tuple(after[i] for i in places),
    )


def op_of(slot: Slot) -> Op:
    """What a changed slot means for its row."""
    if slot.before is None:
        return Op.INSERT
    return Op.DELETE if slot.after is None else Op.UPDATE
