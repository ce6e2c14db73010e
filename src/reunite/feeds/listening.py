"""A feed over a database that carries words between processes (PostgreSQL's NOTIFY).

    a wake of any process ──► word ──► the lines of all ──► their listeners
    the line with the turn ──► looks often, for what programs commit that tell nobody
    no line (a pooler stands in between, the database restarts) ──► looks often, as `LookingFeed`

Whoever numbers what a look found wakes its feed, and so tells the others: one process a database
looks, and all hear of it.

The rule         a line counts only after the feed's own word came back over it; until then, and
                 when it breaks, the feed looks by itself. Words may get lost, so it never stops
                 looking altogether.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Literal

from reunite.engine.news import Line, Lines
from reunite.errors import ReuniteError
from reunite.feeds.looking import LookingFeed

if TYPE_CHECKING:
    from reunite.engine.news import Feed

logger = logging.getLogger("reunite.feeds")

# How often one asks for the turn: so long nobody looks often after the one who did was killed.
TURN_EVERY_S = 0.25

# After a line broke; and after a pooler was found where a line should be.
RETRY_S = 0.5
POOLED_RETRY_S = 60.0

# Between two looks while there is news: each is a statement on a server.
BUSY_S = 0.002


class ListeningFeed:
    """Reaches the listeners of every process that has such a feed of the same database.

    look     as of `LookingFeed`
    lines    how the processes reach each other

    While somebody listens it has two threads and one connection of its own.
    """

    def __init__(self, look: Callable[[], object], lines: Lines) -> None:
        self._lines = lines
        self._looking = LookingFeed(look, is_led=lambda: self.part == "hears", busy_s=BUSY_S)
        self._word = secrets.token_hex(8)
        self._hears = False
        self._has_turn = False
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._line: Line | None = None
        self._thread: threading.Thread | None = None

    @property
    def part(self) -> Literal["alone", "looks", "hears"]:
        """What it does at this moment: look for itself, look for all, or hear from who looks."""
        if not self._hears:
            return "alone"
        return "looks" if self._has_turn else "hears"

    def wake(self) -> None:
        self._looking.wake()
        # Where the database does not answer, the others look for themselves.
        with suppress(ReuniteError):
            self._lines.tell(self._word)

    def waking(self) -> AbstractContextManager[None]:
        return self._looking.waking()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        end_looking = self._looking.listen(listener)
        with self._lock:
            if self._thread is None:
                self._is_over = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._is_over,), name="reunite-line", daemon=True
                )
                self._thread.start()

        def end() -> None:
            end_looking()
            self._stop_if_alone()

        return end

    def close(self) -> None:
        self._looking.close()
        self._stop_if_alone()

    def _stop_if_alone(self) -> None:
        with self._lock:
            if self._looking.has_listeners:
                return
            thread, self._thread = self._thread, None
            self._is_over.set()
            if self._line is not None:
                self._line.hang_up()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # -- the line -----------------------------------------------------------------------------

    def _run(self, is_over: threading.Event) -> None:
        while not is_over.is_set():
            pause = RETRY_S
            try:
                line = self._lines.open()
                if line is None:
                    pause = POOLED_RETRY_S
                    logger.info("a pooler stands before the database: this process looks by itself")
                else:
                    self._hear(line, is_over)
            except ReuniteError as exc:
                logger.info("looking until there is a line again: %s", exc)
            is_over.wait(pause)

    def _hear(self, line: Line, is_over: threading.Event) -> None:
        """Pass on what the line brings, until it breaks or nobody listens any more."""
        with self._lock:
            self._line = line
            if is_over.is_set():
                line.hang_up()
        try:
            self._lines.tell(self._word)
            asked_at = -math.inf
            while not is_over.is_set():
                words = line.hear(TURN_EVERY_S)
                # Whoever says one's own word has woken the listeners already; but for the first.
                if any(word != self._word or not self._hears for word in words):
                    self._looking.wake()
                self._hears = self._hears or self._word in words
                if self._hears and time.monotonic() - asked_at >= TURN_EVERY_S:
                    self._has_turn, asked_at = line.take_turn(), time.monotonic()
        finally:
            with self._lock:
                self._line = None
            self._hears = self._has_turn = False
            line.close()


if TYPE_CHECKING:

    def _as_port(feed: ListeningFeed) -> Feed:
        return feed
