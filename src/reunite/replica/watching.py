"""Watching a replica's file for what is written to it, by whatever program.

What it is       a connection that only looks, for one thread.
The rule         SQLite's own count of commits says that there is something; then the outbox says
                 what. Nothing is read while nothing was written.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Self

import msgspec

from reunite.replica.ranges import has_unsent
from reunite.stores.sql.database import connect_sqlite, translated


class Written(msgspec.Struct, frozen=True):
    """`tables` have new changes in the outbox; `has_unsent` says that some have no answer yet."""

    tables: set[str]
    has_unsent: bool


class FileWatch:
    """Looks at one replica file."""

    def __init__(self, path: Path) -> None:
        with translated():
            self._connection: sqlite3.Connection = connect_sqlite(path)
            self._version: int | None = None
            self._seen_id = self._last_id()

    def written(self) -> Written | None:
        """What was written since the last time; None if nothing was. Raises
        StorageUnavailableError."""
        with translated():
            version = self._connection.execute("pragma data_version").fetchone()[0]
            if version == self._version:
                return None
            last_id = self._last_id()
            tables = {
                name
                for (name,) in self._connection.execute(
                    "select distinct table_name from reunite_change where id > ?", (self._seen_id,)
                )
            }
            unsent = has_unsent(self._connection)
            self._version, self._seen_id = version, last_id
            return Written(tables, has_unsent=unsent)

    def has_pending(self) -> bool:
        """Whether anything is in the outbox, answered or not."""
        with translated():
            found = self._connection.execute("select exists (select 1 from reunite_change)")
            return bool(found.fetchone()[0])

    def _last_id(self) -> int:
        found = self._connection.execute(
            "select seq from sqlite_sequence where name = 'reunite_change'"
        ).fetchone()
        return int(found[0]) if found else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
