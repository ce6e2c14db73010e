"""Jobs, discovery and the log's own soundness: what keeps a hub going."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

import msgspec

from reunite.console.acts import note
from reunite.console.operations import READ, WRITE, Asked, Desk, Listed, Nothing, operation
from reunite.console.paging import after_place, part_of
from reunite.core.change import Op
from reunite.core.key import Key
from reunite.directory import StoredDirectory
from reunite.directory.noting import TRACKED, UNTRACKED, Act
from reunite.engine.ports import Catalogue, Commit, LogEntry, Transaction
from reunite.errors import BadRequestError, ReuniteError, StorageFaultError, UnknownTableError

# Commits, and changes, that one step of a verification reads.
VERIFIED_COMMITS, VERIFIED_CHANGES = 2_000, 5_000

# Problems that are told of one step.
_PROBLEMS_MAX = 100


class JobItem(msgspec.Struct, frozen=True, kw_only=True):
    """A job of `hub.every`, as the process that answers has it."""

    name: str
    seconds: float


@operation("GET", "jobs", READ, "Periodic work of the process that answers")
def jobs(desk: Desk, given: Asked) -> Listed[JobItem]:
    """The jobs, by name."""
    found = sorted(desk.inside.jobs.all(), key=lambda job: job.name)
    part, following = part_of(found, given.limit, after_place(given.after))
    return Listed(
        items=[JobItem(name=job.name, seconds=job.seconds) for job in part], next=following
    )


# --- Discovery ------------------------------------------------------------------------------------


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A table that is not tracked, and what keeps it from being so, if something does."""

    name: str
    why: str | None
    can_track: bool


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Which tables are tracked, and which are not. `tracks_newcomers`: tables that come are."""

    tracked: list[str]
    left_out: list[LeftOut]
    can_edit: bool
    why_not: str | None
    tracks_newcomers: bool


class TrackAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Track a table, or track it no more."""

    table: str
    track: bool


@operation("GET", "discovery", READ, "Tables that are tracked, and those that are not")
def discovery(desk: Desk, given: Nothing) -> Discovery:
    """The tables as they are now."""
    store = desk.inside.store
    with desk.reading() as tx:
        tables = desk.tables(tx)
        tracked = sorted(tables.schemas)
    left_out = []
    is_host = _is_hosts(desk)
    if isinstance(store, Catalogue):
        for name in sorted(set(store.all_tables()) - set(tracked)):
            try:
                store.reflect(name)
            except ReuniteError as error:
                left_out.append(LeftOut(name=name, why=error.message, can_track=False))
            else:
                left_out.append(LeftOut(name=name, why=None, can_track=not is_host))
    return Discovery(
        tracked=tracked,
        left_out=left_out,
        can_edit=not is_host,
        why_not="The models of the project and its settings say what is tracked."
        if is_host
        else None,
        tracks_newcomers=tables.has_all,
    )


def _is_hosts(desk: Desk) -> bool:
    """Whether the host of the hub says what is tracked."""
    return not isinstance(desk.inside.directory, StoredDirectory)


@operation("POST", "discovery", WRITE, "Track a table, or track it no more; its log stays")
def track(desk: Desk, given: TrackAsked) -> Discovery:
    """Do it, and tell how it is then."""
    if _is_hosts(desk):
        raise BadRequestError("The models of the project say what is tracked.", path="table")
    store = desk.inside.store
    if given.track and isinstance(store, Catalogue) and given.table not in store.all_tables():
        raise UnknownTableError(f"The database has no table {given.table!r}.", path="table")
    if given.track:
        desk.hub.track(given.table)
    else:
        desk.hub.untrack(given.table)
    note(desk, Act(TRACKED if given.track else UNTRACKED, given.table))
    desk.inside.wake()
    return discovery(desk, Nothing())


# --- The log --------------------------------------------------------------------------------------


class VerifyAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Look at the commits after this one; at the first ones for 0."""

    after_seq: int = 0


class LogProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is not as it should be, in which commit."""

    seq: int
    text: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How many commits and changes were looked at, and where to go on; null at the end."""

    checked: int
    changes: int
    next: int | None
    head: int
    problems: list[LogProblem]


@operation("POST", "verify", READ, "Look whether the log is whole, a part at a time")
def verify(desk: Desk, given: VerifyAsked) -> Verified:
    """Look at some commits: that none is missing, that each has as many changes as it was made
    with, that times grow, and that each row is there, or not, as its last change says. What
    values the log and the rows have is not looked at."""
    desk.hub.number()
    with desk.reading() as tx:
        head = tx.head().seq
        after = max(given.after_seq, tx.trimmed_seq())
        found = tx.commits(after=after, limit=VERIFIED_COMMITS)
        commits, entries, odd = _entries(tx, found)
        problems = [
            *_commit_problems(after, head, commits),
            *odd,
            *_row_problems(desk, tx, entries),
        ]
    last = commits[-1].seq if commits else head
    return Verified(
        checked=len(commits),
        changes=len(entries),
        next=last if last < head else None,
        head=head,
        problems=problems[:_PROBLEMS_MAX],
    )


def _entries(
    tx: Transaction, found: Sequence[Commit]
) -> tuple[list[Commit], list[LogEntry], list[LogProblem]]:
    """Whole commits, up to so many changes, and these; of one that is larger the first ones. And
    those that lack changes, or whose changes cannot be read."""
    if not found:
        return [], [], []
    first_id = min(one.first_id for one in found)
    last_id = max(one.last_id for one in found)
    try:
        read = tx.log(after_id=first_id - 1, until_id=last_id, limit=VERIFIED_CHANGES)
    except StorageFaultError:
        return _one_by_one(tx, found)
    reached = read[-1].id if len(read) == VERIFIED_CHANGES else last_id
    # On some databases the ids of commits run beside each other.
    commits = list(takewhile(lambda one: one.last_id <= reached, found))
    if not commits:
        return _one_by_one(tx, found[:1])
    known = {one.seq for one in commits}
    entries = [entry for entry in read if entry.seq in known]
    counts = Counter(entry.seq for entry in entries)
    return commits, entries, [odd for one in commits if (odd := _lacking(one, counts[one.seq]))]


def _one_by_one(
    tx: Transaction, found: Sequence[Commit]
) -> tuple[list[Commit], list[LogEntry], list[LogProblem]]:
    """The same, each commit read by itself, until there are so many changes."""
    commits: list[Commit] = []
    entries: list[LogEntry] = []
    problems = []
    for one in found:
        count, after_id = 0, one.first_id - 1
        commits.append(one)
        try:
            while part := tx.log(after_id=after_id, until_id=one.last_id, limit=VERIFIED_CHANGES):
                own = [entry for entry in part if entry.seq == one.seq]
                count, after_id = count + len(own), part[-1].id
                entries += own[: max(0, VERIFIED_CHANGES - len(entries))]
        except StorageFaultError as error:
            problems.append(LogProblem(seq=one.seq, text=error.message))
        else:
            problems += [odd] if (odd := _lacking(one, count)) else []
        if len(entries) >= VERIFIED_CHANGES:
            break
    return commits, entries, problems


def _lacking(commit: Commit, count: int) -> LogProblem | None:
    if count == commit.changes:
        return None
    text = f"Commit {commit.seq} was made with {commit.changes} changes, and has {count}."
    return LogProblem(seq=commit.seq, text=text)


def _commit_problems(after: int, head: int, found: list[Commit]) -> list[LogProblem]:
    problems = []
    former: Commit | None = None
    for number, one in enumerate(found, after + 1):
        if one.seq != number:
            problems.append(LogProblem(seq=number, text=f"Commit {number} is missing."))
            break
        if one.first_id > one.last_id or not one.nonce:
            problems.append(LogProblem(seq=one.seq, text=f"Commit {one.seq} is damaged."))
        if former is not None and one.at_ms < former.at_ms:
            problems.append(
                LogProblem(seq=one.seq, text=f"Commit {one.seq} is older than the one before it.")
            )
        former = one
    if not found and after < head:
        problems.append(LogProblem(seq=after + 1, text=f"Commit {after + 1} is missing."))
    return problems


def _row_problems(desk: Desk, tx: Transaction, entries: list[LogEntry]) -> list[LogProblem]:
    """Rows whose last change is among these and which are there, or not, against what it says."""
    schemas = desk.tables(tx).schemas
    last: dict[tuple[str, Key], LogEntry] = {}
    for entry in entries:
        if entry.table in schemas and not entry.is_erased:
            last[entry.table, entry.key] = entry
    problems = []
    by_table: dict[str, list[Key]] = {}
    for name, key in last:
        by_table.setdefault(name, []).append(key)
    for name, keys in by_table.items():
        rows = tx.rows(name, keys)
        odd = [key for key in keys if (key in rows) == (last[name, key].op is Op.DELETE)]
        if not odd:
            continue
        first_id = min(last[name, key].id for key in odd)
        later = {
            key
            for entry in tx.entries(name, odd, after_id=first_id)
            for key in (entry.key, entry.old_key)
            if key is not None and (name, key) in last and entry.id > last[name, key].id
        }
        for key in odd:
            if key in later:
                continue  # something came after it
            entry = last[name, key]
            said = "deleted, and is there" if entry.op is Op.DELETE else "written, and is not there"
            problems.append(
                LogProblem(
                    seq=entry.seq or 0,
                    text=f"A row of {name} was last {said}: see `reunite doctor`.",
                )
            )
    return problems
