"""What a node has not pushed is put together first (DB-S2): what was mended is never sent."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from reunite.dropin.dbsync.client import PushRejected
from reunite.dropin.dbsync.client.net import NetworkError
from reunite.dropin.dbsync.server import handlers
from tests.dropin.dbsync_world import City, House, Node, World
from tests.dropin.test_dbsync_scenarios import added, change


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(tmp_path, closing)


def do(node: Node, *statements: Any) -> None:
    """One commit each, by a connection that does not look at foreign keys."""
    for statement in statements:
        with node.engine.connect() as connection:
            connection.execute(text("pragma foreign_keys = off"))
            connection.execute(statement)
            connection.commit()


def pushed(node: Node) -> list[str]:
    """What the next push sends: table and operation of each change."""
    sent: list[str] = []

    def note(data: Any) -> Any:
        if data["operation"] == "push":
            runs = [run for group in data["body"]["groups"] for run in group["runs"]]
            sent.extend(f"{run['op']} {run['table']}" for run in runs for _ in run["ids"])
        return data

    node.net.tamper = note
    node.push()
    return sorted(sent)


def test_s2_a_push_sends_what_the_steps_come_to(world: World) -> None:
    node = added(world)
    change(node)
    assert pushed(node) == ["insert city"] * 2 + ["insert house"] * 2
    node.pull()
    world.check_equal(node)
    with node.session() as session:
        city = session.query(City).filter_by(name="second a").one()
        city.name = "once"
        session.commit()
        city.name = "twice"
        session.commit()
        for house in session.query(House):
            house.address += "!"
        session.commit()
        for house in session.query(House):
            session.delete(house)
        session.commit()
    assert pushed(node) == ["delete house"] * 2 + ["update city"]
    node.pull()
    world.check_equal(node)
    assert [entry["name"] for entry in _named(world, "city")] == ["first a modified", "twice"]


def _named(world: World, table: str) -> list[Any]:
    with world.session() as session:
        return [dict(row._mapping) for row in session.execute(text(f"select * from {table}"))]


def orphan(node: Node) -> None:
    """A row of which the city is nowhere, so the server refuses it."""
    do(node, insert(City).values(id=7, name="x"))
    do(node, insert(House).values(id=1, address="h", city_id=12345))


MENDED = text("update house set city_id = (select id from city)")
WAYS: dict[str, Any] = {"mended": MENDED, "deleted": delete(House)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_lost", [False, True])
def test_what_was_refused_is_pushed_when_it_is_mended(
    world: World, way: str, *, is_lost: bool
) -> None:
    node = world.node("a")
    orphan(node)
    node.net.lose = lambda: is_lost
    for _ in range(2):
        with pytest.raises((PushRejected, NetworkError)):
            node.push()
    node.net.lose = lambda: False
    assert world.rows() == []
    with node.session() as session:
        session.execute(text("update city set name = 'y'"))
        session.commit()
    do(node, WAYS[way])
    assert pushed(node) == ["insert city"] + ["insert house"] * (way == "mended")
    node.pull()
    world.check_equal(node)
    assert [row[1] for row in world.rows()] == ["y"]


def test_a_refused_update_is_mended_after_a_pull(world: World) -> None:
    node, other = world.node("a"), world.node("b")
    node.add(House(address="h", city=City(name="x", pop=1)))
    node.synchronize()
    other.synchronize()
    do(node, update(House).values(city_id=12345, address="here"))
    with pytest.raises(PushRejected):
        node.push()
    with other.session() as session:
        session.execute(update(House).values(address="there"))
        session.execute(update(City).values(pop=2))
        session.commit()
    other.push()
    node.pull()
    assert node.rows(House)[0][1:] == ("here", 12345)
    (city_id, *_) = node.rows()[0]
    do(node, update(House).values(city_id=city_id))
    assert pushed(node) == ["update house"]
    node.pull()
    world.check_equal(node)
    assert world.rows(House)[0][1:] == ("here", city_id)
    (conflict,) = node.client.conflicts()
    assert (conflict.column, conflict.hub) == ("address", "there")


def test_steps_that_come_to_nothing_show_what_the_server_has(world: World) -> None:
    node, other = world.node("a"), world.node("b")
    node.add(City(name="x", pop=1))
    node.synchronize()
    other.synchronize()
    with other.session() as session:
        session.execute(update(City).values(name="other"))
        session.commit()
    other.push()
    do(node, update(City).values(name="mine"))
    node.pull()
    assert node.rows()[0][1] == "mine"
    do(node, update(City).values(name="x"))
    assert pushed(node) == []
    assert node.rows()[0][1] == "other"
    world.check_equal(node)


@pytest.mark.parametrize("way", ["update", "delete"])
def test_what_may_have_been_taken_stays_what_it_was(world: World, way: str) -> None:
    """The answer of the push is lost: what was in it is not put together with what follows."""
    node = world.node("a")
    node.add(House(address="h", city=City(name="x")))
    node.synchronize()
    node.add(City(name="new"))
    node.net.lose = lambda: True
    with pytest.raises(NetworkError):
        node.push()
    node.net.lose = lambda: False
    steps: dict[str, Callable[[], Any]] = {
        "update": lambda: update(City).where(City.name == "new").values(name="newer"),
        "delete": lambda: delete(City).where(City.name == "new"),
    }
    do(node, steps[way]())
    sent = pushed(node)
    assert sent == sorted(["insert city", f"{way} city"])
    node.pull()
    world.check_equal(node)
    assert [row[1] for row in world.rows()] == ["x"] + ["newer"] * (way == "update")


def test_a_push_that_its_node_has_given_up_is_never_taken(world: World) -> None:
    """It was on its way for long; its node was told meanwhile that nothing of it is here."""
    node = world.node("a")
    node.synchronize()
    node.add(City(name="x"))
    late: list[Any] = []
    owner = world.server._owner

    def hold_up(data: Any) -> int | None:
        """The first push stops when its signature was looked at, and goes on after the second."""
        node_id = owner(data)
        if not late and data["operation"] == "push" and data["body"]["groups"]:
            late.append((data, node_id))
            raise NetworkError("slow")
        return node_id

    world.server._owner = hold_up  # type: ignore[method-assign]
    with pytest.raises(NetworkError):
        node.push()
    do(node, update(City).values(name="y"))
    sent = pushed(node)
    assert sent == ["insert city"]
    ((data, node_id),) = late
    world.server._owner = lambda data: node_id  # type: ignore[method-assign]
    with pytest.raises(handlers.PushRejected, match="later message"):
        world.server.handle_push(data)
    world.server._owner = owner  # type: ignore[method-assign]
    node.synchronize()
    assert [row[1] for row in world.rows()] == ["y"]
    world.check_equal(node)


def test_rows_stand_before_those_that_point_to_them(world: World) -> None:
    """Also where a city was changed after its houses came: very many changes go in several
    messages, in their order."""
    node = world.node("a")
    with node.session() as session:
        city = City(name="x")
        session.add(House(address="h", city=city))
        session.commit()
        city.name = "y"
        session.commit()
    order: list[str] = []

    def note(data: Any) -> Any:
        if data["operation"] == "push":
            runs = [run for group in data["body"]["groups"] for run in group["runs"]]
            order.extend(run["table"] for run in runs)
        return data

    node.net.tamper = note
    node.push()
    assert order == ["city", "house"]
    node.pull()
    world.check_equal(node)


@pytest.mark.parametrize("was_refused", [True, False])
@pytest.mark.parametrize("by", ["the server", "a node", "a move"])
def test_a_row_points_to_what_came_after_its_first_step(
    world: World, by: str, was_refused: bool
) -> None:
    """Steps that are put together have the mark of the first one, from before the parent was there:
    it is not another row than the one that is meant."""
    node = world.node("one")
    node.add(City(name="Rome"))
    node.synchronize()
    (rome,) = (city.id for city in node.session().query(City))
    do(node, insert(House).values(address="new", city_id=-1 if was_refused else rome))
    if was_refused:
        with pytest.raises(PushRejected):
            node.push()
    if by == "the server":
        with world.session() as session:
            session.execute(insert(City).values(id=900, name="Oslo"))
            session.commit()
    else:
        other = world.node("two")
        other.pull()
        move = update(City).where(City.id == rome).values(id=900)
        do(other, move if by == "a move" else insert(City).values(id=900, name="Oslo"))
        other.push()
    node.pull()
    do(node, update(House).values(city_id=900))
    node.synchronize()
    world.check_equal(node)
    assert [house["city_id"] for house in _named(world, "house")] == [900]
