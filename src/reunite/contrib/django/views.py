"""The view behind the routes: a request of Django's, carried to the hub's application and back.

    WSGI, and Django's test client     the request's own thread does all of it
    ASGI                               use cases run where Django runs its synchronous code

What it is       a bridge, so that routes, limits and problems exist once, in `reunite.server`.
What it is not   a place for decisions.
The rule         use cases run on the connections that Django gives the request, so that a test's
                 transaction holds them, and Django closes what it opened.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from starlette.types import ASGIApp, Message, Scope

from reunite.contrib.django.asking import sender_of
from reunite.contrib.django.conf import setting
from reunite.contrib.django.hubs import DjangoHub
from reunite.server import create_app
from reunite.server.wsgi import READ_BYTES, environ_headers

# Where the request of Django's travels.
REQUEST = "reunite.django"

_TOKEN_ROUTES = ("v1/token", "v1/token/refresh")


class _Always(set[str]):
    """Every database: pushes and pulls begin and end their own transactions."""

    def __contains__(self, alias: object) -> bool:
        return True


@csrf_exempt
async def protocol(request: HttpRequest, route: str, using: str = "default") -> HttpResponse:
    """Answer a request of reunite's protocol."""
    if using not in setting("DATABASES") or using not in connections:
        raise Http404
    hub = apps.get_app_config("reunite").hub(using)
    app = _apps_of(hub)[route in _TOKEN_ROUTES]
    scope = _scope_of(request, route)
    return await _Exchange(request).carry(app, scope)


protocol._non_atomic_requests = _Always()


@functools.lru_cache(maxsize=20)
def _apps_of(hub: DjangoHub) -> tuple[ASGIApp, ASGIApp]:
    """What answers who has come, and what lets them come by a name and a password."""
    options: dict[str, Any] = {
        "streams": False,
        "origins": tuple(setting("ORIGINS")),
        "run": _run,
        **setting("LIMITS"),
    }

    def authenticate(asked: Any) -> Any:
        return sender_of(asked.scope[REQUEST], hub)

    return create_app(hub, authenticate=authenticate, **options), create_app(hub, **options)


async def _run(work: Callable[[], Any]) -> Any:
    return await sync_to_async(work, thread_sensitive=True)()


def _scope_of(request: HttpRequest, route: str) -> Scope:
    meta = request.META
    address = meta.get("REMOTE_ADDR")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": request.path.removesuffix(f"/{route}"),
        "query_string": meta.get("QUERY_STRING", "").encode("latin-1", "replace"),
        "headers": list(environ_headers(meta)),
        "client": (address, 0) if address else None,
        "server": (meta.get("SERVER_NAME", ""), None),
        "state": {},
        REQUEST: request,
    }


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._is_read = False
        self._start: Message = {"status": 500, "headers": ()}
        self._chunks: list[bytes] = []

    async def carry(self, app: ASGIApp, scope: Scope) -> HttpResponse:
        await app(scope, self._receive, self._send)
        answer = HttpResponse(b"".join(self._chunks), status=self._start["status"])
        del answer["Content-Type"]
        for name, value in self._start["headers"]:
            if name.lower() != b"content-length":
                answer[name.decode("latin-1")] = value.decode("latin-1")
        return answer

    async def _receive(self) -> Message:
        if self._is_read:
            nothing_more: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            return await nothing_more
        try:
            chunk = self._request.read(READ_BYTES)
        except OSError:
            self._is_read = True
            return {"type": "http.disconnect"}
        self._is_read = not chunk
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._chunks.append(message.get("body", b""))
