"""dbsync: what a first push costs, how it grows, and whether writers hinder each other.

Server and nodes are in one process, joined by the handlers alone: messages go through JSON, not
through a network. The original needs Python 2; its figures are those that were measured for the
specification of the drop-in, on another machine, and stand beside ours as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, timed
from reunite.dropin.dbsync.client.errors import PushRejected
from reunite.dropin.dbsync.client.node import Client
from reunite.dropin.dbsync.server.handlers import PushRejected as Refusal
from reunite.dropin.dbsync.server.serving import Server

ROWS = 4_000
ROWS_LARGE = 100_000
# Linear to 100,000 rows: a row costs what it costs among 4,000, and a quarter more at most (DB-17
# grants five times the time to four times the rows).
AIM_GROWTH = 1.25
AIM_SECONDS = 1.0
ORIGINAL_PUSH_S = 32.0

WRITERS = 8
EDITS = 20
# The original's edits a second with one writer and with eight.
ORIGINAL_EDITS = (52.0, 12.0)


class Base(DeclarativeBase):
    pass


class City(Base):
    __tablename__ = "city"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class World:
    """A server, and nodes that are joined with it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._engines: list[Engine] = []
        self.server = Server(self._engine("server"))
        self.server.track(City)
        self.server.create_all()

    def _engine(self, name: str) -> Engine:
        engine = create_engine(f"sqlite:///{self._folder / name}.db")
        Base.metadata.create_all(engine)
        self._engines.append(engine)
        return engine

    def node(self, name: str) -> Client:
        """A node that is registered, and has pushed and pulled once."""
        node = Client(self._engine(name))
        node.track(City)
        node.net.ask = self._ask  # type: ignore[method-assign]
        node.register("register")
        node.push("push")
        node.pull("pull")
        return node

    def _ask(self, method: str, url: str, data: Any = None, **_: Any) -> tuple[int, str, Any]:
        handler = getattr(self.server, f"handle_{url}")
        sent = json.loads(json.dumps(data))
        try:
            answer = handler() if url == "register" else handler(sent)
        except Refusal as exc:
            return 400, "", {"error": [repr(arg) for arg in exc.args]}
        return 200, "", json.loads(json.dumps(answer))

    def close(self) -> None:
        self.server.close()
        for engine in self._engines:
            engine.dispose()


def run(settings: Settings) -> Iterator[Figure]:
    """The first push, its growth, then one writer against eight."""
    rows = settings.scaled(ROWS, 400)
    small, large = Pairs(), Pairs()
    for number in range(settings.rounds):
        settings.wait_until_idle()
        spent = _first_push(settings.folder / f"first{number}", rows)
        small.add(measured=spent, limit=Spent(ORIGINAL_PUSH_S, ORIGINAL_PUSH_S))
    yield small.times(
        "dbsync", f"first push of {rows:,} rows", limit="the original, 32 s",
        aim=AIM_SECONDS / ORIGINAL_PUSH_S,
    )  # fmt: skip
    many = settings.scaled(ROWS_LARGE, 4_000)
    for number in range(min(settings.rounds, 3)):
        settings.wait_until_idle()
        less = _first_push(settings.folder / f"less{number}", rows)
        more = _first_push(settings.folder / f"more{number}", many)
        large.add(measured=_each(more, many), limit=_each(less, rows))
    yield large.times("dbsync", f"a row of {many:,}", limit=f"a row of {rows:,}", aim=AIM_GROWTH)
    world = World(settings.folder / "writers")
    nodes = [world.node(f"writer{number}") for number in range(WRITERS)]
    pairs = Pairs()
    edits = settings.scaled(EDITS, 3)
    for number in range(settings.rounds):
        settings.wait_until_idle()
        limit, measured = in_turn(
            number, lambda: _edits(nodes[:1], edits * WRITERS), lambda: _edits(nodes, edits)
        )
        pairs.add(measured=measured, limit=limit)
    world.close()
    one, eight = ORIGINAL_EDITS
    yield pairs.speed(
        "dbsync", f"edits of {WRITERS} writers", limit=f"of one (the original: {eight / one:.2f})",
        aim=0.8,
    )  # fmt: skip


def _first_push(folder: Path, rows: int) -> Spent:
    world = World(folder)
    try:
        node = world.node("node")
        with Session(node.engine) as session:
            session.execute(insert(City), [{"name": f"city {number}"} for number in range(rows)])
            session.commit()
        return timed(lambda: node.push("push"))
    finally:
        world.close()


def _each(spent: Spent, count: int) -> Spent:
    return Spent(spent.wall_s / count, spent.processor_s / count)


def _edits(nodes: list[Client], count: int) -> Spent:
    """Each node adds a row and pushes it, so many times in turn; nobody may be refused."""

    def work() -> None:
        for number in range(count):
            for node in nodes:
                with Session(node.engine) as session:
                    session.add(City(name=str(number)))
                    session.commit()
                try:
                    node.push("push")
                except PushRejected as exc:
                    raise AssertionError("a push of unrelated rows was refused") from exc

    return timed(work)
