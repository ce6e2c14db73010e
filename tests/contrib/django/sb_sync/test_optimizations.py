"""`optimizations` as the README calls it, the figures of `performance/`, and the tasks' work."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from reunite import BadRequestError
from reunite.dropin.sb_sync import conf, memory, monitoring, tasks
from reunite.dropin.sb_sync.models import PerformanceMetrics, SyncLog, SyncMetadata
from reunite.dropin.sb_sync.optimizations import (
    BulkOperations,
    CacheOptimizer,
    MemoryOptimizer,
    ModelMetadataCache,
    QueryOptimizer,
)
from tests.contrib.django.clinic.models import Tag, Ward
from tests.contrib.django.conftest import Project
from tests.contrib.django.myapp.models import Customer, Order, Task
from tests.integration.processes import wait_until

# --- BulkOperations -------------------------------------------------------------------------------


def test_rows_are_updated_or_created_in_few_queries_and_captured(everywhere: Project) -> None:
    acme = everywhere.organization("acme-corp")
    old = Customer.objects.create(organization=acme, name="old", age=1, department="IT")
    rows: list[dict[str, Any]] = [{"organization": acme, "name": f"c{n}"} for n in range(300)]
    rows.append({"id": old.pk, "name": "new", "organization_id": acme.pk})
    rows.append({"pk": old.pk, "age": 2})
    rows.append({"id": 90_001, "name": "with a key of its own", "organization": acme})
    with CaptureQueriesContext(
        connection,
    ) as queries:
        done = BulkOperations.bulk_create_or_update(
            model_class=Customer, data_list=rows, batch_size=1_000
        )
    assert done == {"created": 301, "updated": 2}
    assert len(queries) <= 12
    old.refresh_from_db()
    assert (old.name, old.age, old.department) == ("new", 2, "IT")
    assert Customer.objects.get(pk=90_001).name == "with a key of its own"
    captured = [entry.table for entry in everywhere.hub.log()]
    assert captured.count("myapp_customer") >= 1 + 301 + 1


def test_batches_are_of_the_size_that_is_asked_for_and_configured(project: Project) -> None:
    def inserts(count: int, **options: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            BulkOperations.bulk_create_or_update(
                Tag, [{"name": str(uuid.uuid4())} for _ in range(count)], **options
            )
        return sum(query["sql"].startswith("INSERT") for query in queries)

    assert inserts(10) == 1
    assert inserts(10, batch_size=5) == 2
    conf.keep("CORE", "DEFAULT_BATCH_SIZE", 4)
    assert inserts(10) == 3
    conf.keep("CORE", "MAX_BATCH_SIZE", 2)
    assert inserts(10, batch_size=1_000) == 5
    for wrong in (0, -1, "many"):
        with pytest.raises(BadRequestError, match="no size"):
            inserts(1, batch_size=wrong)


def test_times_of_the_last_change_move_with_a_bulk_update(project: Project) -> None:
    """SB-9."""
    acme = project.organization("acme-corp")
    task = Task.objects.create(organization=acme, code="a")
    BulkOperations.bulk_create_or_update(Task, [{"id": str(task.pk), "is_done": True}])
    again = Task.objects.get()
    assert again.is_done
    assert again.updated_at > task.updated_at
    assert again.created_at == task.created_at


def test_all_or_nothing_is_stored(project: Project) -> None:
    with pytest.raises(BadRequestError, match="no field 'nothing'"):
        BulkOperations.bulk_create_or_update(Tag, [{"name": "a"}, {"nothing": 1}], batch_size=1)
    with pytest.raises(DatabaseError):
        BulkOperations.bulk_create_or_update(Tag, [{"name": "a"}, {"name": "a"}], batch_size=1)
    assert Tag.objects.count() == 0


def test_rows_in_two_tables_are_written_too(project: Project) -> None:
    done = BulkOperations.bulk_create_or_update(
        Ward, [{"name": "a", "beds": 1}, {"name": "b", "beds": 2}]
    )
    assert done == {"created": 2, "updated": 0}
    first = Ward.objects.get(name="a")
    done = BulkOperations.bulk_create_or_update(Ward, [{"pk": first.pk, "name": "c", "beds": 9}])
    assert done == {"created": 0, "updated": 1}
    assert list(Ward.objects.order_by("name").values_list("name", "beds")) == [("b", 2), ("c", 9)]


def test_rows_that_others_stand_in_the_way_of_are_skipped(everywhere: Project) -> None:
    Tag.objects.create(name="b")
    rows = [{"name": name} for name in ("a", "b", "c", "c")]
    done = BulkOperations.bulk_create_with_ignore_conflicts(Tag, rows, batch_size=3)
    assert done == {"created": 2, "skipped": 2}
    assert Tag.objects.count() == 3


# --- The others -----------------------------------------------------------------------------------


def test_fields_are_described_and_kept(project: Project) -> None:
    fields = ModelMetadataCache.get_model_fields("myapp.Customer")
    assert fields["name"] == {"type": "CharField", "required": True, "max_length": 100}
    assert fields["age"] == {"type": "IntegerField", "required": False, "max_length": None}
    assert CacheOptimizer.statistics() == {"cache_hits": 0, "cache_misses": 1}
    ModelMetadataCache.get_model_fields("myapp.Customer")
    assert CacheOptimizer.statistics() == {"cache_hits": 1, "cache_misses": 1}
    ModelMetadataCache.invalidate_model_cache("myapp.Customer")
    ModelMetadataCache.get_model_fields("myapp.Customer")
    assert CacheOptimizer.statistics()["cache_misses"] == 2
    with pytest.raises(LookupError):
        ModelMetadataCache.get_model_fields("myapp.Nothing")


def test_logs_are_found_by_both_ways_to_ask(project: Project) -> None:
    ann, bob = project.user("ann"), project.user("bob")
    acme = project.organization("acme-corp")
    for user, operation in ((ann, "PUSH"), (ann, "PULL"), (bob, "PUSH")):
        SyncLog.objects.create(user=user, organization=acme, operation=operation, status="SUCCESS")
    find = QueryOptimizer.get_optimized_sync_logs
    with CaptureQueriesContext(connection) as queries:
        assert [log.user.username for log in find(ann, acme)] == ["ann", "ann"]
    assert len(queries) == 1
    assert find(user_id=ann.pk, operation="PUSH").count() == 1
    assert len(find(limit=2)) == 2
    assert len(find(bob, project.organization("other"))) == 0


def test_related_rows_come_in_as_many_queries_as_are_needed(project: Project) -> None:
    acme = project.organization("acme-corp")
    customer = Customer.objects.create(organization=acme, name="a")
    for _ in range(3):
        Order.objects.create(organization=acme, customer=customer)

    @QueryOptimizer.count_queries
    def read(**options: Any) -> int:
        found = QueryOptimizer.optimize_queryset(Order.objects.all(), **options)
        return len([order.customer.name for order in found])

    assert read() == 3
    assert read.query_count == 4
    assert read(select_related=["customer"]) == 3
    assert read.query_count == 1
    assert read(prefetch_related=["customer"]) == 3
    assert read.query_count == 2


def test_memory_is_measured(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 < MemoryOptimizer.get_memory_usage() < 10_000
    assert MemoryOptimizer.monitor_memory(lambda x: x + 1)(1) == 2
    used = iter([100.0, 60.0])
    monkeypatch.setattr(memory, "used_mb", lambda: next(used))
    assert MemoryOptimizer.optimize_memory() == {
        "initial_memory": 100.0, "final_memory": 60.0, "memory_freed": 40.0
    }  # fmt: skip


def test_the_cache_keeps_and_counts(project: Project) -> None:
    asked: list[int] = []

    def expensive() -> str:
        asked.append(1)
        return "data"

    get = CacheOptimizer.get_or_set_cache
    assert [get("key", expensive), get("key", expensive)] == ["data", "data"]
    assert len(asked) == 1
    assert [get("none", lambda: None), get("none", expensive)] == [None, None]
    assert CacheOptimizer.get_cached_model_data("key") is None
    CacheOptimizer.cache_model_data("key", [1], timeout=300)
    assert CacheOptimizer.get_cached_model_data("key") == [1]
    CacheOptimizer.invalidate_model_cache("key")
    assert CacheOptimizer.get_cached_model_data("key") is None
    assert CacheOptimizer.statistics() == {"cache_hits": 3, "cache_misses": 4}


# --- Figures --------------------------------------------------------------------------------------


def test_figures_are_measured_and_ask_for_what_they_should(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SB-37."""
    empty = monitoring.report()
    assert empty["performance_stats"]["total_operations"] == 0
    assert empty["performance_stats"]["average_processing_time"] == 0
    assert empty["optimization_suggestions"] == []
    for seconds, queries in ((1.0, 40), (11.0, 80)):
        PerformanceMetrics.objects.create(
            operation_type="PUSH", batch_size=10, processing_time=seconds, memory_usage=100,
            query_count=queries,
        )  # fmt: skip
    for n in range(20):
        CacheOptimizer.get_or_set_cache(f"key-{n // 2}", lambda: 1)
    monkeypatch.setattr(memory, "used_mb", lambda: 501.0)
    found = monitoring.report()
    figures = found["performance_stats"]
    assert (figures["average_processing_time"], figures["avg_query_count"]) == (6.0, 60.0)
    assert (figures["avg_memory_usage"], figures["slow_operations"]) == (100.0, 1)
    assert (figures["cache_hit_rate"], found["current_memory_usage"]) == (0.5, 501.0)
    assert found["cache_stats"] == {"cache_hits": 10, "cache_misses": 10}
    first, second, third, fourth = found["optimization_suggestions"]
    assert first == "High memory usage detected. Consider reducing batch sizes."
    assert second.startswith("Low cache hit rate.")
    assert third.startswith("Slow operations")
    assert fourth.startswith("Many queries")
    PerformanceMetrics.objects.update(timestamp=timezone.now() - timedelta(days=8))
    assert monitoring.statistics(days=7)["total_operations"] == 0
    assert monitoring.statistics(days=9)["total_operations"] == 2


# --- The tasks, as functions ----------------------------------------------------------------------


def test_the_tasks_do_what_they_say(everywhere: Project) -> None:
    """SB-35."""
    for status, operation, days in (
        ("SUCCESS", "PUSH", 0), ("ERROR", "PULL", 0), ("WARNING", "PUSH", 91)
    ):  # fmt: skip
        log = SyncLog.objects.create(
            operation=operation, status=status, object_count=5, processing_time=2.0
        )
        SyncLog.objects.filter(pk=log.pk).update(timestamp=timezone.now() - timedelta(days=days))
    metric = PerformanceMetrics.objects.create(operation_type="PUSH")
    PerformanceMetrics.objects.filter(pk=metric.pk).update(
        timestamp=timezone.now() - timedelta(days=31)
    )
    SyncMetadata.objects.create(model_name="myapp.Customer")
    assert tasks.cleanup_old_sync_logs() == {"deleted_count": 1}
    report = tasks.generate_sync_report()
    assert (report["total_operations"], report["push_operations"]) == (2, 1)
    assert (report["pull_operations"], report["successful_operations"]) == (1, 1)
    assert (report["failed_operations"], report["total_objects"]) == (1, 10)
    assert report["average_processing_time"] == 2.0
    assert cache.get(f"sync_report_{report['date'].replace('-', '')}") == report
    done = tasks.optimize_database_tables()
    assert done["deleted_metrics"] == 1
    assert done["analyzed_tables"] > 8
    warm = tasks.cache_warmup()
    assert (warm["cached_logs"], warm["cached_metadata"]) == (2, 1)
    assert warm["cached_models"] > 4
    assert (
        CacheOptimizer.get_cached_model_data("sync_metadata")[0]["model_name"] == "myapp.Customer"
    )
    assert set(tasks.memory_optimization()) == {
        "initial_memory", "final_memory", "memory_freed"
    }  # fmt: skip
    assert set(tasks.performance_analysis()) == {
        "performance_stats", "memory_usage", "cache_hit_rate", "recommendations", "timestamp"
    }  # fmt: skip


def test_a_bulk_operation_creates_or_updates_and_may_come_twice(everywhere: Project) -> None:
    """SB-35."""
    acme = everywhere.organization("acme-corp")
    rows = [
        {"id": str(uuid.UUID(int=n)), "organization_id": acme.pk, "code": f"c{n}", "price": "1.50",
         "due": "2026-01-01T10:00:00Z"}
        for n in range(1, 4)
    ]  # fmt: skip
    done = tasks.bulk_sync_operation("myapp.Task", "CREATE", rows)
    assert (done["operation_type"], done["model_name"]) == ("CREATE", "myapp.Task")
    assert (done["processed_count"], done["processing_time"] > 0) == (3, True)
    assert tasks.bulk_sync_operation("myapp.Task", "CREATE", rows)["processed_count"] == 0
    changed = [{"id": rows[0]["id"], "code": "new"}, {"id": str(uuid.UUID(int=9)), "code": "no"}]
    assert tasks.bulk_sync_operation("myapp.Task", "UPDATE", changed)["processed_count"] == 1
    assert set(Task.objects.values_list("code", flat=True)) == {"new", "c2", "c3"}
    with pytest.raises(BadRequestError, match="neither"):
        tasks.bulk_sync_operation("myapp.Task", "DELETE", rows)
    with pytest.raises(LookupError):
        tasks.bulk_sync_operation("myapp.Nothing", "CREATE", rows)


def test_a_hub_runs_the_periodic_ones_without_celery(project: Project) -> None:
    """SB-35."""
    assert len(tasks.BEAT_SCHEDULE) == 6
    hub = project.hub
    tasks.schedule(hub)
    hub.start_jobs()
    report = f"sync_report_{timezone.localtime():%Y%m%d}"
    wait_until(lambda: cache.get(report) is not None)
    hub.stop_jobs()
