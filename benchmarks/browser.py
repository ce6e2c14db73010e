"""The browser: a clone into IndexedDB against bare puts; how soon a page shows a write.

Measured by `js/bench/browser.mjs` in Chromium, on pages of a hub in a process of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import standard
from benchmarks.figures import Figure, Settings
from benchmarks.hub_process import HubProcess

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "js" / "bench" / "browser.mjs"

ROWS = 100_000
WATCHED = "watched"
WATCHED_ROWS = 10_000
WRITES = 50

SPEED_MIN = 0.5
FRAME_MS = 1000 / 60
REMOTE_MS_MAX = 30.0


class _Clone(msgspec.Struct, frozen=True):
    measured: float
    limit: float
    rows: int


class _Found(msgspec.Struct, frozen=True):
    """Milliseconds."""

    clones: list[_Clone]
    local: list[float]
    remote: list[float]


def why_missing() -> str | None:
    """Why nothing can be measured here; None if it can."""
    if shutil.which("node") is None or not (ROOT / "js" / "node_modules").exists():
        return "there is no Node, or js/node_modules is missing: run `make setup`"
    if _chromium() is None:
        return "there is no Chromium: install one"
    return None


def run(settings: Settings) -> Iterator[Figure]:
    """All figures of the browser; nothing, and a sentence on stderr, where there is none."""
    reason = why_missing()
    if reason is not None:
        print(f"browser: NOT MEASURED, {reason}", file=sys.stderr)
        return
    rows, watched = settings.scaled(ROWS, 2_000), settings.scaled(WATCHED_ROWS, 500)
    database = settings.folder / "browser.db"
    standard.build(database, rows)
    with closing(standard.connect(database)) as connection:
        (made,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'parcel'"
        ).fetchone()
        connection.execute(made.replace(standard.TABLE, WATCHED))
        connection.execute(f"INSERT INTO {WATCHED} SELECT * FROM parcel WHERE id <= {watched}")
    settings.wait_until_idle()
    with HubProcess(database) as hub:
        found = _measured(settings, hub)
    assert all(clone.rows == rows for clone in found.clones), "all rows are there"
    ratios = [clone.limit / clone.measured for clone in found.clones]
    yield Figure(
        benchmark="browser",
        name=f"clone of {rows:,} rows into IndexedDB",
        unit="ms",
        measured=median(clone.measured for clone in found.clones),
        limit=median(clone.limit for clone in found.clones),
        limit_name="bare puts",
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        aim=SPEED_MIN,
    )
    name = f"local write to callback, {watched:,} rows"
    yield _times(name, found.local, FRAME_MS, "one frame")
    yield _times("a write to callback in another browser", found.remote, REMOTE_MS_MAX, "30 ms")


def _measured(settings: Settings, hub: HubProcess) -> _Found:
    asked = {
        "program": _chromium(),
        "url": hub.url,
        "token": hub.token,
        "large": standard.TABLE,
        "small": WATCHED,
        "rounds": min(settings.rounds, 3),
        "writes": settings.scaled(WRITES, 5),
    }
    command = ["node", str(SCRIPT), msgspec.json.encode(asked).decode()]
    done = subprocess.run(command, cwd=SCRIPT.parent, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=_Found)


def _times(name: str, times_ms: list[float], limit_ms: float, limit: str) -> Figure:
    """The median of some times, beside a time that they should not exceed."""
    ratios = sorted(time_ms / limit_ms for time_ms in times_ms)
    return Figure(
        benchmark="browser",
        name=name,
        unit="ms",
        measured=median(times_ms),
        limit=limit_ms,
        limit_name=limit,
        ratio=median(ratios),
        spread=(ratios[0], ratios[-1]),
        aim=1.0,
        is_ceiling=True,
    )


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)
