"""dbsync with values, classes and answers of every kind, and capture switched off."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Date,
    Enum,
    ForeignKey,
    Integer,
    Interval,
    MetaData,
    PickleType,
    String,
    Table,
    TypeDecorator,
    Uuid,
    insert,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session, object_session

from reunite.dropin.dbsync import client, core, server
from reunite.dropin.dbsync.client import BadResponseError, PushRejected
from reunite.errors import UntrackableTableError
from tests.dropin.dbsync_world import City, Color, HandlerNet, Node, World, engine_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


# -- capture off -----------------------------------------------------------------------------------


def names_unpushed(node: Node) -> set[str]:
    with node.session() as session:
        return {session.get_one(City, key).name for _, key, _ in node.client.unsynched_objects()}


def test_capture_may_be_switched_within_a_transaction(world: World) -> None:
    node = world.node("a")
    try:
        with node.session() as session:
            for name in ("heard", "unheard", "heard too"):
                core.toggle_listening(name != "unheard")
                session.add(City(name=name))
                session.flush()
            core.toggle_listening(False)
            with pytest.raises(IntegrityError), session.begin_nested():
                session.execute(text("insert into city (id) values (1), (1)"))
            core.toggle_listening(True)
            session.add(City(name="heard at last"))
            session.commit()
        assert names_unpushed(node) == {"heard", "heard too", "heard at last"}
        core.toggle_listening(False)
        with node.session() as session:
            session.add(City(name="gone"))
            session.flush()
            session.rollback()
        core.toggle_listening(True)
        node.add(City(name="heard after a rollback"))
        assert "heard after a rollback" in names_unpushed(node)
    finally:
        core.toggle_listening(True)


def test_capture_off_under_autocommit_is_nobody_elses_and_is_never_left_behind(
    world: World,
) -> None:
    node = world.node("a")
    engine = node.engine.execution_options(isolation_level="AUTOCOMMIT")

    def write(name: str) -> None:
        with closing(sqlite3.connect(node.path)) as db, db:
            db.execute("insert into city (name) values (?)", (name,))

    with core.listening(False), engine.connect() as db:
        db.execute(text("insert into city (name) values ('unheard')"))
        write("another program's")
        assert db.execute(
            text("insert into city (name) values ('unheard too') returning name")
        ).all() == [("unheard too",)]
        made = db.execute(insert(City).returning(City.name), [{"name": f"u{n}"} for n in range(3)])
        assert len(made.all()) == 3
        with pytest.raises(IntegrityError):
            db.execute(text("insert into city (id) values (1), (1)"))
        write("another program's too")
    write("heard")
    assert len(node.rows()) == 8
    assert names_unpushed(node) == {"another program's", "another program's too", "heard"}


# -- kinds of values and classes -------------------------------------------------------------------


class Kinds(DeclarativeBase):
    pass


class Money(TypeDecorator[Decimal]):
    """Cents, as a program's own type keeps them."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: int | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


class Thing(Kinds):
    __tablename__ = "thing"
    id = Column(Uuid, primary_key=True)
    day = Column(Date, unique=True)
    color: Any = Column("hue", Enum(Color))
    took = Column(Interval)
    price = Column(Money)
    data: Any = Column(JSON)
    notes: Any = Column(PickleType)

    def __init__(self, color: Color) -> None:
        self.color = color


class Diary(Kinds):
    __tablename__ = "diary"
    day = Column(Date, primary_key=True)
    text = Column(String)


class Worker(Kinds):
    __tablename__ = "worker"
    id = Column(Integer, primary_key=True)
    kind = Column(String)
    name = Column(String)
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "worker",
    }


class Manager(Worker):
    __tablename__: Any = "manager"
    id: Any = Column(Integer, ForeignKey("worker.id"), primary_key=True)
    level = Column(Integer)
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "manager"}


class Intern(Worker):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "intern"}


@pytest.fixture
def kinds(tmp_path: Path) -> Iterator[tuple[server.Server, client.Client]]:
    with ExitStack() as stack:
        engines = [engine_of(tmp_path / f"{name}.db") for name in ("server", "node")]
        for engine in engines:
            Kinds.metadata.create_all(engine)
            stack.callback(engine.dispose)
        one, other = server.Server(engines[0]), client.Client(engines[1])
        stack.callback(one.close)
        for model in (Thing, Diary, Worker, Manager, Intern):
            one.track(model)
            other.track(model)
        other.net = HandlerNet(one)
        other.register("register")
        yield one, other


def a_thing(**values: Any) -> Thing:
    thing = Thing(Color.blue)
    for name, value in values.items():
        setattr(thing, name, value)
    return thing


def test_a_query_knows_values_of_every_type_and_classes_with_an_init(
    kinds: tuple[server.Server, client.Client],
) -> None:
    one, other = kinds
    values = {
        "id": uuid.UUID(int=7), "day": date(2020, 1, 2), "took": timedelta(days=1, seconds=3),
        "price": Decimal("1.25"), "data": {"a": [1]}, "notes": {1: 2},
    }  # fmt: skip
    with Session(one.engine) as session:
        session.add(a_thing(**values))
        session.commit()
    query = other.query_server("query")
    for name in ("id", "day", "took", "price", "color"):
        (found,) = query(Thing, **{name: {**values, "color": Color.blue}[name]}) or []
        assert found.color is Color.blue
        assert {name: getattr(found, name) for name in values} == values
        assert object_session(found) is None
    assert query(Thing, color=Color.red) == []
    assert query(Thing, price=Decimal(9)) == []
    assert one.handle_query({"model": "Thing", "Thing_hue": "green"}) == {"payload": {"Thing": []}}
    assert one.handle_query(None) == {"payload": None}


def test_classes_that_share_a_table_or_inherit_one_are_told_apart(
    kinds: tuple[server.Server, client.Client],
) -> None:
    _, other = kinds
    with Session(other.engine) as session:
        session.add_all([Manager(name="m", level=3), Intern(name="i"), Worker(name="w")])
        session.commit()
        assert {model for model, _, _ in other.unsynched_objects()} == {Worker, Manager}
        for model in (Manager, Intern):
            assert not other.is_synched(session.scalars(select(model)).one())
    other.push("push")
    other.pull("pull")
    with Session(other.engine) as session:
        manager = session.scalars(select(Manager)).one()
        assert other.is_synched(manager)
        manager.name = "n"  # in the table of its parent class
        session.commit()
        assert not other.is_synched(manager)
    query = other.query_server("query")
    assert [intern.name for intern in query(Intern) or []] == ["i"]
    (found,) = query(Manager, name="m") or []
    assert (found.name, found.level) == ("m", 3)
    assert query(Manager, name="w") == []


def test_keys_are_told_as_the_session_wants_them(
    kinds: tuple[server.Server, client.Client],
) -> None:
    one, other = kinds
    mine, theirs, day = uuid.UUID(int=1), uuid.UUID(int=2), date(2020, 1, 2)
    with Session(other.engine) as session:
        thing, page = a_thing(id=mine, day=day), Diary(day=day, text="x")
        session.add_all([thing, page])
        session.commit()
        assert not other.is_synched(thing)
        assert not other.is_synched(page)
    assert {key for _, key, _ in other.unsynched_objects()} == {mine, day}
    with Session(one.engine) as session:
        session.add(a_thing(id=theirs, day=day))
        session.commit()
    with pytest.raises(client.UniqueConstraintError) as error:
        other.pull("pull")
    assert error.value.entries == [(Thing, mine, ("day",))]
    with Session(other.engine) as session:
        session.get_one(Thing, mine).day = date(2021, 1, 1)
        session.commit()
    other.push("push")
    other.pull("pull")
    with Session(other.engine) as session:
        assert other.is_synched(session.get_one(Thing, mine))
        assert other.is_synched(session.get_one(Diary, day))


def test_a_table_without_a_key_is_refused_at_once() -> None:
    nameless = Table("nameless", MetaData(), Column("x", Integer))
    for side in (client.Client(), server.Server()):
        with pytest.raises(UntrackableTableError, match="no primary key"):
            side.track(nameless)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"new_version_id": 1},
        {"answer": 5, "new_version_id": 1},
        {"answer": {}, "new_version_id": 1},
        {"answer": {}, "new_version_id": "x"},
        {"problem": 5},
        {"problem": {}},
        {"problem": {"type": "x", "title": "x", "status": 503, "code": "storage-unavailable"}},
    ],
)
def test_answers_that_are_none_are_refusals_of_their_call(world: World, answer: Any) -> None:
    node = world.node("a")
    node.add(City(name="x"))
    node.net.ask = lambda *_, **__: (200, "OK", answer)  # type: ignore[method-assign]
    with pytest.raises(PushRejected):
        node.push()
    for call in (node.pull, node.repair):
        with pytest.raises(BadResponseError):
            call()
    with pytest.raises(client.RegisterRejected):
        node.register()
    assert len(node.client.unsynched_objects()) == 1


@pytest.mark.parametrize(
    "node",
    [None, {}, {"node_id": 1, "registered": None, "registry_user_id": None, "secret": "x"}],
)
def test_a_registration_without_credentials_is_refused(world: World, node: Any) -> None:
    one = world.node("a", is_registered=False)
    one.net.ask = lambda *_, **__: (200, "OK", {"node": node})  # type: ignore[method-assign]
    with pytest.raises(client.RegisterRejected):
        one.register()
    assert not one.client.isregistered()
