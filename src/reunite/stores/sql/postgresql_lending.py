"""A psycopg connection that hooks may write with, and cannot end the transaction of.

The rule         while it is lent, what would commit, roll back, begin or close raises; a hook that
                 tries has failed, and what it did is undone with its group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

# Statements that end or begin a transaction; "ROLLBACK TO" a savepoint does neither.
_ENDS = re.compile(
    r"(?:\s|;|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
    r"(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)


class LendableCursor(psycopg.Cursor[Any]):
    """The cursor of what is lent; like any other before and after."""

    def execute(self, query: Any, *arguments: Any, **options: Any) -> LendableCursor:
        connection = self.connection
        if isinstance(connection, LendableConnection) and connection.is_lent:
            _check(query, connection)
        super().execute(query, *arguments, **options)
        return self


class LendableConnection(psycopg.Connection[Any]):
    """A connection of the hub."""

    is_lent = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = LendableCursor

    def commit(self) -> None:
        self._refuse()
        super().commit()

    def rollback(self) -> None:
        self._refuse()
        super().rollback()

    def close(self) -> None:
        self._refuse()
        super().close()

    def _refuse(self) -> None:
        if self.is_lent:
            raise _refusal()


@contextmanager
def lent(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """The connection, on which nobody can end the transaction in this block."""
    assert isinstance(connection, LendableConnection), "the hub's own"
    connection.is_lent = True
    try:
        yield connection
    finally:
        connection.is_lent = False


def _check(query: Any, connection: psycopg.Connection[Any]) -> None:
    if isinstance(query, sql.Composable):
        query = query.as_string(connection)
    text = query.decode(errors="replace") if isinstance(query, bytes) else str(query)
    if _ENDS.match(text):
        raise _refusal()


def _refusal() -> psycopg.ProgrammingError:
    return psycopg.ProgrammingError(
        "The hub ends this transaction: a hook writes, and raises if that shall be undone."
    )
