"""A pair: a hub over a database file and a replica of it, joined by a fake wire.

Most behaviour is tested here, because most promises are about both sides. The world is small: a
note with a text key, a product with a generated key, a unique code and a counter, and its sales.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reunite.hub import Hub
from reunite.replica import Replica
from reunite.testing import FakeClock, FakeWire, SeededIds

DDL = """
create table note (id text primary key not null, title text);
create table product (
    id integer primary key, name text, code text unique, stock integer not null default 0
);
create table sale (
    id integer primary key,
    product_id integer references product (id) on delete cascade,
    amount integer not null check (amount >= 0)
);
insert into product (id, name, code, stock) values (1, 'Apple', 'A', 10), (2, 'Pear', 'B', 10);
insert into sale (id, product_id, amount) values (1, 1, 3), (2, 2, 4);
"""

Rows = list[tuple[Any, ...]]


@dataclass(kw_only=True)
class Pair:
    """A hub and its replicas; `replica` is the first of them."""

    folder: Path
    hub: Hub
    hub_db: sqlite3.Connection
    wire: FakeWire
    clock: FakeClock
    token: str
    closing: ExitStack
    replicas: dict[str, Replica] = field(default_factory=dict)

    @property
    def replica(self) -> Replica:
        return self.clone("laptop")

    def clone(self, name: str, **options: Any) -> Replica:
        """The replica of this name, cloned when it is first asked for."""
        if name not in self.replicas:
            self.replicas[name] = self.closing.enter_context(
                Replica.clone(
                    self.folder / f"{name}.db",
                    transport=self.wire.transport(self.token, label=name),
                    clock=self.clock,
                    **options,
                )
            )
        return self.replicas[name]

    def at_hub(self, sql: str, *values: Any) -> Rows:
        """A statement of another program, at the hub's database."""
        return self.hub_db.execute(sql, values).fetchall()

    def in_file(self, replica: Replica, *statements: str) -> Rows:
        """Statements of another program, in a replica's file; the rows of the last one."""
        db = sqlite3.connect(replica.path, isolation_level=None)
        db.execute("pragma foreign_keys = on")
        try:
            rows: Rows = []
            for statement in statements:
                rows = db.execute(statement).fetchall()
            return rows
        finally:
            db.close()

    def write(self, replica: Replica, *statements: str) -> None:
        """Statements of one local transaction: a group."""
        with replica.transaction() as db:
            for statement in statements:
                db.execute(statement)

    def restart_hub(self) -> None:
        """Another process over the same database."""
        self.hub.close()
        self.hub = self.closing.enter_context(
            Hub(self.folder / "hub.db", clock=self.clock, new_id=SeededIds(3))
        )
        self.hub.adopt()
        self.wire.hub = self.hub

    def rows(self, replica: Replica, table: str) -> Rows:
        return self.in_file(replica, f"select * from {table} order by 1")

    def assert_agreed(self) -> None:
        """Everybody syncs; then nothing is pending and all tables are the hub's (I4)."""
        for _ in range(2):
            for replica in self.replicas.values():
                replica.sync()
        for replica in self.replicas.values():
            assert replica.status().pending == 0
            for table in ("note", "product", "sale"):
                assert self.rows(replica, table) == self.at_hub(f"select * from {table} order by 1")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A hub with its first replica, `laptop`, ready."""
    clock = FakeClock()
    path = tmp_path / "hub.db"
    hub_db = sqlite3.connect(path, isolation_level=None)
    hub_db.executescript("pragma journal_mode = wal;" + DDL)
    hub_db.execute("pragma foreign_keys = on")
    with ExitStack() as closing:
        closing.callback(hub_db.close)
        hub = closing.enter_context(Hub(path, clock=clock, new_id=SeededIds(1)))
        hub.track("note")
        hub.track("product", merge={"stock": "counter"})
        hub.track("sale")
        made = Pair(
            folder=tmp_path,
            hub=hub,
            hub_db=hub_db,
            wire=FakeWire(hub),
            clock=clock,
            token=hub.create_token("owner"),
            closing=closing,
        )
        made.clone("laptop")
        yield made
