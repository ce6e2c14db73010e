"""Coming and going: `api/session` and `api/session/code`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from reunite.console.visitors import COOKIE, SESSION_S, Gate, LogIn, OwnGate, Visitor
from reunite.directory import StoredDirectory
from reunite.errors import NotAllowedError
from reunite.hub import Hub
from reunite.protocol.codec import decode, encode
from reunite.protocol.routes import JSON_TYPE


class Csrf(msgspec.Struct, frozen=True, kw_only=True):
    """The header that everything must carry which changes something, and what it must say."""

    header: str
    token: str


class HubSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Which hub this is."""

    epoch: str
    version: str
    url: str


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there, and what they may do. `directory` is `own` where the hub keeps users and
    permissions, `host` where they are kept elsewhere."""

    user: str
    can: tuple[str, ...]
    csrf: Csrf | None
    via: str
    expires_ms: int | None
    hub: HubSeen
    streams: bool
    login: LogIn
    directory: str


class PasswordGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and a password."""

    user: str
    password: str


class CodeGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a printed link carries."""

    code: str


class LogInDesk:
    """Answers those who come and go."""

    def __init__(
        self, hub: Hub, gate: Gate, *, has_streams: bool, base_of: Callable[[Request], str]
    ) -> None:
        self._hub, self._gate = hub, gate
        self._has_streams, self._base_of = has_streams, base_of

    def answer(self, request: Request, body: bytes) -> Response:
        """A request for `api/session`."""
        if request.method == "GET":
            return self._shown(request, self._gate.visitor(request))
        if not isinstance(self._gate, OwnGate):
            raise HTTPException(405)
        if request.method == "DELETE":
            self._gate.check_forgery(request, self._gate.visitor(request))
            self._gate.end(request)
            return self._with_cookie(request, Response(status_code=204), "", seconds=0)
        given = decode(body, PasswordGiven)
        _check_origin(request)
        address = request.client.host if request.client else ""
        secret = self._gate.begin_with_password(given.user, given.password, address=address)
        return self._begun(request, secret)

    def answer_code(self, request: Request, body: bytes) -> Response:
        """A request for `api/session/code`."""
        assert isinstance(self._gate, OwnGate), "other gates have no codes"
        given = decode(body, CodeGiven)
        _check_origin(request)
        return self._begun(request, self._gate.begin_with_code(given.code))

    def _begun(self, request: Request, secret: str) -> Response:
        """The answer that begins a session."""
        # As the next request will have it.
        scope = {**request.scope, "headers": [(b"cookie", f"{COOKIE}={secret}".encode())]}
        answer = self._shown(request, self._gate.visitor(Request(scope)))
        return self._with_cookie(request, answer, secret, seconds=SESSION_S)

    def _with_cookie(
        self, request: Request, answer: Response, secret: str, *, seconds: int
    ) -> Response:
        answer.set_cookie(
            COOKIE,
            secret,
            max_age=seconds,
            path=self._base_of(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    def _shown(self, request: Request, visitor: Visitor) -> Response:
        inside = self._hub.workings
        with inside.store.read() as tx:
            epoch = tx.head().epoch
        is_own = isinstance(inside.directory, StoredDirectory)
        session = Session(
            user=visitor.user,
            can=visitor.can,
            csrf=None
            if visitor.csrf is None
            else Csrf(header=visitor.csrf_header, token=visitor.csrf),
            via=visitor.via,
            expires_ms=visitor.expires_ms,
            hub=HubSeen(epoch=epoch, version=version("reunite"), url=_hub_url(request)),
            streams=self._has_streams,
            login=self._gate.login(request),
            directory="own" if is_own else "host",
        )
        return Response(encode(session), media_type=JSON_TYPE)


def _hub_url(request: Request) -> str:
    """Where replicas reach the hub."""
    root = request.scope.get("root_path", "").rstrip("/")
    return f"{request.url.scheme}://{request.url.netloc}{root}/"


def _check_origin(request: Request) -> None:
    """Raise NotAllowedError for what another site's page sends."""
    origin = request.headers.get("origin")
    own: Any = f"{request.url.scheme}://{request.url.netloc}"
    # A proxy may speak HTTPS before us; the host is what another site cannot choose.
    if origin is not None and origin.partition("://")[2] != own.partition("://")[2]:
        raise NotAllowedError("Log in on the console's own page.")
