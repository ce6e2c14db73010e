"""Processes that die at a statement: between any two of them, with a transaction open or not.

    Doom (statements left) ─► MortalConnection.execute … execute ─► the process ends here

What it is       a connection that counts its statements and, when the time has come, does no other
                 one: not even the ROLLBACK that an exception would bring about.
What it is not   a power cut: what SQLite has committed stays (`tests/crash/` cuts the power).
The rule         after a death every object of that process is thrown away; `bury` closes what the
                 operating system would have closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reunite.replica import Replica
from reunite.stores.sql.database import SqliteDatabase


class ProcessKilled(BaseException):
    """The process dies here."""


class Doom:
    """How many statements a process still does; None for as many as it likes."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.is_dead = False

    def arm(self, statements: int) -> None:
        """The process dies instead of its statement of this number."""
        self.left = statements

    def disarm(self) -> None:
        """Nothing happens any more."""
        self.left = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens in between is not the process's doing."""
        left, self.left = self.left, None
        try:
            yield
        finally:
            self.left = left

    def step(self) -> None:
        """A statement is about to be executed. Raises ProcessKilled, from then on always."""
        if self.left is not None and not self.is_dead:
            self.left -= 1
            self.is_dead = self.left < 0
        if self.is_dead:
            raise ProcessKilled


class MortalConnection:
    """An `sqlite3` connection of a process that may die."""

    mortal: sqlite3.Connection
    _doom: Doom

    def __init__(self, connection: sqlite3.Connection, doom: Doom) -> None:
        self.__dict__["mortal"] = connection
        self.__dict__["_doom"] = doom

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._doom.step()
        return self.mortal.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._doom.step()
        return self.mortal.executemany(*arguments)

    def close(self) -> None:
        # The dead close nothing: SQLite would roll back, and whoever is dead cannot.
        if not self._doom.is_dead:
            self.mortal.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.mortal, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.mortal, name, value)


def make_mortal(replica: Replica) -> Doom:
    """Let the replica's own connection die when it is told to."""
    file, doom = replica._file, Doom()
    assert file._inner is not None, "the replica is open"
    file._inner = MortalConnection(file._inner, doom)  # type: ignore[assignment]
    return doom


def bury(replica: Replica) -> None:
    """Close what a dead process had open, and what a living one has."""
    inner: Any = replica._file._inner
    replica.close()
    if isinstance(inner, MortalConnection):
        inner.mortal.close()


class MortalDatabase(SqliteDatabase):
    """A hub's database, in a process that may die."""

    def __init__(self, path: Any) -> None:
        self.doom = Doom()
        self._mortals: list[MortalConnection] = []
        super().__init__(path)

    def _take(self) -> sqlite3.Connection:
        connection: Any = super()._take()
        if not isinstance(connection, MortalConnection):
            connection = MortalConnection(connection, self.doom)
            self._mortals.append(connection)
        return connection  # type: ignore[no-any-return]

    def bury(self) -> None:
        """Close what the process had open."""
        self.close()
        for connection in self._mortals:
            connection.mortal.close()
