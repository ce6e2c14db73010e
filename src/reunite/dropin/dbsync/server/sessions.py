"""Sessions of SQLAlchemy inside a push's transaction, for `before_push` and `after_push`.

The rule         the hub ends its transaction: what a session commits or rolls back is only flushed
                 or forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool


class _Lent:
    """The hub's connection, of which the transaction cannot be ended."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Nothing: the hub does."""

    def rollback(self) -> None:
        """Nothing: the hub does."""

    def close(self) -> None:
        """Nothing: the hub does."""


@contextmanager
def session_over(engine: Engine, connection: Any) -> Iterator[Session]:
    """A session on a connection that the hub has lent; what is left in it is flushed at the end."""
    pool = StaticPool(lambda: _Lent(connection), reset_on_return=None)
    lent = Engine(pool, engine.dialect, engine.url)
    with Session(lent, expire_on_commit=False) as session:
        yield session
        session.flush()
