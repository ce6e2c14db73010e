"""Databases as the SQL store sees them: statements inside transactions, and our errors.

    Database ──read()/write()──► Session: execute, executemany, savepoint ──► Dialect

What it is       the small port under `SqlStore`; adapters are `database.py` for the standard
                 library's `sqlite3` and `postgresql.py` for psycopg.
What it is not   a query builder.
The rule         an adapter turns its driver's errors into ours; nothing above sees one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from reunite.engine.news import Lines
from reunite.errors import StorageUnavailableError
from reunite.stores.sql.dialect import Dialect

Record = tuple[Any, ...]

# How long a writer waits for another one before it gives up.
LOCK_TIMEOUT_S = 10.0


class Session(Protocol):
    """One open transaction.

    Raises `driver_error` for a statement that is wrong, or that a trigger's fault makes so;
    UndoneError where a constraint took the whole transaction with it: then nothing follows.
    """

    driver_error: type[Exception]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        """Run one statement; all of its rows, none for a statement that returns nothing.

        Raises UnreadableTextError for text that is no UTF-8: read it with `execute_loosely`.
        """
        ...

    def execute_counted(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement that writes; how many rows it wrote, triggers' and cascades' apart."""
        ...

    def execute_loosely(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        """The same for a statement that reads; text that is no UTF-8 comes as bytes."""
        ...

    def execute_again(self, sql: str) -> list[Record]:
        """The same for a statement that begins many transactions and reads what seldom changes.
        Not run if it would find what it found before, where that can be known for less."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run one statement for each of `rows`; a `COPY … FROM STDIN`, where a database has that,
        once with all of them. How many rows they wrote, as `execute_counted` counts."""
        ...

    def attach(self, name: str) -> bool:
        """Have an empty database in memory at hand, by this name, until the transaction ends;
        False where there is no such thing, or not on this connection. Once a transaction."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """What happens inside is undone if the block raises; savepoints nest."""
        ...

    @property
    def handle(self) -> Any:
        """The driver's own connection."""
        ...

    def lent(self) -> AbstractContextManager[Any]:
        """The same for a stranger: in the block nobody can end the transaction with it."""
        ...

    @property
    def dialect(self) -> Dialect: ...


class Database(Protocol):
    """Opens transactions. Safe to share between threads."""

    @property
    def dialect(self) -> Dialect: ...

    def read(self) -> AbstractContextManager[Session]:
        """A transaction that sees one snapshot and writes nothing."""
        ...

    def write(self) -> AbstractContextManager[Session]:
        """A transaction alone among writers; committed if the block ends without an exception."""
        ...

    def prepare(self) -> str:
        """Make the database fit for many readers beside a writer; how `restore` undoes it."""
        ...

    def restore(self, former: str) -> None:
        """Undo `prepare`, as far as nobody else is using the database."""
        ...

    def migration_lock(self) -> AbstractContextManager[None]:
        """The right to migrate, alone among all processes; it ends with this one. Does not wait:
        raises StorageUnavailableError if somebody has it."""
        ...

    def scrub(self) -> str:
        """Rewrite the files without what was deleted; what is left for others to do, "" if
        nothing."""
        ...

    def look(self) -> object:
        """Another value than before when anything may have been committed, by anybody. Cheap, and
        from any thread."""
        ...

    @property
    def lines(self) -> Lines | None:
        """How processes tell each other of news, if the database has a way."""
        ...

    def close(self) -> None:
        """Release all connections. May be called twice."""
        ...


class UnreadableTextError(StorageUnavailableError):
    """A text in the database is no UTF-8. SQLite keeps whatever bytes a program calls a text."""
