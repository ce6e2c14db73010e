"""The seven tasks for Django's own framework, which Django has from version 6 on.

    from reunite.dropin.sb_sync.django_tasks import generate_sync_report
    generate_sync_report.enqueue()

What it is       the functions of `tasks` as `django.tasks.Task`, for whichever backend TASKS names.
What it is not   retried: that is the backend's. Without Django 6 this module cannot be imported,
                 and `tasks` can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.tasks import task

from reunite.dropin.sb_sync import tasks
from reunite.dropin.sb_sync.conf import LOGS_KEPT_DAYS

__all__ = [
    "bulk_sync_operation",
    "cache_warmup",
    "cleanup_old_sync_logs",
    "generate_sync_report",
    "memory_optimization",
    "optimize_database_tables",
    "performance_analysis",
]

# A worker finds a task under the name of its function in this module: none is made in a loop.


@task
def cleanup_old_sync_logs(days: int = LOGS_KEPT_DAYS) -> dict[str, int]:
    """As `tasks.cleanup_old_sync_logs`."""
    return tasks.cleanup_old_sync_logs(days)


@task
def generate_sync_report() -> dict[str, Any]:
    """As `tasks.generate_sync_report`."""
    return tasks.generate_sync_report()


@task
def optimize_database_tables() -> dict[str, int]:
    """As `tasks.optimize_database_tables`."""
    return tasks.optimize_database_tables()


@task
def bulk_sync_operation(
    model_name: str, operation_type: str, data_batch: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """As `tasks.bulk_sync_operation`."""
    return tasks.bulk_sync_operation(model_name, operation_type, data_batch)


@task
def cache_warmup() -> dict[str, int]:
    """As `tasks.cache_warmup`."""
    return tasks.cache_warmup()


@task
def memory_optimization() -> dict[str, float]:
    """As `tasks.memory_optimization`."""
    return tasks.memory_optimization()


@task
def performance_analysis() -> dict[str, Any]:
    """As `tasks.performance_analysis`."""
    return tasks.performance_analysis()
