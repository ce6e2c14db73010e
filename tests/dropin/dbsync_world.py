"""One dbsync server and its nodes in one process: handlers are called without a network."""

from __future__ import annotations

import enum
import json
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import (
    Column,
    Date,
    DateTime,
    Engine,
    Enum,
    ForeignKey,
    Integer,
    Interval,
    Numeric,
    PickleType,
    String,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Session, relationship

from reunite.dropin.dbsync.client import Client, PushRejected
from reunite.dropin.dbsync.client.net import Net, NetworkError
from reunite.dropin.dbsync.server import Server, handlers


class Base(DeclarativeBase):
    pass


class City(Base):
    __tablename__ = "city"
    id = Column(Integer, primary_key=True)
    name = Column(String(100))
    pop = Column(Integer)
    houses = relationship("House", back_populates="city", cascade="all, delete-orphan")


class House(Base):
    __tablename__ = "house"
    id = Column(Integer, primary_key=True)
    address = Column(String(200), unique=True)
    city_id = Column(Integer, ForeignKey("city.id"))
    city = relationship(City, back_populates="houses")


class Person(Base):
    __tablename__ = "person"
    id = Column(Integer, primary_key=True)
    first = Column(String(50))
    last = Column(String(50))
    born = Column(Date)
    seen = Column(DateTime)
    wage = Column(Numeric(10, 2))
    size: Any = Column(Numeric(10, 2, asdecimal=False))
    house_id = Column(Integer, ForeignKey("house.id"))
    __table_args__ = (UniqueConstraint("first", "last"),)


class Color(enum.Enum):
    red = 1
    blue = 2


class Parcel(Base):
    """Values whose form SQLAlchemy chooses, and a class with an `__init__` of its own."""

    __tablename__ = "parcel"
    id = Column(Integer, primary_key=True)
    color: Any = Column(Enum(Color))
    took = Column(Interval)
    notes: Any = Column(PickleType)

    def __init__(self, color: Color) -> None:
        self.color = color


MODELS = (City, House, Person)

Directions: TypeAlias = dict[type, tuple[str, ...]]


class HandlerNet(Net):
    """Calls the server's handlers as the README's routes do; `lose` says which answers are lost."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.lose: Callable[[], bool] = lambda: False
        self.tamper: Callable[[Any], Any] = lambda data: data
        self.hear: Callable[[Any], Any] = lambda answer: None

    def ask(self, method: str, url: str, data: Any = None, **options: Any) -> tuple[int, str, Any]:
        data = self.tamper(json.loads(json.dumps(data)))
        code, answer = 200, None
        try:
            answer = self._handled(url, data)
        except handlers.PushRejected as exc:
            code, answer = 400, {"error": [repr(arg) for arg in exc.args]}
        self.hear(answer)
        if self.lose():
            raise NetworkError("the answer is lost")
        body = json.dumps(answer)
        if monitor := options.get("monitor"):
            monitor({"status": "connect", "size": len(body)})
            monitor({"status": "downloading", "size": len(body), "received": len(body)})
        return code, "", json.loads(body)

    def _handled(self, url: str, data: Any) -> Any:
        match url:
            case "register":
                return self.server.handle_register()
            case "push":
                return self.server.handle_push(data)
            case "pull":
                return self.server.handle_pull(data)
            case "repair":
                return self.server.handle_repair(data)
            case "query":
                return self.server.handle_query(data)
            case _:
                raise NetworkError(f"nobody answers at {url}")


class Node:
    """A client, its engine, and short names for what tests do."""

    def __init__(self, path: Path, server: Server, directions: Directions | None = None) -> None:
        self.path = path
        self.engine = engine_of(path)
        Base.metadata.create_all(self.engine)
        self.client = Client(self.engine)
        self.net = self.client.net = HandlerNet(server)
        for model in MODELS:
            self.client.track(*(directions or {}).get(model, ()))(model)
        self.client.create_all()

    def session(self) -> Session:
        return Session(self.engine)

    def register(self) -> None:
        self.client.register("register")

    def push(self) -> dict[str, int]:
        return self.client.push("push")

    def pull(self, **options: Any) -> Any:
        return self.client.pull("pull", **options)

    def repair(self, **options: Any) -> Any:
        return self.client.repair("repair", **options)

    def add(self, *objects: Any) -> None:
        with self.session() as session:
            session.add_all(objects)
            session.commit()

    def synchronize(self, tries: int = 5) -> None:
        """The README's loop, and a pull, whatever is lost on the way."""
        refusals = []
        for _ in range(tries):
            try:
                self.push()
                self.pull()
                return
            except PushRejected as exc:
                refusals.append(exc)
                self.pull()
            except NetworkError:
                continue
        raise AssertionError(f"stuck: {refusals}")

    def rows(self, model: type = City) -> list[Any]:
        return rows_of(self.path, model)


class World:
    """A server and nodes by name."""

    def __init__(
        self,
        folder: Path,
        closing_stack: ExitStack,
        directions: Directions | None = None,
        *,
        models: Sequence[type] = MODELS,
    ) -> None:
        self.folder = folder
        self.closing = closing_stack
        self.path = folder / "server.db"
        self.engine = engine_of(self.path)
        Base.metadata.create_all(self.engine)
        self.server = Server(self.engine)
        for model in models:
            self.server.track(*(directions or {}).get(model, ()))(model)
        assert self.server.hub
        self.closing.callback(self.engine.dispose)
        self.closing.callback(self.server.close)

    def session(self) -> Session:
        return Session(self.engine)

    def node(
        self, name: str, *, is_registered: bool = True, directions: Directions | None = None
    ) -> Node:
        node = Node(self.folder / f"{name}.db", self.server, directions)
        self.closing.callback(node.engine.dispose)
        if is_registered:
            node.register()
        return node

    def rows(self, model: type = City) -> list[Any]:
        return rows_of(self.path, model)

    def check_equal(self, *nodes: Node) -> None:
        for model in MODELS:
            for node in nodes:
                assert node.rows(model) == self.rows(model), (node.path.stem, model.__tablename__)


def engine_of(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def enforce(driver: Any, record: Any) -> None:
        driver.execute("pragma foreign_keys = on")

    return engine


def rows_of(path: Path, model: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        name = getattr(model, "__tablename__", None) or model.name
        return db.execute(f"select * from {name} order by 1").fetchall()


def other_program(node: Node, statement: str) -> int:
    """A commit of a program that does not look at foreign keys; how many rows it touched."""
    with closing(sqlite3.connect(node.path)) as db, db:
        return db.execute(statement).rowcount


def mend_orphans(node: Node, *, delete: bool) -> bool:
    """Whether there were houses whose city is nowhere."""
    if delete:
        return other_program(node, "delete from house where city_id = -1") > 0
    mended = "update house set city_id = (select min(id) from city) where city_id = -1"
    return other_program(node, mended) > 0


STEPS = ("city", "house", "house", "edit", "move", "rename", "delete", "sync")


def random_step(node: Node, chance: random.Random, number: int, *, has_orphans: bool) -> None:
    """A step of a program: one commit, or a push or pull that may lose its answer. All are valid
    but for houses whose city is nowhere, if there are to be any; another step mends them."""
    kind = chance.choice(STEPS + (("sync", "orphan") if has_orphans else ()))
    if kind == "orphan":
        if not mend_orphans(node, delete=chance.random() < 0.5):
            other_program(
                node,
                f"insert into house (address, city_id) values ('{node.path.stem}-{number}', -1)",
            )
        return
    if kind == "sync":
        with suppress(NetworkError, PushRejected):
            node.push() if chance.random() < 0.5 else node.pull()
        return
    with node.session() as session:
        cities, houses = session.query(City).all(), session.query(House).all()
        if kind == "city":
            session.add(City(name=f"c{number}"))
        elif kind == "house" and cities:
            session.add(House(address=f"{node.path.stem}-{number}", city=chance.choice(cities)))
        elif kind == "edit" and cities:
            chance.choice(cities).name = f"e{number}"
        elif kind == "move" and houses and cities:
            chance.choice(houses).city = chance.choice(cities)
        elif kind == "rename" and houses:
            chance.choice(houses).address = f"{node.path.stem}-r{number}"
        elif kind == "delete" and houses and chance.random() < 0.6:
            session.delete(chance.choice(houses))
        elif kind == "delete" and cities:
            session.delete(chance.choice(cities))
        session.commit()
