"""The log `sb_sync`: a file that is new every day, of which 30 are kept.

    2024-01-01 12:00:00 - sb_sync - INFO - PUSH request from user ann in Acme: {"items": 1, …}

What it is       a handler for the logger, unless LOGGING of the project has one, and the two lines
                 that requests leave. Processes may share the file: whoever comes first after
                 midnight puts the old one aside, and the others follow.
What it is not   a place for rows: a line has counts, models and names of fields. With
                 SB_SYNC_LOG_BODIES it has values, and never those of fields that look like secrets.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from reunite.core.withheld import looks_secret
from reunite.dropin.sb_sync import conf

NAME = "sb_sync"
FILE = "sb_sync.log"
FILES_KEPT = 30
FORMAT = "%(asctime)s - sb_sync - %(levelname)s - %(message)s"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Characters of a body that a line has at most; models and fields that it names.
BODY_MAX = 10_000
NAMES_MAX = 50
NAME_MAX = 100

HIDDEN = "***"

logger = logging.getLogger(NAME)

_OLD_FILE = re.compile(rf"{re.escape(FILE)}\.\d{{4}}-\d\d-\d\d")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def folder() -> Path:
    """Where the file is: SB_SYNC_LOG_DIR, beside the project if it is no whole path."""
    return Path(getattr(settings, "BASE_DIR", "")) / conf.named("SB_SYNC_LOG_DIR")


def configure() -> None:
    """Give the logger its file, unless LOGGING of the project says what becomes of it."""
    if is_the_projects() or any(isinstance(one, DailyFile) for one in logger.handlers):
        return
    logger.addHandler(DailyFile())
    logger.setLevel("INFO")


def is_the_projects() -> bool:
    """Whether LOGGING of the project names the logger."""
    found = getattr(settings, "LOGGING", None) or {}
    return NAME in found.get("loggers", {})


def note_push(user: Any, organization: Any, items: Sequence[Any], summary: Any) -> None:
    """The line of a push: what `summary_of` its items tells, or all of it where
    SB_SYNC_LOG_BODIES asks for that."""
    told = _body(items) if conf.named("SB_SYNC_LOG_BODIES") else json.dumps(summary)
    _note("PUSH request from user %s in %s: %s", user, organization, told)


def note_pull(user: Any, organization: Any, count: int) -> None:
    """The line of a pull."""
    _note("PULL request completed for user %s in %s: %s records", user, organization, count)


def summary_of(items: Sequence[Any]) -> dict[str, Any]:
    """What may be told of pushed items, without any value: how many there are of each model, and
    the fields that they name. Bounded, whatever is sent."""
    counts: dict[str, int] = {}
    fields: dict[str, dict[str, None]] = {}
    for item in items:
        if not isinstance(item, dict):
            continue
        model = str(item.get("_model", ""))[:NAME_MAX]
        if model not in counts and len(counts) == NAMES_MAX:
            continue
        counts[model] = counts.get(model, 0) + 1
        named = fields.setdefault(model, {})
        if len(named) < NAMES_MAX and not item.keys() <= named.keys():
            named.update(dict.fromkeys(item))
    return {
        "items": len(items),
        "models": {
            model: {
                "count": count,
                "fields": [str(name)[:NAME_MAX] for name in list(fields[model])[:NAMES_MAX]],
            }
            for model, count in counts.items()
        },
    }


def masked(value: Any) -> Any:
    """A body without what its fields that look like secrets hold."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if looks_secret(str(name)) else masked(one) for name, one in value.items()
        }
    return [masked(one) for one in value] if isinstance(value, list) else value


class DailyFile(logging.FileHandler):
    """The file in SB_SYNC_LOG_DIR, made with its first line.

    A folder that cannot be written to loses lines, and never a request: health tells of it.
    """

    def __init__(self) -> None:
        super().__init__(folder() / FILE, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter(FORMAT, TIME_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to the file of the day."""
        try:
            self._turn(_day(record.created))
        except OSError:
            return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: a request fares no worse because its line is lost."""

    def _turn(self, today: str) -> None:
        """Have the file of today open, wherever the settings want it."""
        self.baseFilename = os.path.abspath(folder() / FILE)  # noqa: PTH100 - as logging keeps it
        path = Path(self.baseFilename)
        if self.stream is not None and not _is_same(path, self.stream, today):
            self.stream.close()
            self.stream = None
        if self.stream is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _put_aside(path, today)
            self.stream = self._open()


def _is_same(path: Path, stream: Any, today: str) -> bool:
    """Whether the file that is open is still the one of this name, and of this day."""
    try:
        there, mine = path.stat(), os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    is_same = (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
    return is_same and (there.st_size == 0 or _day(there.st_mtime) == today)


def _put_aside(path: Path, today: str) -> None:
    """Name a file by its day if that is over, and let the oldest go."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    day = _day(found.st_mtime)
    if day == today or found.st_size == 0:
        return
    try:
        # A link is made once or not at all: of two processes, one puts the file aside. What the
        # other writes before it sees that is in yesterday's file, and not lost.
        os.link(path, path.with_name(f"{FILE}.{day}"))
    except FileExistsError:
        return
    path.unlink()
    old = sorted(one for one in path.parent.iterdir() if _OLD_FILE.fullmatch(one.name))
    for one in old[:-FILES_KEPT]:
        one.unlink(missing_ok=True)


def _note(text: str, user: Any, organization: Any, told: Any) -> None:
    if not is_the_projects():
        level = str(conf.value("CORE", "LOG_LEVEL")).upper()
        logger.setLevel(level if level in LEVELS else "INFO")
    logger.info(text, _line(user), _line(organization), told)


def _line(text: Any) -> str:
    """A name, without what would begin another line."""
    return _CONTROL.sub(" ", str(text))


def _body(items: Sequence[Any]) -> str:
    told = json.dumps({"data": masked(list(items))}, default=str)
    return told if len(told) <= BODY_MAX else f"{told[:BODY_MAX]}…"


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at_s))
