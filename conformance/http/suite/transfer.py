"""HTTP: tokens, encodings, bodies that are too large, and answers to what is no request."""

from __future__ import annotations

import gzip
import importlib
import json
import socket
import ssl
import zlib
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from suite.cases import NotCheckedError, WrongError, case, must, same
from suite.peer import PROTOCOL, Peer, new_name
from suite.wire import TIMEOUT_S, Hub, checked, encode

BODY_BYTES_MAX = 67_108_864
BODY_DEPTH_MAX = 80
REGISTER = {"protocol": PROTOCOL}


@case("Without a valid one the answer is 401 with `WWW-Authenticate: Bearer`.")
def a_request_without_a_valid_token_gets_nothing(hub: Hub) -> None:
    for token in (None, "Bearer nobody-has-this-token", "Basic bm9ib2R5Om5vYm9keQ==", "Bearer"):
        for method, path, message in (
            ("POST", "v1/register", REGISTER),
            ("GET", "v1/schema", None),
            ("GET", "v1/query/note", None),
        ):
            answer = hub.ask(method, path, message, headers={"Authorization": token})
            same(answer.status, 401, f"the status of {path} with the token {token!r}")
            same(answer.body["code"], "not-authenticated", "the code")


@case("these three need no token")
def probes_and_description_need_no_token(hub: Hub) -> None:
    for path in ("livez", "readyz", "openapi.json"):
        answer = hub.ask("GET", path, headers={"Authorization": None})
        same(answer.status, 200, f"the status of {path}")


@case("`GET openapi.json` describes all of this for tools")
def the_description_names_every_operation(hub: Hub) -> None:
    description = hub.ask("GET", "openapi.json").body
    must(str(description["openapi"]).startswith("3.1"), "the description is not OpenAPI 3.1")
    for path, method in (
        ("/v1/register", "post"),
        ("/v1/push", "post"),
        ("/v1/pull", "post"),
        ("/v1/schema", "get"),
        ("/v1/query/{table}", "get"),
    ):
        operation = description["paths"].get(path, {}).get(method)
        must(operation, f"the description lacks {method} {path}")
        must("200" in operation["responses"], f"{method} {path} has no success")


@case("every hub takes `gzip`")
def a_request_may_be_compressed_with_gzip(hub: Hub) -> None:
    writer, name = Peer(hub), new_name()
    content = gzip.compress(encode(writer.message([writer.insert("note", {"id": name})])))
    answer = hub.send("POST", "v1/push", content=content, headers={"Content-Encoding": "gzip"})
    same(answer.status, 200, "the status of a compressed push")
    writer.pull()
    must(writer.row("note", name) is not None, "a compressed push did nothing")


@case("its answers name in `Accept-Encoding` what else it takes, such as `zstd`")
def a_request_may_be_compressed_with_zstd(hub: Hub) -> None:
    taken = hub.ask("GET", "livez").headers.get("accept-encoding", "")
    must("gzip" in taken, f"answers name {taken!r} in Accept-Encoding, without gzip")
    if "zstd" not in taken:
        raise NotCheckedError("this hub takes no zstd")
    zstd = _zstd()
    content = zstd.compress(encode(REGISTER))
    answer = hub.send("POST", "v1/register", content=content, headers={"Content-Encoding": "zstd"})
    same(answer.status, 200, "the status of a request compressed with zstd")


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise NotCheckedError("this Python has no zstd to try it with")


@case("Answers are compressed as the request's `Accept-Encoding` allows, from 1 kB on.")
def answers_are_compressed_as_the_client_allows(hub: Hub) -> None:
    plain = hub.ask("GET", "openapi.json")
    same(plain.headers.get("content-encoding"), None, "the encoding for a client that wants none")
    peer = Peer(hub)
    rows = [{"id": new_name(), "title": "x" * 200} for _ in range(20)]
    peer.push([peer.insert("note", *rows)])
    answer = hub.ask("POST", "v1/pull", peer.request(), headers={"Accept-Encoding": "gzip"})
    same(
        answer.headers.get("content-encoding"), "gzip", "the encoding for a client that takes gzip"
    )
    must("accept-encoding" in answer.headers.get("vary", "").lower(), "Vary lacks Accept-Encoding")
    peer.take(answer.body)
    must(peer.row("note", rows[0]["id"]), "a compressed page lacks a row")


@case("A compressed body is one gzip member or one zstd frame with a window of at most 8 MB.")
def a_broken_compressed_body_is_refused(hub: Hub) -> None:
    whole = gzip.compress(encode(REGISTER))
    broken = {"cut": whole[:-5], "two members": whole + whole, "no gzip": b"{}", "empty": b""}
    for what, content in broken.items():
        headers = {"Content-Encoding": "gzip"}
        answer = hub.send("POST", "v1/register", content=content, headers=headers)
        same((answer.status, answer.body.get("code")), (400, "bad-request"), f"a body: {what}")


@case("bytes of a request, before and after decompression: 413")
def a_body_that_unpacks_to_too_much_is_refused(hub: Hub) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1024 * 1024)
    parts = [packer.compress(zeros) for _ in range(BODY_BYTES_MAX // len(zeros) + 1)]
    content = b"".join([*parts, packer.flush()])
    answer = hub.send("POST", "v1/register", content=content, headers={"Content-Encoding": "gzip"})
    same((answer.status, answer.body.get("limit")), (413, "BODY_BYTES_MAX"), "status and limit")


@case("bytes of a request, before and after decompression: 413")
def a_body_that_says_it_is_too_long_is_refused_before_it_is_sent(hub: Hub) -> None:
    answer = _raw(
        hub,
        f"POST {{path}}/v1/register HTTP/1.1\r\nHost: {{host}}\r\n"
        f"Authorization: Bearer {hub.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {BODY_BYTES_MAX + 1}\r\n\r\n",
    )
    same((answer.status, answer.body.get("limit")), (413, "BODY_BYTES_MAX"), "status and limit")


@case("arrays and objects nested in a request: 413")
def a_body_that_is_nested_too_deeply_is_refused(hub: Hub) -> None:
    for depth in (BODY_DEPTH_MAX + 1, 100_000):
        for opened, closed in (("[", "]"), ('{"a":', "}")):
            inner = opened * depth + ("" if opened == "[" else "1") + closed * depth
            answer = hub.send("POST", "v1/register", content=inner.encode())
            found = (answer.status, answer.body.get("code"), answer.body.get("limit"))
            same(found, (413, "limit-exceeded", "BODY_DEPTH_MAX"), f"{depth} levels of {opened}")


@case("Every limit has a name, and a problem that is about one says which.")
def a_json_value_may_be_as_deep_as_is_said(hub: Hub) -> None:
    writer, name = Peer(hub), new_name()
    value: Any = 1
    for _ in range(60):
        value = [value]
    writer.push([writer.insert("item", {"id": name, "a_json": value})]).are("applied")
    writer.pull()
    same((writer.row("item", name) or {}).get("a_json"), value, "a value of 60 levels")


@case("everything else is a [problem](#problems).")
def what_is_no_http_is_a_problem_too(hub: Hub) -> None:
    answer = _raw(hub, "POST {path}/v1/register HTTP/1.1\r\nHost: {host}\r\nno header\r\n\r\n")
    same((answer.status, answer.body.get("code")), (400, "bad-request"), "status and code")


def _raw(hub: Hub, request: str) -> Any:
    """The answer to bytes that need not be HTTP."""
    parts = urlsplit(hub.url())
    port = parts.port or (443 if parts.scheme == "https" else 80)
    text = request.format(host=parts.netloc, path=parts.path.rstrip("/"))
    with socket.create_connection((parts.hostname or "", port), timeout=TIMEOUT_S) as plain:
        stream = plain
        if parts.scheme == "https":
            stream = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
        stream.sendall(text.encode())
        return _read_answer(stream)


def _read_answer(stream: socket.socket) -> Any:
    response = HTTPResponse(stream)
    response.begin()
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return checked(response.status, headers, content)


@case("Of a member that stands twice, a hub takes the last or refuses the request.")
def a_member_that_stands_twice_does_no_harm(hub: Hub) -> None:
    writer, first, last = Peer(hub), new_name(), new_name()
    message = encode(writer.message([writer.insert("note", {"id": first})]))
    twice = message[:-1] + b',"replica":' + json.dumps(writer.replica).encode() + b"}"
    twice = b'{"replica":"0123456789abcdef",' + twice[1:]
    answer = hub.send("POST", "v1/push", content=twice)
    if answer.status != 200:
        same(answer.body["code"], "bad-request", "the code")
    writer.pull()
    same(writer.row("note", first) is not None, answer.status == 200, "whether the row is there")
    same(writer.row("note", last), None, "a row that nobody pushed")


@case("Paths stand under the mount point of the hub, which is the URL that a client is given")
def an_unknown_path_is_not_redirected(hub: Hub) -> None:
    for path in ("v1/nothing", "v2/pull", "v1/pull/", ""):
        answer = hub.ask("GET" if path == "" else "POST", path, None if path == "" else REGISTER)
        if answer.status == 200 and path == "":
            raise WrongError("the mount point itself answers, and not with a problem")
        same((answer.status, answer.body.get("code")), (404, "not-found"), f"the path {path!r}")


@case("used a method that the path does not take")
def another_method_is_refused_with_those_that_are_taken(hub: Hub) -> None:
    for method, path, allowed in (("GET", "v1/pull", "POST"), ("POST", "v1/schema", "GET")):
        answer = hub.ask(method, path, REGISTER if method == "POST" else None)
        same((answer.status, answer.body.get("code")), (405, "method-not-allowed"), path)
        must(allowed in answer.headers.get("allow", ""), f"Allow lacks {allowed}")
