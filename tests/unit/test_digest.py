"""Digests: equal where rows are the same, and the way down to the rows that differ."""

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reunite.core.digest import (
    SumsByRange,
    differing_ranges,
    digests_of,
    prefixes_of,
    range_sums,
    row_digests,
    split_range,
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
    one, other = row_digests(TABLE, [(1, a, b), (1, c, d)])
    are_same = same(ColumnType.DECIMAL, a, c) and same(ColumnType.JSON, b, d)
    assert (one.row_hash == other.row_hash) == are_same
    assert one.key_hash == other.key_hash


@given(st.sampled_from(ColumnType), st.lists(ANY_VALUES, min_size=1, max_size=5))
def test_a_hash_is_that_of_the_canonical_texts(column_type: ColumnType, values: list[Any]) -> None:
    """Batches take short cuts by column; what is hashed is what the vectors say."""
    table = TableSchema(name="t", columns=(Column(name="v", type=column_type),), key=("v",))
    assert digests_of(table, [(value,) for value in values]).rows == [
        hashlib.blake2b(f"[{canonical_text(column_type, value)}]".encode(), digest_size=16).digest()
        for value in values
    ]


@given(ROWS, st.integers(0, 3))
def test_sums_by_range_are_those_of_all_ranges(rows: list[Row], digits: int) -> None:
    sums = SumsByRange(digits)
    for row in rows:
        sums.add(digests_of(TABLE, [row]))
    assert sums.ranges() == range_sums(row_digests(TABLE, rows), prefixes_of(digits))


@given(ROWS, st.randoms(use_true_random=False))
def test_a_sum_does_not_mind_the_order_of_rows(rows: list[Row], random: Any) -> None:
    turned = list(rows)
    random.shuffle(turned)
    prefixes = split_range("")
    assert range_sums(row_digests(TABLE, rows), prefixes) == range_sums(
        row_digests(TABLE, turned), prefixes
    )


@given(ROWS)
def test_a_range_is_the_sum_of_its_parts(rows: list[Row]) -> None:
    digests = row_digests(TABLE, rows)
    [whole] = range_sums(digests, [""])
    parts = range_sums(digests, split_range(""))
    assert sum(part.rows for part in parts) == whole.rows == len(rows)
    assert sum(int(part.sum, 16) for part in parts) % 2**128 == int(whole.sum, 16)


@given(ROWS, ROWS)
def test_splitting_where_sums_differ_leads_to_the_rows_that_differ(
    ours: list[Row], theirs: list[Row]
) -> None:
    our_digests, their_digests = row_digests(TABLE, ours), row_digests(TABLE, theirs)
    prefixes: tuple[str, ...] = ("",)
    differing: tuple[str, ...] = ()
    for _ in range(4):
        differing = differing_ranges(
            range_sums(our_digests, prefixes), range_sums(their_digests, prefixes)
        )
        prefixes = tuple(part for prefix in differing for part in split_range(prefix))
    apart = set(map(tuple_of, our_digests)) ^ set(map(tuple_of, their_digests))
    assert {key_hash[:3] for key_hash, _ in apart} == set(differing)


def tuple_of(digest: Any) -> tuple[str, str]:
    return digest.key_hash, digest.row_hash
