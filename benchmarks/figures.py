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

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How much to do. `folder` is empty and on the disk that is measured."""

    folder: Path
    is_quick: bool = False
    is_large: bool = False
    rounds: int = 5

    def scaled(self, count: int, quick: int) -> int:
        """`count`, or less for a quick look."""
        return quick if self.is_quick else count


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


class Pairs:
    """The times of a subject and of its limit, in seconds, round by round."""

    def __init__(self) -> None:
        self.measured_s: list[float] = []
        self.limit_s: list[float] = []

    def add(self, *, measured_s: float, limit_s: float) -> None:
        self.measured_s.append(measured_s)
        self.limit_s.append(limit_s)

    def speed(self, benchmark: str, name: str, *, limit: str, aim: float | None) -> Figure:
        """How much of the limit's speed the subject has: 1 is as fast, less is slower."""
        ratios = [
            limit_s / measured_s
            for measured_s, limit_s in zip(self.measured_s, self.limit_s, strict=True)
        ]
        return self._figure(benchmark, name, limit, ratios, aim, is_ceiling=False)

    def times(self, benchmark: str, name: str, *, limit: str, aim: float | None) -> Figure:
        """How many times the limit's time the subject takes."""
        ratios = [
            measured_s / limit_s
            for measured_s, limit_s in zip(self.measured_s, self.limit_s, strict=True)
        ]
        return self._figure(benchmark, name, limit, ratios, aim, is_ceiling=True)

    def _figure(
        self,
        benchmark: str,
        name: str,
        limit: str,
        ratios: list[float],
        aim: float | None,
        *,
        is_ceiling: bool,
    ) -> Figure:
        return Figure(
            benchmark=benchmark,
            name=name,
            unit="ms",
            measured=median(self.measured_s) * 1000,
            limit=median(self.limit_s) * 1000,
            limit_name=limit,
            ratio=median(ratios),
            spread=(min(ratios), max(ratios)),
            aim=aim,
            is_ceiling=is_ceiling,
        )


def timed(work: Callable[[], object]) -> float:
    """How long `work` takes, in seconds, with no garbage of others to collect meanwhile."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(
    round_number: int, first: Callable[[], float], second: Callable[[], float]
) -> tuple[float, float]:
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
