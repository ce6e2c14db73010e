"""Undo: a commit's rows are put back, as a new commit. One hub transaction.

    the commit's changes ──► what each row was and is to be (`taking_back.py`)
      ──► rows that others point to stay
      ──► applied as one step; if a constraint objects, in halves, until the rows to blame are alone

What it is not   a push: no rule is asked, and no hook is called. Triggers log it, as everything.
The rule         what changed since stays. What cannot be undone is told, and the rest is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from reunite.core.expression import EXPRESSION_VALUES_MAX, Operator, Term, check_expression
from reunite.core.key import Key
from reunite.core.schema import ColumnType, ForeignKey, TableSchema
from reunite.core.values import Row, Value
from reunite.engine.ports import Position, Store, Touch, Transaction, WriteTransaction
from reunite.engine.tables import Tables
from reunite.engine.taking_back import UndoConflict, Undone, undone_rows, wanted
from reunite.engine.workspace import Slot, writes_of
from reunite.errors import BadRequestError, ConstraintError, LimitExceededError

# Changes of one commit that undo takes on: all of them are in memory.
UNDO_CHANGES_MAX = 1_000_000

# Rows that are read at a time to see whether they point to one that would go.
CHILDREN_AT_ONCE = 10_000

_LISTABLE = frozenset({ColumnType.INTEGER, ColumnType.TEXT, ColumnType.UUID})


class UndoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What undoing commit `undone` came to: the `rows` that were written in the new commit, None if
    there is none, and what was left as it is."""

    undone: int
    commit: int | None
    rows: int
    conflicts: tuple[UndoConflict, ...]


class _DryRunError(Exception):
    """Nothing of it is to stay."""


def undo(
    store: Store,
    tables: Tables,
    seq: int,
    *,
    actor: str | None,
    now_ms: int,
    is_dry_run: bool = False,
) -> tuple[UndoReport, int | None]:
    """Put back what a commit changed, where nothing else changed it since; what came of it, and
    the id of the first change that undo made. Its commit has no number yet.

    Raises BadRequestError (no such commit, or it was trimmed), LimitExceededError. A constant
    number of statements, and reads that follow the size of the commit; more where a constraint
    objects.
    """
    conflicts: list[UndoConflict] = []
    first_id: int | None = None
    with store.write() as tx:
        tables = tables.at(tx)
        slots = _slots(tx, tables, _touches_of(tx, seq), conflicts)
        step = _Step(tx, tables.schemas)
        try:
            with tx.savepoint():
                step.settle(slots)
                if is_dry_run:
                    raise _DryRunError
        except _DryRunError:
            pass
        fresh = tx.fresh()
        first_id = fresh[0].id if fresh else None
        if actor is not None:
            tx.attribute(actor, now_ms=now_ms)
    refused = [_refused(slot, code) for slot, code in step.refused]
    report = UndoReport(
        undone=seq,
        commit=None,
        rows=len(slots) - len(refused),
        conflicts=(*conflicts, *refused),
    )
    return report, first_id


def _touches_of(tx: Transaction, seq: int) -> list[Touch]:
    """The changes of a commit."""
    if seq <= tx.trimmed_seq() or tx.commit(seq) is None:
        raise BadRequestError(
            f"There is no commit {seq} in the log, or it was trimmed: `reunite log` lists them.",
            path="commit",
        )
    touches: list[Touch] = []
    after = Position(seq=seq - 1, id=0)
    while True:
        found = tx.touched(after, limit=10_000)
        touches += [touch for touch in found if touch.seq == seq]
        if not found or found[-1].seq != seq:
            return touches
        if len(touches) > UNDO_CHANGES_MAX:
            raise LimitExceededError(
                f"Commit {seq} has more than {UNDO_CHANGES_MAX} changes.", limit="UNDO_CHANGES_MAX"
            )
        after = Position(seq=seq - 1, id=found[-1].id)


def _slots(
    tx: Transaction, tables: Tables, touches: Sequence[Touch], conflicts: list[UndoConflict]
) -> list[Slot]:
    """The rows to write. What stands in the way is added to `conflicts`."""
    by_table: dict[str, list[Touch]] = {}
    for touch in touches:
        by_table.setdefault(touch.table, []).append(touch)
    slots = []
    for table, found in by_table.items():
        schema = tables.schemas.get(table)
        if schema is None:
            keys = dict.fromkeys(touch.key for touch in found)
            conflicts += [UndoConflict(table=table, key=key, code="unknown-table") for key in keys]
            continue
        today, rows = _undone(tx, schema, found)
        for row in rows:
            slot, in_the_way = wanted(schema, row, today)
            conflicts += in_the_way
            if slot is not None:
                slots.append(slot)
    return _without_clashes(slots, conflicts, tx)


def _undone(
    tx: Transaction, schema: TableSchema, touches: Sequence[Touch]
) -> tuple[Mapping[Key, Row], list[Undone]]:
    keys = dict.fromkeys(
        key for touch in touches for key in (touch.key, touch.old_key) if key is not None
    )
    today = tx.rows(schema.name, keys)
    ids = [touch.id for touch in touches]
    entries = tx.entries(schema.name, keys, after_id=min(ids) - 1)
    entries = sorted(entries, key=lambda entry: entry.id)
    return today, undone_rows(schema, entries, ids, today)


def _without_clashes(
    slots: Sequence[Slot], conflicts: list[UndoConflict], tx: Transaction
) -> list[Slot]:
    """Without rows that would move to a key that another row has now, and that stays there."""
    vacated = {
        (slot.schema.name, slot.before_key)
        for slot in slots
        if slot.before is not None and (slot.after is None or slot.after_key != slot.before_key)
    }
    movers: dict[str, list[Slot]] = {}
    for slot in slots:
        if slot.before is not None and slot.after is not None and slot.after_key != slot.before_key:
            movers.setdefault(slot.schema.name, []).append(slot)
    blocked: set[int] = set()
    for table, found in movers.items():
        taken = tx.rows(table, [slot.after_key for slot in found])
        for slot in found:
            now = taken.get(slot.after_key)
            if now is not None and (table, slot.after_key) not in vacated:
                blocked.add(id(slot))
                conflicts.append(_refused(slot, "key-taken"))
    return [slot for slot in slots if id(slot) not in blocked]


class _Step:
    """Writes slots; those that cannot be written are in `refused`, each with a code."""

    def __init__(self, tx: WriteTransaction, schemas: Mapping[str, TableSchema]) -> None:
        self._tx = tx
        self._schemas = schemas
        self.refused: list[tuple[Slot, str]] = []

    def settle(self, slots: Sequence[Slot]) -> None:
        """Write them together if possible; else in parts, until no more can be written."""
        waiting: Sequence[Slot] = slots
        while waiting:
            self.refused = []
            self._write(waiting)
            if len(self.refused) == len(waiting):
                return
            waiting = [slot for slot, _ in self.refused]

    def _write(self, slots: Sequence[Slot]) -> None:
        blocked = self._blocked(slots)
        free = [slot for slot in slots if id(slot) not in blocked]
        self.refused += [(slot, "has-children") for slot in slots if id(slot) in blocked]
        if not free:
            return
        try:
            with self._tx.savepoint():
                for step in _steps(free):
                    self._tx.apply(writes_of(step))
        except ConstraintError as exc:
            if len(free) == 1:
                self.refused.append((free[0], str(exc.code)))
                return
            middle = len(free) // 2
            self._write(free[:middle])
            self._write(free[middle:])

    def _blocked(self, slots: Sequence[Slot]) -> set[int]:
        """Rows that would go while others point to them, which these slots leave there."""
        planned = {
            (slot.schema.name, slot.before_key): slot for slot in slots if slot.before is not None
        }
        going: dict[str, list[Slot]] = {}
        for slot in slots:
            if slot.after is None:
                going.setdefault(slot.schema.name, []).append(slot)
        blocked: set[int] = set()
        for child in self._schemas.values():
            for foreign_key in child.foreign_keys:
                parents = _by_pointer(foreign_key, going.get(foreign_key.parent, ()))
                for row in self._children(child, foreign_key, list(parents)):
                    plan = planned.get((child.name, child.key_of(row)))
                    pointer = _pointer(child, foreign_key, row)
                    stays = plan is None or (
                        plan.after is not None
                        and _pointer(child, foreign_key, plan.after) == pointer
                    )
                    if stays and pointer in parents:
                        blocked.add(id(parents[pointer]))
        return blocked

    def _children(
        self, child: TableSchema, foreign_key: ForeignKey, pointers: Sequence[Row]
    ) -> Iterator[Row]:
        """The rows that point so."""
        (name, *more) = foreign_key.columns
        if not more and child.column[name].type in _LISTABLE:
            for start in range(0, len(pointers), EXPRESSION_VALUES_MAX):
                values = tuple(
                    value for (value,) in pointers[start : start + EXPRESSION_VALUES_MAX]
                )
                term = check_expression(Term(name, Operator.IN, values), child, path="children")
                yield from self._all(child, partial(self._tx.scan, child.name, where=term))
            return
        for pointer in pointers:
            where: dict[str, Value] = dict(zip(foreign_key.columns, pointer, strict=True))
            yield from self._all(child, partial(self._tx.find, child.name, where))

    def _all(self, child: TableSchema, read: Callable[..., Sequence[Row]]) -> Iterator[Row]:
        """What a read gives, part by part."""
        after: Key | None = None
        while True:
            rows = read(after=after, limit=CHILDREN_AT_ONCE)
            yield from rows
            if len(rows) < CHILDREN_AT_ONCE:
                return
            after = child.key_of(rows[-1])


def _pointer(child: TableSchema, foreign_key: ForeignKey, row: Row) -> Row:
    return tuple(row[child.position[name]] for name in foreign_key.columns)


def _by_pointer(foreign_key: ForeignKey, slots: Sequence[Slot]) -> dict[Row, Slot]:
    """Rows by the values that point to them."""
    found: dict[Row, Slot] = {}
    for slot in slots:
        assert slot.before is not None, "it goes, so it is there"
        place = slot.schema.position
        pointer = tuple(slot.before[place[name]] for name in foreign_key.parent_columns)
        if None not in pointer:
            found[pointer] = slot
    return found


def _steps(slots: Sequence[Slot]) -> Iterator[list[Slot]]:
    """The slots in steps that hold no key twice, in the terms of `Writes`."""
    deleted = {(slot.schema.name, slot.before_key) for slot in slots if slot.after is None}
    moved = {
        (slot.schema.name, slot.before_key)
        for slot in slots
        if slot.before is not None and slot.after is not None and slot.after_key != slot.before_key
    }

    def waits(slot: Slot) -> bool:
        place = (slot.schema.name, slot.after_key)
        if slot.after is None or (slot.before is not None and slot.after_key == slot.before_key):
            return False
        return place in deleted or (slot.before is None and place in moved)

    for step in (
        [slot for slot in slots if not waits(slot)],
        [slot for slot in slots if waits(slot)],
    ):
        if step:
            yield step


def _refused(slot: Slot, code: str) -> UndoConflict:
    names = slot.schema.column_names

    def named(row: Row | None) -> dict[str, Value] | None:
        return None if row is None else dict(zip(names, row, strict=True))

    key = slot.after_key if slot.before is None else slot.before_key
    return UndoConflict(
        table=slot.schema.name,
        key=key,
        code=code,
        undone=named(slot.after),
        now=named(slot.before),
    )
