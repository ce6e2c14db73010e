"""Connections that Django opened for a thread which is no request's: closed as after a request.

    a use case of a request     Django closes its connection, as CONN_MAX_AGE says
    a stream's work             threads of the server's; whoever works there closes it likewise

The rule         nothing is closed in the middle of a transaction; Django sees to that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import close_old_connections

Result = TypeVar("Result")

_IN_REQUEST: ContextVar[bool] = ContextVar("reunite_in_request", default=False)


def in_request(work: Callable[[], Result]) -> Result:
    """Do this in the thread of a request of Django's."""
    token = _IN_REQUEST.set(True)
    try:
        return work()
    finally:
        _IN_REQUEST.reset(token)


def tidily(work: Callable[[], Result]) -> Result:
    """Do this in whatever thread."""
    try:
        return work()
    finally:
        if not _IN_REQUEST.get():
            close_old_connections()


def tidy(hub: Any) -> Any:
    """The door of a hub, whose streams leave no connections behind."""
    return _TidyDoor(hub, passing={"live": lambda: _Tidy(hub.live()), "feed": None})


class _Tidy:
    """An object whose methods are called tidily."""

    def __init__(self, inner: Any, *, passing: dict[str, Any] | None = None) -> None:
        self._inner = inner
        self._passing = passing or {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in self._passing:
            return self._passing[name] or found
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            return tidily(lambda: found(*arguments, **options))

        return call


class _TidyDoor(_Tidy):
    """A hub's. From Python 3.12 on, a protocol is looked for in a class, not asked of
    `__getattr__`: what makes a `TokenDoor` of it is written down."""

    def admit(self, operation: str, body: bytes, *, address: str) -> bytes:
        """As the hub's."""
        answer: bytes = tidily(lambda: self._inner.admit(operation, body, address=address))
        return answer
