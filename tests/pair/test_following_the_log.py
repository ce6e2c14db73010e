"""Programs at the hub that follow its log, and what a trim waits for."""

from __future__ import annotations

import math

import pytest

from reunite.core.change import Op
from reunite.engine import news_since
from reunite.engine.ports import Position
from reunite.errors import BadRequestError
from tests.pair.conftest import Pair

BEGINNING = Position(seq=0, id=0)


def test_a_program_follows_the_log_with_what_rows_were(pair: Pair) -> None:
    entries, place = pair.hub.changes_after(BEGINNING)
    while entries:
        entries, place = pair.hub.changes_after(place)
    pair.at_hub("update product set name = 'Plum' where id = 1")
    pair.write(pair.replica, "delete from sale where id = 2")
    pair.replica.sync()
    found, after = pair.hub.changes_after(place)
    assert [(entry.table, entry.key, entry.op) for entry in found] == [
        ("product", (1,), Op.UPDATE),
        ("sale", (2,), Op.DELETE),
    ]
    first, second = found
    assert dict(zip(first.old_columns, first.old or (), strict=True))["name"] == "Apple"
    assert first.replica is None
    assert second.replica is not None
    assert pair.hub.changes_after(after) == ([], after)


def test_the_log_comes_in_parts_that_miss_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_since, "CHANGES_MAX", 3)
    place = BEGINNING
    while (step := pair.hub.changes_after(place))[0]:
        place = step[1]
    pair.at_hub_many(
        "insert into note (id, title) values (?, 'x')", [(f"n{number}",) for number in range(8)]
    )
    pair.at_hub("update note set title = 'y' where id = 'n0'")
    ids: list[int] = []
    while (step := pair.hub.changes_after(place))[0]:
        assert len(step[0]) <= 3
        ids.extend(entry.id for entry in step[0])
        place = step[1]
    assert len(ids) == len(set(ids)) == 9


def test_a_trim_may_wait_for_every_replica_however_long_ago_it_came(pair: Pair) -> None:
    pair.replica.sync()
    pair.clock.advance(1_000)
    pair.at_hub("update product set name = 'Plum' where id = 1")
    pair.hub.number()
    pair.clock.advance(100_000_000)
    assert pair.hub.trim(older_than_s=0, seen_within_s=math.inf) == 0
    for no_age in (-1, math.nan):
        with pytest.raises(BadRequestError, match="no age"):
            pair.hub.trim(older_than_s=0, seen_within_s=no_age)
    assert pair.hub.trim(older_than_s=0) > 0
    pair.assert_agreed()
