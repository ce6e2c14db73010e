"""One file and two users: what one left to be sent goes to the hub as nobody else's (I10)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reunite.errors import ConstraintError, HubUnreachableError
from reunite.replica import Replica, driver, sending
from tests.pair.conftest import Pair


@contextmanager
def opened_by(pair: Pair, user: str) -> Iterator[Replica]:
    """The laptop's file, opened with a token of this user's."""
    token = pair.hub.create_token(user)
    pair.replica.close()
    with Replica(
        pair.folder / "laptop.db", transport=pair.wire.transport(token), clock=pair.clock
    ) as replica:
        yield replica


def parked(replica: Replica) -> list[tuple[str, tuple[object, ...]]]:
    return [(change.code, change.key) for change in replica.parked()]


@pytest.fixture
def shared(pair: Pair) -> Pair:
    """Of a laptop whose owner has an edit and a new row to send."""
    pair.at_hub("insert into note values ('1', 'before')")
    pair.replica.sync()
    pair.write(pair.replica, "update note set title = 'offline' where id = '1'")
    pair.write(pair.replica, "insert into note values ('2', 'new')")
    return pair


def test_what_waits_is_parked_when_another_user_comes(shared: Pair) -> None:
    with opened_by(shared, "bob") as his:
        done = his.sync()
        assert (done.pushed, done.rejected, done.pending) == (0, 2, 0)
        assert parked(his) == [("other-user", ("1",)), ("other-user", ("2",))]
        assert shared.rows(his, "note") == [("1", "before")]
        shared.write(his, "insert into note values ('3', 'his')")
    with opened_by(shared, "owner") as hers:
        hers.sync()
        assert parked(hers)[2:] == [("other-user", ("3",))]
        for change in hers.parked()[:2]:
            hers.retry(change.id)
        done = hers.sync()
        assert (done.pushed, done.rejected, done.conflicts) == (2, 0, 0)
        at_hub = shared.at_hub("select id, title from note order by id")
        assert at_hub == shared.rows(hers, "note") == [("1", "offline"), ("2", "new")]
    assert {entry.principal for entry in shared.hub.log() if entry.principal} == {"owner"}


def test_another_token_of_the_same_user_sends_what_waits(shared: Pair) -> None:
    with opened_by(shared, "owner") as hers:
        done = hers.sync()
        assert (done.pushed, done.rejected) == (2, 0)
        assert parked(hers) == []


def test_a_copy_of_a_file_is_still_its_users(shared: Pair) -> None:
    """A new identity is not another user."""
    shared.replica.close()
    copy = shared.folder / "copy.db"
    copy.write_bytes((shared.folder / "laptop.db").read_bytes())
    with Replica(copy, transport=shared.wire.transport(shared.token), clock=shared.clock) as copied:
        copied.sync()
    with opened_by(shared, "owner") as hers:
        hers.sync()
        assert parked(hers) == []
        assert shared.rows(hers, "note") == [("1", "offline"), ("2", "new")]


def test_what_the_hub_has_answered_is_done_and_not_parked(shared: Pair) -> None:
    """Its rows come with the next page."""
    shared.replica.push()
    assert shared.in_file(shared.replica, "select count(*) from reunite_outbox") == [(2,)]
    shared.write(shared.replica, "insert into note values ('4', 'later')")
    with opened_by(shared, "bob") as his:
        his.sync()
        assert parked(his) == [("other-user", ("4",))]
        assert shared.rows(his, "note") == [("1", "offline"), ("2", "new")]
        assert his.status().pending == 0


@pytest.mark.hubs("sqlite", "postgresql")
def test_what_the_hub_has_refused_and_merged_is_told_to_who_comes(shared: Pair) -> None:
    """Its outcome is here, and no checkpoint has shown it yet."""
    shared.at_hub("update note set title = 'hub' where id = '1'")
    shared.write(shared.replica, "insert into sale (id, product_id, amount) values (7, 2, -1)")
    shared.replica.push()
    with opened_by(shared, "bob") as his:
        done = his.sync()
        assert (done.rejected, done.conflicts, done.pending) == (1, 1, 0)
        assert parked(his) == [("check", (7,))]
        assert [(each.key, each.column) for each in his.conflicts()] == [(("1",), "title")]


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_change_whose_answer_was_lost_does_not_happen_twice(shared: Pair) -> None:
    shared.wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        shared.replica.push()
    with opened_by(shared, "bob") as his:
        his.sync()
        assert shared.rows(his, "note") == [("1", "offline"), ("2", "new")]
        assert parked(his) == [("other-user", ("1",)), ("other-user", ("2",))]
    with opened_by(shared, "owner") as hers:
        update, insert = hers.parked()
        hers.retry(update.id)
        with pytest.raises(ConstraintError):
            hers.retry(insert.id)
        assert hers.sync().pushed == 0
    assert shared.at_hub("select count(*) from reunite_change") == [(3,)]


@pytest.mark.hubs("sqlite", "postgresql")
def test_generated_keys_and_children_are_parked_and_may_be_retried(pair: Pair) -> None:
    pair.write(
        pair.replica,
        "insert into product (name, code) values ('Plum', 'P')",
        "insert into sale (product_id, amount) select id, 5 from product where code = 'P'",
    )
    pair.write(
        pair.replica,
        "delete from sale where id = 1",
        "delete from product where id = 1",
        "update product set stock = stock + 3 where id = 2",
    )
    with opened_by(pair, "bob") as his:
        assert his.sync().rejected == 5
        for table in ("product", "sale"):
            assert pair.rows(his, table) == pair.at_hub(f"select * from {table} order by 1")
        pair.write(his, "insert into product (name, code) values ('Quince', 'Q')")
        assert his.sync().pushed == 1
    with opened_by(pair, "owner") as hers:
        hers.sync()
        for change in hers.parked():
            hers.retry(change.id)
        done = hers.sync()
        assert (done.pushed, done.rejected, done.conflicts) == (5, 0, 0)
        for table in ("product", "sale"):
            assert pair.rows(hers, table) == pair.at_hub(f"select * from {table} order by 1")
    assert pair.at_hub("select id, stock from product where code <> 'Q' and id < 3") == [(2, 13)]
    assert pair.at_hub("select sum(amount) from sale") == [(9,)]


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("is_in_parts", [False, True])
def test_long_groups_are_parked_whole(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, is_in_parts: bool
) -> None:
    """One is on its way when the line breaks: as a range, or with parts of it at the hub."""
    with pair.replica.transaction() as db:
        db.executemany("insert into note values (?, 'new')", [(f"a{i}",) for i in range(40)])
    with pair.replica.transaction() as db:
        db.executemany("insert into note values (?, 'new')", [(f"b{i}",) for i in range(40)])
    if is_in_parts:
        monkeypatch.setattr(sending, "WHOLE_MAX", 8)
        monkeypatch.setattr(sending, "PART_MAX", 5)
        monkeypatch.setattr(driver, "PUSH_CHANGES_AIM", 3)
    pair.wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        pair.replica.push()
    with opened_by(pair, "bob") as his:
        his.push()
        assert (len(his.parked()), his.status().pending) == (80, 0)
        pair.write(his, "insert into note values ('his', 'his')")
        assert his.sync().pushed == 1
        assert pair.rows(his, "note") == pair.at_hub("select * from note order by 1")
    assert pair.at_hub("select count(*) from note") == [(1 if is_in_parts else 81,)]


@pytest.mark.hubs("sqlite")
def test_a_crash_after_the_registration_changes_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.write(pair.replica, "insert into note values ('2', 'new')")

    def crash(*_: object, **__: object) -> bool:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched, opened_by(pair, "bob") as his:
        patched.setattr(driver, "begin_again", crash)
        with pytest.raises(RuntimeError):
            his.sync()
        assert (parked(his), his.status().pending) == ([], 1)
    with opened_by(pair, "owner") as hers:
        assert (hers.sync().pushed, parked(hers)) == (1, [])


@pytest.mark.hubs("sqlite")
def test_two_programs_that_sync_one_file_as_two_users_lose_nothing(pair: Pair) -> None:
    token = pair.hub.create_token("bob")
    with Replica(
        pair.folder / "laptop.db", transport=pair.wire.transport(token), clock=pair.clock
    ) as his:
        for i in range(3):
            pair.write(pair.replica, f"insert into note values ('hers {i}', 'new')")
            his.sync()
            pair.write(his, f"insert into note values ('his {i}', 'new')")
            pair.replica.sync()
        assert len(parked(his)) == 6
    assert pair.at_hub("select count(*) from note") == [(0,)]


@pytest.mark.hubs("sqlite")
def test_a_live_replica_tells_what_is_parked(shared: Pair) -> None:
    is_told = threading.Event()
    with opened_by(shared, "bob") as his:
        his.start(on_event=lambda report: is_told.set() if report.rejected == 2 else None)
        assert is_told.wait(30)
        shared.write(his, "insert into note values ('3', 'his')")
        assert his.wait_until_synced(30)
        his.stop()
        assert parked(his) == [("other-user", ("1",)), ("other-user", ("2",))]
    assert shared.at_hub("select id, title from note order by id") == [
        ("1", "before"),
        ("3", "his"),
    ]
