"""Copied and restored files, hubs that changed, tables that changed: nothing doubled or dropped."""

from __future__ import annotations

import shutil

import pytest

from reunite import NotAReplicaError, Replica, UnknownTableError
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
    assert pair.at_hub("select * from note") == [("n1", "mine", None)]
    assert pair.rows(pair.replica, "note") == [("n1", "mine", None)]
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
