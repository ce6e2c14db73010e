"""A hub for tests of the server and of the transport: it notes what it is asked."""

import threading
from collections.abc import Callable, Iterable, Mapping

import msgspec

from reunite.core.change import Op
from reunite.core.principal import Principal
from reunite.engine.live import LiveDesk
from reunite.engine.news import Feed
from reunite.errors import NotAuthenticatedError
from reunite.feeds import LocalFeed
from reunite.hub import Hub
from reunite.protocol.codec import decode, encode
from reunite.protocol.pull import Page, PullRequest, TablePage
from reunite.protocol.push import GroupMessage, PushAnswer, PushRequest, Run, SchemaAnswer
from reunite.protocol.query import QueryAnswer
from reunite.protocol.register import RegisterAnswer, RegisterRequest
from reunite.protocol.repair import Ask, RepairAnswer, RepairRequest
from reunite.protocol.routes import ROUTES
from reunite.stores.memory import MemoryStore
from tests.patience import DEADLINE_S

TOKEN = "the-token-of-ann"
STAMP = "018f00000000-0000-hub"

REGISTER = encode(RegisterRequest(protocol=1, name="till"))
PULL = encode(PullRequest(protocol=1, replica="r1", known=0))
REPAIR = encode(RepairRequest(protocol=1, replica="r1", cursor="c1", table="planes", ask=Ask.SUMS))
RUN = Run(
    table="planes",
    op=Op.INSERT,
    columns=("id", "name"),
    mark=0,
    covered=0,
    stamps=("s",),
    ids=("c1",),
    set=((1, "a"),),
)
PUSH = encode(
    PushRequest(
        protocol=1,
        epoch="e1",
        replica="r1",
        known=0,
        first_n=1,
        schemas={"planes": 1},
        groups=(GroupMessage(runs=(RUN,)),),
    )
)
POSTS = {"v1/register": REGISTER, "v1/push": PUSH, "v1/pull": PULL, "v1/repair": REPAIR}
GETS = ("v1/schema", "v1/query/planes")

ANSWERS: dict[str, msgspec.Struct] = {
    "register": RegisterAnswer(
        protocol=1, replica="r1", epoch="e1", mark=0, tables=(), blocks=(), stamp=STAMP
    ),
    "push": PushAnswer(first_n=1, last_n=1, outcomes=(), stamp=STAMP),
    "pull": Page(cursor="c1", stamp=STAMP, schemas={}, checkpoint=True, answered=0, mark=0),
    "repair": RepairAnswer(cursor="c1", stamp=STAMP, rows=[0], sums=[f"{0:016x}"]),
    "schema": SchemaAnswer(protocol=1, epoch="e1", tables=()),
    "query": QueryAnswer(columns=("id",), rows=[(1,), (2,)]),
}


def large_page() -> Page:
    """A page worth compressing."""
    rows: list[tuple[object, ...]] = [(n, f"name {n % 7}") for n in range(2_000)]
    table = TablePage(table="planes", columns=("id", "name"), puts=rows)
    return Page(cursor="c1", stamp=STAMP, schemas={"planes": 1}, tables=(table,), more=True)


class FakeHub:
    """Answers every well-formed message, or does what `behaviour` of the operation does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Be as new."""
        self.tokens = {TOKEN: Principal(user="ann")}
        self.asked: list[tuple[str, bytes, Principal]] = []
        self.behaviour: dict[str, Callable[[], object]] = {}
        self.is_up = True

    def authenticate(self, token: str) -> Principal:
        if token not in self.tokens:
            raise NotAuthenticatedError("The token is not one of this hub.")
        return self.tokens[token]

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        request = ROUTES[operation].request
        if request is not None:
            decode(body, request)
        with self._lock:
            self.asked.append((operation, body, principal))
        if operation in self.behaviour:
            return encode(self.behaviour[operation]())
        return encode(ANSWERS[operation])

    def holders(self, tokens: Iterable[str]) -> Mapping[str, Principal]:
        return {token: self.tokens[token] for token in tokens if token in self.tokens}

    def start_jobs(self) -> None:
        """It has none."""

    def live(self) -> LiveDesk:
        """The desk of a hub that has nothing: no replica can be where a stream goes on."""
        return Hub(MemoryStore()).live()

    @property
    def feed(self) -> Feed:
        return LocalFeed()

    def is_ready(self) -> bool:
        return self.is_up


def raises(error: Exception) -> Callable[[], object]:
    """A behaviour: raise."""

    def behave() -> object:
        raise error

    return behave


class Gate:
    """A behaviour: report that the request has come, and answer when the gate is opened."""

    def __init__(self, answer: object) -> None:
        self._answer = answer
        self.has_come = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> object:
        self.has_come.set()
        assert self._opened.wait(timeout=DEADLINE_S), "nobody opened the gate"
        return self._answer

    def open(self) -> None:
        self._opened.set()
