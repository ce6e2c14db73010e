"""Expressions as SQL: what `core/matching.py` decides in Python, a database decides here.

The rule         the logic of and, or and not is SQL's own; how a value of a column compares is the
                 dialect's to say, so that it agrees with the value's wire form. Values are
                 parameters, never text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from reunite.core.expression import (
    TEXT_OPERATORS,
    And,
    Expression,
    IsTrue,
    Not,
    Operator,
    Or,
    Term,
)
from reunite.core.schema import Column, TableSchema
from reunite.core.stored import stored_of
from reunite.core.values import Value


class Comparing(Protocol):
    """How values of columns of the table `t` compare, as SQL and its parameters."""

    def null_sql(self, column: Column, *, is_null: bool) -> str:
        """Whether the value is NULL. The JSON text `null` is a value."""
        ...

    def comparison_sql(
        self, column: Column, operator: Operator, value: Value
    ) -> tuple[str, list[Any]]:
        """How it stands to a value that is no list."""
        ...

    def membership_sql(self, column: Column, values: Sequence[Value]) -> tuple[str, list[Any]]:
        """Whether it is one of these."""
        ...

    def text_sql(self, column: Column, operator: Operator, part: str) -> tuple[str, list[Any]]:
        """Whether it is a text that one of TEXT_OPERATORS finds `part` in."""
        ...


class Condition(msgspec.Struct, frozen=True):
    """A condition on rows of the table `t`, and its parameters in order."""

    sql: str
    parameters: tuple[Any, ...] = ()


def condition_of(expression: Expression, schema: TableSchema, comparing: Comparing) -> Condition:
    """A checked expression as what stands after WHERE."""
    parameters: list[Any] = []
    return Condition(_sql(expression, schema, comparing, parameters), tuple(parameters))


def _sql(
    expression: Expression, schema: TableSchema, comparing: Comparing, parameters: list[Any]
) -> str:
    def inner(part: Expression) -> str:
        return _sql(part, schema, comparing, parameters)

    match expression:
        case Term(field, operator, value):
            column = schema.column[field]
            if operator is Operator.ISNULL:
                return comparing.null_sql(column, is_null=value)
            if operator is Operator.IN:
                sql, values = comparing.membership_sql(column, value)
            elif operator in TEXT_OPERATORS:
                sql, values = comparing.text_sql(column, operator, str(stored_of(value)))
            else:
                sql, values = comparing.comparison_sql(column, operator, value)
            parameters += values
            return sql
        case And(()):
            return "(1 = 1)"
        case Or(()):
            return "(1 = 0)"
        case And(parts):
            return f"({' AND '.join(map(inner, parts))})"
        case Or(parts):
            return f"({' OR '.join(map(inner, parts))})"
        case Not(part):
            return f"(NOT {inner(part)})"
        case IsTrue(part):
            return f"({inner(part)} IS TRUE)"
        case _:
            raise TypeError(f"{expression!r} cannot be asked of a database.")
