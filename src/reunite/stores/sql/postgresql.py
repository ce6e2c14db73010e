"""PostgreSQL databases as the SQL store sees them: connections, transactions, errors.

What it is       the `Database` of psycopg 3, in threads, with a pool that grows with the need.
What it is not   a place for SQL of the store.
The rule         nothing is kept in a session between transactions, so a pooler like PgBouncer may
                 stand in between: settings are LOCAL, and statements are prepared only where a
                 connection is known to be a session.

Round trips cost more than the small reads that they carry, most of all on a busy machine. So BEGIN
brings its snapshot with it, and what a statement found before is what it finds in an equal one.

A connection that breaks is thrown away with all the idle ones, so after a restart of the server
the next transaction finds a new one.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from reunite.core.refusal import refusal_text
from reunite.errors import (
    CallerError,
    ConstraintError,
    ReuniteError,
    StorageFaultError,
    StorageFullError,
    StorageReadOnlyError,
    StorageUnavailableError,
    UnknownTableError,
)
from reunite.stores.sql.dialects.postgresql_dialect import POSTGRESQL
from reunite.stores.sql.ports import LOCK_TIMEOUT_S, Record, Session
from reunite.stores.sql.refusals import refused_at_commit

try:
    import psycopg
    from psycopg import errors
    from psycopg.conninfo import make_conninfo
except ImportError as exc:  # the extra is not there
    raise CallerError(
        "PostgreSQL needs psycopg: install the extra, `pip install reunite[postgres]`."
    ) from exc

from reunite.stores.sql.postgresql_lending import LendableConnection, lent
from reunite.stores.sql.postgresql_line import KEEPALIVE, PostgresLines, is_session

# How long one statement may take: a hub's are short, and a stuck one must not hold its locks.
STATEMENT_TIMEOUT_S = 300.0

# How long a new connection may take.
CONNECT_TIMEOUT_S = 10

# Uses of a statement on a connection after which it is prepared, and how many stay so: reading and
# planning it takes longer than most of ours run.
PREPARE_AFTER = 2
PREPARED_MAX = 300

# Connections that wait for their next transaction; more are closed.
IDLE_MAX = 20

# What values look like must not depend on what the role or the database has set.
VALUE_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

# Which transactions are visible, and where: another text whenever that changes, whoever committed.
# Behind a pooler, the server may be another one than before.
_SNAPSHOT = "concat_ws(' ', pg_current_snapshot(), pg_postmaster_start_time(), current_database())"

# What statements have found.
Found = dict[str, list[Record]]

_MIGRATION_BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0"
MIGRATION_LOCK = "SELECT pg_try_advisory_xact_lock(x'7265756e'::int, x'6d696772'::int)"


class PostgresDatabase:
    """A PostgreSQL database, named by its URL.

    lock_timeout_s  how long to wait for a row or a table that another transaction holds

    Raises StorageUnavailableError if it cannot be reached.
    """

    dialect = POSTGRESQL

    def __init__(self, url: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        rest = url.partition("://")[2]
        self._dsn = f"postgresql://{rest}"  # as it is: without a host, it names a socket
        self._name = urlsplit(self._dsn).path.lstrip("/")
        self._timeout_s = timeout_s
        self._idle: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self._look_lock = threading.Lock()
        self._looking: psycopg.Connection[Any] | None = None
        self._is_closed = False
        self._found: WeakKeyDictionary[psycopg.Connection[Any], tuple[str, Found]]
        self._found = WeakKeyDictionary()
        lock_ms, statement_ms = int(timeout_s * 1_000), int(STATEMENT_TIMEOUT_S * 1_000)
        limits = {"lock_timeout": lock_ms, "statement_timeout": statement_ms}
        # One statement: every SET would be one more to read and to answer, in each transaction.
        sets = ", ".join(
            f"set_config('{name}', '{value}', true)"
            for name, value in {**VALUE_SETTINGS, **limits}.items()
        )
        opening = f"SELECT {_SNAPSHOT}, {sets}"
        self._begin_read = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {opening}"
        # READ COMMITTED: a row that was waited for is seen as it is then, and a numberer's
        # snapshot must be taken after it has the lock.
        self._begin_write = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {opening}"
        try:
            self._give_back(self._take())
        except BaseException:
            self.close()
            raise

    def read(self) -> AbstractContextManager[Session]:
        return self._transaction(self._begin_read)

    def write(self) -> AbstractContextManager[Session]:
        return self._transaction(self._begin_write)

    def prepare(self) -> str:
        return ""

    def restore(self, former: str) -> None:
        """Nothing was prepared."""

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        # On a connection of its own, so that it ends with the process and the migration may run in
        # other transactions. In a transaction that stays open without a snapshot, so that it holds
        # nothing else back and a pooler lends the connection to nobody.
        connection = self._connect()
        try:
            with translated():
                connection.execute(_MIGRATION_BEGIN)
                found = connection.execute(MIGRATION_LOCK).fetchone()
            if found is None or not found[0]:
                raise StorageUnavailableError(
                    "The database's tables are being migrated: try again when that is over."
                )
            yield
        finally:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")  # free before the session has ended
            connection.close()

    def scrub(self) -> str:
        return (
            "PostgreSQL keeps what was deleted until VACUUM FULL rewrites the tables: run it on "
            "reunite_change, reunite_outcome, reunite_staged and the tables of the rows. It stays "
            "in the archived WAL and in backups for as long as you keep those."
        )

    def look(self) -> object:
        with self._look_lock:
            if self._looking is None:
                self._looking = self._take()
            try:
                with translated():
                    # Moves whenever a transaction that has written ends, and when one begins.
                    return self._looking.execute("SELECT pg_current_snapshot()::text").fetchone()
            except ReuniteError:
                self._looking.close()
                self._looking = None
                raise

    @property
    def lines(self) -> PostgresLines:
        return PostgresLines(self._connect_line, lambda sql: self._give_back(self._begun(sql)[0]))

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        with self._look_lock:
            if self._looking is not None:
                idle.append(self._looking)
                self._looking = None
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(
                f"{self._name} was not closed", ResourceWarning, source=self, stacklevel=2
            )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        connection, snapshot = self._begun(begin)
        try:
            yield PostgresSession(connection, self._found_on(connection, snapshot))
            with translated():
                # A statement that failed, and whose error somebody swallowed, undoes everything;
                # COMMIT alone would not say so.
                status = connection.info.transaction_status
                if status == psycopg.pq.TransactionStatus.INERROR:
                    raise StorageUnavailableError("The transaction has failed and was undone.")
                _commit(connection)
        except BaseException as exc:
            # Still open: the block raised, or COMMIT was refused.
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                with suppress(psycopg.Error):
                    _undo(connection, "ROLLBACK", exc)
            raise
        finally:
            self._give_back(connection)

    def _found_on(self, connection: psycopg.Connection[Any], snapshot: str) -> Found:
        """What statements have found on a connection in an equal snapshot: it sees the same
        transactions. By connection, since a snapshot that has gone by does not come back there,
        so what was found a little later than BEGIN is not found by anybody else."""
        former, found = self._found.get(connection, ("", {}))
        if former != snapshot:
            found = {}
            self._found[connection] = snapshot, found
        return found

    def _begun(self, begin: str) -> tuple[psycopg.Connection[Any], str]:
        """A connection that ran this, and the first value of what it found last (of BEGIN the
        snapshot); an idle one may have died with its server."""
        while True:
            with self._lock:
                was_idle = bool(self._idle)
            connection = self._take()
            try:
                with translated():
                    cursor = connection.execute(begin)
                    while cursor.nextset():
                        pass
                    ((first, *_),) = cursor.fetchall()
                return connection, first
            except ConstraintError as exc:
                # All that the server can have against it.
                connection.close()
                raise StorageReadOnlyError(f"PostgreSQL: {exc.message}. {_TO_WRITE}") from exc
            except ReuniteError:
                connection.close()
                with self._lock:
                    idle, self._idle = self._idle, []
                for other in idle:
                    other.close()
                if not was_idle:
                    raise

    def _take(self) -> psycopg.Connection[Any]:
        with self._lock:
            if self._is_closed:
                raise CallerError("The store is closed: open it again before using it.")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _connect_line(self) -> psycopg.Connection[Any]:
        return self._connect(make_conninfo(self._dsn, **KEEPALIVE))

    def _connect(self, dsn: str | None = None) -> psycopg.Connection[Any]:
        try:
            connection = LendableConnection.connect(
                dsn or self._dsn,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_TIMEOUT_S,
                # Whatever the environment or the role has set: rows hold any text.
                client_encoding="utf8",
                fallback_application_name="reunite",
            )
            if is_session(connection):
                connection.prepare_threshold, connection.prepared_max = PREPARE_AFTER, PREPARED_MAX
        except psycopg.Error as exc:
            raise _unreachable(exc) from exc
        return connection

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        is_idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._lock:
            if is_idle and not self._is_closed and len(self._idle) < IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()


class PostgresSession:
    """A transaction on a psycopg connection.

    found   what statements found in the snapshot that it began with
    """

    dialect = POSTGRESQL
    driver_error: type[Exception] = psycopg.Error

    def __init__(self, connection: psycopg.Connection[Any], found: Found) -> None:
        self._connection = connection
        self._found = found
        # Whether it has done nothing yet that could change what statements find.
        self._is_untouched = True
        self._cursor = psycopg.RawCursor(connection)
        self._depth = 0

    @property
    def handle(self) -> psycopg.Connection[Any]:
        return self._connection

    @contextmanager
    def lent(self) -> Iterator[psycopg.Connection[Any]]:
        with lent(self._connection) as connection:
            yield connection
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            raise errors.InFailedSqlTransaction("a statement failed, and nobody said so")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        self._is_untouched = False
        return self._execute(sql, parameters)

    def execute_again(self, sql: str) -> list[Record]:
        if not self._is_untouched:
            return self._execute(sql, ())
        if sql not in self._found:
            self._found[sql] = self._execute(sql, ())
        return self._found[sql]

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[Record]:
        try:
            cursor = self._cursor.execute(_numbered(sql), parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as exc:
            raise error_of(exc) from exc

    def execute_counted(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        self.execute(sql, parameters)
        return self._cursor.rowcount

    def attach(self, name: str) -> bool:
        return False

    def execute_loosely(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        return self.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        self._is_untouched = False
        with translated():
            if not sql.startswith("COPY "):
                self._cursor.executemany(_numbered(sql), rows)
                return self._cursor.rowcount
            with self._cursor.copy(sql) as copy:
                for row in rows:
                    copy.write_row(row)
        return self._cursor.rowcount

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._depth += 1
        name = f"reunite_{self._depth}"
        self.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException as exc:
            if self._connection.info.transaction_status in _IN_TRANSACTION:
                with translated():
                    _undo(self._connection, f"ROLLBACK TO {name}", exc)
                self.execute(f"RELEASE {name}")
            raise
        else:
            self.execute(f"RELEASE {name}")
        finally:
            self._depth -= 1


_IN_TRANSACTION = frozenset(
    {psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.INERROR}
)
_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?(\d*)""")


@lru_cache(maxsize=1_000)
def _numbered(sql: str) -> str:
    """The store's `?` and `?1` as PostgreSQL writes them."""
    count = 0

    def number(match: re.Match[str]) -> str:
        nonlocal count
        if match[1] is None:
            return match[0]
        count += 1
        return f"${match[1] or count}"

    return _PARAMETER.sub(number, sql)


# --- Errors ---------------------------------------------------------------------------------------

_CONSTRAINT_CODES: dict[type[psycopg.Error], str] = {
    errors.UniqueViolation: "unique",
    errors.ExclusionViolation: "unique",
    errors.ForeignKeyViolation: "foreign-key",
    errors.RestrictViolation: "foreign-key",
    errors.NotNullViolation: "not-null",
    errors.CheckViolation: "check",
}
# Classes of SQLSTATE: cases that nobody handled, a trigger without end, what functions may not do,
# mistakes in PL/pgSQL; 55000 is what a sequence says that nobody asked.
_MISTAKES = ("20", "21", "24", "27", "2D", "2F", "38", "39", "42", "54", "55000", "P0")
_TO_WRITE = "Name the primary server, or let the role write."
_KEY = re.compile(r"Key \((?P<columns>.*?)\)=")


# What PostgreSQL says of a row, and never of a prepared statement that is out of date.
_OF_ROWS = (psycopg.IntegrityError, errors.RaiseException)


def _undo(connection: psycopg.Connection[Any], rollback: str, cause: BaseException) -> None:
    """Roll back because of an error.

    With each rollback psycopg forgets all that it has prepared, since what it names may have gone.
    After what was only refused it is kept: preparing it again would take longer than the push.
    """
    is_open = connection.info.transaction_status in _IN_TRANSACTION
    if is_open and _is_refusal(cause):
        done = connection.pgconn.exec_(rollback.encode())
        if done.status == psycopg.pq.ExecStatus.COMMAND_OK:
            return
    connection.execute(rollback)


def _is_refusal(error: BaseException) -> bool:
    """Whether nothing that led to an error speaks of statements."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, psycopg.Error) and not isinstance(found, _OF_ROWS):
            return False
        found = found.__cause__ or found.__context__
    return True


def _commit(connection: psycopg.Connection[Any]) -> None:
    """Raises UndoneError if a trigger or constraint that waited for COMMIT refuses."""
    try:
        connection.execute("COMMIT")
    except psycopg.Error as exc:
        raise refused_at_commit(error_of(exc), exc) from exc


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors inside the block into ours."""
    try:
        yield
    except psycopg.Error as exc:
        raise error_of(exc) from exc


def error_of(exc: psycopg.Error) -> Exception:
    """The error of ours that says what `exc` says."""
    text = exc.diag.message_primary or str(exc) or type(exc).__name__
    code = exc.sqlstate or ""
    if isinstance(exc, psycopg.IntegrityError):
        code = next(
            (name for kind, name in _CONSTRAINT_CODES.items() if isinstance(exc, kind)),
            "constraint",
        )
        table = POSTGRESQL.table_of(exc.diag.schema_name, exc.diag.table_name)
        columns = _failed_columns(exc)
        check = exc.diag.constraint_name
        reason = refusal_text(code, text, table=table, columns=columns, check=check)
        return ConstraintError(reason, code=code, table=table, columns=columns)
    if isinstance(exc, psycopg.DataError) or code.startswith(("22", "23", "44", "428C9")):
        return ConstraintError(f"PostgreSQL cannot hold a value: {text}.", code="check")
    if exc.diag.source_function == "RevalidateCachedQuery":
        # A prepared statement of before an ALTER TABLE; with the rollback psycopg forgets it.
        return StorageUnavailableError("The tables were altered in between: try again.")
    if code in ("P0001", "0A000", "42804", "42846"):
        # What a user's trigger raises, and what a value cannot be made into.
        return ConstraintError(text, code="check")
    if isinstance(exc, errors.UndefinedTable | errors.InvalidSchemaName):
        if "reunite_" in text:
            return CallerError("This database is no hub yet: track a table first.")
        return UnknownTableError(f"The database: {text}.")
    if exc.diag.source_function == "ExecWithCheckOptions":
        # A row that a policy of the table does not take; the code alone could also mean a grant.
        return ConstraintError(text, code="check", table=exc.diag.table_name)
    if isinstance(exc, errors.InsufficientPrivilege):
        return CallerError(
            f"PostgreSQL: {text}. Grant it to the hub's role; "
            "docs/howto/postgresql-in-production.md lists what it needs."
        )
    if code.startswith("28") or isinstance(exc, errors.InvalidCatalogName):
        return CallerError(f"PostgreSQL: {text}. Check the URL.")
    if isinstance(exc, psycopg.ProgrammingError) or code.startswith(_MISTAKES):
        return exc  # in a statement of ours, of a hook or of a trigger: not the storage's fault
    if isinstance(exc, errors.DiskFull):
        return StorageFullError(f"PostgreSQL: {text}. Make room on its disk, and try again.")
    if isinstance(exc, errors.ReadOnlySqlTransaction):
        return StorageReadOnlyError(f"PostgreSQL: {text}. {_TO_WRITE}")
    if code.startswith("58") or code in ("XX001", "XX002"):
        return StorageFaultError(f"PostgreSQL: {text}. Its own log says more.")
    return StorageUnavailableError(f"The database cannot be used for the moment: {text}.")


def _unreachable(exc: psycopg.Error) -> ReuniteError:
    """The error of ours for a connection that could not be made.

    The driver has only words for why: one line and hints for each address it tried, with hosts and
    ports, which are nothing for a hub's clients. They stay with the cause.
    """
    line = (str(exc).splitlines() or [type(exc).__name__])[0]
    if isinstance(exc, psycopg.ProgrammingError) or "invalid port number" in line:
        # Its words may repeat a part of the URL, and so a password: they stay with the cause.
        return CallerError(
            "The URL of the PostgreSQL database cannot be read: write it as "
            "postgresql://user:password@host:port/name, with signs that are not letters or digits "
            "as %20 and the like."
        )
    _, refused, refusal = line.partition("FATAL:")
    if refused:
        return StorageUnavailableError(
            f"PostgreSQL refuses the connection ({refusal.strip()}): check the URL's database, "
            "role and password, or try again if the server is just starting."
        )
    reason = line.rpartition("failed: ")[2].rpartition(": ")[2].strip(" .")
    return StorageUnavailableError(
        f"PostgreSQL cannot be reached ({reason}): check that it runs, and the URL's host and port."
    )


def _failed_columns(exc: psycopg.Error) -> tuple[str, ...]:
    """The columns that an error names."""
    if exc.diag.column_name:
        return (exc.diag.column_name,)
    match = _KEY.match(exc.diag.message_detail or "")
    if match is None:
        return ()
    return tuple(name.strip('"') for name in match["columns"].split(", "))
