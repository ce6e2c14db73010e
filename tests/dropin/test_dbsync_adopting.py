"""Databases that dbsync made, built to its documented layout, become reunite's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from typer.testing import CliRunner

from reunite.cli.app import app
from reunite.dropin.dbsync.adopting import SYNC_TABLES, adopt
from reunite.dropin.dbsync.client import Client, PullSuggested, UniqueConstraintError
from reunite.dropin.dbsync.client.net import NetworkError
from reunite.dropin.dbsync.server import Server
from reunite.errors import CallerError
from tests.dropin.dbsync_world import (
    MODELS,
    Base,
    City,
    HandlerNet,
    House,
    Node,
    Parcel,
    World,
    engine_of,
    rows_of,
)

LAYOUT = """
    create table sync_content_types (
        content_type_id bigint primary key, table_name varchar(500), model_name varchar(500)
    );
    create table sync_nodes (
        node_id integer primary key, registered datetime, registry_user_id integer,
        secret varchar(128)
    );
    create table sync_versions (
        version_id integer primary key, node_id integer references sync_nodes, created datetime
    );
    create table sync_operations (
        "order" integer primary key, row_id integer, version_id integer references sync_versions,
        content_type_id bigint, command varchar(1)
    );
"""
SECRETS = {number: f"{number:x}" * 128 for number in (1, 2)}
# What all had at version 2.
CITIES = [(1, "Rome", 10), (2, "Oslo", 20), (3, "Bonn", 30)]
HOUSES = [(1, "a", 1), (2, "b", 2)]


def made_by_dbsync(path: Path, nodes: tuple[int, ...]) -> None:
    """Version 2 of a database, with these nodes and nothing unpushed."""
    engine = engine_of(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(LAYOUT)
        for model in MODELS:
            name, table = model.__name__, model.__tablename__
            number = crc32(f"{name}/{table}".encode())
            db.execute("insert into sync_content_types values (?, ?, ?)", (number, table, name))
        for node in nodes:
            registered = "2015-05-01 10:00:00.000000"
            db.execute("insert into sync_nodes values (?, ?, ?, ?)",
                       (node, registered, None, SECRETS[node]))  # fmt: skip
        db.executemany(
            "insert into sync_versions values (?, ?, '2015-05-02 10:00:00.000000')",
            [(1, nodes[0]), (2, nodes[0])],
        )
        db.executemany("insert into city values (?, ?, ?)", CITIES)
        db.executemany("insert into house values (?, ?, ?)", HOUSES)


def log(path: Path, *operations: tuple[type[Any], int, str], version: int | None = None) -> None:
    """Write operations as dbsync does."""
    with closing(sqlite3.connect(path)) as db, db:
        for model, key, command in operations:
            number = crc32(f"{model.__name__}/{model.__tablename__}".encode())
            db.execute(
                "insert into sync_operations (row_id, version_id, content_type_id, command) "
                "values (?, ?, ?, ?)",
                (key, version, number, command),
            )


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


class AdoptedWorld(World):
    """A world whose server and nodes were dbsync's."""

    def __init__(self, folder: Path, closing_stack: ExitStack) -> None:
        self.folder, self.closing = folder, closing_stack
        self.path = folder / "server.db"
        made_by_dbsync(self.path, (1, 2))
        log(self.path, (City, 1, "i"), (City, 2, "i"), version=1)
        self.found = adopt(str(self.path), side="server")
        self.engine = engine_of(self.path)
        self.server = Server(self.engine)
        for model in MODELS:
            self.server.track(model)
        self.closing.callback(self.engine.dispose)
        self.closing.callback(self.server.close)

    def adopted(self, number: int, *operations: tuple[type[Any], int, str], sql: Any = ()) -> Node:
        """A node that did this after version 2, and pushed nothing of it."""
        path = self.folder / f"node{number}.db"
        made_by_dbsync(path, (number,))
        execute(path, *sql)
        log(path, *operations)
        adopt(str(path), side="node")
        node = Node(path, self.server)
        self.closing.callback(node.engine.dispose)
        return node


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AdoptedWorld]:
    with ExitStack() as closing:
        yield AdoptedWorld(tmp_path, closing)


def test_nodes_go_on_with_what_they_had_not_pushed(world: AdoptedWorld) -> None:
    one = world.adopted(
        1,
        (City, 4, "i"), (House, 3, "i"), (House, 3, "u"), (City, 1, "u"), (House, 2, "d"),
        (City, 9, "i"), (City, 9, "d"),
        sql=(
            "insert into city values (4, 'Bern', 1)",
            "insert into house values (3, 'c', 4)",
            "update city set name = 'Roma' where id = 1",
            "delete from house where id = 2",
        ),
    )  # fmt: skip
    two = world.adopted(
        2, (City, 4, "i"), (City, 2, "u"),
        sql=(
            "insert into city values (4, 'Nice', 1)", "update city set pop = 21 where id = 2",
        ),
    )  # fmt: skip
    assert sorted((m.__name__, c) for m, _, c in one.client.unsynched_objects()) == [
        ("City", "i"), ("City", "u"), ("House", "d"), ("House", "i"),
    ]  # fmt: skip
    assert one.client.isregistered()
    for node in (one, two, one, two):
        node.synchronize()
    world.check_equal(one, two)
    assert {row[1]: row[2] for row in world.rows()} == {
        "Roma": 10, "Oslo": 21, "Bonn": 30, "Bern": 1, "Nice": 1,
    }  # fmt: skip
    with world.session() as session:
        houses = {house.address: house.city.name for house in session.query(House)}
    assert houses == {"a": "Roma", "c": "Bern"}


def test_the_first_call_of_an_adopted_node_may_be_a_pull(world: AdoptedWorld) -> None:
    node = world.adopted(1, (City, 3, "u"), sql=("update city set name = 'B' where id = 3",))
    execute(world.path, "update city set pop = 31 where id = 3", "delete from house where id = 2")
    with node.session() as session:  # after it was adopted, before it synced
        session.query(City).filter_by(id=3).one().name = "B2"
        session.commit()
    node.pull()
    assert (3, "B2", 30) in node.rows()
    node.synchronize()
    world.check_equal(node)
    assert (3, "B2", 30) in world.rows()
    assert [row[1] for row in world.rows(House)] == ["a"]


def test_versions_go_on_where_dbsyncs_ended(world: AdoptedWorld) -> None:
    assert world.found.version == 2
    node = world.adopted(1)
    assert node.client.get_latest_version_id() == 2
    node.add(City(name="new"))
    assert node.push()["new_version_id"] > 2


def test_adopting_twice_changes_nothing(world: AdoptedWorld) -> None:
    node = world.adopted(1, (City, 1, "u"), sql=("update city set name = 'Roma' where id = 1",))
    adopt(str(node.path), side="node")
    adopt(str(world.path), side="server")
    assert len(node.client.unsynched_objects()) == 1
    node.synchronize()
    world.check_equal(node)


def test_the_command_says_what_it_found_and_drops_what_it_may(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    made_by_dbsync(path, (1,))
    run = CliRunner().invoke
    assert "--side" in run(app, ["adopt", "dbsync", str(path)]).output
    log(path, (City, 1, "u"))
    done = run(app, ["adopt", "dbsync", str(path), "--drop", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["side"], found["unpushed"], found["version"]) == ("node", 1, 2)
    with closing(sqlite3.connect(path)) as db:
        names = {name for (name,) in db.execute("select name from sqlite_master")}
    assert not names & set(SYNC_TABLES)
    server = tmp_path / "server.db"
    made_by_dbsync(server, (1, 2))
    done = run(app, ["adopt", "dbsync", str(server)])
    assert "was a server of dbsync at version 2" in done.output
    refused = run(app, ["adopt", "dbsync", str(tmp_path / "none.db")])
    assert refused.exit_code == 1


def test_what_dbsync_did_not_make_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    execute(path, "create table city (id integer primary key)")
    with pytest.raises(CallerError, match="dbsync did not make"):
        adopt(str(path))


# -- what only the server's rows can tell ------------------------------------------------------


def test_rows_that_swapped_a_unique_value_and_values_that_moved_on_are_pushed(
    world: AdoptedWorld,
) -> None:
    node = world.adopted(
        1, (House, 1, "u"), (House, 2, "u"),
        sql=(
            "update house set address = 't' where id = 1",
            "update house set address = 'a' where id = 2",
            "update house set address = 'b' where id = 1",
        ),
    )  # fmt: skip
    node.synchronize()
    world.check_equal(node)
    assert [row[:2] for row in world.rows(House)] == [(1, "b"), (2, "a")]


@pytest.mark.parametrize("command", ["i", "u"])
def test_a_unique_value_of_a_deleted_row_may_have_been_given_again(
    world: AdoptedWorld, command: str
) -> None:
    taken = {
        "i": "insert into house values (3, 'a', 1)",
        "u": "update house set address = 'a' where id = 2",
    }
    node = world.adopted(
        1, (House, 1, "d"), (House, 3 if command == "i" else 2, command),
        sql=("delete from house where id = 1", taken[command]),
    )  # fmt: skip
    node.synchronize()
    world.check_equal(node)
    assert [row[1] for row in world.rows(House)] == (["b", "a"] if command == "i" else ["a"])


@pytest.mark.parametrize("is_pull_first", [True, False])
def test_a_unique_value_that_the_server_gave_too_is_told_and_mended(
    world: AdoptedWorld, is_pull_first: bool
) -> None:
    node = world.adopted(1, (House, 2, "u"), sql=("update house set address = 'new' where id = 2",))
    execute(world.path, "insert into house values (8, 'new', 1)")
    if not is_pull_first:
        with pytest.raises(PullSuggested):
            node.push()
    with pytest.raises(UniqueConstraintError) as error:
        node.pull()
    assert error.value.entries == [(House, 2, ("address",))]
    assert (2, "new", 2) in node.rows(House)
    with node.session() as session:
        session.get_one(House, 2).address = "newer"
        session.commit()
    node.synchronize()
    world.check_equal(node)
    assert {row[1] for row in world.rows(House)} == {"a", "new", "newer"}


def test_an_adopted_delete_takes_no_parent_from_others(world: AdoptedWorld) -> None:
    execute(world.path, "insert into house values (8, 'theirs', 3)")
    node = world.adopted(
        1, (City, 3, "d"), (House, 2, "d"), (City, 2, "d"),
        sql=("delete from house where id = 2", "delete from city where id in (2, 3)"),
    )  # fmt: skip
    node.synchronize()
    world.check_equal(node)
    assert [row[1] for row in world.rows()] == ["Rome", "Bonn"]
    assert [row[1] for row in world.rows(House)] == ["a", "theirs"]


@pytest.mark.parametrize("command", ["i", "u"])
def test_a_parent_that_the_server_lost_comes_back_with_an_unpushed_child(
    world: AdoptedWorld, command: str
) -> None:
    execute(world.path, "delete from city where id = 3")
    sql = {
        "i": "insert into house values (3, 'c', 3)",
        "u": "update house set city_id = 3 where id = 1",
    }
    node = world.adopted(1, (House, 3 if command == "i" else 1, command), sql=(sql[command],))
    node.synchronize()
    world.check_equal(node)
    with world.session() as session:
        child = session.query(House).filter_by(address="c" if command == "i" else "a").one()
        assert child.city.name == "Bonn"


@pytest.mark.parametrize("call", ["push", "pull"])
def test_an_adopted_update_follows_a_row_that_gets_another_key(
    world: AdoptedWorld, call: str
) -> None:
    """Another program has given the key meanwhile; whoever meant the node's row goes on to."""
    with world.session() as session:
        session.add(City(id=4, name="the server's"))
        session.commit()
    node = world.adopted(
        1,
        (City, 4, "i"), (House, 1, "u"), (House, 2, "u"),
        sql=(
            "insert into city values (4, 'the node''s', 1)",
            "update house set city_id = 4 where id = 1",
            "update house set address = 'B' where id = 2",
        ),
    )  # fmt: skip
    getattr(node, call)()
    node.synchronize()
    world.check_equal(node)
    with world.session() as session:
        found = {house.address: house.city.name for house in session.query(House)}
    assert found == {"a": "the node's", "B": "Oslo"}
    assert len(world.rows()) == 5


@pytest.mark.parametrize("is_pushed_first", [False, True])
def test_a_row_with_an_adopted_update_may_be_deleted(
    world: AdoptedWorld, *, is_pushed_first: bool
) -> None:
    node = world.adopted(
        1,
        (House, 1, "u"), (City, 3, "u"),
        sql=(
            "update house set address = 'A' where id = 1",
            "update city set name = 'Bonna' where id = 3",
        ),
    )  # fmt: skip
    with node.session() as session:
        session.delete(session.get_one(House, 1))
        session.add(House(address="new", city_id=3))
        session.commit()
    if is_pushed_first:
        node.net.lose = lambda: True
        with pytest.raises(NetworkError):
            node.push()
        node.net.lose = lambda: False
    node.synchronize()
    node.pull()
    world.check_equal(node)
    assert {row[1] for row in world.rows(House)} == {"b", "new"}
    assert "Bonna" in {row[1] for row in world.rows()}


def test_a_row_that_the_server_lost_comes_back_with_its_update(world: AdoptedWorld) -> None:
    node = world.adopted(1, (City, 3, "u"), sql=("update city set pop = 31 where id = 3",))
    execute(world.path, "delete from city where id = 3")
    node.synchronize()
    world.check_equal(node)
    assert ("Bonn", 31) in [row[1:] for row in world.rows()]


NEW_HOUSE = "insert into house (address, city_id) values ('new', 3)"


@pytest.mark.parametrize("call", ["push", "pull"])
@pytest.mark.parametrize(
    ("statements", "cities", "houses"),
    [
        (["update city set name = 'B' where id = 3"], [("B", 30)], []),
        (["update city set name = 'B' where id = 3", "delete from city where id = 3"], [], []),
        (["update city set id = 33 where id = 3"], [("Bonn", 30)], []),
        (["update house set address = 'b!' where id = 2"], [("Oslo", 20)], [("b!", "Oslo")]),
        ([NEW_HOUSE, "update city set name = 'B' where id = 3"], [("B", 30)], [("new", "B")]),
        (
            ["update city set name = 'B' where id = 3", NEW_HOUSE,
             "update city set pop = 31 where id = 3", "update house set city_id = 3 where id = 1"],
            [("B", 31)],
            [("a", "B"), ("new", "B")],
        ),
    ],
)  # fmt: skip
def test_what_is_edited_before_the_first_pull_of_rows_that_the_server_lost_comes_back(
    world: AdoptedWorld, call: str, statements: list[str], cities: list[Any], houses: list[Any]
) -> None:
    """A delete at the server, an update here: the row is inserted again, and its parents."""
    execute(world.path, "delete from house where id = 2", "delete from city where id in (2, 3)")
    node = world.adopted(1)
    execute(node.path, *statements)
    getattr(node, call)()
    node.synchronize()
    world.check_equal(node)
    assert node.client.unsynched_objects() == []
    assert [row[1:] for row in world.rows() if row[0] != 1] == cities
    with world.session() as session:
        found = [(house.address, house.city.name) for house in session.query(House)]
        assert sorted(found) == sorted(houses if ("a", "B") in houses else [("a", "Rome"), *houses])


def test_what_is_edited_between_a_first_pull_that_failed_and_the_next_is_what_counts(
    world: AdoptedWorld,
) -> None:
    node = world.adopted(1, (City, 3, "u"), sql=("update city set name = 'B' where id = 3",))
    node.net.lose = lambda: True
    with pytest.raises(NetworkError):
        node.pull()
    with node.session() as session:
        session.get_one(City, 3).name = "B2"
        session.commit()
    node.net.lose = lambda: False
    node.synchronize()
    world.check_equal(node)
    assert (3, "B2", 30) in world.rows()


def test_adopted_values_of_every_type_are_pushed_as_they_are(tmp_path: Path) -> None:
    """An Enum, an Interval, a pickle and a class with an `__init__` of its own."""
    with ExitStack() as closing_stack:
        for name in ("server", "node"):
            path = tmp_path / f"{name}.db"
            made_by_dbsync(path, (1,))
            engine = engine_of(path)
            closing_stack.callback(engine.dispose)
            Base.metadata.create_all(engine)
            number = crc32(b"Parcel/parcel")
            execute(
                path,
                f"insert into sync_content_types values ({number}, 'parcel', 'Parcel')",
                "insert into parcel values (1, 'red', '1970-01-01 00:00:03.000000', null)",
            )
        node_path = tmp_path / "node.db"
        after = "'blue', took = '1970-01-01 00:00:04.000000', notes = x'80'"
        execute(node_path, f"update parcel set color = {after}")
        log(node_path, (Parcel, 1, "u"))
        adopt(str(tmp_path / "server.db"), side="server")
        adopt(str(node_path), side="node")
        server = Server(engine_of(tmp_path / "server.db"))
        closing_stack.callback(server.engine.dispose)
        closing_stack.callback(server.close)
        client = Client(engine_of(node_path))
        closing_stack.callback(client.engine.dispose)
        for model in (*MODELS, Parcel):
            server.track(model)
            client.track(model)
        client.net = HandlerNet(server)
        client.push("push")
        rows = rows_of(tmp_path / "server.db", Parcel)
        assert rows == [(1, "blue", "1970-01-01 00:00:04.000000", b"\x80")]
        assert rows_of(node_path, Parcel) == rows
