"""A device's file through releases: two at once, models left out, and what SQLite cannot alter."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from reunite.core.lens import Add, Lens, Remove, Rename
from reunite.dropin.mobync import InMemorySynchronizer, Mobync, MobyncClient
from reunite.errors import CallerError
from tests.dropin.mobync_world import OWNER, rows

RENAMED: list[Lens] = [Rename(2, "a", "b")]
SWAPPED: list[Lens] = [Rename(2, "a", "t"), Rename(2, "b", "a"), Rename(2, "t", "b")]


class World:
    """A server in memory that has the newest fields, and devices of any release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.synchronizer = InMemorySynchronizer(["m", "n"])
        self.lenses: dict[str, list[Lens]] = {}
        self.opened = ExitStack()

    def device(self, name: str, models: Any, version: int | None = None) -> MobyncClient:
        lenses = None if version is None else self.lenses
        client = MobyncClient(
            self.folder / f"{name}.db", owner=OWNER, models=models, send=self._send,
            version=version, lenses=lenses,
        )  # fmt: skip
        return self.opened.enter_context(client)

    def sql(self, name: str, statement: str) -> list[Any]:
        """What another program does to a device's file."""
        with closing(sqlite3.connect(self.folder / f"{name}.db")) as db, db:
            return db.execute(statement).fetchall()

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        mobync = Mobync(self.synchronizer, lenses=self.lenses)
        diffs = json.loads(json.dumps(body["diffs"]))
        version = body.get("version")
        answer = mobync.apply(body["logical_clock"], diffs, OWNER, version=version)
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.opened:
        yield world


@pytest.mark.parametrize("version", [None, 1])
def test_a_client_is_told_when_another_release_has_opened_its_file(
    world: World, version: int | None
) -> None:
    world.lenses = {"m": SWAPPED}
    models = {"m": ["a", "b"]}
    old = world.device("x", models, version)
    old.create("m", {"id": "1", "a": "A", "b": "B"})
    new = world.device("x", models, 2)
    tries: list[Callable[[], object]] = [
        lambda: old.rows("m"),
        lambda: old.update("m", "1", {"a": "late"}),
        lambda: old.create("m", {"a": "late"}),
        lambda: old.delete("m", "1"),
        old.sync,
        old.waiting,
    ]
    for call in tries:
        with pytest.raises(CallerError, match="Another release has opened this file"):
            call()
    new.update("m", "1", {"a": "new"})
    new.sync()
    assert new.rows("m") == [{"id": "1", "a": "new", "b": "A"}]
    assert rows(world.synchronizer, "m") == {"1": {"a": "new", "b": "A"}}


def test_a_second_client_of_the_same_release_disturbs_nobody(world: World) -> None:
    first = world.device("x", {"m": ["a"]})
    second = world.device("x", {"m": ["a"]}, 1)
    for client in (first, second, world.device("x", {"m": ["a"]})):
        client.create("m", {"a": "A"})
    assert len(first.rows("m")) == len(second.rows("m")) == 3


def test_a_column_that_another_program_dropped_is_not_read_as_its_name(world: World) -> None:
    device = world.device("x", {"m": ["a", "b"]})
    device.create("m", {"a": "A", "b": "B"})
    for op in ("insert", "update", "delete"):
        world.sql("x", f"DROP TRIGGER mobync_{op}_m")
    world.sql("x", "ALTER TABLE m DROP COLUMN a")
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        device.rows("m")


def test_a_model_that_was_left_out_follows_its_lenses_when_it_is_named(world: World) -> None:
    device = world.device("x", {"m": ["a"], "n": ["q"]}, 1)
    for row in ("1", "2"):
        device.create("m", {"id": row, "a": "A"})
    device.sync()
    device.update("m", "2", {"a": "waits"})
    device.close()

    world.lenses = {"m": RENAMED}
    for made in rows(world.synchronizer, "m"):
        world.synchronizer.delete("m", json.dumps({"id": made}))
        world.synchronizer.create("m", json.dumps({"id": made, "b": "A"}))
    part = world.device("x", {"n": ["q"]}, 2)
    part.create("n", {"id": "of the part"})
    part.sync()
    assert rows(world.synchronizer, "m") == {"1": {"b": "A"}, "2": {"b": "A"}}
    other = world.device("y", {"m": ["b"]}, 2)
    other.sync()
    other.update("m", "1", {"b": "of another"})
    other.sync()
    part.sync()
    part.close()

    device = world.device("x", {"m": ["b"], "n": ["q"]}, 2)
    assert device.rows("m") == [{"id": "1", "b": "A"}, {"id": "2", "b": "waits"}]
    device.sync()
    expected = {"1": {"b": "of another"}, "2": {"b": "waits"}}
    assert {row.pop("id"): row for row in device.rows("m")} == expected
    assert rows(world.synchronizer, "m") == expected
    assert rows(world.synchronizer, "n").keys() == {"of the part"}
    assert [row["id"] for row in device.rows("n")] == ["of the part"]
    assert device.waiting() == []
    assert device.sync().received == 0, "it reads all anew once"


def test_a_model_that_a_release_adds_gets_the_rows_that_were_told_before(world: World) -> None:
    other = world.device("y", {"m": ["a"], "n": ["q"]})
    other.create("n", {"id": "1", "q": "Q"})
    other.sync()
    device = world.device("x", {"m": ["a"]})
    device.sync()
    device.close()
    device = world.device("x", {"m": ["a"], "n": ["q"]})
    device.sync()
    assert device.rows("n") == [{"id": "1", "q": "Q"}]


def test_a_table_of_the_application_that_becomes_a_model_keeps_its_rows(world: World) -> None:
    other = world.device("y", {"n": ["q"]})
    other.create("n", {"q": "Q"})
    other.sync()
    device = world.device("x", {"m": ["a"]})
    device.sync()
    world.sql("x", "CREATE TABLE n (id TEXT PRIMARY KEY, q TEXT)")
    world.sql("x", "INSERT INTO n VALUES ('own', 'of the application')")
    device = world.device("x", {"m": ["a"], "n": ["q"]})
    device.sync()
    assert device.rows("n") == [{"id": "own", "q": "of the application"}]


@pytest.mark.parametrize(
    ("kind", "default"),
    [("TEXT NOT NULL", ""), ("TEXT NOT NULL", "it's"), ("INTEGER NOT NULL", 7),
     ("BOOLEAN NOT NULL", False), ("REAL NOT NULL", -1.5), ("JSON NOT NULL", ["x", {"y": "'"}]),
     ("TEXT NOT NULL DEFAULT 'd'", ""), ("JSON", "1"), ("json", "x"), ("JSON", None),
     ("BOOLEAN", True), ("", "1")],
)  # fmt: skip
def test_an_added_field_has_its_default_at_once(world: World, kind: str, default: Any) -> None:
    world.device("x", {"m": {"a": "TEXT"}}).create("m", {"id": "1"})
    world.lenses = {"m": [Add(2, "n", default=default)]}
    device = world.device("x", {"m": {"a": "TEXT", "n": kind}}, 2)
    for _ in range(2):
        assert device.rows("m") == [{"id": "1", "a": None, "n": default}]
        device.sync()
    assert rows(world.synchronizer, "m") == {"1": {"a": None, "n": default}}


def test_a_field_that_was_added_and_renamed_since_has_the_type_of_its_name(world: World) -> None:
    world.device("x", {"m": ["a"]}).create("m", {"id": "1"})
    world.lenses = {"m": [Add(2, "v", default=True), Rename(3, "v", "vip")]}
    device = world.device("x", {"m": {"a": "TEXT", "vip": "BOOLEAN NOT NULL"}}, 3)
    assert device.rows("m") == [{"id": "1", "a": None, "vip": True}]
    assert device.rows("m")[0]["vip"] is True


@pytest.mark.parametrize(
    ("before", "after", "lens", "made", "cure"),
    [
        ({"a": "TEXT", "f": "TEXT UNIQUE"}, {"a": "TEXT"}, Remove(2, "f"), None, None),
        ({"a": "TEXT"}, {"a": "TEXT", "f": "TEXT UNIQUE"}, Add(2, "f"), None, None),
        ({"a": "TEXT"}, {"a": "TEXT", "f": "TEXT NOT NULL"}, Add(2, "f"), None, None),
        ({"a": "TEXT", "f": "TEXT"}, {"a": "TEXT"}, Remove(2, "f"),
         "CREATE VIEW v AS SELECT f FROM m", "DROP VIEW v"),
        ({"a": "TEXT", "f": "TEXT"}, {"a": "TEXT"}, Remove(2, "f"),
         "CREATE INDEX v ON m (f)", "DROP INDEX v"),
    ],
)  # fmt: skip
def test_what_sqlite_cannot_alter_is_refused_and_nothing_is_changed(
    world: World, before: Any, after: Any, lens: Lens, made: str | None, cure: str | None
) -> None:
    old = world.device("x", {"m": before}, 1)
    old.create("m", {"id": "1", "a": "A"})
    if made:
        world.sql("x", made)
    layout = world.sql("x", "SELECT * FROM sqlite_master")
    # A step that SQLite can do comes first, and is undone.
    world.lenses = {"m": [Rename(2, "a", "b"), lens]}
    after = {"b": "TEXT"} | {name: kind for name, kind in after.items() if name != "a"}
    with pytest.raises(CallerError, match="SQLite cannot change the table 'm'"):
        world.device("x", {"m": after}, 2)
    assert world.sql("x", "SELECT * FROM sqlite_master") == layout
    old.update("m", "1", {"a": "A2"})
    if cure:
        world.sql("x", cure)
        new = world.device("x", {"m": after}, 2)
        assert new.rows("m") == [{"id": "1", "b": "A2"}]
