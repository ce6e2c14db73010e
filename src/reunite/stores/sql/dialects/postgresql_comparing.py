"""How PostgreSQL compares a value of a column with one in wire form, so that Python says the same.

integer, real, boolean, decimal   as numbers, which an index can serve
uuid, blob                        as they are, which an index can serve
text                              = as it is; for an order by code point, whatever the collation,
                                  and so parts of texts
date, time, datetime, other text  the wire forms, by code point
json                              only whether it is NULL
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reunite.core.expression import Operator
from reunite.core.schema import Column, ColumnType
from reunite.core.stored import stored_of
from reunite.core.values import Value
from reunite.stores.sql.dialects.postgresql_reflection import PgColumn
from reunite.stores.sql.dialects.postgresql_values import stored_value, wire_sql
from reunite.stores.sql.quoting import quoted
from reunite.stores.sql.where import SIGNS

_AS_THEY_ARE = frozenset(
    {
        ColumnType.INTEGER, ColumnType.REAL, ColumnType.BOOLEAN, ColumnType.DECIMAL,
        ColumnType.BLOB,
    }
)  # fmt: skip
# What JSON of these says is not what PostgreSQL prints.
_AS_JSON_PRINTS = frozenset({"date", "time", "timestamp", "bpchar"})
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class PostgresComparing:
    """The comparisons of one table's columns."""

    def __init__(self, columns: Mapping[str, PgColumn], alias: str = "t") -> None:
        self._columns = columns
        self._alias = alias

    def called(self, alias: str) -> PostgresComparing:
        return PostgresComparing(self._columns, alias)

    def points_sql(self, column: Column, other: PostgresComparing, pointer: Column) -> str:
        x, y = self._name(column), other._name(pointer)
        if column.type is not ColumnType.TEXT:
            return f"({x} = {y})"
        texts = [f'{self._text(column)} COLLATE "C"', f'{other._text(pointer)} COLLATE "C"']
        return f"({x} = {y} AND {' = '.join(texts)})"

    def _name(self, column: Column) -> str:
        return f"{self._alias}.{quoted(column.name)}"

    def null_sql(self, column: Column, *, is_null: bool) -> str:
        return f"({self._name(column)} IS {'' if is_null else 'NOT '}NULL)"

    def comparison_sql(
        self, column: Column, operator: Operator, value: Value
    ) -> tuple[str, list[Any]]:
        given = self._given(column, value)
        if isinstance(given, str) and "\0" in given:
            return self._comparison_with_nul(column, operator, given)
        is_order = operator not in (Operator.EXACT, Operator.NE)
        compared, mark = self._sides(column, [value], is_order=is_order)
        return f"({compared} {SIGNS[operator]} {mark})", [given]

    def _comparison_with_nul(
        self, column: Column, operator: Operator, text: str
    ) -> tuple[str, list[Any]]:
        """Compare with what no text here can be, nor a parameter: texts that begin like it, if
        only up to its NUL, come after it; that beginning itself comes before it."""
        start, _, _ = text.partition("\0")
        x = f"{self._name(column)}"
        match operator:
            case Operator.EXACT:
                return f"({x} IS NULL AND NULL)", []
            case Operator.NE:
                return f"({x} IS NOT NULL OR NULL)", []
            case _:
                sign = "<=" if operator in (Operator.LT, Operator.LTE) else ">"
                return f'({self._text(column)} COLLATE "C" {sign} ?::text)', [start]

    def membership_sql(self, column: Column, values: Sequence[Value]) -> tuple[str, list[Any]]:
        if not values:
            return "(false)", []
        if column.type not in _AS_THEY_ARE and column.type is not ColumnType.ANY:
            values = [value for value in values if "\0" not in self._given(column, value)]
            if not values:
                return f"({self._name(column)} IS NULL AND NULL)", []
        compared, mark = self._sides(column, values, is_order=False)
        marks = ", ".join([mark] * len(values))
        return f"({compared} IN ({marks}))", [self._given(column, value) for value in values]

    def text_sql(self, column: Column, operator: Operator, part: str) -> tuple[str, list[Any]]:
        if "\0" in part:
            # Which no text here can hold, and no parameter either.
            return f"({self._name(column)} IS NULL AND NULL)", []
        x = f'{self._text(column)} COLLATE "C"'
        match operator:
            case Operator.CONTAINS:
                return f"(strpos({x}, ?::text) > 0)", [part]
            case Operator.STARTSWITH:
                return f"starts_with({x}, ?::text)", [part]
            case Operator.ENDSWITH:
                return f"(right({x}, length(?::text)) = ?::text)", [part, part]
            case _:
                return f'(lower({x}) = lower(?::text COLLATE "C"))', [part]

    def _sides(self, column: Column, values: Sequence[Value], *, is_order: bool) -> tuple[str, str]:
        """What stands left, and a parameter right of the sign."""
        known = self._columns[column.name]
        x = f"{self._name(column)}"
        if column.type is ColumnType.ANY:
            # The wire form, as jsonb: numbers come before texts here, not there.
            if is_order:
                return f"(jsonb_typeof({x}) = 'string', {x})", _ANY_ORDERED
            return x, "?::jsonb"
        if known.base == "float4":
            return f"{x}::text::float8", "?::float8"
        if column.type in _AS_THEY_ARE:
            return x, f"?::{'float8' if column.type is ColumnType.REAL else _CASTS[column.type]}"
        if column.type is ColumnType.UUID and all(_UUID.fullmatch(str(v)) for v in values):
            return x, "?::uuid"
        if known.base in ("text", "varchar") and not is_order:
            return x, "?::text"
        return f'{self._text(column)} COLLATE "C"', "?::text"

    def _text(self, column: Column) -> str:
        """The wire form of a value as text."""
        known = self._columns[column.name]
        form = wire_sql(known, column.type, f"{self._name(column)}")
        if known.base in _AS_JSON_PRINTS:
            form = f"to_json({form}) #>> '{{}}'"
        return f"({form})::text"

    def _given(self, column: Column, value: Value) -> Any:
        if column.type in _AS_THEY_ARE or column.type is ColumnType.ANY:
            return stored_value(column, value)
        if column.type is ColumnType.UUID:
            return str(value).lower()
        return str(stored_of(value))


_ANY_ORDERED = "(SELECT jsonb_typeof(v) = 'string', v FROM (SELECT ?::jsonb AS v) AS given)"
_CASTS = {
    ColumnType.INTEGER: "bigint",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.DECIMAL: "numeric",
    ColumnType.BLOB: "bytea",
}
