"""Pulls after which nothing is pending: the page takes the place of what it answers."""

from __future__ import annotations

import sqlite3

import pytest

from reunite.errors import HubUnreachableError
from reunite.replica import inbox
from reunite.testing.wire import Fault, Request
from tests.pair.conftest import Pair


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each checkpoint, whether it was settled without merging."""
    found: list[bool] = []
    original = inbox.apply_settled

    def spy(*arguments: object) -> int | None:
        rows = original(*arguments)  # type: ignore[arg-type]
        found.append(rows is not None)
        return rows

    monkeypatch.setattr(inbox, "apply_settled", spy)
    return found


@pytest.mark.hubs("sqlite")
def test_what_triggers_of_the_hub_made_of_new_rows_comes_back(
    pair: Pair, settled: list[bool]
) -> None:
    pair.at_hub(
        "create trigger shout after insert on note begin "
        "update note set title = upper(new.title) where id = new.id; end"
    )
    pair.write(pair.replica, "insert into note values ('a', 'one'), ('b', 'two')")
    pair.replica.sync()
    assert settled == [True]
    assert pair.rows(pair.replica, "note") == [("a", "ONE"), ("b", "TWO")]
    assert pair.replica.status().pending == 0
    pair.assert_agreed()


@pytest.mark.parametrize("page_rows", [1_000, 1])
def test_unique_values_may_go_round(pair: Pair, settled: list[bool], page_rows: int) -> None:
    tablet = pair.clone("tablet", page_rows=page_rows)
    pair.write(
        tablet,
        "update product set code = null where id = 1",
        "update product set code = 'A' where id = 2",
        "update product set code = 'B' where id = 1",
    )
    tablet.push()
    pair.at_hub("update product set code = 'C' where id = 1")
    pair.at_hub("update product set code = 'B' where id = 2")
    pair.at_hub("insert into product (id, code) values (3, 'A')")
    tablet.pull()
    assert settled[-1]
    assert pair.rows(tablet, "product") == pair.at_hub("select * from product order by 1")
    pair.assert_agreed()


def test_a_change_made_after_the_push_stays_pending(pair: Pair, settled: list[bool]) -> None:
    pair.write(pair.replica, "insert into note values ('a', 'one')")
    pair.replica.push()
    pair.in_file(pair.replica, "update note set title = 'two' where id = 'a'")
    pair.replica.pull()
    assert settled == [False]
    assert pair.rows(pair.replica, "note") == [("a", "two")]
    assert pair.replica.status().pending == 1
    pair.assert_agreed()


def test_rows_that_the_page_does_not_name_are_looked_at_one_by_one(
    pair: Pair, settled: list[bool]
) -> None:
    """A delete of what is gone already leaves no entry: the page says nothing of it."""
    pair.at_hub("delete from sale where id = 1")
    pair.write(pair.replica, "delete from sale where id = 1")
    pair.replica.pull()
    pair.replica.push()
    pair.replica.pull()
    assert not settled[-1]
    pair.assert_agreed()


def test_a_table_that_a_repair_fetched_whole_is_cleared_first(
    pair: Pair, settled: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repair broke off before its pull: the rows in the inbox meet a push that settles."""
    monkeypatch.setattr("reunite.replica.repair.WHOLE_ROWS_MIN", 1)
    pair.at_hub("insert into note values ('a', 'one'), ('b', 'two')")
    pair.replica.sync()
    file = sqlite3.connect(pair.replica.path, isolation_level=None)
    file.execute("update reunite_guard set suspended = 1")
    file.execute("update note set id = id || ' extra'")
    file.execute("update reunite_guard set suspended = 0")
    file.close()
    asked: list[str] = []

    def lose_the_last_pull(request: Request) -> Fault:
        asked.append(request.operation)
        return Fault.DROP if asked.count("pull") == 2 else Fault.NONE

    pair.wire.choose = lose_the_last_pull
    with pytest.raises(HubUnreachableError):
        pair.replica.repair(["note"])
    pair.wire.choose = lambda request: Fault.NONE
    pair.write(pair.replica, "insert into note values ('c', 'mine')")
    pair.replica.sync()
    assert settled[-1] is False
    pair.assert_agreed()
