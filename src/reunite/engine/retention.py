"""Retention: how much of the log may go, and letting it go in small steps.

    find      the last commit that is old enough and was read by every replica seen since   reads
    trim      commits up to it are gone for all readers                                     one row
    sweep     their changes leave the database, so many a transaction                       writes
    forget    records of conflicts and refusals that wait for nobody go, once they are      writes
              older than what is left of the log; open ones stay

The rule         no transaction of a trim grows with the log, so that nobody waits long for the
                 database's one writer (I13). A crash in between leaves work for the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from reunite.engine.ports import Store
from reunite.engine.remembered import (
    DECIDED,
    MERGED,
    SETTLED,
    HubConflictRecord,
    RefusalRecord,
    moment_id,
)
from reunite.errors import StorageUnavailableError

# Commits that are looked at in one read.
_COMMITS_PER_READ = 1_000

# Changes that leave in one transaction.
SWEEP_CHANGES_MAX = 2_000

# Records that leave in one transaction, and those that may, by their states.
FORGET_RECORDS_MAX = 2_000
_DONE = ((HubConflictRecord, MERGED), (HubConflictRecord, DECIDED), (RefusalRecord, SETTLED))

# How often a hub that keeps an age looks for what is old, and how soon it goes on after some.
TRIM_EVERY_MS = 60_000
TRIM_STEP_EVERY_MS = 250


def trim(
    store: Store,
    *,
    older_than_ms: int,
    seen_since_ms: int | None = None,
    pause: Callable[[], None],
) -> int:
    """Remove the commits before `older_than_ms` that every replica has read which was seen since
    `seen_since_ms`, by default since then.

    How many changes went. A replica that has not been seen for longer does not hold the log back:
    it gets a snapshot when it comes again, and keeps its outbox. Records of conflicts and refusals
    that wait for nobody and are older than all that is left go, too. `pause` is called between
    transactions, so that other writers get their turn.
    """
    removed = _let_go(store, older_than_ms=older_than_ms, seen_since_ms=seen_since_ms)
    while _sweep(store) == SWEEP_CHANGES_MAX:
        pause()
    while _forget(store, older_than_ms=older_than_ms) == FORGET_RECORDS_MAX:
        pause()
    return removed


def trim_step(store: Store, *, older_than_ms: int) -> bool:
    """The next small piece of the same; whether there is more to do at once."""
    return (
        _sweep(store) > 0
        or _let_go(store, older_than_ms=older_than_ms) > 0
        or _forget(store, older_than_ms=older_than_ms) > 0
    )


class Keeper:
    """Trims as `trim` does, bit by bit, whenever a step is due; of all hubs of a database one does.

    keep_ms   how old the log may get
    who       tells this hub from the others
    """

    def __init__(self, store: Store, *, keep_ms: int, who: str) -> None:
        self._store = store
        self._keep_ms = keep_ms
        self._who = who
        self._due_ms = 0

    def step(self, now_ms: int) -> None:
        """Do what is due; later, if the database is not available. One call at a time."""
        if 0 < self._due_ms - now_ms <= TRIM_EVERY_MS:
            return
        with suppress(StorageUnavailableError):
            has_more = self._has_job(now_ms) and trim_step(
                self._store, older_than_ms=now_ms - self._keep_ms
            )
            self._due_ms = now_ms + (TRIM_STEP_EVERY_MS if has_more else TRIM_EVERY_MS)

    def _has_job(self, now_ms: int) -> bool:
        with self._store.write() as tx:
            return tx.take_job(
                "trim", who=self._who, now_ms=now_ms, until_ms=now_ms + TRIM_EVERY_MS
            )


def _sweep(store: Store) -> int:
    with store.write() as tx:
        return tx.sweep(limit=SWEEP_CHANGES_MAX)


def _forget(store: Store, *, older_than_ms: int) -> int:
    dropped = 0
    with store.write() as tx:
        left = tx.commits(after=tx.trimmed_seq(), limit=1)
        horizon = moment_id(min([older_than_ms, *(commit.at_ms for commit in left)]))
        for kind, state in _DONE:
            dropped += tx.drop_records(
                kind, before=horizon, limit=FORGET_RECORDS_MAX - dropped, state=state
            )
    return dropped


def _let_go(store: Store, *, older_than_ms: int, seen_since_ms: int | None = None) -> int:
    since_ms = older_than_ms if seen_since_ms is None else seen_since_ms
    until = _old_enough(store, older_than_ms=older_than_ms)
    if until == 0:
        return 0
    with store.write() as tx:
        readers = [record.seen_seq for record in tx.replicas() if record.seen_ms >= since_ms]
        until = min([until, *readers])
        return 0 if until <= tx.trimmed_seq() else tx.trim(until_seq=until)


def _old_enough(store: Store, *, older_than_ms: int) -> int:
    """The last commit that is older, of those that are still there; 0 if none is."""
    found, after = 0, None
    while True:
        with store.read() as tx:
            after = tx.trimmed_seq() if after is None else after
            commits = tx.commits(after=after, limit=_COMMITS_PER_READ)
        old = [commit for commit in commits if commit.at_ms < older_than_ms]
        if old:
            found = after = old[-1].seq
        if len(old) < _COMMITS_PER_READ:
            return found
