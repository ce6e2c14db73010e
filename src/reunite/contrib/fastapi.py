"""FastAPI: a hub beside an application's routes, with the application's own dependencies.

    mount(app, hub)                                   # at /sync, with the hub's own tokens
    mount(app, hub, principal=current_principal)      # who asks: a dependency of yours

What it is       `app.mount` of the hub's ASGI application, streams included.
The rule         the dependency is resolved by FastAPI itself, with its overrides, for each request
                 and again while a stream runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from fastapi import Depends, FastAPI, Request
from starlette.types import Message

from reunite.core.principal import Principal
from reunite.hub import Hub

PREFIX = "/sync"

# Where the one who was found travels in the scope of a request.
_FOUND = "reunite.found"

# A dependency: who sent the request, as a principal or the name of a user; None for nobody.
Dependency: TypeAlias = Callable[..., Any]


def mount(
    app: FastAPI,
    hub: Hub,
    prefix: str = PREFIX,
    *,
    principal: Dependency | None = None,
    **options: Any,
) -> None:
    """Mount a hub on an application, before it serves or in its lifespan.

    prefix       where the hub is; a replica's URL ends with it
    principal    a dependency that says who sent a request: a `Principal`, the name of a user, or
                 None; an HTTPException is nobody too. It may have dependencies of its own, take
                 headers, cookies and the request, but no body. Without it, the hub's tokens count.
    options      those of `Hub.asgi`

    The hub stays yours to close, for instance in the lifespan.
    """
    authenticate = None if principal is None else _asking(app, principal)
    app.mount("/" + prefix.strip("/"), hub.asgi(authenticate=authenticate, **options))


def _asking(
    app: FastAPI, dependency: Dependency
) -> Callable[[Request], Awaitable[Principal | None]]:
    """A function that resolves a dependency for a request, as a route of the application would."""
    asked = FastAPI(openapi_url=None)
    asked.state = app.state
    asked.dependency_overrides = app.dependency_overrides

    @asked.get("/")
    def note(request: Request, found: Any = Depends(dependency)) -> None:  # noqa: B008
        request.scope[_FOUND].append(found)

    async def authenticate(request: Request) -> Principal | None:
        found: list[Any] = []
        scope = {
            **request.scope,
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "root_path": "",
            _FOUND: found,
        }
        await asked(scope, _no_body, _nowhere)
        who = found[0] if found else None
        return Principal(user=who) if isinstance(who, str) else who

    return authenticate


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(message: Message) -> None:
    """What a route would have answered is not for the replica."""
