"""Regrouping: what the hub has refused, and what was written since, is one group again.

For a hub that takes a push whole or not at all: what it refused is still to be mended by a later
change, and only together do they make a state that it can take.

The rule         nothing of what is put together has an outcome, or was ever taken by the hub.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from reunite.protocol.pull import Page
from reunite.replica.colliding import CollidingError, collisions
from reunite.replica.driver import Driver, Manners
from reunite.replica.file import ReplicaFile
from reunite.replica.inbox import Inbox
from reunite.replica.outbox import Outbox
from reunite.replica.pending import Place
from reunite.replica.remaking import Remaking, has_deferred
from reunite.replica.replica import Replica
from reunite.replica.reports import OnProgress, SyncReport
from reunite.replica.state import State

# The code of parked changes that were set aside, not rejected.
SET_ASIDE = "set-aside"


class WholeReplica(Replica):
    """A replica whose hub takes a push whole or not at all, and whose pulls send nothing.

    What a pull brings takes effect only if no unsent row has a unique value of it; CollidingError
    says which do. With `steps_aside`, those are set aside instead.
    """

    # Its hub knows nodes by numbers, and one that registers again gets another.
    _manners = Manners(resends_in_pull=False, minds_users=False)
    steps_aside = False

    def _before_checkpoint(
        self, connection: sqlite3.Connection, state: State, inbox: Inbox, page: Page
    ) -> None:
        schemas = self._file.schemas(state)
        updated: set[Place] = set()
        deleted: set[Place] = set()
        if has_deferred(connection):
            updated, deleted = Remaking(connection, state, schemas, self._file.forms).places()
        found = collisions(connection, state, schemas, page, updated=updated, deleted=deleted)
        if found and not self.steps_aside:
            raise CollidingError(found)
        if found:
            outbox = Outbox(connection, state, schemas, self._file.forms)
            state.has_misplaced |= bool(outbox.prepare(now_ms=self.now_ms()))
            keys = {(each.table, self._file.forms.key_text(each.table, each.key)) for each in found}
            numbers = connection.execute(
                "select table_name, key, n from reunite_change where outcome is null"
            )
            inbox.give_up(
                {n for table, key, n in numbers if (table, key) in keys},
                code=SET_ASIDE,
                reason="Another row of the hub has a unique value of it.",
            )

    def pull(self, *, on_progress: OnProgress | None = None) -> SyncReport:
        """Read what is new. Raises as `sync` does, and CollidingError: then nothing is applied."""

        def run(driver: Driver) -> SyncReport:
            driver.introduce()
            self._pull(driver)
            return driver.report()

        return self._run(run, on_progress)

    def settle(self) -> None:
        """Before `push`: be somebody to the hub, and make again what is to be made on its rows.
        Raises as `pull` does."""

        def run(driver: Driver) -> None:
            driver.introduce()
            with self._file.reading() as (connection, _):
                waits = has_deferred(connection)
            if waits:
                self._pull(driver)

        self._run(run, None)

    def _pull(self, driver: Driver) -> None:
        with self._file.writing() as (connection, state):
            if has_deferred(connection):
                self._remaking(connection, state).keep()
        driver.pull()
        with self._file.writing() as (connection, state):
            if has_deferred(connection):
                driver.show_made(connection, state, self._remaking(connection, state))

    def _remaking(self, connection: sqlite3.Connection, state: State) -> Remaking:
        return Remaking(connection, state, self._file.schemas(state), self._file.forms)

    def squash(self, heard: Callable[[], int | None], *, without: Collection[str] = ()) -> None:
        """Put together what is pending of a row, before `regroup`. Raises as `sync` does.

        heard    the last number that the hub has taken, as its last answer told, None if it did
                 not; asked for if something was sent and not answered. The hub takes nothing of
                 this replica afterwards that was sent before.
        without  tables of which nothing is to be sent any more: what is pending of them goes, and
                 their rows stay as they are until the hub sends others
        """

        def run(driver: Driver) -> None:
            after_n = driver.taken_n(heard)
            with self._file.writing() as (connection, state):
                driver.squash(connection, state, after_n=after_n, without=without)

        self._run(run, None)

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
