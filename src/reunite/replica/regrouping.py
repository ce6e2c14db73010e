"""Regrouping: what the hub has refused, and what was written since, is one group again.

For a hub that takes a push whole or not at all: what it refused is still to be mended by a later
change, and only together do they make a state that it can take.

The rule         nothing of what is put together has an outcome, or was ever taken by the hub.
"""

from __future__ import annotations

from reunite.replica.colliding import Collision, collisions
from reunite.replica.driver import Driver
from reunite.replica.file import ReplicaFile
from reunite.replica.outbox import Outbox
from reunite.replica.replica import Replica

# The code of parked changes that were set aside, not rejected.
SET_ASIDE = "set-aside"


class WholeReplica(Replica):
    """A replica whose hub takes a push whole or not at all."""

    def regroup(self) -> int:
        """Make one group of all that waits, before `push`; how many changes."""
        with self._file.sync_lock():
            return regroup(self._file, now_ms=self.now_ms())

    def start_over(self) -> None:
        """Have the next pull bring all rows; what is pending stays on top."""
        with self._file.sync_lock():
            self._driver(None).start_over()

    def set_aside(self, why: str) -> None:
        """Park all that is pending, with the code `set-aside`, and show the hub's rows."""
        with self._file.sync_lock():
            self._driver(None).set_aside(code=SET_ASIDE, reason=f"Set aside by {why}.")

    def collisions(self) -> list[Collision]:
        """The unsent rows that hold unique values of rows that a pull would bring. Reads the hub as
        a pull does, where something is unsent; changes nothing. Raises as `sync` does."""

        def run(driver: Driver) -> list[Collision]:
            with self._file.reading() as (connection, state):
                count = connection.execute(
                    "select count(*) from reunite_change where outcome is null"
                ).fetchone()[0]
            if not count or not state.replica:
                return []
            found: dict[Collision, None] = {}
            for page in driver.pages_ahead():
                with self._file.reading() as (connection, state):
                    found.update(
                        dict.fromkeys(collisions(connection, self._file.schemas(state), page))
                    )
            return list(found)

        return self._run(run, None)


def regroup(file: ReplicaFile, *, now_ms: int) -> int:
    """Make one divisible group of all changes without an outcome; how many there are."""
    with file.writing() as (connection, state):
        outbox = Outbox(connection, state, file.schemas(state), file.forms)
        outbox.prepare(now_ms=now_ms)
        (first, count) = connection.execute(
            "select min(n), count(*) from reunite_change where n > ? and outcome is null",
            (state.known_n,),
        ).fetchone()
        if count:
            connection.execute(
                "update reunite_change set grp = ? where n > ? and outcome is null",
                (-first, state.known_n),
            )
        return int(count)
