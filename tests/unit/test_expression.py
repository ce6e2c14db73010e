"""Expressions: built, spelled as JSON, checked, and decided alike in Python and in SQLite."""

from __future__ import annotations

import datetime
import decimal
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reunite.core.asked import fields_of
from reunite.core.expression import (
    EXPRESSION_DEPTH_MAX,
    EXPRESSION_TERMS_MAX,
    EXPRESSION_VALUES_MAX,
    And,
    Expression,
    IsTrue,
    Operator,
    Term,
    check_expression,
    from_json,
    to_json,
)
from reunite.core.fields import row
from reunite.core.matching import row_judge
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.errors import BadRequestError, LimitExceededError
from reunite.stores.sql.database import connect_sqlite
from reunite.stores.sql.dialects.sqlite import select_list, to_wire
from reunite.stores.sql.dialects.sqlite_comparing import SqliteComparing
from reunite.stores.sql.dialects.sqlite_reflection import reflect
from reunite.stores.sql.where import condition_of
from tests.unit.strategies import JSON_VALUES, expressions

SALE = TableSchema(
    name="sale",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="store", type=ColumnType.INTEGER),
        Column(name="price", type=ColumnType.DECIMAL),
        Column(name="paid", type=ColumnType.BOOLEAN),
        Column(name="tags", type=ColumnType.JSON),
        Column(name="is_in", type=ColumnType.TEXT),
        Column(name="day", type=ColumnType.DATE),
        Column(name="code", type=ColumnType.BLOB),
        Column(name="number", type=ColumnType.UUID),
    ),
    key=("id",),
)


def checked(expression: Expression) -> Expression:
    return check_expression(expression, SALE, path="where")


# --- Building -------------------------------------------------------------------------------------


def test_python_and_json_spell_one_expression() -> None:
    built = (row.store == 7) & ~row.day.is_null() | row["is_in"].is_in(["a", "b"])
    spelled = {
        "or": [
            {
                "and": [
                    {"field": "store", "operator": "exact", "value": 7},
                    {"not": {"field": "day", "operator": "isnull", "value": True}},
                ]
            },
            {"field": "is_in", "operator": "in", "value": ["a", "b"]},
        ]
    }
    assert to_json(built) == spelled
    assert from_json(spelled, path="where") == built
    assert fields_of(built) == ("day", "is_in", "store")


@pytest.mark.parametrize(
    ("built", "operator"),
    [
        (row.store != 7, "ne"),
        (row.store < 7, "lt"),
        (row.store <= 7, "lte"),
        (row.store > 7, "gt"),
        (row.store >= 7, "gte"),
        (row.store == 7, "exact"),
    ],
)
def test_each_comparison_has_its_word(built: Expression, operator: str) -> None:
    assert to_json(built) == {"field": "store", "operator": operator, "value": 7}


@pytest.mark.parametrize(
    ("built", "operator", "value"),
    [
        (row["is_in"].contains("b"), "contains", "b"),
        (row["is_in"].startswith("b"), "startswith", "b"),
        (row["is_in"].endswith("b"), "endswith", "b"),
        (row["is_in"].iexact("b"), "iexact", "b"),
        (row["is_in"].between("a", "b"), "range", ["a", "b"]),
    ],
)
def test_what_is_asked_of_texts_has_its_word(
    built: Expression, operator: str, value: object
) -> None:
    spelled = {"field": "is_in", "operator": operator, "value": value}
    assert to_json(built) == spelled
    assert from_json(spelled, path="where") == built


def test_a_range_is_two_comparisons() -> None:
    assert checked(row.store.between(1, 5)) == checked((row.store >= 1) & (row.store <= 5))
    both = checked((row.id == 7) & row.store.between(1, 5))
    assert isinstance(both, And)
    assert len(both.parts) == 3


def test_pythons_values_become_wire_values() -> None:
    number = uuid.UUID(int=7)
    assert checked(row.price == decimal.Decimal("1.50")) == Term("price", Operator.EXACT, "1.50")
    assert checked(row.price > 2) == Term("price", Operator.GT, "2")
    assert checked(row.number == number) == Term("number", Operator.EXACT, str(number))
    assert checked(row.code == b"\x01") == Term("code", Operator.EXACT, "AQ==")
    assert checked(row.store == 2**60) == Term("store", Operator.EXACT, str(2**60))
    day = datetime.date(2024, 2, 29)
    assert checked(row.day <= day) == Term("day", Operator.LTE, "2024-02-29")


def test_what_python_would_decide_by_itself_is_refused() -> None:
    """`and`, `or`, `not` and chains cannot be overloaded: they would lose a half silently."""
    for careless in (
        lambda: (row.store == 1) and (row.paid == True),  # noqa: E712
        lambda: not row.paid.is_null(),
        lambda: 1 < row.store < 5,
    ):
        with pytest.raises(TypeError, match="combine with &, \\| and ~"):
            careless()


@pytest.mark.parametrize(
    "careless",
    [
        lambda: row.store == None,  # noqa: E711
        lambda: row.store == row.id,
        lambda: row.day == datetime.datetime(2024, 1, 1),  # noqa: DTZ001
        lambda: row.is_in.is_in("ab"),
        lambda: (row.store == 1) & True,
        lambda: row.store.is_in([1, None]),
    ],
)
def test_what_cannot_be_asked_is_refused_when_it_is_built(careless: Any) -> None:
    with pytest.raises(BadRequestError):
        careless()


# --- Reading and checking -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "path"),
    [
        (7, "where"),
        ([], "where"),
        ({}, "where"),
        ({"field": "store", "operator": "exact"}, "where"),
        ({"field": "store", "operator": "exact", "value": 1, "more": 2}, "where"),
        ({"field": 7, "operator": "exact", "value": 1}, "where"),
        ({"field": "store", "operator": "like", "value": 1}, "where.operator"),
        ({"and": [{"not": {"or": 5}}]}, "where.and[0].not"),
        ({"and": [], "or": []}, "where"),
    ],
)
def test_json_that_is_no_expression_is_refused_with_its_path(spelled: Any, path: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        from_json(spelled, path="where")
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        (row.shop == 1, "where.field"),
        (row.store == "x", "where.value"),
        (row.store == 1.5, "where.value"),
        (row.store == True, "where.value"),  # noqa: E712
        (row.store == 2**64, "where.value"),
        (row.price == 1.5, "where.value"),
        (row.paid == 1, "where.value"),
        (row.code == "?", "where.value"),
        (row["is_in"] == "\ud800", "where.value"),
        (row.store.is_in([1, "x"]), "where.value[1]"),
        (row.tags == "x", "where.operator"),
        (row.tags.is_in(["x"]), "where.operator"),
        (Term("store", Operator.EXACT, (1,)), "where.value"),
        (Term("store", Operator.EXACT, None), "where.value"),
        (Term("store", Operator.IN, 1), "where.value"),
        (Term("store", Operator.ISNULL, 1), "where.value"),
        (row.store.contains("x"), "where.operator"),
        (row.tags.contains("x"), "where.operator"),
        (Term("is_in", Operator.CONTAINS, ("x",)), "where.value"),
        (Term("is_in", Operator.CONTAINS, 7), "where.value"),
        (Term("store", Operator.RANGE, (1,)), "where.value"),
        (Term("store", Operator.RANGE, 1), "where.value"),
        (row.store.between(1, "x"), "where.value[1]"),
        (And(()), "where"),
        ((row.id == 1) & ~(row.shop == 1), "where.and[1].not.field"),
        (IsTrue(row.id == 1), "where"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_its_path(expression: Expression, path: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        checked(expression)
    assert caught.value.path == path


def test_large_expressions_are_refused_by_name() -> None:
    deep: Any = {"field": "id", "operator": "exact", "value": 1}
    for _ in range(EXPRESSION_DEPTH_MAX):
        deep = {"not": deep}
    wide = {"or": [{"field": "id", "operator": "exact", "value": 1}] * EXPRESSION_TERMS_MAX}
    for spelled, limit in ((deep, "EXPRESSION_DEPTH_MAX"), (wide, "EXPRESSION_TERMS_MAX")):
        with pytest.raises(LimitExceededError) as caught:
            from_json(spelled, path="where")
        assert caught.value.limit == limit
    with pytest.raises(LimitExceededError) as caught:
        checked(row.id.is_in(range(EXPRESSION_VALUES_MAX + 1)))
    assert caught.value.limit == "EXPRESSION_VALUES_MAX"
    assert fields_of(checked(row.id.is_in(range(EXPRESSION_VALUES_MAX)))) == ("id",)


def test_a_very_deep_expression_is_refused_before_it_is_walked() -> None:
    deep: Any = {"field": "id", "operator": "exact", "value": 1}
    for _ in range(100_000):
        deep = {"not": deep}
    with pytest.raises(LimitExceededError):
        from_json(deep, path="where")


def test_spellings_of_one_expression_have_one_form() -> None:
    a = checked(row.id.is_in([3, 1, 3]) & ((row.store == 1) & (row.price == 5)))
    b = checked((row.id.is_in([1, 3]) & (row.store == 1)) & (row.price == "5"))
    assert a == b
    assert to_json(a) == to_json(b)


# --- Python and SQLite say the same ---------------------------------------------------------------

DDL = """
    create table t (
        id integer primary key, a_integer integer, a_real real, a_text text,
        a_nocase text collate nocase, a_rtrim text collate rtrim, a_blob blob, a_boolean boolean,
        a_decimal decimal(10, 2), a_decimal_text "decimal text", a_date date, a_time time,
        a_datetime datetime, a_uuid uuid, a_uuid_text "uuid text", a_json json, "a ""name" ,
        a_point "point"
    )
"""
LOOSE = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1, 0.5, 1.0, -1e300, 1e300]),
    st.sampled_from([float("inf"), float("-inf"), -0.0, 5e-324]),
    st.sampled_from(["", "a", "A", "a ", "ä", "Ä", "é\0b", "1", "1.0", "null", " null\n", "2024"]),
    st.sampled_from(["1.50", "1e1", "true", "[1]", "9007199254740993", "Infinity"]),
    st.binary(max_size=3),
    st.uuids().map(str),
    st.uuids().map(lambda number: str(number).upper()),
    st.dates().map(str),
    JSON_VALUES.map(json.dumps),
)


@pytest.fixture(scope="module")
def loose_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("expression") / "t.db"
    with closing(connect_sqlite(path)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute(DDL)
        yield connection


@settings(max_examples=60)
@given(data=st.data())
def test_python_and_sqlite_decide_every_row_alike(
    loose_table: sqlite3.Connection, data: st.DataObject
) -> None:
    """Whatever the columns hold, with three-valued logic: true, false and unknown agree."""
    schema = reflect(loose_table, "t")
    width = len(schema.columns) - 1
    stored = data.draw(st.lists(st.tuples(*[LOOSE] * width), min_size=1, max_size=6))
    marks = ", ".join("?" * width)
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in schema.column_names[1:])
    loose_table.execute("delete from t")
    loose_table.executemany(f"insert into t ({names}) values ({marks})", stored)
    finish = to_wire(schema)
    rows = loose_table.execute(f"select {select_list(schema)} from t order by id").fetchall()
    wire = [finish(found) for found in rows] if finish else rows
    for _ in range(10):
        expression = check_expression(data.draw(expressions(schema)), schema, path="where")
        condition = condition_of(expression, schema, SqliteComparing())
        answers = [
            None if answer is None else bool(answer)
            for (answer,) in loose_table.execute(
                f"select {condition.sql} from t order by id", condition.parameters
            )
        ]
        judge = row_judge(expression, schema)
        assert list(map(judge, wire)) == answers, (to_json(expression), condition.sql)
        assert from_json(json.loads(json.dumps(to_json(expression))), path="x") == expression
        surely = condition_of(IsTrue(expression), schema, SqliteComparing())
        found = loose_table.execute(f"select {surely.sql} from t order by id", surely.parameters)
        assert [bool(answer) for (answer,) in found] == [answer is True for answer in answers]


def test_collations_and_affinities_take_no_part(loose_table: sqlite3.Connection) -> None:
    """NOCASE and RTRIM columns compare as texts do on a replica, which knows no collation."""
    schema = reflect(loose_table, "t")
    loose_table.execute("delete from t")
    loose_table.execute("insert into t (a_nocase, a_rtrim, a_uuid) values ('ABC', 'x  ', '007')")

    def count(expression: Expression) -> int:
        condition = condition_of(
            check_expression(expression, schema, path="where"), schema, SqliteComparing()
        )
        (found,) = loose_table.execute(
            f"select count(*) from t where {condition.sql}", condition.parameters
        ).fetchone()
        return int(found)

    assert count(row.a_nocase == "ABC") == 1
    assert count(row.a_nocase == "abc") == 0
    assert count(row.a_nocase.is_in(["abc"])) == 0
    assert count(row.a_rtrim == "x") == 0
    assert count(row.a_uuid == "7") == 0, "the column has made a number of it, which is no text"
    assert count(row.a_uuid == "007") == 0


def test_parts_of_texts_are_found_by_what_they_are_made_of(
    loose_table: sqlite3.Connection,
) -> None:
    schema = reflect(loose_table, "t")
    loose_table.execute("delete from t")
    rows = [("Straße", 1), ("a\0b", 2), ("", 3), (b"Stra", 4), (None, 5), ("STRAẞE", 6)]
    loose_table.executemany("insert into t (a_text, id) values (?, ?)", rows)

    def found(expression: Expression) -> list[int]:
        condition = condition_of(
            check_expression(expression, schema, path="where"), schema, SqliteComparing()
        )
        sql = f"select id from t where {condition.sql} order by id"
        return [number for (number,) in loose_table.execute(sql, condition.parameters)]

    assert found(row.a_text.startswith("Stra")) == [1]
    assert found(row.a_text.endswith("ße")) == [1]
    assert found(row.a_text.contains("\0b")) == found(row.a_text.endswith("\0b")) == [2]
    assert found(row.a_text.startswith("a\0")) == found(row.a_text.iexact("A\0B")) == [2]
    assert found(row.a_text.iexact("sTRAßE")) == [1], "only A to Z have two cases"
    assert found(row.a_text.contains("%")) == []
    assert found(~row.a_text.startswith("a") & (row.a_text == "")) == [3], "of '' too, surely"
    assert found(~row.a_text.endswith("a") & (row.a_text == "")) == [3]
    for every in (row.a_text.contains(""), row.a_text.startswith(""), row.a_text.endswith("")):
        assert found(every) == [1, 2, 3, 6], "each text, and no blob"
        assert found(~every) == [4]


def test_values_are_parameters() -> None:
    condition = condition_of(checked(row["is_in"] == "' or 1 = 1 --"), SALE, SqliteComparing())
    assert condition.parameters == ("' or 1 = 1 --",)
    assert "or 1 = 1" not in condition.sql
