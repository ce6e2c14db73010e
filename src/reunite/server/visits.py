"""Visits: what is counted and told of each request, and never what was in it.

    Edge ──► Visit (operation, who, how it ended, bytes, seconds) ──► Counts, and one log record

The rule         no value of a row, no token and no URL with parameters gets here; what a client
                 chose freely is never the name of a counter, so that nobody can make thousands.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import Counter
from typing import Any

from starlette.types import Send

from reunite.core.principal import Principal
from reunite.protocol.codec import decode
from reunite.protocol.push import PushAnswer

# One record for each request that was answered, and for each stream that ended.
access_logger = logging.getLogger("reunite.access")

# Upper bounds, in seconds, of the classes into which answers are counted.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Where a request's visit stands in the scope of the application.
SCOPE_KEY = "reunite.visit"


class Visit:
    """One request, as far as it is known."""

    def __init__(self, method: str, client: str | None) -> None:
        self.method = method
        self.client = client
        self.operation = "unknown"
        self.principal: Principal | None = None
        self.status = 0
        self.code: str | None = None
        self.limit: str | None = None
        self.incident: str | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        # What a stream that has begun may send with: what the layers between add is not for parts.
        self.send_part: Send | None = None
        self.refused: Counter[str] = Counter()
        # Streams and pulls that wait take the time that they are given.
        self.has_waited = False

    def note_push(self, answer: bytes) -> None:
        """Count the changes that a push's answer refuses, by code."""
        if b'"rejected"' in answer:
            outcomes = decode(answer, PushAnswer, bytes_max=None).outcomes
            self.refused.update(outcome.code for outcome in outcomes if outcome.code)


def visit_of(scope: Any) -> Visit:
    """The visit of a request that came through the Edge."""
    visit: Visit = scope[SCOPE_KEY]
    return visit


class Counts:
    """What one application has done since it began. Threads may read it at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.changes_refused: Counter[str] = Counter()
        self.seconds: dict[str, list[int]] = {}
        self.seconds_total: Counter[str] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0

    def note(self, visit: Visit, seconds: float) -> None:
        """A request has been answered."""
        with self._lock:
            self.requests[visit.operation, visit.status] += 1
            if visit.code is not None:
                self.refusals[visit.code, visit.limit or ""] += 1
            self.changes_refused += visit.refused
            self.bytes_in += visit.bytes_in
            self.bytes_out += visit.bytes_out
            if not visit.has_waited:
                classes = self.seconds.setdefault(visit.operation, [0] * (len(SECONDS) + 1))
                classes[bisect_left(SECONDS, seconds)] += 1
                self.seconds_total[visit.operation] += seconds  # type: ignore[assignment]
        if access_logger.isEnabledFor(logging.INFO):
            _tell(visit, seconds)


def _tell(visit: Visit, seconds: float) -> None:
    """One log record: its message for people, its fields as `extra` for programs."""
    who = visit.principal
    fields: dict[str, Any] = {
        "operation": visit.operation,
        "method": visit.method,
        "status": visit.status,
        "code": visit.code,
        "limit": visit.limit,
        "incident": visit.incident,
        "user": None if who is None else who.user,
        "tenant": None if who is None else who.tenant,
        "client": visit.client,
        "seconds": round(seconds, 4),
        "bytes_in": visit.bytes_in,
        "bytes_out": visit.bytes_out,
        "changes_refused": sum(visit.refused.values()) or None,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    level = logging.INFO if visit.status < 400 else logging.WARNING
    access_logger.log(
        level,
        "%s %s %s",
        visit.operation,
        visit.status,
        visit.code or "done",
        # Beside the names that records have of their own.
        extra={f"reunite_{name}": value for name, value in fields.items()},
    )
