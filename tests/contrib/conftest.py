"""A hub over a database that SQLAlchemy made, and replicas of it with engines of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from reunite import Hub, Replica
from reunite.contrib.sqlalchemy import replica_engine
from reunite.testing import FakeClock, FakeWire
from tests.contrib.models import Base


class Shop:
    """The hub's engine, the hub, and its replicas by name."""

    def __init__(self, folder: Path, url: str, closing: ExitStack) -> None:
        self.folder = folder
        self.closing = closing
        self.engine = create_engine(url)
        closing.callback(self.engine.dispose)
        Base.metadata.create_all(self.engine)
        self.clock = FakeClock()
        self.hub = closing.enter_context(Hub(self.engine, clock=self.clock))
        self.hub.track(Base.metadata)
        self.wire = FakeWire(self.hub)
        self.token = self.hub.create_token()

    def session(self) -> Session:
        """Of the hub's own program."""
        return Session(self.engine)

    def clone(self, name: str = "till", **options: Any) -> Replica:
        return self.closing.enter_context(
            Replica.clone(
                self.folder / f"{name}.db",
                transport=self.wire.transport(self.token),
                clock=self.clock,
                **options,
            )
        )

    def engine_of(self, replica: Replica) -> Engine:
        engine = replica_engine(replica)
        self.closing.callback(engine.dispose)
        return engine

    def sessions(self, replica: Replica) -> sessionmaker[Session]:
        return sessionmaker(self.engine_of(replica))


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'hub.db'}"
    else:
        url = request.getfixturevalue("postgresql").replace(
            "postgresql://", "postgresql+psycopg://"
        )
    with ExitStack() as closing:
        yield Shop(tmp_path, url, closing)
