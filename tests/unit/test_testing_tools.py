"""The clock and the identities that tests use instead of the world's."""

import random
import re

import pytest

from reunite.testing import FakeClock, SeededIds


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(1_000)
    assert (clock.now_ms(), clock.now_ms()) == (1_000, 1_000)
    assert clock.advance(5) == clock.now_ms() == 1_005
    assert clock.advance() == 1_006
    assert clock.jump(-600) == clock.now_ms() == 406


def test_time_does_not_pass_backwards() -> None:
    with pytest.raises(ValueError, match="jump"):
        FakeClock().advance(-1)


def test_identities_of_one_seed_are_the_same_and_all_different() -> None:
    first, second = SeededIds(4711), SeededIds(random.Random(4711))
    ids = [first() for _ in range(100)]
    assert ids == [second() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", id_) for id_ in ids)
    assert SeededIds(4712)() not in ids
