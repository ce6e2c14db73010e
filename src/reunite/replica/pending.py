"""Pending changes as values: what they make of the hub's rows, and what happens when a key moves.

    shown row  =  fold(hub's image, pending changes in order of n)

What it is       pure functions over a list of `Pending`; everything a replica shows follows from
                 them and from the hub's images.
What it is not   storage: `outbox.py` loads and saves the list.
The rule         the hub's rows never follow a key that this replica moves; only pending changes
                 after the moved one do, and only those that mean that very row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from reunite.core.change import Op, Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.merge import overlay
from reunite.core.pointers import pointed_parents, pointer_places
from reunite.core.schema import RowMerge, TableSchema
from reunite.core.values import Row, is_written_alike, parse_integer
from reunite.protocol.register import KeyBlock

Place: TypeAlias = tuple[str, Key]
Schemas: TypeAlias = Mapping[str, TableSchema]


class Pending(msgspec.Struct, gc=False, kw_only=True):
    """One captured change that no checkpoint has covered yet. Whole rows, in schema order.

    `group` is the number of the first change of its local transaction; negative for a run of
    other programs' changes, which the hub may split.
    """

    id: int
    uid: str
    n: int
    group: int
    table: str
    op: Op
    key: Key
    old_key: Key | None
    old: Row | None
    row: Row | None
    stamp: str
    mark: int
    covered: int
    at_ms: int
    outcome: Outcome | None = None

    @property
    def source(self) -> Key:
        """The key under which the row stood before this change."""
        return self.old_key if self.old_key is not None else self.key

    @property
    def is_rejected(self) -> bool:
        return self.outcome is not None and self.outcome.kind is OutcomeKind.REJECTED


def places(pendings: Iterable[Pending]) -> set[Place]:
    """Every (table, key) that these changes touch."""
    found = set()
    for pending in pendings:
        found.add((pending.table, pending.key))
        if pending.old_key is not None:
            found.add((pending.table, pending.old_key))
    return found


def changed_columns(schema: TableSchema, pending: Pending) -> tuple[int, ...]:
    """Where in the row an update changes something."""
    old, row = pending.old, pending.row
    assert old is not None, "an update knows the row before"
    assert row is not None, "an update knows the row after"
    return tuple(i for i in range(len(row)) if not is_written_alike(old[i], row[i]))


def dependencies(schemas: Schemas, pending: Pending) -> set[Place]:
    """The rows that a change touches or that the values it sets point to."""
    found = places([pending])
    schema = schemas.get(pending.table)
    if schema is not None and pending.row is not None:
        names = schema.column_names
        columns: tuple[int, ...] = tuple(range(len(names)))
        if pending.op is Op.UPDATE:
            columns = changed_columns(schema, pending)
        values = tuple(pending.row[i] for i in columns)
        chosen = [names[i] for i in columns]
        found.update(pointed_parents(schemas, pending.table, chosen, values))
    return found


def fold(
    schemas: Schemas,
    pendings: Sequence[Pending],
    image_of: Callable[[Place], Row | None],
    collisions: list[int] | None = None,
    evicted: Collection[Place] = (),
) -> dict[Place, Row | None]:
    """What each touched row looks like with the pending changes on top of the hub's images.

    `collisions` collects the positions of inserts whose generated key another row holds: they must
    move, and the result counts for nothing. Without it there must be none. Rows that are `evicted`
    have no image, and are not shown whatever was changed of them.
    """
    shown: dict[Place, Row | None] = {}
    hidden = set(evicted)

    def now(place: Place) -> Row | None:
        if place not in shown:
            shown[place] = image_of(place)
        return shown[place]

    for index, pending in enumerate(pendings):
        schema = schemas.get(pending.table)
        if schema is None:
            continue
        source = (pending.table, pending.source)
        target = (pending.table, pending.key)
        image = now(source)
        match pending.op:
            case Op.INSERT if image is not None and schema.generated_key:
                assert collisions is not None, "keys were settled before"
                collisions.append(index)
            case Op.INSERT:
                shown[target] = _insert(schema, pending, image)
                hidden.discard(target)
            case Op.UPDATE:
                row = None if source in hidden else _update(schema, pending, image)
                if target != source:
                    if now(target) is not None:
                        # The hub has another row there; it will refuse the move.
                        continue
                    shown[source] = None
                    if source in hidden:
                        hidden.add(target)
                shown[target] = row
            case Op.DELETE:
                shown[target] = None
    return shown


def _insert(schema: TableSchema, pending: Pending, image: Row | None) -> Row | None:
    row = pending.row
    assert row is not None, "an insert knows its row"
    if image is None:
        return row
    return overlay(schema, columns=schema.column_names, was=None, set=row, hub=image)


def _update(schema: TableSchema, pending: Pending, image: Row | None) -> Row | None:
    old, row = pending.old, pending.row
    assert old is not None, "an update knows the row before"
    assert row is not None, "an update knows the row after"
    if image is None:
        return row if schema.rows is RowMerge.UPDATE_WINS else None
    changed = changed_columns(schema, pending)
    names = schema.column_names
    return overlay(
        schema,
        columns=tuple(names[i] for i in changed),
        was=tuple(old[i] for i in changed),
        set=tuple(row[i] for i in changed),
        hub=image,
    )


def deleted_places(pendings: Iterable[Pending]) -> set[Place]:
    """Where pending changes delete rows, or move them away."""
    return {
        (pending.table, pending.source)
        for pending in pendings
        if pending.op is Op.DELETE or pending.old_key is not None
    }


def misplaced(
    schemas: Schemas, pendings: Iterable[Pending], granted: Sequence[KeyBlock]
) -> set[int]:
    """The numbers of unanswered inserts whose generated key is not of this replica's blocks.

    An insert that takes the place of a row its own group deletes (INSERT OR REPLACE) keeps its
    key: the hub frees the key in the same step. Not so if that row is one of those that move.
    """
    found = set()
    vacated: set[Place] = set()
    moving: set[Place] = set()
    group = 0
    for pending in pendings:
        if pending.group != group:
            group = pending.group
            vacated.clear()
        if pending.op is Op.DELETE or pending.old_key is not None:
            place = (pending.table, pending.source)
            if place in moving:
                moving.discard(place)
            else:
                vacated.add(place)
        schema = schemas.get(pending.table)
        if pending.op is not Op.INSERT or schema is None or not schema.generated_key:
            continue
        if pending.outcome is not None or (pending.table, pending.key) in vacated:
            continue
        key = parse_integer(pending.key[0])
        if not any(
            block.table == pending.table and block.first <= key <= block.last for block in granted
        ):
            found.add(pending.n)
            moving.add((pending.table, pending.key))
    return found


def move_keys(schemas: Schemas, pendings: Sequence[Pending], moves: Mapping[int, Key]) -> set[int]:
    """Give the rows that the changes at these positions made (or mean) other keys.

    Changes the list's members; the positions that changed. Later changes of such a row follow, up
    to the one that deletes it or moves it on; so do changes that point to it, and later ones of
    the rows that then point to it. One pass over the list, however many rows move.
    """
    walk = _Walk(schemas)
    for index, pending in enumerate(pendings):
        if pending.table in schemas:
            walk.take(index, pending, moves.get(index))
    return walk.touched


class _Walk:
    """Where moved rows are, and who points to them, while the changes go by."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._moved: dict[Place, Key] = {}  # the key that a row had → the one it has
        self._pointers: dict[tuple[str, Key, tuple[str, ...]], tuple[Key, Key]] = {}
        self.touched: set[int] = set()

    def take(self, index: int, pending: Pending, to: Key | None) -> None:
        """Rewrite one change; `to` is the new key of its row, if it moves here."""
        schema = self._schemas[pending.table]
        if to is not None and to != pending.key:
            assert len(to) == len(pending.key), "a key keeps its shape"
            self.touched.add(index)
            self._begin(schema, pending, to)
        elif self._moved and pending.op is not Op.INSERT:
            self._follow(schema, index, pending)
        if self._moved or self._pointers:
            self._point(schema, index, pending)

    def _begin(self, schema: TableSchema, pending: Pending, to: Key) -> None:
        self._moved[pending.table, pending.key] = to
        is_known_before = pending.op is not Op.INSERT and pending.old_key is None
        if is_known_before:
            pending.old = _with_key(schema, pending.old, to)
        if pending.op is Op.DELETE:
            del self._moved[pending.table, pending.key]
        pending.key = to
        pending.row = _with_key(schema, pending.row, to)

    def _follow(self, schema: TableSchema, index: int, pending: Pending) -> None:
        source = (pending.table, pending.source)
        to = self._moved.get(source)
        if to is None:
            return
        self.touched.add(index)
        pending.old = _with_key(schema, pending.old, to)
        if pending.old_key is not None:
            pending.old_key = to
            del self._moved[source]
            return
        if pending.op is Op.DELETE:
            del self._moved[source]
        pending.key = to
        pending.row = _with_key(schema, pending.row, to)

    def _point(self, schema: TableSchema, index: int, pending: Pending) -> None:
        """Rewrite what this change says of foreign keys that mean moved rows."""
        for foreign_key in schema.foreign_keys:
            places = pointer_places(self._schemas, foreign_key, schema.column_names)
            if not places:
                continue
            old, row = pending.old, pending.row
            pointer = (pending.table, pending.source, foreign_key.columns)
            carried = self._pointers.pop(pointer, None)
            if carried is not None and old is not None and _values(old, places) == carried[0]:
                pending.old = with_values(old, places, carried[1])
                self.touched.add(index)
            if row is None or None in (values := _values(row, places)):
                continue
            # Set by this change, or carried along from one that set it to the moved row.
            sets = pending.op is Op.INSERT or (old is not None and _values(old, places) != values)
            to = self._moved.get((foreign_key.parent, values)) if sets else None
            if to is not None:
                carried = (values, to)
            elif sets or carried is None or carried[0] != values:
                continue
            self.touched.add(index)
            pending.row = with_values(row, places, carried[1])
            if not set(schema.key_positions).isdisjoint(places):
                # The pointer is a part of the row's own key, so the row moves with its parent.
                self._begin(schema, pending, schema.key_of(pending.row))
            pointer = (pending.table, pending.key, foreign_key.columns)
            self._pointers[pointer] = carried


def _values(row: Row, places: Sequence[int]) -> Row:
    return tuple([row[place] for place in places])


def with_values(row: Row, places: Sequence[int], values: Row) -> Row:
    """A row with other values in some places."""
    changed = list(row)
    for place, value in zip(places, values, strict=True):
        changed[place] = value
    return tuple(changed)


def _with_key(schema: TableSchema, row: Row | None, key: Key) -> Row | None:
    return None if row is None else with_values(row, schema.key_positions, key)
