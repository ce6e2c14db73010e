"""Threads share a replica: writing never waits for the network."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reunite import CallerError, Replica
from reunite.testing import FakeWire
from tests.pair.conftest import Pair, database, pair, pytest_generate_tests

__all__ = ["database", "pair", "pytest_generate_tests"]

pytestmark = pytest.mark.hubs("sqlite")


class StuckTransport:
    """A transport whose next answer comes when the test lets it."""

    is_remote = False

    def __init__(self, wire: FakeWire, token: str) -> None:
        self._inner = wire.transport(token)
        self.is_waiting = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def call(self, operation: str, body: bytes) -> bytes:
        self.is_waiting.set()
        assert self.may_answer.wait(60)
        return self._inner.call(operation, body)

    def close(self) -> None:
        self._inner.close()


def test_a_transaction_does_not_wait_for_a_sync_that_waits_for_the_hub(
    pair: Pair, tmp_path: Path
) -> None:
    transport = StuckTransport(pair.wire, pair.token)
    with Replica.clone(tmp_path / "slow.db", transport=transport, clock=pair.clock) as replica:
        transport.may_answer.clear()
        transport.is_waiting.clear()
        syncing = threading.Thread(target=replica.sync)
        syncing.start()
        assert transport.is_waiting.wait(60)

        pair.write(replica, "insert into note values ('n1', 'while it waits')")
        assert replica.status().pending == 1

        transport.may_answer.set()
        syncing.join(60)
        assert not syncing.is_alive()
        replica.sync()
        assert pair.at_hub("select id from note") == [("n1",)]


def test_a_transaction_inside_another_one_is_refused(pair: Pair) -> None:
    with pair.replica.transaction() as db:
        db.execute("insert into note values ('n1', 'x')")
        with pytest.raises(CallerError), pair.replica.transaction():
            pass
    assert pair.rows(pair.replica, "note") == [("n1", "x")]


def test_a_transaction_that_raises_leaves_nothing(pair: Pair) -> None:
    def half_a_sale() -> None:
        with pair.replica.transaction() as db:
            db.execute("insert into note values ('n1', 'x')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_a_sale()
    assert pair.rows(pair.replica, "note") == []
    assert pair.replica.status().pending == 0
