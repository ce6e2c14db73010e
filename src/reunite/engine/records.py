"""What crosses the ports of the engine: commits, log entries, outcomes, replicas, net writes.

What it is       frozen values, without behaviour but to be asked.
The rule         values stand in them in wire form (`core/values.py`), rows as tuples in schema
                 order, keys as tuples.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.change import APPLIED, Conflict, Op, Outcome
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row


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
    is_erased: bool = False


class LogEntry(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A change in the log as history and merge need it.

    `old` stands in `old_columns` (the schema version it was written in). `replica`, `n`,
    `pushed_op` and `stamp` are there if a pushed change named this key; else it was made at the
    hub, and its stamp is its commit's time. `principal` and `replica` are also there for what
    hooks and cascades did inside a push, with `n` None. `place` says how the entry stands to marks:
    what a transaction with mark m could not see has a larger place. It is the id, unless the
    transaction became visible after others with larger ids. What was in one that `is_erased`
    nobody knows any more.
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
    is_erased: bool = False

    @property
    def image(self) -> dict[str, Any] | None:
        """The row before, by column; None for an insert, and where it was erased."""
        return None if self.old is None else dict(zip(self.old_columns, self.old, strict=True))

    def image_in(self, schema: TableSchema) -> Row | None:
        """The same in the order of a schema's columns, NULL in those that it had not got."""
        image = self.image
        return None if image is None else tuple(map(image.get, schema.column_names))


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which log entries are meant; None asks for nothing. Times are those of commits, `since_ms`
    included and `until_ms` not: what has no number yet has no time, and is not meant."""

    table: str | None = None
    principal: str | None = None
    replica: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def means(self, entry: LogEntry) -> bool:
        """Whether it means this entry."""
        at_ms = entry.at_ms
        return (
            self.table in (None, entry.table)
            and self.principal in (None, entry.principal)
            and self.replica in (None, entry.replica)
            and (self.since_ms is None or (at_ms is not None and at_ms >= self.since_ms))
            and (self.until_ms is None or (at_ms is not None and at_ms < self.until_ms))
        )


ALL_ENTRIES = LogFilter()


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """All that was known of the rows under a key was erased, up to change `change_id`; `changes`
    entries of the log among it. Of the views kept then that do not have all rows of the table,
    those in `seen_by` had shown the row, and those in `unseen_by` never."""

    table: str
    key: Key
    change_id: int
    changes: int
    at_ms: int
    principal: str | None = None
    seen_by: frozenset[str] = frozenset()
    unseen_by: frozenset[str] = frozenset()


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered run of changes: first to last id, both included, and how many there are."""

    seq: int
    first_id: int
    last_id: int
    changes: int
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


def one_by_one(run: AppliedInserts) -> Iterator[StoredOutcome]:
    """The outcomes of a run."""
    for n, (id_, key) in enumerate(zip(run.ids, run.keys, strict=True), run.first_n):
        yield StoredOutcome(
            replica=run.replica,
            n=n,
            id=id_,
            table=run.table,
            op=Op.INSERT,
            key=key,
            old_key=None,
            outcome=APPLIED,
        )


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
    `plain` are tables of whose rows to insert no value is tagged, which saves a look.
    """

    inserts: Mapping[str, Sequence[Row]]
    updates: Mapping[str, Sequence[Update]]
    deletes: Mapping[str, Sequence[Key]]
    plain: Collection[str] = ()


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


def without_values(
    outcomes: Iterable[StoredOutcome], places: Container[tuple[str, Key]]
) -> tuple[list[StoredOutcome], int]:
    """The outcomes, those about rows in these places (table, key) without values; how many those
    are. That there was a conflict, in which column and by which policy, stays."""
    found, count = [], 0
    for stored in outcomes:
        keys = (stored.key, stored.old_key, stored.outcome.key)
        outcome = stored.outcome
        if (outcome.conflicts or outcome.reason) and any(
            key is not None and (stored.table, key) in places for key in keys
        ):
            count += 1
            conflicts = tuple(
                Conflict(
                    column=each.column,
                    base=None,
                    hub=None,
                    replica=None,
                    result=None,
                    policy=each.policy,
                )
                for each in outcome.conflicts
            )
            reason = None if outcome.reason is None else "The row was erased."
            outcome = msgspec.structs.replace(outcome, conflicts=conflicts, reason=reason)
            stored = msgspec.structs.replace(stored, outcome=outcome)
        found.append(stored)
    return found, count
