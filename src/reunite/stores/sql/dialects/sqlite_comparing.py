"""How SQLite compares a stored value with one in wire form, so that Python says the same.

A column may hold anything, and its affinity and collation would take part in a plain comparison.

    integer, real, boolean   =, IN as they are, which an index can serve; for an order the number,
                             and for what is none something that comes after all numbers
    text, date, time, any    the stored values, without the column's affinity and collation: SQLite
                             orders numbers, texts and blobs as `core.values.order_key` does
                             parts of texts by their bytes: SQLite counts no further than a NUL
    decimal, uuid, blob      by functions of ours, with `core.values.order_key`
    json                     only whether it is NULL
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from reunite.core.expression import Operator
from reunite.core.schema import Column, ColumnType
from reunite.core.stored import stored_of
from reunite.core.values import Value, canonical_text, order_key, parse_integer
from reunite.stores.sql.dialects.sqlite import wire_expression
from reunite.stores.sql.quoting import quoted
from reunite.stores.sql.where import SIGNS

_NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.REAL, ColumnType.BOOLEAN})
_BY_FUNCTION = frozenset({ColumnType.DECIMAL, ColumnType.UUID, ColumnType.BLOB})


def register_comparisons(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that these expressions name."""
    connection.create_function("reunite_order", 3, _order, deterministic=True)
    connection.create_function("reunite_canonical", 2, _canonical, deterministic=True)


def _order(column_type: str, value: Any, other: Any) -> int | None:
    """-1, 0 or 1: how a value in wire form stands to another; NULL if it is NULL."""
    if value is None:
        return None
    key, other_key = order_key(ColumnType(column_type), value), _key(column_type, other)
    return (key > other_key) - (key < other_key)


@lru_cache(maxsize=1_000)
def _key(column_type: str, value: Any) -> tuple[int, Any, str]:
    return order_key(ColumnType(column_type), value)


def _canonical(column_type: str, value: Any) -> str | None:
    return None if value is None else canonical_text(ColumnType(column_type), value)


class SqliteComparing:
    """The comparisons of columns of a table that a statement calls `alias`."""

    def __init__(self, alias: str = "t") -> None:
        self._alias = alias

    def called(self, alias: str) -> SqliteComparing:
        return SqliteComparing(alias)

    def points_sql(self, column: Column, other: SqliteComparing, pointer: Column) -> str:
        x, y = self._name(column), other._name(pointer)
        if column.type is ColumnType.INTEGER:
            return f"({x} = {y})"
        return f"({x} = {y} AND +{x} COLLATE BINARY = +{y} COLLATE BINARY)"

    def null_sql(self, column: Column, *, is_null: bool) -> str:
        """Whether the value is NULL. The JSON text `null` is a value."""
        return f"({self._name(column)} IS {'' if is_null else 'NOT '}NULL)"

    def comparison_sql(
        self, column: Column, operator: Operator, value: Value
    ) -> tuple[str, list[Any]]:
        """How the value of a column stands to one that is no list, and the parameters."""
        sign = SIGNS[operator]
        if column.type in _BY_FUNCTION:
            wire = wire_expression(column.type, self._name(column))
            return f"(reunite_order('{column.type.value}', {wire}, ?) {sign} 0)", [value]
        is_order = operator not in (Operator.EXACT, Operator.NE)
        compared = self._ordered(column) if is_order else self._equatable(column)
        return f"({compared} {sign} ?)", [_stored(column.type, value)]

    def membership_sql(self, column: Column, values: Sequence[Value]) -> tuple[str, list[Any]]:
        """Whether a column has one of these values, and the parameters."""
        if not values:
            return "(0)", []
        marks = ", ".join("?" * len(values))
        if column.type in _BY_FUNCTION:
            wire = wire_expression(column.type, self._name(column))
            compared = f"reunite_canonical('{column.type.value}', {wire})"
            return f"({compared} IN ({marks}))", [canonical_text(column.type, v) for v in values]
        return f"({self._equatable(column)} IN ({marks}))", [
            _stored(column.type, v) for v in values
        ]

    def text_sql(self, column: Column, operator: Operator, part: str) -> tuple[str, list[Any]]:
        """Whether a column has a text that an operator finds `part` in, and the parameters."""
        x = self._name(column)
        values: list[Any] = [part]
        match operator:
            case Operator.CONTAINS:
                test = f"instr({x}, ?) > 0"
            case Operator.IEXACT:
                # SQLite's own `lower` knows A to Z only.
                test = f"lower(+{x}) COLLATE BINARY = lower(?)"
            case _ if not part:
                test, values = "1", []
            case _:
                length = "length(CAST(? AS BLOB))"
                where = f"1, {length}" if operator is Operator.STARTSWITH else f"-{length}"
                # Of an empty blob SQLite has no part, not even an empty one.
                test = f"ifnull(substr(CAST({x} AS BLOB), {where}) = CAST(? AS BLOB), 0)"
                values = [part, part]
        return (
            f"(CASE typeof({x}) WHEN 'text' THEN {test} WHEN 'null' THEN NULL ELSE 0 END)",
            values,
        )

    def _name(self, column: Column) -> str:
        return f"{self._alias}.{quoted(column.name)}"

    def _equatable(self, column: Column) -> str:
        """What is equal to a parameter as the wire form would be."""
        x = self._name(column)
        return x if column.type in _NUMBERS else f"+{x} COLLATE BINARY"

    def _ordered(self, column: Column) -> str:
        """What has the order of the wire form: numbers before everything else."""
        x = self._name(column)
        if column.type not in _NUMBERS:
            return f"+{x} COLLATE BINARY"
        return f"CASE WHEN typeof({x}) IN ('integer', 'real', 'null') THEN +{x} ELSE '' END"


def _stored(column_type: ColumnType, value: Any) -> Any:
    match column_type:
        case ColumnType.INTEGER:
            return parse_integer(value)
        case ColumnType.REAL:
            return float(value)
        case ColumnType.BOOLEAN:
            return int(value)
        case _:
            return stored_of(value)
