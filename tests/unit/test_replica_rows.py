"""Rows on a replica: what SQLite undoes by itself is not undone again."""

import sqlite3
from contextlib import closing

import pytest

from reunite.replica.rows import _savepoint


def write_on_a_full_disk(connection: sqlite3.Connection) -> None:
    with _savepoint(connection):
        connection.execute("rollback")
        raise OSError("disk full")


def test_the_cause_is_told_where_sqlite_has_rolled_back_by_itself() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("begin")
        with pytest.raises(OSError, match="disk full"):
            write_on_a_full_disk(connection)
