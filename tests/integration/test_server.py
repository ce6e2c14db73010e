"""The server from outside: a real socket, raw HTTP, and every way to ask wrongly."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from reunite.errors import (
    CallerError,
    ConstraintError,
    EpochChangedError,
    NotAllowedError,
    NumberGapError,
    ReuniteError,
    StorageFullError,
    StorageUnavailableError,
    UnknownReplicaError,
    UnknownTableError,
    UntrackableTableError,
    UpgradeRequiredError,
)
from reunite.protocol.codec import encode
from reunite.protocol.encoding import ENCODINGS, compress, decompress
from reunite.protocol.limits import BODY_BYTES_MAX, BODY_DEPTH_MAX
from reunite.protocol.problem import codes
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.server import ServerThread, create_app
from tests.integration.fake_hub import (
    ANSWERS,
    POSTS,
    PULL,
    PUSH,
    TOKEN,
    FakeHub,
    Gate,
    large_page,
    raises,
)
from tests.integration.http_helpers import JSON, Asking, client_of, connection_to, raw_request
from tests.patience import DEADLINE_S

GETS = ("v1/schema", "v1/query/planes")


@pytest.fixture(scope="module")
def only_server() -> Iterator[tuple[FakeHub, ServerThread]]:
    """One for all tests that do not ask for limits of their own: starting takes a while."""
    hub = FakeHub()
    with ServerThread(hub) as server:
        yield hub, server


@pytest.fixture
def hub(only_server: tuple[FakeHub, ServerThread]) -> FakeHub:
    only_server[0].forget()
    return only_server[0]


@pytest.fixture
def server(only_server: tuple[FakeHub, ServerThread]) -> ServerThread:
    return only_server[1]


@pytest.fixture
def client(server: ServerThread, hub: FakeHub) -> Iterator[httpx2.Client]:
    with client_of(server.url) as client:
        yield client


def post(client: httpx2.Client, path: str, body: bytes, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=body, headers=JSON | named)


def assert_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem.get("code")) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["title"] == codes()[code].title
    assert problem["detail"]
    return problem


# --- What is answered -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", POSTS)
def test_a_message_reaches_the_hub_with_its_principal(
    hub: FakeHub, client: httpx2.Client, path: str
) -> None:
    response = post(client, path, POSTS[path])
    operation = path.removeprefix("v1/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == encode(ANSWERS[operation])
    assert hub.asked == [(operation, POSTS[path], hub.tokens[TOKEN])]


def test_schema_and_query_are_asked_by_get(hub: FakeHub, client: httpx2.Client) -> None:
    assert client.get("v1/schema").content == encode(ANSWERS["schema"])
    parameters = {"where": '{"seats":2}', "after": '["N101"]', "limit": "10"}
    response = client.get("v1/query/planes", params=parameters)
    assert response.content == encode(ANSWERS["query"])
    assert [operation for operation, _, _ in hub.asked] == ["schema", "query"]
    assert json.loads(hub.asked[1][1]) == {
        "table": "planes",
        "where": {"seats": 2},
        "after": ["N101"],
        "limit": 10,
    }


@pytest.mark.parametrize("table", ["air planes", "a/b", "ä", "v1/query"])
def test_a_tables_name_may_hold_anything(hub: FakeHub, client: httpx2.Client, table: str) -> None:
    path = "v1/query/" + "".join(f"%{byte:02X}" for byte in table.encode())
    assert client.get(path).status_code == 200
    assert json.loads(hub.asked[0][1])["table"] == table


def test_probes_need_no_token(server: ServerThread, hub: FakeHub) -> None:
    with client_of(server.url, token=None) as client:
        assert client.get("livez").json() == {"status": "live"}
        assert client.get("readyz").json() == {"status": "ready"}
        hub.is_up = False
        assert client.get("livez").status_code == 200
        response = client.get("readyz")
        assert_problem(response, 503, "storage-unavailable")
        assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bodies_travel_compressed_both_ways(
    hub: FakeHub, client: httpx2.Client, encoding: str
) -> None:
    hub.behaviour["pull"] = large_page
    packed = compress(PULL, encoding)
    with client.stream(
        "POST",
        "v1/pull",
        content=packed,
        headers=JSON | {"Content-Encoding": encoding, "Accept-Encoding": encoding},
    ) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == encoding
    assert response.headers["vary"] == "Accept-Encoding"
    assert decompress(raw, encoding, bytes_max=1_000_000) == encode(large_page())
    assert hub.asked[0][1] == PULL


def test_small_answers_and_unasked_ones_are_not_compressed(
    hub: FakeHub, client: httpx2.Client
) -> None:
    small = post(client, "v1/pull", PULL, Accept_Encoding="gzip, zstd")
    assert "content-encoding" not in small.headers
    hub.behaviour["pull"] = large_page
    unasked = post(client, "v1/pull", PULL, Accept_Encoding="identity")
    assert "content-encoding" not in unasked.headers
    assert unasked.content == encode(large_page())


@pytest.mark.parametrize("path", ["livez", "v1/pull", "nowhere", "openapi.json"])
def test_every_answer_has_the_common_headers(client: httpx2.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["reunite-protocol"] == str(PROTOCOL_VERSION)
    assert headers["accept-encoding"] == ", ".join(ENCODINGS)
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_the_application_may_be_mounted_under_any_prefix(hub: FakeHub) -> None:
    from starlette.testclient import TestClient

    app = Starlette(routes=[Mount("/api/sync", create_app(hub))])
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/api/sync/livez").status_code == 200
        assert client.get("/api/sync/v1/schema").status_code == 200
        assert client.post("/api/sync/v1/pull", content=PULL, headers=JSON).status_code == 200
        assert client.get("/api/sync/nowhere").json()["code"] == "not-found"


def test_requests_are_answered_side_by_side(hub: FakeHub, server: ServerThread) -> None:
    meeting = threading.Barrier(2, timeout=DEADLINE_S)
    hub.behaviour["schema"] = lambda: (meeting.wait(), ANSWERS["schema"])[1]
    statuses: list[int] = []

    def ask() -> None:
        with client_of(server.url) as client:
            statuses.append(client.get("v1/schema").status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200]


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*POSTS, *GETS])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Basic YTpi", "Bearer nobodys", f"Token {TOKEN}", TOKEN],
)
def test_without_a_valid_token_nothing_is_asked(
    hub: FakeHub, server: ServerThread, path: str, authorization: str | None
) -> None:
    with client_of(server.url, token=None) as client:
        if authorization is not None:
            client.headers["Authorization"] = authorization
        method = "POST" if path in POSTS else "GET"
        response = client.request(method, path, content=POSTS.get(path), headers=JSON)
    problem = assert_problem(response, 401, "not-authenticated")
    assert response.headers["www-authenticate"].startswith('Bearer realm="reunite"')
    assert "nobodys" not in json.dumps(problem)
    assert hub.asked == []


@pytest.mark.parametrize("path", ["", "v1", "v1/", "v1/nothing", "v1/push/", "v2/push", "v1/query"])
def test_an_unknown_path_is_a_problem(client: httpx2.Client, path: str) -> None:
    assert_problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "v1/push", {"POST"}),
        ("PUT", "v1/pull", {"POST"}),
        ("OPTIONS", "v1/register", {"POST"}),
        ("POST", "v1/schema", {"GET", "HEAD"}),
        ("DELETE", "livez", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_a_problem(
    client: httpx2.Client, method: str, path: str, allowed: set[str]
) -> None:
    response = client.request(method, path)
    assert_problem(response, 405, "method-not-allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonlines"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip, gzip"},
        {},
    ],
)
def test_a_body_of_another_type_or_encoding_is_a_problem(
    hub: FakeHub, client: httpx2.Client, headers: dict[str, str]
) -> None:
    response = client.post("v1/pull", content=PULL, headers=headers)
    assert_problem(response, 415, "unsupported-media-type")
    assert response.headers["accept-encoding"] == ", ".join(ENCODINGS)
    assert hub.asked == []


def test_a_charset_is_no_other_type(client: httpx2.Client) -> None:
    response = post(client, "v1/pull", PULL, Content_Type="Application/JSON; charset=utf-8")
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", None),
        (b"{", None),
        (b'{"protocol":1,}', None),
        (b"\xff\xfe", None),
        (b'{"protocol":NaN,"replica":"r1","known":0}', None),
        (b'{"protocol":1,"replica":"\\ud800","known":0}', None),
        (b"[]", None),
        (b"null", None),
        (b"{}", None),
        (b'{"protocol":"1","replica":"r1","known":0}', "protocol"),
        (b'{"protocol":1.5,"replica":"r1","known":0}', "protocol"),
        (b'{"protocol":1,"replica":null,"known":0}', "replica"),
        (b'{"protocol":1,"replica":"r1","known":1e400}', None),
        (b'{"protocol":1,"replica":"r1","known":0,"tables":["a",2]}', "tables[1]"),
        (b'{"protocol":1,"replica":"r1","known":0,"principal":"admin"}', None),
    ],
)
def test_a_malformed_message_is_a_problem_with_its_path(
    hub: FakeHub, client: httpx2.Client, body: bytes, path: str | None
) -> None:
    problem = assert_problem(post(client, "v1/pull", body), 400, "bad-request")
    if path is not None:
        assert problem["path"] == path
    assert hub.asked == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_spoilt_compressed_body_is_a_problem(client: httpx2.Client, encoding: str) -> None:
    cut = post(client, "v1/pull", compress(PULL, encoding)[:-4], Content_Encoding=encoding)
    assert_problem(cut, 400, "bad-request")
    plain = post(client, "v1/pull", PULL, Content_Encoding=encoding)
    assert_problem(plain, 400, "bad-request")


def test_an_oversized_body_is_refused_before_it_is_sent(hub: FakeHub, server: ServerThread) -> None:
    answer = raw_request(
        server,
        f"POST /v1/push HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"limit":"BODY_BYTES_MAX"' in answer
    assert hub.asked == []


@pytest.mark.parametrize("is_declared", [True, False])
def test_an_oversized_body_is_refused_by_name(hub: FakeHub, is_declared: bool) -> None:
    body = b" " * 10_001
    content = body if is_declared else iter([body[:5_000], body[5_000:]])
    with ServerThread(hub, body_bytes_max=10_000) as server, client_of(server.url) as client:
        response = client.post("v1/push", content=content, headers=JSON)
        problem = assert_problem(response, 413, "limit-exceeded")
        assert problem["limit"] == "BODY_BYTES_MAX"
        exact = post(client, "v1/pull", PULL + b" " * (10_000 - len(PULL)))
        assert exact.status_code == 200


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_decompression_bomb_is_refused(
    hub: FakeHub, client: httpx2.Client, encoding: str
) -> None:
    bomb = compress(b" " * (BODY_BYTES_MAX + 1), encoding)
    assert len(bomb) < BODY_BYTES_MAX / 100
    response = post(client, "v1/push", bomb, Content_Encoding=encoding)
    problem = assert_problem(response, 413, "limit-exceeded")
    assert problem["limit"] == "BODY_BYTES_MAX"
    assert hub.asked == []


@pytest.mark.parametrize("depth", [BODY_DEPTH_MAX + 1, 100_000])
def test_a_deep_body_is_refused(hub: FakeHub, client: httpx2.Client, depth: int) -> None:
    body = b'{"protocol":1,"known":' + b"[" * depth + b"]" * depth + b"}"
    problem = assert_problem(post(client, "v1/pull", body), 413, "limit-exceeded")
    assert problem["limit"] == "BODY_DEPTH_MAX"
    assert hub.asked == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("where={", "where"),
        ("where=[1]", "where"),
        ("where=" + "[" * 2_000, "where"),
        ('after={"id":1}', "after"),
        ("after=1", "after"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=1&limit=2", "limit"),
        ("order=name", "query"),
    ],
)
def test_malformed_query_parameters_are_problems(
    hub: FakeHub, client: httpx2.Client, query: str, path: str
) -> None:
    problem = assert_problem(client.get(f"v1/query/planes?{query}"), 400, "bad-request")
    assert problem["path"] == path
    assert hub.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownTableError("no such table"), 404),
        (NotAllowedError("not yours"), 403),
        (UnknownReplicaError("who?"), 409),
        (EpochChangedError("another log"), 409),
        (NumberGapError("a gap"), 409),
        (UpgradeRequiredError("too old"), 426),
        (ConstraintError("taken", code="unique", table="planes", columns=["id"]), 409),
        (StorageUnavailableError("locked"), 503),
    ],
)
def test_an_error_of_the_hub_is_a_problem(
    hub: FakeHub, client: httpx2.Client, error: ReuniteError, status: int
) -> None:
    hub.behaviour["push"] = raises(error)
    response = post(client, "v1/push", PUSH)
    problem = assert_problem(response, status, error.code)
    assert problem["detail"] == str(error)
    assert ("retry-after" in response.headers) == (status == 503)


def caused(error: ReuniteError) -> ReuniteError:
    """An error as the store raises it for a driver's."""
    error.__cause__ = RuntimeError("a driver's")
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CallerError("SECRET"), "storage-unavailable"),
        (UntrackableTableError("SECRET"), "storage-unavailable"),
        (caused(UnknownTableError("SECRET")), "storage-unavailable"),
        (caused(StorageUnavailableError("SECRET")), "storage-unavailable"),
        (caused(StorageFullError("SECRET")), "storage-full"),
    ],
)
def test_trouble_of_the_hubs_own_is_not_the_callers_and_tells_nothing_of_it(
    hub: FakeHub,
    client: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: ReuniteError,
    code: str,
) -> None:
    """It was answered 400 with the database's words."""
    hub.behaviour["pull"] = raises(error)
    with caplog.at_level(logging.WARNING, "reunite.server"):
        response = post(client, "v1/pull", PULL)
    assert_problem(response, 503, code)
    assert "SECRET" not in response.text
    assert int(response.headers["retry-after"]) >= 1
    assert "SECRET" in caplog.text
    monkeypatch.setattr(hub, "is_ready", raises(error))
    assert_problem(client.get("readyz"), 503, "storage-unavailable")


def test_our_bug_is_an_incident_and_leaks_nothing(
    hub: FakeHub, client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    hub.behaviour["push"] = raises(RuntimeError("secret of the database"))
    with caplog.at_level(logging.ERROR):
        response = post(client, "v1/push", PUSH)
    problem = assert_problem(response, 500, "internal")
    assert "secret" not in response.text
    assert "Runtime" not in response.text
    records = [record for record in caplog.records if record.name == "reunite.server"]
    assert len(records) == 1
    assert problem["incident"] in records[0].getMessage()
    assert records[0].exc_info is not None
    assert post(client, "v1/pull", PULL).status_code == 200


# --- Bounds on what happens at a time -------------------------------------------------------------


def test_too_many_requests_are_sent_away(hub: FakeHub) -> None:
    gate = Gate(ANSWERS["schema"])
    hub.behaviour["schema"] = gate
    with ServerThread(hub, requests_max=1) as server:
        waiting = Asking(server.url, "v1/schema")
        assert gate.has_come.wait(timeout=DEADLINE_S)
        with client_of(server.url) as client:
            response = client.get("v1/schema")
            problem = assert_problem(response, 429, "limit-exceeded")
            assert problem["limit"] == "REQUESTS_MAX"
            assert int(response.headers["retry-after"]) >= 1
            gate.open()
            assert waiting.status() == 200
            assert client.get("v1/schema").status_code == 200


def test_bodies_held_together_are_bounded(hub: FakeHub) -> None:
    gate = Gate(ANSWERS["pull"])
    hub.behaviour["pull"] = gate
    with ServerThread(hub, bodies_bytes_max=1_000) as server:
        waiting = Asking(server.url, "v1/pull", PULL + b" " * (900 - len(PULL)))
        assert gate.has_come.wait(timeout=DEADLINE_S)
        with client_of(server.url) as client:
            problem = assert_problem(post(client, "v1/push", PUSH), 429, "limit-exceeded")
            assert problem["limit"] == "BODIES_BYTES_MAX"
            gate.open()
            assert waiting.status() == 200
            assert post(client, "v1/push", PUSH).status_code == 200


def test_a_body_that_never_comes_is_given_up(hub: FakeHub) -> None:
    with ServerThread(hub, body_idle_s_max=1) as server:
        answer = raw_request(
            server,
            f"POST /v1/push HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n"
            'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"proto',
        )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request-timeout"' in answer


def test_a_client_that_goes_away_is_no_error(
    hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "reunite.server"), ServerThread(hub) as server:
        with connection_to(server) as connection:
            connection.sendall(
                f"POST /v1/push HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
            )
        server.close()  # waits for the request
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert hub.asked == []
