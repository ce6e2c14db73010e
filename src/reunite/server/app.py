"""The ASGI application: routes, tokens and bodies in front of a hub.

    POST v1/register   POST v1/push   POST v1/pull   POST v1/repair
    GET v1/schema   GET v1/query/{table}   GET v1/live   GET livez   GET readyz   GET openapi.json

What it is       HTTP in front of `HubDoor`: nobody gets further without a token, a body within the
                 limits and a message; and every answer is JSON.
What it is not   a place for decisions. It may be mounted under any prefix of any ASGI application.
The rule         a use case runs whole in one worker thread. The event loop only moves bytes; a
                 client that goes away does not stop what has begun.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reunite.core.principal import Principal
from reunite.errors import (
    BadRequestError,
    ReuniteError,
    StorageUnavailableError,
)
from reunite.protocol.codec import decode, encode
from reunite.protocol.encoding import accepted, compress
from reunite.protocol.limits import WAIT_S_MAX
from reunite.protocol.live import LAST_EVENT_HEADER, LiveRequest
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.query import QueryRequest
from reunite.protocol.routes import JSON_TYPE, ROUTES
from reunite.server.asking import Asking, Authenticate, ByHost, ByToken
from reunite.server.body import Load, content_encoding, is_small, read_body, unpack_body
from reunite.server.door import HubDoor
from reunite.server.limits import ServerLimits
from reunite.server.live import Streams
from reunite.server.openapi import openapi_json
from reunite.server.problems import Edge, answer_http_error, answer_reunite_error

# Answers that are shorter travel as they are.
COMPRESS_BYTES_MIN = 1024

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Result = TypeVar("Result")


def create_app(
    hub: HubDoor, *, authenticate: Authenticate | None = None, **limits: int
) -> Starlette:
    """An application that serves `hub`. `limits` are fields of `ServerLimits`.

    authenticate    who sent a request, as a `Principal`, or None; a function or a coroutine
                    function of Starlette's `Request`. Instead of the hub's tokens.

    The hub stays the caller's to close. The application holds nothing that needs closing.
    """
    asking = ByToken(hub) if authenticate is None else ByHost(authenticate)
    server = _Server(hub, ServerLimits(**limits), asking)
    endpoints: dict[str, Endpoint] = {
        "register": partial(server.answer_post, "register"),
        "push": partial(server.answer_post, "push"),
        "pull": partial(server.answer_post, "pull"),
        "repair": partial(server.answer_post, "repair"),
        "schema": server.answer_schema,
        "query": server.answer_query,
        "live": server.open_stream,
    }
    routes = [
        # A table's name may hold anything, slashes included.
        Route(
            "/" + route.path.replace("{table}", "{table:path}"),
            endpoints[operation],
            methods=[route.method],
            name=operation,
        )
        for operation, route in ROUTES.items()
    ]
    routes += [
        Route("/livez", server.answer_live, name="livez"),
        Route("/readyz", server.answer_ready, name="readyz"),
        Route("/openapi.json", server.answer_openapi, name="openapi"),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Edge)],
        exception_handlers={
            ReuniteError: answer_reunite_error,
            HTTPException: answer_http_error,
        },
    )
    # A redirection would send a token on a second journey; a path is right or it is not there.
    app.router.redirect_slashes = False
    app.state.streams = server.streams
    return app


class _Server:
    """The endpoints of one application and what they share."""

    def __init__(self, hub: HubDoor, limits: ServerLimits, asking: Asking) -> None:
        self._hub = hub
        self._asking = asking
        self._limits = limits
        self._load = Load(limits)
        self._workers = anyio.CapacityLimiter(limits.workers_max)
        self.streams = Streams(hub, limits, asking)

    async def answer_post(self, operation: str, request: Request) -> Response:
        response, message, answer, principal = await self._ask(operation, request)
        if operation == "pull" and b'"wait_s"' in message:
            return await self._answer_later(request, message, answer, principal) or response
        return response

    async def _answer_later(
        self, request: Request, message: bytes, answer: bytes, principal: Principal
    ) -> Response | None:
        """Wait for news if the pull asks for it and the answer has none; None for that answer."""
        asked = decode(message, PullRequest)
        if asked.wait_s is None:
            return None
        page = decode(answer, Page, bytes_max=None)
        if page.tables or page.outcomes or page.cursor != asked.cursor:
            return None
        wanted = LiveRequest(
            protocol=asked.protocol,
            replica=asked.replica,
            cursor=page.cursor,
            tables=asked.tables,
            where=asked.where,
        )
        wait_s = min(asked.wait_s, WAIT_S_MAX)
        if not await self.streams.wait_for_news(wanted, principal, wait_s):
            return None

        def work() -> Response:
            # Whoever may come no more while it waited is not answered.
            now = self._asking.principal(request)
            return _respond(request, self._hub.answer("pull", message, now))

        async with self._load.place():
            return await self._in_worker(work)

    async def _ask(
        self, operation: str, request: Request
    ) -> tuple[Response, bytes, bytes, Principal]:
        async with self._load.place() as hold:
            self._asking.look(request)
            known: Principal | None = None
            if not is_small(request):
                # A large body is read only for those who may send one.
                known = await self._in_worker(self._asking.principal, request)
                content_encoding(request)
            body = await read_body(request, hold, self._limits)

            def work() -> tuple[Response, bytes, bytes, Principal]:
                principal = known or self._asking.principal(request)
                message = unpack_body(body, content_encoding(request), self._limits)
                answer = self._hub.answer(operation, message, principal)
                return _respond(request, answer), message, answer, principal

            return await self._in_worker(work)

    async def answer_schema(self, request: Request) -> Response:
        return await self._answer_get("schema", lambda: b"", request)

    async def answer_query(self, request: Request) -> Response:
        return await self._answer_get("query", partial(_query_from, request), request)

    async def open_stream(self, request: Request) -> Response:
        self._asking.look(request)
        async with self._load.place():
            principal = await self._in_worker(self._asking.principal, request)
            proof = self._asking.proof(request, principal)
            return await self.streams.open(_stream_from(request), principal, proof)

    async def _answer_get(
        self, operation: str, make_body: Callable[[], bytes], request: Request
    ) -> Response:
        self._asking.look(request)

        def work() -> Response:
            principal = self._asking.principal(request)
            return _respond(request, self._hub.answer(operation, make_body(), principal))

        async with self._load.place():
            return await self._in_worker(work)

    async def answer_live(self, request: Request) -> Response:
        return Response(b'{"status":"live"}', media_type=JSON_TYPE)

    async def answer_ready(self, request: Request) -> Response:
        if not await self._in_worker(self._hub.is_ready):
            raise StorageUnavailableError("The hub's database does not answer.")
        return Response(b'{"status":"ready"}', media_type=JSON_TYPE)

    async def answer_openapi(self, request: Request) -> Response:
        return Response(openapi_json(), media_type=JSON_TYPE)

    async def _in_worker(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._workers)


def _stream_from(request: Request) -> LiveRequest:
    """What a stream's parameters and the header with the cursor ask for."""
    cursor = request.headers.get(LAST_EVENT_HEADER)
    if cursor is None:
        raise BadRequestError(
            f"Send the cursor of the last checkpoint in the header {LAST_EVENT_HEADER}: a pull "
            "gives one.",
            path=LAST_EVENT_HEADER,
        )
    parameters = _parameters(request, "protocol", "replica", "tables", "where")
    asked = {
        name: _json_parameter(text, Any, path=name)
        for name, text in parameters.items()
        if name != "replica"
    }
    asked |= {"cursor": cursor, "replica": parameters.get("replica", "")}
    return decode(encode({"protocol": 0} | asked), LiveRequest)


def _parameters(request: Request, *known: str) -> Mapping[str, str]:
    """The parameters of a request, each once. Raises BadRequestError for others."""
    parameters = request.query_params
    unknown = set(parameters) - set(known)
    if unknown:
        raise BadRequestError(f"There is no parameter {min(unknown)!r} here.", path="query")
    for name in parameters:
        if len(parameters.getlist(name)) > 1:
            raise BadRequestError(f"The parameter {name} is there twice.", path=name)
    return parameters


def _query_from(request: Request) -> bytes:
    """The message that a query's path and parameters spell."""
    parameters = _parameters(request, "where", "after", "limit")
    where = _json_parameter(parameters.get("where", "{}"), dict[str, Any], path="where")
    after = _json_parameter(parameters.get("after", "null"), tuple[Any, ...] | None, path="after")
    limit = _json_parameter(parameters.get("limit", "null"), int | None, path="limit")
    return encode(
        QueryRequest(table=request.path_params["table"], where=where, after=after, limit=limit)
    )


def _json_parameter(text: str, kind: Any, *, path: str) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadRequestError(
            f"The parameter {path} is not as it should be: {exc}", path=path
        ) from exc


def _respond(request: Request, answer: bytes) -> Response:
    """An answer as the client wants it encoded. Takes time: for a worker thread."""
    headers = {"Vary": "Accept-Encoding"}
    if len(answer) > COMPRESS_BYTES_MIN:
        encoding = accepted(request.headers.get("accept-encoding"))
        if encoding is not None:
            answer = compress(answer, encoding)
            headers["Content-Encoding"] = encoding
    return Response(answer, headers=headers, media_type=JSON_TYPE)
