"""What a hub tells of the past: who did what, what stood there, and all of it as text; and of
rights: who may see what, and why.

What it is       the part of the public `Hub` that reads its log as an audit trail, takes commits
                 back, erases rows, and explains rules.
What it is not   a place for decisions: those are in `engine/history.py` and its neighbours.
The rule         times are moments with a zone, keys are rows of values, and both are checked here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, TextIO

import msgspec

from reunite.core.key import Key
from reunite.core.principal import Principal, check_principal
from reunite.core.rules import Rules
from reunite.engine.erase import ErasureReport, erase
from reunite.engine.explain import Explanation, explain
from reunite.engine.export import exported
from reunite.engine.history import HistoryEntry, history, log, row_at, trail
from reunite.engine.news_since import changes_after
from reunite.engine.ports import (
    Clock,
    Erasure,
    Head,
    HostStore,
    LogEntry,
    LogFilter,
    Position,
    Scrubbable,
    Store,
    UndoneError,
)
from reunite.engine.preview import TablePreview, preview
from reunite.engine.tables import Tables
from reunite.engine.undo import UndoReport, undo
from reunite.errors import BadRequestError, CallerError, ConstraintError

# The stores on which a block of `acting_as` has its transaction, in this thread or task.
_writing: ContextVar[tuple[object, ...]] = ContextVar("reunite_acting", default=())


class Auditing(ABC):
    """The hub's history. `Hub` is one; the filters that methods share are:

    actor      the principal who did it: of a replica's token, or of `acting_as`
    replica    the id of the replica that it came from
    since      the first moment of it, and `until` the first one after it: when its commit was
               numbered, which for what other programs write is up to a second later
    """

    _store: Store
    _clock: Clock

    @property
    @abstractmethod
    def _tables(self) -> Tables:
        """What is tracked."""

    @abstractmethod
    def number(self) -> Head:
        """Number what has no number yet; the head of the log after it."""

    def history(
        self,
        table: str,
        key: Key | Sequence[Any],
        *,
        actor: str | None = None,
        replica: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[HistoryEntry]:
        """Every change of one row, oldest first, of those that the filters mean; also what it was
        before its key changed. Raises UnknownTableError, BadRequestError."""
        only = _filter(table, actor, replica, since, until)
        self.number()
        return history(self._store, self._tables, table, _key(key), only)

    def row_at(
        self, table: str, key: Key | Sequence[Any], at: datetime
    ) -> Mapping[str, Any] | None:
        """The row that stood under a key at a moment, by column; None if there was none.

        The columns are those of that time. Before the table was tracked, it is as it was then
        first. Raises UnknownTableError, BadRequestError; also for a time before a trim.
        """
        at_ms = _ms(at, "at")
        self.number()
        return row_at(self._store, self._tables, table, _key(key), at_ms=at_ms)

    def log(
        self,
        *,
        after_id: int = 0,
        limit: int = 1_000,
        table: str | None = None,
        actor: str | None = None,
        replica: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[LogEntry]:
        """The changes of all tables after an id, or of one, oldest first, of those that the
        filters mean. Raises UnknownTableError, BadRequestError."""
        only = _filter(table, actor, replica, since, until)
        self.number()
        return log(self._store, self._tables, after_id=after_id, limit=limit, only=only)

    def changes_after(self, place: Position) -> tuple[list[LogEntry], Position]:
        """The next changes of all tables after a place in the log, and the place after them; the
        same place if nothing is new. `Position(seq=0, id=0)` is where the log begins. Unlike `log`
        it never passes a change that becomes visible late: for programs that follow the log."""
        self.number()
        return changes_after(self._store, place)

    def export(
        self,
        file: TextIO,
        format: str = "ndjson",  # noqa: A002 — what everybody calls it
        *,
        table: str | None = None,
        key: Key | Sequence[Any] | None = None,
        actor: str | None = None,
        replica: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Write the history to a text file that is open: "csv", or "ndjson", a JSON object a line;
        how many changes. Of one row, if there is a `key`.

        Open the file with `newline=""` and `encoding="utf-8"`. Memory is bounded. Raises
        UnknownTableError, BadRequestError.
        """
        only = _filter(table, actor, replica, since, until)
        self.number()
        entries = trail(self._store, self._tables, only, key=None if key is None else _key(key))
        count = 0
        for line in exported(entries, format):
            file.write(line)
            count += 1
        return count - (format == "csv")

    @contextmanager
    def acting_as(self, user: str | Principal, connection: Any = None) -> Iterator[Any]:
        """What is written in the block was done by this user, and the history says so.

            with hub.acting_as("ann") as db:            # a transaction of its own
                db.execute("update product set price = 9 where id = 1")

            with hub.acting_as("ann", connection):      # in the open transaction of yours
                connection.execute("update product set price = 9 where id = 1")

        Without `connection`, the block is a write transaction of the hub, committed at its end
        and undone if it raises; it gives the driver's connection, as hooks get it, which refuses
        to commit, roll back or close. With one, of sqlite3 or psycopg, you commit; what an ORM
        holds back until then must be flushed before the block ends. No rule is asked: this says who
        acts, not what they may do. Raises CallerError in another such block without
        `connection`, BadRequestError, StorageUnavailableError.
        """
        principal = _principal(user)
        now_ms = self._clock.now_ms()
        if connection is not None:
            if not isinstance(self._store, HostStore):
                raise BadRequestError("Only a hub over a database knows connections.")
            with self._store.acting(connection, principal.user, now_ms=now_ms):
                yield connection
            return
        with self._alone():
            # What others wrote before gets its time, and on SQLite its commit, before this.
            self.number()
            with self._store.write() as tx:
                with tx.lent() as program:
                    yield program
                tx.attribute(principal.user, now_ms=now_ms)
            self.number()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A block that is in no other one of this hub: a second transaction would wait for the
        first, which waits for it."""
        former = _writing.get()
        if self._store in former:
            raise CallerError(
                "A block of acting_as is open already: write with what it gave, or end it first."
            )
        _writing.set((*former, self._store))
        try:
            yield
        finally:
            # Not by a token: a block may end in another context than it began in.
            _writing.set(tuple(store for store in _writing.get() if store is not self._store))

    def undo(self, commit: int, *, actor: str | None = None, dry_run: bool = False) -> UndoReport:
        """Put back what a commit changed, as a new commit; what came of it, and what was left.

        What changed since stays as it is, and is a conflict of the report: a column with another
        value than the commit left, a row that others point to, a key that is taken. Counters and
        unions go back by what the commit added. On SQLite, a commit may hold several
        transactions, and all are undone. Undoing an undo does the commit again.

        actor      who undoes it, for the history
        dry_run    only tell what would come of it

        No rule is asked, no hook is called. Raises BadRequestError (there is no such commit, or
        it was trimmed), LimitExceededError (`UNDO_CHANGES_MAX`), StorageUnavailableError, and
        ConstraintError where the database undoes all of it (SQLite's RAISE(ROLLBACK), a
        constraint of PostgreSQL that waits for COMMIT); then nothing has happened.
        """
        if actor is not None:
            _principal(actor)
        given: Any = commit  # programs call this without our types being checked
        if not isinstance(given, int) or isinstance(given, bool):
            raise BadRequestError(
                f"{given!r} is no commit: give its number, as `hub.log` has it in `seq`."
            )
        self.number()
        now_ms = self._clock.now_ms()
        with _told_as_refused():
            report, first_id = undo(
                self._store, self._tables, commit, actor=actor, now_ms=now_ms, is_dry_run=dry_run
            )
        if first_id is None:
            return report
        self.number()
        with self._store.read() as tx:
            (entry,) = tx.log(after_id=first_id - 1, until_id=first_id, limit=1)
        return msgspec.structs.replace(report, commit=entry.seq)

    def erase(
        self, table: str, key: Key | Sequence[Any], *, actor: str | None = None
    ) -> ErasureReport:
        """Delete a row, and erase what is known of it: what the log, the history and the answers
        to pushes hold, of the rows that were under its key too, and of those that its deletion
        takes along. That something was erased stays, with the keys, when, and who did it.

        Replicas do the same with their next sync, in their files too. A hub's SQLite file is
        written anew at the end, so that no free page holds a value: that takes as long as the
        file is large. On PostgreSQL, and while other programs are reading an SQLite file, the
        report's `left` says what is still to be done. Copies of the database are not reached.

        Raises UnknownTableError, BadRequestError, ConstraintError if the row cannot be deleted,
        because others point to it for instance, StorageUnavailableError; then nothing happened.
        """
        if actor is not None:
            _principal(actor)
        self.number()
        now_ms = self._clock.now_ms()
        with _told_as_refused():
            report = erase(self._store, self._tables, table, _key(key), actor=actor, now_ms=now_ms)
        self.number()
        return msgspec.structs.replace(report, left=self.scrub())

    def scrub(self) -> str:
        """Write the database's files anew, without what was deleted or erased; what is left to be
        done by others, "" if nothing. `erase` does it by itself."""
        return self._store.scrub() if isinstance(self._store, Scrubbable) else ""

    def erasures(self) -> Sequence[Erasure]:
        """All that was ever erased, oldest first."""
        with self._store.read() as tx:
            return tx.erasures()

    def explain(
        self, principal: str | Principal, table: str, key: Key | Sequence[Any]
    ) -> Explanation:
        """Whether a principal sees a row and may change it, and which rule, tenant or claim
        decides. Of one that is only a name, or a name and a tenant, it is what the directory says
        of that user: roles, claims, tenant; one with roles or claims is taken as it is, as a token
        that was made for it would be.

        For whoever runs the hub: it tells of rows that the principal is not to know of. What a
        replica asked for (a partial clone) is not part of it. Raises UnknownTableError,
        BadRequestError.
        """
        return explain(self._store, self._tables, _principal(principal), table, _key(key))

    def preview(
        self, principal: str | Principal, new_rules: Mapping[str, Rules | None]
    ) -> Sequence[TablePreview]:
        """How many rows of each table would appear and vanish for a principal, and which columns,
        if tables had these rules, None for none any more; counted by the database, and nothing is
        changed. The principal is as for `explain`.

        A table that has a tenant keeps it, as with `track`, unless its rules go. Raises
        UnknownTableError, BadRequestError, LimitExceededError.
        """
        return preview(self._store, self._tables, _principal(principal), new_rules)


@contextmanager
def _told_as_refused() -> Iterator[None]:
    """What the database undid whole, as what it is for a caller: refused."""
    try:
        yield
    except UndoneError as exc:
        raise ConstraintError(
            f"The database refused, and undid all of it: {exc.message}",
            code=exc.code,
            table=exc.table,
            columns=exc.columns,
        ) from exc


def _principal(given: str | Principal) -> Principal:
    return check_principal(Principal(user=given) if isinstance(given, str) else given)


def _filter(
    table: str | None,
    actor: str | None,
    replica: str | None,
    since: datetime | None,
    until: datetime | None,
) -> LogFilter:
    return LogFilter(
        table=table,
        principal=actor,
        replica=replica,
        since_ms=None if since is None else _ms(since, "since"),
        until_ms=None if until is None else _ms(until, "until"),
    )


def _ms(moment: datetime, path: str) -> int:
    """Milliseconds since the epoch."""
    given: Any = moment  # programs call this without our types being checked
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise BadRequestError(
            f"{moment!r} is no moment: give a datetime with a time zone, such as "
            "datetime.now(UTC).",
            path=path,
        )
    return (moment - _EPOCH) // timedelta(milliseconds=1)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _key(key: Key | Sequence[Any]) -> Key:
    if isinstance(key, str | bytes) or not isinstance(key, Sequence):
        raise BadRequestError(f"A key is the row of its values, such as ({key!r},).", path="key")
    return tuple(key)
