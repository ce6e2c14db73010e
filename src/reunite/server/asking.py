"""Who asks: the holder of one of the hub's tokens, or whom the host's own authentication knows.

The rule         what opened a stream is asked again while the stream runs, and must name the same
                 principal with the same rights. Each is judged by itself: what a host raises about
                 one ends that one.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import CancelledError
from typing import NamedTuple, Protocol, TypeAlias, cast

import anyio.from_thread
from starlette.requests import Request

from reunite.core.principal import Principal, check_principal, principal_text
from reunite.errors import (
    HubUnreachableError,
    NotAllowedError,
    NotAuthenticatedError,
    ReuniteError,
    StorageUnavailableError,
)
from reunite.server.door import HubDoor

logger = logging.getLogger("reunite.server")

# The host's own: who sent this request, None for nobody. May be a coroutine function.
Authenticate: TypeAlias = Callable[[Request], "Principal | Awaitable[Principal | None] | None"]


# What `authenticate=` may raise to be heard by whoever asks.
_FOR_CLIENTS = (
    NotAuthenticatedError,
    NotAllowedError,
    HubUnreachableError,
    StorageUnavailableError,
)


class Asking(Protocol):
    """Finds out who asks. All methods but `look` block: for worker threads."""

    def look(self, request: Request) -> None:
        """Refuse at once, before a body is read, what cannot be anybody. Raises
        NotAuthenticatedError."""

    def principal(self, request: Request) -> Principal:
        """Who sent the request. Raises NotAuthenticatedError."""

    def proof(self, request: Request, principal: Principal) -> object:
        """What a stream keeps, to be asked again."""

    def refused(self, proofs: Collection[object]) -> set[object]:
        """Those of these proofs that are worth nothing any more."""


class _Token(NamedTuple):
    """A token that opened a stream, and whose it was then: the same text may be given out again,
    with other rights."""

    token: str
    who: tuple[str, str]


class ByToken:
    """By tokens that the hub gave out."""

    def __init__(self, hub: HubDoor) -> None:
        self._hub = hub

    def look(self, request: Request) -> None:
        bearer_token(request)

    def principal(self, request: Request) -> Principal:
        return self._hub.authenticate(bearer_token(request))

    def proof(self, request: Request, principal: Principal) -> object:
        return _Token(bearer_token(request), _who(principal))

    def refused(self, proofs: Collection[object]) -> set[object]:
        known = cast(Collection[_Token], proofs)
        holders = self._hub.holders({proof.token for proof in known})
        now = {token: _who(principal) for token, principal in holders.items()}
        return {proof for proof in known if now.get(proof.token) != proof.who}


class _Visit:
    """A request that opened a stream, and whose it was: a copy, for the host may change in place
    what it gave."""

    def __init__(self, request: Request, principal: Principal) -> None:
        self.request = request
        self.who = _who(principal)


class ByHost:
    """By a function of the host's: a session, a header, a token of another service."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    def look(self, request: Request) -> None:
        pass

    def principal(self, request: Request) -> Principal:
        try:
            found = self._authenticate(request)
            if inspect.isawaitable(found):
                found = anyio.from_thread.run(_result, found)
            if found is not None:
                return check_principal(found)
        except _FOR_CLIENTS:
            raise
        except ReuniteError as exc:
            # About the host's own work: nothing that a client could mend, or should read.
            raise RuntimeError("authenticate= failed, or gave what is no principal") from exc
        raise NotAuthenticatedError("This server does not know who sent the request: sign in.")

    def proof(self, request: Request, principal: Principal) -> object:
        return _Visit(request, principal)

    def refused(self, proofs: Collection[object]) -> set[object]:
        refused: set[object] = set()
        failures: Counter[str] = Counter()
        for visit in cast(Collection[_Visit], proofs):
            try:
                is_still = _who(self.principal(visit.request)) == visit.who
            except NotAuthenticatedError:
                is_still = False
            except CancelledError:
                raise  # the server ends
            except Exception as exc:
                # Its text is the host's, and may hold anything.
                failures[type(exc).__name__] += 1
                is_still = False
            if not is_still:
                refused.add(visit)
        if failures:
            logger.warning("live streams end, for authenticate= raised: %s", dict(failures))
        return refused


def _who(principal: Principal) -> tuple[str, str]:
    """A principal as what it was at this moment, to be compared."""
    return principal.user, principal_text(principal)


async def _result(found: Awaitable[Principal | None]) -> Principal | None:
    return await found


def bearer_token(request: Request) -> str:
    """The token that came with a request. Raises NotAuthenticatedError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticatedError(
            "Send a token in the header `Authorization: Bearer …`; "
            "`reunite token` makes one for this hub."
        )
    return token.strip()
