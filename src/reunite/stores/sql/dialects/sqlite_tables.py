"""CREATE statements for a replica's own tables, from the hub's schema.

A replica does not judge the hub's rows: no CHECK, and no unique constraint inside the table
(indexes are made when the first clone is complete). A column makes of values what the hub's makes
of them (its affinity), so that whatever the hub holds is kept as it is; decimals of a hub that has
such a type live in TEXT columns, so that nothing is rounded. Generated keys are not AUTOINCREMENT:
one row with the largest key there is would leave no key for anybody; the outbox sees keys that are
given again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from reunite.core.schema import Affinity, Column, ColumnType, TableSchema
from reunite.core.values import Value
from reunite.stores.sql.dialects.sqlite import stored_to_wire
from reunite.stores.sql.quoting import quoted

_DECLARED = {
    ColumnType.INTEGER: "INTEGER",
    ColumnType.REAL: "REAL",
    ColumnType.TEXT: "TEXT",
    ColumnType.BLOB: "BLOB",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DECIMAL: "TEXT",
    ColumnType.DATE: "DATE",
    ColumnType.TIME: "TIME",
    ColumnType.DATETIME: "DATETIME",
    ColumnType.UUID: "TEXT",
    ColumnType.JSON: "JSON",
    ColumnType.ANY: "",
}
# Where the hub's column has another affinity than is usual for its type.
_DECLARED_UNUSUALLY = {
    (ColumnType.DECIMAL, Affinity.NUMERIC): "DECIMAL",
    (ColumnType.UUID, Affinity.NUMERIC): "UUID",
    (ColumnType.BLOB, Affinity.NUMERIC): "BINARY",
}
_DECLARED_BY_AFFINITY = {
    Affinity.INTEGER: "INTEGER",
    Affinity.REAL: "REAL",
    Affinity.NUMERIC: "ANY",  # a word that SQLite gives no meaning outside of strict tables
    Affinity.TEXT: "TEXT",
    Affinity.BLOB: "BLOB",
}
_NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.REAL})


def create_table_sql(schema: TableSchema, tables: Collection[str]) -> str:
    """The CREATE TABLE statement of a replica's table, in a file with these tables. A foreign key
    to another one is left to the hub: SQLite would refuse every write, for want of the table."""
    parts = [_column(schema, column) for column in schema.columns]
    if not schema.generated_key:
        parts.append(f"PRIMARY KEY ({_names(schema.key)})")
    parts += [
        f"FOREIGN KEY ({_names(foreign_key.columns)}) REFERENCES {quoted(foreign_key.parent)} "
        f"({_names(foreign_key.parent_columns)}) ON DELETE {foreign_key.on_delete.upper()} "
        f"ON UPDATE {foreign_key.on_update.upper()}"
        for foreign_key in schema.foreign_keys
        if foreign_key.parent in tables
    ]
    return f"CREATE TABLE IF NOT EXISTS {quoted(schema.name)} ({', '.join(parts)})"


def create_index_sql(schema: TableSchema) -> list[str]:
    """The statements that make a replica's indexes: the hub's unique ones, and one for each
    foreign key, so that cascades of local deletes do not read whole tables."""
    statements = []
    for number, unique in enumerate(schema.uniques):
        collations = unique.collations or ("",) * len(unique.columns)
        terms = ", ".join(
            f"{quoted(name)} COLLATE {quoted(collation)}" if collation else quoted(name)
            for name, collation in zip(unique.columns, collations, strict=True)
        )
        name = unique_index_names(schema)[number]
        statements.append(
            f"CREATE UNIQUE INDEX IF NOT EXISTS {quoted(name)} ON {quoted(schema.name)} ({terms})"
        )
    for number, foreign_key in enumerate(schema.foreign_keys):
        name = quoted(f"reunite_parent_{schema.name}_{number}")
        statements.append(
            f"CREATE INDEX IF NOT EXISTS {name} ON {quoted(schema.name)} "
            f"({_names(foreign_key.columns)})"
        )
    return statements


def unique_index_names(schema: TableSchema) -> list[str]:
    """What a replica calls its unique indexes."""
    return [f"reunite_unique_{schema.name}_{number}" for number in range(len(schema.uniques))]


def plain_default(connection: sqlite3.Connection, column: Column) -> Value:
    """What a new row gets in this column where nothing is said, in wire form; NULL if that is no
    plain value."""
    if column.default is None or not column.has_plain_default:
        return None
    expression = column.default
    if column.type in _NUMBERS:
        expression = f"CAST({expression} AS {_DECLARED[column.type]})"
    stored = connection.execute(f"SELECT {expression}").fetchone()
    return stored_to_wire([column])(stored)[0]


def _column(schema: TableSchema, column: Column) -> str:
    if schema.generated_key and schema.key == (column.name,):
        return f"{quoted(column.name)} INTEGER PRIMARY KEY"
    declared = _declared(column)
    if declared == "INTEGER" and schema.key == (column.name,):
        declared = "INT"  # INTEGER would make it the rowid, which takes nothing but integers
    words = [quoted(column.name), *([declared] if declared else [])]
    if not column.nullable:
        words.append("NOT NULL")
    if column.default is not None and column.has_plain_default:
        words.append(f"DEFAULT {column.default.strip()}")
    return " ".join(words)


def _declared(column: Column) -> str:
    if column.affinity is None:
        return _DECLARED[column.type]
    usual = _DECLARED_BY_AFFINITY[column.affinity]
    return _DECLARED_UNUSUALLY.get((column.type, column.affinity), usual)


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(quoted(name) for name in columns)
