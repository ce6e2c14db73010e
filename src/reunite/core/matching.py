"""Matching: what an expression says of a row, decided in Python.

What it is       a checked expression as a function over values in wire form.
The rule         a store's SQL says the same of every row that its database can hold; a property
                 test holds both to it. Where a value does not fit its column, its wire form counts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

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
from reunite.core.key import Key
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.stored import stored_of
from reunite.core.values import Row, Value, order_key


class Reach(Protocol):
    """Where the rows are to which an expression's steps lead."""

    @property
    def schemas(self) -> Mapping[str, TableSchema]: ...

    def row(self, table: str, key: Key) -> Row | None:
        """The row of this key, None if there is none."""
        ...

    def pointing(self, table: str, columns: Sequence[str], key: Key) -> Iterable[Row] | None:
        """The rows of a table that hold this key in these columns; None where nobody knows which,
        so that one of them may be as is asked."""
        ...


# True, False, or None where it is unknown.
Judge: TypeAlias = Callable[[Sequence[Value]], bool | None]

_COMPARISONS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EXACT: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
}

_TEXT_TESTS: Mapping[Operator, Callable[[str, str], bool]] = {
    Operator.CONTAINS: lambda text, part: part in text,
    Operator.STARTSWITH: str.startswith,
    Operator.ENDSWITH: str.endswith,
    Operator.IEXACT: lambda text, other: folded(text) == folded(other),
}
_FOLDED = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def folded(text: str) -> str:
    """The text with a to z for A to Z, which every database does alike."""
    return text.translate(_FOLDED)


def judge_of(
    expression: Expression,
    columns: Sequence[tuple[str, ColumnType]],
    reach: Reach | None = None,
) -> Judge:
    """What decides rows of these columns, by name and type, in their order.

    The expression has been checked against a schema that has them; `reach` is needed if it has
    steps.
    """
    places = {name: (index, column_type) for index, (name, column_type) in enumerate(columns)}
    return _judge(expression, places, reach)


def row_judge(expression: Expression, schema: TableSchema, reach: Reach | None = None) -> Judge:
    """What decides whole rows of a table."""
    return judge_of(expression, [(column.name, column.type) for column in schema.columns], reach)


def _judge(
    expression: Expression,
    places: Mapping[str, tuple[int, ColumnType]],
    reach: Reach | None,
) -> Judge:
    match expression:
        case Term():
            return _term(expression, *places[expression.field])
        case Via():
            assert reach is not None, "who asks for steps says where they lead"
            return _via(expression, [places[name][0] for name in expression.columns], reach)
        case Some():
            assert reach is not None, "who asks for steps says where they lead"
            return _some(expression, [places[name][0] for name in expression.key], reach)
        case And(parts):
            return _joined([_judge(part, places, reach) for part in parts], decisive=False)
        case Or(parts):
            return _joined([_judge(part, places, reach) for part in parts], decisive=True)
        case Not(part):
            inside = _judge(part, places, reach)

            def negated(row: Sequence[Value]) -> bool | None:
                known = inside(row)
                return None if known is None else not known

            return negated
        case IsTrue(part):
            within = _judge(part, places, reach)
            return lambda row: within(row) is True
        case _:
            raise TypeError(f"{expression!r} cannot be decided.")


def _via(via: Via, places: Sequence[int], reach: Reach) -> Judge:
    schema = reach.schemas[via.parent]
    judge = row_judge(via.part, schema, reach)
    nothing = (None,) * len(schema.columns)

    def reached(row: Sequence[Value]) -> bool | None:
        key = tuple([row[place] for place in places])
        found = None if None in key else reach.row(via.parent, key)
        return judge(nothing if found is None else found)

    return reached


def _some(some: Some, places: Sequence[int], reach: Reach) -> Judge:
    judge = row_judge(some.part, reach.schemas[some.child], reach)

    def has_one(row: Sequence[Value]) -> bool | None:
        key = tuple([row[place] for place in places])
        found = () if None in key else reach.pointing(some.child, some.columns, key)
        return found is None or any(judge(one) is True for one in found)

    return has_one


def _joined(judges: Sequence[Judge], *, decisive: bool) -> Judge:
    """And or Or: one part that is `decisive` decides; else one that is unknown does."""

    def joined(row: Sequence[Value]) -> bool | None:
        result: bool | None = not decisive
        for judge in judges:
            known = judge(row)
            if known is decisive:
                return decisive
            if known is None:
                result = None
        return result

    return joined


def _term(term: Term, place: int, column_type: ColumnType) -> Judge:
    if term.operator is Operator.ISNULL:
        wanted = term.value
        return lambda row: (row[place] is None) is wanted
    if term.operator is Operator.IN:
        keys = {order_key(column_type, value) for value in term.value}
        if not keys:
            return lambda row: False

        def is_in(row: Sequence[Value]) -> bool | None:
            value = row[place]
            return None if value is None else order_key(column_type, value) in keys

        return is_in
    if term.operator in TEXT_OPERATORS:
        return _text_term(term, place)
    compare = _COMPARISONS[term.operator]
    key = order_key(column_type, term.value)

    def compared(row: Sequence[Value]) -> bool | None:
        value = row[place]
        return None if value is None else compare(order_key(column_type, value), key)

    return compared


def _text_term(term: Term, place: int) -> Judge:
    test, part = _TEXT_TESTS[term.operator], str(stored_of(term.value))

    def tested(row: Sequence[Value]) -> bool | None:
        value = row[place]
        if value is None:
            return None
        text = stored_of(value)
        return isinstance(text, str) and test(text, part)

    return tested
