"""Bytes that are no request, requests that never end, and readers that never read."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from reunite.server.connection import HEAD_BYTES_MAX, BoundedProtocol, _unread_bytes
from tests.hostile.conftest import ANN, MALLORY, Somebody, Town, town_at
from tests.integration.http_helpers import connection_to
from tests.integration.processes import wait_until
from tests.patience import DEADLINE_S


def answer_to(town: Town, request: bytes) -> bytes:
    """All that comes back until the hub closes the connection."""
    with connection_to(town.server) as connection:
        try:
            for start in range(0, len(request), 65_536):
                connection.sendall(request[start : start + 65_536])
        except OSError:
            pass  # it was refused before it was whole
        return rest_of(connection)


def rest_of(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(65_536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


HEADERS = "Host: x\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\n"
POST = f"POST /v1/pull HTTP/1.1\r\n{HEADERS}"
GET = f"GET /v1/schema HTTP/1.1\r\n{HEADERS}Connection: close\r\n"
HIDDEN = b"0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n"

NO_HTTP: dict[str, bytes] = {
    "another path's bytes": b"GET /v1/\xff\xfe HTTP/1.1\r\n\r\n",
    "letters beyond ASCII": "GET /v1/é HTTP/1.1\r\n\r\n".encode(),
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
    "a method of nobody": b"FROB /v1/schema HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET /livez HTTP/3.0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "two lengths": POST.encode() + b"Content-Length: 2\r\nContent-Length: 30\r\n\r\n{}",
    "a length and chunks": POST.encode()
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    + HIDDEN,
    "a negative length": POST.encode() + b"Content-Length: -2\r\n\r\n{}",
    "a signed length": POST.encode() + b"Content-Length: +2\r\n\r\n{}",
    "a length beyond all": POST.encode() + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "another transfer": POST.encode() + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a chunk that is none": POST.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "a folded header": GET.encode() + b"X: a\r\n b\r\n\r\n",
    "a blank before the colon": GET.encode() + b"X : a\r\n\r\n",
    "a NUL in a header": GET.encode() + b"X: a\x00b\r\n\r\n",
    "bare line feeds": b"GET /v1/schema HTTP/1.1\nHost: x\n\n",
    "a long line": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", NO_HTTP.values(), ids=NO_HTTP.keys())
def test_what_is_no_request_is_refused_and_ends_the_connection(
    town: Town, request_bytes: bytes
) -> None:
    token = town.hub.create_token(ANN)
    answer = answer_to(town, request_bytes.replace(b"TOKEN", token.encode()))
    assert re.match(rb"HTTP/1.1 4\d\d ", answer)
    assert b"application/problem+json" in answer
    assert b"nosniff" in answer
    assert answer.count(b"HTTP/1.1 ") == 1, "nothing hidden behind it was answered"
    assert token.encode() not in answer


@pytest.mark.parametrize(
    "head",
    [
        "GET /livez HTTP/1.1\r\nX: " + "a" * 2_000_000 + "\r\n\r\n",
        "GET /livez HTTP/1.1\r\n" + "".join(f"X{n}: a\r\n" for n in range(100_000)) + "\r\n",
        "GET /livez HTTP/1.1\r\n" + "X: " + "a" * (HEAD_BYTES_MAX + 1) + "\r\n\r\n",
    ],
    ids=["a long header", "many headers", "a little too long"],
)
def test_heads_are_bounded(town: Town, head: str) -> None:
    assert b'"HEAD_BYTES_MAX"' in answer_to(town, head.encode())


def test_a_head_within_the_bound_is_answered(town: Town) -> None:
    head = "GET /livez HTTP/1.1\r\nConnection: close\r\nX: " + "a" * (HEAD_BYTES_MAX - 200)
    assert b"HTTP/1.1 200 " in answer_to(town, f"{head}\r\n\r\n".encode())


def test_requests_one_behind_the_other_are_all_answered(town: Town) -> None:
    one = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert answer_to(town, one * 2_000 + last).count(b'{"status":"live"}') == 2_001


@pytest.mark.parametrize(
    "path",
    ["/v1/query/../schema", "/v1/query/%2e%2e/schema", "/v1/./schema", "//v1/schema", "/v1//schema",
     "/v1/schema/", "/V1/SCHEMA", "/v1/schema%00", "/v1/schema;x", "/%76%31/%2573chema", "/..", "*",
     "/v1/query/..%2f..%2fetc%2fpasswd", "/static/../../etc/passwd", "/.git/config", "/.env",
     "/v1/query/%ff%fe", "/v1/query/%zz", "http://example.org/v1/nothing",
     "//example.org/v1/schema"],
)  # fmt: skip
def test_paths_are_what_they_say(town: Town, path: str) -> None:
    token = town.hub.create_token(ANN)
    answer = answer_to(
        town, f"{GET}\r\n".replace("TOKEN", token).replace("/v1/schema", path, 1).encode()
    )
    assert b"HTTP/1.1 404 " in answer
    assert b'"tables"' not in answer


# --- Slow ones ------------------------------------------------------------------------------------


def test_a_connection_without_a_request_is_given_up(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_s_max", 0.2)
    with connection_to(town.server) as silent, connection_to(town.server) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
        assert rest_of(silent) == b""
        assert rest_of(slow) == b""


def test_a_head_that_trickles_after_an_answer_is_given_up(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_s_max", 0.2)
    with connection_to(town.server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /li")
        assert rest_of(connection).count(b"HTTP/1.1 200 ") == 1


def test_a_head_may_come_while_an_answer_is_under_way(
    town: Town, mallory: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends its next request early waits for this one longer than for a head."""
    monkeypatch.setattr(BoundedProtocol, "head_s_max", 0.2)
    cursor = mallory.pull_all()[-1].cursor
    body = json.dumps(mallory.pull_message(cursor=cursor, wait_s=1))
    token = town.hub.create_token(MALLORY)
    request = POST.replace("TOKEN", token) + f"Content-Length: {len(body)}\r\n\r\n{body}"
    with connection_to(town.server) as connection:
        connection.sendall(request.encode() + b"GET /livez HTTP/1.1\r\nConnection: close")
        connection.sendall(b"\r\n\r\n")
        assert rest_of(connection).count(b"HTTP/1.1 200 ") == 2


def test_nobody_waits_for_the_body_of_somebody_unknown(town: Town) -> None:
    """A stranger who sends a head alone is refused at once, whatever token they name."""
    with connection_to(town.server) as connection:
        connection.sendall((POST + "Content-Length: 20\r\n\r\n").encode())
        connection.settimeout(DEADLINE_S)
        assert b" 401 " in connection.recv(65_536)


def test_a_body_that_trickles_is_given_up(database: Path) -> None:
    with town_at(database, body_idle_s_max=1, body_rate_min=1_000_000) as town:
        token = town.hub.create_token(ANN)
        with connection_to(town.server) as connection:
            connection.sendall(
                (POST.replace("TOKEN", token) + "Content-Length: 100000\r\n\r\n").encode()
            )
            connection.settimeout(0.1)  # never idle for a second, and far too slow
            answer = b""
            deadline = time.monotonic() + DEADLINE_S
            while not answer and time.monotonic() < deadline:
                connection.send(b" ")
                with suppress(TimeoutError):
                    answer = connection.recv(65_536)
            assert b" 408 " in answer


def metric(town: Town, name: str) -> float:
    with httpx2.Client(base_url=town.server.url, trust_env=False) as client:
        text = client.get("metrics").text
    found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0


@pytest.fixture
def library(database: Path) -> Iterator[Town]:
    """A town with rows for a page of 8 MB."""
    db = sqlite3.connect(database)
    with db:
        db.executemany(
            "insert into task (id, organization, title) values (?, 'acme', ?)",
            [(f"book-{number}", "x" * 500_000) for number in range(24)],
        )
    db.close()
    with town_at(database, metrics=True) as town:
        yield town


def asks_and_does_not_read(town: Town) -> socket.socket:
    body = b'{"protocol":1,"replica":"%s","known":0}'
    ann = town.somebody(ANN)
    body = body % ann.replica.encode()
    head = (
        POST.replace("TOKEN", town.hub.create_token(ANN)) + f"Content-Length: {len(body)}\r\n\r\n"
    )
    host, _, port = town.server.url.removeprefix("http://").rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect((host, int(port)))
    connection.sendall(head.encode() + body)
    return connection


def test_who_does_not_read_keeps_their_place(library: Town) -> None:
    with asks_and_does_not_read(library):
        wait_until(lambda: metric(library, "reunite_held_bytes") > 8_000_000)
        assert metric(library, "reunite_requests_under_way") == 1


def test_who_does_not_read_is_cut_off(library: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "answer_idle_s_max", 0.2)
    with asks_and_does_not_read(library):
        pulled = 'reunite_requests_total{operation="pull",status="200"}'
        wait_until(lambda: metric(library, pulled) == 1)
        assert metric(library, "reunite_requests_under_way") == 0
        assert metric(library, "reunite_held_bytes") == 0


class SlowReader:
    """A transport whose other end takes what it is told to."""

    def __init__(self) -> None:
        self.unread = 100_000
        self.is_cut = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, name: str) -> socket.socket | None:
        return None

    def abort(self) -> None:
        self.is_cut = True


class Waiting:
    """A loop that is asked to call once, later."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.call = call


def test_who_reads_slowly_is_not_cut_off_before_they_stop() -> None:
    protocol = BoundedProtocol.__new__(BoundedProtocol)
    reader, loop = SlowReader(), Waiting()
    vars(protocol).update(transport=reader, loop=loop)
    protocol._watch_reader()
    for _ in range(50):
        reader.unread -= 1_000
        loop.call()
        assert not reader.is_cut
    loop.call()
    assert reader.is_cut


class GoneReader(SlowReader):
    """A connection whose socket is closed already, which has no descriptor any more."""

    def get_extra_info(self, name: str) -> socket.socket:
        closed = socket.socket()
        closed.close()
        return closed


def test_a_connection_that_is_gone_already_is_no_trouble() -> None:
    reader = GoneReader()
    assert _unread_bytes(reader) == reader.unread  # type: ignore[arg-type]
