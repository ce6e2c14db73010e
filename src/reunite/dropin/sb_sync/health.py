"""How the project stands, for `health/`: each part is tried, not assumed.

    database    `SELECT 1`                                          fails ──► unhealthy
    cache       what was put in comes out again                     fails ──► degraded
    logging     the log's folder can be written to                  fails ──► degraded
    triggers    every tracked table is captured; looked at now and then
    memory      the machine has some left

What it is not   a place for details: anybody may ask. What is wrong in full, `manage.py reunite
                 doctor` and the log say.
"""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DjangoError

from reunite.contrib.django.conf import setting
from reunite.dropin.sb_sync import logs, memory, monitoring

logger = logging.getLogger("sb_sync")

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"

# How old what this process knows of triggers may be: they are compared text by text.
TRIGGERS_KNOWN_S = 30.0

# Percent of the machine's memory above which it is said to be short.
MEMORY_PERCENT_MAX = 95.0


class _FailedError(Exception):
    """A check that failed, in words for everybody."""


def report() -> dict[str, Any]:
    """`{"status", "timestamp", "checks", "memory_usage", "performance_metrics"}`.

    A check reads "healthy" or "error: …"; memory_usage is in megabytes. Cost: some small queries,
    and the triggers of all tables every TRIGGERS_KNOWN_S.
    """
    checks = {name: _outcome(check) for name, check in _CHECKS.items()}
    is_up = checks["database"] == HEALTHY
    is_well = all(found == HEALTHY for found in checks.values())
    return {
        "status": HEALTHY if is_well else DEGRADED if is_up else UNHEALTHY,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "checks": checks,
        "memory_usage": memory.used_mb(),
        "performance_metrics": monitoring.statistics(days=1) if is_up else None,
    }


def forget() -> None:
    """Look at triggers again when somebody asks next."""
    with _LOCK:
        _TRIGGERS.clear()


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except _FailedError as failed:
        return f"error: {failed}"
    except Exception:
        # The boundary: whatever a part raises is an answer about it, and no answer about the others
        # is lost. Anybody may ask, so that only the log is told what it was.
        logger.warning("The check %s failed.", check.__name__.strip("_"), exc_info=True)
        return "error: it failed; the log says why"
    return HEALTHY


def _database() -> None:
    try:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except DjangoError as error:
        logger.warning("The database does not answer: %s", type(error).__name__)
        raise _FailedError("it does not answer") from error


def _cache() -> None:
    key, value = f"sb_sync:health:{secrets.token_hex(8)}", secrets.token_hex(8)
    try:
        cache.set(key, value, 10)
        found = cache.get(key)
        cache.delete(key)
    except Exception as error:
        # A cache's client raises errors of its own, of which Django knows nothing.
        logger.warning("The cache does not answer: %s", type(error).__name__)
        raise _FailedError("it does not answer") from error
    if found != value:
        raise _FailedError("it does not keep what it is given")


def _logging() -> None:
    if logs.is_the_projects():
        return  # where its lines go is the project's to look after
    folder = logs.folder()
    if not folder.exists():  # it is made with the first line
        folder = next(one for one in folder.absolute().parents if one.exists())
    file = folder / logs.FILE
    try:
        with tempfile.TemporaryFile(dir=folder):
            is_open = not file.exists() or os.access(file, os.W_OK)
    except OSError as error:
        raise _FailedError("its folder cannot be written to") from error
    if not is_open:
        raise _FailedError("its file cannot be written to")


def _triggers() -> None:
    now = time.monotonic()
    with _LOCK:
        if not _TRIGGERS or _TRIGGERS["until"] < now:
            _TRIGGERS.update(until=now + TRIGGERS_KNOWN_S, missing=_uncaptured())
        missing = _TRIGGERS["missing"]
    if missing is None:
        raise _FailedError("nothing is installed: run migrate")
    if missing:
        raise _FailedError(f"{missing} tables are not captured as they should be")


def _uncaptured() -> int | None:
    """How many tables miss triggers; None where there is no hub yet."""
    config, found = apps.get_app_config("reunite"), 0
    for alias in setting("DATABASES"):
        hub = config.hub(alias)
        if not hub.is_installed():
            return None
        found += len(hub.uncaptured())
    return found


def _memory() -> None:
    percent = memory.memory_percent()
    if percent is not None and percent > MEMORY_PERCENT_MAX:
        raise _FailedError("the machine has hardly any left")


_LOCK = threading.Lock()
_TRIGGERS: dict[str, Any] = {}
_CHECKS: Mapping[str, Callable[[], None]] = {
    "database": _database,
    "cache": _cache,
    "logging": _logging,
    "triggers": _triggers,
    "memory": _memory,
}
