"""Expressions as SQL: what `core/matching.py` decides in Python, a database decides here.

The rule         the logic of and, or and not is SQL's own; how a value of a column compares is the
                 dialect's to say, so that it agrees with the value's wire form. Values are
                 parameters, never text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, Self

import msgspec

from reunite.core.expression import (
    TEXT_OPERATORS,
    And,
    Expression,
    IsTrue,
    Not,
    Operator,
    Or,
    Some,
    Term,
    Via,
)
from reunite.core.schema import Column, TableSchema
from reunite.core.stored import stored_of
from reunite.core.values import Value

# How SQL writes what compares two values.
SIGNS: Mapping[Operator, str] = MappingProxyType(
    {
        Operator.EXACT: "=",
        Operator.NE: "<>",
        Operator.LT: "<",
        Operator.LTE: "<=",
        Operator.GT: ">",
        Operator.GTE: ">=",
    }
)


class Comparing(Protocol):
    """How values of columns of one table compare, as SQL and its parameters; the table is called
    `t`, unless `called` said otherwise."""

    def called(self, alias: str) -> Self:
        """The same for the table under another name."""
        ...

    def points_sql(self, column: Column, other: Self, pointer: Column) -> str:
        """Whether the value is that of a column of another table: of those types that a step may
        go by, and exactly, whatever the collations."""
        ...

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


class Reached(Protocol):
    """A table to which an expression's steps lead."""

    @property
    def schema(self) -> TableSchema: ...

    @property
    def sql_name(self) -> str: ...

    @property
    def comparing(self) -> Any: ...


class Condition(msgspec.Struct, frozen=True):
    """A condition on rows of the table `t`, and its parameters in order."""

    sql: str
    parameters: tuple[Any, ...] = ()


_NOWHERE: Mapping[str, Any] = MappingProxyType({})


def condition_of(
    expression: Expression,
    schema: TableSchema,
    comparing: Any,
    reached: Mapping[str, Reached] = _NOWHERE,
) -> Condition:
    """A checked expression as what stands after WHERE. `reached` are the tables by name, to which
    its steps may lead."""
    compiler = _Compiler(reached)
    sql = compiler.sql(expression, schema, comparing, 0)
    return Condition(sql, tuple(compiler.parameters))


class _Compiler:
    def __init__(self, reached: Mapping[str, Reached]) -> None:
        self._reached = reached
        self.parameters: list[Any] = []

    def sql(self, expression: Expression, schema: TableSchema, comparing: Any, steps: int) -> str:
        def inner(part: Expression) -> str:
            return self.sql(part, schema, comparing, steps)

        match expression:
            case Term():
                return self._term(expression, schema.column[expression.field], comparing)
            case Via():
                return self._via(expression, schema, comparing, steps + 1)
            case Some():
                return self._some(expression, schema, comparing, steps + 1)
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

    def _term(self, term: Term, column: Column, comparing: Comparing) -> str:
        if term.operator is Operator.ISNULL:
            return comparing.null_sql(column, is_null=term.value)
        if term.operator is Operator.IN:
            sql, values = comparing.membership_sql(column, term.value)
        elif term.operator in TEXT_OPERATORS:
            sql, values = comparing.text_sql(column, term.operator, str(stored_of(term.value)))
        else:
            sql, values = comparing.comparison_sql(column, term.operator, term.value)
        self.parameters += values
        return sql

    def _some(self, some: Some, schema: TableSchema, comparing: Comparing, steps: int) -> str:
        """Whether there is such a row; each row here is asked once, however many there are."""
        table, alias = self._reached[some.child], f"t{steps}"
        child = table.comparing.called(alias)
        says = self.sql(some.part, table.schema, child, steps)
        points = " AND ".join(
            comparing.points_sql(schema.column[key], child, table.schema.column[pointer])
            for key, pointer in zip(some.key, some.columns, strict=True)
        )
        return f"EXISTS (SELECT 1 FROM {table.sql_name} AS {alias} WHERE {points} AND {says})"

    def _via(self, via: Via, schema: TableSchema, comparing: Comparing, steps: int) -> str:
        """What the one row there says; NULL, which is unknown, where there is none."""
        table, alias = self._reached[via.parent], f"t{steps}"
        parent = table.comparing.called(alias)
        says = self.sql(via.part, table.schema, parent, steps)
        points = " AND ".join(
            parent.points_sql(table.schema.column[key], comparing, schema.column[pointer])
            for key, pointer in zip(table.schema.key, via.columns, strict=True)
        )
        sql = f"(SELECT {says} FROM {table.sql_name} AS {alias} WHERE {points})"
        leaf = via.part
        while isinstance(leaf, Via):
            leaf = leaf.part
        if isinstance(leaf, Some):
            return f"coalesce({sql}, (1 = 0))"
        if isinstance(leaf, Term) and leaf.operator is Operator.ISNULL:
            return f"coalesce({sql}, (1 = {1 if leaf.value else 0}))"
        return sql
