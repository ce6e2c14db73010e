"""SQLite files as the SQL store sees them: connections, transactions, errors.

What it is       the `Database` of the standard library's `sqlite3`.
What it is not   a place for SQL of the store.
The rule         driver errors become ours here, once; nothing above catches `sqlite3.Error`.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from reunite.core.refusal import refusal_text
from reunite.engine.ports import UndoneError
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
from reunite.stores.sql.dialects.sqlite import register_functions
from reunite.stores.sql.dialects.sqlite_comparing import register_comparisons
from reunite.stores.sql.dialects.sqlite_dialect import SQLITE
from reunite.stores.sql.ports import LOCK_TIMEOUT_S, Record, Session, UnreadableTextError

# Pages that one connection keeps in memory: what a large push touches should fit.
CACHE_KIB = 16 * 1024

# Pages in the write-ahead log before a commit copies them into the database file: large pushes
# write the same pages again and again. The log then grows to about 16 MB.
CHECKPOINT_PAGES = 4_000

# Prepared statements kept by each connection; a hub of a hundred tables uses about ten a table.
STATEMENTS_CACHED = 1_000

# How names of savepoints begin.
_SAVEPOINT = "reunite_"


class _Connection(sqlite3.Connection):
    """A connection of ours, which can be lent."""

    is_lent = False

    def close(self) -> None:
        if self.is_lent:
            raise sqlite3.ProgrammingError("The hub closes this connection, nobody else.")
        super().close()


def connect_sqlite(
    path: str | Path, *, timeout_s: float = LOCK_TIMEOUT_S, synchronous: str | None = None
) -> sqlite3.Connection:
    """A connection as reunite uses it: explicit transactions, foreign keys on, functions ready.

    `synchronous` is SQLite's pragma; None leaves what SQLite was built with.
    """
    with translated():
        connection = sqlite3.connect(
            path,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_CACHED,
            factory=_Connection,
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # What savepoints may have to undo: in files when there is much of it. In memory, SQLite
            # walks through all of it after each statement that has triggers.
            connection.execute("PRAGMA temp_store = FILE")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            if synchronous is not None:
                connection.execute(f"PRAGMA synchronous = {synchronous}")
            register_functions(connection)
            register_comparisons(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def connect_to_look(path: str | Path) -> sqlite3.Connection:
    """A connection that changes no row and makes no file. Raises what `sqlite3` raises.

    It is not opened read-only: whoever first looks into a file that a killed program left must be
    able to undo or take over what that program was writing.
    """
    uri = f"{Path(path).resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def scrub(connection: sqlite3.Connection) -> bool:
    """Write a database anew, so that neither its free pages nor its log hold what was deleted;
    False if others are using it, and nothing or only a part was done."""
    try:
        connection.execute("VACUUM")
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as exc:
        if _primary_code(exc) in _BUSY:
            return False
        raise error_of(exc) from exc
    return not busy


@contextmanager
def file_lock(path: Path, *, busy: ReuniteError, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock that a file stands for; it ends with the block, or with the process.

    The lock is SQLite's own, so it works wherever SQLite does. Raises `busy` if others hold it for
    `timeout_s`; what else keeps the file from being locked is told as what it is.
    """
    with ExitStack() as stack:
        try:
            lock = sqlite3.connect(
                path, timeout=timeout_s, isolation_level=None, check_same_thread=False
            )
            stack.enter_context(closing(lock))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as exc:
            if _primary_code(exc) in _BUSY:
                raise busy from exc
            found = error_of(exc)
            if isinstance(found, ReuniteError):
                found.message = f"{path.name} cannot be locked. {found.message}"
                found.args = (found.message,)
            raise found from exc
        yield


@contextmanager
def reading_loosely(connection: sqlite3.Connection) -> Iterator[None]:
    """Inside the block, text that is no UTF-8 comes as bytes instead of as an error."""
    connection.text_factory = _text_or_bytes
    try:
        yield
    finally:
        connection.text_factory = str


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


class SqliteDatabase:
    """An SQLite file, through a pool of connections that grows with the need.

    Raises CallerError if the file is no SQLite database.
    """

    dialect = SQLITE
    lines = None

    def __init__(
        self,
        path: str | Path,
        *,
        timeout_s: float = LOCK_TIMEOUT_S,
        synchronous: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._timeout_s = timeout_s
        self._synchronous = synchronous
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._looking: sqlite3.Connection | None = None
        self._is_closed = False
        try:
            self._pragma("schema_version")
        except BaseException:
            self.close()
            raise

    def read(self) -> AbstractContextManager[Session]:
        return self._transaction("BEGIN")

    def write(self) -> AbstractContextManager[Session]:
        return self._transaction("BEGIN IMMEDIATE")

    def prepare(self) -> str:
        former = str(self._pragma("journal_mode"))
        if former != "wal":
            self._pragma("journal_mode = WAL")
        return former

    def restore(self, former: str) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        with suppress(StorageUnavailableError):
            self._pragma(f"journal_mode = {former}")

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        # Not the database's own: that is for those who write.
        path = self.path.with_name(self.path.name + "-migration")
        busy = "The database's tables are being migrated: try again when that is over."
        with file_lock(path, busy=StorageUnavailableError(busy)):
            yield

    def _pragma(self, text: str) -> Any:
        connection = self._take()
        try:
            with translated():
                return connection.execute(f"PRAGMA {text}").fetchone()[0]
        finally:
            self._give_back(connection)

    def scrub(self) -> str:
        connection = self._take()
        try:
            is_clean = scrub(connection)
        finally:
            self._give_back(connection)
        if is_clean:
            return ""
        return (
            "Other programs were using the database: what was deleted may still be in the file's "
            "free pages and in its -wal. Run `reunite erase --scrub` when they are done."
        )

    def look(self) -> object:
        # Counts the commits of all other connections, as the one that asks sees them: so it is
        # always the same one, and it does nothing else.
        with self._lock, translated():
            if self._is_closed:
                raise CallerError("The store is closed: open it again before using it.")
            if self._looking is None:
                self._looking = connect_sqlite(self.path, timeout_s=self._timeout_s)
            return self._looking.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            if self._looking is not None:
                idle.append(self._looking)
                self._looking = None
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self.path} was not closed", ResourceWarning, source=self, stacklevel=2)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        connection = self._take()
        session = SqliteSession(connection, can_attach=True)
        try:
            with translated():
                connection.execute(begin)
            try:
                yield session
                session.check_is_open()
                with translated():
                    connection.execute("COMMIT")
            finally:
                # Still open: the block raised, or COMMIT was refused.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        finally:
            if session.undone is None:
                if session.attached is not None:
                    connection.execute(f"DETACH {session.attached}")
                self._give_back(connection)
            else:  # with pragmas that nobody could set back
                connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise CallerError("The store is closed: open it again before using it.")
            if self._idle:
                return self._idle.pop()
        return connect_sqlite(self.path, timeout_s=self._timeout_s, synchronous=self._synchronous)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        connection.row_factory = None  # a hook may have set one
        with self._lock:
            if not self._is_closed and not connection.in_transaction:
                self._idle.append(connection)
                return
        connection.close()


def _may_not_end(action: int, operation: str | None, name: str | None, *_: str | None) -> int:
    """For `set_authorizer`: neither the transaction may end nor a savepoint of ours."""
    is_ours = action == sqlite3.SQLITE_SAVEPOINT and (name or "").startswith(_SAVEPOINT)
    if action == sqlite3.SQLITE_TRANSACTION or (is_ours and operation != "BEGIN"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


class SqliteSession:
    """A transaction on an `sqlite3` connection.

    Some errors end it: a full disk does, `RAISE(ROLLBACK)` in a trigger, `ON CONFLICT ROLLBACK`.
    What came after that would take effect by itself, so nothing comes: `undone` is raised again.
    """

    dialect = SQLITE
    driver_error: type[Exception] = sqlite3.Error

    def __init__(self, connection: sqlite3.Connection, *, can_attach: bool = False) -> None:
        """`can_attach`: whoever gives the connection takes another database off it again."""
        self._connection = connection
        self._depth = 0
        self.can_attach = can_attach
        self.attached: str | None = None
        self.undone: Exception | None = None

    @property
    def handle(self) -> sqlite3.Connection:
        return self._connection

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        connection: Any = self._connection  # a `_Connection`, or what passes things on to one

        def authorize(*asked: Any) -> int:
            # What is undone already must not be followed by what would stay.
            return _may_not_end(*asked) if connection.in_transaction else sqlite3.SQLITE_DENY

        connection.is_lent = True
        connection.set_authorizer(authorize)
        try:
            yield connection
        finally:
            connection.set_authorizer(None)
            connection.is_lent = False
            self.check_is_open()

    def check_is_open(self) -> None:
        """Raise `undone` again, or UndoneError if somebody else's statement ended it."""
        if self.undone is None and not self._connection.in_transaction:
            self.undone = UndoneError("A statement undid the transaction.", code="constraint")
        if self.undone is not None:
            raise self.undone

    def _failed(self, exc: Exception) -> Exception:
        """The error of ours for one of the driver's."""
        error = error_of(exc)
        if not self._connection.in_transaction:
            if isinstance(error, ConstraintError):
                error = UndoneError(
                    error.message, code=error.code, table=error.table, columns=error.columns
                )
            self.undone = error
        return error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        if self.undone is not None:
            raise self.undone
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except _DRIVER_ERRORS as exc:
            raise self._failed(exc) from exc

    def execute_counted(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self.executemany(sql, [parameters])

    def attach(self, name: str) -> bool:
        if not self.can_attach:
            return False
        self.execute(f"ATTACH ':memory:' AS {name}")
        self.attached = name
        return True

    def execute_loosely(self, sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        with reading_loosely(self._connection):
            return self.execute(sql, parameters)

    def execute_again(self, sql: str) -> list[Record]:
        return self.execute(sql)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        if self.undone is not None:
            raise self.undone
        try:
            return self._connection.executemany(sql, rows).rowcount
        except _DRIVER_ERRORS as exc:
            raise self._failed(exc) from exc

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._depth += 1
        name = f"{_SAVEPOINT}{self._depth}"
        self.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            # Some errors (a full disk) have rolled everything back already.
            if self._connection.in_transaction:
                self.execute(f"ROLLBACK TO {name}")
                self.execute(f"RELEASE {name}")
            raise
        else:
            self.execute(f"RELEASE {name}")
        finally:
            self._depth -= 1


# --- Errors ---------------------------------------------------------------------------------------

# OverflowError and UnicodeEncodeError come from binding values that SQLite cannot hold.
_DRIVER_ERRORS = (sqlite3.Error, OverflowError, UnicodeEncodeError)

_CONSTRAINT_CODES = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "unique",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "unique",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "unique",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "foreign-key",
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: "not-null",
    sqlite3.SQLITE_CONSTRAINT_CHECK: "check",
    3091: "check",  # SQLITE_CONSTRAINT_DATATYPE, which the standard library has no name for
    sqlite3.SQLITE_MISMATCH: "check",
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CHECK_FAILED = "CHECK constraint failed: "
_COLUMNS_FAILED = re.compile(r"(?:UNIQUE|NOT NULL) constraint failed: (?P<columns>.+)", re.DOTALL)
_TABLE_MISSING = re.compile(r"no such table: (?:main\.)?(?P<table>.+)", re.DOTALL)


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors inside the block into ours."""
    try:
        yield
    except _DRIVER_ERRORS as exc:
        raise error_of(exc) from exc


def error_of(exc: Exception) -> Exception:
    """The error of ours that says what `exc` says."""
    if isinstance(exc, UnicodeEncodeError):
        return ConstraintError("SQLite cannot hold a text that is no UTF-8.", code="check")
    if not isinstance(exc, sqlite3.Error):
        return ConstraintError(f"SQLite cannot hold a value: {exc}.", code="check")
    name = getattr(exc, "sqlite_errorname", None) or ""
    text = str(exc)
    if isinstance(exc, sqlite3.IntegrityError):
        code = _CONSTRAINT_CODES.get(exc.sqlite_errorcode, "constraint")
        table, columns = _failed_columns(text)
        check = text.removeprefix(_CHECK_FAILED) if text.startswith(_CHECK_FAILED) else None
        reason = refusal_text(code, text, table=table, columns=columns, check=check)
        return ConstraintError(reason, code=code, table=table, columns=columns)
    if isinstance(exc, sqlite3.DataError):
        return ConstraintError(f"SQLite cannot hold a value: {text}.", code="check")
    if text.startswith("Could not decode to UTF-8"):
        return UnreadableTextError("The database holds a text that is no UTF-8.")
    if name == "SQLITE_NOTADB":
        return CallerError("The file is not an SQLite database: name another one.")
    if missing := _TABLE_MISSING.fullmatch(text):
        table = missing["table"]
        if table.startswith("reunite_"):
            return CallerError("This database is no hub yet: track a table first.")
        return UnknownTableError(f"The database has no table {table!r}.")
    if isinstance(exc, sqlite3.ProgrammingError | sqlite3.InterfaceError) or name in {
        "SQLITE_ERROR",
        "SQLITE_MISUSE",
    }:
        return exc  # a mistake in a statement of ours or of a hook: not the storage's fault
    if name == "SQLITE_READONLY_DBMOVED":
        return StorageUnavailableError(
            "The database file was moved or replaced while it was open: open it again."
        )
    # The file that readers share cannot grow: how a full disk greets whoever opens a database.
    is_full = name == "SQLITE_IOERR_SHMSIZE"
    return _storage_error(sqlite3.SQLITE_FULL if is_full else _primary_code(exc), text)


def _storage_error(code: int | None, text: str) -> StorageUnavailableError:
    """What keeps the database from working, and what to do about it."""
    match code:
        case sqlite3.SQLITE_FULL:
            return StorageFullError(
                f"There is no room on the disk: {text}. Make some, and try again; nothing was "
                "half-done."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StorageReadOnlyError(
                f"The database cannot be written: {text}. Let its user write the file and its "
                "folder, and try again; nothing was done."
            )
        case sqlite3.SQLITE_CANTOPEN:
            return StorageFaultError(
                f"A file of the database cannot be opened: {text}. Look whether there is room on "
                "the disk, and whether its user may read and write the file and its folder."
            )
        case sqlite3.SQLITE_IOERR:
            return StorageFaultError(
                f"The disk fails, or is full: {text}. Look after it, and try again; nothing was "
                "half-done."
            )
        case sqlite3.SQLITE_CORRUPT:
            return StorageFaultError(
                f"The database file is damaged: {text}. Restore a hub's from a backup, and clone "
                "a replica again into a new file."
            )
        case _:
            return StorageUnavailableError(f"The database cannot be used for the moment: {text}.")


def _primary_code(exc: sqlite3.Error) -> int | None:
    """The kind of an error: SQLite's extended codes have it in their lowest byte."""
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _failed_columns(text: str) -> tuple[str | None, tuple[str, ...]]:
    """Table and columns of `UNIQUE constraint failed: t.a, t.b`."""
    match = _COLUMNS_FAILED.fullmatch(text)
    if match is None or match["columns"].startswith("index "):
        return None, ()
    pairs = [place.rpartition(".") for place in match["columns"].split(", ")]
    return pairs[0][0] or None, tuple(column for _, _, column in pairs)
