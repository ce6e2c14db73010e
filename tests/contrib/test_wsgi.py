"""The hub behind a WSGI server."""

import io
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from werkzeug.serving import make_server

from reunite import Hub, NotAuthenticatedError, Principal, Replica, Rules, row, user
from reunite.errors import HubUnreachableError
from tests.patience import DEADLINE_S


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Its URL, on a threaded server."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(DEADLINE_S)
        server.server_close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with sqlite3.connect(tmp_path / "hub.db") as db:
        db.execute("create table note (id text primary key not null, owner text, body text)")
    db.close()
    with Hub(tmp_path / "hub.db") as hub:
        hub.track("note")
        yield hub


def notes(replica: Replica) -> list[str]:
    with replica.transaction() as db:
        return [body for (body,) in db.execute("select body from note order by id")]


def write(replica: Replica, key: str, body: str = "x") -> None:
    with replica.transaction() as db:
        db.execute("insert into note values (?, ?, ?)", (key, "ann", body))


def ask(application: Any, method: str, path: str, body: bytes = b"", **more: Any) -> Any:
    """(status, headers, body) of one request."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, **more}
    environ["wsgi.input"] = io.BytesIO(body)
    environ.setdefault("CONTENT_LENGTH", str(len(body)))
    setup_testing_defaults(environ)
    told: list[Any] = []
    answer = b"".join(application(environ, lambda *start: told.append(start)))
    return told[0][0], dict(told[0][1]), answer


def test_replicas_clone_push_and_pull(hub: Hub, tmp_path: Path) -> None:
    with served(hub.wsgi()) as url, ExitStack() as closing:
        one, two = (
            closing.enter_context(
                Replica.clone(tmp_path / f"{name}.db", url, token=hub.create_token())
            )
            for name in ("one", "two")
        )
        write(one, "a", "0123456789" * 50_000)
        one.sync()
        two.sync()
        assert notes(two) == notes(one)
        assert two.compare().tables[0].differing == 0


def test_a_live_replica_asks_instead_of_streaming(hub: Hub, tmp_path: Path) -> None:
    with served(hub.wsgi()) as url, ExitStack() as closing:
        one, two = (
            closing.enter_context(
                Replica.clone(tmp_path / f"{name}.db", url, token=hub.create_token())
            )
            for name in ("one", "two")
        )
        came, polling = threading.Event(), threading.Event()

        def look(report: Any) -> None:
            if report.phase == "polling":
                polling.set()
            assert report.phase != "offline", report

        two.watch("note", lambda table: came.set())
        two.start(on_event=look)
        assert polling.wait(DEADLINE_S)
        write(one, "a")
        one.sync()
        assert came.wait(DEADLINE_S)
        assert notes(two) == ["x"]
        two.stop()


def test_the_host_says_who_asks(hub: Hub, tmp_path: Path) -> None:
    mine = row.owner == user.id
    hub.track("note", rules=Rules(read=mine, insert=mine))

    def authenticate(environ: dict[str, Any]) -> Principal | None:
        name = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if name == "broken":
            raise ZeroDivisionError
        return Principal(user=name) if name in ("ann", "bob") else None

    with served(hub.wsgi(authenticate=authenticate)) as url:
        with (
            Replica.clone(tmp_path / "ann.db", url, token="ann") as ann,
            Replica.clone(tmp_path / "bob.db", url, token="bob") as bob,
        ):
            write(ann, "a")
            ann.sync()
            bob.sync()
            assert notes(bob) == []
        with pytest.raises(NotAuthenticatedError):
            Replica.clone(tmp_path / "eve.db", url, token="eve")
        with pytest.raises(HubUnreachableError, match="failed on this request"):
            Replica.clone(tmp_path / "eve.db", url, token="broken")


def test_it_may_stand_under_a_prefix_and_answers_problems(hub: Hub) -> None:
    application = hub.wsgi(body_bytes_max=100)
    status, headers, body = ask(application, "GET", "/livez", SCRIPT_NAME="/some/place")
    assert (status, body) == ("200 OK", b'{"status":"live"}')
    assert headers["reunite-protocol"] == "1"
    assert ask(application, "GET", "/nothing", SCRIPT_NAME="/some/place")[0] == "404 Not Found"
    assert ask(application, "POST", "/v1/pull")[0] == "401 Unauthorized"
    token = {"HTTP_AUTHORIZATION": f"Bearer {hub.create_token()}"}
    json = {**token, "CONTENT_TYPE": "application/json"}
    assert ask(application, "POST", "/v1/pull", b"x" * 101, **json)[0].startswith("413")
    assert ask(application, "POST", "/v1/pull", b"{", **json)[0] == "400 Bad Request"
    short = {**json, "CONTENT_LENGTH": "50"}
    assert ask(application, "POST", "/v1/pull", b"{", **short) == ("400 Bad Request", {}, b"")
    assert ask(application, "GET", "/v1/live", **token)[0] == "204 No Content"


def test_a_body_in_pieces_without_a_length_is_read(hub: Hub) -> None:
    token = {"HTTP_AUTHORIZATION": f"Bearer {hub.create_token()}"}
    body = b'{"protocol":1,"replica":"' + b"x" * 200_000 + b'"}'
    told = ask(
        hub.wsgi(),
        "POST",
        "/v1/pull",
        body,
        CONTENT_TYPE="application/json",
        CONTENT_LENGTH="",
        **{"wsgi.input_terminated": True},
        **token,
    )
    assert told[0] == "400 Bad Request"
    assert b"field `known`" in told[2]  # all of it was there to be judged
