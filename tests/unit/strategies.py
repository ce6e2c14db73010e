"""Values, rows and schemas for property tests of the core. Small ranges, so that values meet."""

import base64
from typing import Any

from hypothesis import strategies as st

from reunite.core.expression import (
    TEXT_OPERATORS,
    And,
    Expression,
    Not,
    Operator,
    Or,
    Term,
)
from reunite.core.schema import Column, ColumnMerge, ColumnType, TableSchema
from reunite.core.stored import tagged
from reunite.core.values import INTEGER_MAX, INTEGER_MIN, Value, wire_integer

LONG_INTEGERS = st.sampled_from([INTEGER_MIN, -(2**53), 2**53 - 1, 2**53, 2**53 + 1, INTEGER_MAX])
TEXTS = st.one_of(
    st.sampled_from(["", "a", "A", "b"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
REALS = st.one_of(
    st.sampled_from([0, 0.0, -0.0, 1, 1.0, 0.1, 1e300, -1e-300, 2**53, 2**53 + 1, 2.0**53]),
    st.floats(allow_nan=False, allow_infinity=False),
)
DECIMALS = st.one_of(
    st.sampled_from(["0", "-0", "1", "1.0", "1.00", "1e1", "10", "+10.", ".5", "-2.50"]),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-9, max_value=9).map(
        str
    ),
)
JSON_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.5, 1.0, -0.0]), TEXTS
)
JSON_VALUES = st.recursive(
    JSON_SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)

TAGGED = [
    *map(tagged, [2**53, -(2**63), 2.0, 0.0, -0.0, 1e300, "reunite:", b"", b"\0\xff"]),
]

WIRE_VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.INTEGER: (st.integers(-3, 3) | LONG_INTEGERS).map(wire_integer),
    ColumnType.REAL: REALS,
    ColumnType.TEXT: TEXTS,
    ColumnType.BLOB: st.binary(max_size=3).map(lambda blob: base64.b64encode(blob).decode()),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.DECIMAL: DECIMALS,
    ColumnType.DATE: st.dates().map(str),
    ColumnType.TIME: st.times().map(str),
    ColumnType.DATETIME: st.sampled_from(["2024-02-29T12:00:00.000000Z", "noon", 1709164800]),
    ColumnType.UUID: st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()),
    ColumnType.JSON: JSON_VALUES,
    ColumnType.ANY: TEXTS | st.integers(-3, 3) | st.sampled_from([0.5, *TAGGED]),
}

# What a loosely typed database may hold in any column.
ANY_VALUES: st.SearchStrategy[Value] = st.one_of(
    *WIRE_VALUES.values(), st.none(), st.sampled_from([*TAGGED, "reunite:", "reunite:integer:7"])
)

NOT_DELTAS = [
    merge
    for merge in ColumnMerge
    if merge not in {ColumnMerge.COUNTER, ColumnMerge.UNION, ColumnMerge.CUSTOM}
]


def wire_values(column_type: ColumnType) -> st.SearchStrategy[Any]:
    return st.none() | WIRE_VALUES[column_type]


@st.composite
def typed_values(draw: st.DrawFn, count: int) -> tuple[Any, ...]:
    """A column type, and `count` values of it."""
    column_type = draw(st.sampled_from(ColumnType))
    return column_type, *(draw(wire_values(column_type)) for _ in range(count))


@st.composite
def tables(draw: st.DrawFn) -> TableSchema:
    """A table with key `id` and up to four columns of any type, policy and combination."""
    columns = [Column(name="id", type=ColumnType.TEXT)]
    for index in range(draw(st.integers(1, 4))):
        merge = draw(st.sampled_from(ColumnMerge))
        types = list(ColumnType)
        if merge is ColumnMerge.COUNTER:
            types = [ColumnType.INTEGER, ColumnType.REAL, ColumnType.DECIMAL]
        elif merge is ColumnMerge.UNION:
            types = [ColumnType.JSON]
        columns.append(Column(name=f"c{index}", type=draw(st.sampled_from(types)), merge=merge))
    return TableSchema(name="t", columns=tuple(columns), key=("id",))


def column_values(column: Column) -> st.SearchStrategy[Any]:
    if column.merge is ColumnMerge.UNION:
        return st.none() | st.lists(JSON_SCALARS, max_size=4)
    return wire_values(column.type)


# --- Expressions ---

COMPARISONS = sorted(
    set(Operator) - {Operator.IN, Operator.ISNULL, Operator.RANGE} - TEXT_OPERATORS
)


@st.composite
def expressions(draw: st.DrawFn, schema: TableSchema) -> Expression:
    """Conditions on rows of a table, not checked yet, with values that its columns can hold."""

    def terms() -> st.SearchStrategy[Expression]:
        return st.sampled_from(schema.columns).flatmap(_terms_of)

    return draw(
        st.recursive(
            terms(),
            lambda inner: st.one_of(
                inner.map(Not),
                st.lists(inner, min_size=1, max_size=3).map(lambda parts: And(tuple(parts))),
                st.lists(inner, min_size=1, max_size=3).map(lambda parts: Or(tuple(parts))),
            ),
            max_leaves=5,
        )
    )


def _terms_of(column: Column) -> st.SearchStrategy[Expression]:
    null = st.booleans().map(lambda wanted: Term(column.name, Operator.ISNULL, wanted))
    if column.type is ColumnType.JSON:
        return null
    values = WIRE_VALUES[column.type].filter(lambda value: value is not None)
    plain = _PLAIN.get(column.type)
    if plain is not None:
        values = plain | values
    asked = st.builds(Term, st.just(column.name), st.sampled_from(sorted(TEXT_OPERATORS)), values)
    return st.one_of(
        null,
        st.builds(Term, st.just(column.name), st.sampled_from(COMPARISONS), values),
        st.lists(values, max_size=3).map(
            lambda chosen: Term(column.name, Operator.IN, tuple(chosen))
        ),
        st.tuples(values, values).map(lambda pair: Term(column.name, Operator.RANGE, pair)),
        *([asked] if column.type is ColumnType.TEXT else []),
    )


_TEXTS = st.sampled_from(["", "a", "A", "a ", "ä", "Ä", "1", "1.0", "0.5", "2024", "AQI="])
_PLAIN: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.TEXT: _TEXTS,
    ColumnType.UUID: _TEXTS,
    ColumnType.DATE: _TEXTS,
    ColumnType.DATETIME: _TEXTS,
    ColumnType.INTEGER: st.integers(-3, 3),
    ColumnType.REAL: st.sampled_from([-1e300, 1e300, 0.5, 0, 1, 2**53 + 1]),
    ColumnType.DECIMAL: st.sampled_from(["1.5", "1.50", "10", "0.5", "1"]),
}
