"""Acceptance scenarios of dbsync (DB-Sn) that are about conflicts and renumbering."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.client import PushRejected, UniqueConstraintError
from tests.dropin.dbsync_world import City, House, Node, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(tmp_path, closing)


def added(world: World, name: str = "one") -> Node:
    """*add*: a1, a2, and b1, b2 of a1, b3 of a2, in one commit."""
    node = world.node(name)
    with node.session() as session:
        first, second = City(name="first a"), City(name="second a")
        session.add_all([first, second])
        for label, city in (("first b", first), ("second b", first), ("third b", second)):
            session.add(House(address=label, city=city))
        session.commit()
    return node


def change(node: Node) -> None:
    """*change*: a1 renamed, b2 moved to a2, b3 deleted, in one commit."""
    with node.session() as session:
        first = session.query(City).filter_by(name="first a").one()
        second = session.query(City).filter_by(name="second a").one()
        first.name = "first a modified"
        session.query(House).filter_by(address="second b").one().city = second
        session.delete(session.query(House).filter_by(address="third b").one())
        session.commit()


def test_s1_to_s3_what_is_logged_and_what_it_comes_to(world: World) -> None:
    node = added(world)
    change(node)
    unpushed = node.client.unsynched_objects()
    assert sorted((model.__name__, command) for model, _, command in unpushed) == [
        ("City", "i"), ("City", "i"), ("House", "i"), ("House", "i"),
    ]  # fmt: skip
    node.push()
    assert node.client.unsynched_objects() == []


@pytest.mark.parametrize(
    ("commands", "result"), [("iuu", "i"), ("iud", None), ("uu", "u"), ("ud", "d")]
)
def test_s5_squash_of_a_nodes_own(commands: str, result: str | None) -> None:
    assert core.squashed(commands) == result


@pytest.mark.parametrize(
    ("commands", "was_there", "ends"),
    [
        ("idiu", False, True), ("udid", True, False), ("di", True, True), ("iud", False, False),
        ("did", True, False), ("udi", True, True), ("diu", True, True),
    ],
)  # fmt: skip
def test_s5_what_the_server_did_between_two_pulls_comes_as_one(
    world: World, commands: str, was_there: bool, ends: bool
) -> None:
    node = world.node("one")
    statements = {
        "i": "insert into city (id, name, pop) values (77, 'inserted', 0)",
        "u": "update city set pop = pop + 1 where id = 77",
        "d": "delete from city where id = 77",
    }
    with world.session() as session:
        if was_there:
            session.add(City(id=77, name="there", pop=0))
        session.commit()
    node.synchronize()
    for command in commands:
        with world.session() as session:
            session.execute(text(statements[command]))
            session.commit()
    told: list[int] = []
    node.client.pull("pull", monitor=lambda status: told.append(status.get("operations", 0)))
    assert max(told) <= 1
    assert bool(node.rows()) is ends
    world.check_equal(node)


def test_s6_direct_conflicts(world: World) -> None:
    one = added(world)
    one.synchronize()
    two = world.node("two")
    two.synchronize()
    change(one)
    with two.session() as session:
        session.query(House).filter_by(address="third b").one().address = "third b modified"
        session.commit()
        for house in session.query(House).filter(House.address != "third b modified"):
            session.delete(house)
        session.commit()
        session.delete(session.query(City).filter_by(name="first a").one())
        session.commit()
    for node in (one, two, one, two):
        node.synchronize()
    world.check_equal(one, two)
    # Each delete met an update, and gave way.
    assert [row[1] for row in world.rows()] == ["first a modified", "second a"]
    addresses = {row[1] for row in world.rows(House)}
    assert {"second b", "third b modified"} <= addresses


@pytest.mark.parametrize("count", [2, 50])
def test_s7_and_db_5_a_parent_that_is_needed_is_kept(world: World, count: int) -> None:
    one = added(world)
    one.synchronize()
    two = world.node("two")
    two.synchronize()
    with one.session() as session:
        first = session.query(City).filter_by(name="first a").one()
        session.add_all([House(address=f"new {number}", city=first) for number in range(count)])
        session.commit()
    with two.session() as session:
        for city in session.query(City):
            session.delete(city)
        session.commit()
    for node in (two, one, two, one):
        node.synchronize()
    world.check_equal(one, two)
    assert "first a" in {row[1] for row in world.rows()}
    assert len([row for row in world.rows(House) if row[1].startswith("new")]) == count


def test_s12_rows_of_before_the_registration_are_renumbered_with_their_children(
    world: World,
) -> None:
    with world.session() as session:
        session.add(City(id=1, name="old"))
        session.add(House(id=1, address="the server's", city_id=1))
        session.commit()
        session.add(City(id=2, name="the server's city"))
        session.flush()
        session.query(House).one().city_id = 2
        session.commit()
    node = world.node("one", is_registered=False)
    with node.session() as session:
        session.add(City(id=1, name="mine too"))
        session.add(City(id=2, name="my city"))
        session.add(House(id=1, address="mine", city_id=2))
        session.commit()
    node.register()
    for _ in range(2):
        node.synchronize()
    world.check_equal(node)
    with world.session() as session:
        found = {house.address: house.city.name for house in session.query(House)}
    assert found == {"the server's": "the server's city", "mine": "my city"}
    assert len(world.rows()) == 4


def test_s14_a_node_begins_with_rows_that_were_there_before(world: World) -> None:
    node = world.node("one", is_registered=False)
    with node.session() as session:
        session.add_all([House(address=str(n), city=City(name=str(n))) for n in range(50)])
        session.commit()
    node.register()
    node.synchronize()
    other = world.node("two")
    other.synchronize()
    world.check_equal(node, other)
    assert len(world.rows(House)) == 50


def test_s16_both_sides_give_one_unique_value_and_the_user_gives_another(world: World) -> None:
    one, two = world.node("one"), world.node("two")
    for node in (one, two):
        with node.session() as session:
            session.add(House(address="the same", city=City(name=node.path.stem)))
            session.commit()
    one.synchronize()
    with pytest.raises(PushRejected):
        two.push()  # its first, which gives its rows keys of their own
    before = two.rows(House), two.rows(City)
    with pytest.raises(UniqueConstraintError) as refusal:
        two.pull()
    ((model, key, columns),) = refusal.value.entries
    assert (model, columns) == (House, ("address",))
    assert (two.rows(House), two.rows(City)) == before
    with two.session() as session:
        session.get_one(House, key).address = "another"
        session.commit()
    two.synchronize()
    one.synchronize()
    world.check_equal(one, two)
    assert {row[1] for row in world.rows(House)} == {"the same", "another"}
