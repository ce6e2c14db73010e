"""What worlds beside the shop's have in common: chance, faults on the wire, and what is told of it.

The rule         chance is made anew from the seed with each step; what is told draws none.
"""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path

from reunite.errors import ReuniteError
from reunite.testing.wire import Fault, Request, SeededFaults, WireObserver

LINES_MAX = 400


class TellingWorld(WireObserver):
    """A run that keeps its last lines, and counts what happened."""

    def __init__(self, *, seed: int, folder: Path) -> None:
        self.folder = folder
        self.step = 0
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.counts: dict[str, int] = {}
        self._seed = seed
        self._is_calm = True
        self._chance = random.Random(seed)

    def refused(self, request: Request, error: ReuniteError) -> None:
        self._count(f"refused {error.code}")
        self._log(f"{request.label}: {request.operation} refused: {error.code} {error.message}")

    def _choose_fault(self, request: Request) -> Fault:
        fault = Fault.NONE if self._is_calm else SeededFaults(chance=self._chance)(request)
        if fault is not Fault.NONE:
            self._count(f"fault {fault}")
            self._log(f"{request.label}: {request.operation}: {fault}")
        return fault

    def _log(self, line: str) -> None:
        self.lines.append(f"{self.step:4}  {line}")

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
