"""How long a log is kept: by age, by what replicas have read, and a little at a time."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from reunite import BadRequestError, Hub
from reunite.engine import retention
from reunite.engine.remembered import (
    DECIDED,
    MERGED,
    OPEN,
    SETTLED,
    HubConflictRecord,
    RefusalRecord,
    moment_id,
)
from reunite.stores.sql import open_store
from reunite.testing import SeededIds
from tests.pair.conftest import Pair

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

DAY_MS = 86_400_000


def keeping(pair: Pair, days: float) -> Hub:
    """The pair's hub, with a log of so many days."""
    pair.hub.close()
    pair.hub = pair.closing.enter_context(
        Hub(
            pair.database.store(),
            keep=timedelta(days=days),
            clock=pair.clock,
            new_id=SeededIds(9),
        )
    )
    pair.hub.adopt()
    pair.wire.hub = pair.hub
    return pair.hub


def kept(pair: Pair) -> int:
    """The changes in the log, trimmed ones that are not swept yet among them."""
    return pair.at_hub("select count(*) from reunite_change where table_name <> ''")[0][0]


def test_a_hub_that_keeps_a_month_trims_by_itself(pair: Pair) -> None:
    replica = pair.replica
    keeping(pair, 30)
    for day in range(60):
        pair.at_hub("insert into note values (?, 'x')", f"n{day}")
        replica.sync()
        pair.clock.advance(DAY_MS)
    for _ in range(3):
        replica.sync()
        pair.clock.advance(120_000)
    found = pair.hub.log_statistics()
    assert 28 <= sum(found.changes.values()) <= 31
    assert kept(pair) <= 32
    assert found.oldest_ms is not None
    assert pair.clock.now_ms() - found.oldest_ms < 31 * DAY_MS
    pair.assert_agreed()


def test_without_keep_the_log_grows(pair: Pair) -> None:
    replica = pair.replica
    for day in range(20):
        pair.at_hub("insert into note values (?, 'x')", f"n{day}")
        replica.sync()
        pair.clock.advance(30 * DAY_MS)
    assert kept(pair) == 20


def test_what_a_replica_seen_within_the_age_has_not_read_stays(pair: Pair) -> None:
    """And what one has not read that was not seen for longer goes; it gets a snapshot, and its
    pending changes count (I10)."""
    gone = pair.clone("gone")
    pair.write(gone, "insert into note values ('mine', 'kept')")
    hub = keeping(pair, 10)
    for day in range(9):
        pair.at_hub("insert into note values (?, 'x')", f"n{day}")
        pair.replica.sync()
        pair.clock.advance(DAY_MS)
    hub.keep_up()
    assert sum(hub.log_statistics().changes.values()) == 9, "all were seen within ten days"
    pair.clock.advance(5 * DAY_MS)
    pair.replica.sync()
    for _ in range(4):
        hub.keep_up()
        pair.clock.advance(120_000)
    assert sum(hub.log_statistics().changes.values()) < 9
    pair.assert_agreed()
    assert pair.at_hub("select title from note where id = 'mine'") == [("kept",)]


@pytest.mark.hubs("sqlite")
def test_a_trim_lets_others_write_between_its_steps(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step removes more than the limit, and a program that does not wait gets in (I13)."""
    monkeypatch.setattr(retention, "SWEEP_CHANGES_MAX", 10)
    for i in range(5):
        pair.at_hub(
            "with recursive s(v) as (select 1 union all select v + 1 from s where v < 20) "
            "insert into note select 'n' || ? || '-' || v, 'x' from s",
            i,
        )
        pair.hub.number()
    pair.clock.advance(DAY_MS)
    left = [100]
    with closing(sqlite3.connect(pair.folder / "hub.db", timeout=0, isolation_level=None)) as db:

        def write_between() -> None:
            db.execute("insert into product (name) values ('Fig')")
            left.append(kept(pair) - (len(left)))

        removed = retention.trim(
            pair.hub._store, older_than_ms=pair.clock.now_ms(), pause=write_between
        )
    assert removed == 100
    assert [a - b for a, b in pairwise(left)] == [10] * 10
    assert pair.hub.log_statistics().changes == {"product": 10}
    pair.assert_agreed()


def test_a_trim_that_was_cut_short_is_finished_by_the_next(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x'), ('n2', 'x')")
    head = pair.hub.number()
    with pair.hub._store.write() as tx:
        assert tx.trim(until_seq=head.seq) == 2
    assert (kept(pair), pair.hub.log()) == (2, [])
    assert pair.hub.trim(older_than_s=0) == 0
    assert kept(pair) == 0
    pair.at_hub("update note set title = 'y'")
    pair.assert_agreed()
    assert [entry.id for entry in pair.hub.log()] == [3, 4]


@pytest.mark.hubs("sqlite")
def test_a_locked_database_is_trimmed_later(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.hub.number()
    pair.clock.advance(3 * DAY_MS)
    pair.at_hub("begin immediate")
    store = open_store(pair.folder / "hub.db", timeout_s=0.01)
    with Hub(store, keep=timedelta(days=1), clock=pair.clock) as quick:
        quick.adopt()
        quick.keep_up()
        pair.at_hub("commit")
        assert kept(pair) == 1
        for _ in range(3):
            quick.keep_up()
            pair.clock.advance(120_000)
    assert kept(pair) == 0


def test_an_age_below_nothing_is_refused(pair: Pair) -> None:
    with pytest.raises(BadRequestError):
        Hub(pair.folder / "hub.db", keep=timedelta(seconds=-1))


def test_statistics_say_who_is_behind(pair: Pair) -> None:
    pair.clone("behind")
    for i in range(3):
        pair.at_hub("insert into note values (?, 'x')", f"n{i}")
        pair.hub.number()
    pair.clock.advance(20 * 60_000)
    for _ in range(2):
        pair.replica.sync()
        pair.clock.advance(20 * 60_000)
    found = pair.hub.log_statistics()
    assert [(reader.name, reader.seen_seq) for reader in found.readers] == [
        ("behind.db", 0),
        ("laptop.db", 3),
    ]
    assert (found.seq, found.trimmed_seq, found.changes) == (3, 0, {"note": 3})
    assert found.bytes_total is not None
    assert found.bytes_log is None or 0 < found.bytes_log < found.bytes_total


def refused(record_id: str, state: str) -> RefusalRecord:
    return RefusalRecord(
        id=record_id,
        at_ms=0,
        replica="r",
        n=1,
        change="c",
        table_name="note",
        key="[]",
        op="update",
        code="check",
        state=state,
        principal="ann",
    )


def remembered(pair: Pair) -> list[str]:
    """The states of what the hub has on record of conflicts and refusals, oldest first."""
    with pair.hub._store.read() as tx:
        found = [*tx.records(HubConflictRecord), *tx.records(RefusalRecord)]
    return [record.state for record in sorted(found, key=lambda record: record.id)]


def test_records_of_what_is_done_go_with_the_log_and_open_ones_stay(pair: Pair) -> None:
    """What met and was merged, what a person decided, and what was settled."""
    other = pair.clone("other")
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.assert_agreed()
    for title, state in (("a", MERGED), ("b", DECIDED), ("c", OPEN)):
        for replica in (pair.replica, other):
            pair.write(replica, f"update note set title = '{title} of {replica.path.name}'")
        for replica in (pair.replica, other):
            replica.sync()
        pair.replica.sync()
        with pair.hub._store.write() as tx:
            (newest,) = tx.latest(HubConflictRecord, limit=1)
            tx.put_record(msgspec.structs.replace(newest, state=state))
            for number, also in enumerate((SETTLED, OPEN)):
                tx.put_record(refused(moment_id(pair.clock.now_ms(), f"f{number}"), also))
        pair.clock.advance(DAY_MS)
    all_of_them = [MERGED, SETTLED, OPEN, DECIDED, SETTLED, OPEN, OPEN, SETTLED, OPEN]
    assert remembered(pair) == all_of_them
    pair.hub.trim(older_than_s=10 * 86_400)
    assert remembered(pair) == all_of_them
    pair.hub.trim(older_than_s=1.5 * 86_400)
    assert remembered(pair) == [OPEN, OPEN, OPEN, SETTLED, OPEN]
    pair.hub.trim(older_than_s=0)
    assert remembered(pair) == [OPEN, OPEN, OPEN, OPEN]


def test_what_the_log_still_tells_has_its_records(pair: Pair) -> None:
    """A replica that was seen, and has not read, keeps both."""
    pair.clone("behind")
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.hub.number()
    with pair.hub._store.write() as tx:
        for days in (-1, 1):
            tx.put_record(refused(moment_id(pair.clock.now_ms() + days * DAY_MS), SETTLED))
    pair.clock.advance(3 * DAY_MS)
    pair.hub.trim(older_than_s=0, seen_within_s=10 * 86_400)
    assert remembered(pair) == [SETTLED]


def test_records_go_a_few_at_a_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction of a trim grows with what there is to forget (I13)."""
    monkeypatch.setattr(retention, "FORGET_RECORDS_MAX", 10)
    with pair.hub._store.write() as tx:
        tx.put_records(refused(moment_id(1, f"{number:04x}"), SETTLED) for number in range(35))
    left = []
    retention.trim(
        pair.hub._store,
        older_than_ms=pair.clock.now_ms(),
        pause=lambda: left.append(len(remembered(pair))),
    )
    assert left == [25, 15, 5]
    assert remembered(pair) == []
    with pair.hub._store.write() as tx:
        tx.put_records(refused(moment_id(1, f"{number:04x}"), SETTLED) for number in range(12))
    hub = keeping(pair, 1)
    for kept_yet in (2, 0):
        hub.keep_up()
        assert len(remembered(pair)) == kept_yet
        pair.clock.advance(1_000)
