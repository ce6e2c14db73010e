"""Writes to the memory store's tables: constraints, cascades and the triggers that tell of each.

What it is       row-level writes in steps, as SQL statements are: insert, update, delete, replace,
                 and `apply` for net writes to many rows. NOT NULL, primary keys, unique columns,
                 foreign keys with all actions, SQLite's generated integer keys.
What it is not   a transaction: `undo_to` goes back, but nobody keeps others out here.
The rule         rows change through `TableWriter` only. `capture` is told of every row that
                 changes, before the effects of that change on other rows.

What may be wrong in the middle of a step, unique values and foreign keys, is checked at its end.
RESTRICT is therefore NO ACTION: there is no statement inside a step that could see a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.schema import ForeignKey
from reunite.core.values import Row, Value, wire_integer
from reunite.engine.ports import Update, Writes
from reunite.errors import ConstraintError, UnknownTableError
from reunite.stores.memory.tables import Table, default_of

# Told of each changed row: table, operation, key, key before if it moved, row before.
Capture: TypeAlias = Callable[[Table, Op, Key, Key | None, Row | None], None]

# What happens to children: by their key, the foreign key, its values now and then.
_Effects: TypeAlias = dict[Key, list[tuple[ForeignKey, Row, Row]]]


class TableWriter:
    """Writes rows step by step, copying a table when it is first written, and can undo.

    A step is `insert`, `update`, `delete`, `replace` or `apply`. If it raises ConstraintError it
    is half done: go back with `undo_to`.
    """

    def __init__(self, tables: dict[str, Table], capture: Capture) -> None:
        self._tables = tables
        self._capture = capture
        self._owned: set[str] = set()
        self._undo: list[tuple[str, Key, Row | None]] = []
        self._begin()

    def _begin(self) -> None:
        self._written: dict[tuple[str, Key], None] = {}
        self._freed: dict[tuple[str, ForeignKey, Row], None] = {}
        self._moved: dict[tuple[str, Key], Key] = {}

    # --- Steps ----------------------------------------------------------------------------------

    def insert(self, name: str, row: Row) -> Key:
        self._begin()
        key = self._insert(name, row)
        self._finish()
        return key

    def update(self, name: str, key: Key, values: Mapping[str, Value]) -> bool:
        """Change some columns of a row; whether there was one."""
        self._begin()
        table = self.own(name)
        row = table.rows.get(key)
        if row is None:
            return False
        self._update(name, [(key, table.with_values(row, values))])
        self._finish()
        return True

    def delete(self, name: str, key: Key) -> bool:
        """Delete a row; whether there was one."""
        self._begin()
        was_there = key in self.own(name).rows
        self._delete(name, [key])
        self._finish()
        return was_there

    def replace(self, name: str, row: Row) -> Key:
        """What INSERT OR REPLACE does: rows in the way are deleted first, cascades included."""
        self._begin()
        table = self.own(name)
        row = _with_key(table, row)  # as SQLite does it: before the others go
        in_the_way = [key for key in (table.key_of(row),) if key in table.rows]
        for index in table.uniques:
            values = index.values_of(row)
            if values is not None:
                in_the_way.extend(index.keys.get(values, ()))
        self._delete(name, list(dict.fromkeys(in_the_way)))
        key = self._insert(name, row)
        self._finish()
        return key

    def apply(self, writes: Writes) -> None:
        """Inserts, then updates, then deletes; checked when all are done."""
        self._begin()
        for name, rows in writes.inserts.items():
            for row in rows:
                self._insert(name, row)
        for name, updates in writes.updates.items():
            self._update(name, self._changed_rows(name, updates))
        for name, keys in writes.deletes.items():
            self._delete(name, [self._moved.get((name, key), key) for key in keys])
        self._finish()

    def _changed_rows(self, name: str, updates: Sequence[Update]) -> list[tuple[Key, Row]]:
        table = self.own(name)
        changed = []
        for update in updates:
            # An update of its parent in this step may have moved the row already.
            key = self._moved.get((name, update.key), update.key)
            row = table.rows.get(key)
            if row is not None:
                values = dict(zip(update.columns, update.values, strict=True))
                changed.append((key, table.with_values(row, values)))
        return changed

    def touch(self, name: str, keys: Iterable[Key]) -> None:
        """Let the triggers tell of these rows, which stay as they are."""
        table = self.own(name)
        for key in keys:
            row = table.rows.get(key)
            if row is not None:
                self._tell(table, Op.UPDATE, key, None, row)

    # --- Undo -----------------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """Where `undo_to` can come back to."""
        return len(self._undo)

    def undo_to(self, mark: int) -> None:
        while len(self._undo) > mark:
            name, key, row = self._undo.pop()
            self._tables[name].set(key, row)

    # --- Rows -----------------------------------------------------------------------------------

    def own(self, name: str) -> Table:
        """The table, for writing."""
        if name not in self._owned:
            if name not in self._tables:
                raise UnknownTableError(f"There is no table {name!r} here.")
            self._tables[name] = self._tables[name].copy()
            self._owned.add(name)
        return self._tables[name]

    def _set(self, name: str, key: Key, row: Row | None) -> None:
        self._undo.append((name, key, self._tables[name].set(key, row)))
        if row is not None:
            self._written[name, key] = None

    def _tell(self, table: Table, op: Op, key: Key, old_key: Key | None, old: Row | None) -> None:
        if table.captured:
            self._capture(table, op, key, old_key, old)

    def _insert(self, name: str, row: Row) -> Key:
        table = self.own(name)
        row = _with_key(table, row)
        self._check_row(table, row)
        key = table.key_of(row)
        if key in table.rows:
            raise _unique_error(table, table.schema.key)
        self._set(name, key, row)
        self._tell(table, Op.INSERT, key, None, None)
        return key

    def _update(self, name: str, changed: Sequence[tuple[Key, Row]]) -> None:
        """Update rows of one table at once: keys and unique values may be swapped."""
        table = self.own(name)
        olds = [table.rows[key] for key, _ in changed]
        moves: dict[Key, Key] = {}
        for (key, row), old in zip(changed, olds, strict=True):
            self._check_row(table, row)
            new_key = table.key_of(row)
            if new_key != key:
                moves[key] = new_key
            self._tell(table, Op.UPDATE, new_key, key if key in moves else None, old)
        # Looked up before anything moves, or swapped parents would take each other's children.
        effects = self._effects_of_update(table, olds, [row for _, row in changed])
        for key, new_key in moves.items():
            self._set(name, key, None)
            self._moved[name, key] = new_key
        for key, row in changed:
            new_key = moves.get(key, key)
            if key in moves and new_key in table.rows:
                raise _unique_error(table, table.schema.key)
            self._set(name, new_key, row)
        for child_name, effects_by_key in effects.items():
            self._change_children(child_name, effects_by_key, moves if child_name == name else {})

    def _delete(self, name: str, keys: Iterable[Key]) -> None:
        table = self.own(name)
        gone = []
        for key in keys:
            row = table.rows.get(key)
            if row is not None:  # a cascade may have been here before
                self._tell(table, Op.DELETE, key, None, row)
                self._set(name, key, None)
                gone.append(row)
        for child_name, foreign_key in table.incoming:
            child = self._tables[child_name]
            cascade: list[Key] = []
            effects: _Effects = {}
            for row in gone:
                values = table.values_in(foreign_key.parent_columns, row)
                if None in values:
                    continue
                self._freed[child_name, foreign_key, values] = None
                keys_of_children = child.keys_with(foreign_key.columns, values)
                if foreign_key.on_delete == "cascade":
                    cascade.extend(keys_of_children)
                elif foreign_key.on_delete in ("set null", "set default"):
                    after = _left_alone(child, foreign_key, foreign_key.on_delete)
                    for key in keys_of_children:
                        effects.setdefault(key, []).append((foreign_key, values, after))
            if cascade:
                self._delete(child_name, cascade)
            if effects:
                self._change_children(child_name, effects, {})

    def _effects_of_update(
        self, table: Table, olds: Sequence[Row], news: Sequence[Row]
    ) -> dict[str, _Effects]:
        effects: dict[str, _Effects] = {}
        for child_name, foreign_key in table.incoming:
            child = self._tables[child_name]
            for old, new in zip(olds, news, strict=True):
                before = table.values_in(foreign_key.parent_columns, old)
                after = table.values_in(foreign_key.parent_columns, new)
                if before == after or None in before:
                    continue
                self._freed[child_name, foreign_key, before] = None
                if foreign_key.on_update in ("set null", "set default"):
                    after = _left_alone(child, foreign_key, foreign_key.on_update)
                elif foreign_key.on_update != "cascade":
                    continue
                for key in child.keys_with(foreign_key.columns, before):
                    by_key = effects.setdefault(child_name, {})
                    by_key.setdefault(key, []).append((foreign_key, before, after))
        return effects

    def _change_children(self, name: str, effects: _Effects, moves: Mapping[Key, Key]) -> None:
        table = self.own(name)
        changed = []
        for old_key, changes in effects.items():
            key = moves.get(old_key, old_key)
            row = table.rows.get(key)
            if row is None:
                continue
            values: dict[str, Value] = {}
            for foreign_key, before, after in changes:
                # The row may have been pointed elsewhere by the very update that moved its parent.
                if table.values_in(foreign_key.columns, row) == before:
                    values.update(zip(foreign_key.columns, after, strict=True))
            if values:
                changed.append((key, table.with_values(row, values)))
        if changed:
            self._update(name, changed)

    # --- Constraints ----------------------------------------------------------------------------

    def _check_row(self, table: Table, row: Row) -> None:
        if len(row) != len(table.schema.columns):
            raise ValueError(f"{table.schema.name} has {len(table.schema.columns)} columns: {row}")
        for position, column in table.not_null:
            if row[position] is None:
                raise ConstraintError(
                    f"{table.schema.name}.{column} may not be NULL.",
                    code="not-null",
                    table=table.schema.name,
                    columns=(column,),
                )

    def _finish(self) -> None:
        """Raise ConstraintError if the step has left two equal unique values or a lost child."""
        for name, key in self._written:
            table = self._tables[name]
            row = table.rows.get(key)
            if row is None:
                continue
            for unique, index in zip(table.schema.uniques, table.uniques, strict=True):
                values = index.values_of(row)
                if values is not None and len(index.keys[values]) > 1:
                    raise _unique_error(table, unique.columns)
            for foreign_key in table.schema.foreign_keys:
                values = table.values_in(foreign_key.columns, row)
                if None not in values and self._is_lost(foreign_key, values):
                    raise _foreign_key_error(name, foreign_key)
        for name, foreign_key, values in self._freed:
            if self._tables[name].keys_with(foreign_key.columns, values) and self._is_lost(
                foreign_key, values
            ):
                raise _foreign_key_error(name, foreign_key)

    def _is_lost(self, foreign_key: ForeignKey, values: Row) -> bool:
        parent = self._tables.get(foreign_key.parent)
        return parent is not None and not parent.keys_with(foreign_key.parent_columns, values)


def _with_key(table: Table, row: Row) -> Row:
    """The row with the key that the database makes for it, if it has none."""
    if not table.schema.generated_key or row[table.schema.key_positions[0]] is not None:
        return row
    return table.with_values(row, {table.schema.key[0]: wire_integer(table.largest_key() + 1)})


def _left_alone(child: Table, foreign_key: ForeignKey, action: str) -> Row:
    """What a child points to when its parent is gone."""
    is_default = action == "set default"
    return tuple(default_of(child, name) if is_default else None for name in foreign_key.columns)


def _unique_error(table: Table, columns: Sequence[str]) -> ConstraintError:
    name = table.schema.name
    return ConstraintError(
        f"{name} has another row with the same {', '.join(columns)}.",
        code="unique",
        table=name,
        columns=columns,
    )


def _foreign_key_error(name: str, foreign_key: ForeignKey) -> ConstraintError:
    return ConstraintError(
        f"{name}.{', '.join(foreign_key.columns)} points to no row of {foreign_key.parent}.",
        code="foreign-key",
        table=name,
        columns=foreign_key.columns,
    )
