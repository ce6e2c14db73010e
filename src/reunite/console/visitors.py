"""Who sits before the console, and how they came in.

    name and password ──► a session      a code that was printed, good once ──► a session
    a session's cookie, or a token of the hub's ──► Visitor, with what it may do, now

What it is       the port `Gate`, and the one of a hub that keeps its own users.
What it is not   a place for replicas: their tokens open the console only with its roles.
The rule         who may come is asked with each request, of the directory as it is then. Of a
                 session's secret only the hash is kept, and whatever changes something must carry
                 the session's other secret in a header, which no other site's page knows.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Protocol

import msgspec
from starlette.requests import Request

from reunite.core.principal import Principal
from reunite.engine.directory import NO_TENANT
from reunite.engine.register import check_shown
from reunite.engine.remembered import VisitRecord
from reunite.errors import NotAllowedError, NotAuthenticatedError
from reunite.hub import Hub
from reunite.server.asking import bearer_token

# Roles, outside of any tenant, that open the console: to see, and to change as well.
READ, WRITE = "console:read", "console:write"
RIGHTS = (READ, WRITE)

COOKIE = "reunite_console"
CSRF_HEADER = "X-Reunite-Csrf"

# How long a session lasts, and a code that waits for somebody to come with it.
SESSION_S = 12 * 3600
CODE_S = 600

_SECRET_BYTES = 32

_NOBODY = "You are not logged in here, or no more: log in."
_NO_RIGHT = (
    f"You may not come here: the console is for who has the role {READ} or {WRITE}, outside of any "
    "tenant."
)


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is, what it may do, and how it came. `csrf` is what its changes must carry, if it
    came with a cookie."""

    user: str
    can: tuple[str, ...]
    via: str
    csrf: str | None = None
    csrf_header: str = CSRF_HEADER
    expires_ms: int | None = None

    def check(self, right: str) -> None:
        """Raise NotAllowedError for who has not this right."""
        if right not in self.can:
            raise NotAllowedError(f"You may look, and change nothing: the role {right} may.")

    def check_csrf(self, sent: str | None) -> None:
        """Raise NotAllowedError for a change that may come from another site's page."""
        if self.csrf is not None and not hmac.compare_digest(
            self.csrf.encode(), (sent or "").encode()
        ):
            raise NotAllowedError(
                f"The header {self.csrf_header} is missing, or of another session: load the page "
                "again."
            )


class LogIn(msgspec.Struct, frozen=True, kw_only=True):
    """How a visitor without a session gets one: here, or at the host's own page."""

    password: bool
    url: str | None = None


class Gate(Protocol):
    """Finds out who a request is from. All methods block."""

    def login(self, request: Request) -> LogIn:
        """How who sent it comes in."""

    def visitor(self, request: Request) -> Visitor:
        """Who sent it. Raises NotAuthenticatedError, NotAllowedError."""

    def check_forgery(self, request: Request, visitor: Visitor) -> None:
        """Raise NotAllowedError if a change was not sent by the console's own page."""


class OwnGate:
    """The gate of a hub that has users, tokens and sessions of its own."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._inside = hub.workings

    def login(self, request: Request) -> LogIn:
        return LogIn(password=True)

    def visitor(self, request: Request) -> Visitor:
        if "authorization" in request.headers:
            principal = self._hub.authenticate(bearer_token(request))
            return _visitor(principal, via="token")
        secret = request.cookies.get(COOKIE, "")
        with self._inside.store.read() as tx:
            found = tx.records(VisitRecord, id=_hash(secret)) if secret else ()
            (visit,) = found or (None,)
            if visit is None or visit.is_code or visit.expires_ms <= self._inside.clock.now_ms():
                raise NotAuthenticatedError(_NOBODY)
            member = None
            if not visit.is_member:
                can, via = can_of([WRITE]), "code"
            else:
                member = self._inside.directory.member(tx, visit.user_name, NO_TENANT)
                can, via = _can_of_member(member), "password"
        if not can:
            # Who gets the role again logs in again.
            with self._inside.store.write() as writing:
                writing.drop_records(VisitRecord, id=visit.id)
            if member is None:
                raise NotAuthenticatedError(_NOBODY)
            raise NotAllowedError(_NO_RIGHT)
        return Visitor(
            user=visit.user_name,
            can=can,
            via=via,
            csrf=visit.csrf,
            expires_ms=visit.expires_ms,
        )

    def check_forgery(self, request: Request, visitor: Visitor) -> None:
        visitor.check_csrf(request.headers.get(CSRF_HEADER))

    def begin_with_password(self, user: str, password: str, *, address: str) -> str:
        """The secret of a new session. Raises NotAuthenticatedError, alike for whatever is wrong,
        NotAllowedError, LimitExceededError."""
        self._inside.sessions.check(user, password, address=address)
        with self._inside.store.read() as tx:
            member = self._inside.directory.member(tx, user, NO_TENANT)
        if member is None:
            raise NotAllowedError(_NO_RIGHT)
        _rights(member)
        return self._begin(user, is_member=True)

    def begin_with_code(self, code: str) -> str:
        """The secret of a new session, for a code that is used up then."""
        with self._inside.store.write() as tx:
            found = tx.records(VisitRecord, id=_hash(code), is_code=True)
            tx.drop_records(VisitRecord, id=_hash(code), is_code=True)
        now_ms = self._inside.clock.now_ms()
        if not found or found[0].expires_ms <= now_ms:
            raise NotAuthenticatedError(
                "This link was used, or is too old: `reunite console` prints another one."
            )
        return self._begin(found[0].user_name, is_member=False)

    def _begin(self, user: str, *, is_member: bool) -> str:
        return _keep(self._hub, user, is_member=is_member, is_code=False, seconds=SESSION_S)

    def end(self, request: Request) -> None:
        """End the session that a request came with."""
        secret = request.cookies.get(COOKIE, "")
        with self._inside.store.write() as tx:
            tx.drop_records(VisitRecord, id=_hash(secret), is_code=False)


def one_time_code(hub: Hub, user: str = "owner") -> str:
    """A code with which whoever has it comes in once, within ten minutes, and may do everything.
    Raises BadRequestError for a name that cannot be shown."""
    check_shown(user, "")
    return _keep(hub, user, is_member=False, is_code=True, seconds=CODE_S)


def _keep(hub: Hub, user: str, *, is_member: bool, is_code: bool, seconds: int) -> str:
    """Keep a session or a code; its secret."""
    inside = hub.workings
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    now_ms = inside.clock.now_ms()
    with inside.store.write() as tx:
        for old in tx.records(VisitRecord):
            if old.expires_ms <= now_ms:
                tx.drop_records(VisitRecord, id=old.id)
        tx.put_record(
            VisitRecord(
                id=_hash(secret),
                user_name=user,
                is_code=is_code,
                is_member=is_member,
                csrf=secrets.token_urlsafe(_SECRET_BYTES),
                created_ms=now_ms,
                expires_ms=now_ms + seconds * 1_000,
            )
        )
    return secret


def can_of(roles: Iterable[str]) -> tuple[str, ...]:
    """What roles give here; who may change things may see them, too."""
    held = set(roles)
    if WRITE in held:
        return RIGHTS
    return (READ,) if READ in held else ()


def _rights(principal: Principal) -> tuple[str, ...]:
    """What a principal may do here. Raises NotAllowedError."""
    can = _can_of_member(principal)
    if not can:
        raise NotAllowedError(_NO_RIGHT)
    return can


def _can_of_member(principal: Principal | None) -> tuple[str, ...]:
    if principal is None or principal.tenant is not None:
        return ()
    return can_of(principal.roles)


def _visitor(principal: Principal, *, via: str) -> Visitor:
    return Visitor(user=principal.user, can=_rights(principal), via=via)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
