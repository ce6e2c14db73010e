"""The answer to a push: what became of each item, and of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reunite.dropin.sb_sync.items import CREATED, DELETED, UPDATED, Item
from reunite.dropin.sb_sync.models import SyncLog

# Texts in `errors`, each once; `results` has all of them.
ERRORS_MAX = 100

_AS_THEY_ARE = frozenset({"permission", "not_enabled"})


class Answer:
    """What became of the items of a push."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self.failed = [item for item in items if item.failure is not None]
        self.done = len(items) - len(self.failed)

    @property
    def status(self) -> str:
        """ "success", "partial_success" or "error"."""
        if not self.failed:
            return "success"
        return "partial_success" if self.done else "error"

    @property
    def logged_status(self) -> str:
        """The same as a SyncLog has it."""
        return {
            "success": SyncLog.SUCCESS,
            "partial_success": SyncLog.WARNING,
            "error": SyncLog.ERROR,
        }[self.status]

    @property
    def http_status(self) -> int:
        if self.status != "error":
            return 200
        codes = {item.failure.code for item in self.failed if item.failure is not None}
        return {frozenset({"permission"}): 403, frozenset({"conflict"}): 409}.get(
            frozenset(codes), 400
        )

    @property
    def errors(self) -> list[str]:
        """What is said of those that failed, each once."""
        found: dict[str, None] = {}
        for item in self.failed:
            failure = item.failure
            assert failure is not None, "it has failed"
            if failure.code in _AS_THEY_ARE:
                found[failure.message] = None
            else:
                found[f"Error processing model {item.label}: {failure.message}"] = None
            if len(found) >= ERRORS_MAX:
                break
        return list(found)

    @property
    def counts(self) -> dict[str, int]:
        """Rows that were written, by model."""
        found: dict[str, int] = {}
        for item in self._items:
            if item.label:
                found[item.label] = found.get(item.label, 0) + (item.failure is None)
        return found

    def processed(self) -> dict[str, dict[str, int]]:
        """By model how many rows were created, updated and, if there are any, deleted."""
        found: dict[str, dict[str, int]] = {}
        for item in self._items:
            if item.failure is None:
                counts = found.setdefault(item.label, {CREATED: 0, UPDATED: 0})
                counts[item.action] = counts.get(item.action, 0) + 1
        return found

    def body(self, *, seconds: float) -> dict[str, Any]:
        """The answer's body."""
        total = len(self._items)
        found: dict[str, Any] = {
            "status": self.status,
            "message": self._message(total),
            "success_count": self.done,
            "error_count": len(self.failed),
            "processed_models": self.processed(),
            "processing_time": round(seconds, 6),
        }
        if self.failed:
            found["errors"] = self.errors
        if self.status == "partial_success":
            found["success_rate"] = round(100 * self.done / total, 2)
        found["results"] = [self._result(item) for item in self._items]
        return found

    def _message(self, total: int) -> str:
        if self.status == "success":
            return f"Successfully processed {total} items"
        if self.status == "partial_success":
            return f"Processed {self.done} of {total} items"
        return "No item could be processed"

    def _result(self, item: Item) -> dict[str, Any]:
        found: dict[str, Any] = {"index": item.index, "model": item.label}
        failure = item.failure
        # The key that was drawn for a row that failed is nobody's.
        key = item.key if failure is None else item.wanted_key
        if key is not None and item.model is not None:
            found["id"] = item.model.key.show(key[0])
        if failure is not None:
            found |= {"status": "error", "code": failure.code, "message": failure.message}
            if item.current is not None:
                found["row"] = item.current
            return found
        found |= {"action": item.action, "status": "ok"}
        if item.action != DELETED and item.result_version is not None:
            found["version"] = item.result_version
        return found
