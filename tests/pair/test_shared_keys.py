"""Tables whose key is their parent's: one row of it for one of the parent, as in an inheritance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from reunite import Hub, Replica
from reunite.testing import FakeWire

DDL = """
create table place (id integer primary key, name text check (name <> 'bad'));
create table shop (place_id integer primary key references place (id), owner text);
create table shelf (
    shop_id integer references shop (place_id), n integer, label text, primary key (shop_id, n)
);
create table item (
    shop_id integer, shelf_n integer, name text primary key,
    foreign key (shop_id, shelf_n) references shelf (shop_id, n)
);
insert into place values (1, 'first');
"""
FAMILY = """
begin;
insert into place (name) values ('new');
insert into shop values (2, 'Ada');
insert into shelf values (2, 1, 'top');
insert into item values (2, 1, 'pen');
update shelf set label = 'upper' where shop_id = 2;
update item set name = 'ink' where name = 'pen';
commit
"""
TABLES = ("place", "shop", "shelf", "item")


class World:
    """A hub and its replicas, all as files that other programs write to."""

    def __init__(self, folder: Path, closing_all: ExitStack) -> None:
        self._closing = closing_all
        self._folder = folder
        self.hub_db = self._open("hub")
        self.hub_db.executescript(DDL)
        self.hub = closing_all.enter_context(Hub(folder / "hub.db"))
        for table in TABLES:
            self.hub.track(table)
        self._wire = FakeWire(self.hub)
        self._token = self.hub.create_token()

    def _open(self, name: str) -> sqlite3.Connection:
        path = self._folder / f"{name}.db"
        return self._closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))

    def clone(self, name: str) -> tuple[Replica, sqlite3.Connection]:
        path = self._folder / f"{name}.db"
        transport = self._wire.transport(self._token)
        replica = self._closing.enter_context(Replica.clone(path, transport=transport))
        return replica, self._open(name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing_all:
        yield World(tmp_path, closing_all)


def content(db: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {table: db.execute(f"select * from {table} order by 1").fetchall() for table in TABLES}


def test_rows_that_share_their_parents_key_move_with_it(world: World) -> None:
    """The file gave the parent a key that another replica may give, too."""
    (till, till_db), (kiosk, kiosk_db) = world.clone("till"), world.clone("kiosk")
    for db in (till_db, kiosk_db):
        db.executescript(FAMILY.replace("'ink'", "'ink' || random()"))
    for replica in (till, kiosk, till, kiosk):
        replica.sync()

    assert not (*till.parked(), *kiosk.parked())
    assert content(till_db) == content(kiosk_db) == content(world.hub_db)
    assert world.hub_db.execute("pragma foreign_key_check").fetchall() == []
    assert world.hub_db.execute(
        "select count(*), count(distinct place.id) from item"
        " join shelf on shelf.shop_id = item.shop_id and shelf.n = item.shelf_n"
        " join shop on shop.place_id = shelf.shop_id join place on place.id = shop.place_id"
        " where owner = 'Ada' and label = 'upper' and place.name = 'new'"
    ).fetchall() == [(2, 2)]


def test_rows_that_share_a_rejected_parents_key_leave_nothing_behind(world: World) -> None:
    till, till_db = world.clone("till")
    till_db.executescript(FAMILY.replace("'new'", "'bad'"))
    world.hub_db.execute("insert into place (name) values ('taken')")

    for _ in range(2):
        till.sync()

    assert content(till_db) == content(world.hub_db)
    keys = {parked.table: parked.key for parked in till.parked() if parked.op == "insert"}
    (place,) = keys["place"]
    assert (keys["shop"], keys["shelf"]) == ((place,), (place, 1))
