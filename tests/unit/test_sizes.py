"""What is too large is found, whatever its neighbours are."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reunite.core import sizes
from reunite.core.schema import Column, ColumnType
from reunite.core.sizes import Excess, excesses, looked_at, looked_through
from reunite.core.stored import is_tagged
from reunite.protocol.codec import encode

TYPES = (ColumnType.TEXT, ColumnType.JSON, ColumnType.BLOB, ColumnType.ANY, ColumnType.INTEGER)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 10**15),
    st.text("aä😀\ud800", max_size=12),
    st.lists(st.integers(0, 9), max_size=12),
    st.dictionaries(st.sampled_from("ab"), st.text("x", max_size=12)),
)


def size_of(column_type: ColumnType, value: Any) -> int:
    if value is None or column_type is ColumnType.INTEGER:
        return 0
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return len(json.dumps(value, separators=(",", ":")))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=4),
    data=st.data(),
    field=st.integers(0, 24),
    row=st.integers(0, 48),
)
def test_every_field_and_row_above_its_limit_is_told_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
    types: list[ColumnType],
    data: st.DataObject,
    field: int,
    row: int,
) -> None:
    monkeypatch.setattr(sizes, "FIELD_BYTES_MAX", field)
    monkeypatch.setattr(sizes, "ROW_BYTES_MAX", row)
    columns = [Column(name=f"c{i}", type=each) for i, each in enumerate(types)]
    shape = st.tuples(*[VALUES] * len(types))
    rows = data.draw(st.lists(shape, max_size=5))
    expected = {}
    for index, values in enumerate(rows):
        found = [size_of(each, value) for each, value in zip(types, values, strict=True)]
        if max(found) > field:
            expected[index] = max(found), True
        elif sum(found) > row:
            expected[index] = sum(found), False
    told = {each.row: (each.size, each.column is not None) for each in excesses(columns, rows)}
    assert told == expected
    assert not (looked_at(rows).is_small and told)


@given(
    rows=st.lists(
        st.tuples(
            st.text(alphabet='a"\\reunite:ä😀\n', max_size=20),
            st.recursive(
                st.none() | st.floats(allow_nan=False, allow_infinity=False),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["reunite:blob", "a"]), inner, max_size=2)
                ),
            ),
        ),
        max_size=4,
    ),
    is_ascii=st.booleans(),
)
def test_a_message_shows_no_more_than_its_rows_do(
    rows: list[tuple[str, Any]], is_ascii: bool
) -> None:
    body = json.dumps(rows).encode() if is_ascii else encode(rows)
    seen, known = looked_through(body), looked_at(rows)
    assert known.is_small or not seen.is_small
    assert known.is_plain or not seen.is_plain
    assert not (seen.is_plain and any(is_tagged(value) for row in rows for value in row))


@pytest.mark.parametrize(
    "body",
    [
        b'[{"reunite:blob":"00"}]',
        b'[{"\\u0072eunite:blob":"00"}]',
        b'["\\ud800"]',
    ],
)
def test_what_may_be_tagged_is_not_plain(body: bytes) -> None:
    assert looked_through(b'["a"]').is_plain
    assert not looked_through(body).is_plain


def test_a_number_may_be_longer_than_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"[" + b",".join([b"1e15"] * 100) + b"]"
    monkeypatch.setattr(sizes, "FIELD_BYTES_MAX", 2 * len(body))
    assert not looked_through(body).is_small
    assert len(encode(json.loads(body))) > 2 * len(body)


def test_a_column_of_large_texts_is_measured_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "FIELD_BYTES_MAX", 8)
    column = Column(name="body", type=ColumnType.TEXT)
    rows = [("a" * 8,), ("ä" * 4,), ("ä" * 5,), (None,)]
    assert list(excesses([column], rows)) == [Excess(row=2, column=0, size=10)]
