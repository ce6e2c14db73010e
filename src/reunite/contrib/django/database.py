"""Django's own connections as the SQL store sees them: the port `Database` over `connections[…]`.

    outside of a transaction    one of our own, as `atomic` begins and ends it; on SQLite it takes
                                the write lock at once, on PostgreSQL reads see one snapshot
    inside of one (`TestCase`, `ATOMIC_REQUESTS`, a view's `atomic`)    a savepoint in it

What it is       the adapter through which a hub's statements, the ORM's and the project's own SQL
                 are of one transaction. A thread has the connection that Django gives it.
What it is not   a place for SQL of the store, nor for the life of connections: Django opens them,
                 keeps them as CONN_MAX_AGE says, and closes them.
The rule         the store's statements go past Django's cursors, whose conversions are for models;
                 what they leave behind on a connection is what was there before.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from django.db import Error as DjangoError
from django.db import connections, transaction

from reunite.errors import CallerError, StorageUnavailableError
from reunite.stores.sql.database import SqliteSession, error_of, file_lock, scrub
from reunite.stores.sql.dialect import Dialect
from reunite.stores.sql.dialects.sqlite import register_functions
from reunite.stores.sql.dialects.sqlite_comparing import register_comparisons
from reunite.stores.sql.dialects.sqlite_dialect import SQLITE
from reunite.stores.sql.ports import Record, Session
from reunite.stores.sql.refusals import refused_at_commit

_MIGRATING = "The database's tables are being migrated: try again when that is over."

# Where a connection keeps that our functions are there, how deep it is in hubs' transactions, and
# how many statements of theirs it has executed.
_READY = "_reunite_ready"
_DEPTH = "_reunite_depth"
_STATEMENTS = "_reunite_statements"


def is_hubs(connection: Any) -> bool:
    """Whether a hub's transaction is open on this connection of Django's: what is written there is
    a push's, or the hub's own."""
    return getattr(connection, _DEPTH, 0) > 0


def statements_of(connection: Any) -> int:
    """How many statements hubs have executed on this connection of Django's, past its cursors."""
    found: int = getattr(connection, _STATEMENTS, 0)
    return found


class Counting:
    """A session that counts its statements on Django's connection."""

    _django: Any

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        setattr(self._django, _STATEMENTS, statements_of(self._django) + 1)
        return super().execute(sql, parameters)  # type: ignore[misc]

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        setattr(self._django, _STATEMENTS, statements_of(self._django) + 1)
        return super().executemany(sql, rows)  # type: ignore[misc]


class DjangoSqliteSession(Counting, SqliteSession):
    """A transaction on Django's `sqlite3` connection; hooks are lent Django's own object."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.connection)
        self._django = connection

    @contextmanager
    def lent(self) -> Iterator[Any]:
        # Django refuses by itself to end a transaction inside `atomic`.
        yield self._django
        self.check_is_open()


class DjangoDatabase:
    """The database of an alias of `DATABASES`: SQLite, or PostgreSQL by psycopg 3.

    Raises CallerError for another one.
    """

    lines = None

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._lock = threading.Lock()
        self._looking: Any = None
        vendor = connections[alias].vendor
        self._is_sqlite = vendor == "sqlite"
        if self._is_sqlite:
            self._session: Callable[[Any], Session] = DjangoSqliteSession
            self._dialect: Dialect = SQLITE
        elif vendor == "postgresql":
            from reunite.contrib.django import postgresql

            self._session = postgresql.session
            self._dialect = postgresql.POSTGRESQL
        else:
            raise CallerError(
                f"The database {alias!r} is {vendor}: reunite syncs SQLite and PostgreSQL."
            )

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    def read(self) -> AbstractContextManager[Session]:
        return self._transaction(is_write=False)

    def write(self) -> AbstractContextManager[Session]:
        return self._transaction(is_write=True)

    def prepare(self) -> str:
        connection = connections[self.alias]
        if not self._is_sqlite or connection.in_atomic_block or self.path is None:
            return ""
        former = str(self._pragma("journal_mode"))
        if former != "wal":
            self._pragma("journal_mode = WAL")
        return former

    def restore(self, former: str) -> None:
        if former and not connections[self.alias].in_atomic_block:
            with suppress(StorageUnavailableError):  # others use the file
                self._pragma(f"journal_mode = {former}")

    def migration_lock(self) -> AbstractContextManager[None]:
        if not self._is_sqlite:
            return self._migration_lock()
        path = self.path
        if path is None:
            return nullcontext()  # in memory: this process alone
        path = path.with_name(path.name + "-migration")
        return file_lock(path, busy=StorageUnavailableError(_MIGRATING))

    def scrub(self) -> str:
        connection = connections[self.alias]
        if not self._is_sqlite:
            return "PostgreSQL keeps what was deleted until VACUUM FULL rewrites the tables."
        connection.ensure_connection()
        if not connection.in_atomic_block and scrub(connection.connection):
            return ""
        return (
            "The database was in use: what was deleted may still be in the file's free pages. Call "
            "`hub().scrub()` when it is not."
        )

    def look(self) -> object:
        if self._is_sqlite and self.path is None:
            return object()  # in memory, where nobody can see from aside: it may have changed
        with self._lock, _translated():
            if self._looking is None:
                self._looking = connections[self.alias].copy()
                self._looking.inc_thread_sharing()
            sql = "PRAGMA data_version" if self._is_sqlite else "SELECT pg_current_snapshot()::text"
            with self._looking.cursor() as cursor:
                return cursor.execute(sql).fetchone()[0]

    def close(self) -> None:
        """Django's connections are Django's to close."""
        with self._lock:
            if self._looking is not None:
                self._looking.close()
                self._looking = None

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database; None for one in memory."""
        connection = connections[self.alias]
        if connection.is_in_memory_db():
            return None
        return Path(connection.settings_dict["NAME"])

    @contextmanager
    def aside(self) -> Iterator[Session]:
        """A session in the transaction of the project's that is open, with nothing set for it."""
        connection = connections[self.alias]
        with _translated():
            self._make_ready(connection)
        yield self._session(connection)

    # --- Transactions -----------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, *, is_write: bool) -> Iterator[Session]:
        connection = connections[self.alias]
        is_nested = connection.in_atomic_block
        block = transaction.atomic(using=self.alias)
        with _translated(), self._beginning(connection, is_write=is_write):
            block.__enter__()
        setattr(connection, _DEPTH, getattr(connection, _DEPTH, 0) + 1)
        try:
            with _translated():
                self._make_ready(connection)
            with self._settings(connection, is_write=is_write, is_nested=is_nested):
                session = self._session(connection)
                yield session
            if is_write:
                self._check_is_whole(session)
            elif is_nested:
                # Nothing was written; what was set for reading goes with the savepoint.
                transaction.set_rollback(True, using=self.alias)
        except BaseException:
            # Its answer says whether it swallowed the error, which it never does.
            block.__exit__(*sys.exc_info())
            raise
        else:
            try:
                block.__exit__(None, None, None)
            except DjangoError as exc:
                raise refused_at_commit(_ours(exc), exc.__cause__ or exc) from exc
        finally:
            setattr(connection, _DEPTH, getattr(connection, _DEPTH) - 1)

    @contextmanager
    def _beginning(self, connection: Any, *, is_write: bool) -> Iterator[None]:
        """On SQLite a writer takes the lock with BEGIN: one that reads first could not wait."""
        if not (self._is_sqlite and is_write):
            yield
            return
        connection.ensure_connection()
        former = connection.transaction_mode
        connection.transaction_mode = "IMMEDIATE"
        try:
            yield
        finally:
            connection.transaction_mode = former

    def _make_ready(self, connection: Any) -> None:
        """Our functions, once for each connection that Django has opened."""
        if self._is_sqlite and getattr(connection, _READY, None) is not connection.connection:
            register_functions(connection.connection)
            register_comparisons(connection.connection)
            setattr(connection, _READY, connection.connection)

    def _settings(
        self, connection: Any, *, is_write: bool, is_nested: bool
    ) -> AbstractContextManager[None]:
        if self._is_sqlite:
            return nullcontext()
        from reunite.contrib.django import postgresql

        return postgresql.settings(connection, is_write=is_write, is_nested=is_nested)

    @staticmethod
    def _check_is_whole(session: Session) -> None:
        check = getattr(session, "check_is_open", None)
        if check is not None:
            check()

    def _migration_lock(self) -> AbstractContextManager[None]:
        from reunite.contrib.django import postgresql

        return postgresql.migration_lock(self.alias, busy=StorageUnavailableError(_MIGRATING))

    def _pragma(self, text: str) -> Any:
        with _translated(), connections[self.alias].cursor() as cursor:
            return cursor.execute(f"PRAGMA {text}").fetchone()[0]


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what Django or a driver raises in the block into errors of ours."""
    try:
        yield
    except DjangoError as exc:
        raise _ours(exc) from exc


def _ours(exc: Exception) -> Exception:
    cause = exc.__cause__
    if cause is None:
        return StorageUnavailableError("The database cannot be used for the moment.")
    if type(cause).__module__.partition(".")[0] == "psycopg":
        from reunite.contrib.django import postgresql

        return postgresql.error_of(cause)
    return error_of(cause) if isinstance(cause, Exception) else exc
