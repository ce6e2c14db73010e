"""The console over HTTP: its page, its API, and who may use it.

    console/                the page, and for every other path below it the page again
    console/api/session     who is there; come in, with a password or a code; go
    console/api/events      news, as a stream        console/api/…    the operations

What it is       routes for `create_app`, or an application of their own for a host.
The rule         an operation runs whole in one worker thread. Nobody gets further without its
                 right, and nothing is changed for a request that another site's page could send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from reunite.console import registry
from reunite.console.bundle import answer_file
from reunite.console.describing import openapi_json
from reunite.console.news import Newsroom
from reunite.console.operations import Desk, Download, Operation, Tagged
from reunite.console.problems import ConsoleProblem
from reunite.console.sessions import LogInDesk
from reunite.console.visitors import READ, Gate, OwnGate, Visitor
from reunite.errors import LimitExceededError, NotAuthenticatedError, ReuniteError
from reunite.hub import Hub
from reunite.protocol.codec import encode
from reunite.protocol.problem import problem_from
from reunite.protocol.routes import JSON_TYPE
from reunite.server.live import Streams
from reunite.server.problems import Edge, answer_http_error, answer_reunite_error
from reunite.server.visits import Counts, visit_of

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Run: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]

# Bytes of a request's body.
BODY_BYTES_MAX = 4 * 1024 * 1024

# Seconds in which a body has to be there.
BODY_S_MAX = 30

# Operations that run at the same time; others wait for their turn. Replicas have threads of their
# own.
WORKERS_MAX = 4


def console_routes(
    hub: Hub,
    streams: Streams | None,
    *,
    gate: Gate | None = None,
    run: Run | None = None,
    prefix: str = "/console",
) -> list[Route]:
    """The console's routes, for the application that has these live streams, None for one that
    streams nothing. `gate` and `run` are a host's own."""
    return _Console(hub, gate or OwnGate(hub), streams, run, prefix).routes()


def create_console_app(
    hub: Hub, *, gate: Gate, streams: Streams | None, run: Run | None = None
) -> Starlette:
    """An application that is the console alone, at its root."""
    app = Starlette(
        routes=console_routes(hub, streams, gate=gate, run=run, prefix=""),
        middleware=[Middleware(Edge, Counts())],
        exception_handlers={ReuniteError: answer_reunite_error, HTTPException: answer_http_error},
    )
    app.router.redirect_slashes = False
    return app


class _Console:
    """The endpoints of one application."""

    def __init__(
        self, hub: Hub, gate: Gate, streams: Streams | None, run: Run | None, prefix: str
    ) -> None:
        self._hub, self._gate, self._run, self._prefix = hub, gate, run, prefix
        hub.workings.meter.begin()
        if streams is not None:
            hub.workings.meter.watch_streams(streams.standing)
        self._workers = anyio.CapacityLimiter(WORKERS_MAX)
        self._has_streams = streams is not None
        self._log_in = LogInDesk(hub, gate, has_streams=self._has_streams, base_of=self._base)
        self._news = Newsroom(
            lambda: self._in_worker(registry.pulse, hub), is_over=lambda: _is_over(streams)
        )

    def routes(self) -> list[Route]:
        """All of them, those that are most particular first."""
        at, api = self._prefix, f"{self._prefix}/api"
        found = [
            Route(f"{api}/session", self._session, methods=["GET", "POST", "DELETE"]),
            Route(f"{api}/openapi.json", self._described, methods=["GET"]),
        ]
        if isinstance(self._gate, OwnGate):
            found.append(Route(f"{api}/session/code", self._code, methods=["POST"]))
        if self._has_streams:
            found.append(Route(f"{api}/events", self._events, methods=["GET"]))
        by_path: dict[str, dict[str, Operation]] = {}
        for one in registry.OPERATIONS.values():
            by_path.setdefault(one.path, {})[one.method] = one
        # What names a thing comes after what is called by its own name.
        for path, by_method in sorted(by_path.items(), key=lambda item: item[0].count("{")):
            endpoint = partial(self._operation, by_method)
            found.append(Route(f"{api}/{path}", endpoint, methods=list(by_method)))
        found += [
            Route(f"{api}/{{rest:path}}", _nothing),
            Route(f"{at}/{{path:path}}", self._file, methods=["GET"]),
        ]
        if at:
            found.append(Route(at, self._redirect, methods=["GET"]))
        return found

    # -- who is there -------------------------------------------------------------------------

    def _base(self, request: Request) -> str:
        return f"{request.scope.get('root_path', '').rstrip('/')}{self._prefix}/"

    async def _session(self, request: Request) -> Response:
        visit_of(request.scope).operation = "console"
        body = await _body(request) if request.method == "POST" else b""
        answer: Response
        answer = await self._answered(request, partial(self._log_in.answer, request, body))
        return answer

    async def _code(self, request: Request) -> Response:
        visit_of(request.scope).operation = "console"
        body = await _body(request)
        answer: Response
        answer = await self._answered(request, partial(self._log_in.answer_code, request, body))
        return answer

    def _visitor(self, request: Request, right: str) -> Visitor:
        """Who sent a request, if they may do this."""
        visitor = self._gate.visitor(request)
        visitor.check(right)
        if request.method != "GET":
            self._gate.check_forgery(request, visitor)
        return visitor

    # -- operations ---------------------------------------------------------------------------

    async def _operation(self, by_method: Mapping[str, Operation], request: Request) -> Response:
        visit_of(request.scope).operation = "console"
        method = "GET" if request.method == "HEAD" else request.method
        one = by_method[method]
        if one.in_query:
            body = b""
        else:
            # A body is read for those only who may send one.
            refusal = await self._answered(request, lambda: self._visitor(request, one.right))
            if isinstance(refusal, Response):
                return refusal
            body = await _body(request)

        def work() -> Response:
            desk = Desk(
                self._hub,
                self._visitor(request, one.right),
                if_match=request.headers.get("if-match"),
                base=self._base(request),
            )
            given = one.read(request.path_params, request.query_params, body)
            return _response(request, one.run(desk, given))

        answer: Response = await self._answered(request, work)
        return answer

    async def _answered(self, request: Request, work: Callable[[], Any]) -> Any:
        """What a worker makes of a request; a refusal that says more than others."""
        try:
            return await self._in_worker(work)
        except ConsoleProblem as refusal:
            return refusal.response()
        except NotAuthenticatedError as error:
            return ConsoleProblem(problem_from(error), login=self._gate.login(request)).response()

    async def _in_worker(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self._run is not None:
            return await self._run(partial(work, *arguments))
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._workers)

    # -- news, and the page -------------------------------------------------------------------

    async def _events(self, request: Request) -> Response:
        visit = visit_of(request.scope)
        visit.operation, visit.has_waited = "console", True

        def look() -> None:
            self._visitor(request, READ)

        refusal = await self._answered(request, look)
        if isinstance(refusal, Response):
            return refusal

        async def is_welcome() -> bool:
            try:
                await self._in_worker(look)
            except ReuniteError:
                return False
            return True

        return self._news.stream(is_welcome)

    async def _described(self, request: Request) -> Response:
        visit_of(request.scope).operation = "console"
        return Response(openapi_json(), media_type=JSON_TYPE)

    async def _file(self, request: Request) -> Response:
        visit_of(request.scope).operation = "console"
        return answer_file(request, request.path_params["path"], self._base(request))

    async def _redirect(self, request: Request) -> Response:
        return RedirectResponse(self._base(request), status_code=308)


def _is_over(streams: Streams | None) -> bool:
    return streams is not None and streams.is_draining


async def _nothing(request: Request) -> Response:
    raise HTTPException(404)


async def _body(request: Request) -> bytes:
    """A body within its limits. Raises LimitExceededError, HTTPException."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON_TYPE and request.headers.get("content-length") != "0":
        raise HTTPException(415)
    parts, size = [], 0
    try:
        with anyio.fail_after(BODY_S_MAX):
            async for part in request.stream():
                size += len(part)
                if size > BODY_BYTES_MAX:
                    raise LimitExceededError(
                        f"A request of the console has up to {BODY_BYTES_MAX} bytes.",
                        limit="BODY_BYTES_MAX",
                    )
                parts.append(part)
    except TimeoutError:
        raise HTTPException(408) from None
    return b"".join(parts)


def _response(request: Request, found: Any) -> Response:
    match found:
        case None:
            return Response(status_code=204)
        case Download(name=name, media_type=media_type, lines=lines):
            # What goes wrong at the beginning is an answer still, and no broken file.
            iterator = iter(lines)
            return StreamingResponse(
                _in_pieces(_piece(iterator), iterator),
                headers={"Content-Disposition": f'attachment; filename="{name}"'},
                media_type=media_type,
            )
        case Tagged(value=value, tag=tag):
            headers = {"ETag": f'"{tag}"'}
            if f'"{tag}"' in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            return Response(encode(value), headers=headers, media_type=JSON_TYPE)
        case _:
            return Response(encode(found), media_type=JSON_TYPE)


# Lines that travel together.
_LINES = 200


async def _in_pieces(first: bytes, lines: Iterator[str]) -> AsyncIterator[bytes]:
    """Lines as they are made, each lot of them in a worker thread."""
    part = first
    while part:
        yield part
        part = await anyio.to_thread.run_sync(_piece, lines)


def _piece(lines: Iterator[str]) -> bytes:
    return "".join(islice(lines, _LINES)).encode()
