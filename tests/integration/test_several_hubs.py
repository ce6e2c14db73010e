"""Several hub processes on one database: a change that reaches two of them counts once."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reunite import Hub, Replica
from reunite.core.principal import Principal
from reunite.engine import retention
from reunite.errors import StorageUnavailableError
from reunite.testing import FakeClock, FakeWire
from tests.integration.live_helpers import query
from tests.patience import DEADLINE_S

DDL = (
    "create table product (id varchar(9) primary key not null, stock integer not null)",
    "insert into product values ('tea', 0)",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql")
        with psycopg.connect(url, autocommit=True) as program:
            for statement in DDL:
                program.execute(statement)
        return url
    with closing(sqlite3.connect(tmp_path / "hub.db")) as program:
        for statement in DDL:
            program.execute(statement)
        program.commit()
    return str(tmp_path / "hub.db")


@pytest.fixture
def hub_of(database: str) -> Iterator[Callable[..., Hub]]:
    """A hub as another process has it."""
    with ExitStack() as stack:

        def make(**options: Any) -> Hub:
            hub = stack.enter_context(Hub(database, **options))
            hub.track("product", merge={"stock": "counter"})
            return hub

        yield make


class BothAtOnce:
    """A door whose pushes reach two processes, as a request that was sent again does."""

    def __init__(self, *hubs: Hub, in_turn: bool) -> None:
        self._hubs = hubs
        self._in_turn = in_turn
        self.answers: list[bytes] = []

    def authenticate(self, token: str) -> Principal:
        return self._hubs[0].authenticate(token)

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        if operation != "push":
            return self._hubs[0].answer(operation, body, principal)
        answers: list[bytes] = []
        start = threading.Barrier(1 if self._in_turn else len(self._hubs))

        def push(hub: Hub) -> None:
            start.wait(DEADLINE_S)
            try:
                answers.append(hub.answer(operation, body, principal))
            except StorageUnavailableError:
                """It was busy: the other one has it."""

        threads = [threading.Thread(target=push, args=(hub,)) for hub in self._hubs]
        for thread in threads:
            thread.start()
            if self._in_turn:
                thread.join()
        for thread in threads:
            thread.join()
        self.answers += answers
        return answers[-1]


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "at once"])
def test_a_push_that_two_processes_get_takes_effect_once(
    hub_of: Callable[..., Hub], tmp_path: Path, in_turn: bool
) -> None:
    """And both give the same answer, whichever was first (I2)."""
    first, second = hub_of(), hub_of()
    door = BothAtOnce(first, second, in_turn=in_turn)
    wire = FakeWire(door)
    transport = wire.transport(first.create_token(), label="till")
    with Replica.clone(tmp_path / "till.db", transport=transport) as replica:
        for _ in range(8):
            query(replica.path, "update product set stock = stock + 1")
            replica.sync()
        assert query(replica.path, "select stock from product") == [(8,)]
        assert replica.status().pending == 0
    entries = second.history("product", ("tea",))
    assert [entry.row["stock"] for entry in entries if entry.row] == list(range(1, 9))
    if in_turn:
        assert len(door.answers) == 16


def test_one_of_several_hubs_trims_and_another_when_it_is_gone(
    hub_of: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    trims: list[int] = []
    monkeypatch.setattr(retention, "trim_step", lambda *_, **__: trims.append(1) is not None)
    first, second = (hub_of(keep=timedelta(days=1), clock=clock) for _ in range(2))
    for _ in range(5):
        first.keep_up()
        second.keep_up()
        clock.advance(retention.TRIM_EVERY_MS)
    assert len(trims) == 5
    for _ in range(3):
        second.keep_up()
        clock.advance(retention.TRIM_EVERY_MS)
    assert len(trims) == 8
