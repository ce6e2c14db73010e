"""Resets: whatever makes a replica begin again, nothing that waits in it is dropped silently (I10).

Two replicas, each with an outbox; the laptop's has an insert, an update, a counter, a delete, a
child of a parent with a generated key, and beside it a parked change and a conflict of before.
After the reset each change has taken effect, or is parked with its value and a reason.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reunite import ConstraintError, Hub, HubUnreachableError, Replica
from reunite.testing import SeededIds
from reunite.testing.wire import Fault, Request
from tests.pair.conftest import Pair
from tests.pair.hubs import DDL

DAY_MS = 86_400_000


class World:
    """A pair with two replicas that both have something to send."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.laptop, self.phone = pair.clone("laptop"), pair.clone("phone")
        self._make_records()
        pair.write(self.phone, "update product set stock = stock - 100 where id = 2")
        pair.write(self.phone, "insert into note values ('phone', 'from the phone')")
        pair.write(self.laptop, "insert into note values ('new', 'mine')")
        pair.write(self.laptop, "update product set name = 'Quince' where id = 1")
        pair.write(self.laptop, "update product set stock = stock - 3 where id = 2")
        pair.write(self.laptop, "delete from sale where id = 1")
        pair.write(
            self.laptop,
            "insert into product (name, code) values ('Fig', 'F')",
            "insert into sale (product_id, amount) select max(id), 7 from product",
        )

    def _make_records(self) -> None:
        """A parked change and a conflict that the laptop has from before."""
        pair = self.pair
        pair.at_hub("insert into product (id, name, code) values (50, 'Taken', 'T')")
        pair.at_hub("insert into note values ('both', 'base')")
        self.laptop.sync()
        self.phone.sync()
        pair.write(self.laptop, "insert into product (name, code) values ('Second', 'U')")
        pair.at_hub("insert into product (id, name, code) values (51, 'First', 'U')")
        pair.write(self.laptop, "update note set title = 'laptop' where id = 'both'")
        pair.clock.advance(1000)
        pair.at_hub("update note set title = 'hub' where id = 'both'")
        pair.hub.number()
        self.laptop.sync()
        self.phone.sync()
        self.parked_before = self.laptop.parked()
        self.conflicts_before = self.laptop.conflicts()
        assert len(self.parked_before) == len(self.conflicts_before) == 1

    def settle(self, *, gone: tuple[str, ...] = ()) -> None:
        """Both sync until nothing is left, and both show what the hub has; `gone` tables do not
        count."""
        for _ in range(3):
            for replica in (self.laptop, self.phone):
                replica.sync()
        for replica in (self.laptop, self.phone):
            assert replica.status().pending == replica.status().answered == 0
            for table in {"note", "product", "sale"} - set(gone):
                at_hub = self.pair.at_hub(f"select * from {table} order by 1")
                assert self.pair.rows(replica, table) == at_hub

    def records_are_there(self) -> None:
        """What was parked and in conflict before is still shown."""
        assert self.parked_before == self.laptop.parked()[:1]
        assert self.conflicts_before == self.laptop.conflicts()[:1]

    def parked(self) -> dict[str, dict[str, Any]]:
        """What was parked since, by table: what each wanted. All have a reason."""
        parked = [change for change in self.laptop.parked() if change not in self.parked_before]
        assert all(change.reason and change.code for change in parked)
        return {change.table: change.set for change in parked}

    def notes(self) -> set[str]:
        return {id_ for (id_,) in self.pair.at_hub("select id from note")}

    def took_effect(self, *, stock: int = 10) -> None:
        """Every change of both replicas is at the hub, once."""
        at_hub = self.pair.at_hub
        assert {"new", "phone"} <= self.notes()
        assert at_hub("select name from product where id = 1") == [("Quince",)]
        assert at_hub("select stock from product where id = 2") == [(stock - 3 - 100,)]
        assert at_hub("select count(*) from sale where id = 1") == [(0,)]
        assert at_hub(
            "select s.amount from sale s join product p on p.id = s.product_id where p.code = 'F'"
        ) == [(7,)]
        assert self.parked() == {}


@pytest.fixture
def world(pair: Pair) -> World:
    return World(pair)


# --- The hub is another one -----------------------------------------------------------------------


def closed(pair: Pair) -> Path:
    """Take the hub's database away; where it was."""
    pair.hub.close()
    pair.hub_db.close()
    path = pair.folder / "hub.db"
    for suffix in ("", "-wal", "-shm"):
        (pair.folder / f"hub.db{suffix}").unlink(missing_ok=True)
    return path


def opened(pair: Pair, *tables: str) -> None:
    """A hub over the database that is there now."""
    path = pair.folder / "hub.db"
    pair.hub_db = pair.closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    pair.hub_db.execute("pragma foreign_keys = on")
    pair.hub = pair.closing.enter_context(Hub(path, clock=pair.clock, new_id=SeededIds(7)))
    for table in tables or ("note", "product", "sale"):
        pair.hub.track(table, merge={"stock": "counter"} if table == "product" else None)
    with suppress(ConstraintError):  # a restored one has the token already
        pair.hub.create_token("owner", token=pair.token)
    pair.wire.hub = pair.hub


@pytest.mark.hubs("sqlite")
def test_a_new_epoch(world: World) -> None:
    """reunite was uninstalled and came again: the same rows, another log."""
    pair = world.pair
    pair.hub.uninstall()
    for table in ("note", "product", "sale"):
        pair.hub.track(table, merge={"stock": "counter"} if table == "product" else None)
    pair.hub.create_token("owner", token=pair.token)
    world.settle()
    world.took_effect()
    world.records_are_there()


@pytest.mark.hubs("sqlite")
def test_a_hub_restored_from_a_backup(world: World) -> None:
    """What was acknowledged after the backup is gone for all; what waits is not."""
    pair = world.pair
    backup = pair.folder / "backup.db"
    pair.hub_db.execute("vacuum into ?", (str(backup),))
    world.phone.push()
    pair.write(world.phone, "insert into note values ('later', 'after the backup')")
    shutil.copy(backup, closed(pair))
    opened(pair)
    world.settle()
    world.took_effect()
    assert "later" in world.notes()
    world.records_are_there()


@pytest.mark.hubs("sqlite")
def test_another_database_in_its_place(world: World) -> None:
    """Rows of the same keys that are others: what would change them is merged or parked."""
    pair = world.pair
    with closing(sqlite3.connect(closed(pair), isolation_level=None)) as db:
        db.executescript(DDL)
        db.execute("update product set name = 'Melon' where id = 1")
        db.execute("delete from product where id = 2")
    opened(pair)
    world.settle()
    assert {"new", "phone"} <= world.notes()
    assert pair.at_hub("select count(*) from product where code = 'F'") == [(1,)]
    # Another name is there: the later one stays, and the other is in the conflict.
    conflicts = [c for c in world.laptop.conflicts() if c not in world.conflicts_before]
    told = {(c.table, c.key, c.column): c.replica for c in conflicts}
    assert told["product", (1,), "name"] == "Quince"
    # A counter of a row that is not there: in a conflict about the whole row.
    assert ("product", (2,), None) in told or "product" in world.parked()
    world.records_are_there()


# --- The log is shorter ---------------------------------------------------------------------------


def test_a_log_trimmed_beyond_the_replica(world: World) -> None:
    pair = world.pair
    for number in range(5):
        pair.at_hub("insert into note values (?, 'x')", f"n{number}")
        pair.hub.number()
    pair.clock.advance(100 * DAY_MS)
    assert pair.hub.trim(older_than_s=1) > 0
    world.settle()
    at_hub = pair.at_hub
    assert {"new", "phone"} <= world.notes()
    assert at_hub("select name from product where id = 1") == [("Quince",)]
    # The laptop was first. What the phone wants of a row that has changed since is in a conflict:
    # nobody can see any more whether it is the same row (LIMITATIONS.md).
    assert at_hub("select stock from product where id = 2") == [(10 - 3,)]
    (conflict,) = world.phone.conflicts()
    assert (conflict.key, conflict.column, conflict.policy) == ((2,), None, "delete_wins")
    assert conflict.replica["stock"] == -90
    assert at_hub("select count(*) from sale where id = 1") == [(0,)]
    assert at_hub("select count(*) from product where code = 'F'") == [(1,)]
    world.records_are_there()


# --- The file is damaged --------------------------------------------------------------------------


def gather(world: World) -> None:
    """Leave the laptop with pages in its inbox whose checkpoint has not come."""
    pair = world.pair
    for number in range(30):
        pair.at_hub("insert into note values (?, 'x')", f"n{number}")
        pair.hub.number()
    pulls = count(1)

    def cut(request: Request) -> Fault:
        return Fault.DROP if request.operation == "pull" and next(pulls) > 2 else Fault.NONE

    small = pair.wire.transport(pair.token, label="laptop")
    pair.wire.choose = cut
    with (
        Replica(world.laptop.path, transport=small, clock=pair.clock, page_rows=5) as replica,
        pytest.raises(HubUnreachableError),
    ):
        replica.pull()
    pair.wire.choose = None
    assert pair.in_file(world.laptop, "select count(*) from reunite_inbox")[0][0] > 0


@pytest.mark.parametrize(
    "damage",
    [
        "update reunite_inbox set page = 'x' || page",
        "update reunite_inbox set page = substr(page, 1, length(page) / 2)",
        "update reunite_inbox set page = x'ff00' where id = (select min(id) from reunite_inbox)",
        "update reunite_inbox set page = ''",
    ],
)
def test_a_page_in_the_inbox_that_cannot_be_read(world: World, damage: str) -> None:
    gather(world)
    world.pair.in_file(world.laptop, damage)
    world.settle()
    world.took_effect()
    world.records_are_there()


CURSOR, CHECKPOINT = "name = 'cursor'", "name = 'checkpoint'"
BOTH = f"{CURSOR} or {CHECKPOINT}"


@pytest.mark.parametrize("has_pages", [False, True], ids=["at rest", "with pages"])
@pytest.mark.parametrize(
    "damage",
    [
        f"delete from reunite_state where {CURSOR}",
        f"delete from reunite_state where {CHECKPOINT}",
        f"delete from reunite_state where {BOTH}",
        f"update reunite_state set value = '\"garbage\"' where {CURSOR}",
        f"update reunite_state set value = '\"garbage\"' where {CHECKPOINT}",
        f"update reunite_state set value = '\"garbage\"' where {BOTH}",
        f"update reunite_state set value = 'no json' where {CURSOR}",
        f"update reunite_state set value = 'no json' where {BOTH}",
        f"update reunite_state set value = '5' where {BOTH}",
    ],
)
def test_a_cursor_that_is_lost_or_cannot_be_read(
    world: World, damage: str, has_pages: bool
) -> None:
    if has_pages:
        gather(world)
    world.pair.in_file(world.laptop, damage)
    world.settle()
    world.took_effect()
    world.records_are_there()


# --- Tables come and go ---------------------------------------------------------------------------


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_table_untracked_and_tracked_again_unnoticed(world: World) -> None:
    """What other programs wrote in between is in no log, and reaches the replicas."""
    pair = world.pair
    pair.hub.untrack("note")
    pair.at_hub("insert into note values ('between', 'x')")
    pair.at_hub("delete from note where id = 'both'")
    pair.hub.track("note")
    world.settle()
    world.took_effect()
    assert "between" in world.notes()
    world.records_are_there()


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_table_untracked_and_tracked_again_with_syncs_between(world: World) -> None:
    """While the hub does not have the table, what waits for it is parked, whole transactions with
    it; the rest goes on, and the parked change can be made again later."""
    pair = world.pair
    pair.hub.untrack("note")
    world.settle(gone=("note",))
    assert world.parked() == {"note": {"id": "new", "title": "mine"}}
    pair.hub.track("note")
    world.settle()
    assert pair.at_hub("select stock from product where id = 2") == [(10 - 3 - 100,)]
    (again,) = [c for c in world.laptop.parked() if c.table == "note"]
    world.laptop.retry(again.id)
    world.settle()
    assert "new" in world.notes()
    assert world.parked() == {}
    world.records_are_there()


def remade(pair: Pair, table: str, *statements: str) -> None:
    pair.at_hub("pragma foreign_keys = off")
    pair.at_hub(f"drop table {table}")
    for statement in statements:
        pair.at_hub(statement)
    pair.at_hub("pragma foreign_keys = on")


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("tracked", ["before the next sync", "by the hub itself"])
def test_a_table_dropped_and_made_again_with_another_key(world: World, tracked: str) -> None:
    pair = world.pair
    remade(
        pair,
        "note",
        "create table note (title text primary key not null, id text, more int not null default 4)",
        "insert into note values ('hers', 'hers', 1)",
    )
    if tracked == "before the next sync":
        pair.hub.track("note")
    world.settle()
    assert pair.at_hub("select title, id, more from note order by 1") == [
        ("from the phone", "phone", 4),
        ("hers", "hers", 1),
        ("mine", "new", 4),
    ]
    assert world.parked() == {}
    world.records_are_there()


@pytest.mark.hubs("sqlite")
def test_a_table_dropped_and_made_again_without_a_column_and_with_a_generated_key(
    world: World,
) -> None:
    pair = world.pair
    remade(
        pair,
        "note",
        "create table note (number integer primary key, title text not null)",
        "insert into note values (1, 'hers')",
    )
    world.settle()
    assert pair.at_hub("select * from note") == [(1, "hers")]
    assert world.parked() == {"note": {"id": "new", "title": "mine"}}
    assert [c.set for c in world.phone.parked()] == [{"id": "phone", "title": "from the phone"}]
    world.records_are_there()
