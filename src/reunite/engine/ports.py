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

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import msgspec

from reunite.core.change import Op, Outcome
from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest commit. `seq` 0 with nonce "" stands before the first one."""

    epoch: str
    seq: int
    nonce: str
    last_id: int
    at_ms: int


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader is: all of the commits to `seq`, and of the next one up to change `id`."""

    seq: int
    id: int


class Touch(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A change in the log, without its image. `seq` is None while it is not numbered."""

    id: int
    seq: int | None
    table: str
    key: Key
    old_key: Key | None = None


class LogEntry(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A change in the log as history and merge need it.

    `old` stands in `old_columns` (the schema version it was written in). `replica`, `n`,
    `pushed_op` and `stamp` are there if a pushed change named this key; else it was made at the
    hub, and its stamp is its commit's time. `principal` and `replica` are also there for what
    hooks and cascades did inside a push, with `n` None. `place` says how the entry stands to marks:
    what a transaction with mark m could not see has a larger place. It is the id, unless the
    transaction became visible after others with larger ids.
    """

    id: int
    place: int
    seq: int | None
    at_ms: int | None
    table: str
    key: Key
    old_key: Key | None
    op: Op
    old: Row | None
    old_columns: tuple[str, ...]
    replica: str | None = None
    principal: str | None = None
    n: int | None = None
    pushed_op: Op | None = None
    stamp: str | None = None


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered run of changes: first to last id, both included."""

    seq: int
    first_id: int
    last_id: int
    at_ms: int
    nonce: str


class LogStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a log. `changes` counts those of each table that are not trimmed, `oldest` is
    the first commit of them; bytes are None where the database does not tell."""

    changes: Mapping[str, int]
    oldest: Commit | None
    bytes_total: int | None
    bytes_log: int | None


class ReplicaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub knows of a replica. `last_n` is the last number answered."""

    id: str
    principal: str
    name: str
    last_n: int
    known_n: int  # outcomes up to here have reached the replica
    created_ms: int
    seen_ms: int
    seen_seq: int  # the commit its last confirmed checkpoint stood at
    tenant: str = ""  # `tenant_text` of the principal
    views: tuple[str, ...] = ()  # hashes of the views that it was sent last, the newest at the end


class Pushes(msgspec.Struct, frozen=True, kw_only=True):
    """The last number answered of each replica that has pushed, and of others perhaps, with the
    mark from which to go on."""

    mark: int
    last_n: Mapping[str, int]


class StoredOutcome(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The outcome of change `id`, which was pushed as number `n` of `replica` with `key`."""

    replica: str
    n: int
    id: str
    table: str
    op: Op
    key: Key
    old_key: Key | None
    outcome: Outcome


class AppliedInserts(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Neighbouring inserts that took effect as they were sent: changes `first_n`, `first_n` + 1 …
    with these ids and keys. What `StoredOutcome` says of one change, for a run of them."""

    replica: str
    first_n: int
    table: str
    ids: Sequence[str]
    keys: Sequence[Key]


class Origin(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Says which pushed changes log entries of this transaction go back to: the entries
    `first_id` to `last_id` to the changes `first_n`, `first_n` + 1 …, all of one op and stamp."""

    first_id: int
    last_id: int
    first_n: int
    op: Op
    stamp: str


class StagedPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub holds of a group that comes in parts: changes `first_n` to `last_n`, in `size`
    bytes, of the attempt `of` to push the group that begins with number `begins_n`."""

    of: str
    begins_n: int
    first_n: int
    last_n: int
    size: int


class Update(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Set `columns` to `values` in the row under `key`; the key's own columns may be among them."""

    key: Key
    columns: tuple[str, ...]
    values: Row


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    """Net writes to apply as one step: rows to insert, to update and to delete, by table.

    No key stands twice. A key that an update moves away from may be taken by another write of the
    same step only through updates (a swap), never by an insert; one that a delete frees by none.
    """

    inserts: Mapping[str, Sequence[Row]]
    updates: Mapping[str, Sequence[Update]]
    deletes: Mapping[str, Sequence[Key]]


class TableMigration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a migration did to a table.

    `what` is `unchanged`; `written` (its rows were, or may have been: replicas compare them);
    `changed` (to `version`, with columns `added` and `removed`: replicas read it anew); `gone`; or
    `new`.
    """

    table: str
    what: str
    version: int = 0
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Transaction(Protocol):
    """One database snapshot. All answers of one transaction are of the same moment."""

    def head(self) -> Head:
        """The newest commit in this snapshot. One indexed read."""
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
        grow; the first one is 0, and none is below `trimmed_id`."""
        ...

    def schemas(self) -> Mapping[str, TableSchema]:
        """The tracked tables by name, each in its current version."""
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

    def scan(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Row]:
        """The next `limit` rows by key, of those for which `where`, a checked expression, is true
        as `core/matching.py` decides it. Cost: an index range; with `where` also the rows that
        it passes over."""
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

    def row_count(self, table: str, *, where: Expression | None = None) -> int:
        """How many rows there are; may be an estimate. For progress bars only."""
        ...

    def old_values(
        self, table: str, ids: Sequence[int], columns: Sequence[str]
    ) -> Mapping[int, Row | None]:
        """What these columns of the row held before each of these changes of the table, in the
        order of `columns`; None where there was no row (an insert).

        Left out are changes that were logged in a version of the table without one of the
        columns, or with one of another type: nobody can say what they held in its terms. A number
        of statements that depends on the versions only.
        """
        ...

    def view(self, view_hash: str) -> str | None:
        """The text of a view that was kept, or None. One indexed read."""
        ...

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        """Log entries with a larger place whose `key` or `old_key` is among `keys`, by id.

        A constant number of statements on an index of (table, key).
        """
        ...

    def log(self, *, after_id: int, until_id: int, limit: int) -> Sequence[LogEntry]:
        """Log entries with after_id < id <= until_id, by id. For the audit trail."""
        ...

    def statistics(self) -> LogStatistics:
        """How large the log is. Cost: a walk through all of it."""
        ...

    def replica(self, replica_id: str) -> ReplicaRecord | None: ...

    def replicas(self) -> Sequence[ReplicaRecord]: ...

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


class WriteTransaction(Transaction, Protocol):
    """Atomic and durable when its context ends without an exception.

    Nobody else changes rows that it has read with `rows` before it ends; where a database cannot
    lock rows, it is alone among all writers.
    """

    def savepoint(self) -> AbstractContextManager[None]:
        """What happens inside is undone if the block raises; savepoints nest."""
        ...

    def hold(self, replica_ids: Iterable[str]) -> None:
        """Wait for other transactions that hold one of these replicas, and then hold them until the
        end: what is read afterwards includes what those did. Called before anything is read."""
        ...

    def apply(self, writes: Writes) -> None:
        """Apply as one step. Raises ConstraintError, and then has done nothing.

        Unique values may be swapped between rows, and taken from rows that the step deletes; a
        row that survives is never deleted and inserted; rows that are not there are passed over;
        foreign keys are checked when the step is complete (inserts, then updates, then deletes),
        cascades and triggers included. A constant number of statements, each executed
        for many rows.
        """
        ...

    def insert(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Insert rows by table as one step, without the price of a way back: after
        ConstraintError this transaction is good for nothing and must be given up."""
        ...

    def touch(self, table: str, keys: Sequence[Key]) -> None:
        """Make the triggers log these rows without changing them."""
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
        the origins, which stand by id, and the outcomes, those of `inserts` among them. A
        constant number of statements.
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

    def add_replica(self, record: ReplicaRecord) -> None: ...

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

    def add_token(
        self, token_hash: str, *, principal: Principal, label: str, now_ms: int
    ) -> None: ...

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

    def handle(self) -> Any:
        """What hooks write with: the connection of this transaction, in the adapter's own kind.
        It must not be committed or closed."""
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

    def number(self, *, now_ms: int, new_nonce: Callable[[], str]) -> Head:
        """Number what is visible and has no number yet; the head after it.

        Its own transaction, begun when no other of this thread is open. One read if there is
        nothing new. Idempotent, safe from any number of processes; commit times never go back.
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

    def trackable_tables(self) -> list[str]:
        """The names of all tables with a primary key that are not reunite's own."""
        ...


class Clock(Protocol):
    """The wall time; injected, so that tests and the simulator own it."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...
