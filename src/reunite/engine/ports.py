"""The ports of the hub's engine: what it asks of a database and of the world, with promises.

    use case ──► Store ──► Transaction (one snapshot) ──► WriteTransaction (alone, durable)

What it is       everything that `engine` may call; adapters live in `stores`. The ports of feeds
                 are in `news.py`.
The rule         an adapter is finished when `reunite.testing.contracts` is green on it.

Values cross in wire form (`core/values.py`), rows as tuples in schema order, keys as tuples.
Every method raises StorageUnavailableError when the database is locked, full or gone; then the
transaction has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.engine.kept import ReadsRecords, Record, WritesRecords
from reunite.engine.pack import Pack
from reunite.engine.records import (
    ALL_ENTRIES,
    AppliedInserts,
    Commit,
    Erasure,
    Head,
    LogEntry,
    LogFilter,
    LogStatistics,
    Origin,
    Position,
    Pushes,
    ReplicaRecord,
    StagedPart,
    StoredOutcome,
    TableMigration,
    Touch,
    Update,
    Writes,
)
from reunite.errors import ConstraintError

# Whoever implements or uses a port finds in one place what crosses it.
__all__ = [
    "ALL_ENTRIES",
    "AppliedInserts",
    "Catalogue",
    "Clock",
    "Commit",
    "Erasure",
    "Head",
    "HostStore",
    "LogEntry",
    "LogFilter",
    "LogStatistics",
    "Measured",
    "Origin",
    "Position",
    "Pushes",
    "Record",
    "ReplicaRecord",
    "Scrubbable",
    "StagedPart",
    "Store",
    "StoredOutcome",
    "TableMigration",
    "Touch",
    "Transaction",
    "UndoneError",
    "Update",
    "WriteTransaction",
    "Writes",
]


class UndoneError(ConstraintError):
    """The database refused a write and undid the whole transaction: SQLite's `RAISE(ROLLBACK)` and
    `ON CONFLICT ROLLBACK` do that. Nothing more can be done in it."""


class Transaction(ReadsRecords, Protocol):
    """One database snapshot. All answers of one transaction are of the same moment."""

    def head(self) -> Head:
        """The newest commit in this snapshot; of a write transaction, when it began. One indexed
        read, which `has_news` and `mark` share."""
        ...

    def has_news(self) -> bool:
        """Whether anything that this snapshot sees has no number yet. Of a write transaction: of
        what was there when it began."""
        ...

    def commit(self, seq: int) -> Commit | None:
        """The commit, or None if it is unknown. Of a trimmed one only the newest is known."""
        ...

    def commits(self, *, after: int, limit: int) -> Sequence[Commit]:
        """Commits with a larger seq, in order."""
        ...

    def trimmed_seq(self) -> int:
        """Commits up to here are trimmed away (0: none). A cursor below it cannot be served."""
        ...

    def trimmed_id(self) -> int:
        """Changes up to this place are trimmed away (0: none)."""
        ...

    def last_change_id(self) -> int:
        """The largest change id in this snapshot, numbered or not; never below `trimmed_id`."""
        ...

    def mark(self) -> int:
        """What stands for this snapshot: whatever became visible later has a larger place. Marks
        grow; the first one is 0, and none is below `trimmed_id`. That of a write transaction is
        that of its beginning."""
        ...

    def schemas(self) -> Mapping[str, TableSchema]:
        """The tracked tables by name, each in its current version."""
        ...

    def last_schema(self, table: str) -> TableSchema | None:
        """The table's schema, or the last one that it had while it was tracked; None if it never
        was."""
        ...

    def rules(self) -> str:
        """What `keep_rules` was given last; "" before that."""
        ...

    def touched(self, after: Position, *, limit: int) -> Sequence[Touch]:
        """The changes after a position: numbered ones in order of (seq, id), then the others.

        Cost: an index range of `limit` entries, whatever the log's length.
        """
        ...

    def rows(self, table: str, keys: Iterable[Key]) -> Mapping[Key, Row]:
        """The rows of these keys that exist; in a write transaction locked, in key order.

        A constant number of statements.
        """
        ...

    def defaults(self, table: str) -> Row:
        """What a new row gets in each column where nothing is said; NULL where that is nothing, or
        what only an insert can tell. One statement."""
        ...

    def scan(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Row]:
        """The next `limit` rows by key, of those for which `where`, a checked expression, is true
        as `core/matching.py` decides it. Cost: an index range; with `where` also the rows that
        it passes over."""
        ...

    def pack(self) -> Pack | None:
        """Begin a pack; None where there is no such thing. Once a transaction."""
        ...

    def scan_keys(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Key]:
        """The keys of the rows that `scan` would give. Cost: the same range, without the rows."""
        ...

    def find(
        self,
        table: str,
        where: Mapping[str, Value],
        *,
        after: Key | None,
        limit: int,
        only: Expression | None = None,
    ) -> Sequence[Row]:
        """Rows by key whose columns equal `where` (None matches NULL), of those for which `only`
        is true."""
        ...

    def pointing(
        self,
        table: str,
        columns: Sequence[str],
        keys: Collection[Key],
        *,
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        """The next `limit` rows by key that hold one of these keys, of another table, in these
        columns; rows that the database takes for such may be among them. Cost: an index range if
        the columns have an index, else a walk through the table."""
        ...

    def row_count(
        self, table: str, *, where: Expression | None = None, limit: int | None = None
    ) -> int:
        """How many rows there are, or how many of them `where` means; at most `limit`. Cost: the
        table is read through, unless an index serves, or so many are found before."""
        ...

    def old_values(
        self, table: str, ids: Sequence[int], columns: Sequence[str]
    ) -> Mapping[int, Row | None]:
        """What these columns of the row held before each of these changes of the table, in the
        order of `columns`; None where there was no row (an insert).

        Left out are changes that were erased, and those that were logged in a version of the table
        without one of the columns, or with one of another type: nobody can say what they held in
        its terms. A number of statements that depends on the versions only.
        """
        ...

    def view(self, view_hash: str) -> str | None:
        """The text of a view that was kept, or None. One indexed read."""
        ...

    def views(self) -> Mapping[str, str]:
        """The texts of all views that are kept, by hash."""
        ...

    def erasures(self, table: str | None = None, keys: Iterable[Key] = ()) -> Sequence[Erasure]:
        """What was erased of these keys of a table, oldest first; of everything for None."""
        ...

    def last_erasures(self, limit: int) -> Sequence[Erasure]:
        """The newest `limit` of all, oldest first. Cost: theirs."""
        ...

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        """Log entries with a larger place whose `key` or `old_key` is among `keys`, by id.

        A constant number of statements on an index of (table, key).
        """
        ...

    def log(
        self,
        *,
        after_id: int,
        until_id: int,
        limit: int,
        only: LogFilter = ALL_ENTRIES,
        newest_first: bool = False,
    ) -> Sequence[LogEntry]:
        """Log entries with after_id < id <= until_id, by id, of those that `only` means. For the
        audit trail. Cost: those that are given, and those between them."""
        ...

    def statistics(self) -> LogStatistics:
        """How large the log is. Cost: a walk through all of it."""
        ...

    def replica(self, replica_id: str) -> ReplicaRecord | None:
        """What is known of a replica, None if it never registered here. One indexed read."""
        ...

    def replicas(self) -> Sequence[ReplicaRecord]:
        """All that have registered, whenever they were seen last."""
        ...

    def pushes(self, after: int | None) -> Pushes:
        """Which replicas have pushed since the mark of an earlier answer; for None only the mark
        as it is now. Cost: an index range of those pushes."""
        ...

    def outcomes(self, replica_id: str, *, after_n: int) -> Sequence[StoredOutcome]:
        """The stored outcomes of this replica with a larger n, by n."""
        ...

    def rejections(self, replica_id: str, *, after_n: int) -> Sequence[StoredOutcome]:
        """The rejected ones of `outcomes`. Cheap where there are none, however many others."""
        ...

    def outcomes_by_id(self, ids: Sequence[str]) -> Mapping[str, StoredOutcome]:
        """Outcomes of these change ids, whichever replica sent them. A constant number of
        statements; of an id answered under two identities, the first one's."""
        ...

    def principal_of(self, token_hash: str) -> Principal | None:
        """The principal a stored token belongs to, or None."""
        ...


class WriteTransaction(Transaction, WritesRecords, Protocol):
    """Atomic and durable when its context ends without an exception.

    Nobody else changes rows that it has read with `rows` before it ends; where a database cannot
    lock rows, it is alone among all writers.
    """

    def savepoint(self) -> AbstractContextManager[None]:
        """What happens inside is undone if the block raises; savepoints nest."""
        ...

    def hold(self, replica_ids: Iterable[str]) -> None:
        """Wait for other transactions that hold one of these replicas, and then hold them until the
        end: the rows, replicas and outcomes that are read afterwards include what those did.
        Called before any of them is read."""
        ...

    def apply(self, writes: Writes, *, has_way_back: bool = True) -> bool:
        """Apply as one step; False if the database says that it wrote fewer rows. Raises
        ConstraintError, and then has done nothing. Without the price of a way back, it raises that
        for more, swaps among them, and the transaction is good for nothing then: give it up, and
        do it again with one.

        Unique values may be swapped between rows, and taken from rows that the step deletes; a
        row that survives is never deleted and inserted; rows that are not there are passed over;
        foreign keys are checked when the step is complete (inserts, then updates, then deletes),
        cascades and triggers included. A constant number of statements, each executed
        for many rows.
        """
        ...

    def touch(self, table: str, keys: Sequence[Key]) -> None:
        """Make the triggers log these rows without changing them."""
        ...

    def last_id_before(self) -> int:
        """The largest change id when this transaction began, or after its last `add_push`."""
        ...

    def fresh(self, *, after_id: int = 0) -> Sequence[Touch]:
        """The log entries this transaction has made so far, by id; those with a larger id."""
        ...

    def fresh_inserts(self, table: str, *, after_id: int) -> tuple[int, int] | None:
        """The first and last id of the entries with a larger id, if there are any and all of them
        are inserts into this table whose ids have no gap. Cheaper than to read them."""
        ...

    def add_push(
        self,
        *,
        replica: str,
        principal: str,
        last_n: int,
        known_n: int,
        now_ms: int,
        origins: Sequence[Origin],
        outcomes: Sequence[StoredOutcome],
        inserts: Sequence[AppliedInserts] = (),
    ) -> None:
        """Record a push, also when everything in it was rejected. What the transaction does
        after it belongs to the next one: the slices of a large group are pushes of their own.

        Moves the replica's `last_n`, marks all entries of `fresh()` as made in this push, adds
        the origins, which stand by id, and the outcomes, those of `inserts` among them; keeps the
        records of `engine/remembered.py` about them. A constant number of statements.
        """
        ...

    def attribute(self, principal: str, *, now_ms: int) -> None:
        """Mark what this transaction has done so far, and no push or earlier call claims, as made
        at the hub by this principal."""
        ...

    def erase(self, erasures: Sequence[Erasure], ids: Sequence[int]) -> int:
        """Take the old images out of these entries of the log, and the values out of all outcomes
        that are about the erased keys; how many outcomes. Parts of groups that are staged go,
        since what is in them is not looked at.

        The entries stay, erased, and so does what the erasures say. A new entry, an update that is
        erased as well, tells readers of the log of each key. Cost: a walk through all outcomes of
        the tables.
        """
        ...

    def stage(self, replica_id: str, part: StagedPart, body: bytes, *, now_ms: int) -> None:
        """Keep a part until the rest of its group has come. Parts of this replica that begin at
        its `first_n` or later are dropped, and those of other attempts."""
        ...

    def staged(self, replica_id: str) -> Sequence[StagedPart]:
        """The parts of this replica's group that are here, in order, without gaps."""
        ...

    def staged_body(self, replica_id: str, *, first_n: int) -> bytes:
        """What `stage` was given for the part that begins there."""
        ...

    def unstage(self, *, replica_id: str | None = None, older_than_ms: int = 0) -> None:
        """Drop the parts of this replica, and of all replicas those staged before then."""
        ...

    def add_replica(self, record: ReplicaRecord) -> None:
        """Remember a replica that registers; nothing is known of one with its id."""
        ...

    def keep_view(self, view_hash: str, text: str, *, views_max: int) -> None:
        """Keep the text of a view, so that a later change of it can be told. At most `views_max`
        are kept; those that were kept first go."""
        ...

    def note_view(self, replica_id: str, view_hash: str, *, views_max: int) -> None:
        """Note that the replica is sent this view from now on. Of each replica at most `views_max`
        are known; those that it was sent first go. Raises UnknownReplicaError."""
        ...

    def confirm(self, replica_id: str, *, known_n: int, seen_seq: int, now_ms: int) -> None:
        """Note what a replica has: values never go down."""
        ...

    def lease(self, table: str, replica_id: str, *, size: int) -> tuple[int, int] | None:
        """Lease a block of generated keys, first and last, that no earlier block holds.

        It is above every key in the table, those beyond `generated_key_max` left out, and above
        every earlier block. Where there is no room above, it is in the widest gap, and may be
        smaller; that reads all keys of the table. None if no key is left."""
        ...

    def keep_rules(self, text: str) -> None:
        """Keep this text for `rules`, of this transaction too, and of all that begin later."""
        ...

    def add_token(self, token_hash: str, *, principal: Principal, label: str, now_ms: int) -> None:
        """Let whoever has the token of this hash come as this principal, until it is revoked."""
        ...

    def revoke_token(self, label_or_prefix: str) -> int:
        """Remove the tokens of this label or whose hash begins so; how many."""
        ...

    def tokens(self) -> Sequence[tuple[str, Principal, str, int]]:
        """(hash, principal, label, created_ms) of each token."""
        ...

    def trim(self, *, until_seq: int) -> int:
        """Let commits up to `until_seq` and their changes go; how many changes. From now on
        nobody reads them; `sweep` gives back their space. The nonce of the last one stays. The
        cost does not grow with what goes."""
        ...

    def sweep(self, *, limit: int) -> int:
        """Remove at most `limit` of the changes that `trim` let go, oldest first, and what hangs
        on them; how many. 0 when all are gone."""
        ...

    def take_job(self, job: str, *, who: str, now_ms: int, until_ms: int) -> bool:
        """Take a periodic job of this database until `until_ms`, if nobody has it, `who` has it, or
        the one who has it did not come back in time; whether it was taken. A time that is further
        away than the one asked for was set by a wrong clock, and counts as over."""
        ...

    def lent(self) -> AbstractContextManager[Any]:
        """What hooks write with: the connection of this transaction, in the adapter's own kind.
        In the block whoever has it cannot end the transaction: trying to raises."""
        ...


class Store(Protocol):
    """A hub's database.

    Transactions follow migrations: one that begins after a tracked table was altered, made anew or
    dropped, by whatever program, finds it captured again and in its new version, or not among
    `schemas` any more.
    """

    def read(self) -> AbstractContextManager[Transaction]:
        """A snapshot; it does not block writers and is not blocked by them."""
        ...

    def write(self) -> AbstractContextManager[WriteTransaction]:
        """A write transaction. Raises StorageUnavailableError after the lock timeout."""
        ...

    def number(self, *, now_ms: int, new_nonce: Callable[[], str], has_news: bool = False) -> Head:
        """Number what is visible and has no number yet; the head after it.

        Its own transaction, begun when no other of this thread is open. One read if there is
        nothing new; who knows better (`has_news`) spares it. Idempotent, safe from any number of
        processes; commit times never go back.
        """
        ...

    def track(self, schemas: Sequence[TableSchema]) -> None:
        """Create reunite's tables where missing and the triggers of these tables, or renew
        them. A table whose columns changed gets its next version, one whose changes were not
        all captured since it was tracked first another generation."""
        ...

    def resend(self, table: str) -> None:
        """Begin another generation of a tracked table, so that replicas compare all of it.
        Raises UnknownTableError."""
        ...

    def untrack(self, table: str) -> None:
        """Take the triggers off; the log keeps what it has."""
        ...

    def uninstall(self) -> None:
        """Leave the database as it was before reunite came."""
        ...

    def close(self) -> None:
        """Release connections. May be called twice."""
        ...


@runtime_checkable
class HasUrl(Protocol):
    """What a program opens its database with, and can say where that is: SQLAlchemy's engines."""

    @property
    def url(self) -> Any:
        """Where the database is. Printed, it hides passwords; `render_as_string` need not."""
        ...

    @property
    def dialect(self) -> Any:
        """How it is spoken to."""
        ...


@runtime_checkable
class Catalogue(Protocol):
    """A store that can find out what a table looks like."""

    def reflect(self, table: str) -> TableSchema:
        """The table's schema as the database declares it. Raises UnknownTableError,
        UntrackableTableError."""
        ...

    def track_newcomers(self) -> None:
        """From now on, track every table that comes, as soon as a transaction finds it."""
        ...

    def migrating(self) -> AbstractContextManager[Sequence[TableMigration]]:
        """Take capture off all tables for the block, and put it on again at its end, however it
        ends; what became of the tables stands in the sequence then.

        Meanwhile every transaction of this port raises StorageUnavailableError, in all processes.
        If the process dies in the block, the next transaction of any process does what its end
        would have done. Raises StorageUnavailableError while another process is in such a block.
        """
        ...

    def all_tables(self) -> list[str]:
        """The names of all tables that are not reunite's own."""
        ...

    def trackable_tables(self) -> list[str]:
        """The names of all tables with a primary key that are not reunite's own."""
        ...


@runtime_checkable
class Scrubbable(Protocol):
    """A store whose files keep what was deleted, until it is written over."""

    def scrub(self) -> str:
        """Rewrite the files so that only what is there is in them; what is left for others to do,
        "" if nothing. Cost: the whole database is read and written."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A store that knows what its database is, and how large."""

    def measure(self) -> tuple[str, int | None]:
        """What kind of database it is, such as "sqlite"; its bytes, None where it does not
        tell. Cheap."""
        ...


@runtime_checkable
class HostStore(Protocol):
    """A store whose database an application writes to over connections of its own."""

    def acting(
        self, connection: Any, principal: str, *, now_ms: int
    ) -> AbstractContextManager[None]:
        """What the connection's open transaction writes in the block was done by this principal;
        also what the block leaves behind when it raises, if the application commits that.

        Raises BadRequestError for what is no connection to such a database, or is in no
        transaction.
        """
        ...


class Clock(Protocol):
    """The wall time; injected, so that tests and the simulator own it."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...
