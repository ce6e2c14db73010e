"""A feed that looks: for databases that other programs write to and that tell nobody.

    look() said something else     ──► wake, look again soon (`busy_s`)
    the same, again and again      ──► look less often, up to IDLE_S
    somebody here is about to wake ──► wait for that: whoever listens would only be in the way of
                                       who numbers, and find what has no number yet

The rule         it looks only while somebody listens, in a thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reunite.errors import ReuniteError
from reunite.feeds.local import LocalFeed

if TYPE_CHECKING:
    from reunite.engine.news import Feed

# Between two looks while there is news, where a look takes microseconds, and at most. A foreign
# commit is noticed in 100 ms.
BUSY_S = 0.0005
IDLE_S = 0.05

# Between two looks of a feed that others tell of news: for what got lost on the way.
LED_S = 0.5

# How long it waits for who is about to wake.
WAITS_S_MAX = 0.02

# Looks that found nothing before the next pause is longer.
_PATIENCE = 50


class LookingFeed:
    """A `LocalFeed` that also wakes whenever `look` gives another value than before.

    look      cheap, and safe to call from another thread; what it raises (a database that cannot
              be read for the moment) counts as news
    is_led    whether somebody else looks for it at this moment; then it looks every LED_S
    busy_s    between two looks while there is news
    """

    def __init__(
        self,
        look: Callable[[], object],
        *,
        is_led: Callable[[], bool] = lambda: False,
        busy_s: float = BUSY_S,
    ) -> None:
        self._look = look
        self._busy_s = busy_s
        self._is_led = is_led
        self._local = LocalFeed()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._about_to_wake: set[object] = set()
        self._waits_since: float | None = None

    def wake(self) -> None:
        self._local.wake()

    @contextmanager
    def waking(self) -> Iterator[None]:
        # Without the lock, under which `listen` takes a look: nobody who pushes waits for that.
        place = object()
        self._about_to_wake.add(place)
        try:
            yield
        finally:
            self._about_to_wake.discard(place)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            end_local = self._local.listen(listener)
            if self._thread is None:
                self._is_over = threading.Event()
                # What is committed from here on is noticed.
                before = self._glance()
                self._thread = threading.Thread(
                    target=self._run,
                    args=(self._is_over, before),
                    name="reunite-feed",
                    daemon=True,
                )
                self._thread.start()

        def end() -> None:
            end_local()
            self._stop_if_alone()

        return end

    def close(self) -> None:
        self._local.close()
        self._stop_if_alone()

    def _stop_if_alone(self) -> None:
        with self._lock:
            if self._local.has_listeners:
                return
            thread, self._thread = self._thread, None
            self._is_over.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @property
    def has_listeners(self) -> bool:
        return self._local.has_listeners

    def _run(self, is_over: threading.Event, before: object) -> None:
        pause, quiet = self._busy_s, 0
        while not is_over.wait(self._pause_s(pause)):
            if self._waits():
                continue
            now = self._glance()
            if now != before:
                before, pause, quiet = now, self._busy_s, 0
                self._local.wake()
                continue
            quiet += 1
            if quiet >= _PATIENCE:
                pause, quiet = min(pause * 2, IDLE_S), 0

    def _pause_s(self, pause_s: float) -> float:
        """How long until the next look, by this pause of a feed that is not led; one that was left
        out comes soon, however long the pauses have become."""
        wanted_s = LED_S if self._is_led() else pause_s
        return wanted_s if self._waits_since is None else min(wanted_s, WAITS_S_MAX)

    def _waits(self) -> bool:
        """Whether to leave this look out, because of somebody who is about to wake."""
        now = time.monotonic()
        since = now if self._waits_since is None else self._waits_since
        waits = bool(self._about_to_wake) and now - since < WAITS_S_MAX
        self._waits_since = since if waits else None
        return waits

    def _glance(self) -> object:
        try:
            return self._look()
        except ReuniteError:
            return object()


if TYPE_CHECKING:

    def _as_port(feed: LookingFeed) -> Feed:
        return feed
