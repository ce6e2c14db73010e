"""The HTTP transport: what arrives at the hub, and what each failure means to a replica."""

import email.utils
import gc
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from reunite.errors import (
    BadRequestError,
    CallerError,
    ConstraintError,
    EpochChangedError,
    HubUnreachableError,
    LimitExceededError,
    NotAuthenticatedError,
    ReuniteError,
    StorageUnavailableError,
    UnknownTableError,
)
from reunite.protocol.codec import encode
from reunite.protocol.encoding import ENCODINGS, compress
from reunite.protocol.pull import PullRequest
from reunite.protocol.query import QueryRequest
from reunite.replica import http
from reunite.replica.http import HttpTransport
from reunite.server import ServerThread
from tests.integration.fake_hub import (
    ANSWERS,
    POSTS,
    PULL,
    TOKEN,
    FakeHub,
    Gate,
    large_page,
    raises,
)
from tests.integration.strange_server import StrangeServer, http_answer
from tests.patience import DEADLINE_S

JSON_TYPE = "application/json"


@pytest.fixture(scope="module")
def only_server() -> Iterator[tuple[FakeHub, ServerThread]]:
    hub = FakeHub()
    with ServerThread(hub) as server:
        yield hub, server


@pytest.fixture
def hub(only_server: tuple[FakeHub, ServerThread]) -> FakeHub:
    only_server[0].forget()
    return only_server[0]


@pytest.fixture
def url(only_server: tuple[FakeHub, ServerThread]) -> str:
    return only_server[1].url


@pytest.fixture
def transport(url: str, hub: FakeHub) -> Iterator[HttpTransport]:
    with HttpTransport(url, token=TOKEN) as transport:
        yield transport


def failure_at(url: str, *, timeout_s: float = DEADLINE_S) -> ReuniteError:
    """What a pull from this URL raises; the token is not in it."""
    with (
        HttpTransport(url, token=TOKEN, timeout_s=timeout_s) as transport,
        pytest.raises(ReuniteError) as caught,
    ):
        transport.call("pull", PULL)
    assert_hidden(TOKEN, caught.value)
    return caught.value


def assert_hidden(secret: str, error: BaseException | None) -> None:
    while error is not None:
        assert secret not in f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__


# --- What arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", POSTS)
def test_a_message_and_its_answer_travel_whole(
    hub: FakeHub, transport: HttpTransport, path: str
) -> None:
    operation = path.removeprefix("v1/")
    assert transport.call(operation, POSTS[path]) == encode(ANSWERS[operation])
    assert hub.asked == [(operation, POSTS[path], hub.tokens[TOKEN])]


def test_schema_has_no_request(hub: FakeHub, transport: HttpTransport) -> None:
    assert transport.call("schema", b"") == encode(ANSWERS["schema"])


@pytest.mark.parametrize(
    "query",
    [
        QueryRequest(table="planes"),
        QueryRequest(table="a/b ?#ä%", where={"tail num": "N'1\"&=", "seats": None}, limit=7),
        QueryRequest(table="planes", after=("9007199254740993", 1.5, None, True)),
    ],
)
def test_a_query_arrives_as_it_was(
    hub: FakeHub, transport: HttpTransport, query: QueryRequest
) -> None:
    assert transport.call("query", encode(query)) == encode(ANSWERS["query"])
    assert hub.asked[0][1] == encode(query)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_url_may_end_in_a_slash(hub: FakeHub, url: str, slash: str) -> None:
    with HttpTransport(url + slash, token=TOKEN) as transport:
        transport.call("pull", PULL)
    assert len(hub.asked) == 1


def test_bodies_are_compressed_when_it_pays(
    hub: FakeHub, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one with gzip, which every hub takes; then with the best that this hub takes."""
    used: list[str] = []

    def spy(body: bytes, encoding: str) -> bytes:
        used.append(encoding)
        return compress(body, encoding)

    monkeypatch.setattr(http, "compress", spy)
    hub.behaviour["pull"] = large_page
    large = encode(PullRequest(protocol=1, replica="r" * 10_000, known=0))
    with HttpTransport(url, token=TOKEN, compression=True) as transport:
        for body in (large, PULL, large):
            assert transport.call("pull", body) == encode(large_page())
    assert [body for _, body, _ in hub.asked] == [large, PULL, large]
    assert used == ["gzip", ENCODINGS[0]]


def test_nothing_is_compressed_on_loopback(hub: FakeHub) -> None:
    with (
        StrangeServer(http_answer("503 Busy")) as strange,
        HttpTransport(strange.url, token=TOKEN) as transport,
    ):
        with pytest.raises(HubUnreachableError):
            transport.call("pull", PULL + b" " * 100_000)
        (head,) = strange.requests
    assert b"content-encoding" not in head.lower()
    assert b"accept-encoding: identity" in head.lower()


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://localhost:1", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:1", True),
        ("http://hub.localhost", True),
        ("http://10.0.0.1", False),
        ("https://hub.example", False),
        ("http://localhost.example", False),
    ],
)
def test_loopback_is_told_from_the_rest(url: str, is_loopback: bool) -> None:
    with HttpTransport(url, token=TOKEN) as transport:
        assert transport._compresses is not is_loopback


def test_a_proxy_is_not_asked_for_this_machine(
    hub: FakeHub, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with HttpTransport(url, token=TOKEN) as transport:
        transport.call("pull", PULL)


def test_threads_may_share_a_transport(hub: FakeHub, transport: HttpTransport) -> None:
    meeting = threading.Barrier(2, timeout=DEADLINE_S)
    hub.behaviour["pull"] = lambda: (meeting.wait(), ANSWERS["pull"])[1]
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(transport.call("pull", PULL)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [encode(ANSWERS["pull"])] * 2


# --- Tokens ---------------------------------------------------------------------------------------


def test_a_function_is_asked_for_a_new_token_once(hub: FakeHub, url: str) -> None:
    tokens = iter(["expired", TOKEN, "never asked for"])
    with HttpTransport(url, token=lambda: next(tokens)) as transport:
        transport.call("pull", PULL)
        transport.call("pull", PULL)
    assert next(tokens) == "never asked for"


def test_a_new_token_that_is_refused_as_well_is_an_error(hub: FakeHub, url: str) -> None:
    tokens = iter(["expired", "expired too", "never asked for"])
    with (
        HttpTransport(url, token=lambda: next(tokens)) as transport,
        pytest.raises(NotAuthenticatedError),
    ):
        transport.call("pull", PULL)
    assert next(tokens) == "never asked for"


def test_the_same_token_is_not_tried_again(url: str) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append("asked")
        return "expired"

    with HttpTransport(url, token=token) as transport, pytest.raises(NotAuthenticatedError):
        transport.call("pull", PULL)
    assert len(asked) == 2


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ümlaut", "a\x00b"])
def test_a_token_that_cannot_be_one_is_refused_without_being_repeated(url: str, token: str) -> None:
    with (
        HttpTransport(url, token=token) as transport,
        pytest.raises(NotAuthenticatedError) as caught,
    ):
        transport.call("pull", PULL)
    if token:
        assert_hidden(token, caught.value)


def test_the_token_is_in_no_log_and_no_repr(
    hub: FakeHub, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    hub.behaviour["push"] = raises(RuntimeError("a bug"))
    with caplog.at_level(logging.DEBUG):
        with HttpTransport(url, token=TOKEN) as transport:
            transport.call("pull", PULL)
            with pytest.raises(HubUnreachableError):
                transport.call("push", POSTS["v1/push"])
            assert TOKEN not in repr(transport)
        failure_at("http://127.0.0.1:1")
    assert caplog.records
    assert TOKEN not in caplog.text


# --- What the hub answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        BadRequestError("no", path="groups[0].runs[1]"),
        UnknownTableError("no such table"),
        EpochChangedError("another log"),
        LimitExceededError("too many", limit="PUSH_CHANGES_MAX"),
        ConstraintError("taken", code="unique", table="planes", columns=["tailnum"]),
    ],
)
def test_an_error_of_the_hub_is_raised_here(
    hub: FakeHub, transport: HttpTransport, error: ReuniteError
) -> None:
    hub.behaviour["pull"] = raises(error)
    with pytest.raises(type(error)) as caught:
        transport.call("pull", PULL)
    assert vars(caught.value) == vars(error)


def test_a_malformed_message_is_our_error(transport: HttpTransport) -> None:
    with pytest.raises(BadRequestError) as caught:
        transport.call("pull", b'{"protocol":"one","replica":"r1","known":0}')
    assert caught.value.path == "protocol"


def test_a_refused_token_is_our_error(url: str) -> None:
    with HttpTransport(url, token="nobodys") as transport, pytest.raises(NotAuthenticatedError):
        transport.call("pull", PULL)


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailableError("locked"),
        LimitExceededError("busy", limit="REQUESTS_MAX"),
        HubUnreachableError("the hub behind this one is away", retry_after_s=1.0),
    ],
)
def test_a_hub_in_trouble_is_one_to_ask_later(
    hub: FakeHub, transport: HttpTransport, error: ReuniteError
) -> None:
    hub.behaviour["pull"] = raises(error)
    with pytest.raises(HubUnreachableError, match=str(error)) as caught:
        transport.call("pull", PULL)
    assert caught.value.retry_after_s == 1.0


def test_a_bug_of_the_hub_is_one_to_ask_later_and_names_the_incident(
    hub: FakeHub, transport: HttpTransport
) -> None:
    hub.behaviour["pull"] = raises(RuntimeError("a bug"))
    with pytest.raises(HubUnreachableError, match=r"incident [0-9a-f]{12}"):
        transport.call("pull", PULL)


# --- No answer, or none of a hub ------------------------------------------------------------------


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure_at(f"http://127.0.0.1:{port}")
    assert isinstance(error, HubUnreachableError)
    assert f"http://127.0.0.1:{port}" in str(error)


def test_the_host_is_unknown() -> None:
    assert isinstance(failure_at("http://no.such.host.invalid"), HubUnreachableError)


def test_the_hub_takes_too_long(hub: FakeHub, url: str) -> None:
    gate = Gate(ANSWERS["pull"])
    hub.behaviour["pull"] = gate
    error = failure_at(url, timeout_s=0.2)
    gate.open()
    assert isinstance(error, HubUnreachableError)
    assert "in time" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        http_answer("200 OK", b'{"cur', Content_Length="99", Reunite_Protocol="1"),
        http_answer("200 OK", b"no gzip", Content_Encoding="gzip", Content_Type=JSON_TYPE),
    ],
    ids=["nothing", "a cut head", "another protocol", "a cut body", "a spoilt body"],
)
def test_the_answer_is_cut_or_garbled(answer: bytes) -> None:
    with StrangeServer(answer) as strange:
        assert isinstance(failure_at(strange.url), HubUnreachableError)


@pytest.mark.parametrize("status", ["429 Slow", "500 Oops", "502 Bad", "503 Busy", "504 Late"])
def test_a_proxy_in_trouble_is_one_to_ask_later(status: str) -> None:
    with StrangeServer(http_answer(status, b"<html>", Content_Type="text/html")) as strange:
        error = failure_at(strange.url)
    assert isinstance(error, HubUnreachableError)
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        ("7", lambda wait_s: wait_s == 7.0),
        (
            email.utils.formatdate(time.time() + 3_600, usegmt=True),
            lambda wait_s: 0 < wait_s <= 3_600,
        ),
        ("Sun, 06 Nov 1994 08:49:37 GMT", lambda wait_s: wait_s == 0.0),
        ("soon", lambda wait_s: wait_s is None),
        ("-1", lambda wait_s: wait_s is None),
    ],
    ids=["seconds", "a date to come", "a date gone by", "no time", "a time gone by"],
)
def test_retry_after_is_seconds_or_a_date(
    header: str, is_right: Callable[[float | None], bool]
) -> None:
    with StrangeServer(http_answer("503 Busy", Retry_After=header)) as strange:
        error = failure_at(strange.url)
    assert isinstance(error, HubUnreachableError)
    assert is_right(error.retry_after_s)


@pytest.mark.parametrize(
    "answer",
    [
        http_answer("404 Not Found", b"<html>", Content_Type="text/html"),
        http_answer("200 OK", b"<html>welcome", Content_Type="text/html"),
        http_answer("200 OK", b'{"hello":"world"}', Content_Type=JSON_TYPE),
        http_answer("404 Not Found", b'{"detail":"Not Found"}', Content_Type=JSON_TYPE),
        http_answer("401 Unauthorized", b"{}", Content_Type=JSON_TYPE),
        http_answer("405 Method Not Allowed"),
    ],
    ids=["html 404", "html 200", "json 200", "json 404", "json 401", "405"],
)
def test_what_is_no_hub_is_told_with_what_to_check(answer: bytes) -> None:
    with StrangeServer(answer) as strange:
        error = failure_at(strange.url)
    assert isinstance(error, CallerError)
    assert "check host, port and path" in str(error)


def test_the_hub_with_a_wrong_path_is_a_callers_error(url: str) -> None:
    error = failure_at(url + "/shop")
    assert isinstance(error, CallerError)
    assert error.code == "not-found"
    assert "mount point" in str(error)


def test_a_login_page_in_between_is_no_wrong_url(hub: FakeHub) -> None:
    """Once the hub was reached, its URL is right: the network will be itself again."""
    hub_like = http_answer(
        "200 OK", encode(ANSWERS["pull"]), Content_Type=JSON_TYPE, Reunite_Protocol="1"
    )
    with (
        StrangeServer(hub_like) as strange,
        HttpTransport(strange.url, token=TOKEN) as transport,
    ):
        transport.call("pull", PULL)
        strange.answer = http_answer("200 OK", b"<html>", Content_Type="text/html")
        with pytest.raises(HubUnreachableError, match="login page"):
            transport.call("pull", PULL)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirection_is_told_and_not_followed(status: str) -> None:
    with StrangeServer(http_answer("200 OK")) as other:
        location = f"{other.url}/v1/pull?secret=1"
        with StrangeServer(http_answer(status, Location=location)) as strange:
            error = failure_at(strange.url)
        assert other.requests == []
    assert isinstance(error, CallerError)
    assert f"{other.url}/v1/pull" in str(error)
    assert "secret" not in str(error)


def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 1_000_000)
    bomb = compress(bytes(1_000_001), "gzip")
    answer = http_answer("200 OK", bomb, Content_Encoding="gzip", Reunite_Protocol="1")
    with StrangeServer(answer) as strange:
        error = failure_at(strange.url)
    assert isinstance(error, LimitExceededError)
    assert error.limit == "ANSWER_BYTES_MAX"


# --- The object -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hub.example",
        "ftp://hub.example",
        "http://",
        "http://[::1",
        "http://ann:secret@hub.example",
        "http://hub.example?token=secret",
        "http://hub.example#secret",
    ],
)
def test_a_url_that_cannot_be_a_hubs_is_refused(url: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        HttpTransport(url, token=TOKEN)
    assert caught.value.path == "url"
    assert_hidden("secret", caught.value)


def test_a_transport_may_be_closed_twice(url: str) -> None:
    transport = HttpTransport(url, token=TOKEN)
    transport.close()
    transport.close()


def drop_open(url: str) -> None:
    HttpTransport(url, token=TOKEN)
    gc.collect()


def test_a_transport_dropped_open_complains(url: str) -> None:
    with pytest.warns(ResourceWarning, match=f"HttpTransport {url}"):
        drop_open(url)


def test_the_hubs_problem_is_read_whatever_it_has_besides(hub: FakeHub) -> None:
    problem = {
        "type": "urn:x",
        "title": "t",
        "status": 409,
        "code": "of-tomorrow",
        "detail": "do this",
        "hint": ["new"],
    }
    answer = http_answer(
        "409 Conflict",
        json.dumps(problem).encode(),
        Content_Type="application/problem+json",
        Reunite_Protocol="2",
    )
    with StrangeServer(answer) as strange:
        error = failure_at(strange.url)
    assert (error.code, str(error)) == ("of-tomorrow", "do this")
