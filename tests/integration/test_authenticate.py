"""A host's own authentication decides who asks, instead of the hub's tokens; either way, streams
end when what opened them is worth something else."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from reunite import Hub, Principal, Replica, Rules, row, user
from reunite.errors import (
    BadRequestError,
    HubUnreachableError,
    NotAuthenticatedError,
    UnknownTableError,
)
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.server import ServerThread
from tests.integration.live_helpers import LiveReplica
from tests.integration.processes import wait_until
from tests.patience import DEADLINE_S

KEYS = {"key-of-ann": ("ann", ["red"]), "key-of-bob": ("bob", ["blue"])}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("""
            create table task (id text primary key not null, team text);
            insert into task values ('r', 'red'), ('b', 'blue');
        """)
    return path


@pytest.fixture
def hub(database: Path) -> Iterator[Hub]:
    with Hub(database) as hub:
        hub.track("task", rules=Rules(read=row.team.is_in(user.teams), insert=True))
        yield hub


class Accounts:
    """What a host knows of its users."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, list[str]]] = {
            k: (u, list(t)) for k, (u, t) in KEYS.items()
        }

    def __call__(self, request: Request) -> Principal | None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self.keys:
            return None
        name, teams = self.keys[key]
        return Principal(user=name, claims={"teams": list(teams)})

    async def later(self, request: Request) -> Principal | None:
        return self(request)


def ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [found for (found,) in db.execute("select id from task order by 1")]


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_whom_the_host_knows_sees_what_its_rules_say(hub: Hub, tmp_path: Path, kind: str) -> None:
    accounts = Accounts()
    authenticate: Any = accounts if kind == "function" else accounts.later
    with ServerThread(hub, authenticate=authenticate) as server:
        for key, found in (("key-of-ann", ["r"]), ("key-of-bob", ["b"])):
            with Replica.clone(tmp_path / f"{key}.db", server.url, token=key) as replica:
                replica.sync()
            assert ids(tmp_path / f"{key}.db") == found
        assert {record.principal for record in hub.status().replicas} == {"ann", "bob"}


def test_whom_the_host_does_not_know_is_refused(hub: Hub, tmp_path: Path) -> None:
    with ServerThread(hub, authenticate=Accounts()) as server:
        for token in ("a-stranger", hub.create_token("owner")):
            with pytest.raises(NotAuthenticatedError):
                Replica.clone(tmp_path / "r.db", server.url, token=token)


@pytest.mark.parametrize("failure", [RuntimeError("SECRET"), KeyError("SECRET")])
def test_a_host_that_fails_tells_nothing_of_it(
    hub: Hub, tmp_path: Path, failure: Exception
) -> None:
    def authenticate(request: Request) -> Principal:
        raise failure

    with (
        ServerThread(hub, authenticate=authenticate) as server,
        pytest.raises(HubUnreachableError) as caught,
    ):
        Replica.clone(tmp_path / "r.db", server.url, token="any")
    assert "SECRET" not in str(caught.value)


class Account:
    def __repr__(self) -> str:
        return "Account(password_hash=SECRET)"


@pytest.mark.parametrize(
    "failure",
    [
        Account(),
        Principal(user="ann", claims={"SECRET": {}}),
        BadRequestError("SECRET"),
        UnknownTableError("SECRET"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_the_host_gives_by_mistake_reaches_no_client(
    hub: Hub, caplog: pytest.LogCaptureFixture, failure: Any
) -> None:
    """A 400 repeated the object, with the hash in it."""

    def authenticate(request: Request) -> Any:
        if isinstance(failure, Exception):
            raise failure
        return failure

    with ServerThread(hub, authenticate=authenticate) as server:
        response = httpx2.get(f"{server.url}/v1/schema")
    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert "SECRET" not in response.text
    assert response.json()["incident"] in caplog.text
    assert "password_hash" not in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.keys["key-of-ann"][1].append("blue"),
        lambda accounts: accounts.keys["key-of-ann"][1].clear(),
    ],
    ids=["more", "less"],
)
def test_rights_that_the_host_changes_reach_live_replicas(
    hub: Hub, tmp_path: Path, change: Callable[[Accounts], object]
) -> None:
    """The stream ends, and the next one is opened with the rights of then."""
    accounts = Accounts()
    with (
        ServerThread(hub, authenticate=accounts) as server,
        Replica.clone(tmp_path / "r.db", server.url, token="key-of-ann") as replica,
        LiveReplica(replica, "task") as live,
    ):
        live.seen.until_phase("live")
        change(accounts)
        hub.feed.wake()
        wanted = [("b",), ("r",)] if len(accounts.keys["key-of-ann"][1]) == 2 else []
        live.until_rows("select id from task order by 1", wanted)


def test_rights_that_the_host_changes_in_place_reach_live_replicas(
    hub: Hub, tmp_path: Path
) -> None:
    ann = Principal(user="ann", claims={"teams": ["red"]})
    with (
        ServerThread(hub, authenticate=lambda request: ann) as server,
        Replica.clone(tmp_path / "r.db", server.url, token="any") as replica,
        LiveReplica(replica, "task") as live,
    ):
        live.until_rows("select id from task", [("r",)])
        live.seen.until_phase("live")
        ann.claims["teams"].remove("red")
        hub.feed.wake()
        live.until_rows("select id from task", [])


@pytest.mark.parametrize("failure", ["raises", "gives what cannot be used", "gives no principal"])
def test_what_the_host_raises_about_one_stream_ends_no_other(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    accounts = Accounts()
    accounts.keys["key-of-eve"] = ("eve", ["red"])
    is_failing = threading.Event()

    def authenticate(request: Request) -> Any:
        found = accounts(request)
        if found is None or found.user != "eve" or not is_failing.is_set():
            return found
        if failure == "raises":
            raise RuntimeError("SECRET")
        return Principal(user="eve", claims={"SECRET": {}}) if "used" in failure else "SECRET"

    with ServerThread(hub, authenticate=authenticate) as server, ExitStack() as stack:
        ann, bob, eve = (
            stack.enter_context(
                LiveReplica(
                    Replica.clone(tmp_path / f"{name}.db", server.url, token=f"key-of-{name}"),
                    "task",
                )
            )
            for name in ("ann", "bob", "eve")
        )
        for live in (ann, bob, eve):
            live.seen.until_phase("live")
        streams: Any = server._server._streams
        wait_until(lambda: len(streams._by_replica) == 3)
        of_bob = streams._by_replica[bob.replica.status().replica]
        is_failing.set()
        del accounts.keys["key-of-ann"]
        hub.feed.wake()
        ann.seen.until_phase("offline")
        eve.seen.until_phase("offline")
        assert streams._by_replica[bob.replica.status().replica] is of_bob
    said = [record for record in caplog.records if "authenticate=" in record.getMessage()]
    assert said
    assert not any("SECRET" in record.getMessage() or record.exc_info for record in said)


def test_pages_do_not_wait_for_a_slow_host(hub: Hub, database: Path, tmp_path: Path) -> None:
    accounts = Accounts()
    is_slow, is_asked, may_answer = threading.Event(), threading.Event(), threading.Event()

    def authenticate(request: Request) -> Principal | None:
        if is_slow.is_set() and request.url.path.endswith("/live"):
            is_asked.set()
            assert may_answer.wait(DEADLINE_S)
        return accounts(request)

    with (
        ServerThread(hub, authenticate=authenticate) as server,
        Replica.clone(tmp_path / "r.db", server.url, token="key-of-ann") as replica,
        LiveReplica(replica, "task") as live,
    ):
        live.seen.until_phase("live")
        is_slow.set()
        hub.feed.wake()
        try:
            assert is_asked.wait(DEADLINE_S)
            with closing(sqlite3.connect(database, isolation_level=None)) as db:
                db.execute("insert into task values ('r2', 'red')")
            live.until_rows("select id from task order by 1", [("r",), ("r2",)])
            # What the host says in the end still counts.
            accounts.keys.clear()
        finally:
            may_answer.set()
        live.seen.until_phase("offline")


def test_a_token_that_is_given_out_again_with_other_rights_ends_its_streams(
    hub: Hub, tmp_path: Path
) -> None:
    token = "chosen-by-its-owner-0123456789-0123456789"

    def give_out(*teams: str) -> None:
        owner = Principal(user="ann", claims={"teams": list(teams)})
        hub.create_token(owner, label="of ann", token=token)

    give_out("red")
    with (
        ServerThread(hub) as server,
        Replica.clone(tmp_path / "r.db", server.url, token=token) as replica,
        LiveReplica(replica, "task") as live,
    ):
        live.until_rows("select id from task", [("r",)])
        live.seen.until_phase("live")
        hub.revoke_token("of ann")
        give_out("blue")
        live.until_rows("select id from task", [("b",)])


def test_a_hub_knows_who_holds_tokens(hub: Hub) -> None:
    ann = Principal(user="ann", claims={"teams": ["red"]})
    tokens = {hub.create_token(ann): ann, hub.create_token("bob"): Principal(user="bob")}
    assert hub.holders([*tokens, "nobodys"]) == tokens


def test_rules_that_change_reach_live_replicas(hub: Hub, tmp_path: Path) -> None:
    with (
        ServerThread(hub, authenticate=Accounts()) as server,
        Replica.clone(tmp_path / "r.db", server.url, token="key-of-ann") as replica,
        LiveReplica(replica, "task") as live,
    ):
        live.seen.until_phase("live")
        hub.track("task", rules=Rules(read=True))
        live.until_rows("select id from task order by 1", [("b",), ("r",)])
        hub.track("task", rules=Rules(read=False, insert=True))
        live.until_rows("select id from task order by 1", [])


def test_streams_of_those_whose_rights_stay_go_on_when_rules_change(
    hub: Hub, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(ServerThread(hub, authenticate=Accounts()))
        live = {}
        for name in ("ann", "bob"):
            replica = stack.enter_context(
                Replica.clone(tmp_path / f"{name}.db", server.url, token=f"key-of-{name}")
            )
            live[name] = stack.enter_context(LiveReplica(replica, "task"))
            live[name].seen.until_phase("live")
        streams: Any = server._server._streams

        def of(name: str) -> Any:
            return next(
                (each for each in streams._streams if each.watch.principal.user == name), None
            )

        wait_until(lambda: of("ann") is not None and of("bob") is not None)
        before = {name: of(name) for name in live}
        own = row.team.is_in(user.teams)
        hub.track("task", rules=Rules(read=own & (user.id == "ann"), insert=True))
        live["bob"].until_rows("select id from task", [])
        wait_until(lambda: of("bob") not in (None, before["bob"]))
        assert of("ann") is before["ann"]


def test_a_pull_that_waits_is_not_answered_when_its_rights_are_gone(
    hub: Hub, database: Path
) -> None:
    accounts = Accounts()
    key = "key-of-ann"
    bearer = {"authorization": f"Bearer {key}"}
    with (
        ServerThread(hub, authenticate=accounts) as server,
        httpx2.Client(base_url=server.url, headers=bearer, timeout=DEADLINE_S) as client,
        ThreadPoolExecutor() as pool,
    ):
        asked = {"protocol": PROTOCOL_VERSION, "name": "waiting"}
        replica = client.post("/v1/register", json=asked).json()["replica"]
        asked = {"protocol": PROTOCOL_VERSION, "replica": replica, "known": 0}
        page = client.post("/v1/pull", json=asked).json()
        while page.get("more"):
            page = client.post("/v1/pull", json=asked | {"cursor": page["cursor"]}).json()
        waiting = asked | {"cursor": page["cursor"], "wait_s": 20}
        answer = pool.submit(client.post, "/v1/pull", json=waiting)
        streams: Any = server._server._streams
        wait_until(lambda: len(streams._streams) == 1)
        del accounts.keys[key]
        with closing(sqlite3.connect(database, isolation_level=None)) as db:
            db.execute("insert into task values ('r2', 'red')")
        assert answer.result().status_code == 401
        assert "r2" not in answer.result().text
