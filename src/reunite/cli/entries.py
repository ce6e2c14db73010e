"""Entries of the log and of histories as JSON, in the words of `reunite export`."""

from __future__ import annotations

from typing import Any

from reunite.engine.history import HistoryEntry
from reunite.engine.ports import LogEntry


def told(entry: LogEntry | HistoryEntry) -> dict[str, Any]:
    """Who changed what and when. A log tells what the row was, a history also what it became."""
    common = {
        "id": entry.id,
        "commit": entry.seq,
        "at_ms": entry.at_ms,
        "actor": entry.principal,
        "replica": entry.replica,
        "table": entry.table,
        "key": entry.key,
        "old_key": entry.old_key,
        "change": entry.op.name.lower(),
        "erased": entry.is_erased,
    }
    if isinstance(entry, HistoryEntry):
        return {**common, "old": entry.old, "new": entry.row}
    return {**common, "old": entry.image}
