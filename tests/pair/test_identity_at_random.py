"""Copies, restored files and restored hubs in any order, on a wire that fails: nothing is dropped
and nothing done twice (I1, I2, I10).

Each write has a label, in one transaction: a note, a product, its sale, and one less in stock. What
the hub holds in the end is counted against the stock, and against what the files wrote.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from reunite import Hub, Replica, ReuniteError
from reunite.testing import FakeClock, FakeWire, SeededIds
from reunite.testing.wire import SeededFaults

DDL = """
pragma journal_mode = wal;
create table note (id text primary key not null, title text);
create table product (id integer primary key, name text, stock integer not null default 0);
create table sale (
    id integer primary key, product_id integer references product (id), label text
);
insert into product values (1, 'Apple', 1000);
"""
TABLES = ("note", "product", "sale")
STEPS = 40
FILES_MAX = 4


@dataclass(kw_only=True)
class Story:
    """A hub, files, and copies of both. `owed`: what each file's writes must come to at the hub."""

    folder: Path
    chance: random.Random
    clock: FakeClock = field(default_factory=FakeClock)
    files: dict[str, Replica] = field(default_factory=dict)
    owed: dict[str, set[str]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    backups: list[tuple[Path, str, set[str]]] = field(default_factory=list)
    hub_backups: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / "hub.db"
        self.labels = (f"L{i}" for i in count())
        self.seeds = count()
        with closing(sqlite3.connect(self.path)) as db:
            db.executescript(DDL)
        self.hub = self._hub()
        self.token = self.hub.create_token("owner")
        self.wire = FakeWire(self.hub)
        for name in ("a", "b"):
            transport = self.wire.transport(self.token, label=name)
            Replica.clone(self._file(name), transport=transport, clock=self.clock).close()
            self._open(name)
            self.owed[name] = set()
        self.wire.choose = SeededFaults(chance=self.chance)

    def _hub(self) -> Hub:
        hub = Hub(self.path, clock=self.clock, new_id=SeededIds(next(self.seeds)))
        for table in TABLES:
            hub.track(table, merge={"stock": "counter"} if table == "product" else None)
        return hub

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    def _open(self, name: str) -> None:
        transport = self.wire.transport(self.token, label=name)
        self.files[name] = Replica(self._file(name), transport=transport, clock=self.clock)

    def close(self) -> None:
        for replica in self.files.values():
            replica.close()
        self.hub.close()

    # -- what happens -------------------------------------------------------------------------

    def step(self) -> None:
        name = self.chance.choice(list(self.files))
        self.clock.advance(self.chance.randrange(5_000))
        if self.wire.late and self.chance.random() < 0.1:
            self.wire.deliver_late()
        kinds = (self.write, self.talk, self.keep, self.put_back, self.copy, self.keep_hub)
        (kind,) = self.chance.choices((*kinds, self.restore_hub), (40, 25, 8, 10, 4, 4, 5))
        kind(name)

    def write(self, name: str) -> None:
        label, replica = next(self.labels), self.files[name]
        product = sale = None
        if self.chance.random() < 0.3:
            product, sale = replica.new_key("product"), replica.new_key("sale")
        foreign = self.chance.random() < 0.4
        own = sqlite3.connect(replica.path) if foreign else None
        with closing(own) if own else replica.transaction() as db:
            db.execute("insert into note values (?, 'x')", (label,))
            key = db.execute(
                "insert into product (id, name) values (?, ?)", (product, label)
            ).lastrowid
            db.execute("insert into sale values (?, ?, ?)", (sale, key, label))
            db.execute("update product set stock = stock - 1 where id = 1")
            if own:
                own.commit()
        self.owed[name].add(label)

    def talk(self, name: str) -> None:
        what = self.chance.choice(("sync", "sync", "push", "pull"))
        try:
            getattr(self.files[name], what)()
        except ReuniteError:
            return
        if what == "sync":
            self.done |= self.owed[name]
            self.owed[name] = set()

    def keep(self, name: str) -> None:
        path = self.folder / f"backup-{len(self.backups)}"
        _copy(self._file(name), path)
        self.backups.append((path, name, set(self.owed[name])))

    def put_back(self, _: str) -> None:
        if self.backups:
            path, name, owed = self.chance.choice(self.backups)
            self.files[name].close()
            _replace(self._file(name), path)
            self._open(name)
            self.owed[name] = set(owed)

    def copy(self, name: str) -> None:
        if len(self.files) < FILES_MAX:
            twin = f"copy-{len(self.files)}"
            _copy(self._file(name), self._file(twin))
            self._open(twin)
            self.owed[twin] = set(self.owed[name])

    def keep_hub(self, _: str) -> None:
        self.hub_backups.append(self.folder / f"hub-{len(self.hub_backups)}")
        _copy(self.path, self.hub_backups[-1])

    def restore_hub(self, _: str) -> None:
        """What was confirmed to a replica may be gone with the hub; what waits is still owed."""
        if self.hub_backups:
            self.hub.close()
            _replace(self.path, self.chance.choice(self.hub_backups))
            self.hub = self.wire.hub = self._hub()
            self.done.clear()
            self.owed = {name: _waiting(self._file(name)) for name in self.files}
            self.backups = [(path, name, _waiting(path)) for path, name, _ in self.backups]

    # -- what must hold -----------------------------------------------------------------------

    def check(self) -> None:
        self.wire.choose = None
        self.wire.deliver_all_late()
        for _ in range(3):
            for replica in self.files.values():
                replica.sync()
        labels = self._at_hub("select name from product where id <> 1 order by name")
        assert len(labels) == len(set(labels))
        assert self.done.union(*self.owed.values()) <= {label for (label,) in labels}
        assert self._at_hub("select stock from product where id = 1") == [(1_000 - len(labels),)]
        assert self._at_hub("select id from note order by id") == labels
        born = "select name from product join sale on product_id = product.id and name = label"
        assert self._at_hub(f"{born} order by name") == labels
        for replica in self.files.values():
            assert replica.status().pending == replica.status().parked == 0
            for table in TABLES:
                query = f"select * from {table} order by 1"
                assert _rows(replica.path, query) == self._at_hub(query)

    def _at_hub(self, query: str) -> list[tuple[object, ...]]:
        return _rows(self.path, query)


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def _waiting(path: Path) -> set[str]:
    """The labels of changes in a file's outbox."""
    keys = _rows(path, "select key from reunite_change where table_name = 'note'")
    return {json.loads(str(key))[0] for (key,) in keys}


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("vacuum into ?", (str(target),))


def _replace(path: Path, other: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(other, path)


# 47: a hub restored from a copy of its file, whose numbers a replica's copy used again.
@pytest.mark.parametrize("seed", [*range(8), 47])
def test_files_and_hubs_that_come_back_from_copies_lose_and_double_nothing(
    tmp_path: Path, seed: int
) -> None:
    story = Story(folder=tmp_path, chance=random.Random(seed))
    try:
        for _ in range(STEPS):
            story.step()
        story.check()
    finally:
        story.close()
