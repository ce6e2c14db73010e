"""The seven tasks: with Celery they are shared tasks, without it functions, and the same jobs run
in a hub by `schedule`.

    app.autodiscover_tasks()                  Celery finds them under these names
    CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE      in the settings: this module needs none to be read
    manage.py reunite jobs                    no Celery: the hub runs six of them by itself

What it is       periodic work of the API. Nothing of syncing itself waits for it.
The rule         each may run twice, and in any number of processes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from django.apps import apps
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from reunite.dropin.sb_sync import discovery, memory
from reunite.dropin.sb_sync.conf import LOGS_KEPT_DAYS
from reunite.dropin.sb_sync.optimizations import (
    BulkOperations,
    CacheOptimizer,
    MemoryOptimizer,
    ModelMetadataCache,
    QueryOptimizer,
)
from reunite.errors import BadRequestError

__all__ = [
    "BEAT_SCHEDULE",
    "bulk_sync_operation",
    "cache_warmup",
    "cleanup_old_sync_logs",
    "generate_sync_report",
    "memory_optimization",
    "optimize_database_tables",
    "performance_analysis",
    "schedule",
]

logger = logging.getLogger("sb_sync")

Function = TypeVar("Function", bound=Callable[..., Any])

# What a task that failed is tried again for, how often, and the seconds between.
_TEMPORARY = (OperationalError, InterfaceError, ConnectionError, TimeoutError)
RETRIES = 3
RETRY_MIN_S, RETRY_MAX_S = 60, 3_600

REPORT_KEPT_S = 24 * 3_600
CREATE, UPDATE = "CREATE", "UPDATE"

# Lines of the log that `cache_warmup` keeps.
LOGS_WARM = 100


def _shared(function: Function) -> Function:
    """A Celery task where there is Celery."""
    try:
        from celery import shared_task
    except ImportError:
        return function
    return shared_task(
        autoretry_for=_TEMPORARY,
        max_retries=RETRIES,
        retry_backoff=RETRY_MIN_S,
        retry_backoff_max=RETRY_MAX_S,
        retry_jitter=False,
    )(function)


@_shared
def cleanup_old_sync_logs(days: int = LOGS_KEPT_DAYS) -> dict[str, int]:
    """Remove lines of the sync log that are older: `{"deleted_count"}`."""
    from reunite.dropin.sb_sync import monitoring

    deleted = monitoring.delete(monitoring.old_logs(days))
    logger.info("%s old sync logs deleted", deleted)
    return {"deleted_count": deleted}


@_shared
def generate_sync_report() -> dict[str, Any]:
    """Today's totals, kept in the cache for a day as `sync_report_YYYYMMDD`."""
    from reunite.dropin.sb_sync import monitoring

    now = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = {"date": f"{now:%Y-%m-%d}", **monitoring.totals(midnight)}
    cache.set(f"sync_report_{now:%Y%m%d}", found, REPORT_KEPT_S)
    return found


@_shared
def optimize_database_tables() -> dict[str, int]:
    """Have the databases look at their tables anew, so that they plan well, and remove old
    measurements: `{"analyzed_tables", "deleted_metrics"}`."""
    from reunite.dropin.sb_sync import monitoring

    return {
        "analyzed_tables": analyze(),
        "deleted_metrics": monitoring.delete(monitoring.old_metrics()),
    }


@_shared
def bulk_sync_operation(
    model_name: str, operation_type: str, data_batch: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write rows of "app.Model" for the backend itself: `{"operation_type", "model_name",
    "processed_count", "processing_time"}`.

    operation_type   "CREATE": new rows; one that stands in the way of another is passed over.
                     "UPDATE": those whose primary key is there, and no others
    """
    if operation_type not in (CREATE, UPDATE):
        raise BadRequestError(f"{operation_type!r} is neither {CREATE} nor {UPDATE}.")
    began = time.monotonic()
    model = apps.get_model(model_name)
    if operation_type == CREATE:
        count = BulkOperations.bulk_create_with_ignore_conflicts(model, data_batch)["created"]
    else:
        count = BulkOperations.bulk_create_or_update(model, _there(model, data_batch))["updated"]
    return {
        "operation_type": operation_type,
        "model_name": model_name,
        "processed_count": count,
        "processing_time": round(time.monotonic() - began, 6),
    }


@_shared
def cache_warmup() -> dict[str, int]:
    """Keep what is asked for often: `{"cached_models", "cached_logs", "cached_metadata"}`."""
    metadata_of = apps.get_model("sb_sync", "SyncMetadata").objects
    models = list(discovery.enabled())
    for label in models:
        ModelMetadataCache.get_model_fields(label)
    logs = list(QueryOptimizer.get_optimized_sync_logs(limit=LOGS_WARM).values("id", "status"))
    CacheOptimizer.cache_model_data("recent_logs", logs)
    metadata = list(metadata_of.values("model_name", "last_sync", "total_synced"))
    CacheOptimizer.cache_model_data("sync_metadata", metadata)
    return {
        "cached_models": len(models),
        "cached_logs": len(logs),
        "cached_metadata": len(metadata),
    }


@_shared
def memory_optimization() -> dict[str, float]:
    """Collect garbage: `{"initial_memory", "final_memory", "memory_freed"}`, in megabytes."""
    return MemoryOptimizer.optimize_memory()


@_shared
def performance_analysis() -> dict[str, Any]:
    """The figures of the last week, and what to do about them."""
    from reunite.dropin.sb_sync import monitoring

    found = monitoring.report(days=7)
    return {
        "performance_stats": found["performance_stats"],
        "memory_usage": memory.used_mb(),
        "cache_hit_rate": found["performance_stats"]["cache_hit_rate"],
        "recommendations": found["optimization_suggestions"],
        "timestamp": timezone.now().isoformat(),
    }


class _Period:
    """A task, and the seconds between its runs."""

    def __init__(self, work: Callable[[], Any], every: timedelta) -> None:
        self.work = work
        self.seconds = every.total_seconds()

    @property
    def name(self) -> str:
        return self.work.__name__


_PERIODS = (
    _Period(cleanup_old_sync_logs, timedelta(days=1)),
    _Period(generate_sync_report, timedelta(hours=1)),
    _Period(optimize_database_tables, timedelta(days=1)),
    _Period(cache_warmup, timedelta(minutes=30)),
    _Period(memory_optimization, timedelta(hours=1)),
    _Period(performance_analysis, timedelta(hours=6)),
)

# For Celery's beat: `app.conf.beat_schedule = BEAT_SCHEDULE`, or among other entries.
BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    f"sb_sync-{period.name}": {
        "task": f"{__name__}.{period.name}",
        "schedule": period.seconds,
    }
    for period in _PERIODS
}


def schedule(hub: Any) -> None:
    """Let a hub do all periodic ones with its own jobs: from `start_jobs` on, once for all
    processes on the database. Once for each hub.

        schedule(reunite.contrib.django.hub())
    """
    for period in _PERIODS:
        hub.every(seconds=period.seconds, name=f"sb_sync.{period.name}")(_in_thread(period.work))


def analyze() -> int:
    """ANALYZE the tables of this app and of all models that are offered; how many there are."""
    models = [*apps.get_app_config("sb_sync").get_models(), *discovery.enabled().values()]
    tables = sorted({model._meta.db_table for model in models})
    for alias in {model._base_manager.db for model in models}:
        connection = connections[alias]
        with connection.cursor() as cursor:
            there = set(connection.introspection.table_names(cursor))
            for table in tables:
                if table in there:
                    cursor.execute(f"ANALYZE {connection.ops.quote_name(table)}")
    return len(tables)


def _in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """A job of a thread of its own, which leaves no connection behind."""
    from reunite.contrib.django.tidying import tidily

    return lambda: tidily(work)


def _there(model: Any, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those whose primary key is there."""
    key = model._meta.pk
    named = [
        (next((row[name] for name in (key.attname, key.name, "pk") if name in row), None), row)
        for row in rows
    ]
    there = model._base_manager.in_bulk([pk for pk, _ in named if pk is not None])
    return [row for pk, row in named if key.to_python(pk) in there]
