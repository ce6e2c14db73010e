"""A server of dbsync's calls on PostgreSQL, with nodes on SQLite."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, create_engine, select
from sqlalchemy.orm import Session

from reunite.dropin.dbsync.client import PushRejected
from reunite.dropin.dbsync.server import Server
from tests.dropin.dbsync_world import MODELS, Base, City, House, Node


def test_a_server_on_postgresql_does_the_same(postgresql: str, tmp_path: Path) -> None:
    with ExitStack() as closing:
        engine = create_engine(postgresql.replace("postgresql://", "postgresql+psycopg://", 1))
        closing.callback(engine.dispose)
        Base.metadata.create_all(engine)
        server = Server(engine)
        closing.callback(server.close)
        for model in MODELS:
            server.track(model)
        kept: dict[str, bytes] = {}

        def save(city: Any, value: bytes) -> None:
            kept[city.name] = value

        server.extend(City, "picture", LargeBinary, lambda city: kept.get(city.name), save)

        @server.before_push.listen
        def veto(session: Session, message: Any) -> None:
            if message["extra_data"] == "no":
                raise ValueError("not now")
            session.add(House(address=f"house {len(session.scalars(select(House)).all())}"))

        nodes = []
        for name in "ab":
            node = Node(tmp_path / f"{name}.db", server)
            closing.callback(node.engine.dispose)
            node.client.extend(
                City, "picture", LargeBinary, lambda city: city.name.encode(), lambda *_: None
            )
            node.register()
            nodes.append(node)
        one, two = nodes
        one.add(City(id=1, name="Rome", pop=3))
        two.add(City(id=1, name="Oslo"))
        for node in (one, two, one):
            node.synchronize()
        assert kept == {"Rome": b"Rome", "Oslo": b"Oslo"}
        one.add(City(name="Bern"))
        with pytest.raises(PushRejected, match="not now"):
            one.client.push("push", extra_data="no")
        with Session(engine) as session:
            session.query(City).filter_by(name="Oslo").one().pop = 7
            session.commit()
            houses = session.query(House).count()
        one.synchronize()
        two.repair()
        with Session(engine) as session:
            here = {(city.id, city.name, city.pop) for city in session.query(City)}
            assert session.query(House).count() > houses
        assert {(name, pop) for _, name, pop in here} == {("Rome", 3), ("Oslo", 7), ("Bern", None)}
        one.pull()
        assert set(one.rows()) == set(two.rows()) == here
        (found,) = two.client.query_server("query")(City, name="Oslo") or []
        assert found.pop == 7
