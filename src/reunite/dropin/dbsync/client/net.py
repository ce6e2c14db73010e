"""Requests of the client, with the original's names: `client.net`.

Only what the network does is a NetworkError; a programmer's mistake stays what it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx2

logger = logging.getLogger("dbsync")

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
TIMEOUT_S = 10.0
_CHUNK_BYTES = 64 * 1024

Monitor = Callable[[dict[str, Any]], Any] | None
Encoder = Callable[[Any], Any] | None
Decoder = Callable[[Any], Any] | None
Headers = Mapping[str, str] | None


def options(
    encode: Encoder, decode: Decoder, headers: Headers, timeout: float | None
) -> dict[str, Any]:
    """What one call says of how to talk; None for what the client's defaults say."""
    return {"encode": encode, "decode": decode, "headers": headers, "timeout": timeout}


class NetworkError(Exception):
    """The server cannot be reached, or does not answer in time."""


class Net:
    """How one client talks: what the setters of the original set."""

    def __init__(self) -> None:
        self.encode: Callable[[Any], Any] = json.dumps
        self.decode: Callable[[Any], Any] = json.loads
        self.headers: Mapping[str, str] = HEADERS
        self.timeout_s: float = TIMEOUT_S
        self.authenticate: Callable[[str], Any] | None = None

    def ask(
        self,
        method: str,
        url: str,
        data: Any = None,
        *,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        monitor: Monitor = None,
    ) -> tuple[int, str, Any]:
        """Status, reason and decoded body of an answer; None for a body that says nothing.

        Raises NetworkError.
        """
        url = url if "://" in url else f"http://{url}"
        content, parameters = None, None
        if method == "POST":
            content = (encode or self.encode)(data)
        elif data:
            parameters = dict(data)
        wait_s = self.timeout_s if timeout is None else timeout
        tell = monitor or (lambda status: None)
        auth = None if self.authenticate is None else self.authenticate(url)
        asked = SimpleNamespace(
            method=method, url=url, headers=dict(headers or self.headers), body=content
        )
        send = _over_httpx if auth is None else _with_auth
        chunks = []
        try:
            with send(asked, parameters, wait_s if wait_s > 0 else None, auth) as response:
                length = response.length
                size = int(length) if length.isdecimal() else None
                tell({"status": "connect", "size": size})
                received = 0
                for chunk in response.chunks:
                    chunks.append(chunk)
                    received += len(chunk)
                    tell({"status": "downloading", "size": size, "received": received})
        except NetworkError:
            tell({"status": "error", "reason": "network error"})
            raise
        return response.code, response.reason, _decoded(b"".join(chunks), decode or self.decode)


class _Response(NamedTuple):
    """As much of an answer as is passed on."""

    code: int
    reason: str
    length: str
    chunks: Iterator[bytes]


@contextmanager
def _over_httpx(
    asked: SimpleNamespace, parameters: Any, timeout_s: float | None, auth: Any
) -> Iterator[_Response]:
    try:
        with (
            httpx2.Client(timeout=timeout_s, auth=auth) as client,
            client.stream(
                asked.method,
                asked.url,
                content=asked.body,
                params=parameters,
                headers=asked.headers,
            ) as response,
        ):
            length = response.headers.get("content-length", "")
            code, reason = response.status_code, response.reason_phrase
            yield _Response(code, reason, length, response.iter_bytes())
    except (httpx2.RequestError, httpx2.InvalidURL) as exc:
        raise NetworkError(str(exc)) from exc


@contextmanager
def _with_auth(
    asked: SimpleNamespace, parameters: Any, timeout_s: float | None, auth: Any
) -> Iterator[_Response]:
    """Authentication objects of `requests` may do as they like with its requests: what has some,
    has that package. A name with a password, and functions that set headers, work without."""
    try:
        requests = import_module("requests")
    except ImportError:
        if not isinstance(auth, tuple):
            asked, auth = auth(asked), None
        with _over_httpx(asked, parameters, timeout_s, auth) as response:
            yield response
        return
    try:
        with (
            requests.Session() as session,
            session.request(
                asked.method,
                asked.url,
                data=asked.body,
                params=parameters,
                headers=asked.headers,
                timeout=timeout_s,
                auth=auth,
                stream=True,
                allow_redirects=False,
            ) as response,
        ):
            length = response.headers.get("content-length", "")
            chunks = response.iter_content(_CHUNK_BYTES)
            yield _Response(response.status_code, response.reason or "", length, chunks)
    except requests.RequestException as exc:
        raise NetworkError(str(exc)) from exc


def _decoded(body: bytes, decode: Callable[[Any], Any]) -> Any:
    try:
        return decode(body)
    except (ValueError, RecursionError):
        return None
    except Exception:
        # A decoder of the program's may raise anything for bytes that are not what it reads. It
        # may also be wrong itself, so somebody should hear of it.
        logger.warning("The decoder failed at the body of an answer.", exc_info=True)
        return None


_default = Net()


def post_request(url: str, data: Any, **options: Any) -> tuple[int, str, Any]:
    """POST data; (status, reason, answer). Raises NetworkError."""
    return _default.ask("POST", url, data, **options)


def get_request(url: str, data: Any = None, **options: Any) -> tuple[int, str, Any]:
    """GET with data in the query; (status, reason, answer). Raises NetworkError."""
    return _default.ask("GET", url, data, **options)


def head_request(url: str, **options: Any) -> tuple[int, str, Any]:
    """HEAD; (status, reason, None). Raises NetworkError."""
    return _default.ask("HEAD", url, **options)
