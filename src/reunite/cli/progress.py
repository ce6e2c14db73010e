"""Progress bars of commands that talk to a hub: one bar a phase, rows and rows a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from reunite.cli.screen import counted, err
from reunite.replica import SyncProgress

_WORD_BY_PHASE = {
    "build": "Building",
    "clone": "Cloning",
    "compare": "Comparing",
    "push": "Pushing",
    "pull": "Pulling",
}


class _Rows(ProgressColumn):
    """`120,000 / 336,776 rows`, or without the total where it is not known."""

    def render(self, task: Task) -> Text:
        total = f" / {int(task.total):,}" if task.total else ""
        count = int(task.total or task.completed)
        return Text(f"{int(task.completed):,}{total} row{'' if count == 1 else 's'}")


class _Rate(ProgressColumn):
    """`41,000 rows/s`, over the whole phase so far."""

    def render(self, task: Task) -> Text:
        seconds = task.finished_time if task.finished_time is not None else task.elapsed
        return Text(f"{task.completed / seconds:,.0f} rows/s" if seconds else "", style="dim")


@contextmanager
def progress_bars(label: str) -> Iterator[Callable[[SyncProgress], None]]:
    """Show what a sync does while the block runs; yields the `on_progress` to give it.

    The bars are on stderr, only where that is a terminal, and go away at the end.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        _Rows(),
        _Rate(),
        console=err(),
        transient=True,
        disable=not err().is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def on_progress(news: SyncProgress) -> None:
        if news.phase not in tasks:
            word = _WORD_BY_PHASE.get(news.phase, news.phase)
            tasks[news.phase] = progress.add_task(f"{word} {label}", total=None)
        progress.update(tasks[news.phase], completed=news.rows, total=news.rows_total)

    with progress:
        yield on_progress


@contextmanager
def page_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a copy is while the block runs; yields what to call with pages done and all."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        console=err(),
        transient=True,
        disable=not err().is_terminal,
    )
    task = progress.add_task(label, total=None)

    def on_pages(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    with progress:
        yield on_pages


class Stopwatch:
    """Measures from when it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def rate(self, rows: int) -> str:
        """`368,000 rows in 9.1 s (40,000 rows/s)`."""
        seconds = time.perf_counter() - self._began
        return (
            f"{counted(rows, 'row')} in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f} rows/s)"
        )
