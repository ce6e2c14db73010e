"""The SQL store keeps the promises of a store, on SQLite."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reunite.core.key import Key
from reunite.core.schema import Column
from reunite.core.values import Value
from reunite.engine.ports import Store
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts import (
    STANDARD_DDL_SQLITE,
    STANDARD_SCHEMAS,
    StoreContract,
    StoreSubject,
    Writer,
)
from tests.contract.sql_writer import SqlWriter


class SqliteWriter(SqlWriter):
    def replace(self, table: str, values: Mapping[str, Value]) -> Key:
        return self._insert("insert or replace", table, values)


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
