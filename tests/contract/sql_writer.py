"""A program that writes with plain SQL, as the contract of stores asks for one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from reunite.core.key import Key
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.values import Value, wire_integer
from reunite.testing.contracts import STANDARD_SCHEMAS


class SqlWriter:
    """Writes with plain SQL, as any program does.

    mark      how the driver writes a parameter
    as_json   the columns that hold JSON there
    """

    mark = "?"
    as_json = frozenset({ColumnType.JSON})

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def insert(self, table: str, values: Mapping[str, Value]) -> Key:
        return self._insert("insert", table, values)

    def _insert(self, verb: str, table: str, values: Mapping[str, Value]) -> Key:
        names, stored = self._named(table, values)
        marks = ", ".join([self.mark] * len(names))
        keys = ", ".join(f'"{name}"' for name in schema_of(table).key)
        (key,) = self._connection.execute(
            f'{verb} into "{table}" ({", ".join(names)}) values ({marks}) returning {keys}', stored
        ).fetchall()
        return tuple(wire_integer(part) if isinstance(part, int) else part for part in key)

    def update(self, table: str, key: Key, values: Mapping[str, Value]) -> None:
        names, stored = self._named(table, values)
        sets = ", ".join(f"{name} = {self.mark}" for name in names)
        self._connection.execute(
            f'update "{table}" set {sets} where {self._where(table)}', [*stored, *key]
        )

    def delete(self, table: str, key: Key) -> None:
        self._connection.execute(f'delete from "{table}" where {self._where(table)}', list(key))

    def _where(self, table: str) -> str:
        return " and ".join(f'"{name}" = {self.mark}' for name in schema_of(table).key)

    def _named(self, table: str, values: Mapping[str, Value]) -> tuple[list[str], list[Any]]:
        columns = schema_of(table).column
        return [f'"{name}"' for name in values], [
            self._stored(columns[name].type if name in columns else ColumnType.TEXT, value)
            for name, value in values.items()
        ]

    def _stored(self, column_type: ColumnType, value: Value) -> Any:
        if value is None:
            return None
        if column_type is ColumnType.BLOB:
            assert isinstance(value, str)
            return base64.b64decode(value)
        return json.dumps(value) if column_type in self.as_json else value


def schema_of(table: str) -> TableSchema:
    return next(schema for schema in STANDARD_SCHEMAS if schema.name == table)
