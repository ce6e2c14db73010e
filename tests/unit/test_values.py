"""Values: the checks at the door, and the laws of sameness, order and sums."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.checks import check_columns, value_faults
from reunite.core.schema import Column, ColumnType
from reunite.core.sizes import looked_at
from reunite.core.stored import is_tagged, tagged
from reunite.core.values import (
    INTEGER_MAX,
    INTEGER_MIN,
    JSON_DEPTH_MAX,
    SAFE_INTEGER_MAX,
    add,
    canonical,
    canonical_text,
    is_written_alike,
    larger,
    order_key,
    parse_integer,
    same,
    wire_integer,
)
from reunite.errors import BadRequestError
from tests.unit.strategies import ANY_VALUES, DECIMALS, JSON_VALUES, typed_values, wire_values

T = ColumnType


def column(column_type: ColumnType) -> Column:
    return Column(name="c", type=column_type)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


# --- The door -------------------------------------------------------------------------------------


@given(st.data())
def test_values_in_wire_form_pass(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(ColumnType), max_size=4))
    rows = data.draw(st.lists(st.tuples(*map(wire_values, types)), max_size=5))
    check_columns([column(column_type) for column_type in types], rows, path="rows")


@given(typed_values(3), ANY_VALUES)
def test_a_column_is_refused_exactly_if_one_of_its_values_is(
    drawn: tuple[Any, ...], stranger: Any
) -> None:
    """The look at the whole column and the look at each value agree."""
    column_type, *values = drawn
    alone = value_faults([column(column_type)], [(stranger,)])
    together = value_faults([column(column_type)], [(value,) for value in (*values, stranger)])
    assert [fault.reason for fault in together] == [fault.reason for fault in alone]
    assert all(fault.row == 3 for fault in together)


@given(typed_values(3), st.one_of(ANY_VALUES, st.just(2**70), st.just("reunite:text:5")))
def test_one_look_at_all_rows_spares_nothing_that_a_closer_look_would_find(
    drawn: tuple[Any, ...], stranger: Any
) -> None:
    column_type, *values = drawn
    rows = [(value,) for value in (*values, stranger)]
    is_plain = looked_at(rows).is_plain
    assert not (is_plain and any(is_tagged(value) for (value,) in rows))
    columns = [column(column_type)]
    assert value_faults(columns, rows, is_plain=is_plain) == value_faults(columns, rows)


@given(st.sampled_from(ColumnType), ANY_VALUES)
def test_what_passes_can_be_sent_and_comes_back(column_type: ColumnType, value: Any) -> None:
    if not value_faults([column(column_type)], [(value,)]):
        back = msgspec.json.decode(msgspec.json.encode(value))
        assert is_written_alike(back, value)
        assert not value_faults([column(column_type)], [(back,)])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("column_type", [T.REAL, T.DATETIME, T.JSON, T.INTEGER, T.DECIMAL])
def test_numbers_that_are_not_finite_are_refused(number: float, column_type: ColumnType) -> None:
    for is_loose in (False, True):
        with pytest.raises(BadRequestError):
            check_columns([column(column_type)], [(number,)], path="p", is_loose=is_loose)


@pytest.mark.parametrize(
    "body",
    [
        rb'"\ud800"',
        rb'"\udc00"',
        rb'"\ud800a"',
        rb'{"\ud800":1}',
        b'"\xed\xa0\x80"',
        b"NaN",
        b"Infinity",
        b"1e400",
        b"[-1e400]",
    ],
)
def test_the_decoder_refuses_lone_surrogates_and_infinities(body: bytes) -> None:
    """`check_columns` relies on it and does not look at the characters of text."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": INTEGER_MAX + 1}]}, "p[0][0].a[1].b"),
        ([[float("nan")]], "p[0][0][0][0]"),
        ([object()], "p[0][0][0]"),
        ({1: 2}, "p[0][0]"),
        ({"x": nested(JSON_DEPTH_MAX)}, "p[0][0].x" + "[0]" * (JSON_DEPTH_MAX - 1)),
    ],
)
def test_a_fault_inside_json_has_its_path(value: Any, path: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        check_columns([column(T.JSON)], [(value,)], path="p")
    assert caught.value.path == path


def test_json_may_be_nested_up_to_the_limit() -> None:
    check_columns([column(T.JSON)], [(nested(JSON_DEPTH_MAX),)], path="p")


def test_integers_of_more_than_64_bits_are_refused_in_every_column() -> None:
    for number in (INTEGER_MIN - 1, INTEGER_MAX + 1, 10**400):
        for column_type in ColumnType:
            for is_loose in (False, True):
                faults = value_faults([column(column_type)], [(number,)], is_loose=is_loose)
                assert faults, column_type


def test_a_message_names_the_column_and_the_place() -> None:
    columns = [Column(name="id", type=T.TEXT), Column(name="price", type=T.INTEGER)]
    with pytest.raises(BadRequestError, match=r"Column 'price': expected an integer") as caught:
        check_columns(columns, [("a", 1), ("b", True)], path="groups[0].runs[1].set")
    assert caught.value.path == "groups[0].runs[1].set[1][1]"
    assert caught.value.code == "bad-request"


def test_a_table_without_columns_takes_empty_rows() -> None:
    check_columns([], [(), ()], path="p")
    with pytest.raises(BadRequestError):
        check_columns([], [(1,)], path="p")


# --- Integers -------------------------------------------------------------------------------------


@given(st.integers(INTEGER_MIN, INTEGER_MAX) | st.integers(2**53 - 3, 2**53 + 3))
def test_integers_travel_there_and_back(number: int) -> None:
    wire = wire_integer(number)
    assert isinstance(wire, str) == (abs(number) > SAFE_INTEGER_MAX)
    assert parse_integer(wire) == number
    check_columns([column(T.INTEGER)], [(wire,)], path="p")


@pytest.mark.parametrize("value", [None, 1.5, "x", "", "1.0", "12", []])
def test_what_is_no_integer_does_not_parse(value: Any) -> None:
    with pytest.raises(ValueError, match="is no integer"):
        parse_integer(value)


# --- Sameness -------------------------------------------------------------------------------------


@given(st.sampled_from(ColumnType), ANY_VALUES, ANY_VALUES, ANY_VALUES)
def test_sameness_is_an_equivalence_for_whatever_is_stored(
    column_type: ColumnType, a: Any, b: Any, c: Any
) -> None:
    assert same(column_type, a, msgspec.json.decode(msgspec.json.encode(a)))
    assert same(column_type, a, b) == same(column_type, b, a)
    if same(column_type, a, b) and same(column_type, b, c):
        assert same(column_type, a, c)


@given(st.sampled_from(ColumnType), ANY_VALUES, ANY_VALUES)
def test_the_same_values_have_one_representative(column_type: ColumnType, a: Any, b: Any) -> None:
    """The shortcuts of `same` agree with what digests hash."""
    expected = same(column_type, a, b)
    assert (canonical(column_type, a) == canonical(column_type, b)) == expected
    assert (canonical_text(column_type, a) == canonical_text(column_type, b)) == expected
    hash(canonical(column_type, a))


@pytest.mark.parametrize(
    ("column_type", "number", "stored"),
    [
        (T.BOOLEAN, 0, 0.0),
        (T.BOOLEAN, False, 0.0),
        (T.BOOLEAN, True, 1.0),
        (T.DECIMAL, "20", 20.0),
        (T.DECIMAL, "9007199254740993", 2**53 + 1),
        (T.INTEGER, 20, 20.0),
        (T.REAL, 2**53, 2**53 + 1),
        (T.ANY, 0, 0.0),
    ],
)
def test_a_tagged_number_is_the_same_as_the_number(
    column_type: ColumnType, number: Any, stored: float
) -> None:
    assert same(column_type, number, tagged(stored))
    assert canonical_text(column_type, number) == canonical_text(column_type, tagged(stored))
    assert order_key(column_type, number) == order_key(column_type, tagged(stored))


@given(st.sampled_from(ColumnType), ANY_VALUES)
def test_only_null_is_the_same_as_null(column_type: ColumnType, value: Any) -> None:
    assert same(column_type, value, None) == (value is None)


@given(JSON_VALUES)
def test_json_is_the_same_in_any_order_of_members(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: turned(item[name]) for name in reversed(item)}
        return [turned(member) for member in item] if isinstance(item, list) else item

    assert same(T.JSON, value, turned(value))


def test_json_of_any_depth_is_compared() -> None:
    assert same(T.JSON, nested(5_000), nested(5_000))
    assert not same(T.JSON, nested(5_000), nested(5_001))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_real_is_the_same_as_the_integer_it_is(number: float) -> None:
    if number.is_integer():
        assert same(T.REAL, number, int(number))
        assert canonical_text(T.REAL, number) == canonical_text(T.REAL, int(number))


def test_a_real_column_makes_doubles_of_long_integers() -> None:
    assert same(T.REAL, 2**53, 2**53 + 1)
    assert same(T.REAL, 2.0**53, 2**53 + 1)
    assert not same(T.JSON, 2**53, 2**53 + 1)


# --- Order and sums -------------------------------------------------------------------------------


@given(st.sampled_from(ColumnType), ANY_VALUES, ANY_VALUES, ANY_VALUES)
def test_larger_is_a_total_order_for_whatever_is_stored(
    column_type: ColumnType, a: Any, b: Any, c: Any
) -> None:
    assert [larger(column_type, a, b), same(column_type, a, b), larger(column_type, b, a)].count(
        True
    ) == 1
    if larger(column_type, a, b) and larger(column_type, b, c):
        assert larger(column_type, a, c)


@given(st.sampled_from([T.INTEGER, T.DECIMAL]), st.data())
def test_exact_counters_do_not_mind_the_order_of_deltas(
    column_type: ColumnType, data: st.DataObject
) -> None:
    numbers = st.integers(-3, 3) if column_type is T.INTEGER else DECIMALS
    hub, a, b, c, d = (data.draw(numbers) for _ in range(5))
    one = add(column_type, add(column_type, hub, a, b), c, d)
    other = add(column_type, add(column_type, hub, c, d), a, b)
    assert same(column_type, one, other)


@given(typed_values(3))
def test_a_sum_is_in_wire_form_or_refused(drawn: tuple[Any, ...]) -> None:
    column_type, hub, before, after = drawn
    try:
        total = add(column_type, hub, before, after)
    except ValueError:
        return
    assert value_faults([column(column_type)], [(total,)]) == []


@given(typed_values(2))
def test_a_counter_that_nobody_else_changed_is_what_was_set(drawn: tuple[Any, ...]) -> None:
    column_type, before, after = drawn
    assert is_written_alike(add(column_type, before, before, after), after) or same(
        column_type, before, after
    )


def test_a_counter_never_rounds_decimals() -> None:
    total = add(T.DECIMAL, "9" * 500, "0", "0." + "0" * 400 + "1")
    assert total == "9" * 500 + "." + "0" * 400 + "1"
    with pytest.raises(ValueError, match="too long"):
        add(T.DECIMAL, "1e999", "0", "1e-999")
