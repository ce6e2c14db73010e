"""What a driver says of its storage, as the error that says what to do about it."""

from __future__ import annotations

import re
import sqlite3

import pytest

from reunite.errors import (
    CallerError,
    ReuniteError,
    StorageFaultError,
    StorageFullError,
    StorageReadOnlyError,
    StorageUnavailableError,
)
from reunite.stores.sql import database


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("SQLITE_BUSY", 5, StorageUnavailableError),
        ("SQLITE_BUSY_SNAPSHOT", 517, StorageUnavailableError),
        ("SQLITE_LOCKED_SHAREDCACHE", 262, StorageUnavailableError),
        ("SQLITE_PROTOCOL", 15, StorageUnavailableError),
        ("SQLITE_READONLY_DBMOVED", 1032, StorageUnavailableError),
        ("SQLITE_FULL", 13, StorageFullError),
        ("SQLITE_IOERR_SHMSIZE", 4874, StorageFullError),
        ("SQLITE_READONLY", 8, StorageReadOnlyError),
        ("SQLITE_READONLY_DIRECTORY", 1544, StorageReadOnlyError),
        ("SQLITE_PERM", 3, StorageReadOnlyError),
        ("SQLITE_CANTOPEN", 14, StorageFaultError),
        ("SQLITE_IOERR_WRITE", 778, StorageFaultError),
        ("SQLITE_CORRUPT_INDEX", 779, StorageFaultError),
        ("SQLITE_NOTADB", 26, CallerError),
    ],
)
def test_what_sqlite_says_of_storage_has_its_own_error(
    name: str, number: int, kind: type[ReuniteError]
) -> None:
    said = sqlite3.OperationalError("what SQLite says")
    said.sqlite_errorname, said.sqlite_errorcode = name, number
    error = database.error_of(said)
    assert type(error) is kind
    assert re.search(
        r"(later|for the moment|again|rights|doctor|another one|folder)\b.*\.$", str(error)
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DiskFull", StorageFullError),
        ("ReadOnlySqlTransaction", StorageReadOnlyError),
        ("IoError", StorageFaultError),
        ("DataCorrupted", StorageFaultError),
        ("InternalError_", StorageUnavailableError),
        ("TooManyConnections", StorageUnavailableError),
        ("LockNotAvailable", StorageUnavailableError),
    ],
)
def test_what_postgresql_says_of_storage_has_its_own_error(
    name: str, kind: type[ReuniteError]
) -> None:
    from psycopg import errors

    from reunite.stores.sql import postgresql

    with pytest.raises(StorageUnavailableError) as caught, postgresql.translated():
        raise getattr(errors, name)("what PostgreSQL says")
    assert type(caught.value) is kind
