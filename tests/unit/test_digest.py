"""Digests: equal where rows are the same, and the way down to the rows that differ."""

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reunite.core.digest import (
    RangeSum,
    SumsByRange,
    differing_ranges,
    digests_of,
    prefixes_of,
)
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.values import Row, canonical_text, same
from tests.unit.strategies import ANY_VALUES

TABLE = TableSchema(
    name="t",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="price", type=ColumnType.DECIMAL),
        Column(name="extra", type=ColumnType.JSON),
    ),
    key=("id",),
)
ROWS = st.lists(
    st.tuples(st.integers(0, 50), ANY_VALUES, ANY_VALUES),
    unique_by=lambda row: row[0],
    max_size=20,
)


@given(ANY_VALUES, ANY_VALUES, ANY_VALUES, ANY_VALUES)
def test_rows_have_one_hash_exactly_if_they_are_the_same(a: Any, b: Any, c: Any, d: Any) -> None:
    found = digests_of(TABLE, [(1, a, b), (1, c, d)])
    are_same = same(ColumnType.DECIMAL, a, c) and same(ColumnType.JSON, b, d)
    assert (found.rows[0] == found.rows[1]) == are_same
    assert found.keys[0] == found.keys[1]


@given(st.sampled_from(ColumnType), st.lists(ANY_VALUES, min_size=1, max_size=5))
def test_a_hash_is_that_of_the_canonical_texts(column_type: ColumnType, values: list[Any]) -> None:
    """Batches take short cuts by column; what is hashed is what the vectors say."""
    table = TableSchema(name="t", columns=(Column(name="v", type=column_type),), key=("v",))
    assert digests_of(table, [(value,) for value in values]).rows == [
        hashlib.blake2b(f"[{canonical_text(column_type, value)}]".encode(), digest_size=16).digest()
        for value in values
    ]


def sums_of(rows: list[Row], digits: int) -> list[RangeSum]:
    sums = SumsByRange(digits)
    for row in rows:
        sums.add(digests_of(TABLE, [row]))
    return sums.ranges()


def hashes_of(rows: list[Row]) -> set[tuple[str, str]]:
    found = digests_of(TABLE, rows)
    return {(key.hex(), row.hex()) for key, row in zip(found.keys, found.rows, strict=True)}


@given(ROWS, st.integers(0, 3))
def test_a_range_sums_up_the_rows_whose_key_begins_so(rows: list[Row], digits: int) -> None:
    hashes = hashes_of(rows)
    expected = []
    for prefix in prefixes_of(digits):
        inside = [int(row, 16) for key, row in hashes if key.startswith(prefix)]
        total = sum(inside) % 2**128
        expected.append(RangeSum(prefix=prefix, rows=len(inside), sum=f"{total:032x}"))
    assert sums_of(rows, digits) == expected


@given(ROWS, st.randoms(use_true_random=False))
def test_a_sum_does_not_mind_the_order_of_rows(rows: list[Row], random: Any) -> None:
    turned = list(rows)
    random.shuffle(turned)
    assert sums_of(rows, 1) == sums_of(turned, 1)


@given(ROWS)
def test_a_range_is_the_sum_of_its_parts(rows: list[Row]) -> None:
    [whole] = sums_of(rows, 0)
    parts = sums_of(rows, 1)
    assert sum(part.rows for part in parts) == whole.rows == len(rows)
    assert sum(int(part.sum, 16) for part in parts) % 2**128 == int(whole.sum, 16)


@given(ROWS, ROWS)
def test_where_sums_differ_are_the_rows_that_differ(ours: list[Row], theirs: list[Row]) -> None:
    apart = hashes_of(ours) ^ hashes_of(theirs)
    for digits in range(4):
        differing = differing_ranges(sums_of(ours, digits), sums_of(theirs, digits))
        assert {key[:digits] for key, _ in apart} == set(differing)
