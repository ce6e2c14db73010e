"""`python -m benchmarks [NAME ...]`: measure, print a table, and write JSON if asked."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import (
    browser,
    capture,
    clone,
    dbsync,
    live,
    mobync,
    postgresql,
    pull,
    push,
    repair,
    rules,
    sb_sync,
    writers,
)
from benchmarks.figures import MEMORY_DISK, Figure, Settings

BENCHMARKS: dict[str, Callable[[Settings], Iterator[Figure]]] = {
    "clone": clone.run,
    "push": push.run,
    "pull": pull.run,
    "capture": capture.run,
    "repair": repair.run,
    "rules": rules.run,
    "live": live.run,
    "browser": browser.run,
    "postgresql": postgresql.run,
    "writers": writers.run,
    "mobync": mobync.run,
    "dbsync": dbsync.run,
    "sb_sync": sb_sync.run,
}

# What the largest log and clone need on the memory disk.
ROOM_BYTES_MIN = 4 * 2**30

_MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the figures were measured. `flush_ms`: a small write until the disk has it."""

    python: str
    sqlite: str
    system: str
    processors: int
    load: float
    flush_ms: float


def main(arguments: list[str] | None = None) -> None:
    """Run the named benchmarks, all by default."""
    options = _options(arguments)
    console = Console(stderr=True)
    figures: list[Figure] = []
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="reunite-", dir=options.folder) as temporary:
        surroundings = _surroundings(Path(temporary))
        for name in options.names or BENCHMARKS:
            folder = Path(temporary) / name
            folder.mkdir()
            settings = Settings(
                folder=folder,
                is_quick=options.quick,
                is_large=options.large,
                is_patient=options.patient,
                rounds=options.rounds or (2 if options.quick else 5),
            )
            with console.status(f"measuring {name} …"):
                figures += BENCHMARKS[name](settings)
    _print_table(figures, surroundings, elapsed_s=time.perf_counter() - started_s)
    if options.json is not None:
        answer = {
            "is_quick": options.quick,
            "surroundings": surroundings,
            "figures": [
                {**msgspec.to_builtins(figure), "is_reached": figure.is_reached}
                for figure in figures
            ],
        }
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument(
        "--quick", action="store_true", help="less of everything: to see that it runs"
    )
    parser.add_argument(
        "--large", action="store_true", help="also the memory of a clone of 1,000,000 rows"
    )
    parser.add_argument(
        "--patient", action="store_true", help="wait for moments in which nothing else runs"
    )
    parser.add_argument(
        "--folder", type=Path, default=_default_folder(), help="where to measure: %(default)s"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each measurement")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("measure one round or more")
    return options


def _default_folder() -> Path:
    """The memory disk, if there is one with enough room."""
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free >= ROOM_BYTES_MIN:
        return MEMORY_DISK
    return Path(tempfile.gettempdir())


def _surroundings(folder: Path) -> Surroundings:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return Surroundings(
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        system=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count() or 0,
        load=load,
        flush_ms=_flush_ms(folder),
    )


def _flush_ms(folder: Path) -> float:
    times = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(20):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return median(times) * 1000


def _print_table(figures: list[Figure], surroundings: Surroundings, *, elapsed_s: float) -> None:
    table = Table(caption=_caption(surroundings, elapsed_s), caption_justify="left")
    for title in ("benchmark", "what", "measured", "limit", "of", "ratio", "spread", "aim", "met"):
        is_number = title in {"measured", "limit", "ratio", "aim"}
        table.add_column(title, justify="right" if is_number else "left", no_wrap=True)
    previous = ""
    for figure in figures:
        if previous and figure.benchmark != previous:
            table.add_section()
        table.add_row(
            figure.benchmark if figure.benchmark != previous else "",
            figure.name,
            f"{_number(figure.measured)} {figure.unit}",
            f"{_number(figure.limit)} {figure.unit}",
            figure.limit_name,
            f"{figure.ratio:.2f}",
            f"{figure.spread[0]:.2f} … {figure.spread[1]:.2f}",
            "" if figure.aim is None else f"{'≤' if figure.is_ceiling else '≥'} {figure.aim:.2f}",
            _MARKS[figure.is_reached],
        )
        previous = figure.benchmark
    width = None if sys.stdout.isatty() else 150
    Console(width=width).print(table)


def _caption(surroundings: Surroundings, elapsed_s: float) -> str:
    return (
        f"Python {surroundings.python}, SQLite {surroundings.sqlite}, {surroundings.system}, "
        f"{surroundings.processors} processors, load {surroundings.load:.1f} at the start; "
        f"a flush takes {surroundings.flush_ms:.2f} ms; measured in {elapsed_s:.0f} s"
    )


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
