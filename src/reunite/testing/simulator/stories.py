"""What programs write to tables of which only the schema is known: rows made, changed, deleted.

The rule         small pools of values, so that writers meet; what a constraint does not like is a
                 program's ordinary bad luck.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.stores.sql.quoting import quoted

# Rows that a table may have before some are deleted.
ROWS_MAX = 8

_VALUES: dict[ColumnType, tuple[Any, ...]] = {
    ColumnType.INTEGER: (0, 1, 2, 3, 10, 2**40),
    ColumnType.REAL: (0.0, 0.5, -1.25, 1e10),
    ColumnType.TEXT: ("", "a", "b", "Ä", "a longer text"),
    ColumnType.BLOB: (b"", b"\x00\x01", b"blob"),
    ColumnType.BOOLEAN: (0, 1),
    ColumnType.DECIMAL: ("0", "1.50", "19.99"),
    ColumnType.DATE: ("2024-02-29", "2025-12-31"),
    ColumnType.TIME: ("08:30:00", "23:59:59.000001"),
    ColumnType.DATETIME: ("2025-01-01 00:00:00", "2025-06-30 12:34:56.789000"),
    ColumnType.JSON: ("{}", "[1, 2]", '{"a": null}'),
}


def made_stories(
    schemas: Mapping[str, TableSchema],
) -> tuple[Callable[[sqlite3.Connection, random.Random], None], ...]:
    """Stories for these tables: each writes one to three rows somewhere."""

    def write(db: sqlite3.Connection, chance: random.Random) -> None:
        for _ in range(chance.randrange(1, 4)):
            schema = schemas[chance.choice(sorted(schemas))]
            keys = _keys(db, schema)
            drawn = chance.random()
            if not keys or (drawn < 0.4 and len(keys) < ROWS_MAX):
                _insert(db, chance, schema)
            elif drawn < 0.8:
                _update(db, chance, schema, chance.choice(keys))
            else:
                _delete(db, schema, chance.choice(keys))

    return (write,)


def _keys(db: sqlite3.Connection, schema: TableSchema) -> list[tuple[Any, ...]]:
    names = ", ".join(quoted(name) for name in schema.key)
    found = db.execute(f"select {names} from {quoted(schema.name)} order by {names}")
    return [tuple(row) for row in found]


def _insert(db: sqlite3.Connection, chance: random.Random, schema: TableSchema) -> None:
    values = {
        column.name: _value(chance, column)
        for column in schema.columns
        if not (schema.generated_key and column.name in schema.key)
    } | _pointers(db, chance, schema)
    names = ", ".join(quoted(name) for name in values)
    marks = ", ".join("?" * len(values))
    statement = f"insert into {quoted(schema.name)} ({names}) values ({marks})"
    if not values:
        statement = f"insert into {quoted(schema.name)} default values"
    db.execute(statement, tuple(values.values()))


def _update(
    db: sqlite3.Connection, chance: random.Random, schema: TableSchema, key: tuple[Any, ...]
) -> None:
    columns = [column for column in schema.columns if column.name not in schema.key]
    if not columns:
        return
    column = chance.choice(columns)
    values = {column.name: _value(chance, column)}
    pointers = _pointers(db, chance, schema)
    if column.name in pointers:
        values = pointers
    sets = ", ".join(f"{quoted(name)} = ?" for name in values)
    db.execute(
        f"update {quoted(schema.name)} set {sets} where {_where(schema)}", (*values.values(), *key)
    )


def _delete(db: sqlite3.Connection, schema: TableSchema, key: tuple[Any, ...]) -> None:
    db.execute(f"delete from {quoted(schema.name)} where {_where(schema)}", key)


def _where(schema: TableSchema) -> str:
    return " and ".join(f"{quoted(name)} = ?" for name in schema.key)


def _pointers(db: sqlite3.Connection, chance: random.Random, schema: TableSchema) -> dict[str, Any]:
    """Values of the foreign keys: those of rows that are there."""
    values: dict[str, Any] = {}
    for foreign_key in schema.foreign_keys:
        names = ", ".join(quoted(name) for name in foreign_key.parent_columns)
        parents = db.execute(
            f"select {names} from {quoted(foreign_key.parent)} order by {names}"
        ).fetchall()
        may_be_null = all(schema.column[name].nullable for name in foreign_key.columns)
        if parents and not (may_be_null and chance.random() < 0.2):
            values.update(zip(foreign_key.columns, chance.choice(parents), strict=True))
        elif may_be_null:
            values.update(dict.fromkeys(foreign_key.columns))
    return values


def _value(chance: random.Random, column: Column) -> Any:
    if column.nullable and chance.random() < 0.2:
        return None
    if column.type is ColumnType.UUID:
        return f"00000000-0000-4000-8000-{chance.randrange(20):012d}"
    return chance.choice(_VALUES[column.type])
