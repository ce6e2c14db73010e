"""The SQL store keeps the promises of a store, on PostgreSQL."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.values import Value, wire_integer
from reunite.engine.ports import Store
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts import (
    STANDARD_DDL_POSTGRESQL,
    STANDARD_SCHEMAS,
    StoreContract,
    StoreSubject,
    Writer,
)

_KINDS = {
    ColumnType.REAL: "double precision",
    ColumnType.BLOB: "bytea",
    ColumnType.DECIMAL: "numeric",
    ColumnType.DATETIME: "timestamptz",
    ColumnType.JSON: "jsonb",
    ColumnType.ANY: "jsonb",
}


class PostgresWriter:
    """Writes with plain SQL, as any program does."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def insert(self, table: str, values: Mapping[str, Value]) -> Key:
        names, stored = _named(table, values)
        marks = ", ".join(["%s"] * len(names))
        keys = ", ".join(f'"{name}"' for name in _schema(table).key)
        (key,) = self._connection.execute(
            f'insert into "{table}" ({", ".join(names)}) values ({marks}) returning {keys}', stored
        ).fetchall()
        return tuple(wire_integer(part) if isinstance(part, int) else part for part in key)

    def replace(self, table: str, values: Mapping[str, Value]) -> Key:
        schema = _schema(table)
        given = dict(values)
        for columns in (schema.key, *(unique.columns for unique in schema.uniques)):
            if all(given.get(name) is not None for name in columns):
                where = " and ".join(f'"{name}" = %s' for name in columns)
                self._connection.execute(
                    f'delete from "{table}" where {where}', [given[name] for name in columns]
                )
        return self.insert(table, values)

    def update(self, table: str, key: Key, values: Mapping[str, Value]) -> None:
        names, stored = _named(table, values)
        sets = ", ".join(f"{name} = %s" for name in names)
        self._connection.execute(
            f'update "{table}" set {sets} where {_where(table)}', [*stored, *key]
        )

    def delete(self, table: str, key: Key) -> None:
        self._connection.execute(f'delete from "{table}" where {_where(table)}', list(key))


def _schema(table: str) -> TableSchema:
    return next(schema for schema in STANDARD_SCHEMAS if schema.name == table)


def _where(table: str) -> str:
    return " and ".join(f'"{name}" = %s' for name in _schema(table).key)


def _named(table: str, values: Mapping[str, Value]) -> tuple[list[str], list[Any]]:
    columns = _schema(table).column
    return [f'"{name}"' for name in values], [
        _stored(columns[name].type if name in columns else ColumnType.TEXT, value)
        for name, value in values.items()
    ]


def _stored(column_type: ColumnType, value: Value) -> Any:
    if value is None:
        return None
    if column_type is ColumnType.BLOB:
        assert isinstance(value, str)
        return base64.b64decode(value)
    if column_type in (ColumnType.JSON, ColumnType.ANY):
        return json.dumps(value)
    return value


class PostgresSubject:
    def __init__(self, url: str) -> None:
        self._url = url
        with self._connection() as connection:
            for statement in STANDARD_DDL_POSTGRESQL:
                connection.execute(statement)
        self.store: SqlStore = self._open()
        self.store.track(STANDARD_SCHEMAS)

    def _open(self) -> SqlStore:
        return open_store(self._url, timeout_s=0.2)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            yield connection

    @contextmanager
    def foreign(self) -> Iterator[Writer]:
        with self._connection() as connection, connection.transaction():
            yield PostgresWriter(connection)

    def writer(self, handle: Any) -> Writer:
        return PostgresWriter(handle)

    def reopen(self) -> Store:
        self.store.close()
        self.store = self._open()
        return self.store

    def add_column(self, table: str, column: Column) -> None:
        kind = _KINDS.get(column.type, column.type)
        with self._connection() as connection:
            connection.execute(f'alter table "{table}" add column "{column.name}" {kind}')


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def subject(self, postgresql: str) -> Iterator[StoreSubject]:
        subject = PostgresSubject(postgresql)
        yield subject
        subject.store.close()
