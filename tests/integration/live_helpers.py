"""Waiting for what happens in other threads: by condition, with a deadline, without sleeping."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reunite import LiveReport, Replica
from tests.patience import DEADLINE_S


class Seen:
    """What a live replica told, and waits for it. Give it as `on_event` and to `watch`."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.reports: list[LiveReport] = []
        self.changes: list[str] = []

    def __call__(self, report: LiveReport) -> None:
        with self._news:
            self.reports.append(report)
            self._news.notify_all()

    def changed(self, table: str) -> None:
        with self._news:
            self.changes.append(table)
            self._news.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition that something reported makes true."""
        with self._news:
            assert self._news.wait_for(condition, timeout=DEADLINE_S), self.reports[-5:]

    def until_phase(self, phase: str, *, after: int = 0) -> None:
        """Wait for a report with this phase, of those behind the first `after`."""
        self.until(lambda: any(report.phase == phase for report in self.reports[after:]))


class LiveReplica:
    """A replica that is live, with all that it tells."""

    def __init__(self, replica: Replica, *tables: str) -> None:
        self.replica = replica
        self.seen = Seen()
        for table in tables:
            replica.watch(table, self.seen.changed)
        replica.start(on_event=self.seen, chance=lambda: 0.0)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return query(self.replica.path, sql)

    def until_rows(self, sql: str, expected: list[tuple[Any, ...]]) -> None:
        """Wait until the file shows these rows."""
        self.seen.until(lambda: self.rows(sql) == expected)

    def __enter__(self) -> LiveReplica:
        return self

    def __exit__(self, *_: object) -> None:
        self.replica.close()


def query(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """A statement of another program."""
    db = sqlite3.connect(path, isolation_level=None, timeout=DEADLINE_S)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()
