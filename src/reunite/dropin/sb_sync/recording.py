"""What each push and pull leaves behind in the database: a SyncLog, measurements and counters.

The rule         no value of a row is written anywhere. The lines of the log are `logs`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.utils import timezone

from reunite.contrib.django.database import statements_of
from reunite.dropin.sb_sync import memory
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.models import (
    PULL,
    PUSH,
    PerformanceMetrics,
    SyncLog,
    SyncMetadata,
    UserSyncMetadata,
)

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
        memory_usage=memory.used_mb(),
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


def iso(moment_ms: int) -> str:
    """A time as the API writes it."""
    found = datetime.fromtimestamp(moment_ms / 1_000, UTC)
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


__all__ = ["PULL", "PUSH"]
