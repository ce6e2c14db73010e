"""Transactions that are too large for one push: sent in parts, applied whole, once or not at all.

The parts are made small here, so that few rows are many parts.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from reunite import HubUnreachableError
from reunite.engine import parts
from reunite.protocol.codec import decode
from reunite.protocol.push import PushRequest
from reunite.replica import driver, sending
from reunite.testing.wire import Fault, Request
from tests.pair.conftest import Pair
from tests.pair.test_identity import copy_of

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

ROWS = 23


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WHOLE_MAX", 8)
    monkeypatch.setattr(sending, "PART_MAX", 5)
    monkeypatch.setattr(driver, "PUSH_CHANGES_AIM", 3)


def write_many(pair: Pair, *, name: str = "n", rows: int = ROWS, spoil: str = "") -> None:
    """One transaction: notes, and a counter that says how many."""
    with pair.replica.transaction() as db:
        for i in range(rows):
            db.execute("insert into note values (?, 'x')", (f"{name}{i}",))
        db.execute("update product set stock = stock + ? where id = 1", (rows,))
        if spoil:
            db.execute(spoil)


def parts_sent(pair: Pair) -> list[bool]:
    """Of each part that was sent so far, whether more were to come."""
    pushes = [
        decode(request.body, PushRequest)
        for request in pair.wire.requests
        if request.operation == "push"
    ]
    found = [group.part for push in pushes for group in push.groups]
    return [part.continues for part in found if part is not None]


def assert_taken(pair: Pair, *, rows: int = ROWS) -> None:
    """The transaction took effect once, and nothing is left of its parts."""
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from note") == [(rows,)]
    assert pair.at_hub("select stock from product where id = 1") == [(10 + rows,)]
    assert pair.at_hub("select count(*) from reunite_staged") == [(0,)]
    assert pair.replica.parked() == []


def test_a_large_transaction_goes_in_parts_and_takes_effect_whole(pair: Pair) -> None:
    write_many(pair)
    seen = []

    def look(*_: object) -> None:
        seen.append(pair.at_hub("select count(*) from note"))

    pair.wire.observer.answered = look  # type: ignore[method-assign]
    report = pair.replica.sync()
    assert report.pushed == ROWS + 1
    assert parts_sent(pair) == [True, True, True, True, False]
    assert {count for ((count,),) in seen} == {0, ROWS}
    assert_taken(pair)


def test_a_large_transaction_is_one_commit(pair: Pair) -> None:
    pair.replica.sync()
    (before,) = pair.at_hub("select max(seq) from reunite_commit")[0]
    write_many(pair)
    pair.replica.sync()
    assert pair.at_hub("select max(seq) from reunite_commit") == [((before or 0) + 1,)]


def test_what_comes_before_and_after_a_large_transaction_keeps_its_order(pair: Pair) -> None:
    pair.write(pair.replica, "update product set name = 'before' where id = 2")
    write_many(pair, spoil="update product set name = 'in it' where id = 2")
    pair.write(pair.replica, "update product set name = name || ', after' where id = 2")
    assert_taken(pair)
    assert pair.at_hub("select name from product where id = 2") == [("in it, after",)]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.DROP, Fault.LOSE, Fault.TWICE, Fault.ECHO])
@pytest.mark.parametrize("part", range(1, 6))
def test_a_part_or_its_answer_that_is_lost_or_doubled_changes_nothing(
    pair: Pair, fault: Fault, part: int
) -> None:
    """I2: the next sync begins again, or learns that all was taken."""
    write_many(pair)
    identity = pair.replica.status().replica
    pushes = 0

    def at_part(request: Request) -> Fault:
        nonlocal pushes
        pushes += request.operation == "push"
        return fault if pushes == part and request.operation == "push" else Fault.NONE

    pair.wire.choose = at_part
    with (
        nullcontext() if fault in (Fault.TWICE, Fault.ECHO) else pytest.raises(HubUnreachableError)
    ):
        pair.replica.sync()
    pair.wire.choose = None
    pair.wire.deliver_all_late()
    assert_taken(pair)
    assert pair.replica.status().replica == identity


def test_a_replica_that_begins_again_replaces_what_is_held(pair: Pair) -> None:
    """Its rows may have other keys by now: parts of two attempts are never mixed."""
    write_many(pair)
    pair.wire.lose_next_answer("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    ((before,),) = pair.at_hub("select of from reunite_staged")
    pair.wire.lose_next_answer("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    ((after,),) = pair.at_hub("select of from reunite_staged")
    assert after != before
    assert_taken(pair)


def test_a_hub_that_forgot_parts_gets_them_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_many(pair)
    pushes = 0

    def forget(request: Request, _: Fault) -> None:
        nonlocal pushes
        pushes += request.operation == "push"
        if pushes == 3:
            pair.at_hub("delete from reunite_staged")

    pair.wire.observer.sending = forget  # type: ignore[method-assign]
    pair.replica.sync()
    assert_taken(pair)


def test_parts_whose_rest_never_came_are_forgotten(pair: Pair) -> None:
    write_many(pair)
    pair.wire.lose_next_answer("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.clock.advance(parts.STAGED_AGE_S_MAX * 1000 + 1)
    other = pair.clone("other")
    with other.transaction() as db:
        for i in range(ROWS):
            db.execute("insert into note values (?, 'other')", (f"o{i}",))
    other.sync()
    assert pair.at_hub("select count(*) from reunite_staged") == [(0,)]
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from note") == [(2 * ROWS,)]


def test_a_rejected_change_takes_its_whole_transaction_and_what_hangs_on_it(pair: Pair) -> None:
    """I5, I10: all of it is parked, with the change to blame; the rest goes on."""
    write_many(pair, spoil="insert into sale values (900, 1, -1)")
    pair.write(pair.replica, "update note set title = 'later' where id = 'n3'")
    pair.write(pair.replica, "insert into note values ('free', 'x')")
    pair.replica.sync()
    assert pair.at_hub("select id from note") == [("free",)]
    assert pair.at_hub("select stock from product where id = 1") == [(10,)]
    parked = pair.replica.parked()
    assert len(parked) == ROWS + 2 + 1
    assert {change.code for change in parked} == {"check", "depends-on-rejected"}
    assert pair.at_hub("select count(*) from reunite_staged") == [(0,)]
    pair.assert_agreed()


def test_a_taken_key_in_a_late_part_moves_the_row_and_nothing_stays_behind(pair: Pair) -> None:
    """The group ends before its first change: it comes again, with another key."""
    key = pair.replica.new_key("sale")
    with pair.replica.transaction() as db:
        for i in range(ROWS):
            db.execute("insert into note values (?, 'x')", (f"n{i}",))
        db.execute("insert into sale values (?, 1, 77)", (key,))
        db.execute("update product set stock = stock + ? where id = 1", (ROWS,))
    pair.at_hub("insert into sale values (?, 1, 55)", key)
    assert_taken(pair)
    amounts = pair.at_hub("select amount from sale where amount > 50 order by amount")
    assert amounts == [(55,), (77,)]


def test_a_copied_file_and_its_original_do_not_mix_their_parts(pair: Pair) -> None:
    """Both send the same numbers under one identity, in turns: the copy's parts are held when the
    last one of the original comes."""
    write_many(pair, name="first")
    pair.replica.sync()
    twin = copy_of(pair, pair.replica, "twin")
    write_many(pair, name="mine")
    with twin.transaction() as db:
        for i in range(ROWS):
            db.execute("insert into note values (?, 'x')", (f"twin{i}",))
        db.execute("update product set stock = stock + ? where id = 1", (ROWS,))
    pushes = {"laptop": 0, "twin": 0}

    def count(request: Request) -> Fault:
        pushes[request.label] += request.operation == "push"
        is_fourth = request.label == "twin" and pushes["twin"] == 4
        return Fault.LOSE if is_fourth and request.operation == "push" else Fault.NONE

    def in_turns(request: Request) -> None:
        if pushes == {"laptop": 5, "twin": 0}:
            with pytest.raises(HubUnreachableError):
                twin.sync()

    pair.wire.choose = count
    pair.wire.observer.arriving = in_turns  # type: ignore[method-assign]
    pair.replica.sync()
    assert pushes["twin"] == 4
    assert_taken(pair, rows=3 * ROWS)


def test_a_large_transaction_in_two_files_counts_once(pair: Pair) -> None:
    """The copy takes a new identity, and its parts are known under the old one (I2)."""
    write_many(pair)
    twin = copy_of(pair, pair.replica, "twin")
    pair.replica.sync()
    twin.sync()
    assert_taken(pair)


def test_a_group_beyond_the_limit_is_parked_and_the_rest_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_CHANGES_MAX", 12)
    write_many(pair)
    pair.write(pair.replica, "insert into note values ('free', 'x')")
    pair.replica.sync()
    assert pair.at_hub("select id from note") == [("free",)]
    assert {change.code for change in pair.replica.parked()} == {"limit-exceeded"}
    assert len(pair.replica.parked()) == ROWS + 1
    pair.assert_agreed()


def test_large_rows_make_parts_too(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WHOLE_BYTES_MAX", 10_000)
    monkeypatch.setattr(sending, "PART_BYTES_MAX", 4_000)
    with pair.replica.transaction() as db:
        for i in range(6):
            db.execute("insert into note values (?, ?)", (f"n{i}", "x" * 3_000))
    pair.assert_agreed()
    assert parts_sent(pair) == [True, True, False]


def test_a_change_of_the_schema_between_parts_begins_them_again(pair: Pair) -> None:
    write_many(pair)
    pushes = 0

    def migrate(request: Request, _: Fault) -> None:
        nonlocal pushes
        pushes += request.operation == "push"
        if pushes == 3:
            pushes += 1
            pair.at_hub("alter table note add column colour text")

    pair.wire.observer.sending = migrate  # type: ignore[method-assign]
    pair.replica.sync()
    assert_taken(pair)
