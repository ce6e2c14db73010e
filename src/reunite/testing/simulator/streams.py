"""Live streams on the fake wire: the hub's own desk, the replicas' own way to take what comes.

    hub commits ─► round ─► a page for each view ─► outgoing of each stream ─► one event at a time
                                                        └─ busy: it catches up when it has written

What it is       what `server/live.py` and the threads of a replica do, one step after another: when
                 a round comes, how slow a reader is and when a line is cut is up to chance.
What it is not   a server, or a thread: the queue, the desk and the keeping of a page are the real
                 ones' (`engine/live.py`, `replica/live.py`), the waiting is not.
The rule         a stream holds one delivery and no more (I13); what a replica is told of its own
                 changes is of the snapshot of the page that it comes with (I1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from reunite.engine.live import Delivery, LiveDesk, Opened, Watch
from reunite.hub import Hub
from reunite.protocol.codec import decode, encode
from reunite.protocol.limits import LIVE_BYTES_MAX, LIVE_PAGE_BYTES
from reunite.protocol.live import Answered, LiveRequest
from reunite.protocol.pull import Page
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.replica import Replica
from reunite.replica.live import LiveThread, _Line
from reunite.replica.transport import LiveEvent
from reunite.testing.simulator.book import Book, Delivered, InvariantBroken, Snapshot
from reunite.testing.simulator.files import SimulatedFile


@dataclass(kw_only=True, eq=False)
class _Stream:
    file: SimulatedFile
    replica: Replica
    watch: Watch
    thread: LiveThread
    line: _Line
    outgoing: deque[tuple[LiveEvent, Snapshot]] = field(default_factory=deque)
    is_behind: bool = False
    is_ending: bool = False


class FakeStreams:
    """The streams of all files. `hub` is the hub's process as it is now: with another one, all
    lines are broken. `snapshot` is that of the hub's last read."""

    def __init__(
        self, *, hub: Callable[[], Hub], token: str, snapshot: Callable[[], Snapshot], book: Book
    ) -> None:
        self._hub = hub
        self._token = token
        self._snapshot = snapshot
        self._book = book
        self._of: Hub | None = None
        self._desk: LiveDesk | None = None
        self._streams: dict[str, _Stream] = {}

    def _desk_now(self) -> LiveDesk:
        if self._desk is None or self._of is not self._hub():
            self._of = self._hub()
            self._desk = self._of.live()
            self._streams.clear()
        return self._desk

    def open(self, file: SimulatedFile) -> None:
        """Open a file's stream, if it is where one can go on. Raises what the hub does."""
        self.cut(file)
        desk, replica = self._desk_now(), file.opened()
        state = replica._file.state()
        request = LiveRequest(
            protocol=PROTOCOL_VERSION,
            replica=state.replica,
            cursor=state.checkpoint or "",
            tables=state.tables,
            where=state.where,
        )
        opened = desk.open(request, self._hub().authenticate(self._token))
        if opened is None:
            self._book.count("stream refused")
            return
        self._book.count("stream")
        stream = _Stream(
            file=file,
            replica=replica,
            watch=opened.watch,
            thread=LiveThread(replica._live_link(), chance=lambda: 0.0),
            line=_Line(replica=request.replica, after=request.cursor, is_stream=True, opened_s=0.0),
        )
        self._streams[file.label] = stream
        self._take(stream, opened.delivery, opened.answered)

    def round(self) -> None:
        """The hub looks what is new, and offers it to every stream."""
        desk = self._desk_now()
        if not self._streams:
            return
        news = desk.round()
        self._book.count("round")
        for stream in list(self._streams.values()):
            if news.is_over or stream.watch in news.ended:
                stream.is_ending = True
                continue
            view = stream.watch.view.hash
            if view not in news.deliveries:
                self._check_answered(stream)
                continue
            delivery = news.deliveries[view]
            if delivery is None:
                stream.is_ending = True
            elif stream.outgoing or stream.is_behind:
                # Also one that has written all and has not caught up yet: what it missed comes
                # first.
                stream.is_behind = True
                self._book.count("stream behind")
            else:
                self._take(stream, delivery, news.answered.get(stream.watch.replica))
        self._check_watches()

    def write(self, file: SimulatedFile) -> bool:
        """Let one event through; whether there was one. The replica's process may die of it."""
        self._desk_now()
        stream = self._streams.get(file.label)
        if stream is None:
            return False
        if file.replica is not stream.replica:  # its process is gone, and the line with it
            self.cut(file)
            return False
        if not stream.outgoing:
            if stream.is_ending:
                self.cut(file)
            elif stream.is_behind:
                self._catch_up(stream)
                return True
            return False
        event, snapshot = stream.outgoing.popleft()
        self._book.count("event")
        if event.name == "page":
            page = decode(event.data.encode(), Page, bytes_max=None)
            if page.checkpoint:
                file.memory.delivered = Delivered(
                    page=page, replica=stream.watch.replica, snapshot=snapshot
                )
        before = self._book.counts.get("checkpoint", 0)
        goes_on = stream.thread._take(stream.line, event)
        if self._book.counts.get("checkpoint", 0) > before:
            self._book.count("checkpoint of a stream")
        if not goes_on:
            self._book.count("stream left for a pull")
            self.cut(file)
        return True

    def is_open(self, file: SimulatedFile) -> bool:
        """Whether the file holds a stream."""
        self._desk_now()
        return file.label in self._streams

    def read_all(self, file: SimulatedFile) -> None:
        """Let everything through that a stream has to write."""
        while self.write(file):
            pass

    def cut(self, file: SimulatedFile) -> None:
        """The line is cut: what was on its way is lost."""
        stream = self._streams.pop(file.label, None)
        if stream is not None:
            self._desk_now().close([stream.watch])

    def _catch_up(self, stream: _Stream) -> None:
        stream.is_behind = False
        caught: Opened | None = self._desk_now().catch_up(stream.watch)
        if caught is None:
            stream.is_ending = True
        else:
            self._take(stream, caught.delivery, caught.answered)

    def _take(self, stream: _Stream, delivery: Delivery, answered: int | None) -> None:
        """As the server's stream does: pages, and before them what is new of `answered`."""
        stream.watch.cursor = delivery.cursor
        events = [_parsed(event) for event in delivery.events]
        if answered is not None and answered > stream.watch.answered:
            stream.watch.answered = answered
            said = encode(Answered(answered=answered)).decode()
            events.insert(0, LiveEvent(name="answered", data=said))
        elif delivery.is_empty:
            events = []
        snapshot = self._snapshot()
        stream.outgoing.extend((event, snapshot) for event in events)
        size = sum(len(event.data) for event, _ in stream.outgoing)
        if size > LIVE_BYTES_MAX + LIVE_PAGE_BYTES:
            raise InvariantBroken("I13", f"A stream holds {size} bytes for a slow reader.")
        self._check_answered(stream)

    def _check_answered(self, stream: _Stream) -> None:
        expected = self._book.last_n.get(stream.watch.replica, 0)
        if not stream.is_behind and stream.watch.answered != expected:
            raise InvariantBroken(
                "I1",
                f"{stream.file.label}'s stream says answered={stream.watch.answered}; the hub had"
                f" answered {expected}.",
            )

    def _check_watches(self) -> None:
        """What the desk keeps are the watches of open streams."""
        kept = sum(len(watches) for watches in self._desk_now()._watches.values())
        if kept > len(self._streams):
            raise InvariantBroken(
                "I13", f"The hub keeps {kept} watches for {len(self._streams)} streams."
            )


def _parsed(event: bytes) -> LiveEvent:
    lines = dict(line.split(": ", 1) for line in event.decode().splitlines() if line)
    return LiveEvent(name=lines["event"], data=lines["data"])
