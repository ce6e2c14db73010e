"""A hub mounted on FastAPI."""

import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from reunite import Hub, NotAuthenticatedError, Principal, Replica, Rules, row, user
from reunite.contrib.fastapi import mount
from tests.contrib.test_wsgi import notes, write
from tests.patience import DEADLINE_S


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with sqlite3.connect(tmp_path / "hub.db") as db:
        db.execute("create table note (id text primary key not null, owner text, body text)")
    db.close()
    with Hub(tmp_path / "hub.db") as hub:
        hub.track("note")
        yield hub


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Its URL, on uvicorn as teams run it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)


def test_the_hubs_own_tokens_count_without_a_dependency(hub: Hub, tmp_path: Path) -> None:
    app = FastAPI()
    mount(app, hub)
    with (
        served(app) as url,
        Replica.clone(tmp_path / "a.db", f"{url}/sync", token=hub.create_token()) as replica,
    ):
        write(replica, "a")
        replica.sync()
        assert hub.status().changes == 1


class Users:
    """Whose token is whose; tests change it."""

    def __init__(self) -> None:
        self.names = {"a": "ann", "b": "bob"}


def token(authorization: Annotated[str, Header()] = "") -> str:
    return authorization.removeprefix("Bearer ")


async def current(request: Request, given: Annotated[str, Depends(token)]) -> AsyncIterator[Any]:
    if given == "broken":
        raise ZeroDivisionError
    name = request.app.state.users.names.get(given)
    if name is None:
        raise HTTPException(401)
    yield Principal(user=name)


@pytest.fixture
def app(hub: Hub) -> FastAPI:
    mine = row.owner == user.id
    hub.track("note", rules=Rules(read=mine, insert=mine))
    app = FastAPI()
    app.state.users = Users()
    mount(app, hub, "/api/sync", principal=current)
    return app


def test_a_dependency_of_the_application_says_who_asks(app: FastAPI, tmp_path: Path) -> None:
    with served(app) as url:
        with (
            Replica.clone(tmp_path / "ann.db", f"{url}/api/sync", token="a") as ann,
            Replica.clone(tmp_path / "bob.db", f"{url}/api/sync", token="b") as bob,
        ):
            write(ann, "a")
            ann.sync()
            bob.sync()
            assert (notes(ann), notes(bob)) == (["x"], [])
        with pytest.raises(NotAuthenticatedError):
            Replica.clone(tmp_path / "eve.db", f"{url}/api/sync", token="e")


def test_overrides_count_and_failures_tell_nothing(app: FastAPI, hub: Hub) -> None:
    with served(app) as url:
        ask = f"{url}/api/sync/v1/query/note"
        broken = httpx2.get(ask, headers={"Authorization": "Bearer broken"})
        assert broken.status_code == 500
        assert "division" not in broken.text
        app.dependency_overrides[current] = lambda: "ann"
        assert httpx2.get(ask).status_code == 200
        app.dependency_overrides[current] = lambda: None
        assert httpx2.get(ask).status_code == 401


def test_a_stream_ends_when_the_dependency_says_no(app: FastAPI, hub: Hub, tmp_path: Path) -> None:
    with (
        served(app) as url,
        Replica.clone(tmp_path / "ann.db", f"{url}/api/sync", token="a") as ann,
        Replica.clone(tmp_path / "two.db", f"{url}/api/sync", token="a") as two,
    ):
        phases: list[str] = []
        news = threading.Condition()

        def look(report: Any) -> None:
            with news:
                phases.append(report.phase)
                news.notify_all()

        def reached(phase: str) -> bool:
            with news:
                return news.wait_for(lambda: phase in phases, DEADLINE_S)

        ann.start(on_event=look)
        assert reached("live")
        write(two, "b")
        two.sync()
        assert ann.wait_until_synced(DEADLINE_S)
        assert notes(ann) == ["x"]
        app.state.users.names.clear()
        hub.feed.wake()
        assert reached("offline")
        ann.stop()


def test_a_hub_may_live_in_the_lifespan(tmp_path: Path, hub: Hub) -> None:
    entered: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        mount(app, hub)
        entered.append("in")
        yield
        entered.append("out")

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    def health() -> str:
        return "well"

    with served(app) as url:
        assert httpx2.get(f"{url}/sync/livez").json() == {"status": "live"}
        assert httpx2.get(f"{url}/health").json() == "well"
    assert entered == ["in", "out"]
