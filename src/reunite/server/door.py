"""What the server asks of a hub, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from reunite.core.principal import Principal
from reunite.engine.live import LiveDesk
from reunite.engine.news import Feed


class HubDoor(Protocol):
    """The methods of `Hub` behind the routes. They block, and may run in several threads."""

    def authenticate(self, token: str) -> Principal:
        """Who holds this token. Raises NotAuthenticatedError."""
        ...

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        """Carry out an operation of `protocol.routes` in one transaction; the answer as JSON.

        Raises ReuniteError; then nothing was done.
        """
        ...

    def is_ready(self) -> bool:
        """Whether the database answers."""
        ...

    def holders(self, tokens: Iterable[str]) -> Mapping[str, Principal]:
        """What `authenticate` says of each of these tokens, of one moment; those with which it
        would fail are missing. One transaction, and a look-up for each."""
        ...

    def start_jobs(self) -> None:
        """Begin the periodic work. Does nothing a second time."""
        ...

    def live(self) -> LiveDesk:
        """A desk for the streams of one application."""
        ...

    @property
    def feed(self) -> Feed:
        """What wakes them."""
        ...


@runtime_checkable
class TokenDoor(Protocol):
    """A hub that gives out tokens for names and passwords."""

    def admit(self, operation: str, body: bytes, *, address: str) -> bytes:
        """Carry out an operation of `protocol.routes.TOKEN_ROUTES`; the answer as JSON. Blocks for
        as long as a password's hash takes. Raises ReuniteError."""
        ...
