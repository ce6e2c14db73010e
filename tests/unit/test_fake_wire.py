"""The fake wire does what its table says."""

from __future__ import annotations

import random

import pytest

from reunite.core.principal import Principal
from reunite.errors import (
    BadRequestError,
    HubUnreachableError,
    NotAuthenticatedError,
    StorageUnavailableError,
)
from reunite.testing.wire import FakeTransport, FakeWire, Fault, Request, SeededFaults


class CountingHub:
    """Answers with the number of requests it has done."""

    def __init__(self) -> None:
        self.done: list[bytes] = []
        self.error: Exception | None = None

    def authenticate(self, token: str) -> Principal:
        if token != "good":
            raise NotAuthenticatedError("No such token.")
        return Principal(user="owner")

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        if self.error is not None:
            raise self.error
        self.done.append(body)
        return str(len(self.done)).encode()


@pytest.fixture
def hub() -> CountingHub:
    return CountingHub()


@pytest.fixture
def wire(hub: CountingHub) -> FakeWire:
    return FakeWire(hub)


@pytest.fixture
def transport(wire: FakeWire) -> FakeTransport:
    return wire.transport("good")


def test_good_wire_carries_request_and_answer(hub: CountingHub, transport: FakeTransport) -> None:
    assert transport.call("push", b"a") == b"1"
    assert hub.done == [b"a"]


def test_dropped_request_is_never_done(
    hub: CountingHub, wire: FakeWire, transport: FakeTransport
) -> None:
    wire.drop_next_request()
    with pytest.raises(HubUnreachableError):
        transport.call("push", b"a")
    assert hub.done == []
    assert transport.call("push", b"b") == b"1"


def test_lost_answer_is_of_a_request_that_was_done(
    hub: CountingHub, wire: FakeWire, transport: FakeTransport
) -> None:
    wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        transport.call("push", b"a")
    assert hub.done == [b"a"]


def test_late_request_is_done_when_it_is_delivered(
    hub: CountingHub, wire: FakeWire, transport: FakeTransport
) -> None:
    wire.delay_next_request()
    with pytest.raises(HubUnreachableError):
        transport.call("push", b"a")
    transport.call("push", b"b")
    assert wire.deliver_late() == b"2"
    assert hub.done == [b"b", b"a"]


def test_doubled_request_gets_its_first_answer(
    hub: CountingHub, wire: FakeWire, transport: FakeTransport
) -> None:
    wire.double_next_request()
    assert transport.call("push", b"a") == b"1"
    assert hub.done == [b"a", b"a"]


def test_echo_is_answered_and_comes_again(
    hub: CountingHub, wire: FakeWire, transport: FakeTransport
) -> None:
    wire.echo_next_request()
    assert transport.call("push", b"a") == b"1"
    wire.deliver_all_late()
    assert hub.done == [b"a", b"a"]


def test_planned_fault_waits_for_its_operation(wire: FakeWire, transport: FakeTransport) -> None:
    wire.drop_next_request("pull")
    transport.call("push", b"a")
    with pytest.raises(HubUnreachableError):
        transport.call("pull", b"b")


def test_nothing_gets_through_offline(wire: FakeWire, transport: FakeTransport) -> None:
    wire.online = False
    with pytest.raises(HubUnreachableError):
        transport.call("pull", b"")


def test_errors_reach_the_caller_as_they_are(hub: CountingHub, wire: FakeWire) -> None:
    with pytest.raises(NotAuthenticatedError):
        wire.transport("bad").call("pull", b"")
    hub.error = BadRequestError("No.")
    with pytest.raises(BadRequestError):
        wire.transport("good").call("pull", b"")


def test_busy_database_is_a_hub_that_cannot_be_reached(
    hub: CountingHub, transport: FakeTransport
) -> None:
    hub.error = StorageUnavailableError("Locked.")
    with pytest.raises(HubUnreachableError):
        transport.call("push", b"a")


def test_late_error_is_returned_and_not_raised(
    hub: CountingHub, wire: FakeWire, transport: FakeTransport
) -> None:
    wire.echo_next_request()
    transport.call("push", b"a")
    hub.error = BadRequestError("No.")
    assert wire.deliver_late() is hub.error


def test_seeded_faults_repeat() -> None:
    request = Request(operation="push", body=b"", token="good", label="replica")
    first, second = (SeededFaults(chance=random.Random(7)) for _ in range(2))
    drawn = [first(request) for _ in range(300)]
    assert drawn == [second(request) for _ in range(300)]
    assert set(drawn) == set(Fault)
