"""Errors as answers: whatever goes wrong leaves the server as `application/problem+json`.

A `ReuniteError` says what it is. Everything else is our bug: the client gets a number, and the log
gets the number with the traceback.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reunite.errors import NotAuthenticatedError, ReuniteError
from reunite.protocol.codec import encode
from reunite.protocol.encoding import ACCEPT_ENCODING
from reunite.protocol.problem import HTTP_KINDS, Problem, http_problem, problem_from, told_outside
from reunite.protocol.routes import PROBLEM_TYPE, PROTOCOL_HEADER
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.server.visits import SCOPE_KEY, Counts, Visit, visit_of

logger = logging.getLogger("reunite.server")

_DETAILS = {
    "not-found": "This is a reunite hub, but it has nothing at this path; openapi.json under its "
    "mount point lists what it has. A replica's URL is the mount point itself.",
    "method-not-allowed": "Use one of the methods in the Allow header.",
    "request-timeout": "The rest of the body did not arrive in time: send it again.",
    "unsupported-media-type": "Send the body as application/json, plain or with a "
    f"Content-Encoding of {ACCEPT_ENCODING}.",
}
_CODE_BY_STATUS = {HTTP_KINDS[code].status: code for code in _DETAILS}

# On every answer. The data is not for caches, and nothing of it is a page for a browser to render.
COMMON_HEADERS = {
    PROTOCOL_HEADER: str(PROTOCOL_VERSION),
    "Accept-Encoding": ACCEPT_ENCODING,  # for the client's next request (RFC 7694)
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an HTTP answer, with the headers that its status asks for."""
    extra = dict(headers or {})
    if problem.retry_after_s is not None:
        extra["Retry-After"] = str(math.ceil(problem.retry_after_s))
    return Response(encode(problem), problem.status, extra, media_type=PROBLEM_TYPE)


def refusal_on_the_line(error: ReuniteError) -> bytes:
    """The whole HTTP answer to bytes that reach no application; the connection ends with it."""
    problem = problem_from(error)
    body = encode(problem)
    headers = {
        **COMMON_HEADERS,
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    phrase = HTTPStatus(problem.status).phrase
    return f"HTTP/1.1 {problem.status} {phrase}\r\n{head}\r\n".encode() + body


def _note(request: Request, problem: Problem) -> None:
    visit = visit_of(request.scope)
    visit.code, visit.limit = problem.code, problem.limit


async def answer_reunite_error(request: Request, error: Exception) -> Response:
    """A `ReuniteError` that a use case or the door raised."""
    assert isinstance(error, ReuniteError)
    problem = problem_from(told_outside(error))
    _note(request, problem)
    if problem.status >= 500:
        logger.warning("%s: %s", visit_of(request.scope).operation, error)
    headers = {}
    if isinstance(error, NotAuthenticatedError):
        has_token = "authorization" in request.headers
        headers["WWW-Authenticate"] = (
            'Bearer realm="reunite", error="invalid_token"'
            if has_token
            else 'Bearer realm="reunite"'
        )
    return problem_response(problem, headers)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What routing or reading the body refused: unknown path, wrong method or type …"""
    assert isinstance(error, HTTPException)
    code = _CODE_BY_STATUS[error.status_code]
    problem = http_problem(code, _DETAILS[code])
    _note(request, problem)
    return problem_response(problem, error.headers)


class Edge:
    """The outermost layer: common headers on every answer, an answer to every exception, and a
    count of both."""

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app = app
        self._counts = counts
        self._headers = [
            (name.lower().encode(), value.encode()) for name, value in COMMON_HEADERS.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        visit = scope[SCOPE_KEY] = Visit(scope["method"], client[0] if client else None)
        began_at = time.monotonic()

        async def receive_counted() -> Message:
            message = await receive()
            visit.bytes_in += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            visit.bytes_out += len(message.get("body", b""))
            await send(message)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                message["headers"] = [*given, *(h for h in self._headers if h[0] not in names)]
            await send_counted(message)

        visit.send_part = send_counted
        try:
            await self._app(scope, receive_counted, send_with_headers)
        except ClientDisconnect:
            logger.debug("%s: the client went away", visit.operation)
        except Exception:
            visit.code, visit.incident = "internal", secrets.token_hex(6)
            logger.exception("incident %s: %s", visit.incident, visit.operation)
            if visit.status:
                raise
            problem = http_problem(
                "internal",
                "The hub failed on this request, and nothing of it was done. Its log has the "
                "cause under the number of this incident.",
                incident=visit.incident,
            )
            await problem_response(problem)(scope, receive, send_with_headers)
        finally:
            self._counts.note(visit, time.monotonic() - began_at)
