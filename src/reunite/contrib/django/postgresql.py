"""What is PostgreSQL's own about hubs on Django's connections.

The rule         what a session of ours needs is set for its transaction alone; inside a transaction
                 of the project's, it is put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from reunite.contrib.django.database import Counting
from reunite.errors import CallerError, ReuniteError
from reunite.stores.sql.ports import LOCK_TIMEOUT_S

try:
    import psycopg
    from psycopg.adapt import AdaptersMap
except ImportError as exc:
    raise CallerError(
        "reunite speaks to PostgreSQL by psycopg 3: `pip install reunite[django,postgres]`."
    ) from exc

from reunite.stores.sql.dialects.postgresql_dialect import POSTGRESQL
from reunite.stores.sql.postgresql import (
    MIGRATION_LOCK,
    STATEMENT_TIMEOUT_S,
    VALUE_SETTINGS,
    PostgresSession,
    translated,
)
from reunite.stores.sql.postgresql import error_of as _error_of

__all__ = ["POSTGRESQL", "error_of", "migration_lock", "session", "settings"]

_SETTINGS = {
    **VALUE_SETTINGS,
    "lock_timeout": str(int(LOCK_TIMEOUT_S * 1_000)),
    "statement_timeout": str(int(STATEMENT_TIMEOUT_S * 1_000)),
}
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE"


class DjangoPostgresSession(Counting, PostgresSession):
    """A transaction on Django's psycopg connection; hooks are lent Django's own object."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.connection, {})
        # Django teaches its connections conversions of its own; ours are psycopg's.
        self._cursor._adapters = AdaptersMap(psycopg.adapters)
        self._django = connection

    @contextmanager
    def lent(self) -> Iterator[Any]:
        yield self._django


def error_of(cause: BaseException) -> Exception:
    """The error of ours for one of psycopg's."""
    assert isinstance(cause, psycopg.Error)
    return _error_of(cause)


def session(connection: Any) -> DjangoPostgresSession:
    """A session in the transaction that is open on Django's connection."""
    return DjangoPostgresSession(connection)


@contextmanager
def settings(connection: Any, *, is_write: bool, is_nested: bool) -> Iterator[None]:
    """Values look alike whatever the project has set, and no lock is waited for too long."""
    connection.ensure_connection()
    raw = connection.connection
    names = ", ".join(f"current_setting('{name}')" for name in _SETTINGS)
    wanted = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _SETTINGS.items())
    with translated():
        if not is_nested:
            raw.execute(_READ_COMMITTED if is_write else _SNAPSHOT)
        former = raw.execute(f"SELECT {names}").fetchone() if is_nested and is_write else None
        raw.execute(wanted)
    yield
    if former is not None:
        with translated():
            for name, value in zip(_SETTINGS, former, strict=True):
                raw.execute("SELECT set_config(%s, %s, true)", (name, value))


@contextmanager
def migration_lock(alias: str, *, busy: ReuniteError) -> Iterator[None]:
    """The right to migrate, on a connection of its own, whose transaction holds nothing else."""
    connection = connections[alias].copy()
    try:
        connection.ensure_connection()
        raw = connection.connection
        with translated():
            raw.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")
            found = raw.execute(MIGRATION_LOCK).fetchone()
        if found is None or not found[0]:
            raise busy
        yield
    finally:
        connection.close()
