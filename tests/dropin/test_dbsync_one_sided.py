"""Classes that one side tracks, or tracks otherwise, do not keep the others from syncing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from reunite.dropin.dbsync.client import PushRejected
from reunite.dropin.dbsync.client.net import NetworkError
from tests.dropin.dbsync_world import City, House, Node, Person, World


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("call", ["push", "pull", "repair"])
def test_a_class_that_only_the_node_tracks_stays_its_own(
    tmp_path: Path, closing: ExitStack, call: str
) -> None:
    world = World(tmp_path, closing, models=(City, House))
    node = world.node("a")
    node.add(Person(first="a", last="b"), City(name="x"))
    getattr(node, call)()
    if call == "repair":  # as ever, it has set aside what was unpushed
        node.add(City(name="x"))
    node.synchronize()
    assert [row[1] for row in world.rows()] == [row[1] for row in node.rows()] == ["x"]
    (person,) = node.rows(Person)
    assert person[1:3] == ("a", "b")
    assert node.client.unsynched_objects() == [(Person, person[0], "i")]
    with node.session() as session:
        assert not node.client.is_synched(session.query(Person).one())
        assert node.client.is_synched(session.query(City).one())
        session.query(Person).one().last = "c"
        session.add(City(name="y"))
        session.commit()
    node.synchronize()
    assert {row[1] for row in world.rows()} == {"x", "y"}
    assert node.rows(Person)[0][2] == "c"


def test_it_is_synced_when_the_server_tracks_it(tmp_path: Path, closing: ExitStack) -> None:
    world = World(tmp_path, closing, models=(City, House))
    node = world.node("a")
    node.add(Person(first="a", last="b"))
    node.synchronize()
    node.add(Person(first="c", last="d"))
    # By the next release of both programs:
    world.server.track(Person)
    again = Node(node.path, world.server)
    closing.callback(again.engine.dispose)
    again.net.lose = lambda: True
    with pytest.raises(NetworkError):
        again.push()
    again.net.lose = lambda: False
    again.synchronize()
    assert {row[1] for row in world.rows(Person)} == {"a", "c"}
    assert again.client.unsynched_objects() == []
    with again.session() as session:
        session.query(Person).filter_by(first="a").one().last = "B"
        session.commit()
    again.synchronize()
    world.check_equal(again)


def test_a_class_that_a_node_pushes_no_longer_keeps_nothing_back(
    tmp_path: Path, closing: ExitStack
) -> None:
    """The server refuses a value of it, and the node's next release only pulls the class."""
    world = World(tmp_path, closing)
    node = world.node("a")
    with node.session() as session:
        session.execute(text("insert into city (id, name, pop) values (5, 'x', 'many')"))
        session.add(House(address="h"))
        session.commit()
    with pytest.raises(PushRejected, match="bad-value"):
        node.push()
    again = Node(node.path, world.server, {City: ("pull",)})
    closing.callback(again.engine.dispose)
    again.push()
    assert world.rows() == []
    assert [row[1] for row in world.rows(House)] == ["h"]
    assert again.rows() == [(5, "x", "many")]
    with world.session() as session:
        session.add(City(id=5, name="the server's"))
        session.commit()
    again.synchronize()
    world.check_equal(again)


def test_what_is_refused_of_a_class_that_the_server_only_offers_may_be_taken_back(
    tmp_path: Path, closing: ExitStack
) -> None:
    world = World(tmp_path, closing, {City: ("pull",)})
    with world.session() as session:
        session.add(City(id=5, name="x"))
        session.commit()
    node = world.node("a")
    node.pull()
    with node.session() as session:
        session.query(City).one().name = "mine"
        session.add_all([City(name="new"), House(address="h")])
        session.commit()
    with pytest.raises(PushRejected, match="to be pushed"):
        node.push()
    assert world.rows(House) == []
    with node.session() as session:
        session.query(City).filter_by(name="mine").one().name = "x"
        session.delete(session.query(City).filter_by(name="new").one())
        session.commit()
    node.synchronize()
    world.check_equal(node)
    assert [row[1] for row in world.rows(House)] == ["h"]
