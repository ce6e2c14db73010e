"""Waiting in the main thread for what may never come, so that Ctrl-C and SIGTERM end it.

Python runs handlers of signals in the main thread, and a wait without a deadline ends for a signal
only if the kernel gave it to that thread. A thread that is being born at that moment may get it
instead: then nothing wakes the main thread, and the program goes on for ever. So waits here look up
every now and then.
"""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

Item = TypeVar("Item")

# So late a signal is heard at most that another thread was given.
LOOK_UP_EVERY_S = 0.5


def wait_for_interrupt() -> NoReturn:
    """Wait until a handler of a signal raises; KeyboardInterrupt, for Ctrl-C."""
    while True:
        time.sleep(LOOK_UP_EVERY_S)


def next_of(items: queue.SimpleQueue[Item]) -> Item:
    """The queue's next item, waiting for it. Raises what a handler of a signal raises."""
    while True:
        try:
            return items.get(timeout=LOOK_UP_EVERY_S)
        except queue.Empty:
            continue


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: KeyboardInterrupt is raised in it."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
