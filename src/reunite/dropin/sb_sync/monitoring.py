"""What pushes and pulls took, for `performance/`, the command `optimize_performance` and the tasks.

    PerformanceMetrics, SyncLog ──► figures of some days ──► what to do about them

The rule         every figure is measured or counted; where nothing was measured, it is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Avg, Count, Max, Q, Sum
from django.utils import timezone

from reunite.contrib.django import trail
from reunite.dropin.sb_sync import memory
from reunite.dropin.sb_sync.conf import LOGS_KEPT_DAYS, METRICS_KEPT_DAYS
from reunite.dropin.sb_sync.models import PULL, PUSH, PerformanceMetrics, SyncLog
from reunite.dropin.sb_sync.optimizations import CacheOptimizer

# Above, and for the hit rate below which, something is said.
MEMORY_MB_MAX = 500
HIT_RATE_MIN = 0.70
TIME_S_MAX = 5.0
QUERIES_MAX = 50

# A hit rate of fewer questions says nothing.
QUESTIONS_MIN = 20

# Rows that one statement deletes.
DELETED_AT_ONCE = 5_000


def report(days: int = 7) -> dict[str, Any]:
    """What `performance/` answers."""
    figures, cached, used = statistics(days=days), CacheOptimizer.statistics(), memory.used_mb()
    return {
        "performance_stats": figures,
        "current_memory_usage": used,
        "cache_stats": cached,
        "optimization_suggestions": suggestions(figures, cached, used),
    }


def statistics(days: int = 7) -> dict[str, Any]:
    """Figures of the last days: seconds, megabytes and queries of a push or pull on average, and
    the part of the cache's questions that it could answer."""
    since = timezone.now() - timedelta(days=days)
    found = PerformanceMetrics.objects.filter(timestamp__gte=since).aggregate(
        total=Count("id"),
        time=Avg("processing_time"),
        longest=Max("processing_time"),
        memory=Avg("memory_usage"),
        queries=Avg("query_count"),
        slow=Count("id", filter=Q(processing_time__gt=TIME_S_MAX)),
    )
    time = round(found["time"] or 0.0, 6)
    return {
        "total_operations": found["total"],
        "average_processing_time": time,
        "cache_hit_rate": hit_rate(CacheOptimizer.statistics()),
        "avg_processing_time": time,
        "max_processing_time": found["longest"] or 0.0,
        "avg_memory_usage": round(found["memory"] or 0.0, 2),
        "avg_query_count": round(found["queries"] or 0.0, 2),
        "slow_operations": found["slow"],
    }


def hit_rate(cached: Mapping[str, int]) -> float:
    """Which part of its questions the cache could answer."""
    asked = cached["cache_hits"] + cached["cache_misses"]
    return round(cached["cache_hits"] / asked, 4) if asked else 0.0


def suggestions(figures: Mapping[str, Any], cached: Mapping[str, int], used_mb: float) -> list[str]:
    """What these figures ask for, in sentences."""
    found = []
    if used_mb > MEMORY_MB_MAX:
        found.append("High memory usage detected. Consider reducing batch sizes.")
    if sum(cached.values()) >= QUESTIONS_MIN and hit_rate(cached) < HIT_RATE_MIN:
        found.append("Low cache hit rate. Consider a cache that all processes share.")
    if figures["avg_processing_time"] > TIME_S_MAX:
        found.append("Slow operations detected. Consider smaller batches, or indexes for filters.")
    if figures["avg_query_count"] > QUERIES_MAX:
        found.append("Many queries per operation. Consider models that do not apply by save.")
    return found


def totals(since: datetime) -> dict[str, Any]:
    """What the sync log has since then."""
    found = SyncLog.objects.filter(timestamp__gte=since).aggregate(
        total=Count("id"),
        push=Count("id", filter=Q(operation=PUSH)),
        pull=Count("id", filter=Q(operation=PULL)),
        success=Count("id", filter=Q(status=SyncLog.SUCCESS)),
        failed=Count("id", filter=Q(status=SyncLog.ERROR)),
        objects=Sum("object_count"),
        time=Avg("processing_time"),
    )
    return {
        "total_operations": found["total"],
        "push_operations": found["push"],
        "pull_operations": found["pull"],
        "successful_operations": found["success"],
        "failed_operations": found["failed"],
        "total_objects": found["objects"] or 0,
        "average_processing_time": round(found["time"] or 0.0, 6),
    }


def old_logs(days: int = LOGS_KEPT_DAYS) -> Any:
    """The lines of the sync log that are older, as a query."""
    return SyncLog.objects.filter(timestamp__lt=timezone.now() - timedelta(days=days))


def old_metrics(days: int = METRICS_KEPT_DAYS) -> Any:
    """The measurements that are older, as a query."""
    return PerformanceMetrics.objects.filter(timestamp__lt=timezone.now() - timedelta(days=days))


def delete(rows: Any) -> int:
    """Delete what a query finds, some thousand rows a transaction; how many there were."""
    deleted = 0
    with trail.resting():
        while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:DELETED_AT_ONCE]):
            deleted += rows.model.objects.filter(pk__in=keys).delete()[0]
    return deleted
