"""Tables of the memory store: rows with their indexes.

What it is       the rows of a table by key, and which rows have which values in unique columns
                 and in those that foreign keys name.
What it is not   the judge of a write: `writer.py` knows constraints, cascades and triggers.
The rule         a table that readers can see never changes: writers copy it first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reunite.core.key import Key
from reunite.core.schema import ColumnType, ForeignKey, TableSchema
from reunite.core.values import Row, Value, parse_integer

_FOLD: dict[str, Callable[[str], str]] = {
    "nocase": lambda text: "".join(c.lower() if c.isascii() else c for c in text),
    "rtrim": lambda text: text.rstrip(" "),
}


class Index:
    """Which rows have which values in some columns; rows with a NULL among them are left out.

    Several rows may share values for as long as a step lasts.
    """

    __slots__ = ("folds", "keys", "positions")

    def __init__(self, positions: Sequence[int], collations: Sequence[str] = ()) -> None:
        self.positions = tuple(positions)
        folds = [_FOLD.get(collation.lower()) for collation in collations]
        self.folds = tuple(folds) if any(folds) else ()
        self.keys: dict[Row, tuple[Key, ...]] = {}

    def values_of(self, row: Row) -> Row | None:
        """The values under which the row stands; None if one of them is NULL."""
        values = tuple([row[position] for position in self.positions])
        if None in values:
            return None
        if self.folds:
            return tuple(
                fold(value) if fold is not None and isinstance(value, str) else value
                for fold, value in zip(self.folds, values, strict=True)
            )
        return values

    def add(self, row: Row, key: Key) -> None:
        values = self.values_of(row)
        if values is not None:
            self.keys[values] = (*self.keys.get(values, ()), key)

    def remove(self, row: Row, key: Key) -> None:
        values = self.values_of(row)
        if values is not None:
            rest = tuple(other for other in self.keys[values] if other != key)
            if rest:
                self.keys[values] = rest
            else:
                del self.keys[values]

    def copy(self) -> Index:
        copy = Index.__new__(Index)
        copy.positions, copy.folds, copy.keys = self.positions, self.folds, dict(self.keys)
        return copy


class Table:
    """The rows of one table and what is known about them. Shared with readers once published."""

    __slots__ = (
        "_has_integers",
        "_key_integers",
        "_largest",
        "_sorted",
        "captured",
        "incoming",
        "lookups",
        "not_null",
        "rows",
        "schema",
        "uniques",
    )

    def __init__(self, schema: TableSchema, *, captured: bool) -> None:
        self.schema = schema
        self.captured = captured
        self.rows: dict[Key, Row] = {}
        self.uniques = [
            Index([schema.position[name] for name in unique.columns], unique.collations)
            for unique in schema.uniques
        ]
        # Columns of a foreign key and columns that one points to, beside the primary key.
        self.lookups: dict[tuple[str, ...], Index] = {}
        # Tables that point here; a table may stand here several times, and be this one.
        self.incoming: tuple[tuple[str, ForeignKey], ...] = ()
        self.not_null = [
            (schema.position[column.name], column.name)
            for column in schema.columns
            if not column.nullable or column.name in schema.key
        ]
        self._key_integers = [schema.column[n].type is ColumnType.INTEGER for n in schema.key]
        self._has_integers = any(self._key_integers)
        self._sorted: list[Key] | None = None
        self._largest: int | None = None  # the largest generated key; None: look

    def copy(self) -> Table:
        copy = Table.__new__(Table)
        for name in Table.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.rows = dict(self.rows)
        copy.uniques = [index.copy() for index in self.uniques]
        copy.lookups = {columns: index.copy() for columns, index in self.lookups.items()}
        return copy

    def key_of(self, row: Row) -> Key:
        return tuple([row[position] for position in self.schema.key_positions])

    def sorted_keys(self) -> list[Key]:
        """All keys in order. Cheap as long as no key comes or goes."""
        if self._sorted is None:
            self._sorted = sorted(self.rows, key=self.order if self._has_integers else None)
        return self._sorted

    def keys_after(self, key: Key | None, limit: int | None = None) -> list[Key]:
        """The keys that follow this one, which need not exist, in order; the first for None."""
        keys = self.sorted_keys()
        first = 0 if key is None else bisect_right(keys, self.order(key), key=self.order)
        return keys[first : None if limit is None else first + limit]

    def order(self, key: Key) -> Any:
        """What keys are sorted by: integers by their value, however they travel."""
        if not self._has_integers:
            return key
        return tuple(
            [
                parse_integer(value) if is_integer and type(value) is str else value
                for value, is_integer in zip(key, self._key_integers, strict=True)
            ]
        )

    def largest_key(self) -> int:
        """The largest generated key present; 0 in an empty table."""
        if self._largest is None:
            self._largest = max((parse_integer(key[0]) for key in self.rows), default=0)
        return self._largest

    def free_keys(self, blocks: Sequence[tuple[int, int]], size: int) -> tuple[int, int] | None:
        """First and last of so many keys above all, or of the widest gap; blocks are taken too."""
        top = self.schema.generated_key_max
        largest = self.largest_key()
        if largest > top:
            numbers = (parse_integer(key[0]) for key in self.rows)
            largest = max((number for number in numbers if number <= top), default=0)
        first = max([0, largest, *(last for _, last in blocks)]) + 1
        if first + size - 1 <= top:
            return first, first + size - 1
        taken = [(number, number) for number in (parse_integer(key[0]) for key in self.rows)]
        found, end = (0, 0), 0
        for start, last in sorted([*taken, *blocks, (top + 1, top + 1)]):
            if 1 <= start <= top + 1:
                found = max(found, (start - end - 1, -end))
                end = max(end, last)
        width, before = found
        return (1 - before, min(width, size) - before) if width > 0 else None

    def set(self, key: Key, row: Row | None) -> Row | None:
        """Put a row under its key, or take it away; what was there before."""
        old = self.rows.get(key)
        indexes = (*self.uniques, *self.lookups.values())
        if old is not None:
            for index in indexes:
                index.remove(old, key)
        if row is not None:
            for index in indexes:
                index.add(row, key)
            self.rows[key] = row
        elif old is not None:
            del self.rows[key]
        if (old is None) is not (row is None):
            self._sorted = None
            if self.schema.generated_key and self._largest is not None:
                number = parse_integer(key[0])
                if row is None:
                    self._largest = None if number == self._largest else self._largest
                elif len(self.rows) == 1 or number > self._largest:
                    self._largest = number
        return old

    def keys_with(self, columns: tuple[str, ...], values: Row) -> tuple[Key, ...]:
        """The keys of the rows with these values in columns that a foreign key names."""
        if columns == self.schema.key:
            return (values,) if values in self.rows else ()
        return self.lookups[columns].keys.get(values, ())

    def values_in(self, columns: tuple[str, ...], row: Row) -> Row:
        position = self.schema.position
        return tuple([row[position[name]] for name in columns])

    def with_values(self, row: Row, values: Mapping[str, Value]) -> Row:
        """The row with some columns changed."""
        changed = list(row)
        for name, value in values.items():
            changed[self.schema.position[name]] = value
        return tuple(changed)


def linked(tables: Iterable[Table]) -> dict[str, Table]:
    """Fresh copies of the tables, with foreign keys and indexes as their schemas say.

    A foreign key to a table that is not among them is not checked.
    """
    by_name = {table.schema.name: Table(table.schema, captured=table.captured) for table in tables}
    for name, table in by_name.items():
        for foreign_key in table.schema.foreign_keys:
            parent = by_name.get(foreign_key.parent)
            if parent is not None:
                parent.incoming = (*parent.incoming, (name, foreign_key))
                _look_up(table, foreign_key.columns)
                if foreign_key.parent_columns != parent.schema.key:
                    _look_up(parent, foreign_key.parent_columns)
    for old in tables:
        for key, row in old.rows.items():
            by_name[old.schema.name].set(key, row)
    return by_name


def _look_up(table: Table, columns: tuple[str, ...]) -> None:
    if columns not in table.lookups and columns != table.schema.key:
        table.lookups[columns] = Index([table.schema.position[name] for name in columns])


def default_of(table: Table, column: str) -> Value:
    """The value of a column's default where it is a literal; else NULL."""
    text = table.schema.column[column].default
    if text is None:
        return None
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return None
