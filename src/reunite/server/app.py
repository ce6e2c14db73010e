"""The ASGI application: routes, tokens and bodies in front of a hub.

    POST v1/token   POST v1/token/refresh
    POST v1/register   POST v1/push   POST v1/pull   POST v1/repair
    GET v1/schema   GET v1/query/{table}   GET v1/live
    GET livez   GET readyz   GET openapi.json   GET client.js   GET metrics, where it is asked for

What it is       HTTP in front of `HubDoor`: nobody gets further without a token, a body within the
                 limits and a message; and every answer is JSON.
What it is not   a place for decisions. It may be mounted under any prefix of any ASGI application.
The rule         a use case runs whole in one worker thread. The event loop only moves bytes; a
                 client that goes away does not stop what has begun.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

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
from reunite.protocol.limits import WAIT_S_MAX
from reunite.protocol.live import LAST_EVENT_HEADER, LiveRequest
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.query import QueryRequest
from reunite.protocol.routes import JSON_TYPE, ROUTES, TOKEN_ROUTES
from reunite.server.answer import Answer
from reunite.server.asking import Asking, Authenticate, ByHost, ByToken
from reunite.server.body import (
    SMALL_BODY_BYTES,
    STRANGER_BODY_S,
    BodyReader,
    content_encoding,
    is_small,
    unpack_body,
)
from reunite.server.browser import answer_client, answer_part, for_pages_of
from reunite.server.door import HubDoor, TokenDoor
from reunite.server.limits import ServerLimits
from reunite.server.live import Streams
from reunite.server.load import Load, Place
from reunite.server.openapi import openapi_json
from reunite.server.problems import Edge, answer_http_error, answer_reunite_error
from reunite.server.visits import Counts, visit_of

logger = logging.getLogger("reunite.server")

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Result = TypeVar("Result")
Run: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]


def create_app(
    hub: HubDoor,
    *,
    authenticate: Authenticate | None = None,
    metrics: bool = False,
    streams: bool = True,
    origins: Iterable[str] = (),
    run: Run | None = None,
    routes: Callable[[Any, Streams | None], Iterable[Route]] = lambda hub, streams: (),
    **limits: int,
) -> Starlette:
    """An application that serves `hub`. `limits` are fields of `ServerLimits`.

    authenticate    who sent a request, as a `Principal`, or None; a function or a coroutine
                    function of Starlette's `Request`. Instead of the hub's tokens.
    metrics         whether `GET metrics` tells Prometheus, and whoever else asks, what this
                    application counts. Needs the extra `metrics`: raises CallerError without.
    streams         whether there are live streams, and pulls that wait. Without, `GET v1/live` is
                    answered 204, and live replicas pull once a second.
    origins         whose web pages may talk to the hub besides its own: `https://shop.example`,
                    or "*" for all. Raises BadRequestError for what is no origin.
    run             what carries out a use case, which blocks, for a host that has threads of its
                    own for that; by default one of this application's worker threads
    routes          what else the application answers, such as the console's paths; a function of
                    the hub and of the application's live streams, None without

    The hub stays the caller's to close. The application holds nothing that needs closing.
    """
    asking = ByToken(hub) if authenticate is None else ByHost(authenticate)
    server = _Server(hub, ServerLimits(**limits), asking, has_streams=streams, run=run)
    endpoints: dict[str, Endpoint] = {
        "register": partial(server.answer_post, "register"),
        "push": partial(server.answer_post, "push"),
        "pull": partial(server.answer_post, "pull"),
        "repair": partial(server.answer_post, "repair"),
        "schema": server.answer_schema,
        "query": server.answer_query,
        "live": server.open_stream,
    }
    paths = [
        # A table's name may hold anything, slashes included.
        Route(
            "/" + route.path.replace("{table}", "{table:path}"),
            endpoints[operation],
            methods=[route.method],
            name=operation,
        )
        for operation, route in ROUTES.items()
    ]
    if authenticate is None and isinstance(hub, TokenDoor):
        paths += [
            Route(
                "/" + route.path,
                partial(server.answer_stranger, hub, operation),
                methods=[route.method],
                name=operation,
            )
            for operation, route in TOKEN_ROUTES.items()
        ]
    paths += [
        Route("/livez", server.answer_live, name="livez"),
        Route("/readyz", server.answer_ready, name="readyz"),
        Route("/openapi.json", server.answer_openapi, name="openapi"),
        Route("/client.js", answer_client, name="client"),
        Route("/client/{name}", answer_part, name="client_part"),
    ]
    counts = Counts()
    if metrics:
        paths.append(Route("/metrics", server.metrics_endpoint(counts), name="metrics"))
    app = Starlette(
        routes=[*paths, *routes(hub, server.streams if streams else None)],
        middleware=[*for_pages_of(tuple(origins)), Middleware(Edge, counts)],
        exception_handlers={
            ReuniteError: answer_reunite_error,
            HTTPException: answer_http_error,
        },
    )
    # A redirection would send a token on a second journey; a path is right or it is not there.
    app.router.redirect_slashes = False
    app.state.streams = server.streams
    app.state.counts = counts
    return app


class _Waiting(NamedTuple):
    """A pull that waits, and the empty answer that it has so far."""

    message: bytes
    answer: bytes
    principal: Principal
    wanted: LiveRequest
    wait_s: float


class _Server:
    """The endpoints of one application and what they share."""

    def __init__(
        self,
        hub: HubDoor,
        limits: ServerLimits,
        asking: Asking,
        *,
        has_streams: bool,
        run: Run | None = None,
    ) -> None:
        self._run = run
        self._has_streams = has_streams
        self._hub = hub
        self._asking = asking
        self._limits = limits
        self._stranger_limits = msgspec.structs.replace(
            limits, body_bytes_max=SMALL_BODY_BYTES, body_idle_s_max=STRANGER_BODY_S
        )
        self._workers = anyio.CapacityLimiter(limits.workers_max)
        self.load = Load(limits)
        self.streams = Streams(hub, limits, asking, self.load)

    @contextmanager
    def _place(self) -> Iterator[Place]:
        """A place for a request, which its answer closes."""
        place = self.load.place()
        try:
            yield place
        except BaseException:
            place.close()
            raise

    def _admitted(self, request: Request, place: Place) -> Principal:
        """Who asks, and may ask now."""
        principal = visit_of(request.scope).principal = self._asking.principal(request)
        place.admit(principal)
        return principal

    async def answer_post(self, operation: str, request: Request) -> Response:
        visit = visit_of(request.scope)
        visit.operation = operation
        with self._place() as place:
            found = await self._ask(operation, request, place)
            if not isinstance(found, _Waiting):
                return found
            place.close()
        visit.has_waited = True
        has_news = await self.streams.wait_for_news(found.wanted, found.principal, found.wait_s)

        def work() -> Response:
            # Whoever may come no more while it waited is not answered.
            now = self._admitted(request, place)
            answer = self._hub.answer("pull", found.message, now) if has_news else found.answer
            return Answer(request, answer, place)

        with self._place() as place:
            return await self._in_worker(work)

    async def _ask(self, operation: str, request: Request, place: Place) -> Response | _Waiting:
        self._asking.look(request)
        reader = BodyReader(request, place, self._limits)
        known: Principal | None = None
        if not (is_small(request) and await reader.read_at_once()):
            # A body is waited for, and a large one read, only for those who may send one.
            known = await self._in_worker(self._admitted, request, place)
            content_encoding(request)
        body = await reader.read()

        def work() -> Response | _Waiting:
            principal = known or self._admitted(request, place)
            message = unpack_body(body, content_encoding(request), self._limits)
            answer = self._hub.answer(operation, message, principal)
            if operation == "push":
                visit_of(request.scope).note_push(answer)
            if (
                operation == "pull"
                and self._has_streams
                and (waits := _waits(message, answer)) is not None
            ):
                return _Waiting(message, answer, principal, *waits)
            return Answer(request, answer, place)

        return await self._in_worker(work)

    async def answer_stranger(self, hub: TokenDoor, operation: str, request: Request) -> Response:
        """Answer who has no token yet."""
        visit_of(request.scope).operation = operation
        address = request.client.host if request.client else ""
        with self._place() as place:
            body = await BodyReader(request, place, self._stranger_limits).read()

            def work() -> Response:
                encoding = content_encoding(request)
                message = unpack_body(body, encoding, self._stranger_limits)
                return Answer(request, hub.admit(operation, message, address=address), place)

            return await self._in_worker(work)

    async def answer_schema(self, request: Request) -> Response:
        return await self._answer_get("schema", lambda: b"", request)

    async def answer_query(self, request: Request) -> Response:
        return await self._answer_get("query", partial(_query_from, request), request)

    async def open_stream(self, request: Request) -> Response:
        visit = visit_of(request.scope)
        visit.operation, visit.has_waited = "live", True
        self._asking.look(request)
        with self.load.place() as place:
            principal = await self._in_worker(self._admitted, request, place)
            if not self._has_streams:
                return Response(status_code=204)
            proof = self._asking.proof(request, principal)
            return await self.streams.open(_stream_from(request), principal, proof)

    async def _answer_get(
        self, operation: str, make_body: Callable[[], bytes], request: Request
    ) -> Response:
        visit_of(request.scope).operation = operation
        self._asking.look(request)

        def work() -> Response:
            principal = self._admitted(request, place)
            return Answer(request, self._hub.answer(operation, make_body(), principal), place)

        with self._place() as place:
            return await self._in_worker(work)

    async def answer_live(self, request: Request) -> Response:
        visit_of(request.scope).operation = "livez"
        return Response(b'{"status":"live"}', media_type=JSON_TYPE)

    async def answer_ready(self, request: Request) -> Response:
        visit_of(request.scope).operation = "readyz"
        is_ready = False
        try:
            is_ready = await self._in_worker(self._hub.is_ready)
        except Exception as exc:
            # Whatever it is, a load balancer asks again, and a stranger learns no more.
            logger.warning("readyz: %s", exc)
        if not is_ready:
            raise StorageUnavailableError("The hub's database does not answer.")
        return Response(b'{"status":"ready"}', media_type=JSON_TYPE)

    async def answer_openapi(self, request: Request) -> Response:
        visit_of(request.scope).operation = "openapi"
        return Response(openapi_json(), media_type=JSON_TYPE)

    def metrics_endpoint(self, counts: Counts) -> Endpoint:
        """What answers a scrape. Raises CallerError without the extra."""
        from reunite.server.metrics import MEDIA_TYPE, Metrics

        gauges = {
            "requests_under_way": ("Requests under way.", lambda: self.load.requests),
            "held_bytes": ("Bytes of bodies and answers.", lambda: self.load.held),
            "streams": ("Live streams and pulls that wait.", lambda: self.streams.count),
        }
        metrics = Metrics(counts, {f"reunite_{name}": gauge for name, gauge in gauges.items()})

        async def answer(request: Request) -> Response:
            visit_of(request.scope).operation = "metrics"
            return Response(metrics.text(), headers={"Content-Type": MEDIA_TYPE})

        return answer

    async def _in_worker(self, work: Callable[..., Result], *arguments: Any) -> Result:
        if self._run is not None:
            result: Result = await self._run(partial(work, *arguments))
            return result
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._workers)


def _waits(message: bytes, answer: bytes) -> tuple[LiveRequest, float] | None:
    """What a pull waits for and how long, if it asks to wait and its answer has nothing."""
    if b'"wait_s"' not in message:
        return None
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
    return wanted, min(asked.wait_s, WAIT_S_MAX)


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
