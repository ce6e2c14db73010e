"""What was found under a stamp: true for as long as the stamp is the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

# Answers that are kept; those that were not asked for longest go.
CACHE_MAX = 10_000

Found = TypeVar("Found")


class StampedCache:
    """Answers by stamp and question. Threads may share it."""

    def __init__(self, *, size_max: int = CACHE_MAX) -> None:
        self._size_max = size_max
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, stamp: str, question: Hashable, find: Callable[[], Found | None]) -> Found | None:
        """What `find` says, asked once. None is not kept: somebody may be there a moment later."""
        key = (stamp, question)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                kept: Found = self._found[key]
                return kept
        found = find()
        if found is not None:
            with self._lock:
                self._found[key] = found
                if len(self._found) > self._size_max:
                    self._found.popitem(last=False)
        return found
