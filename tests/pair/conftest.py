"""A pair: a hub over a database and a replica of it, joined by a fake wire.

Most behaviour is tested here, because most promises are about both sides. The world is small: a
note with a text key, a product with a generated key, a unique code and a counter, and its sales.

Each story is told with a hub of every kind (`hubs.py`), but for those marked `hubs(...)`: they are
about something that only these kinds have. A story that is slow is told with one kind alone, unless
REUNITE_HUBS names more; `make simulate` tells them all with all.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reunite.hub import Hub
from reunite.replica import Replica
from reunite.testing import FakeClock, FakeWire, SeededIds
from tests.pair.hubs import (
    KINDS,
    HubDatabase,
    MemoryHubDatabase,
    PostgresHubDatabase,
    Rows,
    SqliteHubDatabase,
)


@dataclass(kw_only=True)
class Pair:
    """A hub and its replicas; `replica` is the first of them."""

    folder: Path
    hub: Hub
    database: HubDatabase
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

    @property
    def hub_db(self) -> sqlite3.Connection:
        """The other program's connection to the hub's file; for stories about SQLite."""
        assert isinstance(self.database, SqliteHubDatabase), "mark the story: hubs('sqlite')"
        return self.database.connection

    @hub_db.setter
    def hub_db(self, connection: sqlite3.Connection) -> None:
        assert isinstance(self.database, SqliteHubDatabase)
        self.database.connection = connection

    def at_hub(self, sql: str, *values: Any) -> Rows:
        """A statement of another program, at the hub's database."""
        return self.database.execute(sql, values)

    def at_hub_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """A statement of another program for each of these values, in one transaction."""
        self.database.executemany(sql, rows)

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
            Hub(self.database.store(), clock=self.clock, new_id=SeededIds(3))
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tell a story about `pair` once for each kind of hub."""
    if "hub_kind" not in metafunc.fixturenames:
        return
    chosen = os.environ.get("REUNITE_HUBS", "").split()
    marks = list(metafunc.definition.iter_markers("hubs"))  # the closest one first
    possible = marks[0].args if marks else KINDS
    is_slow = metafunc.definition.get_closest_marker("slow") is not None
    if chosen:
        kinds = [kind for kind in possible if kind in chosen]
    elif is_slow and "sqlite" in possible:
        kinds = ["sqlite"]
    else:
        kinds = list(possible)
    metafunc.parametrize("hub_kind", kinds)


@pytest.fixture
def database(
    hub_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[HubDatabase]:
    """Where the tables of the pair's hub are."""
    made: HubDatabase
    if hub_kind == "memory":
        made = MemoryHubDatabase(tmp_path)
    elif hub_kind == "sqlite":
        made = SqliteHubDatabase(tmp_path / "hub.db")
    else:
        made = PostgresHubDatabase(request.getfixturevalue("postgresql"))
    yield made
    made.close()


@pytest.fixture
def pair(database: HubDatabase, tmp_path: Path) -> Iterator[Pair]:
    """A hub with its first replica, `laptop`, ready."""
    clock = FakeClock()
    with ExitStack() as closing:
        hub = closing.enter_context(Hub(database.store(), clock=clock, new_id=SeededIds(1)))
        hub.track("note")
        hub.track("product", merge={"stock": "counter"})
        hub.track("sale")
        made = Pair(
            folder=tmp_path,
            hub=hub,
            database=database,
            wire=FakeWire(hub),
            clock=clock,
            token=hub.create_token("owner"),
            closing=closing,
        )
        made.clone("laptop")
        yield made
