"""Expressions as SQL: what `core/matching.py` decides in Python, a database decides here.

The rule         the logic of and, or and not is SQL's own; how a value of a column compares is the
                 dialect's to say, so that it agrees with the value's wire form. Values are
                 parameters, never text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.core.expression import And, Expression, IsTrue, Not, Operator, Or, Term
from reunite.core.schema import TableSchema
from reunite.stores.sql.dialects import sqlite_comparing


class Condition(msgspec.Struct, frozen=True):
    """A condition on rows of the table `t`, and its parameters in order."""

    sql: str
    parameters: tuple[Any, ...] = ()


def condition_of(expression: Expression, schema: TableSchema) -> Condition:
    """A checked expression as what stands after WHERE."""
    parameters: list[Any] = []
    return Condition(_sql(expression, schema, parameters), tuple(parameters))


def _sql(expression: Expression, schema: TableSchema, parameters: list[Any]) -> str:
    match expression:
        case Term(field, operator, value):
            column = schema.column[field]
            if operator is Operator.ISNULL:
                return sqlite_comparing.null_sql(column, is_null=value)
            if operator is Operator.IN:
                sql, values = sqlite_comparing.membership_sql(column, value)
            else:
                sql, values = sqlite_comparing.comparison_sql(column, operator, value)
            parameters += values
            return sql
        case And(parts):
            return f"({' AND '.join(_sql(part, schema, parameters) for part in parts)})"
        case Or(parts):
            return f"({' OR '.join(_sql(part, schema, parameters) for part in parts)})"
        case Not(part):
            return f"(NOT {_sql(part, schema, parameters)})"
        case IsTrue(part):
            return f"({_sql(part, schema, parameters)} IS TRUE)"
        case _:
            raise TypeError(f"{expression!r} cannot be asked of a database.")
