"""A node's first call may be any: nothing is sent by a pull, and nothing unpushed is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from reunite.dropin.dbsync.client import PushRejected, UniqueConstraintError
from reunite.dropin.dbsync.client.net import NetworkError
from reunite.dropin.dbsync.server import handlers
from tests.dropin.dbsync_world import City, House, Node, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing_stack:
        yield World(tmp_path, closing_stack)


def operations_of(node: Node) -> list[str]:
    """What a node sends from here on, as it goes."""
    heard: list[str] = []

    def hear(data: Any) -> Any:
        if isinstance(data, dict) and "operation" in data:
            heard.append(data["operation"])
        return data

    node.net.tamper = hear
    return heard


def unsynched(node: Node) -> set[tuple[str, str]]:
    return {(model.__name__, command) for model, _, command in node.client.unsynched_objects()}


@pytest.mark.parametrize("key", [5, 70])
def test_a_first_pull_that_meets_a_unique_value_applies_nothing_and_says_which(
    world: World, key: int
) -> None:
    """Under the same key or another one, the node's row is not the server's."""
    with world.session() as session:
        session.add(House(id=key, address="Via 2"))
        session.commit()
    node = world.node("a")
    node.add(House(id=5, address="Via 2"), City(name="mine"))
    with pytest.raises(UniqueConstraintError) as error:
        node.pull()
    assert error.value.entries == [(House, 5, ("address",))]
    assert node.rows(House) == [(5, "Via 2", None)]
    assert unsynched(node) == {("House", "i"), ("City", "i")}
    with node.session() as session:
        for model, pk, _ in error.value.entries:
            session.get_one(model, pk).address = "Via 3"
        session.commit()
    node.synchronize()
    world.check_equal(node)
    assert {row[1] for row in world.rows(House)} == {"Via 2", "Via 3"}


def test_a_pull_sends_nothing_first_or_later(world: World) -> None:
    heard: list[Any] = []
    world.server.before_push.listen(lambda session, message: heard.append(message))
    node = world.node("a")
    sent = operations_of(node)
    node.add(City(name="mine"), House(address="of nowhere", city_id=None))
    node.pull()
    node.add(City(name="later"))
    node.pull()
    assert "push" not in sent
    assert (heard, world.rows(), world.rows(House)) == ([], [], [])
    assert unsynched(node) == {("City", "i"), ("House", "i")}
    node.synchronize()
    assert len(heard) == 1
    world.check_equal(node)


def test_what_the_server_refuses_waits_as_it_is_whatever_is_called_first(world: World) -> None:
    node = world.node("a")
    with closing(sqlite3.connect(node.path)) as db, db:  # no foreign keys here
        db.execute("insert into house (address, city_id) values ('of nowhere', 12345)")
    node.add(City(name="mine"))
    node.pull()
    with pytest.raises(PushRejected, match="foreign-key"):
        node.push()
    node.pull()
    assert unsynched(node) == {("City", "i"), ("House", "i")}
    assert (world.rows(), world.rows(House)) == ([], [])


def test_a_push_is_taken_by_handle_push_alone(world: World, tmp_path: Path) -> None:
    node = world.node("a")
    node.pull()
    node.add(City(name="sneaked in"))
    ask = node.net.ask

    def by(url: str) -> Any:
        return lambda method, _, data=None, **options: ask(method, url, data, **options)

    node.net.ask = by("pull")  # type: ignore[method-assign]
    with pytest.raises(handlers.PullRejected, match="doesn't push"):
        node.push()
    assert world.rows() == []
    message = node.client.signed("query", b'{"table": "city"}', {})
    for handle in (world.server.handle_pull, world.server.handle_push):
        with pytest.raises((handlers.PullRejected, handlers.PushRejected)):
            handle(message)


def test_a_first_pull_keeps_strict_strict(world: World) -> None:
    world.server.set_push_policy("strict")
    one, two = world.node("a"), world.node("b")
    one.add(City(name="one's"))
    two.add(City(name="two's"))
    one.push()
    two.pull()
    assert [row[1] for row in world.rows()] == ["one's"]
    two.push()
    assert {row[1] for row in world.rows()} == {"one's", "two's"}


def test_under_the_strict_policy_a_push_whose_answer_was_lost_answers_as_then(
    world: World,
) -> None:
    world.server.set_push_policy("strict")
    node, other = world.node("a"), world.node("b")
    node.add(City(name="first"))
    node.net.lose = lambda: "push" in sent
    sent = operations_of(node)
    with pytest.raises(NetworkError):
        node.push()
    node.net.lose = lambda: False
    version = world.server.get_latest_version_id()
    other.pull()
    other.add(City(name="other's"))
    other.push()
    assert node.push() == {"new_version_id": version}
    node.add(City(name="second"))
    with pytest.raises(PushRejected, match="the latest one"):
        node.push()
    node.pull()
    node.push()
    assert {row[1] for row in world.rows()} == {"first", "other's", "second"}
    node.synchronize()
    world.check_equal(node)


def test_repair_may_be_the_first_call(world: World) -> None:
    with world.session() as session:
        session.add(House(id=70, address="Via 1"))
        session.commit()
    clean, dirty = world.node("a"), world.node("b")
    sent = operations_of(dirty)
    clean.repair()
    world.check_equal(clean)
    dirty.add(City(name="mine"), House(address="Via 1"))
    dirty.repair()
    world.check_equal(dirty)
    assert "push" not in sent
    assert {(each.model, each.command) for each in dirty.client.rescued_changes()} == {
        (City, "i"), (House, "i"),
    }  # fmt: skip
    assert dirty.client.unsynched_objects() == []


def test_repair_that_puts_changes_back_sets_those_aside_that_collide(world: World) -> None:
    node = world.node("a")
    node.pull()
    node.add(House(address="Via 9"), City(name="mine"))
    with world.session() as session:
        session.add(House(id=70, address="Via 9"))
        session.commit()
    node.repair(reapply=True)
    (rescued,) = node.client.rescued_changes()
    assert (rescued.model, rescued.values["address"]) == (House, "Via 9")
    assert unsynched(node) == {("City", "i")}
    node.synchronize()
    world.check_equal(node)


def test_a_repair_behind_the_triggers_shows_no_node_what_another_has_pushed(
    tmp_path: Path,
) -> None:
    """A gap in the server's log makes nodes compare tables: of one that is only pushed, each
    still gets its own rows alone."""
    with ExitStack() as closing_stack:
        world = World(tmp_path, closing_stack, directions={City: ("push",)})
        one, two = world.node("a"), world.node("b")
        for node in (one, two):
            node.add(City(name=f"{node.path.stem}'s"))
            node.synchronize()
        sent = operations_of(one)
        with (
            world.server.hub.migrating(),
            closing(sqlite3.connect(world.path)) as db,
            db,
        ):
            db.execute("update city set pop = 7")
        one.pull()
        assert "repair" in sent
        assert [row[1:] for row in one.rows()] == [("a's", 7)]


@pytest.mark.parametrize("pulls", [False, True])
def test_a_node_that_registers_again_sends_what_is_unpushed(world: World, pulls: bool) -> None:
    """It is another node to the server, and no other user's."""
    node = world.node("a")
    node.add(City(name="one"))
    node.push()
    node.add(City(name="two"))
    node.register()
    if pulls:
        node.pull()
    node.push()
    node.pull()
    assert [name for _, name, _ in world.rows()] == ["one", "two"]
    world.check_equal(node)
