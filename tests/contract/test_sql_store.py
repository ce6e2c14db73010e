"""The SQL store keeps the promises of a store, on SQLite."""

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType
from reunite.core.values import Value, wire_integer
from reunite.engine.ports import Store
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts import (
    STANDARD_DDL_SQLITE,
    STANDARD_SCHEMAS,
    StoreContract,
    StoreSubject,
    Writer,
)


class SqliteWriter:
    """Writes with plain SQL, as any program does."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, table: str, values: Mapping[str, Value]) -> Key:
        return self._insert("insert", table, values)

    def replace(self, table: str, values: Mapping[str, Value]) -> Key:
        return self._insert("insert or replace", table, values)

    def _insert(self, verb: str, table: str, values: Mapping[str, Value]) -> Key:
        names, stored = self._stored(table, values)
        marks = ", ".join("?" * len(names))
        keys = ", ".join(f'"{name}"' for name in self._key(table))
        (key,) = self._connection.execute(
            f'{verb} into "{table}" ({", ".join(names)}) values ({marks}) returning {keys}', stored
        ).fetchall()
        return tuple(wire_integer(part) if isinstance(part, int) else part for part in key)

    def update(self, table: str, key: Key, values: Mapping[str, Value]) -> None:
        names, stored = self._stored(table, values)
        sets = ", ".join(f"{name} = ?" for name in names)
        self._connection.execute(
            f'update "{table}" set {sets} where {self._where(table)}', [*stored, *key]
        )

    def delete(self, table: str, key: Key) -> None:
        self._connection.execute(f'delete from "{table}" where {self._where(table)}', key)

    def _stored(self, table: str, values: Mapping[str, Value]) -> tuple[list[str], list[Any]]:
        columns = _schema(table).column
        return (
            [f'"{name}"' for name in values],
            [
                _stored(columns[name].type if name in columns else ColumnType.TEXT, value)
                for name, value in values.items()
            ],
        )

    def _key(self, table: str) -> tuple[str, ...]:
        return _schema(table).key

    def _where(self, table: str) -> str:
        return " and ".join(f'"{name}" = ?' for name in self._key(table))


def _schema(table: str) -> Any:
    return next(schema for schema in STANDARD_SCHEMAS if schema.name == table)


def _stored(column_type: ColumnType, value: Value) -> Any:
    if value is None:
        return None
    if column_type is ColumnType.BLOB:
        assert isinstance(value, str)
        return base64.b64decode(value)
    return json.dumps(value) if column_type is ColumnType.JSON else value


class SqliteSubject:
    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connection() as connection:
            for statement in STANDARD_DDL_SQLITE:
                connection.execute(statement)
        self.store: SqlStore = self._open()
        self.store.track(STANDARD_SCHEMAS)

    def _open(self) -> SqlStore:
        return open_store(self._path, timeout_s=0.2, synchronous="off")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("pragma synchronous = off")
            connection.execute("pragma foreign_keys = on")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def foreign(self) -> Iterator[Writer]:
        with self._connection() as connection:
            connection.execute("begin immediate")
            try:
                yield SqliteWriter(connection)
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")

    def writer(self, handle: Any) -> Writer:
        return SqliteWriter(handle)

    def reopen(self) -> Store:
        self.store.close()
        self.store = self._open()
        return self.store

    def add_column(self, table: str, column: Column) -> None:
        with self._connection() as connection:
            connection.execute(f'alter table "{table}" add column "{column.name}" {column.type}')


class TestSqlStore(StoreContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[StoreSubject]:
        subject = SqliteSubject(tmp_path / "hub.db")
        yield subject
        subject.store.close()
