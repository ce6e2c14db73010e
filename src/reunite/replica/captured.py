"""What triggers captured in a replica becomes what happened there.

    raw rows, the last one first ─► each compared with what came of it ─► entries that lead, one
                                                                          by one, to the table

A trigger fires before SQLite knows whether its statement takes effect: OR IGNORE may skip the row,
a user's trigger may skip it with RAISE(IGNORE), change it first or change it back. What came of a
row is what the key's next entry found (its `old`), or what the table holds now. So:

    meant                 came of it                    becomes
    update, move          the same row                  nothing
                          another row                   an update to that one
                          no row                        a delete
    delete                the row is still there        nothing, or an update
    touch (an update      no row: OR REPLACE took it    a delete
      without `row`)      the row                       nothing
    insert                no row                        nothing

Two orders are turned round. User's triggers younger than ours log what they do to a new row before
its insert is logged; the insert's row, read from the table, has that already. And under
`recursive_triggers` UPDATE OR REPLACE logs the delete of the row in its way after the move.

The rule         entries kept, applied in order to what the file held before them, end with what
                 it holds now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TypeAlias

from reunite.core.change import Op
from reunite.replica.pending import Schemas
from reunite.replica.rows import RowForms
from reunite.replica.users_triggers import are_there

_IMAGES = "select old, row from reunite_change where id = ?"
_REWRITE = "update reunite_change set key = ?, old_key = ?, old = ?, row = ? where id = ?"


class Raw:
    """A captured row before it is numbered, without its images."""

    id: int
    table: str
    op: str
    key: str
    old_key: str | None
    at_ms: int

    __slots__ = ("at_ms", "has_row", "id", "is_dropped", "key", "old_key", "op", "table")

    def __init__(self, values: tuple) -> None:  # type: ignore[type-arg]
        self.id, self.table, self.op, self.key, self.old_key = values[:5]
        self.has_row, self.at_ms = not values[5], values[6]
        self.is_dropped = False

    @property
    def source(self) -> str:
        """The key under which the row stood before."""
        return self.old_key if self.old_key is not None else self.key

    @property
    def is_touch(self) -> bool:
        """Whether it marks a row that OR REPLACE may overwrite."""
        return self.op == Op.UPDATE and not self.has_row


class _Next(Enum):
    """What stands at a place after an entry, if no later entry has seen it."""

    TABLE = "what the table holds"
    NOTHING = "no row: another one moves there"
    INSERT = "no row: the next entry inserts one, with what was done to it before it was logged"
    LOST_INSERT = "no row: the next entry inserted one that was gone again before it was logged"


# Otherwise the id of the later entry whose `old` saw it.
_Ref: TypeAlias = "_Next | int"
_Spot: TypeAlias = "tuple[str, str]"


class Settling:
    """One pass over what was captured since the last one, in the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, schemas: Schemas, forms: RowForms) -> None:
        self._connection = connection
        self._schemas = schemas
        self._forms = forms
        self._next: dict[_Spot, _Ref] = {}
        self._marks: dict[_Spot, list[Raw]] = {}
        self._image_of: dict[str, Callable[[str], str | None]] = {}
        # Without triggers of the user, an insert or update of a row is what became of it.
        self._has_users_triggers = are_there(connection)

    def settle(self, raws: Sequence[Raw]) -> None:
        """Drop or rewrite the entries that say other than what happened, here and in the file.

        A few indexed reads for each entry that is no insert, and no memory for row images.
        """
        for raw in raws:
            if raw.table not in self._schemas:
                raw.is_dropped = True
            elif raw.is_touch or raw.old_key is not None:
                self._marks.setdefault((raw.table, raw.key), []).append(raw)
        for raw in reversed(raws):
            if raw.is_dropped:
                continue
            if raw.op == Op.INSERT:
                self._settle_insert(raw)
            elif raw.op == Op.DELETE:
                self._settle_delete(raw)
            elif raw.is_touch:
                self._settle_touch(raw)
            elif raw.old_key is not None:
                self._settle_move(raw)
            else:
                self._settle_update(raw)

    # -- by kind ------------------------------------------------------------------------------

    def _settle_insert(self, raw: Raw) -> None:
        spot = (raw.table, raw.key)
        if self._next.get(spot) is _Next.INSERT:
            # A user's trigger has replaced the new row before its insert was logged.
            raw.is_dropped = True
            self._next[spot] = _Next.LOST_INSERT
            return
        if not raw.has_row or self._has_users_triggers:
            after = self._after(spot)
            _, row = self._images(raw)
            if after is None:
                raw.is_dropped = True
                is_elsewhere = row is None or self._key_of(raw.table, row) != raw.key
                self._next[spot] = _Next.LOST_INSERT if is_elsewhere else _Next.NOTHING
                return
            if after != row:
                self._rewrite(raw, row=after)
        self._next[spot] = _Next.INSERT

    def _settle_update(self, raw: Raw) -> None:
        spot = (raw.table, raw.key)
        if self._next.get(spot) in (_Next.INSERT, _Next.LOST_INSERT):
            raw.is_dropped = True
            return
        old, row = self._images(raw)
        after = self._after(spot)
        if after is None:
            self._rewrite(raw, op=Op.DELETE, old=old)
        elif after == old:
            raw.is_dropped = True
        elif after != row:
            self._rewrite(raw, old=old, row=after)
        self._next[spot] = raw.id

    def _settle_move(self, raw: Raw) -> None:
        source, target = (raw.table, raw.source), (raw.table, raw.key)
        if self._next.get(source) is _Next.LOST_INSERT:
            # A user's trigger gave the new row another key before its insert was logged.
            row = self._after(target)
            raw.is_dropped = row is None
            if row is not None:
                self._rewrite(raw, op=Op.INSERT, row=row)
            self._next[source] = self._next[target] = _Next.INSERT
            return
        old, row = self._images(raw)
        left, arrived = self._after(source), self._after(target)
        self._next[source] = raw.id
        if left is not None and left == old:
            raw.is_dropped = True
            return
        if arrived is None:
            op = Op.DELETE if left is None else Op.UPDATE
            self._rewrite(raw, op=op, key=raw.source, old=old, row=left)
            return
        if arrived != row:
            self._rewrite(raw, old_key=raw.old_key, old=old, row=arrived)
        self._next[target] = _Next.NOTHING

    def _settle_delete(self, raw: Raw) -> None:
        spot = (raw.table, raw.key)
        if self._next.get(spot) is _Next.LOST_INSERT:
            raw.is_dropped = True
            self._drop_touch_of(raw)
            self._next[spot] = _Next.INSERT
            return
        after = self._after(spot)
        if after is not None:
            old, _ = self._images(raw)
            if self._is_replaced_by_move(raw, old):
                raw.is_dropped = True
                return
            raw.is_dropped = after == old
            if not raw.is_dropped:
                self._rewrite(raw, op=Op.UPDATE, old=old, row=after)
        self._next[spot] = raw.id

    def _settle_touch(self, raw: Raw) -> None:
        spot = (raw.table, raw.key)
        if self._next.get(spot) is _Next.LOST_INSERT:
            raw.is_dropped = True
            self._next[spot] = _Next.INSERT
            return
        if self._after(spot) is None:
            raw.op = Op.DELETE
        else:
            raw.is_dropped = True
        self._next[spot] = raw.id

    def _is_replaced_by_move(self, delete: Raw, old: str | None) -> bool:
        """Whether this is the row that a move logged before has overwritten: touched, with the
        same values, before the move."""
        before = self._marks_before(delete)
        move = next(before, None)
        touch = next((raw for raw in before if raw.is_touch), None)
        if move is None or move.is_touch or touch is None:
            return False
        return self._images(touch)[0] == old

    def _drop_touch_of(self, delete: Raw) -> None:
        """Under `recursive_triggers`, OR REPLACE logs a touch and then the delete of one row."""
        touch = next(self._marks_before(delete), None)
        if touch is not None and touch.is_touch:
            touch.is_dropped = self._images(touch)[0] == self._images(delete)[0]

    def _marks_before(self, raw: Raw) -> Iterator[Raw]:
        """Touches of a place and moves to it before an entry, the last one first."""
        marks = self._marks.get((raw.table, raw.key), [])
        return (mark for mark in reversed(marks) if mark.id < raw.id and not mark.is_dropped)

    # -- what came of it ----------------------------------------------------------------------

    def _after(self, spot: _Spot) -> str | None:
        """The image of the row that stood there before the next entry; None for no row."""
        ref = self._next.get(spot, _Next.TABLE)
        if ref is _Next.TABLE:
            return self._table_image(*spot)
        if isinstance(ref, _Next):
            return None
        old: str | None = self._connection.execute(_IMAGES, (ref,)).fetchone()[0]
        return old

    def _table_image(self, table: str, key: str) -> str | None:
        image_of = self._image_of.get(table)
        if image_of is None:
            image_of = self._forms.image_reader(self._connection, self._schemas[table])
            self._image_of[table] = image_of
        return image_of(key)

    def _images(self, raw: Raw) -> tuple[str | None, str | None]:
        old, row = self._connection.execute(_IMAGES, (raw.id,)).fetchone()
        return old, row

    def _key_of(self, table: str, image: str) -> str:
        schema = self._schemas[table]
        row = self._forms.reader(table, schema.version)(image)
        return self._forms.key_text(table, schema.key_of(row))

    def _rewrite(
        self,
        raw: Raw,
        *,
        op: Op | None = None,
        key: str | None = None,
        old_key: str | None = None,
        old: str | None = None,
        row: str | None = None,
    ) -> None:
        """Say what happened instead. The op is written when the entry is numbered."""
        if op is not None:
            raw.op = op
        raw.key, raw.old_key, raw.has_row = key or raw.key, old_key, row is not None
        self._connection.execute(_REWRITE, (raw.key, raw.old_key, old, row, raw.id))
