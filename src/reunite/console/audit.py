"""Audit: commits and their changes, newest first; the history of a row; what administrators did.

    commits ──► changes, field by field ──► undo a commit, put a row back, after a look at it

The rule         a list reads a bounded piece of the log. Where what is asked for is rare, the part
                 of a list may be empty, and says how far back it has looked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from reunite.console.acts import note
from reunite.console.csv import csv_lines
from reunite.console.names import replica_names
from reunite.console.operations import READ, WRITE, Asked, Desk, Download, Listed, operation
from reunite.console.paging import after_place
from reunite.console.problems import missing
from reunite.core.change import Op
from reunite.core.key import Key
from reunite.directory.noting import Act
from reunite.engine.export import COLUMNS, cells, exported
from reunite.engine.history import HistoryEntry, check_filter, trail, with_rows
from reunite.engine.ports import Commit, LogEntry, LogFilter, Transaction
from reunite.engine.undo import UndoReport

# Changes of a commit that are looked at for what a list tells of it, and for its own page.
SUMMARY_CHANGES = 100
COUNTED_CHANGES = 10_000

# Seconds that a list looks through the log for what is rare, and ids at a time.
LOOK_S = 0.12
_WINDOW = 20_000

OPS = ("insert", "update", "delete")


class LogAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of the log."""

    table: str | None = None
    actor: str | None = None
    replica: str | None = None
    op: Literal["insert", "update", "delete"] | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def only(self) -> LogFilter:
        """The same, as the log is asked."""
        return LogFilter(
            table=self.table,
            principal=self.actor,
            replica=self.replica,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether more than a stretch of time is asked for."""
        return any(one is not None for one in (self.table, self.actor, self.replica, self.op))


class ReplicaNamed(msgspec.Struct, frozen=True, kw_only=True):
    """A replica, by name."""

    id: str
    name: str


class CommitItem(msgspec.Struct, frozen=True, kw_only=True):
    """A commit. With `is_partial`, it has more changes than were counted: a list counts the first
    SUMMARY_CHANGES, a commit's own page COUNTED_CHANGES."""

    seq: int
    at_ms: int
    changes: int
    tables: dict[str, int]
    actors: list[str]
    replicas: list[ReplicaNamed]
    is_partial: bool


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A column, before and after."""

    column: str
    old: Any
    new: Any
    is_changed: bool


class ChangeItem(msgspec.Struct, frozen=True, kw_only=True):
    """A change, field by field: of an update those first that are other ones after it."""

    id: int
    seq: int | None
    at_ms: int | None
    table: str
    key: Key
    old_key: Key | None
    op: str
    actor: str | None
    replica: str | None
    replica_name: str | None
    stamp: str | None
    is_erased: bool
    is_rewrite: bool
    fields: list[Field]


class LogPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log; `scanned_to_ms` is how far back it was looked through."""

    items: list[ChangeItem]
    next: str | None
    scanned_to_ms: int | None


class CommitPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some commits; `scanned_to_ms` is how far back it was looked for them."""

    items: list[CommitItem]
    next: str | None
    scanned_to_ms: int | None


class CommitAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which commit."""

    seq: int


class CommitChangesAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which commit's changes."""

    seq: int


# --- Commits --------------------------------------------------------------------------------------


@operation("GET", "commits", READ, "Commits, newest first")
def commits(desk: Desk, given: LogAsked) -> CommitPart:
    """The commits that are meant, or that hold what is meant."""
    desk.hub.number()
    with desk.reading() as tx:
        check_filter(tx, desk.inside.tables, given.only)
        last = _last_seq(tx, given)
        first = _first_seq(tx, given)
        if given.is_filtered:
            return _commits_with(tx, given, first, last)
        # Numbers have no gaps.
        found = [
            one
            for one in tx.commits(after=max(last - given.limit, first - 1), limit=given.limit)
            if one.seq <= last
        ][::-1]
        items = _commit_items(tx, found)
        rest = bool(found) and found[-1].seq > first
        return CommitPart(
            items=items,
            next=str(found[-1].seq) if rest else None,
            scanned_to_ms=found[-1].at_ms if found else None,
        )


def _last_seq(tx: Transaction, given: LogAsked) -> int:
    """The newest commit that may be meant."""
    last = tx.head().seq
    if given.after is not None:
        last = min(last, after_place(given.after) - 1)
    if given.until_ms is not None:
        last = min(last, _seq_at(tx, given.until_ms) - 1)
    return last


def _first_seq(tx: Transaction, given: LogAsked) -> int:
    """The oldest one."""
    oldest = tx.trimmed_seq() + 1
    return oldest if given.since_ms is None else max(oldest, _seq_at(tx, given.since_ms))


def _seq_at(tx: Transaction, at_ms: int) -> int:
    """The first commit of this time or later; the one after the last if there is none. Times grow
    with numbers, so that some twenty reads find it."""
    low, high = tx.trimmed_seq() + 1, tx.head().seq + 1
    while low < high:
        middle = (low + high) // 2
        (one,) = tx.commits(after=middle - 1, limit=1)
        if one.at_ms >= at_ms:
            high = middle
        else:
            low = middle + 1
    return low


def _commits_with(tx: Transaction, given: LogAsked, first: int, last: int) -> CommitPart:
    """The commits that hold changes which are meant."""
    scan = _Scan(tx, given, first, last)
    seqs: dict[int, None] = {}
    for entry in scan:
        if entry.seq is not None:
            seqs[entry.seq] = None
        if len(seqs) > given.limit:
            break
    wanted = list(seqs)[: given.limit]
    found = [commit for seq in wanted if (commit := tx.commit(seq)) is not None]
    rest = len(seqs) > given.limit or not scan.is_over
    following = found[-1].seq if len(seqs) > given.limit else scan.seq_reached
    return CommitPart(
        items=_commit_items(tx, found),
        next=str(following) if rest else None,
        scanned_to_ms=scan.reached_ms,
    )


def _commit_items(
    tx: Transaction, found: Sequence[Commit], *, counted: int = SUMMARY_CHANGES
) -> list[CommitItem]:
    stretches = [
        tx.log(after_id=commit.first_id - 1, until_id=commit.last_id, limit=counted)
        for commit in found
    ]
    names = replica_names(tx, (one.replica for part in stretches for one in part if one.replica))
    return [
        _commit_item(commit, part, names) for commit, part in zip(found, stretches, strict=True)
    ]


def _commit_item(commit: Commit, stretch: Sequence[LogEntry], names: dict[str, str]) -> CommitItem:
    # Others may have written between its changes.
    entries = [entry for entry in stretch if entry.seq == commit.seq]
    is_partial = bool(stretch) and stretch[-1].id < commit.last_id
    return CommitItem(
        seq=commit.seq,
        at_ms=commit.at_ms,
        changes=len(entries),
        tables=dict(Counter(entry.table for entry in entries)),
        actors=list(dict.fromkeys(one.principal for one in entries if one.principal)),
        replicas=[
            ReplicaNamed(id=replica, name=names[replica])
            for replica in dict.fromkeys(one.replica for one in entries if one.replica)
        ],
        is_partial=is_partial,
    )


@operation("GET", "commits/{seq}", READ, "One commit")
def commit(desk: Desk, given: CommitAsked) -> CommitItem:
    """The commit of this number."""
    with desk.reading() as tx:
        found = _known_commit(tx, given.seq)
        return _commit_items(tx, [found], counted=COUNTED_CHANGES)[0]


def _known_commit(tx: Transaction, seq: int) -> Commit:
    found = tx.commit(seq) if seq > tx.trimmed_seq() else None
    if found is None:
        raise missing("There is no such commit in the log, or it was trimmed.")
    return found


@operation("GET", "commits/{seq}/changes", READ, "The changes of a commit, field by field")
def commit_changes(desk: Desk, given: CommitChangesAsked) -> Listed[ChangeItem]:
    """They, in their order."""
    with desk.reading() as tx:
        found = _known_commit(tx, given.seq)
        after = max(after_place(given.after), found.first_id - 1)
        entries = tx.log(after_id=after, until_id=found.last_id, limit=given.limit + 1)
        part = [entry for entry in entries[: given.limit] if entry.seq == given.seq]
        rest = len(entries) > given.limit
        return Listed(
            items=_change_items(desk, tx, part),
            next=str(entries[given.limit - 1].id) if rest else None,
        )


# --- Changes --------------------------------------------------------------------------------------


@operation("GET", "changes", READ, "Changes of all tables, newest first, field by field")
def changes(desk: Desk, given: LogAsked) -> LogPart:
    """Those that are meant. `after` is the id of the change before which to go on."""
    desk.hub.number()
    with desk.reading() as tx:
        check_filter(tx, desk.inside.tables, given.only)
        times = msgspec.structs.replace(given, after=None)
        scan = _Scan(tx, given, _first_seq(tx, times), _last_seq(tx, times))
        if given.after is not None:
            scan.before_id = min(scan.before_id, after_place(given.after))
        found: list[LogEntry] = []
        for entry in scan:
            found.append(entry)
            if len(found) > given.limit:
                break
        part = found[: given.limit]
        following = part[-1].id if len(found) > given.limit else scan.before_id
        rest = len(found) > given.limit or not scan.is_over
        return LogPart(
            items=_change_items(desk, tx, part),
            next=str(following) if rest else None,
            scanned_to_ms=scan.reached_ms,
        )


class _Scan:
    """Looks through the log from its end for what is meant, a bounded time long."""

    def __init__(self, tx: Transaction, given: LogAsked, first: int, last: int) -> None:
        self._tx = tx
        self._op = None if given.op is None else Op(given.op)
        # The stretch of time is in the ids already.
        self._only = msgspec.structs.replace(given.only, since_ms=None, until_ms=None)
        self._limit = given.limit + 1
        self._ends_at = time.monotonic() + LOOK_S
        newest = tx.commit(last) if last > tx.trimmed_seq() else None
        oldest = tx.commit(first) if first <= tx.head().seq else None
        self.before_id = 0 if newest is None else newest.last_id + 1
        self._after_id = tx.last_change_id() if oldest is None else oldest.first_id - 1
        self._first, self._last = first, last
        self.reached_ms = None if newest is None else newest.at_ms

    @property
    def is_over(self) -> bool:
        """Whether all of it was looked through."""
        return self.before_id <= self._after_id + 1

    @property
    def seq_reached(self) -> int:
        """The commit to which it has come, in which there may be more."""
        found = self._tx.log(
            after_id=self._after_id, until_id=self.before_id - 1, limit=1, newest_first=True
        )
        return (found[0].seq or self._first) + 1 if found else self._first

    def __iter__(self) -> Iterator[LogEntry]:
        while not self.is_over:
            after_id = max(self._after_id, self.before_id - 1 - _WINDOW)
            found = self._tx.log(
                after_id=after_id,
                until_id=self.before_id - 1,
                limit=self._limit,
                only=self._only,
                newest_first=True,
            )
            is_full = len(found) == self._limit
            self.before_id = found[-1].id if is_full else after_id + 1
            for entry in found:
                if self._first <= (entry.seq or 0) <= self._last and self._op in (None, entry.op):
                    self.reached_ms = entry.at_ms
                    yield entry
            if time.monotonic() >= self._ends_at:
                self._note_reached()
                return

    def _note_reached(self) -> None:
        found = self._tx.log(after_id=0, until_id=self.before_id - 1, limit=1, newest_first=True)
        if found:
            self.reached_ms = found[0].at_ms


def _change_items(desk: Desk, tx: Transaction, entries: Sequence[LogEntry]) -> list[ChangeItem]:
    return change_items(tx, with_rows(tx, desk.inside.tables, entries))


def change_items(tx: Transaction, entries: Iterable[HistoryEntry]) -> list[ChangeItem]:
    """Changes as they are shown."""
    entries = list(entries)
    names = replica_names(tx, (one.replica for one in entries if one.replica))
    return [
        ChangeItem(
            id=one.id,
            seq=one.seq,
            at_ms=one.at_ms,
            table=one.table,
            key=one.key,
            old_key=one.old_key,
            op=one.op.value,
            actor=one.principal,
            replica=one.replica,
            replica_name=names.get(one.replica or "") or None,
            stamp=one.stamp,
            is_erased=one.is_erased,
            is_rewrite=one.is_rewrite,
            fields=_fields(one),
        )
        for one in entries
    ]


def _fields(one: HistoryEntry) -> list[Field]:
    old, new = one.old or {}, one.row or {}
    if one.op is Op.DELETE:
        new = {}
    names = list(dict.fromkeys((*new, *old)))
    found = [
        Field(
            column=name,
            old=old.get(name),
            new=new.get(name),
            is_changed=old.get(name) != new.get(name),
        )
        for name in names
    ]
    return sorted(found, key=lambda field: not field.is_changed)


# --- Undo, files ----------------------------------------------------------------------------


class UndoAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Undo a commit, or tell what would come of it."""

    seq: int
    dry_run: bool = True


@operation("POST", "commits/{seq}/undo", WRITE, "Put back what a commit changed")
def undo(desk: Desk, given: UndoAsked) -> UndoReport:
    """Undo it, as a new commit."""
    report = desk.hub.undo(given.seq, actor=desk.user, dry_run=given.dry_run)
    if report.commit is not None:
        note(desk, Act("commit.undone", str(given.seq), now={"commit": report.commit}))
    return report


class ExportAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which changes, as what kind of file."""

    format: Literal["csv", "ndjson"] = "csv"
    table: str | None = None
    actor: str | None = None
    replica: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


@operation("GET", "export", READ, "Changes with the rows before and after them, as a file")
def export(desk: Desk, given: ExportAsked) -> Download:
    """All that are meant, oldest first."""
    desk.hub.number()
    only = LogFilter(
        table=given.table,
        principal=given.actor,
        replica=given.replica,
        since_ms=given.since_ms,
        until_ms=given.until_ms,
    )
    with desk.reading() as tx:
        check_filter(tx, desk.inside.tables, only)
    entries = trail(desk.inside.store, desk.inside.tables, only)
    return Download(
        name=f"history.{given.format}",
        media_type="text/csv" if given.format == "csv" else "application/x-ndjson",
        lines=csv_lines(COLUMNS, map(cells, entries))
        if given.format == "csv"
        else exported(entries, given.format),
    )
