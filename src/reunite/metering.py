"""What a hub notes of its own use: a log of pushes and pulls, figures by time, how far replicas
have been sent.

    push, pull … ──► Use ──► memory ──► every few seconds one transaction: SyncRecord,
                                        SeriesRecord (10 s, 5 min, 1 h), StandingRecord

What it is       bookkeeping beside the work: nothing waits for it, and when the database is busy,
                 it is written a little later.
What it is not   the log of changes, or Prometheus' counters, which begin anew with each process.
The rule         it is off until a console asks for it. Of rows it notes how many, never what was
                 in them; of a pull that brought nothing only that it was.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import msgspec

from reunite.core.change import OutcomeKind
from reunite.core.principal import Principal, tenant_text
from reunite.engine.ports import Clock, Measured, Store, Transaction, WriteTransaction
from reunite.engine.remembered import (
    SeriesRecord,
    StandingRecord,
    SyncRecord,
    moment_id,
)
from reunite.errors import ReuniteError
from reunite.protocol.pull import Page
from reunite.protocol.push import PushAnswer, PushRequest

logger = logging.getLogger("reunite.hub")

# Seconds between two writes of what was noted.
FLUSH_S = 5.0

# Seconds of a point of each series, and for how many seconds they are kept.
GRAINS: Mapping[int, int] = {10: 2 * 3600, 300: 15 * 86_400, 3_600: 2 * 366 * 86_400}

# Uses that the log keeps, and for how long; and how many wait for a write at most.
SYNCS_KEPT_MAX = 100_000
SYNCS_KEPT_MS = 30 * 86_400_000
_WAITING_MAX = 5_000

# Seconds between two looks for what is too old.
_PRUNE_S = 60.0

# Classes of times: the first ends at half a millisecond, each of the others a quarter later.
CLASS_S, CLASS_FACTOR, _CLASS_LAST = 0.0005, 1.25, 60


def class_of(seconds: float) -> int:
    """The class that a time is counted in."""
    if seconds <= CLASS_S:
        return 0
    return min(math.ceil(math.log(seconds / CLASS_S, CLASS_FACTOR) - 1e-9), _CLASS_LAST)


def class_end_ms(number: int) -> float:
    """Where a class ends, in milliseconds."""
    return CLASS_S * 1_000 * CLASS_FACTOR**number


class Figures(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was done of one operation. `classes` has how many took how long."""

    count: int = 0
    errors: int = 0
    changes: int = 0
    refused: int = 0
    rows: int = 0
    rows_max: int = 0
    seconds: float = 0.0
    classes: dict[int, int] = {}

    def add(self, other: Figures) -> None:
        """Count what another one counts, too."""
        for name in ("count", "errors", "changes", "refused", "rows", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rows_max = max(self.rows_max, other.rows_max)
        for number, count in other.classes.items():
            self.classes[number] = self.classes.get(number, 0) + count


class Gauges(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How things stood: bytes of the database, commits that replicas had not been sent."""

    database_bytes: int | None = None
    behind_max: int | None = None
    behind_mean: float | None = None


class Points(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A point of the series, of one process."""

    operations: dict[str, Figures] = {}
    gauges: Gauges | None = None


class SyncDetail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a use of the hub came to."""

    ms: float
    changes: int = 0
    refused: int = 0
    conflicts: int = 0
    rows: int = 0
    tables: dict[str, int] = {}
    packed_bytes: int = 0
    process: str = ""


class Use:
    """One use of the hub: a block, in which it is told what came of it."""

    def __init__(self, meter: Meter, operation: str, principal: Principal, replica: str) -> None:
        self._meter = meter
        self.operation, self.principal, self.replica = operation, principal, replica
        self.changes = self.refused = self.conflicts = self.rows = 0
        self.tables: Mapping[str, int] = {}
        self.packed_bytes = 0
        self.sent_seq: int | None = None
        self._began_at = 0.0

    def note_push(self, request: PushRequest, answer: PushAnswer) -> None:
        """It was a push."""
        self.changes = max(answer.last_n - answer.first_n + 1, 0)
        kinds = Counter(outcome.kind for outcome in answer.outcomes)
        self.refused = kinds[OutcomeKind.REJECTED]
        self.conflicts = sum(len(outcome.conflicts) for outcome in answer.outcomes)
        tables: Counter[str] = Counter()
        for group in request.groups:
            for run in group.runs:
                tables[run.table] += len(run.ids)
        self.tables = tables

    def note_page(self, page: Page, rows_put: Mapping[str, int], seq: int) -> None:
        """It was a pull: `rows_put` are those that the page puts, `seq` where its cursor stands."""
        self.tables = {
            part.table: rows_put.get(part.table, 0) + len(part.deletes) + len(part.evicts)
            for part in page.tables
        }
        self.rows = sum(self.tables.values())
        self.packed_bytes = len(page.pack)
        if page.checkpoint:
            self.sent_seq = seq

    def __enter__(self) -> Self:
        self._began_at = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._meter.note(self, time.perf_counter() - self._began_at, error)


class _NoUse(Use):
    """One that nobody notes."""

    def __init__(self) -> None:
        pass

    def note_push(self, request: PushRequest, answer: PushAnswer) -> None:
        pass

    def note_page(self, page: Page, rows_put: Mapping[str, int], seq: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_NO_USE = _NoUse()


class Meter:
    """Notes the uses of one hub in one process. Threads may share it.

    has_thread    whether a thread of its own writes; without, whoever used the hub does, when it
                  is time: for hosts whose connections belong to their requests
    """

    def __init__(self, store: Store, *, who: str, clock: Clock, has_thread: bool = True) -> None:
        self._store, self._who, self._clock = store, who, clock
        self.has_thread = has_thread
        self.is_on = False
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._syncs: deque[SyncRecord] = deque(maxlen=_WAITING_MAX)
        self._points: dict[tuple[int, int], Points] = {}
        self._sent: dict[str, StandingRecord] = {}
        self._live: list[Callable[[], Mapping[str, int]]] = []
        self._count = 0
        self._pid = 0
        self._stop = threading.Event()
        self._flushed_at = self._pruned_at = -math.inf
        self._sampled_s = 0

    # -- noting -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Note what is done from now on."""
        self.is_on = True

    def watch_streams(self, standing: Callable[[], Mapping[str, int]]) -> None:
        """Ask these live streams, too, up to which commit each replica has been sent."""
        self._live.append(standing)

    def use(self, operation: str, principal: Principal, replica: str = "") -> Use:
        """A block in which the hub is used."""
        return Use(self, operation, principal, replica) if self.is_on else _NO_USE

    def note(self, use: Use, seconds: float, error: BaseException | None) -> None:
        """A use is over."""
        now_ms = self._clock.now_ms()
        code = (
            "" if error is None else error.code if isinstance(error, ReuniteError) else "internal"
        )
        figures = Figures(
            count=1,
            errors=int(bool(code)),
            changes=use.changes,
            refused=use.refused,
            rows=use.rows,
            rows_max=use.rows,
            seconds=seconds,
            classes={class_of(seconds): 1},
        )
        with self._lock:
            self._count += 1
            for grain in GRAINS:
                place = grain, now_ms // 1_000 // grain * grain
                points = self._points.setdefault(place, Points())
                points.operations.setdefault(use.operation, Figures()).add(figures)
            if code or use.operation != "pull" or use.rows or use.packed_bytes:
                self._syncs.append(self._sync(use, seconds, code, now_ms))
            if use.sent_seq is not None:
                self._sent[use.replica] = StandingRecord(
                    replica=use.replica, sent_seq=use.sent_seq, sent_ms=now_ms
                )
        if self.has_thread:
            self._start()
        elif time.monotonic() - self._flushed_at >= FLUSH_S:
            self.flush()

    def _sync(self, use: Use, seconds: float, code: str, now_ms: int) -> SyncRecord:
        detail = SyncDetail(
            ms=round(seconds * 1_000, 2),
            changes=use.changes,
            refused=use.refused,
            conflicts=use.conflicts,
            rows=use.rows,
            tables={table: count for table, count in use.tables.items() if count},
            packed_bytes=use.packed_bytes,
            process=self._who[:8],
        )
        return SyncRecord(
            id=moment_id(now_ms, f"{self._count:08x}", self._who),
            at_ms=now_ms,
            operation=use.operation,
            status="error" if code else "refused" if use.refused else "ok",
            code=code,
            principal=use.principal.user,
            tenant=tenant_text(use.principal),
            replica=use.replica,
            detail=msgspec.json.encode(detail).decode(),
        )

    # -- writing ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what was noted; if the database cannot take it, it is written later."""
        if not self.is_on or not self._flushing.acquire(blocking=False):
            return
        try:
            self._flushed_at = time.monotonic()
            self._flush()
        except ReuniteError as error:
            logger.info("what the hub notes of its use is written later: %s", error)
        finally:
            self._flushing.release()

    def _flush(self) -> None:
        now_ms = self._clock.now_ms()
        now_s = now_ms // 1_000
        self._sample(now_s, now_ms)
        with self._lock:
            syncs = list(self._syncs)
            points = [
                SeriesRecord(
                    grain=grain,
                    at_s=at_s,
                    who=self._who,
                    points=msgspec.json.encode(found).decode(),
                )
                for (grain, at_s), found in self._points.items()
            ]
            sent = dict(self._sent)
        prunes = time.monotonic() - self._pruned_at >= _PRUNE_S
        if syncs or points or sent or prunes:
            with self._store.write() as tx:
                tx.put_records((*syncs, *points, *sent.values()))
                if prunes:
                    _prune(tx, now_ms)
        if prunes:
            self._pruned_at = time.monotonic()
        with self._lock:
            for _ in syncs:
                self._syncs.popleft()
            self._points = {
                (grain, at_s): found
                for (grain, at_s), found in self._points.items()
                if at_s + grain > now_s
            }
            self._sent = {
                name: record for name, record in self._sent.items() if sent.get(name) != record
            }

    def _sample(self, now_s: int, now_ms: int) -> None:
        """How things stand, once for each of the shortest points."""
        at_s = now_s // 10 * 10
        live: dict[str, int] = {}
        for standing in self._live:
            live |= standing()
        with self._lock:
            for name, seq in live.items():
                self._sent[name] = StandingRecord(
                    replica=name, sent_seq=seq, sent_ms=now_ms, is_live=True
                )
            if at_s == self._sampled_s:
                return
            sent = dict(self._sent)
        with self._store.read() as tx:
            gauges = _gauges(tx, sent)
        if isinstance(self._store, Measured):
            gauges.database_bytes = self._store.measure()[1]
        with self._lock:
            self._sampled_s = at_s
            for grain in GRAINS:
                place = grain, now_s // grain * grain
                self._points.setdefault(place, Points()).gauges = gauges

    # -- its thread ---------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin to write now and then; once in each process, also after a fork."""
        if self._pid == os.getpid() or self._stop.is_set():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            threading.Thread(target=self._repeat, name="reunite-meter", daemon=True).start()

    def _repeat(self) -> None:
        while not self._stop.wait(FLUSH_S):
            try:
                self.flush()
            except Exception:
                logger.exception("What the hub notes of its use cannot be written.")

    def stop(self) -> None:
        """Write what is left, and no more. May be called twice."""
        if not self._stop.is_set():
            self._stop.set()
            self.flush()
            self.is_on = False


def _gauges(tx: Transaction, sent: Mapping[str, StandingRecord]) -> Gauges:
    head_seq = tx.head().seq
    known = {one.replica: one.sent_seq for one in tx.records(StandingRecord)}
    known |= {name: max(one.sent_seq, known.get(name, 0)) for name, one in sent.items()}
    behind = [
        max(head_seq - max(record.seen_seq, known.get(record.id, 0)), 0) for record in tx.replicas()
    ]
    if not behind:
        return Gauges()
    return Gauges(behind_max=max(behind), behind_mean=round(sum(behind) / len(behind), 2))


def _prune(tx: WriteTransaction, now_ms: int) -> None:
    """Let go what is too old, or too much."""
    for grain, seconds in GRAINS.items():
        tx.drop_records(SeriesRecord, grain=grain, before=now_ms // 1_000 - seconds)
    tx.drop_records(SyncRecord, before=moment_id(now_ms - SYNCS_KEPT_MS))
    if tx.record_count(SyncRecord, limit=SYNCS_KEPT_MAX + 1) <= SYNCS_KEPT_MAX:
        return
    # The time since which there are as many as stay.
    first, last = now_ms - SYNCS_KEPT_MS, now_ms
    while last - first > 1_000:
        middle = (first + last) // 2
        counted = tx.record_count(SyncRecord, since=moment_id(middle), limit=SYNCS_KEPT_MAX + 1)
        if counted > SYNCS_KEPT_MAX:
            first = middle
        else:
            last = middle
    tx.drop_records(SyncRecord, before=moment_id(last))
