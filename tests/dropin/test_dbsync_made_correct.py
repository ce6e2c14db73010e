"""What dbsync's documents promise and its code did not keep: one test for each cure (DB-n)."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from reunite.dropin.dbsync.client import PullSuggested, PushRejected
from reunite.dropin.dbsync.client.net import NetworkError
from reunite.dropin.dbsync.server import handlers
from tests.dropin.dbsync_world import City, House, Node, World
from tests.patience import DEADLINE_S


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(tmp_path, closing)


def add_cities(node: Node, *names: str) -> None:
    with node.session() as session:
        session.add_all([City(name=name) for name in names])
        session.commit()


def test_db_1_every_way_to_write_is_logged(world: World) -> None:
    node = world.node("a")
    add_cities(node, "x", "y", "z")
    node.synchronize()
    ways: list[Any] = [
        insert(City).values(name="core"),
        update(City).where(City.name == "x").values(pop=1),
        delete(City).where(City.name == "y"),
        text("update city set pop = 2 where name = 'z'"),
        text("insert into house (address, city_id) select 'h', id from city where name = 'z'"),
        text("update city set id = 77 where name = 'core'"),
    ]
    for way in ways:
        with node.session() as session:
            session.execute(way)
            session.commit()
        node.push()
        world.check_equal(node)
    with node.session() as session:
        session.delete(session.query(City).filter_by(name="z").one())  # and its house
        session.commit()
    node.push()
    world.check_equal(node)
    assert world.rows(House) == []


def test_db_3_a_rollback_elsewhere_takes_nothing_away(world: World) -> None:
    node = world.node("a")

    def commit(number: int) -> None:
        add_cities(node, f"kept{number}")

    def roll_back(number: int) -> None:
        with node.session() as session:
            session.add(City(name=f"lost{number}"))
            session.flush()
            session.rollback()

    def work(step: Any) -> None:
        for number in range(30):
            step(number)

    threads = [threading.Thread(target=work, args=(step,)) for step in (commit, roll_back)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    node.push()
    assert {row[1] for row in world.rows()} == {f"kept{number}" for number in range(30)}


def test_db_4_an_answer_that_is_lost_doubles_nothing(world: World) -> None:
    node = world.node("a")
    with node.session() as session:
        city = City(name="Rome")
        session.add_all([House(address=str(number), city=city) for number in range(300)])
        session.commit()
    node.net.lose = lambda: True
    with pytest.raises(NetworkError):
        node.push()
    node.net.lose = lambda: False
    node.synchronize()
    assert len(world.rows(House)) == len(node.rows(House)) == 300
    world.check_equal(node)


def test_db_7_a_unique_value_may_be_given_again_and_go_round(world: World) -> None:
    node, other = world.node("a"), world.node("b")
    with node.session() as session:
        city = City(name="Rome")
        session.add_all([House(address=name, city=city) for name in "abc"])
        session.commit()
    node.synchronize()
    with node.session() as session:
        old = session.query(House).filter_by(address="a").one()
        session.delete(old)
        session.flush()
        session.add(House(address="a", city=session.query(City).one()))
        session.commit()
        first, second, third = session.query(House).order_by(House.id).all()
        first.address = "for a moment"
        session.flush()
        first.address, second.address, third.address = "t1", "t2", "t3"
        session.flush()
        first.address, second.address, third.address = "b", "c", "a"
        session.commit()
    node.synchronize()
    other.synchronize()
    world.check_equal(node, other)


def test_db_8_columns_merge(world: World) -> None:
    one, two = world.node("a"), world.node("b")
    add_cities(one, "x")
    one.synchronize()
    two.synchronize()
    for node, change in ((one, {"name": "y"}), (two, {"pop": 5})):
        with node.session() as session:
            session.execute(update(City).values(**change))
            session.commit()
    for node in (one, two, one):
        node.synchronize()
    assert [row[1:] for row in world.rows()] == [("y", 5)]
    world.check_equal(one, two)


def test_db_9_what_was_changed_on_its_way_or_came_before_is_refused(world: World) -> None:
    node = world.node("a")
    add_cities(node, "x")

    def tamper(data: Any) -> Any:
        if data["operation"] == "push" and data["body"]["groups"]:
            data["body"]["groups"][0]["runs"][0]["set"][0][1] = "evil"
        return data

    sent: list[Any] = []

    def note(data: Any) -> Any:
        sent.append(data)
        return data

    node.net.tamper = tamper
    with pytest.raises(PushRejected, match="properly signed"):
        node.push()
    assert world.rows() == []
    node.net.tamper = note
    node.push()
    with pytest.raises(handlers.PushRejected, match="isn't properly signed"):
        world.server.handle_push(sent[-1])
    first = world.server.handle_register()["node"]
    assert len(first["secret"]) == 128
    again = world.server.handle_register(node_id=first["node_id"])["node"]
    assert again["node_id"] != first["node_id"]
    known = world.server.handle_register(node_id=first["node_id"], resend_secret=True)["node"]
    assert known == first


def test_db_10_orphans_are_refused_and_nothing_is_stored(world: World) -> None:
    node = world.node("a")
    with node.session() as session:
        session.execute(text("pragma foreign_keys = off"))
        session.execute(text("insert into city (name) values ('x')"))
        session.execute(text("insert into house (address, city_id) values ('h', 12345)"))
        session.commit()
    with pytest.raises(PushRejected):
        node.push()
    assert world.rows() == []
    with node.session() as session:
        session.execute(text("update house set city_id = (select id from city)"))
        session.commit()
    node.synchronize()
    assert len(world.rows(House)) == 1
    world.check_equal(node)


def test_db_11_eight_writers_are_never_refused_and_strict_refuses(world: World) -> None:
    nodes = [world.node(name) for name in "abcdefgh"]
    for number in range(10):
        for node in nodes:
            add_cities(node, f"{node.path.stem}{number}")
            node.push()
    assert len(world.rows()) == 80
    world.server.set_push_policy("strict")
    add_cities(nodes[0], "late")
    with pytest.raises(PushRejected):
        nodes[0].push()


def test_db_13_a_commit_at_the_server_is_one_version(world: World) -> None:
    node = world.node("a")
    node.synchronize()
    before = world.server.hub.number().seq
    with world.session() as session:
        session.add_all([City(name=str(number)) for number in range(100)])
        session.commit()
        session.add(City(name="lost"))
        session.flush()
        session.rollback()
    assert world.server.hub.number().seq == before + 1
    node.pull()
    world.check_equal(node)
    assert len(node.rows()) == 100


def test_db_15_a_key_that_changes_stays_one_row(world: World) -> None:
    node, other = world.node("a"), world.node("b")
    with node.session() as session:
        session.add(House(address="h", city=City(name="Rome")))
        session.commit()
    node.synchronize()
    with node.session() as session:
        session.execute(text("pragma defer_foreign_keys = on"))
        session.execute(text("update city set id = 500000"))
        session.execute(text("update house set city_id = 500000"))
        session.commit()
    node.synchronize()
    other.synchronize()
    assert [row[0] for row in world.rows()] == [500000]
    world.check_equal(node, other)


def test_db_21_a_query_knows_its_columns_and_their_types(world: World) -> None:
    with world.session() as session:
        session.add_all([City(name="x", pop=5), City(name="y", pop=6)])
        session.commit()
    query = world.server.handle_query
    found = query({"model": "City", "City_pop": "5"})["payload"]["City"]
    assert [row["name"] for row in found] == ["x"]
    assert len(query({"model": "City"})["payload"]["City"]) == 2
    assert query({"model": "City", "City_nme": "x"}) == {"payload": None}
    assert query({"model": "Town"}) == {"payload": None}
    assert query({"model": "City", "City_pop": "many"})["payload"]["City"] == []


def test_a_criterion_makes_a_refusal_the_suggestion_to_pull(world: World) -> None:
    node = world.node("a")
    node.client.set_pull_suggestion_criterion(lambda code, reason, response: code == 400)
    world.server.set_push_policy("strict")
    add_cities(world.node("b"), "x")
    with world.session() as session:
        session.add(City(name="new"))
        session.commit()
    add_cities(node, "y")
    with pytest.raises(PullSuggested):
        node.push()
