"""The view behind the routes: a request of Django's, carried to the hub's application and back.

    WSGI, and Django's test client     the request's own thread does all of it; no streams
    ASGI                               use cases run where Django runs its synchronous code; streams

What it is       a bridge, so that routes, limits and problems exist once, in `reunite.server`.
What it is not   a place for decisions.
The rule         use cases run on the connections that Django gives the request, so that a test's
                 transaction holds them, and Django closes what it opened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from starlette.types import ASGIApp, Scope

from reunite.contrib.django.asking import sender_of
from reunite.contrib.django.conf import setting
from reunite.contrib.django.exchange import Exchange
from reunite.contrib.django.hubs import DjangoHub
from reunite.contrib.django.tidying import in_request, tidily, tidy
from reunite.server import create_app
from reunite.server.wsgi import environ_headers

# Where the request of Django's travels.
REQUEST = "reunite.django"

_TOKEN_ROUTES = ("v1/token", "v1/token/refresh")


class Always(set[str]):
    """Every database: pushes and pulls begin and end their own transactions."""

    def __contains__(self, alias: object) -> bool:
        return True


@csrf_exempt
async def protocol(request: HttpRequest, route: str, using: str = "default") -> HttpResponseBase:
    """Answer a request of reunite's protocol."""
    if using not in setting("DATABASES") or using not in connections:
        raise Http404
    hub = apps.get_app_config("reunite").hub(using)
    with_name, with_token = _apps_of(hub, isinstance(request, ASGIRequest))
    app = with_name if route in _TOKEN_ROUTES else with_token
    return await Exchange(request).carry(app, scope_of(request, route))


protocol._non_atomic_requests = Always()


@functools.lru_cache(maxsize=20)
def _apps_of(hub: DjangoHub, has_streams: bool) -> tuple[ASGIApp, ASGIApp]:
    """What lets those in who have a name and a password, and what answers those who have come."""
    options: dict[str, Any] = {
        "streams": has_streams,
        "origins": tuple(setting("ORIGINS")),
        "run": _run,
        **setting("LIMITS"),
    }
    door = tidy(hub)

    def authenticate(asked: Any) -> Any:
        return tidily(functools.partial(sender_of, asked.scope[REQUEST], hub))

    return create_app(door, **options), create_app(door, authenticate=authenticate, **options)


async def _run(work: Callable[[], Any]) -> Any:
    return await sync_to_async(functools.partial(in_request, work), thread_sensitive=True)()


def scope_of(request: HttpRequest, route: str) -> Scope:
    """A request of Django's, as an application that is mounted before `route` gets it."""
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
