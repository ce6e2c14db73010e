"""The simulator's own opinion on merging, and that its checkers see what they are for."""

from __future__ import annotations

from copy import deepcopy

import pytest

from reunite.core.change import Op
from reunite.engine.ports import Commit, LogEntry
from reunite.testing.simulator.book import InvariantBroken, PushedChange
from reunite.testing.simulator.checks.hub import HubCheck
from reunite.testing.simulator.checks.model import Model, is_contested, merged
from reunite.testing.simulator.tables import FACTS, FIRST_ROWS, Key, Row, Scalar, Tables


@pytest.fixture
def tables() -> Tables:
    return {
        name: {FACTS[name].key_of(row): row for row in rows} for name, rows in FIRST_ROWS.items()
    }


def entry(change_id: int, table: str, key: Key, old: Row | None) -> LogEntry:
    return LogEntry(
        id=change_id,
        place=change_id,
        seq=None,
        at_ms=None,
        table=table,
        key=key,
        old_key=None,
        op=Op.UPDATE if old else Op.INSERT,
        old=old,
        old_columns=FACTS[table].columns,
    )


def pushed(
    op: Op, table: str, key: Key, wanted: dict[str, Scalar], was: dict[str, Scalar]
) -> PushedChange:
    return PushedChange(
        n=1, id="1", table=table, op=op, key=key, old_key=None, set=wanted, was=was, group=0,
        divisible=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "hub", "was", "wanted", "expected"),
    [
        ("last_writer", "a", "a", "b", {"b"}),
        ("last_writer", "b", "a", "b", {"b"}),
        ("last_writer", "c", "a", "b", {"b", "c"}),
        ("hub_wins", "c", "a", "b", {"c"}),
        ("replica_wins", "c", "a", "b", {"b"}),
        ("maximum", 3, 1, 2, {3}),
        ("maximum", None, 1, 2, {2}),
        ("counter", 7, 10, 9, {6}),
    ],
)
def test_merging_by_policy(
    policy: str, hub: Scalar, was: Scalar, wanted: Scalar, expected: set[Scalar]
) -> None:
    assert merged(policy, hub, was, wanted) == expected


def test_three_values_are_a_conflict_and_counters_never() -> None:
    assert is_contested("last_writer", "c", "a", "b")
    assert not is_contested("last_writer", "a", "a", "b")
    assert not is_contested("counter", 7, 10, 9)


def test_model_takes_children_along_and_leaves_grandchildren(tables: Tables) -> None:
    model = Model(tables)
    model.delete("shop", (1,))
    after = deepcopy(tables)
    del after["shop"][1,]
    del after["sale"][1,]
    after["note"]["n1",] = ("n1", "note@first1", None, "sale@first1", "hello", 1, 0)
    assert list(model.differences(after)) == []
    assert list(model.differences(tables)) != []


def test_model_counts_a_counter_once(tables: Tables) -> None:
    model = Model(tables)
    model.update(pushed(Op.UPDATE, "shop", (1,), {"stock": 9}, {"stock": 10}), (1,))
    twice = deepcopy(tables)
    twice["shop"][1,] = (1, "shop@first1", "North", "a", 8)
    assert list(model.differences(twice)) == ["shop[1].stock is 8, not {9}"]


def test_checker_sees_a_change_without_an_entry(tables: Tables) -> None:
    check = HubCheck(tables, 0)
    after = deepcopy(tables)
    after["shop"][1,] = (1, "shop@first1", "South", "a", 10)
    with pytest.raises(InvariantBroken, match="I11"):
        check.moved(after, [])


def test_checker_sees_an_entry_with_a_wrong_image(tables: Tables) -> None:
    check = HubCheck(tables, 0)
    after = deepcopy(tables)
    after["shop"][1,] = (1, "shop@first1", "South", "a", 10)
    with pytest.raises(InvariantBroken, match="I11"):
        check.moved(after, [entry(1, "shop", (1,), (1, "shop@first1", "East", "a", 10))])
    HubCheck(tables, 0).moved(after, [entry(1, "shop", (1,), tables["shop"][1,])])


def test_checker_sees_a_torn_transaction(tables: Tables) -> None:
    after = deepcopy(tables)
    after["twin_left"]["t1",] = ("t1", "twin@first", "two")
    with pytest.raises(InvariantBroken, match="I5"):
        HubCheck(tables, 0).moved(
            after, [entry(1, "twin_left", ("t1",), ("t1", "twin@first", "one"))]
        )


def test_checker_sees_an_insert_that_took_effect_twice(tables: Tables) -> None:
    after = deepcopy(tables)
    after["shop"][3,] = (3, "shop@first1", "North", None, 10)
    with pytest.raises(InvariantBroken, match="I2"):
        HubCheck(tables, 0).moved(after, [entry(1, "shop", (3,), None)])


def test_checker_sees_a_deleted_row_come_back(tables: Tables) -> None:
    check = HubCheck(tables, 0)
    gone = deepcopy(tables)
    row = gone["seat"].pop((1, 1))
    check.moved(gone, [entry(1, "seat", (1, 1), row)])
    with pytest.raises(InvariantBroken, match="I12"):
        check.moved(tables, [entry(2, "seat", (1, 1), None)])


def test_checker_sees_a_child_change_its_parent(tables: Tables) -> None:
    after = deepcopy(tables)
    after["sale"][1,] = (1, "sale@first1", 2, "shop@first1", 5)
    with pytest.raises(InvariantBroken, match="parents"):
        HubCheck(tables, 0).moved(after, [entry(1, "sale", (1,), tables["sale"][1,])])


def test_checker_sees_a_gap_between_commits(tables: Tables) -> None:
    def commit(seq: int, first_id: int) -> Commit:
        return Commit(seq=seq, first_id=first_id, last_id=first_id, changes=1, at_ms=0, nonce="x")

    check = HubCheck(tables, 0)
    check.numbered([commit(1, 1), commit(2, 2)], 2)
    with pytest.raises(InvariantBroken, match="I3"):
        check.numbered([commit(4, 3)], 3)
    with pytest.raises(InvariantBroken, match="I3"):
        HubCheck(tables, 0).numbered([commit(1, 1)], 2)
