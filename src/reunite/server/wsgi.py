"""The same application for WSGI servers: each request is carried to an event loop and back.

    thread of the WSGI server                 event loop, one a process, in a thread of its own
    reads the body when it is asked ◄───────► the ASGI application of `app.py`
    hands over the answer as a whole

What it is       a bridge, so that routes, limits and problems exist once.
What it is not   a way to stream: a stream would keep a thread of the server. `GET v1/live` is
                 answered 204, and pulls do not wait, so live replicas ask once a second.
The rule         whoever sent a request is asked about in the server's thread, where the host's
                 own context is; everything else happens on the loop.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Scope

from reunite.core.principal import Principal
from reunite.server.app import create_app
from reunite.server.door import HubDoor

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
# The host's own: who sent this request, None for nobody. Called in the request's own thread.
WsgiAuthenticate: TypeAlias = Callable[[Environ], "Principal | None"]

# Where the answer of the host's function travels in the scope, or what it raised.
_WHO = "reunite.who"

READ_BYTES = 64 * 1024


class WsgiApp(Protocol):
    """A WSGI application."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        ...


def create_wsgi_app(
    hub: HubDoor, *, authenticate: WsgiAuthenticate | None = None, **options: Any
) -> WsgiApp:
    """A WSGI application that serves `hub`, without streams: live replicas ask once a second.

    authenticate    who sent a request, as a `Principal`, or None; a function of the WSGI environ.
                    Instead of the hub's tokens.
    options         those of `create_app`

    May be mounted under any prefix (SCRIPT_NAME). Its event loop begins with the first request in
    a process, so servers may fork before. The hub stays the caller's to close.
    """
    told = None if authenticate is None else _told_by_host
    return _Bridge(create_app(hub, authenticate=told, streams=False, **options), authenticate)


def _told_by_host(request: Request) -> Principal | None:
    found = request.scope[_WHO]
    if isinstance(found, Exception):
        raise found
    principal: Principal | None = found
    return principal


class _Bridge:
    def __init__(self, app: ASGIApp, authenticate: WsgiAuthenticate | None) -> None:
        self._app = app
        self._authenticate = authenticate
        self._starting = threading.Lock()
        self._loop: tuple[int, asyncio.AbstractEventLoop] | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        scope = _scope_of(environ)
        if self._authenticate is not None:
            try:
                scope[_WHO] = self._authenticate(environ)
            except Exception as exc:
                scope[_WHO] = exc
        return _Exchange(self._running_loop(), environ).carry(self._app, scope, start_response)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None or self._loop[0] != os.getpid():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="reunite-wsgi", daemon=True)
                thread.start()
                self._loop = os.getpid(), loop
            return self._loop[1]


class _Exchange:
    """One request: the application runs on the loop and asks this thread for what it needs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, environ: Environ) -> None:
        self._loop = loop
        self._input = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH") or ""
        self._left: float = int(length) if length.isascii() and length.isdecimal() else 0
        if not length and environ.get("wsgi.input_terminated"):
            self._left = float("inf")
        self._asked: queue.SimpleQueue[asyncio.Future[Message] | Message | None] = (
            queue.SimpleQueue()
        )
        self._reading: asyncio.Future[Message] | None = None
        self._is_read = False
        self._failure: BaseException | None = None

    def carry(self, app: ASGIApp, scope: Scope, start_response: StartResponse) -> list[bytes]:
        asyncio.run_coroutine_threadsafe(self._run(app, scope), self._loop)
        # What stays if the client went away before there was an answer; nobody reads it.
        start: Message = {"status": 400, "headers": ()}
        chunks: list[bytes] = []
        while (item := self._asked.get()) is not None:
            if isinstance(item, asyncio.Future):
                self._answer(item, self._read())
            elif item["type"] == "http.response.start":
                start = item
            else:
                chunks.append(item.get("body", b""))
        if self._failure is not None:
            raise self._failure
        start_response(_status_line(start["status"]), _texts(start["headers"]))
        return chunks

    # -- on the loop --------------------------------------------------------------------------

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except BaseException as exc:
            self._failure = exc
        finally:
            self._asked.put(None)

    async def _receive(self) -> Message:
        if self._is_read:
            nothing_more: asyncio.Future[Message] = self._loop.create_future()
            return await nothing_more
        if self._reading is None:
            self._reading = self._loop.create_future()
            self._asked.put(self._reading)
        # Whoever gives up waiting takes nothing away from who asks next.
        message = await asyncio.shield(self._reading)
        self._reading = None
        self._is_read = not message["more_body"]
        return message

    async def _send(self, message: Message) -> None:
        self._asked.put(dict(message))

    # -- in the server's thread ---------------------------------------------------------------

    def _read(self) -> Message:
        size = int(min(READ_BYTES, self._left))
        try:
            chunk = self._input.read(size) if size else b""
        except OSError:
            return {"type": "http.disconnect", "more_body": False}
        self._left -= len(chunk)
        if not chunk and 0 < self._left < float("inf"):
            return {"type": "http.disconnect", "more_body": False}
        return {
            "type": "http.request",
            "body": chunk,
            "more_body": bool(chunk) and self._left > 0,
        }

    def _answer(self, future: asyncio.Future[Message], message: Message) -> None:
        def set_result() -> None:
            if not future.done():
                future.set_result(message)

        self._loop.call_soon_threadsafe(set_result)


def _scope_of(environ: Environ) -> Scope:
    prefix = environ.get("SCRIPT_NAME", "").rstrip("/")
    path = prefix + environ.get("PATH_INFO", "")
    port = environ.get("SERVER_PORT", "")
    address = environ.get("REMOTE_ADDR")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        # WSGI gives bytes as if they were Latin-1 (PEP 3333).
        "path": path.encode("latin-1").decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1"),
        "root_path": prefix.encode("latin-1").decode("utf-8", "replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": list(environ_headers(environ)),
        "client": (address, 0) if address else None,
        "server": (environ.get("SERVER_NAME", ""), int(port) if port.isdecimal() else None),
        "state": {},
    }


def environ_headers(environ: Mapping[str, Any]) -> Iterable[tuple[bytes, bytes]]:
    """The headers of a request, as ASGI has them."""
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            name = name.removeprefix("HTTP_")
        elif name not in ("CONTENT_TYPE", "CONTENT_LENGTH") or not value:
            continue
        yield name.replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1")


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} -"


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
