"""Python's cyclic garbage collector in a process that only serves a hub.

A push makes tens of thousands of tuples that live for milliseconds and are in no cycle. The
collector looks at them after every 700, and now and then at all modules that were ever imported:
a seventh of a hub's processor time. Here it looks less often, and past what was there before.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# New objects, more than went, after which the collector looks at the young ones.
OBJECTS_MAX = 50_000


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """For the main loop of a process. On leaving, the collector is as it was."""
    former, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(OBJECTS_MAX, former[0]) if former[0] else 0, *former[1:])
    try:
        yield
    finally:
        gc.set_threshold(*former)
        if not frozen:  # else somebody wants some objects to stay so
            gc.unfreeze()
