"""Requests of the client, with the original's names: `client.net`.

Only what the network does is a NetworkError; a programmer's mistake stays what it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import httpx2

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
TIMEOUT_S = 10.0

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
        request = self._authenticated(method, url, headers or self.headers, content)
        wait_s = self.timeout_s if timeout is None else timeout
        tell = monitor or (lambda status: None)
        try:
            with (
                httpx2.Client(timeout=wait_s if wait_s > 0 else None) as client,
                client.stream(
                    method,
                    request.url,
                    content=request.body,
                    params=parameters,
                    headers=request.headers,
                ) as response,
            ):
                length = response.headers.get("content-length", "")
                size = int(length) if length.isdecimal() else None
                tell({"status": "connect", "size": size})
                chunks = []
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    received = sum(map(len, chunks))
                    tell({"status": "downloading", "size": size, "received": received})
        except httpx2.RequestError as exc:
            tell({"status": "error", "reason": "network error"})
            raise NetworkError(str(exc)) from exc
        return (
            response.status_code,
            response.reason_phrase,
            _decoded(b"".join(chunks), decode or self.decode),
        )

    def _authenticated(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> SimpleNamespace:
        """The request as an authentication object of `requests` changes it."""
        request = SimpleNamespace(method=method, url=url, headers=dict(headers), body=body)
        if self.authenticate is not None and (auth := self.authenticate(url)) is not None:
            changed: SimpleNamespace = auth(request)
            return changed
        return request


def _decoded(body: bytes, decode: Callable[[Any], Any]) -> Any:
    try:
        return decode(body)
    except ValueError:
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
