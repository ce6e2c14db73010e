"""What each push and pull leaves behind: a log line, a SyncLog, measurements and counters.

The rule         no value of a row is written anywhere, unless SB_SYNC_LOG_BODIES asks for bodies;
                 even then what looks like a secret is masked.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connections
from django.utils import timezone

from reunite.contrib.django.database import statements_of
from reunite.core.withheld import looks_secret
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.conf import named
from reunite.dropin.sb_sync.models import (
    PULL,
    PUSH,
    PerformanceMetrics,
    SyncLog,
    SyncMetadata,
    UserSyncMetadata,
)

logger = logging.getLogger("sb_sync")

_MASK = "********"

# Characters of `model_name` and `error_message` in a SyncLog, and how many errors it tells.
_TEXT_MAX = 2_000
_ERRORS_MAX = 20


class Measured:
    """What a request has taken so far."""

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        self._began_s = time.perf_counter()
        self._queries = 0
        self._statements = statements_of(self._connection)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began_s

    @property
    def queries(self) -> int:
        """Statements of Django's and of the hub's."""
        return self._queries + statements_of(self._connection) - self._statements

    def count(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        """A wrapper of Django's that counts."""
        self._queries += 1
        return execute(sql, params, many, context)


@contextmanager
def measured(using: str = "default") -> Iterator[Measured]:
    """Measure what the block does."""
    found = Measured(using)
    with connections[using].execute_wrapper(found.count):
        yield found


def memory_mb() -> float:
    """The memory of this process, in MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * 4096 / 1e6
    except (OSError, ValueError, IndexError):
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / (1e6 if sys.platform == "darwin" else 1e3)


def record(
    operation: str,
    member: Member,
    counts: Mapping[str, int],
    measure: Measured,
    *,
    status: str,
    errors: Sequence[str] = (),
    summary: Mapping[str, Any] | None = None,
    marks: Mapping[str, int] | None = None,
) -> None:
    """Write down a push or a pull, in the transaction that is open.

    counts   rows by model
    marks    by model, the hub's snapshot that the member has seen all of now
    """
    names = ", ".join(sorted(counts))[:_TEXT_MAX]
    total = sum(counts.values())
    seconds = measure.seconds
    using = member.using
    SyncLog.objects.using(using).create(
        user=member.user,
        organization=member.organization,
        operation=operation,
        status=status,
        model_name=names,
        object_count=total,
        error_message="; ".join(errors[:_ERRORS_MAX])[:_TEXT_MAX],
        request_data=summary,
        processing_time=seconds,
    )
    _count(member, {name: n for name, n in counts.items() if n or marks}, marks or {})
    PerformanceMetrics.objects.using(using).create(
        operation_type=operation,
        model_name=names,
        batch_size=total,
        processing_time=seconds,
        memory_usage=memory_mb(),
        query_count=measure.queries + 1,
    )


def _count(member: Member, counts: Mapping[str, int], marks: Mapping[str, int]) -> None:
    """Raise the counters: one statement for each, whoever else does the same."""
    if not counts:
        return
    connection = connections[member.using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    names = sorted(counts)  # in one order, so that nobody waits for each other
    with connection.cursor() as cursor:
        table = SyncMetadata._meta.db_table
        cursor.execute(
            f"INSERT INTO {table} (model_name, last_sync, total_synced) VALUES "
            f"{', '.join(['(%s, %s, %s)'] * len(names))} ON CONFLICT (model_name) DO UPDATE SET "
            f"last_sync = excluded.last_sync, "
            f"total_synced = {table}.total_synced + excluded.total_synced",
            [value for name in names for value in (name, now, counts[name])],
        )
        table = UserSyncMetadata._meta.db_table
        user, organization = member.user.pk, member.organization.pk
        cursor.execute(
            f"INSERT INTO {table} (user_id, organization_id, model_name, last_sync, total_synced, "
            f"mark) VALUES {', '.join(['(%s, %s, %s, %s, %s, %s)'] * len(names))} "
            "ON CONFLICT (user_id, organization_id, model_name) DO UPDATE SET "
            "last_sync = excluded.last_sync, "
            f"total_synced = {table}.total_synced + excluded.total_synced, "
            f"mark = CASE WHEN excluded.mark > {table}.mark THEN excluded.mark "
            f"ELSE {table}.mark END",
            [
                value
                for name in names
                for value in (user, organization, name, now, counts[name], marks.get(name, 0))
            ],
        )


def log_push(member: Member, body: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """The line of a push."""
    told = _masked(body) if named("SB_SYNC_LOG_BODIES") else summary
    logger.info(
        "PUSH request from user %s in %s: %s",
        member.user.get_username(),
        member.organization.name,
        json.dumps(told, ensure_ascii=False, default=str),
    )


def log_pull(member: Member, count: int) -> None:
    """The line of a pull."""
    logger.info(
        "PULL request completed for user %s in %s: %d records",
        member.user.get_username(),
        member.organization.name,
        count,
    )


def summary_of(data: Sequence[Any]) -> dict[str, Any]:
    """What a push holds, without any value: by model how many items, and their fields."""
    counts: dict[str, int] = {}
    fields: dict[str, dict[str, None]] = {}
    for item in data:
        if isinstance(item, dict):
            label = str(item.get("_model", ""))[:255]
            counts[label] = counts.get(label, 0) + 1
            fields.setdefault(label, {}).update(dict.fromkeys(item))
    models = {
        label: {"count": n, "fields": [name[:100] for name in fields[label]][:100]}
        for label, n in list(counts.items())[:100]
    }
    return {"items": len(data), "models": models}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _MASK if looks_secret(str(name)) else _masked(one) for name, one in value.items()
        }
    return [_masked(one) for one in value] if isinstance(value, list) else value


def iso(moment_ms: int) -> str:
    """A time as the API writes it."""
    found = datetime.fromtimestamp(moment_ms / 1_000, UTC)
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


__all__ = ["PULL", "PUSH"]
