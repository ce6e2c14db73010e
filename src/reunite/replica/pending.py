"""Pending changes as values: what they make of the hub's rows, and what happens when a key moves.

    shown row  =  fold(hub's image, pending changes in order of n)

What it is       pure functions over a list of `Pending`; everything a replica shows follows from
                 them and from the hub's images.
What it is not   storage: `outbox.py` loads and saves the list.
The rule         the hub's rows never follow a key that this replica moves; only pending changes
                 after the moved one do, and only those that mean that very row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from reunite.core.change import Op, Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.merge import overlay
from reunite.core.pointers import pointed_parents
from reunite.core.schema import RowMerge, TableSchema
from reunite.core.values import Row, Value, is_written_alike, parse_integer
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


class Collision(Exception):  # noqa: N818 — asks for a move; not an error
    """A pending insert's generated key is held by another row: `pending` must move."""

    def __init__(self, pending: Pending) -> None:
        super().__init__(pending.uid)
        self.pending = pending


def fold(
    schemas: Schemas, pendings: Sequence[Pending], image_of: Callable[[Place], Row | None]
) -> dict[Place, Row | None]:
    """What each touched row looks like with the pending changes on top of the hub's images.

    Raises Collision for an insert whose generated key another row holds.
    """
    shown: dict[Place, Row | None] = {}

    def now(place: Place) -> Row | None:
        if place not in shown:
            shown[place] = image_of(place)
        return shown[place]

    for pending in pendings:
        schema = schemas.get(pending.table)
        if schema is None:
            continue
        source = (pending.table, pending.source)
        target = (pending.table, pending.key)
        image = now(source)
        match pending.op:
            case Op.INSERT:
                shown[target] = _insert(schema, pending, image)
            case Op.UPDATE:
                row = _update(schema, pending, image)
                if target != source:
                    if now(target) is not None:
                        # The hub has another row there; it will refuse the move.
                        continue
                    shown[source] = None
                shown[target] = row
            case Op.DELETE:
                shown[target] = None
    return shown


def _insert(schema: TableSchema, pending: Pending, image: Row | None) -> Row | None:
    row = pending.row
    assert row is not None, "an insert knows its row"
    if image is None:
        return row
    if schema.generated_key:
        raise Collision(pending)
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


def misplaced(
    schemas: Schemas, pendings: Iterable[Pending], granted: Sequence[KeyBlock]
) -> set[int]:
    """The numbers of unanswered inserts whose generated key is not of this replica's blocks.

    An insert that takes the place of a row its own group deletes (INSERT OR REPLACE) keeps its
    key: the hub frees the key in the same step.
    """
    found = set()
    vacated: set[Place] = set()
    group = 0
    for pending in pendings:
        if pending.group != group:
            group = pending.group
            vacated.clear()
        if pending.op is Op.DELETE or pending.old_key is not None:
            vacated.add((pending.table, pending.source))
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
    return found


def move_key(
    schemas: Schemas,
    pendings: Sequence[Pending],
    start: int,
    to: Key,
) -> set[int]:
    """Give the row that `pendings[start]` made (or means) the key `to`; the positions changed.

    Changes the list's members. Later changes of that row follow, up to the one that deletes it or
    moves it on; so do changes that point to it, and later ones of the rows that then point to it.
    """
    first = pendings[start]
    table, from_key = first.table, first.key
    schema = schemas[table]
    assert len(to) == len(from_key), "a key keeps its shape"
    if to == from_key:
        return set()
    touched: set[int] = set()
    followers: set[tuple[str, Key, int]] = set()
    is_alive = True
    for index in range(start, len(pendings)):
        pending = pendings[index]
        if pending.table == table and is_alive:
            is_alive = _follow(schema, pending, index, from_key, to, is_first=index == start,
                               touched=touched)  # fmt: skip
        can_point = index > start or first.op is Op.INSERT
        if len(from_key) == 1 and can_point and pending.table in schemas:
            _point(schemas[pending.table], pending, index, table, from_key[0], to[0],
                   followers, touched, is_alive=is_alive)  # fmt: skip
    return touched


def _follow(
    schema: TableSchema,
    pending: Pending,
    index: int,
    from_key: Key,
    to: Key,
    *,
    is_first: bool,
    touched: set[int],
) -> bool:
    """Move the key of one change if it means the row; whether the row lives on under `to`."""
    if is_first and pending.op is Op.INSERT:
        pending.key = to
        pending.row = _with_key(schema, pending.row, to)
        touched.add(index)
        return True
    if is_first and pending.old_key is not None:
        # A move that took effect under another key: what came before stays.
        pending.key = to
        pending.row = _with_key(schema, pending.row, to)
        touched.add(index)
        return True
    if pending.source != from_key or (pending.op is Op.INSERT and not is_first):
        return True
    touched.add(index)
    pending.old = _with_key(schema, pending.old, to)
    if pending.op is Op.DELETE:
        pending.key = to
        return False
    if pending.old_key is not None:
        pending.old_key = to
        return False
    pending.key = to
    pending.row = _with_key(schema, pending.row, to)
    return True


def _point(
    schema: TableSchema,
    pending: Pending,
    index: int,
    parent: str,
    from_value: Value,
    to_value: Value,
    followers: set[tuple[str, Key, int]],
    touched: set[int],
    *,
    is_alive: bool,
) -> None:
    """Rewrite what this change says of foreign keys that mean the moved row."""
    for foreign_key in schema.foreign_keys:
        if foreign_key.parent != parent or len(foreign_key.columns) != 1:
            continue
        position = schema.position[foreign_key.columns[0]]
        follower = (pending.table, pending.source, position)
        old, row = pending.old, pending.row
        pointed = follower in followers
        if pointed:
            followers.discard(follower)
            if old is not None and old[position] == from_value:
                pending.old = _with(old, position, to_value)
                touched.add(index)
        if row is None or row[position] != from_value:
            continue
        # Set by this change, or carried along from one that set it to the moved row.
        sets = pending.op is Op.INSERT or (old is not None and old[position] != from_value)
        if (sets and is_alive) or (pointed and not sets):
            pending.row = _with(row, position, to_value)
            followers.add((pending.table, pending.key, position))
            touched.add(index)


def _with(row: Row, position: int, value: Value) -> Row:
    return (*row[:position], value, *row[position + 1 :])


def _with_key(schema: TableSchema, row: Row | None, key: Key) -> Row | None:
    if row is None:
        return None
    for position, value in zip(schema.key_positions, key, strict=True):
        row = _with(row, position, value)
    return row
