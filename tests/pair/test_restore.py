"""Backups and hubs that came back from one: what is kept, what is lost, and who has it still."""

import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from reunite import CallerError, Hub, HubUnreachableError, NewerLayoutError, Replica
from reunite.stores.sql import layout
from reunite.stores.sql.backup import backup, restore
from reunite.testing import SeededIds
from tests.pair.conftest import Pair

pytestmark = pytest.mark.hubs("sqlite")


def saved(pair: Pair) -> Path:
    path = pair.folder / "backup.db"
    backup(pair.folder / "hub.db", path, replace=True)
    return path


def brought_back(pair: Pair, source: Path, *, is_open: bool = False) -> None:
    """The hub as it was when the backup was made, at the place where it was."""
    path = pair.folder / "hub.db"
    if is_open:
        assert restore(source, path, replace=True) == pair.folder / "hub.db.former-1"
        return
    pair.hub.close()
    pair.hub_db.close()
    for suffix in ("", "-wal", "-shm"):
        (pair.folder / f"hub.db{suffix}").unlink(missing_ok=True)
    assert restore(source, path) is None
    pair.hub_db = pair.closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    pair.hub_db.execute("pragma foreign_keys = on")
    pair.hub = pair.closing.enter_context(Hub(path, clock=pair.clock, new_id=SeededIds(5)))
    pair.hub.adopt()
    pair.wire.hub = pair.hub


@pytest.mark.parametrize("is_open", [False, True], ids=["a new file", "while it is open"])
def test_two_replicas_after_a_restore(pair: Pair, is_open: bool) -> None:
    """What waits in them reaches the hub once; what had been answered and shown is gone with the
    hub, and nothing is dropped silently (I2, I10)."""
    one, two = pair.clone("one"), pair.clone("two")
    pair.write(one, "insert into note values ('early', 'in the backup')")
    pair.write(one, "update product set stock = stock - 1 where id = 1")
    pair.assert_agreed()
    source = saved(pair)

    # Known to both replicas, and to the hub that is lost.
    pair.write(one, "insert into note values ('lost', 'after the backup')")
    one.sync()
    two.sync()
    # Answered, but its page never came: it is in the outbox still.
    pair.write(one, "update product set stock = stock - 10 where id = 1")
    one.push()
    # Never sent.
    pair.write(one, "insert into note values ('mine', 'of one')")
    pair.write(two, "update product set stock = stock - 100 where id = 1")
    pair.write(two, "update note set title = 'changed by two' where id = 'lost'")
    brought_back(pair, source, is_open=is_open)

    one.sync()
    two.sync()
    pair.assert_agreed()

    assert pair.at_hub("select id from note order by id") == [("early",), ("mine",)]
    assert pair.at_hub("select stock from product where id = 1") == [(10 - 1 - 10 - 100,)]
    (conflict,) = two.conflicts()
    assert (conflict.table, conflict.key, conflict.policy) == ("note", ("lost",), "delete_wins")
    assert "changed by two" in str(conflict.replica)
    assert one.parked() == two.parked() == []


def test_each_restore_is_another_epoch(pair: Pair) -> None:
    source = saved(pair)
    epochs = {pair.hub.status().epoch}
    for number in range(2):
        target = pair.folder / f"again-{number}.db"
        restore(source, target)
        with Hub(target) as hub:
            hub.adopt()
            epochs.add(hub.status().epoch)
    assert len(epochs) == 3


def test_the_copy_of_a_replica_gives_back_what_the_hub_lost(pair: Pair) -> None:
    """As docs/howto/backup-and-retention.md says: copied before it syncs, inserted at the hub."""
    source = saved(pair)
    pair.write(pair.replica, "insert into note values ('lost', 'found again')")
    pair.replica.sync()
    copy = pair.folder / "copy.db"
    backup(pair.replica.path, copy)
    brought_back(pair, source)
    pair.replica.sync()
    assert pair.rows(pair.replica, "note") == []

    pair.at_hub("attach ? as copy", str(copy))
    pair.at_hub("insert into note select * from copy.note where id not in (select id from note)")

    pair.assert_agreed()
    assert pair.rows(pair.replica, "note") == [("lost", "found again")]


def test_a_backup_is_of_the_moment_at_which_it_began(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write at every step, and it ends all the same."""
    monkeypatch.setattr("reunite.stores.sql.backup.PAGES_PER_STEP", 2)
    pair.at_hub("insert into note values ('before', ?)", "x" * 100_000)
    numbers = count()
    told = []

    def write(done: int, total: int) -> None:
        told.append((done, total))
        pair.at_hub("insert into note values (?, 'meanwhile')", f"n{next(numbers)}")

    target = pair.folder / "backup.db"
    size = backup(pair.folder / "hub.db", target, on_pages=write)
    assert len(told) > 10
    assert told[-1][0] == told[-1][1]
    assert size == target.stat().st_size > 100_000
    with closing(sqlite3.connect(target)) as db:
        assert db.execute("select id from note").fetchall() == [("before",)]
        assert db.execute("select count(*) from reunite_change").fetchall() == [(1,)]
    assert sorted(path.name for path in pair.folder.glob("backup*")) == ["backup.db"]


def test_a_restore_waits_for_writers_and_gives_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.stores.sql.backup.LOCK_TRIES_MAX", 2)
    monkeypatch.setattr("reunite.stores.sql.backup.LOCK_WAIT_S", 0.01)
    source = saved(pair)
    epoch = pair.hub.status().epoch
    pair.at_hub("insert into note values ('kept', 'x')")
    pair.at_hub("begin immediate")
    with pytest.raises(Exception, match="stop them, and try again"):
        restore(source, pair.folder / "hub.db", replace=True)
    pair.at_hub("rollback")
    assert pair.hub.status().epoch == epoch
    assert pair.at_hub("select id from note") == [("kept",)]
    assert not list(pair.folder.glob("*.part*"))


def test_nothing_is_written_over_unasked(pair: Pair) -> None:
    hub, source = pair.folder / "hub.db", saved(pair)
    taken = pair.folder / "taken.db"
    taken.write_bytes(b"a letter")
    for copy in (backup, restore):
        with pytest.raises(CallerError, match=r"already: name another one, or give --replace"):
            copy(source, taken)
        with pytest.raises(CallerError, match="itself"):
            copy(source, source, replace=True)
        with pytest.raises(CallerError, match="no folder"):
            copy(source, pair.folder / "no" / "x.db")
    assert taken.read_bytes() == b"a letter"
    with pytest.raises(CallerError, match="not an SQLite database"):
        restore(source, taken, replace=True)
    assert taken.read_bytes() == b"a letter"
    assert backup(hub, taken, replace=True) > 0
    assert not list(pair.folder.glob("*.part*"))


def test_what_a_lost_database_left_beside_it_is_not_taken_for_a_part(pair: Pair) -> None:
    """SQLite would play the log of a lost database into the one that is restored."""
    source = saved(pair)
    pair.at_hub("insert into note values ('late', 'in the write-ahead log only')")
    log = (pair.folder / "hub.db-wal").read_bytes()
    assert log
    target = pair.folder / "again.db"
    (pair.folder / "again.db-wal").write_bytes(log)
    restore(source, target)
    with closing(sqlite3.connect(target)) as db:
        assert db.execute("select count(*) from note").fetchall() == [(0,)]


def test_a_damaged_database_gives_no_backup(pair: Pair) -> None:
    for i in range(200):
        pair.at_hub("insert into note values (?, ?)", f"n{i}", "x" * 500)
    pair.hub.close()
    pair.at_hub("pragma wal_checkpoint(truncate)")
    pair.hub_db.close()
    damaged = pair.folder / "damaged.db"
    shutil.copy(pair.folder / "hub.db", damaged)
    place = damaged.read_bytes().index(b"n100x")
    with damaged.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 8_192)
    with pytest.raises(CallerError, match="damaged"):
        backup(damaged, pair.folder / "backup.db")
    assert not list(pair.folder.glob("backup*"))


def test_a_backup_of_a_newer_release_is_not_restored(pair: Pair) -> None:
    newer = layout.LAYOUT_VERSION + 1
    pair.at_hub("update reunite_meta set value = ? where name like 'layout%'", newer)
    source = saved(pair)
    with pytest.raises(NewerLayoutError):
        restore(source, pair.folder / "again.db")
    assert not list(pair.folder.glob("again*"))


def test_the_copy_of_a_replica_is_a_file_of_its_own(pair: Pair) -> None:
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    path = pair.folder / "twin.db"
    backup(pair.replica.path, path)
    pair.wire.lose_next_answer("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    twin = pair.closing.enter_context(
        Replica(path, transport=pair.wire.transport(pair.token, label="twin"), clock=pair.clock)
    )
    pair.replicas["twin"] = twin
    pair.assert_agreed()
    for replica in (pair.replica, twin):
        pair.write(replica, "update product set stock = stock - 100 where id = 1")
    pair.assert_agreed()
    assert twin.status().replica != pair.replica.status().replica
    assert pair.at_hub("select stock from product where id = 1") == [(-191,)]
