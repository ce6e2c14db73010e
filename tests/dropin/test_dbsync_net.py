"""How dbsync's client speaks HTTP: addresses, authentication, encoders, what is not understood."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from reunite.dropin.dbsync.client import Client, RegisterRejected, net


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, at `/locked` who says who it is; `/text` with something that
    is no JSON."""

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        told = {
            "method": self.command,
            "path": self.path,
            "login": self.headers.get("authorization"),
            "key": self.headers.get("x-key"),
            "type": self.headers.get("content-type"),
            "body": self.rfile.read(length).decode(),
        }
        body = b"not JSON" if self.path == "/text" else json.dumps(told).encode()
        if self.path == "/locked" and told["login"] is None:
            self.send_response(401)
            self.send_header("www-authenticate", 'Digest realm="r", nonce="n", qop="auth"')
        else:
            self.send_response(404 if self.path.startswith("/missing") else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = _answer  # noqa: N815 — names of the standard library's

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_without_a_scheme_is_one_of_http(address: str) -> None:
    code, reason, told = net.post_request(f"{address}/x", {"a": 1})
    assert (code, reason) == (200, "OK")
    assert (told["method"], json.loads(told["body"])) == ("POST", {"a": 1})
    assert told["type"] == "application/json"
    _, _, told = net.get_request(f"http://{address}/x", {"a": 1, "b": "c d"})
    assert told["path"] in ("/x?a=1&b=c+d", "/x?a=1&b=c%20d")


def test_a_body_that_says_nothing_is_none(address: str) -> None:
    assert net.get_request(f"{address}/text")[2] is None
    assert net.head_request(f"{address}/x") == (200, "OK", None)
    assert net.head_request(f"{address}/missing")[0] == 404


def test_authentication_encoder_and_headers_are_the_programs(address: str) -> None:
    client = Client()

    def authenticate(url: str) -> Any:
        assert url.endswith("/x")

        def sign(request: SimpleNamespace) -> SimpleNamespace:
            request.headers["x-key"] = "open"
            return request

        return sign

    client.set_authentication_callback(authenticate)
    client.set_default_encoder(lambda data: f"<{data}>")
    client.set_default_headers({"Content-Type": "text/odd"})
    _, _, told = client.send("POST", f"{address}/x", "y", {})
    assert (told["key"], told["body"], told["type"]) == ("open", "<y>", "text/odd")
    options = {"encode": json.dumps, "headers": {"x-key": "mine"}, "timeout": 0}
    client.set_authentication_callback(lambda url: None)
    _, _, told = client.send("POST", f"{address}/x", [1], options)
    assert (told["key"], told["body"]) == ("mine", "[1]")


def test_authentication_objects_of_requests_do_what_they_do_there(address: str) -> None:
    auth = pytest.importorskip("requests.auth")
    client = Client()
    basic = "Basic YW5uOnNlY3JldA=="
    for given, login in (
        (auth.HTTPDigestAuth("ann", "secret"), 'Digest username="ann"'),
        (auth.HTTPBasicAuth("ann", "secret"), basic),
        (("ann", "secret"), basic),
    ):
        client.set_authentication_callback(lambda url, given=given: given)
        for _ in range(2):
            code, reason, told = client.send("POST", f"{address}/locked", {"a": 1}, {})
            assert (code, reason) == (200, "OK")
            assert told["login"].startswith(login)
            assert json.loads(told["body"]) == {"a": 1}
        with pytest.raises(net.NetworkError):
            client.send("GET", "127.0.0.1:1", None, {"timeout": 5})
    client.set_authentication_callback(lambda url: None)
    assert client.send("GET", f"{address}/locked", None, {})[0] == 401


def test_a_password_goes_along_without_requests_too(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    client = Client()
    client.set_authentication_callback(lambda url: ("ann", "secret"))
    _, _, told = client.send("GET", f"{address}/locked", None, {})
    assert told["login"] == "Basic YW5uOnNlY3JldA=="


def test_a_decoder_of_ones_own_may_fail_as_it_likes_and_somebody_hears_of_it(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    client.set_default_decoder(pickle.loads)
    assert client.send("GET", f"{address}/text", None, {}) == (200, "OK", None)
    assert "decoder failed" in caplog.text


def test_an_address_that_is_none_is_nowhere() -> None:
    client = Client()
    for url in ("http://\x00", "", "ftp://x/"):
        assert not client.isready(url)
        assert not client.isconnected(url)
        with pytest.raises(net.NetworkError):
            client.send("GET", url, None, {})


def test_pings_tell_an_answer_from_a_success(address: str) -> None:
    client = Client()
    assert client.isconnected(f"{address}/missing")
    assert not client.isready(f"{address}/missing")
    assert client.isready(f"{address}/x")


def test_an_answer_that_is_no_registration_is_refused(address: str, tmp_path: Any) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(RegisterRejected) as refusal:
        Client(engine).register(f"{address}/text")
    assert (refusal.value.code, refusal.value.reason, refusal.value.response) == (200, "OK", None)
    with pytest.raises(RegisterRejected) as refusal:
        Client(engine).register(f"{address}/missing")
    assert refusal.value.code == 404
    engine.dispose()
