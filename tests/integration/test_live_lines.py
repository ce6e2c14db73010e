"""Lines that break, hang and hold things back; and clients that do not read."""

import json
import random
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from reunite import Hub, Replica
from reunite.replica import live as replica_live
from reunite.replica.http import HttpTransport
from reunite.server import ServerThread
from tests.integration.http_helpers import client_of
from tests.integration.line_proxy import LineProxy
from tests.integration.live_helpers import LiveReplica, query
from tests.patience import DEADLINE_S

STEPS = 60
NOTES = "select id, title from note order by id"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "pragma journal_mode = wal; create table note (id text primary key not null, title text)"
    )
    connection.close()
    return path


@pytest.fixture
def hub(database: Path) -> Iterator[Hub]:
    with Hub(database) as hub:
        hub.track("note")
        yield hub


@pytest.fixture
def token(hub: Hub) -> str:
    return hub.create_token()


@pytest.fixture
def server(hub: Hub) -> Iterator[ServerThread]:
    with ServerThread(hub) as server:
        yield server


@pytest.fixture
def proxy(server: ServerThread) -> Iterator[LineProxy]:
    with LineProxy(server.url) as proxy:
        yield proxy


def through(proxy: LineProxy, token: str, path: Path, *, silence_s: float = 30) -> LiveReplica:
    """A clone, made with all patience, that is live with `silence_s` of it."""
    Replica.clone(path, proxy.url, token=token).close()
    transport = HttpTransport(proxy.url, token=token, silence_s=silence_s, timeout_s=silence_s)
    return LiveReplica(Replica(path, url=proxy.url, transport=transport), "note")


# --- A replica behind a proxy ---------------------------------------------------------------------


def test_a_line_that_is_cut_is_opened_again(
    proxy: LineProxy, token: str, tmp_path: Path, database: Path
) -> None:
    with through(proxy, token, tmp_path / "laptop.db") as live:
        for number in range(3):
            before = len(live.seen.reports)
            live.seen.until(lambda: live.replica.live.phase == "live")
            proxy.cut()
            live.seen.until_phase("offline", after=before)
            query(database, "insert into note values (?, 'x')", str(number))
            live.until_rows("select count(*) from note", [(number + 1,)])


def test_a_line_on_which_nothing_comes_any_more_is_given_up(
    proxy: LineProxy, token: str, tmp_path: Path, database: Path
) -> None:
    with through(proxy, token, tmp_path / "laptop.db", silence_s=1) as live:
        live.seen.until_phase("live")
        before = len(live.seen.reports)
        proxy.is_silent = True
        live.seen.until_phase("offline", after=before)
        query(database, "insert into note values ('a', 'meanwhile')")
        proxy.is_silent = False
        live.until_rows(NOTES, [("a", "meanwhile")])


def test_where_streams_are_held_back_pulls_that_wait_take_their_place(
    proxy: LineProxy,
    token: str,
    tmp_path: Path,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_live, "FIRST_EVENT_S", 0.2)
    proxy.gathers_streams = True
    with through(proxy, token, tmp_path / "laptop.db") as live:
        live.seen.until_phase("polling")
        for number in range(3):
            query(database, "insert into note values (?, 'x')", str(number))
            live.until_rows("select count(*) from note", [(number + 1,)])
        query(live.replica.path, "insert into note values ('here', 'y')")
        assert live.replica.wait_until_synced(DEADLINE_S)
        assert query(database, "select count(*) from note") == [(4,)]
        assert proxy.streams_seen == 1, "streams are not tried again and again"


def test_a_time_of_waiting_pulls_ends_with_another_try_of_a_stream(
    proxy: LineProxy, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_live, "FIRST_EVENT_S", 0.2)
    monkeypatch.setattr(replica_live, "STREAM_AGAIN_S", 0.2)
    proxy.gathers_streams = True
    with through(proxy, token, tmp_path / "laptop.db") as live:
        live.seen.until_phase("polling")
        proxy.gathers_streams = False
        live.seen.until_phase("live")


def test_a_url_that_would_be_too_long_is_not_asked(
    proxy: LineProxy, token: str, tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.replica.http.URL_LENGTH_MAX", 30)
    with through(proxy, token, tmp_path / "laptop.db") as live:
        live.seen.until_phase("polling")
        query(database, "insert into note values ('a', 'x')")
        live.until_rows(NOTES, [("a", "x")])
        assert proxy.streams_seen == 0


# --- The stream as it is --------------------------------------------------------------------------


class Line:
    """One stream, read event by event."""

    def __init__(self, client: httpx2.Client, **asked: Any) -> None:
        cursor = asked.pop("cursor")
        self._entering = client.stream(
            "GET",
            "v1/live",
            params={"protocol": "1", **asked},
            headers={} if cursor is None else {"Last-Event-ID": cursor},
        )
        self.response = self._entering.__enter__()
        self._lines = self.response.iter_lines()

    def next(self) -> tuple[str, Any]:
        """The next event that has a name."""
        name, data = self.next_of_any()
        while not name:
            name, data = self.next_of_any()
        return name, data

    def next_of_any(self) -> tuple[str, Any]:
        """The next event; a sign of life is one without a name."""
        name, data = "", None
        for line in self._lines:
            field, _, value = line.partition(":")
            if field == "event":
                name = value.strip()
            elif field == "data":
                data = msgspec.json.decode(value)
            elif not line:
                return name, data
        return "end", None

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._entering.__exit__(None, None, None)


@pytest.fixture
def client(server: ServerThread, token: str) -> Iterator[httpx2.Client]:
    with client_of(server.url, token) as client:
        yield client


def place(client: httpx2.Client, **asked_for: Any) -> dict[str, Any]:
    """What a stream of a new replica at its first checkpoint is asked with."""
    body = client.post("v1/register", json={"protocol": 1, "name": "raw"}).json()
    replica, cursor = body["replica"], None
    while True:
        asked = {"protocol": 1, "replica": replica, "known": 0, "cursor": cursor}
        page = client.post("v1/pull", json=asked | asked_for).json()
        cursor = page["cursor"]
        if page.get("checkpoint"):
            spelled = {name: json.dumps(value) for name, value in asked_for.items()}
            return {"replica": replica, "cursor": cursor, **spelled}


def test_a_stream_says_first_what_is_answered_and_then_each_page(
    client: httpx2.Client, database: Path
) -> None:
    with Line(client, **place(client)) as line:
        assert line.response.headers["content-type"].startswith("text/event-stream")
        assert line.response.headers["x-accel-buffering"] == "no"
        assert line.next() == ("answered", {"answered": 0})
        assert line.next()[0] == "page", "what came since the cursor, if only that it is all"
        query(database, "insert into note values ('a', 'x')")
        name, page = line.next()
        assert name == "page"
        assert page["tables"] == [
            {"table": "note", "columns": ["id", "title"], "puts": [["a", "x"]]}
        ]
        assert page["checkpoint"]
        assert "answered" not in page


def test_a_stream_goes_on_after_its_last_event(client: httpx2.Client, database: Path) -> None:
    where = place(client)
    query(database, "insert into note values ('a', 'x')")
    with Line(client, **where) as line:
        line.next()
        where["cursor"] = line.next()[1]["cursor"]
    query(database, "insert into note values ('b', 'y')")
    with Line(client, **where) as line:
        line.next()
        assert line.next()[1]["tables"][0]["puts"] == [["b", "y"]]


def test_a_second_stream_of_a_replica_ends_the_first(client: httpx2.Client) -> None:
    where = place(client)
    with Line(client, **where) as first:
        first.next()
        first.next()
        with Line(client, **where) as second:
            assert second.next()[0] == "answered"
            assert [first.next()[0], first.next()[0]] == ["pull", "end"]


def test_what_a_stream_cannot_bring_is_left_to_a_pull(
    client: httpx2.Client, database: Path
) -> None:
    where = place(client)
    with Line(client, **where, tables="[]") as line:
        assert [line.next()[0], line.next()[0]] == ["pull", "end"], "another view"
    with Line(client, **where) as line:
        line.next()
        line.next()
        query(database, "alter table note add column pinned integer")
        assert [line.next()[0], line.next()[0]] == ["pull", "end"], "another table"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cursor": None}, (400, "bad-request", "Last-Event-ID")),
        ({"cursor": "no-cursor"}, (400, "bad-request", "cursor")),
        ({"replica": "nobody"}, (409, "replica-unknown", None)),
        ({"protocol": "99"}, (426, "upgrade-required", None)),
        ({"tables": '["nothing"'}, (400, "bad-request", "tables")),
        ({"where": '{"note": {"field": "x"}}'}, (400, "bad-request", "where.note")),
        ({"since": "1"}, (400, "bad-request", "query")),
    ],
)
def test_a_stream_that_cannot_be_asked_for_is_a_problem(
    client: httpx2.Client, change: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    with Line(client, **(place(client) | change)) as line:
        problem = msgspec.json.decode(line.response.read())
        found = line.response.status_code, problem["code"], problem.get("path")
    assert found[:2] == expected[:2], problem
    assert (found[2] or "").startswith(expected[2] or ""), problem


def test_a_silent_stream_gives_signs_of_life(hub: Hub, token: str) -> None:
    with (
        ServerThread(hub, heartbeat_s=0) as server,
        client_of(server.url, token) as client,
        Line(client, **place(client)) as line,
    ):
        assert [line.next_of_any()[0] for _ in range(4)] == ["answered", "page", "", ""]


def test_a_stream_that_nothing_concerns_is_told_newer_cursors(
    client: httpx2.Client, hub: Hub, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can go on where it broke, whatever was trimmed meanwhile."""
    monkeypatch.setattr("reunite.server.live.REFRESH_S", 0.0)
    nobody = {"field": "id", "operator": "exact", "value": "nobody"}
    where = place(client, where={"note": nobody})
    with Line(client, **where) as line:
        line.next()
        first = line.next()[1]["cursor"]
        query(database, "insert into note values ('a', 'x')")
        name, page = line.next()
        assert (name, "tables" in page) == ("page", False)
        assert page["cursor"] != first
    hub.trim(older_than_s=0)
    with Line(client, **(where | {"cursor": page["cursor"]})) as line:
        assert line.next()[0] == "answered"


def test_streams_beyond_the_limit_are_refused_by_its_name(hub: Hub, token: str) -> None:
    with (
        ServerThread(hub, streams_max=1) as server,
        client_of(server.url, token) as client,
        Line(client, **place(client)) as line,
        Line(client, **place(client)) as refused,
    ):
        problem = msgspec.json.decode(refused.response.read())
        assert (refused.response.status_code, problem["limit"]) == (429, "STREAMS_MAX")
        assert line.next()[0] == "answered"


def test_a_slow_reader_gets_the_newest_state_and_not_all_in_between(
    client: httpx2.Client, server: ServerThread, token: str, database: Path
) -> None:
    """And it keeps nobody waiting."""
    where, size, updates = place(client), 200_000, 50
    query(database, "insert into note values ('a', '')")
    quick = place(client)
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    with socket.socket() as slow, Line(client, **quick) as line:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.settimeout(DEADLINE_S)
        slow.connect((host, int(port)))
        slow.sendall(
            f"GET /v1/live?protocol=1&replica={where['replica']} HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {token}\r\nLast-Event-ID: {where['cursor']}\r\n\r\n".encode()
        )
        assert b"event: answered" in receive(slow, b"event: page")
        line.next()
        for number in range(updates):
            query(database, "update note set title = ?", f"{number}:" + "x" * size)
            while "tables" not in line.next()[1]:
                pass
        received = receive(slow, f"{updates - 1}:xxx".encode())
        assert received.count(b"event: page") < updates / 2


def receive(line: socket.socket, until: bytes) -> bytes:
    received = b""
    while until not in received:
        part = line.recv(1 << 20)
        assert part, "the line ended"
        received += part
    return received


# --- All at once ----------------------------------------------------------------------------------


def test_replicas_agree_after_lines_were_cut_again_and_again(
    hub: Hub, proxy: LineProxy, token: str, tmp_path: Path, database: Path
) -> None:
    chance = random.Random(11)
    with ExitStack() as stack:
        lives = [
            stack.enter_context(through(proxy, token, tmp_path / f"{name}.db", silence_s=5))
            for name in ("a", "b", "c")
        ]
        for number in range(STEPS):
            where = chance.choice([database, *(live.replica.path for live in lives)])
            query(
                where,
                chance.choice(
                    [
                        f"insert into note values ('{number}', 'x')",
                        "update note set title = title || 'y' where rowid % 3 = 0",
                        "delete from note where rowid % 5 = 0",
                    ]
                ),
            )
            if chance.random() < 0.1:
                proxy.cut()
        for _ in range(2):  # what the last one pushed is new to the first
            for live in lives:
                assert live.replica.wait_until_synced(DEADLINE_S), live.seen.reports[-5:]
        expected = query(database, NOTES)
        assert [live.rows(NOTES) for live in lives] == [expected] * 3
        assert all(live.replica.status().pending == 0 for live in lives)


def test_what_one_server_takes_reaches_the_streams_of_another(
    server: ServerThread, token: str, tmp_path: Path, database: Path
) -> None:
    """As with several processes: each has a hub of its own on the one database."""
    with Hub(database) as other_hub:
        other_hub.track("note")
        with ServerThread(other_hub) as other_server:
            here = LiveReplica(Replica.clone(tmp_path / "a.db", server.url, token=token), "note")
            there = Replica.clone(tmp_path / "b.db", other_server.url, token=token)
            with here, LiveReplica(there, "note") as there_live:
                here.seen.until_phase("live")
                query(there.path, "insert into note values ('a', 'pushed elsewhere')")
                here.until_rows(NOTES, [("a", "pushed elsewhere")])
                query(here.replica.path, "update note set title = 'and back'")
                there_live.until_rows(NOTES, [("a", "and back")])
