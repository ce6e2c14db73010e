"""Live streams: many connections, one reader of the log.

    feed ──► one round at a time, in a worker thread ──► the same bytes to every stream of a view
    a stream: writes what it was given ─► waits; was it busy meanwhile? ─► catches up by itself

What it is       bytes, timers and connections. What is sent is decided in `engine/live.py`.
The rule         nothing is kept for a stream but what it is writing; one that reads slowly is told
                 the newest state when it has read, never all that was in between.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reunite.core.principal import Principal
from reunite.engine.live import Delivery, Opened, Round, Watch
from reunite.errors import (
    LimitExceededError,
    NotAuthenticatedError,
    ReuniteError,
    StorageUnavailableError,
)
from reunite.protocol.codec import encode
from reunite.protocol.live import EVENT_TYPE, HEARTBEAT, Answered, LiveRequest, Pull, event
from reunite.protocol.problem import problem_from
from reunite.server.asking import Asking
from reunite.server.door import HubDoor
from reunite.server.limits import ServerLimits
from reunite.server.load import Load
from reunite.server.visits import SCOPE_KEY, Visit

Result = TypeVar("Result")

logger = logging.getLogger("reunite.server")

# How often streams are looked after: heartbeats, tokens, the end of the server.
TICK_S = 0.5

# A token that was taken back ends its streams after so long, sooner if the feed tells.
TOKENS_EVERY_S = 5.0
TOKENS_EVERY_S_MIN = 0.5

# Pages wait so long for the answer who may still be here, then go on without it: a revocation that
# comes just before a commit ends its streams before the commit's page, unless the host is slow.
TOKENS_PATIENCE_S = 0.1

# Where nothing concerned a view for so long, its streams are told the newest cursor all the same:
# one that is too old could not go on after a trim of the log.
REFRESH_S = 300.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# After a round that the database refused.
_RETRY_S = 1.0

_HEADERS = {
    # Some proxies gather an answer before they pass it on, and some rewrite it.
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}

_PULL = event("pull", encode(Pull(reason="A stream cannot bring this: pull, then open another.")))
_END = event("pull", encode(Pull(reason="The hub ends its streams: pull, then open another.")))


class Streams:
    """All live streams of one application. Used by one event loop."""

    def __init__(self, hub: HubDoor, limits: ServerLimits, asking: Asking, load: Load) -> None:
        self._hub = hub
        self._load = load
        self._asking = asking
        self._limits = limits
        self._desk = hub.live()
        self._turn = anyio.CapacityLimiter(1)
        self._checks = anyio.CapacityLimiter(1)
        self._check: asyncio.Task[None] | None = None
        self._opening = 0
        self._streams: set[Listener] = set()
        self._by_replica: dict[str, Listener] = {}
        self._by_view: dict[str, set[Listener]] = {}
        self._closed: list[Watch] = []
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._is_draining = False

    async def open(self, request: LiveRequest, principal: Principal, proof: object) -> Response:
        """The answer to a request for a stream. Raises what `LiveDesk.open` does, and
        LimitExceededError."""
        self._check_room()
        self._opening += 1
        leave = self._load.open_stream(principal)
        try:
            opened = await self._in_turn(lambda: self._desk.open(request, principal))
            if opened is None or self._is_draining:
                if opened is not None:
                    self._closed.append(opened.watch)
                leave()
                return Response(_PULL, headers=_HEADERS, media_type=EVENT_TYPE)
        except BaseException:
            leave()
            raise
        finally:
            self._opening -= 1
        stream = LiveStream(self, opened, proof, leave)
        self._add(stream)
        return stream

    async def wait_for_news(
        self, request: LiveRequest, principal: Principal, seconds: float
    ) -> bool:
        """Wait until a stream would have something to say; False if it had nothing for so long.
        Raises what `open` does."""
        self._check_room()
        leave = self._load.open_stream(principal)
        try:
            return await self._wait_for_news(request, principal, seconds)
        finally:
            leave()

    async def _wait_for_news(
        self, request: LiveRequest, principal: Principal, seconds: float
    ) -> bool:
        opened = await self._in_turn(lambda: self._desk.open(request, principal))
        if opened is None:
            return False
        opened.watch.answered = opened.answered
        waiting = WaitingPull(opened.watch)
        if not opened.delivery.is_empty or self._is_draining:
            self._closed.append(opened.watch)
            return True
        self._add(waiting)
        try:
            await asyncio.wait_for(waiting.news.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self.remove(waiting)
        return True

    def drain(self) -> None:
        """End all streams: the server stops. Their clients come again."""
        self._is_draining = True
        for stream in list(self._streams):
            stream.end(_END)

    def standing(self) -> dict[str, int]:
        """Up to which commit each replica on a stream has been sent everything. From any
        thread."""
        head = self._desk.seq
        return {
            stream.watch.replica: max(head, stream.watch.cursor.seq)
            if stream.is_at_the_head
            else stream.watch.cursor.seq
            for stream in list(self._streams)
        }

    @property
    def is_draining(self) -> bool:
        """Whether the server stops."""
        return self._is_draining

    @property
    def count(self) -> int:
        """How many streams and waiting pulls there are."""
        return len(self._streams)

    def _check_room(self) -> None:
        if len(self._streams) + self._opening >= self._limits.streams_max:
            raise LimitExceededError(
                f"The hub has {len(self._streams)} live streams: pull, and try again later.",
                limit="STREAMS_MAX",
            )

    # -- streams ------------------------------------------------------------------------------

    def _add(self, stream: Listener) -> None:
        before = self._by_replica.get(stream.watch.replica)
        if before is not None:
            # The same file has connected again; nobody may be at the other end any more.
            before.end(_END)
        self._streams.add(stream)
        self._by_replica[stream.watch.replica] = stream
        self._by_view.setdefault(stream.watch.view.hash, set()).add(stream)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def remove(self, stream: Listener) -> None:
        """The stream has ended."""
        self._streams.discard(stream)
        self._closed.append(stream.watch)
        if self._by_replica.get(stream.watch.replica) is stream:
            del self._by_replica[stream.watch.replica]
        of_view = self._by_view[stream.watch.view.hash]
        of_view.discard(stream)
        if not of_view:
            del self._by_view[stream.watch.view.hash]
        self._news.set()

    async def catch_up(self, watch: Watch) -> Opened | None:
        """What a stream missed while it was busy."""
        return await self._in_turn(lambda: self._desk.catch_up(watch))

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        """Work at the desk, one call at a time, after it was told who has left."""

        def at_desk() -> Result:
            closed, self._closed = self._closed, []
            self._desk.close(closed)
            return work()

        return await anyio.to_thread.run_sync(at_desk, limiter=self._turn)

    # -- news ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Look after the streams until there are none."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(self._news.set)
            except RuntimeError:
                logger.debug("news came after the end of the loop")

        end = await anyio.to_thread.run_sync(self._hub.feed.listen, tell)
        try:
            await self._look_after(loop)
        except Exception:
            logger.exception("live streams: a failure of the hub; clients connect again")
            for stream in list(self._streams):
                stream.end(_END)
        finally:
            self._task = None
            loop.run_in_executor(None, end)
        if self._streams:
            self._task = loop.create_task(self._run())

    async def _look_after(self, loop: asyncio.AbstractEventLoop) -> None:
        has_news, tokens_at, is_unchecked = True, loop.time(), False
        while self._streams:
            now = loop.time()
            since = now - tokens_at
            is_unchecked = is_unchecked or has_news
            is_due = since > TOKENS_EVERY_S or (is_unchecked and since > TOKENS_EVERY_S_MIN)
            check = found = None
            if is_due and (self._check is None or self._check.done()):
                tokens_at, is_unchecked = now, False
                check = self._check = loop.create_task(self._end_refused())
            if has_news:
                try:
                    found = await self._in_turn(self._desk.round)
                except StorageUnavailableError as exc:
                    logger.warning("live streams: %s", exc)
                    await asyncio.sleep(_RETRY_S)
                    continue
            if check is not None:
                # It went on while the pages were made, and says who is not to have them.
                await asyncio.wait({check}, timeout=TOKENS_PATIENCE_S)
            if found is not None:
                self._distribute(found)
            for stream in list(self._streams):
                stream.beat(loop.time(), self._limits.heartbeat_s)
            if _host_stops():
                self.drain()
            has_news = await self._wait()

    async def _wait(self) -> bool:
        """Wait for news, or a tick; whether there is news."""
        try:
            await asyncio.wait_for(self._news.wait(), TICK_S)
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def _distribute(self, news: Round) -> None:
        if news.is_over:
            for stream in list(self._streams):
                stream.end(_PULL)
            return
        for stream in [each for each in self._streams if each.watch in news.ended]:
            stream.end(_PULL)
        for view, delivery in news.deliveries.items():
            if delivery is None:
                for stream in list(self._by_view.get(view, ())):
                    stream.end(_PULL)
                continue
            for stream in self._by_view.get(view, ()):
                stream.offer(delivery, news.answered.get(stream.watch.replica))

    async def _end_refused(self) -> None:
        """Ask who may still be here, however long that takes: not in the desk's turn, and its own
        task, so that pages go on meanwhile."""
        proofs = {stream.proof for stream in self._streams if stream.proof is not None}
        try:
            refused = await anyio.to_thread.run_sync(
                self._asking.refused, proofs, limiter=self._checks
            )
        except ReuniteError as exc:
            logger.warning("live streams: who asks cannot be checked: %s", exc)
            return
        except Exception:
            logger.exception("live streams: a failure of the hub; clients connect again")
            refused = proofs
        if refused:
            problem = problem_from(NotAuthenticatedError("The token is not valid any more."))
            for stream in [each for each in self._streams if each.proof in refused]:
                stream.end(event("problem", encode(problem)))


class Listener(Protocol):
    """Whoever waits for news of a view."""

    watch: Watch
    proof: object

    def offer(self, delivery: Delivery, answered: int | None) -> None:
        """There is this."""

    def end(self, last: bytes) -> None:
        """There will be nothing more."""

    def beat(self, now: float, heartbeat_s: float) -> None:
        """Time goes by."""

    @property
    def is_at_the_head(self) -> bool:
        """Whether nothing is missing that a round had for it."""


class WaitingPull:
    """A pull that waits until there is something for it; then it reads that by itself."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.proof: object = None  # it is asked for when the pull comes, not while it waits
        self.news = asyncio.Event()

    def offer(self, delivery: Delivery, answered: int | None) -> None:
        if not delivery.is_empty or (answered is not None and answered > self.watch.answered):
            self.news.set()

    def end(self, last: bytes) -> None:
        self.news.set()

    def beat(self, now: float, heartbeat_s: float) -> None:
        pass

    @property
    def is_at_the_head(self) -> bool:
        return not self.news.is_set()


class LiveStream(Response):
    """One stream, as the answer to its request."""

    def __init__(
        self, streams: Streams, opened: Opened, proof: object, leave: Callable[[], None]
    ) -> None:
        super().__init__(headers=_HEADERS, media_type=EVENT_TYPE)
        del self.headers["content-length"]  # nobody knows
        self.watch = opened.watch
        self.proof = proof
        self._streams = streams
        self._leave = leave
        self._ending: bytes | None = None
        self._is_gone = False
        self._is_behind = False
        self._waiter: asyncio.Future[None] | None = None
        self._outgoing: Iterable[bytes] = ()
        self._written_at = 0.0
        self._told_seq = -1
        self._refresh_at: float | None = None
        self._refreshes = False
        # Its first event comes at once: the client sees that the line is open.
        self._take(opened.delivery, opened.answered)

    # -- called between writes ----------------------------------------------------------------

    def offer(self, delivery: Delivery, answered: int | None) -> None:
        """Write this if the stream is waiting; else it catches up when it has written."""
        if self._waiter is None or self._waiter.done():
            self._is_behind = True
            return
        if self._take(delivery, answered):
            self._waiter.set_result(None)

    def end(self, last: bytes) -> None:
        """Write this and end."""
        self._ending = self._ending or last
        self._wake()

    def beat(self, now: float, heartbeat_s: float) -> None:
        """Write a sign of life if nothing has been written for long, and a cursor where none has
        been for very long."""
        if self._waiter is None or self._waiter.done():
            return
        if self._refresh_at is None or now >= self._refresh_at:
            self._refreshes = self._is_behind = self._refresh_at is not None
            self._refresh_at = now + REFRESH_S
            if self._is_behind:
                self._waiter.set_result(None)
        elif now - self._written_at >= heartbeat_s:
            self._outgoing = (HEARTBEAT,)
            self._waiter.set_result(None)

    @property
    def is_at_the_head(self) -> bool:
        return self._waiter is not None and not self._is_behind

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self, delivery: Delivery, answered: int | None) -> bool:
        """Make ready to write; whether there is anything to."""
        events, self.watch.cursor = delivery.events, delivery.cursor
        if answered is not None and answered > self.watch.answered:
            self.watch.answered = answered
            said = event("answered", encode(Answered(answered=answered)))
            events = (said + events[0], *events[1:])
        elif delivery.is_empty and not (self._refreshes and self._told_seq < delivery.cursor.seq):
            return False
        self._refreshes, self._told_seq = False, delivery.cursor.seq
        self._outgoing = events
        return True

    # -- the connection -----------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.ensure_future(_until_gone(receive))
        watching.add_done_callback(self._note_gone)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            visit: Visit | None = scope.get(SCOPE_KEY)
            await self._write((visit and visit.send_part) or send)
        finally:
            watching.cancel()
            self._leave()
            self._streams.remove(self)

    def _note_gone(self, _: object) -> None:
        self._is_gone = True
        self._wake()

    def _is_over(self) -> bool:
        return self._is_gone or self._ending is not None

    async def _write(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_gone:
            outgoing, self._outgoing = self._outgoing, ()
            for part in outgoing:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                self._written_at = loop.time()
                if self._is_over():
                    break
            if self._ending is not None:
                await send({"type": "http.response.body", "body": self._ending})
                return
            if self._is_behind:
                self._is_behind = False
                caught = await self._streams.catch_up(self.watch)
                if caught is None:
                    self.end(_PULL)
                elif not self._is_over():
                    self._take(caught.delivery, caught.answered)
                continue
            self._waiter = loop.create_future()
            await self._waiter
            self._waiter = None


def _host_stops() -> bool:
    """Whether a server that is not ours, in which this application runs, has been told to stop: it
    would wait for streams to end, and has no other way to say so. uvicorn's server is the owner of
    the handlers of its signals."""
    owners = [getattr(signal.getsignal(each), "__self__", None) for each in _SIGNALS]
    return any(getattr(owner, "should_exit", False) is True for owner in owners)


def _until_gone(receive: Receive) -> Coroutine[Any, Any, None]:
    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return wait()
