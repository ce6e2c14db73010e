"""Figures: what was measured, beside its limit and the aim; and how rounds are timed.

The rule: subject and limit take turns, so that a busy machine slows both; a ratio is the median of
the ratios of the rounds, a time the median of the times.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TypeVar

import msgspec

# How long a patient run waits at a time, how long it looks, and what it calls idle.
PATIENCE_S = 10.0
IDLE_LOOK_S = 0.3
IDLE_SHARE_MIN = 0.85


# Where flushes cost nothing, on systems that have it.
MEMORY_DISK = Path("/dev/shm")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How much to do. `folder` is empty and on the disk that is measured."""

    folder: Path
    is_quick: bool = False
    is_large: bool = False
    is_patient: bool = False
    rounds: int = 5

    def scaled(self, count: int, quick: int) -> int:
        """`count`, or less for a quick look."""
        return quick if self.is_quick else count

    def wait_until_idle(self) -> None:
        """If asked to be patient: until other programs leave the processors alone, or for a while.

        Called before what is timed. A shared machine is never quite idle for long.
        """
        end_s = time.monotonic() + PATIENCE_S
        while self.is_patient and time.monotonic() < end_s:
            idle, total = _processor_ticks()
            time.sleep(IDLE_LOOK_S)
            idle_now, total_now = _processor_ticks()
            if total_now == total or (idle_now - idle) / (total_now - total) >= IDLE_SHARE_MIN:
                return


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    `ratio` is what the aim is about: at least or, with `is_ceiling`, at most. Without an aim the
    line is there to be read beside the others. `spread` is the smallest and the largest ratio.
    """

    benchmark: str
    name: str
    unit: str
    measured: float
    limit: float
    limit_name: str
    ratio: float
    spread: tuple[float, float]
    aim: float | None = None
    is_ceiling: bool = False

    @property
    def is_reached(self) -> bool | None:
        if self.aim is None:
            return None
        return self.ratio <= self.aim if self.is_ceiling else self.ratio >= self.aim


class Spent(msgspec.Struct, frozen=True):
    """What something took: time on the wall, and processor time of this process and the hub's."""

    wall_s: float
    processor_s: float

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall_s + other.wall_s, self.processor_s + other.processor_s)


class Pairs:
    """What a subject and its limit took, round by round."""

    def __init__(self) -> None:
        self.measured: list[Spent] = []
        self.limits: list[Spent] = []

    def add(self, *, measured: Spent, limit: Spent) -> None:
        self.measured.append(measured)
        self.limits.append(limit)

    def speed(self, benchmark: str, name: str, *, limit: str, aim: float | None) -> Figure:
        """How much of the limit's speed the subject has: 1 is as fast, less is slower."""
        measured_s = [spent.wall_s for spent in self.measured]
        limit_s = [spent.wall_s for spent in self.limits]
        return _figure(benchmark, name, limit, measured_s, limit_s, aim, is_ceiling=False)

    def work(self, benchmark: str, name: str, *, limit: str) -> Figure:
        """The same of processor time: what the ratio would be if hub and replica took turns."""
        measured_s = [spent.processor_s for spent in self.measured]
        limit_s = [spent.processor_s for spent in self.limits]
        return _figure(benchmark, name, limit, measured_s, limit_s, None, is_ceiling=False)

    def times(self, benchmark: str, name: str, *, limit: str, aim: float | None) -> Figure:
        """How many times the limit's time the subject takes."""
        measured_s = [spent.wall_s for spent in self.measured]
        limit_s = [spent.wall_s for spent in self.limits]
        return _figure(benchmark, name, limit, measured_s, limit_s, aim, is_ceiling=True)


def _figure(
    benchmark: str,
    name: str,
    limit: str,
    measured_s: list[float],
    limit_s: list[float],
    aim: float | None,
    *,
    is_ceiling: bool,
) -> Figure:
    ratios = [
        measured / at_best if is_ceiling else at_best / measured
        for measured, at_best in zip(measured_s, limit_s, strict=True)
    ]
    return Figure(
        benchmark=benchmark,
        name=name,
        unit="ms",
        measured=median(measured_s) * 1000,
        limit=median(limit_s) * 1000,
        limit_name=limit,
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        aim=aim,
        is_ceiling=is_ceiling,
    )


def _processor_ticks() -> tuple[int, int]:
    """Ticks of all processors so far, idle and in all; nothing where there is no /proc."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return 0, 0
    ticks = [int(word) for word in line.split()[1:]]
    return ticks[3] + ticks[4], sum(ticks)


def timed(work: Callable[[], object], *, others_s: Callable[[], float] = lambda: 0.0) -> Spent:
    """What `work` takes, with no garbage of others to collect meanwhile.

    others_s   the processor time, so far, of another process that works for it
    """
    gc.collect()
    processor_s = time.process_time() + others_s()
    start_s = time.perf_counter()
    work()
    wall_s = time.perf_counter() - start_s
    return Spent(wall_s, time.process_time() + others_s() - processor_s)


First = TypeVar("First")
Second = TypeVar("Second")


def in_turn(
    round_number: int, first: Callable[[], First], second: Callable[[], Second]
) -> tuple[First, Second]:
    """The results of both; who goes first changes from round to round."""
    if round_number % 2:
        late = second()
        return first(), late
    return first(), second()


def numbered_folders(folder: Path, count: int) -> Iterator[tuple[int, Path]]:
    """A fresh folder for each round."""
    for number in range(count):
        path = folder / f"round-{number}"
        path.mkdir()
        yield number, path
