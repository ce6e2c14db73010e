"""A wire without a network: joins replicas to a hub in one process, and fails on request.

What it is       a hub's front door and the transports of its replicas, with faults between them.
What it is not   HTTP: nothing is serialised but the bodies, and nothing waits.
The rule         whoever loses an answer sees HubUnreachableError, whatever the hub did meanwhile.

    fault        | the hub            | the replica
    drop           never hears of it    HubUnreachableError
    lose           does it              HubUnreachableError
    late           does it much later   HubUnreachableError
    twice          does it twice        gets the first answer
    echo           does it; again later gets the answer

Late requests wait in `wire.late` until `deliver_late` carries one of them, in any order.
"""

from __future__ import annotations

import contextlib
import enum
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from reunite.core.principal import Principal
from reunite.errors import HubUnreachableError, ReuniteError, StorageUnavailableError
from reunite.protocol.problem import told_outside


class Fault(enum.StrEnum):
    """What happens to one request."""

    NONE = "none"
    DROP = "drop"
    LOSE = "lose"
    LATE = "late"
    TWICE = "twice"
    ECHO = "echo"


class AnsweringHub(Protocol):
    """The part of a hub that a wire needs."""

    def authenticate(self, token: str) -> Principal: ...

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request on its way; `label` names the transport it left by."""

    operation: str
    body: bytes
    token: str
    label: str


class WireObserver:
    """Watches a wire; the simulator's checkers hang here. Every method may be left as it is."""

    def sending(self, request: Request, fault: Fault) -> None:
        """The replica has sent the request; nothing has happened yet."""

    def arriving(self, request: Request) -> None:
        """The hub is about to see the request, perhaps not for the first time."""

    def answered(self, request: Request, answer: bytes) -> None:
        """The hub has done the request; nobody may ever see the answer."""

    def refused(self, request: Request, error: ReuniteError) -> None:
        """The hub has answered with an error."""

    def received(self, request: Request, answer: bytes) -> None:
        """The replica is about to get the answer."""


@dataclass(kw_only=True)
class SeededFaults:
    """Chooses faults by chance: the share of requests that meet each. Give it as `wire.choose`."""

    chance: random.Random
    drop: float = 0.06
    lose: float = 0.08
    late: float = 0.06
    twice: float = 0.04
    echo: float = 0.05

    def __call__(self, request: Request) -> Fault:
        drawn = self.chance.random()
        for fault, share in (
            (Fault.DROP, self.drop),
            (Fault.LOSE, self.lose),
            (Fault.LATE, self.late),
            (Fault.TWICE, self.twice),
            (Fault.ECHO, self.echo),
        ):
            if drawn < share:
                return fault
            drawn -= share
        return Fault.NONE


class FakeWire:
    """Carries requests from transports to a hub.

        wire = FakeWire(hub)
        replica = Replica.clone(path, transport=wire.transport(hub.create_token("owner")))
        wire.lose_next_answer()

    Faults come from the planned ones first (`drop_next_request` and its sisters), then from
    `choose`. `online = False` drops everything. Errors of the hub reach the caller as they are,
    except those of its database, which a server answers with 503.
    """

    def __init__(
        self,
        hub: AnsweringHub,
        *,
        choose: Callable[[Request], Fault] | None = None,
        observer: WireObserver | None = None,
    ) -> None:
        self.hub = hub
        self.choose = choose
        self.observer = observer or WireObserver()
        self.online = True
        self.late: list[Request] = []
        self.requests: list[Request] = []
        self._planned: list[tuple[Fault, str | None]] = []

    def transport(self, token: str, *, label: str = "replica") -> FakeTransport:
        """A transport for one replica, as `Replica(transport=...)` takes it."""
        return FakeTransport(wire=self, token=token, label=label)

    def drop_next_request(self, operation: str | None = None) -> None:
        """The next request (of this operation) never reaches the hub."""
        self._planned.append((Fault.DROP, operation))

    def lose_next_answer(self, operation: str | None = None) -> None:
        """The hub does the next request (of this operation); its answer is lost."""
        self._planned.append((Fault.LOSE, operation))

    def delay_next_request(self, operation: str | None = None) -> None:
        """The next request (of this operation) is given up and waits in `late`."""
        self._planned.append((Fault.LATE, operation))

    def double_next_request(self, operation: str | None = None) -> None:
        """The hub does the next request (of this operation) twice."""
        self._planned.append((Fault.TWICE, operation))

    def echo_next_request(self, operation: str | None = None) -> None:
        """The next request (of this operation) is answered, and a copy of it waits in `late`."""
        self._planned.append((Fault.ECHO, operation))

    def deliver_late(self, index: int = 0) -> bytes | ReuniteError:
        """Carry one late request to the hub; what it answered, which no replica sees."""
        request = self.late.pop(index)
        try:
            return self._deliver(request)
        except ReuniteError as exc:
            return exc

    def deliver_all_late(self) -> None:
        """Carry every late request to the hub, oldest first."""
        while self.late:
            self.deliver_late()

    def carry(self, request: Request) -> bytes:
        """What `FakeTransport.call` does."""
        self.requests.append(request)
        fault = self._fault(request)
        self.observer.sending(request, fault)
        match fault:
            case Fault.DROP:
                raise HubUnreachableError("The request was dropped.")
            case Fault.LATE:
                self.late.append(request)
                raise HubUnreachableError("The request is on its way, and was given up.")
            case Fault.LOSE:
                self._deliver_unseen(request)
                raise HubUnreachableError("The answer was lost.")
            case Fault.NONE:
                answer = self._deliver(request)
            case Fault.TWICE:
                answer = self._deliver(request)
                self._deliver_unseen(request)
            case Fault.ECHO:
                answer = self._deliver(request)
                self.late.append(request)
        self.observer.received(request, answer)
        return answer

    def _fault(self, request: Request) -> Fault:
        if not self.online:
            return Fault.DROP
        for index, (fault, operation) in enumerate(self._planned):
            if operation in {None, request.operation}:
                del self._planned[index]
                return fault
        return self.choose(request) if self.choose else Fault.NONE

    def _deliver(self, request: Request) -> bytes:
        self.observer.arriving(request)
        try:
            principal = self.hub.authenticate(request.token)
            answer = self.hub.answer(request.operation, request.body, principal)
        except ReuniteError as exc:
            self.observer.refused(request, exc)
            if isinstance(told_outside(exc), StorageUnavailableError):
                raise HubUnreachableError(
                    "The hub's database is not available.", has_answered=True
                ) from exc
            raise
        self.observer.answered(request, answer)
        return answer

    def _deliver_unseen(self, request: Request) -> None:
        with contextlib.suppress(ReuniteError):  # nobody is there to see it
            self._deliver(request)


@dataclass(kw_only=True)
class FakeTransport:
    """A replica's end of a FakeWire."""

    is_remote = False

    wire: FakeWire
    token: str
    label: str
    closed: bool = field(default=False, init=False)

    def call(self, operation: str, body: bytes) -> bytes:
        return self.wire.carry(
            Request(operation=operation, body=body, token=self.token, label=self.label)
        )

    def close(self) -> None:
        self.closed = True
