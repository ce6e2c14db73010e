"""The SQL store keeps the promises of a store, on PostgreSQL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType
from reunite.core.values import Value
from reunite.engine.ports import Store
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts import (
    STANDARD_DDL_POSTGRESQL,
    STANDARD_SCHEMAS,
    StoreContract,
    StoreSubject,
    Writer,
)
from tests.contract.sql_writer import SqlWriter, schema_of

_KINDS = {
    ColumnType.REAL: "double precision",
    ColumnType.BLOB: "bytea",
    ColumnType.DECIMAL: "numeric",
    ColumnType.DATETIME: "timestamptz",
    ColumnType.JSON: "jsonb",
    ColumnType.ANY: "jsonb",
}


class PostgresWriter(SqlWriter):
    mark = "%s"
    as_json = frozenset({ColumnType.JSON, ColumnType.ANY})

    def replace(self, table: str, values: Mapping[str, Value]) -> Key:
        schema = schema_of(table)
        given = dict(values)
        for columns in (schema.key, *(unique.columns for unique in schema.uniques)):
            if all(given.get(name) is not None for name in columns):
                where = " and ".join(f'"{name}" = %s' for name in columns)
                self._connection.execute(
                    f'delete from "{table}" where {where}', [given[name] for name in columns]
                )
        return self.insert(table, values)


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
