"""One group of pushed changes: judged against the hub's rows, merged, applied whole or not at all.

    read rows and log of the touched keys ─► for each change: what becomes of the row ─► apply
                                                                                   └► hooks

What it is       the decisions of a push for one local transaction, inside the caller's savepoint.
What it is not   numbering, ids or outcomes of other groups: those are `engine/push.py`'s.
The rule         raises `GroupRejectedError` or `RenumberNeededError` for the whole group; then the
                 caller undoes the savepoint. Nothing here keeps state between groups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from reunite.core.change import APPLIED, Change, Conflict, Op, Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.merge import conflicting_columns, merge_insert, merge_row
from reunite.core.pointers import pointed_keys, pointed_parents
from reunite.core.principal import Principal
from reunite.core.schema import RowMerge, TableSchema
from reunite.core.values import Row, Value, same
from reunite.engine.blaming import change_of, rejected
from reunite.engine.changed import (
    Inserts,
    columns_set,
    rows_made,
    wanted_rows,
    whole_rows,
    with_values,
    without_key,
)
from reunite.engine.ignoring import IGNORED, ignored
from reunite.engine.lineage import hub_stamps, images, is_gone, last_image, may_return
from reunite.engine.ports import LogEntry, UndoneError, Writes, WriteTransaction
from reunite.engine.rights import MISSING_PARENT, GroupRejectedError, Rights
from reunite.engine.tables import HookedChange, Tables
from reunite.engine.workspace import Slot, Workspace, op_of, writes_of
from reunite.errors import ConstraintError, Veto

# A hook that raises anything but Veto is tried again this often before its group is rejected.
HOOK_TRIES_MAX = 2

_HOOK_FAILED = "A hook of this hub failed on this change; it can be sent again later."


class RenumberNeededError(Exception):
    """A generated key is taken; the replica must move its row and send the group again."""

    def __init__(self, change: Change) -> None:
        super().__init__(change.id)
        self.change = change


class GroupJudge:
    """Applies one group in one transaction of the hub."""

    def __init__(
        self,
        tx: WriteTransaction,
        tables: Tables,
        principal: Principal,
        rights: Rights,
        *,
        is_mine: Callable[[LogEntry], bool],
        known_until: Mapping[str, Mapping[Key, int]],
        standing: dict[tuple[str, Key], int],
        now_ms: int,
        has_way_back: bool = True,
        after_id: int = 0,
    ) -> None:
        self._tx = tx
        self._after_id = after_id  # the log's end before this group
        self._tables = tables
        self._principal = principal
        self._rights = rights
        self._is_mine = is_mine
        self._known_until = known_until
        self._standing = standing
        self._now_ms = now_ms
        self._has_way_back = has_way_back
        self.has_written = False
        self._trimmed_id = tx.trimmed_id()
        self._entries: dict[tuple[str, Key], list[LogEntry]] = {}
        self._space = Workspace()
        self._referenced = tables.referenced()
        # Rows whose present incarnation this replica knows, because this group made it: their
        # keys, and the change that did.
        self.established: dict[tuple[str, Key], Change] = {}
        rights.begin(self._made)

    def apply(self, changes: Sequence[Change]) -> list[Outcome]:
        """The outcomes, in order. Raises GroupRejectedError, RenumberNeededError."""
        outcomes = []
        to_touch: list[tuple[str, Key]] = []
        self._read(changes)
        start = 0
        for index, change in enumerate(changes):
            if index > start and self._must_flush(change):
                self._flush(changes[start:index])
                start = index
                self._read(changes[index:])
            outcome, needs_touch = self._judge(change)
            outcomes.append(outcome)
            if needs_touch:
                to_touch.append((change.table, change.key))
        self._flush(changes[start:])
        for table, key in to_touch:
            self.has_written = True
            self._tx.touch(table, [key])
        return outcomes

    def apply_inserts(
        self, inserts: Mapping[str, Inserts], *, mark: int, has_way_back: bool
    ) -> bool:
        """Most groups only insert rows that meet nothing: those need no judging one by one, and
        each of them is `applied`. No savepoint is needed around it.

        False, and nothing done, if there is anything to judge: a row under one of the keys, a
        key that stands twice or that the database cannot hold, a parent that is gone, a rule that
        forbids it, a hook, a constraint.

        mark           the smallest one of the changes
        has_way_back   False is faster; then a constraint raises ConstraintError, and the
                       transaction must be given up
        """
        if not has_way_back:
            return self._insert_rows(inserts, mark=mark, has_way_back=False)
        try:
            with self._tx.savepoint():
                return self._insert_rows(inserts, mark=mark, has_way_back=True)
        except UndoneError:
            raise
        except ConstraintError:
            return False

    def _insert_rows(
        self, inserts: Mapping[str, Inserts], *, mark: int, has_way_back: bool
    ) -> bool:
        rows: dict[str, Sequence[Row]] = {}
        standing: dict[tuple[str, Key], int] = {}
        self._rights.begin(rows_made(inserts))
        for table, given in inserts.items():
            keys = dict.fromkeys(given.keys)
            if len(keys) < len(given.keys) or self._tables.hooks_of(table, Op.INSERT):
                return False
            if self._tx.rows(table, keys):
                return False
            made = self._rights.made(table, given.rows)
            if made is None or not self._rights.may_insert(table, made):
                return False
            rows[table] = made
            for parent, parent_keys in pointed_keys(
                self._tables.schemas, table, rows[table]
            ).items():
                made = inserts[parent].keys if parent in inserts else ()
                if self._rights.unseen(parent, parent_keys.difference(made)):
                    return False
                known = self._standing
                asked = [key for key in parent_keys if known.get((parent, key), mark + 1) > mark]
                if asked:
                    self._read_log(parent, asked, mark)
                    if any(self._is_gone(parent, key, mark, stood=False) for key in asked):
                        return False
                standing.update(((parent, key), mark) for key in asked)
        plain = {t for t, given in inserts.items() if given.is_plain and rows[t] is given.rows}
        writes = Writes(inserts=rows, updates={}, deletes={}, plain=plain)
        if not self._tx.apply(writes, has_way_back=has_way_back):
            raise ConstraintError(IGNORED, code="ignored")  # judged row by row then
        self._standing.update(standing)
        return True

    def _made(self, table: str, key: Key) -> tuple[bool, Row | None]:
        return self._space.find(table, key)

    # -- reading ------------------------------------------------------------------------------

    def _read(self, changes: Sequence[Change]) -> None:
        """Rows and log entries of the keys that these changes touch or point to; one of them may
        be a key that the database cannot hold."""
        try:
            self._read_keys(changes)
        except ConstraintError as exc:
            if not self._has_way_back or isinstance(exc, UndoneError):
                raise
            raise rejected(changes, exc) from exc

    def _read_keys(self, changes: Sequence[Change]) -> None:
        row_keys: dict[str, dict[Key, None]] = {}
        log_keys: dict[str, dict[Key, None]] = {}
        mark = min(change.mark for change in changes)
        for change in changes:
            keys = row_keys.setdefault(change.table, {})
            keys[change.key] = None
            if change.old_key is not None:
                keys[change.old_key] = None
            if change.op is not Op.INSERT:
                log_keys.setdefault(change.table, {})[change.old_key or change.key] = None
            for parent, parent_key in self._parents(change):
                log_keys.setdefault(parent, {})[parent_key] = None
        for table, keys in row_keys.items():
            schema = self._tables.schemas[table]
            rows = self._tx.rows(table, keys)
            for key in keys:
                self._space.load(schema, key, rows.get(key))
            self._rights.prepare(table, [*rows.values(), *wanted_rows(schema, changes, rows)])
            met = [key for key in keys if key in rows]
            if met:
                # Insert meets insert, or a move meets a row: who changed it last matters too.
                log_keys.setdefault(table, {}).update(dict.fromkeys(met))
        for table, keys in log_keys.items():
            self._read_log(table, keys, mark)

    def _read_log(self, table: str, keys: Collection[Key], mark: int) -> None:
        for key in keys:
            self._entries[table, key] = []
        for entry in self._tx.entries(table, keys, after_id=mark):
            for named in {entry.key, entry.old_key}:
                if named is not None and named in keys:
                    self._entries[table, named].append(entry)

    def _parents(self, change: Change) -> Iterator[tuple[str, Key]]:
        """The tracked rows that the values this change sets point to, by their primary keys."""
        if change.op is Op.DELETE:
            return iter(())
        return pointed_parents(self._tables.schemas, change.table, change.columns, change.set)

    def _is_gone(self, table: str, key: Key, mark: int, *, stood: bool = True) -> bool:
        if (table, key) in self.established:
            return False
        mark = max(mark, self._known_until.get(table, {}).get(key, 0))
        if mark < self._trimmed_id:
            # The log cannot say; keys that the database generates may be another row's by now.
            return self._tables.schemas[table].generated_key
        found, schema = self._entries.get((table, key), ()), self._tables.schemas[table]
        return is_gone(
            found,
            key,
            mark=mark,
            is_mine=self._is_mine,
            returns=may_return(schema),
            stood=stood,
        )

    def _is_lost(self, change: Change, row: Row) -> bool:
        """Whether the row that an update or delete means is gone, whatever holds its key now."""
        schema = self._tables.schemas[change.table]
        key = change.old_key or change.key
        if change.mark < self._trimmed_id and (change.table, key) not in self.established:
            # The log that would tell is trimmed away: a row that still has every value that the
            # replica replaced is taken for the one it saw.
            return any(
                not same(schema.column[name].type, was, row[schema.position[name]])
                for name, was in zip(change.columns, change.was, strict=True)
            )
        return self._is_gone(change.table, key, change.mark)

    # -- judging ------------------------------------------------------------------------------

    def _must_flush(self, change: Change) -> bool:
        """Whether what came before must be in the database before this change is judged."""
        space = self._space
        if change.op is Op.INSERT and space.is_vacated(change.table, change.key):
            return True
        is_move = change.old_key is not None and space.is_vacated(change.table, change.key)
        if is_move and space.slot(change.table, change.key).before is not None:
            # Swapped keys are one step; a key that was deleted is not free before it is gone.
            return True
        if change.op is Op.DELETE and change.table in self._referenced:
            # Children of a row that this step makes must be there to be taken along.
            slot = space.slot(change.table, change.key)
            return slot.before is None and slot.after is not None
        # What a deleted parent takes along shows only in the database.
        return change.op is not Op.DELETE and not self._referenced.isdisjoint(
            space.tables_deleted_from
        )

    def _judge(self, change: Change) -> tuple[Outcome, bool]:
        """The outcome, and whether the row must be touched so that the log shows who knows it."""
        self._check_parents(change)
        match change.op:
            case Op.INSERT:
                return self._insert(change)
            case Op.UPDATE:
                return self._update(change), False
            case Op.DELETE:
                return self._delete(change), False

    def _check_parents(self, change: Change) -> None:
        """A parent that the replica saw and that is gone counts as deleted, whatever holds its
        key now. One that its principal never saw is none: `_check_pointers` says so."""
        for parent, key in self._parents(change):
            is_gone = self._is_gone(parent, key, change.mark, stood=False)
            if is_gone and self._may_know(parent, key, change.mark):
                self._restore_parent(change, parent, key)

    def _may_know(self, table: str, key: Key, mark: int) -> bool:
        """Whether the principal may have seen the row that is gone."""
        if mark < self._trimmed_id or not self._rights.limits_reading(table):
            return True
        found = self._entries.get((table, key), ())
        stood = images(self._tables.schemas[table], found, key, mark=mark)
        return any(self._rights.sees(table, row) for row in stood)

    def _restore_parent(self, change: Change, parent: str, key: Key) -> None:
        schema = self._tables.schemas[parent]
        image = last_image(schema, self._entries[parent, key], key, mark=change.mark)
        if image is not None and not self._rights.may_restore(parent, image, image):
            image = None
        now = self._tx.rows(parent, [key])
        if schema.rows is RowMerge.UPDATE_WINS and image is not None and not now:
            self._space.load(schema, key, None)
            self._space.put(self._space.slot(parent, key), image)
            self.established[parent, key] = change
            self._restore_what_it_needs(change, parent, image)
            return
        raise GroupRejectedError(
            change,
            "parent-deleted",
            f"The row of {parent!r} that this row points to was deleted at the hub.",
        )

    def _restore_what_it_needs(self, change: Change, table: str, restored: Row) -> None:
        """A row that comes back brings those along that it points to and that are gone too."""
        for parent, keys in pointed_keys(self._tables.schemas, table, [restored]).items():
            missing = {key for key in keys if (parent, key) not in self.established}
            missing -= self._tx.rows(parent, missing).keys()
            self._read_log(parent, missing, change.mark)
            for key in missing:
                self._restore_parent(change, parent, key)

    def _insert(self, change: Change) -> tuple[Outcome, bool]:
        schema = self._tables.schemas[change.table]
        slot = self._space.slot(change.table, change.key)
        if slot.after is not None and schema.generated_key:
            raise RenumberNeededError(change)
        self.established[change.table, change.key] = change
        rows = whole_rows(schema, change.columns, [change.set], self._rights.default)
        mine = self._rights.made_by(change, rows[0])
        if slot.after is None or not self._rights.sees(change.table, slot.after):
            # Before anything tells whether the key is taken.
            self._rights.check("insert", change, mine)
            if slot.after is not None:
                raise GroupRejectedError(
                    change, "key-taken", "Another row has this key.", columns=schema.key
                )
            self._space.put(slot, mine)
            return APPLIED, False
        entries = self._entries.get((change.table, change.key), [])
        row = slot.after
        # What the principal may not write has its default in `mine`: nothing that anybody said.
        names = [name for name in schema.column_names if name in change.columns]
        columns = self._rights.writable(change, names, row, mine)
        stamps = hub_stamps(schema, entries, change.key, row, columns, now_ms=self._now_ms)
        merged = self._calling_functions(
            change,
            lambda: merge_insert(
                schema,
                columns=columns,
                mine=[mine[schema.position[name]] for name in columns],
                theirs=row,
                stamp=change.stamp,
                hub_stamps=stamps,
                functions=self._tables.functions.get(change.table, {}),
            ),
        )
        if merged.columns or not self._rights.may_insert(change.table, [mine]):
            self._rights.check("update", change, row, merged.row)
            self._rights.check_columns(change, merged.columns, row, merged.row)
        if merged.columns:
            self._space.put(slot, merged.row)
        outcome = Outcome(kind=OutcomeKind.MERGED, conflicts=merged.conflicts)
        # An insert that changed nothing leaves no entry; yet from here on the row is known.
        return outcome, not merged.columns

    def _update(self, change: Change) -> Outcome:
        schema = self._tables.schemas[change.table]
        key = change.old_key or change.key
        slot = self._space.slot(change.table, key)
        if slot.after is None or not self._rights.sees(change.table, slot.after):
            return self._update_meets_delete(schema, change, slot)
        if self._is_lost(change, slot.after):
            return self._update_meets_delete(schema, change, slot)
        columns, was, wanted = without_key(schema, change)
        stamps: dict[str, str] = {}
        row = slot.after
        contested = conflicting_columns(schema, columns=columns, base=was, mine=wanted, theirs=row)
        if contested:
            stamps = hub_stamps(
                schema,
                self._entries.get((change.table, key), []),
                key,
                row,
                contested,
                now_ms=self._now_ms,
            )
        merged = self._calling_functions(
            change,
            lambda: merge_row(
                schema,
                columns=columns,
                base=was,
                mine=wanted,
                theirs=row,
                stamp=change.stamp,
                hub_stamps=stamps,
                functions=self._tables.functions.get(change.table, {}),
            ),
        )
        self._rights.check("update", change, row, merged.row)
        self._rights.check_columns(change, columns_set(schema, change), row, merged.row)
        if change.old_key is not None:
            self._move(schema, change, slot, merged.row)
        elif merged.columns:
            self._space.put(slot, merged.row)
        if merged.conflicts or merged.row != with_values(schema, row, columns, wanted):
            return Outcome(kind=OutcomeKind.MERGED, conflicts=merged.conflicts)
        return APPLIED

    def _move(self, schema: TableSchema, change: Change, slot: Slot, row: Row) -> None:
        values = list(row)
        for position, value in zip(schema.key_positions, change.key, strict=True):
            values[position] = value
        # Before anything tells whether the key is taken.
        self._rights.check("update", change, row, tuple(values))
        target = self._space.slot(change.table, change.key)
        if target.after is not None:
            raise GroupRejectedError(
                change,
                "key-taken",
                "Another row at the hub has the key that this row was to move to.",
                columns=schema.key,
            )
        self._space.move(slot, change.key, tuple(values))
        self.established[change.table, change.key] = change

    def _update_meets_delete(self, schema: TableSchema, change: Change, slot: Slot) -> Outcome:
        wanted = dict(zip(change.columns, change.set, strict=True))
        was = dict(zip(change.columns, change.was, strict=True))
        key = change.old_key or change.key
        image = last_image(
            schema, self._entries.get((change.table, key), []), key, mark=change.mark
        )
        result: Value = None
        if image is not None:
            restored = with_values(schema, image, change.columns, change.set)
            changed = columns_set(schema, change)
            if not self._rights.may_restore(change.table, image, restored, changed):
                image = None
        if schema.rows is RowMerge.UPDATE_WINS and slot.after is None and image is not None:
            if self._space.is_vacated(change.table, key):
                raise GroupRejectedError(change, "row-deleted", "The group deletes this row.")
            row = restored
            target = self._space.slot(change.table, change.key)
            if target.after is not None:
                raise GroupRejectedError(
                    change, "key-taken", "Another row has this key.", columns=schema.key
                )
            self._space.put(target, row)
            self.established[change.table, change.key] = change
            self._restore_what_it_needs(change, change.table, row)
            result = dict(zip(schema.column_names, row, strict=True))
        conflict = Conflict(
            column=None, base=was, hub=None, replica=wanted, result=result, policy=schema.rows
        )
        return Outcome(kind=OutcomeKind.MERGED, conflicts=(conflict,))

    def _delete(self, change: Change) -> Outcome:
        schema = self._tables.schemas[change.table]
        slot = self._space.slot(change.table, change.key)
        if slot.after is None or not self._rights.sees(change.table, slot.after):
            return APPLIED
        if self._is_lost(change, slot.after):
            return APPLIED
        row = slot.after
        self._rights.check("delete", change, row)
        differs = any(
            not same(schema.column[name].type, was, row[schema.position[name]])
            for name, was in zip(change.columns, change.was, strict=True)
        )
        if not differs:
            self._space.delete(slot)
            return APPLIED
        hub = dict(zip(schema.column_names, row, strict=True))
        keeps = schema.rows is RowMerge.UPDATE_WINS
        if not keeps:
            self._space.delete(slot)
        conflict = Conflict(
            column=None,
            base=dict(zip(change.columns, change.was, strict=True)),
            hub=hub,
            replica=None,
            result=hub if keeps else None,
            policy=schema.rows,
        )
        return Outcome(kind=OutcomeKind.MERGED, conflicts=(conflict,))

    def _calling_functions(self, change: Change, merge: Callable[[], Any]) -> Any:
        """A merge may call the team's own functions; one that raises rejects the group."""
        if not self._tables.functions.get(change.table):
            return merge()
        try:
            return merge()
        except Exception as exc:
            self._tables.on_failure(f"a merge function of {change.table!r}", exc)
            raise GroupRejectedError(
                change, "merge-failed", "A merge function of this hub failed on this change."
            ) from exc

    # -- applying -----------------------------------------------------------------------------

    def _flush(self, changes: Sequence[Change]) -> None:
        """Apply the step, call the hooks, and forget what was read."""
        space, self._space = self._space, Workspace()
        self._entries = {}
        self._rights.begin(self._made)
        changed = space.changed()
        if not changed:
            return
        self._check_pointers(changes, changed)
        self._write(changes, changed)
        if self._tables.hooks:
            self._call_hooks(changes, changed)

    def _check_pointers(self, changes: Sequence[Change], slots: Sequence[Slot]) -> None:
        """A row that points anew to one that the principal does not see, and that this group did
        not make, is refused as if that one were not there. Judged by whole rows: a pointer of two
        columns may be set in two changes."""
        pointing: dict[str, dict[Key, Slot]] = {}
        for slot in slots:
            for parent, key in self._new_pointers(slot):
                if (parent, key) not in self.established:
                    pointing.setdefault(parent, {})[key] = slot
        for parent, by_key in pointing.items():
            for key in self._rights.unseen(parent, by_key.keys()):
                blamed = change_of(changes, by_key[key])
                raise GroupRejectedError(blamed, "foreign-key", MISSING_PARENT)

    def _new_pointers(self, slot: Slot) -> Iterator[tuple[str, Key]]:
        if slot.after is None:
            return iter(())
        schemas, columns = self._tables.schemas, slot.schema.column_names
        name = slot.schema.name
        pointers = dict.fromkeys(pointed_parents(schemas, name, columns, slot.after))
        if slot.before is not None:
            for known in pointed_parents(schemas, name, columns, slot.before):
                pointers.pop(known, None)
        return iter(pointers)

    def _write(self, changes: Sequence[Change], slots: Sequence[Slot]) -> None:
        self.has_written = True
        try:
            is_whole = self._tx.apply(writes_of(slots), has_way_back=self._has_way_back)
        except ConstraintError as exc:
            if not self._has_way_back or isinstance(exc, UndoneError):
                raise
            raise rejected(changes, exc) from exc
        slot = None if is_whole else ignored(self._tx, slots, after_id=self._after_id)
        if slot is not None:
            raise GroupRejectedError(change_of(changes, slot), "ignored", IGNORED)

    def _call_hooks(self, changes: Sequence[Change], slots: Sequence[Slot]) -> None:
        for slot in slots:
            op = op_of(slot)
            for hook in self._tables.hooks_of(slot.schema.name, op):
                blamed = change_of(changes, slot)
                try:
                    with self._tx.lent() as program:
                        hook(self._hooked(slot, op), program)
                except Veto as exc:
                    raise GroupRejectedError(blamed, "vetoed", exc.message) from exc
                except Exception as exc:
                    self._tables.on_failure(f"a hook for {op.value} of {blamed.table!r}", exc)
                    if isinstance(exc, UndoneError):
                        raise UndoneError(_HOOK_FAILED, code="hook-failed") from exc
                    raise GroupRejectedError(
                        blamed, "hook-failed", _HOOK_FAILED, is_temporary=True
                    ) from exc

    def _hooked(self, slot: Slot, op: Op) -> HookedChange:
        names = slot.schema.column_names

        def named(row: Row | None) -> dict[str, Value] | None:
            return None if row is None else dict(zip(names, row, strict=True))

        return HookedChange(
            table=slot.schema.name,
            op=op,
            key=slot.after_key,
            old=named(slot.before),
            row=named(slot.after),
            principal=self._principal,
        )
