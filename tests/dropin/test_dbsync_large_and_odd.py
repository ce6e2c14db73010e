"""dbsync's calls where there is much, where keys are no integers, and where writers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKeyConstraint, Integer, String, Table, Uuid, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from reunite.dropin.dbsync.client import Client, PushRejected
from reunite.dropin.dbsync.server import Server
from tests.dropin.dbsync_world import (
    City,
    HandlerNet,
    House,
    Node,
    Person,
    World,
    engine_of,
    other_program,
    rows_of,
)
from tests.patience import DEADLINE_S

WRITER = """
import sys
from pathlib import Path
from sqlalchemy.orm import Session
from tests.dropin.dbsync_world import City, House, engine_of

engine = engine_of(Path(sys.argv[1]))
for number in range(100_000):
    with Session(engine) as session:
        city = City(name=f"{sys.argv[2]}-{number}")
        session.add(House(address=f"{sys.argv[2]}-{number}", city=city))
        session.commit()
        session.delete(city) if number % 3 == 0 else setattr(city, "pop", number)
        session.commit()
    print(number, flush=True)
"""


class Odd(DeclarativeBase):
    pass


class Tag(Odd):
    __tablename__ = "tag"
    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    text: Mapped[str]


class Device(Odd):
    __tablename__ = "device"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    tag: Mapped[str]


class Reading(Odd):
    __tablename__ = "reading"
    place: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]


plain = Table(
    "plain", Odd.metadata, Column("id", Integer, primary_key=True), Column("text", String(20))
)


class Remark(Odd):
    __tablename__ = "remark"
    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str]
    number: Mapped[int]
    __table_args__ = (
        ForeignKeyConstraint(["place", "number"], ["reading.place", "reading.number"]),
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(tmp_path, closing)


def test_db_2_a_writer_that_is_killed_leaves_no_row_without_its_log(world: World) -> None:
    node = world.node("a")
    for turn in range(3):
        command = [sys.executable, "-c", WRITER, str(node.path), str(turn)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as writer:
            assert writer.stdout is not None
            for _ in range(3 + turn):
                assert writer.stdout.readline()
            sum(range(turn * 30_000))  # so that it is killed anywhere in a transaction
            writer.send_signal(signal.SIGKILL)
            writer.wait(DEADLINE_S)
        node.synchronize()
        world.check_equal(node)
    assert len(world.rows(House)) > 3


def test_db_11_eight_writers_at_the_same_time_are_never_refused(world: World) -> None:
    nodes = [world.node(name) for name in "abcdefgh"]

    def work(node: Node) -> None:
        for number in range(4):
            node.add(City(name=f"{node.path.stem}{number}"))
            node.push()

    with ThreadPoolExecutor(len(nodes)) as pool:
        for done in [pool.submit(work, node) for node in nodes]:
            done.result(DEADLINE_S)
    assert len(world.rows()) == 32
    for node in nodes:
        node.pull()
    world.check_equal(*nodes)


def test_db_17_a_push_costs_by_the_row(tmp_path: Path) -> None:
    def cost(count: int, name: str) -> float:
        with ExitStack() as closing:
            folder = tmp_path / name
            folder.mkdir()
            node = World(folder, closing).node("a")
            node.synchronize()
            with node.session() as session:
                session.execute(insert(City), [{"name": str(n)} for n in range(count)])
                session.commit()
            start_s = time.process_time()
            node.push()
            return time.process_time() - start_s

    cost(100, "warm")
    few = min(cost(1_000, f"few{turn}") for turn in range(2))
    many = min(cost(4_000, f"many{turn}") for turn in range(2))
    assert many <= 5 * few, (few, many)


def test_db_14_no_message_of_a_repair_grows_with_the_database(world: World) -> None:
    sizes: list[int] = []
    node = world.node("a")
    node.net.hear = lambda answer: sizes.append(len(json.dumps(answer)))

    def largest(count: int) -> int:
        with world.session() as session:
            session.execute(insert(City), [{"name": "x" * 100} for _ in range(count)])
            session.commit()
        sizes.clear()
        node.repair()
        world.check_equal(node)
        return max(sizes)

    largest(3_000)
    whole = largest(3_000)
    assert largest(12_000) <= 1.5 * whole
    assert sum(sizes) > 3 * max(sizes)


def test_db_19_keys_of_any_kind_are_synced(tmp_path: Path) -> None:
    with ExitStack() as closing:
        server_engine = engine_of(tmp_path / "server.db")
        closing.callback(server_engine.dispose)
        Odd.metadata.create_all(server_engine)
        server = Server(server_engine)
        closing.callback(server.close)
        models = (Tag, Device, Reading, Remark, plain)
        for model in models:
            server.track(model)
        nodes = []
        for name in "ab":
            engine = engine_of(tmp_path / f"{name}.db")
            closing.callback(engine.dispose)
            Odd.metadata.create_all(engine)
            client = Client(engine)
            client.net = HandlerNet(server)
            for model in models:
                client.track(model)
            client.register("register")
            nodes.append(client)
        first, second = nodes
        device = uuid.UUID(int=7)
        with Session(first.engine) as session:
            session.add_all([Tag(name="ä", text="x"), Device(id=device, tag="ä")])
            session.add(Reading(place="here", number=1, value=2.5))
            session.flush()
            session.add(Remark(place="here", number=1))
            session.execute(insert(plain).values(text="a plain table"))
            session.commit()
        assert (Reading, ("here", 1), "i") in first.unsynched_objects()
        first.push("push")
        second.pull("pull")
        with Session(second.engine) as session:
            session.get_one(Device, device).tag = "other"
            session.get_one(Reading, ("here", 1)).value = 3.5
            session.delete(session.get_one(Tag, "ä"))
            session.commit()
        second.push("push")
        first.pull("pull")
        for table in Odd.metadata.sorted_tables:
            found = [rows_of(tmp_path / f"{name}.db", table) for name in ("server", "a", "b")]
            assert found[0] == found[1] == found[2], table
        assert rows_of(tmp_path / "b.db", plain)[0][1] == "a plain table"
        (told,) = server.handle_query({"model": "plain"})["payload"]["plain"]
        assert told["text"] == "a plain table"
        with pytest.raises(TypeError, match="neither a mapped class nor a table"):
            server.track(str)


def test_s11_an_application_with_everything(tmp_path: Path) -> None:
    files: dict[str, dict[str, str]] = {"server": {}, "a": {}, "b": {}}

    def extend(side: Any, name: str) -> None:
        kept = files[name]

        def load(city: Any) -> str | None:
            return kept.get(city.name)

        def save(city: Any, value: str) -> None:
            kept[city.name] = value

        def remove(old: Any, new: Any) -> None:
            kept.pop(old.name, None)

        side.extend(City, "extra", String, load, save, remove)

    with ExitStack() as closing:
        world = World(tmp_path, closing)
        extend(world.server, "server")
        nodes = [world.node(name) for name in "ab"]
        for node in nodes:
            extend(node.client, node.path.stem)
            name = node.path.stem
            files[name][f"city of {name}"] = f"file of {name}"
            with node.session() as session:
                city = City(name=f"city of {name}")
                home, work = House(address=f"{name}1", city=city), House(address=f"{name}2")
                session.add_all([home, work])
                session.flush()
                session.add(Person(first=name, last="P", house_id=home.id))
                session.commit()
        for node in nodes * 2:
            node.synchronize()
        nodes[0].repair()
        world.check_equal(*nodes)
        assert files["server"] == files["a"] == files["b"]
        assert len(files["server"]) == 2


@pytest.mark.parametrize(
    ("statement", "op", "model"),
    [
        ("insert into city (name, pop) values ('odd', 'many')", "insert", City),
        ("update city set name = 'odd', pop = 1.5 where name = 'Oslo'", "update", City),
        ("insert into house (address, city_id) values ('odd', 44)", "insert", House),
    ],
)
def test_a_refusal_says_which_row_is_to_be_mended(
    tmp_path: Path, statement: str, op: str, model: type[Any]
) -> None:
    with ExitStack() as closing:
        world = World(tmp_path, closing)
        node = world.node("a")
        node.add(City(name="Rome"), City(name="Oslo"))
        node.synchronize()
        node.add(City(name="Bonn"))
        other_program(node, statement)
        with pytest.raises(PushRejected) as caught:
            node.push()
        (key,) = [row[0] for row in node.rows(model) if row[1] == "odd"]
        place = f"to be mended: the {op} of {model.__tablename__} [{key}]"
        assert place in str(caught.value)
        assert len(world.rows()) == 2, "nothing of it was taken"
