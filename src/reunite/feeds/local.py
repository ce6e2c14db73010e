"""The feed inside one process: whoever wakes it calls the listeners."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reunite.engine.news import Feed


class LocalFeed:
    """Reaches the listeners of this object, in the thread that wakes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[object, Callable[[], None]] = {}

    def wake(self) -> None:
        for listener in list(self._listeners.values()):
            listener()

    def waking(self) -> AbstractContextManager[None]:
        return nullcontext()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        place = object()
        with self._lock:
            self._listeners = {**self._listeners, place: listener}
        return lambda: self._end(place)

    def _end(self, place: object) -> None:
        with self._lock:
            self._listeners = {key: each for key, each in self._listeners.items() if key != place}

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def close(self) -> None:
        with self._lock:
            self._listeners = {}


if TYPE_CHECKING:

    def _as_port(feed: LocalFeed) -> Feed:
        return feed
