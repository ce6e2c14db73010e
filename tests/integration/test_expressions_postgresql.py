"""Python and PostgreSQL decide every row alike, whatever its types hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reunite.core.checks import value_faults
from reunite.core.expression import (
    Expression,
    IsTrue,
    Not,
    Operator,
    Term,
    check_expression,
    from_json,
    to_json,
)
from reunite.core.matching import row_judge
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.values import Row
from reunite.stores.sql import SqlStore, open_store
from tests.integration.test_types_postgresql import DDL, FAR, ODD, USUAL
from tests.postgresql_server import PostgresServer, connected
from tests.unit.strategies import expressions

TEXTS = ("", "a", "A", "a ", "ä", "Ä", "STRASSE", "straße", "a%", "100", "[1]", "2024-02-29")


@pytest.fixture(scope="module")
def things(postgresql_server: PostgresServer) -> Iterator[tuple[SqlStore, TableSchema, list[Row]]]:
    """A table with a value of every type, and all its rows in wire form."""
    url = postgresql_server.new_database()
    with connected(url) as db:
        db.execute(DDL)
        for values in (USUAL, ODD, FAR):
            db.execute(f"insert into thing {values}")
        db.execute("insert into thing default values")
        for text in TEXTS:
            db.execute("insert into thing (a_text, a_varchar) values (%s, left(%s, 5))", [text] * 2)
    with open_store(url) as store:
        store.track([store.reflect("thing")])
        with store.read() as tx:
            schema = tx.schemas()["thing"]
            rows = list(tx.scan("thing", after=None, limit=100))
        yield store, schema, rows


@settings(max_examples=100)
@given(data=st.data())
def test_python_and_postgresql_decide_every_row_alike(
    things: tuple[SqlStore, TableSchema, list[Row]], data: st.DataObject
) -> None:
    """With three-valued logic: what is true, what is false, and so what is unknown."""
    store, schema, rows = things
    given_expression = data.draw(expressions(schema) | _met(schema, rows))
    expression = check_expression(given_expression, schema, path="where")
    judge = row_judge(expression, schema)
    assert from_json(json.loads(json.dumps(to_json(expression))), path="x") == expression
    with store.read() as tx:
        for asked, wanted in ((expression, True), (IsTrue(Not(expression)), False)):
            found = tx.scan("thing", after=None, limit=100, where=asked)
            assert [row for row in rows if judge(row) is wanted] == list(found), to_json(expression)


def _met(schema: TableSchema, rows: list[Row]) -> st.SearchStrategy[Expression]:
    """Comparisons with values that are there."""

    def terms(place: int) -> st.SearchStrategy[Expression]:
        column = schema.columns[place]
        there = [
            row[place]
            for row in rows
            if row[place] is not None and not value_faults([column], [(row[place],)])
        ]
        if column.type is ColumnType.JSON or not there:
            return st.just(Term(column.name, Operator.ISNULL, True))
        comparisons = st.sampled_from(
            [Operator.EXACT, Operator.NE, Operator.LT, Operator.LTE, Operator.GT, Operator.GTE]
        )
        return st.builds(Term, st.just(column.name), comparisons, st.sampled_from(there))

    return st.integers(0, len(schema.columns) - 1).flatmap(terms)


def test_what_no_text_here_can_hold_is_compared_all_the_same(
    things: tuple[SqlStore, TableSchema, list[Row]],
) -> None:
    """A text with a NUL is no parameter that PostgreSQL takes."""
    store, schema, rows = things
    value: Any = "a\0b"
    for operator in (*Operator,):
        if operator in (Operator.ISNULL, Operator.RANGE):
            continue
        for name in ("a_text", "a_char", "a_mood", "a_date", "an_inet", "a_timestamptz"):
            column = schema.column[name]
            is_of_texts = operator in (
                Operator.CONTAINS, Operator.STARTSWITH, Operator.ENDSWITH, Operator.IEXACT
            )  # fmt: skip
            if is_of_texts and column.type is not ColumnType.TEXT:
                continue
            operand = (value, "a") if operator is Operator.IN else value
            where = check_expression(Term(name, operator, operand), schema, path="where")
            judge = row_judge(where, schema)
            with store.read() as tx:
                found = tx.scan("thing", after=None, limit=100, where=where)
            assert [row for row in rows if judge(row)] == list(found), to_json(where)
