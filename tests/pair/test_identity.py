"""Copied and restored files, hubs that changed, tables that changed: nothing doubled or dropped."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reunite import (
    CallerError,
    Hub,
    HubUnreachableError,
    NotAReplicaError,
    Replica,
    UnknownTableError,
)
from reunite.testing import SeededIds
from reunite.testing.wire import Fault, Request
from tests.pair.conftest import Pair


def copy_of(pair: Pair, replica: Replica, name: str) -> Replica:
    """A second file with the first one's identity, as a user makes it."""
    pair.in_file(replica, "pragma wal_checkpoint(truncate)")
    path = pair.folder / f"{name}.db"
    shutil.copy(replica.path, path)
    found = pair.closing.enter_context(
        Replica(path, transport=pair.wire.transport(pair.token, label=name), clock=pair.clock)
    )
    pair.replicas[name] = found
    return found


def test_a_copied_file_takes_a_new_identity_and_nothing_counts_twice(pair: Pair) -> None:
    """The same pending change in both files is one change; later ones are two (I2)."""
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    twin = copy_of(pair, pair.replica, "twin")
    pair.write(pair.replica, "update product set stock = stock - 10 where id = 1")
    pair.write(twin, "update product set stock = stock - 100 where id = 1")
    pair.assert_agreed()
    assert pair.at_hub("select stock from product where id = 1") == [(10 - 1 - 10 - 100,)]
    assert twin.status().replica != pair.replica.status().replica


def test_a_restored_file_sends_what_the_hub_never_had(pair: Pair) -> None:
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    old = copy_of(pair, pair.replica, "old")
    pair.replica.sync()
    pair.write(pair.replica, "insert into note values ('new', 'x')")
    pair.replica.sync()
    pair.write(old, "insert into note values ('kept', 'x')")
    pair.assert_agreed()
    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    assert pair.at_hub("select id from note order by id") == [("kept",), ("new",)]


def test_a_column_added_at_the_hub_reaches_replicas_and_keeps_their_outbox(pair: Pair) -> None:
    pair.write(pair.replica, "insert into note values ('n1', 'mine')")
    pair.at_hub("alter table note add column colour text default 'red'")
    pair.hub.track("note")
    pair.replica.sync()
    assert pair.at_hub("select * from note") == [("n1", "mine", "red")]
    assert pair.rows(pair.replica, "note") == [("n1", "mine", "red")]
    pair.write(pair.replica, "update note set colour = 'blue'")
    pair.assert_agreed()


def test_a_table_the_hub_gave_up_does_not_hold_up_the_rest(pair: Pair) -> None:
    """Pending changes of it are parked with their values; the others go through (I9, I10)."""
    pair.write(pair.replica, "insert into note values ('n1', 'mine')")
    pair.write(pair.replica, "update product set name = 'Quince' where id = 1")
    pair.hub.untrack("note")
    pair.replica.sync()
    pair.replica.sync()
    assert pair.at_hub("select name from product where id = 1") == [("Quince",)]
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.set) == ("unknown-table", {"id": "n1", "title": "mine"})


def test_a_dry_run_says_what_would_happen_and_does_nothing(pair: Pair) -> None:
    pair.write(pair.replica, "insert into note values ('n1', 'mine')")
    pair.at_hub("update product set name = 'Hub' where id = 1")
    report = pair.replica.sync(dry_run=True)
    assert (report.pushed, report.pulled, report.pending) == (1, 1, 1)
    assert pair.at_hub("select * from note") == []
    assert pair.rows(pair.replica, "product")[0][1] == "Apple"
    pair.assert_agreed()


def test_a_file_that_is_no_replica_is_told_so(pair: Pair) -> None:
    with pytest.raises(NotAReplicaError):
        Replica(pair.folder / "hub.db", transport=pair.wire.transport(pair.token))
    with pytest.raises(NotAReplicaError):
        Replica(pair.folder / "missing.db", transport=pair.wire.transport(pair.token))


def test_asking_for_a_table_that_is_not_there_is_refused(pair: Pair) -> None:
    with pytest.raises(UnknownTableError):
        pair.clone("partial", tables=["nothing"])


def test_a_replica_may_have_some_of_the_tables(pair: Pair) -> None:
    some = pair.clone("some", tables=["product"])
    pair.at_hub("insert into note values ('n1', 'not for you')")
    some.sync()
    assert set(some.status().tables) == {"product"}
    assert pair.rows(some, "product") == pair.at_hub("select * from product order by 1")


def test_new_key_gives_keys_that_stay(pair: Pair) -> None:
    key = pair.replica.new_key("product")
    pair.write(pair.replica, f"insert into product (id, name) values ({key}, 'Fig')")
    pair.replica.sync()
    assert pair.at_hub("select name from product where id = ?", key) == [("Fig",)]
    assert pair.replica.new_key("product") != key


def restored(pair: Pair, backup: Path) -> None:
    """Put an older copy of the hub's database in the place of the one that is there."""
    pair.hub.close()
    pair.hub_db.close()
    for suffix in ("", "-wal", "-shm"):
        (pair.folder / f"hub.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, pair.folder / "hub.db")
    reopened(pair)


def reopened(pair: Pair) -> None:
    """A hub over the database that is there now."""
    path = pair.folder / "hub.db"
    pair.hub_db = pair.closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    pair.hub = pair.closing.enter_context(Hub(path, clock=pair.clock, new_id=SeededIds(2)))
    pair.hub.track("note")
    pair.hub.track("product", merge={"stock": "counter"})
    pair.hub.track("sale")
    pair.wire.hub = pair.hub


def backup_of(pair: Pair) -> Path:
    path = pair.folder / "backup.db"
    pair.hub_db.execute("vacuum into ?", (str(path),))
    return path


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("pushes_more", [False, True], ids=["pulls", "pushes more"])
def test_a_restored_hub_that_heard_the_same_numbers_from_a_copy_gets_what_it_lost(
    pair: Pair, pushes_more: bool
) -> None:
    """The copy's answer is of a time that is gone, the number has another change by now (I10)."""
    twin = copy_of(pair, pair.replica, "twin")
    backup = backup_of(pair)
    pair.write(twin, "insert into note values ('twin', 'answered, not yet pulled')")
    twin.push()
    restored(pair, backup)
    pair.write(pair.replica, "insert into note values ('laptop', 'the same number')")
    pair.replica.sync()
    if pushes_more:
        pair.write(twin, "update product set stock = stock - 1 where id = 1")
        pair.write(twin, "update note set title = 'mine' where id = 'twin'")

    twin.sync()

    assert pair.at_hub("select id from note order by id") == [("laptop",), ("twin",)]
    assert pair.at_hub("select stock from product where id = 1") == [(10 - pushes_more,)]
    pair.assert_agreed()


@pytest.mark.parametrize("pulls_first", [False, True], ids=["pushes", "pulls"])
def test_a_file_put_back_to_its_first_clone_begins_anew(pair: Pair, pulls_first: bool) -> None:
    """Wiped, but with its old identity: it has given none of the numbers that the hub knows."""
    empty = copy_of(pair, pair.replica, "empty")
    for i in range(3):
        pair.write(pair.replica, f"insert into note values ('n{i}', 'sent')")
    pair.replica.sync()
    pair.write(empty, "insert into note values ('m', 'after it was put back')")
    pair.write(empty, "insert into product (name) values ('Fig')")
    if pulls_first:
        empty.pull()
    empty.sync()
    assert pair.at_hub("select count(*) from note") == [(4,)]
    assert empty.status().replica != pair.replica.status().replica
    pair.assert_agreed()


def test_an_outbox_that_lost_changes_sends_the_rest_under_a_new_identity(pair: Pair) -> None:
    """Somebody deleted from the outbox: there is a gap in its numbers, and nothing is stuck."""
    pair.write(pair.replica, "insert into note values ('gone', 'x')")
    pair.write(pair.replica, "insert into note values ('kept', 'x')")
    pair.wire.drop_next_request("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.in_file(pair.replica, "delete from reunite_change where key = '[\"gone\"]'")
    pair.replica.sync()
    assert pair.at_hub("select id from note") == [("kept",)]
    assert pair.replica.status().pending == 0


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("grows", [False, True], ids=["quiet", "grown past the replica's mark"])
def test_a_hub_restored_from_a_backup_gets_the_pending_changes(pair: Pair, grows: bool) -> None:
    """What replicas had not sent is not lost, what the backup lacks is gone for all (I10)."""
    backup = backup_of(pair)
    pair.write(pair.replica, "insert into note values ('n1', 'lost with the hub')")
    pair.replica.sync()
    pair.write(pair.replica, "update product set stock = stock - 3 where id = 1")
    restored(pair, backup)
    if grows:
        for i in range(20):
            pair.at_hub("insert into note values (?, 'new')", f"m{i}")

    pair.replica.sync()

    assert pair.at_hub("select stock from product where id = 1") == [(7,)]
    assert pair.at_hub("select count(*) from note where id = 'n1'") == [(0,)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_replica_that_only_reads_notices_that_the_hub_was_restored(pair: Pair) -> None:
    """Commits of the same number are told apart by their nonce: a snapshot, never silence (I3)."""
    backup = backup_of(pair)
    pair.at_hub("insert into note values ('n1', 'lost with the hub')")
    pair.replica.pull()
    restored(pair, backup)
    pair.at_hub("insert into note values ('n2', 'new')")

    pair.replica.pull()

    assert pair.rows(pair.replica, "note") == [("n2", "new")]


def break_off(pair: Pair, *, after_pages: int) -> None:
    """The network fails for one pull, after so many others were answered."""
    left = itertools.count(after_pages, -1)

    def choose(request: Request) -> Fault:
        is_it = request.operation == "pull" and next(left) == 0
        return Fault.DROP if is_it else Fault.NONE

    pair.wire.choose = choose


@pytest.mark.hubs("sqlite")
def test_rows_of_a_lost_log_in_the_inbox_are_never_shown(pair: Pair) -> None:
    """A page has rows as they were when it was read, newer than where its cursor stands (I5)."""
    phone = pair.clone("phone", page_rows=1)
    pair.at_hub("insert into note values ('n1', 'kept')")
    pair.hub.number()
    backup = backup_of(pair)
    pair.at_hub("update note set title = 'lost with the hub'")
    pair.at_hub("insert into note values ('n2', 'lost too')")
    break_off(pair, after_pages=1)
    with pytest.raises(HubUnreachableError):
        phone.pull()
    restored(pair, backup)
    pair.at_hub("insert into note values ('n3', 'new')")

    phone.pull()

    assert pair.rows(phone, "note") == [("n1", "kept"), ("n3", "new")]


@pytest.mark.hubs("sqlite")
def test_half_of_a_lost_transaction_in_the_inbox_is_never_shown(pair: Pair) -> None:
    """The transaction that has its number now is another one (I5)."""
    phone = pair.clone("phone", page_rows=1)
    backup = backup_of(pair)
    pair.hub_db.executescript(
        "begin; insert into note values ('n1', 'lost'); insert into note values ('n2', 'lost');"
        "commit"
    )
    break_off(pair, after_pages=1)
    with pytest.raises(HubUnreachableError):
        phone.pull()
    restored(pair, backup)
    pair.at_hub("insert into note values ('n3', 'new')")

    phone.pull()

    assert pair.rows(phone, "note") == [("n3", "new")]


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("pages", [0, 1, 3])
def test_a_first_clone_goes_on_at_a_hub_that_has_forgotten_it(pair: Pair, pages: int) -> None:
    """It registers anew and reads everything from the beginning; nothing lost stays (I4)."""
    backup = backup_of(pair)
    pair.at_hub("insert into note values ('n1', 'lost with the hub')")
    break_off(pair, after_pages=pages)
    with pytest.raises(HubUnreachableError):
        pair.clone("phone", page_rows=1)
    restored(pair, backup)
    pair.at_hub("insert into note values ('n2', 'new')")

    phone = pair.clone("phone", page_rows=1)

    assert pair.rows(phone, "note") == [("n2", "new")]
    pair.write(phone, "insert into note values ('n3', 'by the phone')")
    pair.assert_agreed()
    assert pair.at_hub("select id from note order by id") == [("n2",), ("n3",)]


@pytest.mark.hubs("sqlite")
def test_another_database_at_the_same_url_gets_what_it_has_a_place_for(pair: Pair) -> None:
    """Tables that it lacks are parked, columns that it has more are filled (I9, I10)."""
    pair.write(pair.replica, "insert into note values ('n1', 'kept')")
    pair.write(pair.replica, "insert into product (name) values ('Fig')")
    pair.hub.close()
    pair.hub_db.close()
    for suffix in ("", "-wal", "-shm"):
        (pair.folder / f"hub.db{suffix}").unlink(missing_ok=True)
    path = pair.folder / "hub.db"
    pair.hub_db = pair.closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    pair.hub_db.execute("create table product (id integer primary key, name text, extra text)")
    pair.hub = pair.closing.enter_context(Hub(path, clock=pair.clock, new_id=SeededIds(3)))
    pair.hub.track("product")
    pair.wire.hub = pair.hub
    pair.token = pair.hub.create_token("owner")
    replica = pair.closing.enter_context(
        Replica(pair.replica.path, transport=pair.wire.transport(pair.token), clock=pair.clock)
    )
    replica.sync()
    replica.sync()
    assert pair.at_hub("select name, extra from product") == [("Fig", None)]
    (parked,) = replica.parked()
    assert (parked.code, parked.set) == ("unknown-table", {"id": "n1", "title": "kept"})


def test_a_refused_clone_leaves_the_file_as_it_was(pair: Pair) -> None:
    path = pair.folder / "own.db"
    db = sqlite3.connect(path)
    db.execute("create table product (x)")
    db.close()
    with pytest.raises(CallerError):
        Replica.clone(path, transport=pair.wire.transport(pair.token))
    db = sqlite3.connect(path)
    assert db.execute("select name from sqlite_master").fetchall() == [("product",)]
    assert db.execute("pragma journal_mode").fetchall() == [("delete",)]
    db.close()
    with pytest.raises(CallerError):
        Replica.clone(pair.folder / "no" / "x.db", transport=pair.wire.transport(pair.token))


@pytest.mark.hubs("sqlite")
def test_another_database_with_other_columns_takes_what_fits(pair: Pair) -> None:
    """The same table name and version number, but one column more."""
    pair.write(pair.replica, "insert into note values ('n1', 'kept')")
    pair.hub.close()
    pair.hub_db.close()
    for suffix in ("", "-wal", "-shm"):
        (pair.folder / f"hub.db{suffix}").unlink(missing_ok=True)
    path = pair.folder / "hub.db"
    pair.hub_db = pair.closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    pair.hub_db.execute("create table note (id text primary key not null, title text, more int)")
    pair.hub = pair.closing.enter_context(Hub(path, clock=pair.clock, new_id=SeededIds(4)))
    pair.hub.track("note")
    pair.wire.hub = pair.hub
    token = pair.hub.create_token("owner")
    with Replica(
        pair.replica.path, transport=pair.wire.transport(token), clock=pair.clock
    ) as replica:
        replica.sync()
        assert pair.at_hub("select * from note") == [("n1", "kept", None)]
        assert pair.rows(replica, "note") == [("n1", "kept", None)]
        assert replica.status().pending == 0


def test_after_a_trim_a_late_replicas_edits_of_untouched_rows_still_count(pair: Pair) -> None:
    pair.write(pair.replica, "update product set stock = stock - 1, name = 'Mine' where id = 1")
    for i in range(3):
        pair.at_hub("insert into note values (?, 'x')", f"n{i}")
        pair.hub.number()
    pair.clock.advance(10 * 86_400_000)
    assert pair.hub.trim(older_than_s=86_400) > 0
    pair.replica.sync()
    assert pair.at_hub("select name, stock from product where id = 1") == [("Mine", 9)]
    assert pair.replica.conflicts() == []
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_restored_hub_gets_what_it_had_answered_again_also_when_nothing_new_is_pushed(
    pair: Pair,
) -> None:
    """The replica holds outcomes of changes that the hub lost; their checkpoint never came (I1)."""
    pair.replica.sync()
    pair.at_hub("pragma wal_checkpoint(truncate)")
    backup = (pair.folder / "hub.db").read_bytes()
    pair.write(pair.replica, "insert into note values ('n1', 'mine')")
    pair.replica.push()
    pair.hub.close()
    pair.hub_db.close()
    for ending in ("-wal", "-shm"):
        (pair.folder / f"hub.db{ending}").unlink(missing_ok=True)
    (pair.folder / "hub.db").write_bytes(backup)
    with Hub(pair.folder / "hub.db") as restored:
        restored.adopt()
        pair.wire.hub = restored
        pair.replica.sync()
    pair.hub_db = sqlite3.connect(pair.folder / "hub.db")
    pair.closing.callback(pair.hub_db.close)
    assert pair.replica.status().pending == 0
    assert pair.at_hub("select id from note") == [("n1",)]


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_copy_learns_under_which_keys_the_original_pushed(pair: Pair, is_deleted: bool) -> None:
    """The original moves its new row into its block and pushes it; the copy, which had it under
    another key, follows it there, and gives that key to nobody else."""
    original = pair.clone("second")  # whose block does not begin where SQLite goes on
    pair.in_file(original, "insert into product (name) values ('of both')")
    if is_deleted:
        pair.in_file(original, "delete from product where name = 'of both'")
    copy = copy_of(pair, original, "copy")
    original.sync()
    copy.pull()
    pair.in_file(copy, "insert into product (name) values ('of the copy')")
    if not is_deleted:
        pair.in_file(copy, "update product set name = 'renamed' where name = 'of both'")
    pair.assert_agreed()
    made = [entry.key for entry in pair.hub.log() if entry.op == "insert" and entry.n is not None]
    assert len(set(made)) == len(made) == 2
    names = {name for (name,) in pair.at_hub("select name from product where id > 2")}
    assert names == ({"of the copy"} if is_deleted else {"of the copy", "renamed"})
