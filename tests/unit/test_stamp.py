"""Stamps: later than all that is known, ordered alike as values and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.stamp import (
    COUNTER_MAX,
    WALL_MS_MAX,
    Stamp,
    clamp,
    commit_stamp,
    next_stamp,
    parse_stamp,
)
from reunite.errors import StampOverflowError

STAMPS = st.builds(
    Stamp,
    wall_ms=st.integers(0, 5) | st.integers(0, WALL_MS_MAX),
    counter=st.integers(0, 2) | st.sampled_from([COUNTER_MAX - 1, COUNTER_MAX]),
    replica=st.sampled_from(["", "a", "b", "a-", "0190163d-8694"]),
)
TIMES = st.integers(-1, 5) | st.integers(0, WALL_MS_MAX)


@given(STAMPS)
def test_text_and_value_are_one(stamp: Stamp) -> None:
    assert parse_stamp(str(stamp)) == stamp


@given(STAMPS, STAMPS)
def test_text_sorts_as_values_do(a: Stamp, b: Stamp) -> None:
    assert (a < b) == (str(a) < str(b))


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-fA-F]{11,13}-[0-9a-f]{4}-[a-z0-9A-Z]*"))
def test_any_text_is_a_stamp_or_refused(text: str) -> None:
    try:
        stamp = parse_stamp(text)
    except ValueError:
        return
    assert str(stamp) == text


@given(STAMPS, st.lists(STAMPS, max_size=4), TIMES)
def test_the_next_stamp_is_later_than_all_that_is_known(
    last: Stamp, seen: list[Stamp], now_ms: int
) -> None:
    try:
        issued = next_stamp(last, seen, now_ms=now_ms)
    except StampOverflowError:
        assert max(last, *seen, last).wall_ms == WALL_MS_MAX
        return
    assert all(issued > known for known in (last, *seen))
    assert issued.wall_ms >= now_ms
    assert issued.replica == last.replica
    assert next_stamp(last, seen[::-1], now_ms=now_ms) == issued


def test_stamps_on_one_millisecond_never_run_out() -> None:
    """A device whose clock once stood far ahead issues its stamps from there on."""
    stamp = Stamp(wall_ms=9_000, counter=COUNTER_MAX - 1, replica="a")
    issued = []
    for _ in range(3):
        stamp = next_stamp(stamp, now_ms=5)
        issued.append((stamp.wall_ms, stamp.counter))
    assert issued == [(9_000, COUNTER_MAX), (9_001, 0), (9_001, 1)]


@given(STAMPS, STAMPS, TIMES)
def test_clamping_keeps_order_and_ends_the_future(a: Stamp, b: Stamp, now_ms: int) -> None:
    clamped = clamp(a, now_ms=now_ms)
    assert clamped.wall_ms <= max(now_ms, 0)
    assert clamp(clamped, now_ms=max(now_ms, 0)) == clamped
    if a.replica == b.replica and a <= b:
        assert clamped <= clamp(b, now_ms=now_ms)


@given(st.integers(0, WALL_MS_MAX), STAMPS)
def test_a_stamp_after_a_commit_is_later_than_it(at_ms: int, last: Stamp) -> None:
    heard = parse_stamp(commit_stamp(at_ms))
    if max(last.wall_ms, at_ms) < WALL_MS_MAX:
        assert str(next_stamp(last, [heard], now_ms=0)) > commit_stamp(at_ms)


@pytest.mark.parametrize(
    ("wall_ms", "counter"), [(-1, 0), (WALL_MS_MAX + 1, 0), (0, -1), (0, COUNTER_MAX + 1)]
)
def test_an_impossible_stamp_cannot_be_made(wall_ms: int, counter: int) -> None:
    with pytest.raises(ValueError, match="No stamp has"):
        Stamp(wall_ms=wall_ms, counter=counter)
