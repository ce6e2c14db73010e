"""`reunite sync --watch`: a replica kept live, and what happens told as it happens."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.status import Status

from reunite.cli.screen import counted, emit, out, say
from reunite.interrupts import next_of, terminable
from reunite.replica import LiveReport, Replica

_WORD_BY_PHASE = {
    "connecting": "connecting",
    "live": "live",
    "polling": "live, by pulls that wait: streams do not come through here",
    "offline": "offline",
    "stopped": "stopped",
}


def watch(replica: Replica, *, as_json: bool) -> None:
    """Keep a replica live until Ctrl-C or SIGTERM."""
    news: queue.SimpleQueue[LiveReport] = queue.SimpleQueue()
    with _shown_phase(replica.path, as_json=as_json) as status, terminable():
        try:
            replica.start(on_event=news.put)
            before = ""
            while True:
                report = next_of(news)
                if as_json:
                    emit(report)
                    continue
                for sentence in sentences(report, before):
                    say(f"{datetime.now(UTC).astimezone():%H:%M:%S}  {sentence}")
                before = _line(report)
                if status is not None:
                    status.update(_state(replica.path, report))
        except KeyboardInterrupt:
            replica.stop()
    if not as_json:
        say(f"{replica.path} is not live any more; `reunite sync` goes on where it was.")


def sentences(report: LiveReport, before: str) -> list[str]:
    """What a report tells people who have read that the line was `before`."""
    found = []
    if _line(report) != before and report.phase in ("live", "polling", "offline"):
        found.append(_line(report))
    if report.pushed:
        found.append(f"pushed {counted(report.pushed, 'change')}.")
    if report.pulled:
        found.append(f"pulled {counted(report.pulled, 'row')}.")
    if report.conflicts:
        found.append(f"{counted(report.conflicts, 'conflict')}; see `reunite conflicts`.")
    if report.rejected:
        found.append(
            f"{counted(report.rejected, 'change was', 'changes were')} rejected, undone here and "
            "parked; see `reunite parked`."
        )
    return found


def _line(report: LiveReport) -> str:
    word = _WORD_BY_PHASE[report.phase]
    return f"{word}: {report.error}" if report.error else f"{word}."


def _state(path: Path, report: LiveReport) -> str:
    waiting = f", {counted(report.pending, 'change')} waiting" if report.pending else ""
    soon = f", next attempt in {report.retry_in_s:.0f} s" if report.retry_in_s else ""
    return f"{path.name}: {_WORD_BY_PHASE[report.phase]}{soon}{waiting} — Ctrl-C ends it"


@contextmanager
def _shown_phase(path: Path, *, as_json: bool) -> Iterator[Status | None]:
    """A line at the foot of a terminal."""
    console = out()
    if as_json or not console.is_terminal:
        yield None
        return
    with console.status(f"{path.name}: connecting") as status:
        yield status
