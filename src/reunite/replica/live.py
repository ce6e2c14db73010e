"""Live: a thread that keeps a replica and its hub together while there is a line between them.

    sync ──► open a stream ──► its pages, as they come ──► the line breaks, or the hub says: pull
      ▲          │                 local writes: push                  │
      │          └─ none comes through (a proxy gathers it): pulls that wait
      └───────────────── after a pause by chance, longer each time ◄───┘

What it is       who calls the driver, and when. A page of a stream is taken by `Driver.keep`, as
                 one that was pulled.
What it is not   a second way to sync: whatever is out of the ordinary (another schema, an identity
                 that was lost, a page that does not follow) ends in an ordinary sync.
The rule         one thread does all that touches the file. The one that reads the stream only
                 hands over events, at most QUEUE_MAX of them; then the hub has to wait.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from reunite.errors import HubUnreachableError, ReuniteError
from reunite.protocol.codec import decode, encode
from reunite.protocol.live import Answered, LiveRequest
from reunite.protocol.problem import Problem, error_from
from reunite.protocol.pull import Page
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.replica import generations
from reunite.replica.conversation import Conversation
from reunite.replica.driver import Driver
from reunite.replica.lost import LOST_IDENTITY
from reunite.replica.pages import InboxDamagedError, brings_nothing, fits
from reunite.replica.reports import LiveReport, SyncReport
from reunite.replica.state import State
from reunite.replica.transport import EventStream, LiveEvent, LiveTransport, Transport
from reunite.replica.watching import FileWatch

if TYPE_CHECKING:
    from reunite.replica.file import ReplicaFile

logger = logging.getLogger("reunite.replica")

# How often the file is looked at for what other programs wrote.
LOOK_S = 0.05

# Pauses are drawn between 0 and this, doubled with each failure in a row, up to the longest.
PAUSE_S = 0.1
PAUSE_S_MAX = 30.0

# A stream's first event comes at once. Without it something on the way gathers the answer.
FIRST_EVENT_S = 10.0

# How long a pull waits at the hub where a stream does not come through, and when the next stream
# is tried.
WAIT_S = 25
STREAM_AGAIN_S = 600.0

# A hub that answers a waiting pull at once is asked no more often than this.
_POLL_EVERY_S = 1.0

# Events that wait for the thread that applies them.
QUEUE_MAX = 4

# A wall clock that ran on by so much without us: the machine slept, and lines did not survive.
SLEPT_S = 30.0

# Between two pushes if the first one had nothing that could be sent.
_PUSH_AGAIN_S = 1.0

# How long the checkpoint of what was pushed may take on the stream before it is pulled.
_SETTLE_S = 1.0

OnLive: TypeAlias = Callable[[LiveReport], None]


class LiveLink(msgspec.Struct, frozen=True, kw_only=True):
    """What the thread asks of its replica. `run` holds the sync lock and notes errors."""

    file: ReplicaFile
    transport: Callable[[], Transport]
    conversation: Callable[[], Conversation]
    driver: Callable[[], Driver]
    run: Callable[[Callable[[Driver], SyncReport]], SyncReport]
    note_local: Callable[[set[str]], None]
    now_ms: Callable[[], int]


class _Ended(msgspec.Struct, frozen=True):
    """The stream has ended: as the hub wished, or with an error."""

    line: object
    error: BaseException | None = None


class _Came(msgspec.Struct, frozen=True):
    """An event, or the answer to a pull that waited."""

    line: _Line
    event: LiveEvent | Page


class _Line(msgspec.Struct, kw_only=True, eq=False):
    """An open line to the hub, of the file as `replica`. `after` is the cursor that its next page
    follows."""

    replica: str
    after: str
    is_stream: bool
    opened_s: float
    stream: EventStream | None = None
    answered: int | None = None
    has_spoken: bool = False
    is_over: bool = False
    room: threading.Semaphore = msgspec.field(
        default_factory=lambda: threading.Semaphore(QUEUE_MAX)
    )

    def hold(self, stream: EventStream) -> None:
        """From the thread that opened it, perhaps too late."""
        self.stream = stream
        if self.is_over:
            stream.close()

    def close(self) -> None:
        self.is_over = True
        # Whoever waits for room holds a connection, which is wanted.
        self.room.release()
        if self.stream is not None:
            self.stream.close()


class LiveThread:
    """Keeps one replica live from `start` to `stop`.

    chance      what draws pauses, in [0, 1)
    monotonic   seconds that go on by themselves
    """

    def __init__(
        self,
        link: LiveLink,
        *,
        on_event: OnLive | None = None,
        chance: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._on_event = on_event
        self._chance = chance
        self._monotonic = monotonic
        # Wakes and wishes are few; what a stream brings is bounded by the room of its line.
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._over = threading.Event()
        self._has_new_wish = False
        self._push_at = 0.0
        self._failures = 0
        self._stream_at = 0.0
        self._wishes: list[tuple[threading.Event, float]] = []
        self._watch: FileWatch | None = None
        self._thread = threading.Thread(target=self._main, name="reunite-live", daemon=True)
        self.report = LiveReport(phase="connecting")

    # -- called by others ---------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; returns when the step under way is done."""
        self._over.set()
        self._inbox.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def nudge(self) -> None:
        """Something was written here."""
        self._inbox.put(None)

    def wait_until_synced(self, timeout_s: float) -> bool:
        """Wait for a moment in which hub and file had told each other everything."""
        is_done = threading.Event()
        self._inbox.put((is_done, self._monotonic()))
        return is_done.wait(timeout_s)

    # -- the thread ---------------------------------------------------------------------------

    def _main(self) -> None:
        with FileWatch(self._link.file.path) as self._watch:
            while not self._over.is_set():
                pause_s = 0.0
                try:
                    self._sync()
                    self._hold()
                except Exception as exc:
                    if not isinstance(exc, ReuniteError):
                        logger.exception("the live thread of %s failed", self._link.file.path)
                    pause_s = self._pause_s(exc)
                    self._tell(phase="offline", error=str(exc), retry_in_s=pause_s)
                self._pause(pause_s)
        self._tell(phase="stopped")

    def _pause_s(self, error: BaseException | None) -> float:
        """How long to wait after another failure: by chance, so that replicas do not all come
        back in the same moment."""
        self._failures += 1
        most = min(PAUSE_S * 2.0 ** min(self._failures, 20), PAUSE_S_MAX)
        at_least = error.retry_after_s if isinstance(error, HubUnreachableError) else None
        return self._chance() * most + (at_least or 0.0)

    def _pause(self, pause_s: float) -> None:
        until = self._monotonic() + pause_s
        while not self._over.is_set():
            left = until - self._monotonic()
            if left <= 0 or self._has_new_wish:
                return
            self._next(left)

    def _next(self, timeout_s: float) -> object:
        """What comes next, None after the time; wishes are noted on the way."""
        try:
            item = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, _Came):
            item.line.room.release()
        if isinstance(item, tuple):
            self._wishes.append(item)
            self._has_new_wish = True
        return item

    def _sync(self) -> None:
        """An ordinary sync; wishes from before it are fulfilled."""
        wishes, self._wishes, self._has_new_wish = self._wishes, [], False
        try:
            report = self._link.run(lambda driver: driver.sync())
        except BaseException:
            self._wishes = wishes + self._wishes
            raise
        for is_done, _ in wishes:
            is_done.set()
        self._tell(report=report)

    # -- a line -------------------------------------------------------------------------------

    def _hold(self) -> None:
        """Keep a line until it ends. Raises what broke it."""
        if self.report.phase == "offline":
            self._tell(phase="connecting", error="", retry_in_s=None)
        line = self._open()
        slept = self._slept_s()
        try:
            while not self._over.is_set():
                self._push_what_was_written()
                if self._wishes and self._is_time_to_check():
                    self._sync()
                    if self._link.file.state().checkpoint != line.after:
                        return
                item = self._next(LOOK_S)
                if isinstance(item, _Came) and item.line is line:
                    if not self._take(line, item.event):
                        self._pause(self._pause_s(None) if line.stream else 0.0)
                        return
                elif isinstance(item, _Ended) and item.line is line:
                    if item.error is not None:
                        raise item.error
                    self._pause(self._pause_s(None))
                    return
                if self._slept_s() - slept > SLEPT_S:
                    return
                if self._is_held_up(line):
                    return
        finally:
            line.close()

    def _slept_s(self) -> float:
        return self._link.now_ms() / 1_000 - self._monotonic()

    def _is_held_up(self, line: _Line) -> bool:
        """Whether a stream that was asked for does not come through, or it is time to try one."""
        now = self._monotonic()
        if not line.is_stream:
            return now > self._stream_at
        if line.has_spoken or now - line.opened_s <= FIRST_EVENT_S:
            return False
        self._stream_at = now + STREAM_AGAIN_S
        return True

    def _open(self) -> _Line:
        now, transport = self._monotonic(), self._link.transport()
        can_stream = isinstance(transport, LiveTransport)
        state = self._link.file.state()
        line = _Line(
            replica=state.replica,
            after=state.checkpoint or "",
            is_stream=can_stream and now >= self._stream_at,
            opened_s=now,
        )
        if line.is_stream:
            self._start(self._read, line)
        else:
            self._stream_at = max(self._stream_at, now + (0.0 if can_stream else STREAM_AGAIN_S))
            self._tell(phase="polling", error="", retry_in_s=None)
            self._start(self._ask_and_wait, line)
        return line

    def _start(self, work: Callable[[_Line], None], line: _Line) -> None:
        def in_thread() -> None:
            try:
                work(line)
                self._inbox.put(_Ended(line))
            except Exception as exc:
                self._inbox.put(_Ended(line, exc))

        threading.Thread(target=in_thread, name="reunite-stream", daemon=True).start()

    def _read(self, line: _Line) -> None:
        transport, state = self._link.transport(), self._link.file.state()
        assert isinstance(transport, LiveTransport)
        stream = transport.live(
            LiveRequest(
                protocol=PROTOCOL_VERSION,
                replica=line.replica,
                cursor=line.after,
                tables=state.tables,
                where=state.where,
            )
        )
        if stream is None:
            self._stream_at = self._monotonic() + STREAM_AGAIN_S
            return
        line.hold(stream)
        for event in stream:
            if not self._hand_over(line, event):
                return

    def _ask_and_wait(self, line: _Line) -> None:
        """Pulls that wait at the hub, until one has brought something."""
        transport, hub = self._link.transport(), self._link.conversation()
        while not self._over.is_set() and not line.is_over:
            asked_s, state = self._monotonic(), self._link.file.state()
            line.replica = state.replica
            request = hub.pull_request(state, wait_s=WAIT_S)
            page = decode(transport.call("pull", encode(request)), Page, bytes_max=None)
            if brings_nothing(page, state):
                self._over.wait(max(0.0, _POLL_EVERY_S - (self._monotonic() - asked_s)))
                continue
            self._hand_over(line, page)
            return

    def _hand_over(self, line: _Line, came: LiveEvent | Page) -> bool:
        """Wait for room and put it there; False if nobody wants it any more."""
        while not line.room.acquire(timeout=1.0):
            if self._over.is_set():
                return False
        if line.is_over:
            return False
        self._inbox.put(_Came(line, came))
        return True

    # -- what comes ---------------------------------------------------------------------------

    def _take(self, line: _Line, came: LiveEvent | Page) -> bool:
        """Take what the line brought; whether it goes on."""
        if isinstance(came, Page):
            self._keep(line, came)
            return False
        if came.name in ("answered", "page") and not line.has_spoken:
            line.has_spoken, self._failures = True, 0
            self._tell(phase="live", error="", retry_in_s=None)
        if came.name == "answered":
            line.answered = decode(came.data.encode(), Answered).answered
        elif came.name == "page":
            page = decode(came.data.encode(), Page, bytes_max=None)
            if page.checkpoint:
                page = msgspec.structs.replace(page, answered=line.answered)
            return self._keep(line, page)
        elif came.name == "pull":
            return False
        elif came.name == "problem":
            raise error_from(decode(came.data.encode(), Problem))
        return True

    def _keep(self, line: _Line, page: Page) -> bool:
        with self._link.file.sync_lock():
            driver, state = self._link.driver(), self._link.file.state()
            # Meanwhile another process may have given the file another identity, whose numbers the
            # page does not speak of.
            if state.replica != line.replica or not follows(state, page, line.after):
                return False
            if brings_nothing(page, state):
                line.after = page.cursor
                return True
            try:
                has_taken = driver.keep(page, line.after)
            except (*LOST_IDENTITY, InboxDamagedError):
                return False
            line.after = page.cursor
            report = driver.report()
        if page.checkpoint:
            self._tell(report=report)
        return has_taken

    def _is_time_to_check(self) -> bool:
        """Whether wishes are to be fulfilled now: nothing is pending, or it takes too long."""
        assert self._watch is not None
        return not self._watch.has_pending() or (self._monotonic() - self._wishes[0][1] > _SETTLE_S)

    def _push_what_was_written(self) -> None:
        assert self._watch is not None
        written = self._watch.written()
        if written is None:
            return
        if written.tables:
            self._link.note_local(written.tables)
        if written.has_unsent and self._monotonic() >= self._push_at:
            report = self._link.run(_push)
            if not report.pushed:
                # What cannot be sent for now must not be tried all the time.
                self._push_at = self._monotonic() + _PUSH_AGAIN_S
            self._tell(report=report)

    def _tell(self, *, report: SyncReport | None = None, **changes: Any) -> None:
        fields: dict[str, Any] = {"pushed": 0, "pulled": 0, "rejected": 0, "conflicts": 0}
        if report is not None:
            fields = {name: getattr(report, name) for name in (*fields, "pending")}
        before = self.report
        self.report = msgspec.structs.replace(self.report, **fields, **changes)
        has_done = any(fields[name] for name in ("pushed", "pulled", "rejected", "conflicts"))
        if self._on_event is not None and (has_done or self._line_of(before) != self._line_of()):
            try:
                self._on_event(self.report)
            except Exception:
                logger.exception("a function that watches a replica failed")

    def _line_of(self, report: LiveReport | None = None) -> tuple[object, ...]:
        found = report or self.report
        return found.phase, found.error, found.retry_in_s, found.pending


def _push(driver: Driver) -> SyncReport:
    driver.push()
    return driver.report()


def follows(state: State, page: Page, after: str) -> bool:
    """Whether a page that came without being asked for can be taken as it is; else a sync sees to
    whatever has happened."""
    if state.cursor != after or state.resend_n > state.known_n:
        return False
    if not page.checkpoint:
        return fits(page, state.schemas, state.revision)
    return (
        page.answered is not None
        and page.answered <= max(state.known_n, *(o.n for o in page.outcomes), 0)
        and fits(page, state.schemas, state.revision)
        and not generations.gaps(state, page)
    )
