"""`optimizations`, the module of sb-sync's README that backends call.

    BulkOperations        many rows in few statements
    ModelMetadataCache    what fields a model has
    QueryOptimizer        related rows in one query; how many queries a function takes
    MemoryOptimizer       how much memory this process has
    CacheOptimizer        Django's cache, with its hits and misses counted

What it is       calls over the ORM, for a backend's own code. What they write, triggers capture.
What it is not   a way past rights: nobody is asked, as nowhere in a backend's own code.
"""

from __future__ import annotations

import functools
import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar, cast

from django.apps import apps
from django.core.cache import cache
from django.db import connections, models, router, transaction

from reunite.dropin.sb_sync import conf, memory
from reunite.errors import BadRequestError

Function = TypeVar("Function", bound=Callable[..., Any])

logger = logging.getLogger("sb_sync")

# Seconds that the names of a model's fields are kept.
FIELDS_KEPT_S = 3_600

# Keys in Django's cache.
_FIELDS, _HITS, _MISSES = "sb_sync:fields:", "sb_sync:hits", "sb_sync:misses"
_COUNTED_S = 30 * 24 * 3_600


class BulkOperations:
    """Many rows in few statements: some for each batch, whatever it holds."""

    @staticmethod
    def bulk_create_or_update(
        model_class: Any, data_list: Iterable[Mapping[str, Any]], batch_size: int | None = None
    ) -> dict[str, int]:
        """Update the rows whose primary key is there, create all others; how many of each.

            BulkOperations.bulk_create_or_update(Customer, [{"name": "Ann"}, {"id": 7, "age": 40}])

        data_list    fields by name, foreign keys also by `name_id`; a row is updated in the fields
                     that it names. Signals and `save()` are passed by.
        batch_size   rows at once: DEFAULT_BATCH_SIZE if it is not said, MAX_BATCH_SIZE at most

        One transaction. Raises BadRequestError for a field that there is not, and the database's
        errors; then nothing is stored.
        """
        using = router.db_for_write(model_class)
        done = {"created": 0, "updated": 0}
        with transaction.atomic(using=using):
            for rows in _batches(data_list, batch_size):
                fields = [_fields_of(model_class, row) for row in rows]
                created, updated = _write(model_class, fields, using)
                done["created"] += created
                done["updated"] += updated
        return done

    @staticmethod
    def bulk_create_with_ignore_conflicts(
        model_class: Any, data_list: Iterable[Mapping[str, Any]], batch_size: int | None = None
    ) -> dict[str, int]:
        """Create the rows that no other stands in the way of; how many were created and skipped.

        Arguments and errors as of `bulk_create_or_update`.
        """
        using = router.db_for_write(model_class)
        asked = 0
        with transaction.atomic(using=using), _counting_rows(using) as counted:
            for rows in _batches(data_list, batch_size):
                asked += len(rows)
                model_class._base_manager.using(using).bulk_create(
                    [model_class(**_fields_of(model_class, row)) for row in rows],
                    ignore_conflicts=True,
                )
        return {"created": counted[0], "skipped": asked - counted[0]}


class ModelMetadataCache:
    """What fields a model has, kept for an hour."""

    @staticmethod
    def get_model_fields(model_name: str) -> dict[str, dict[str, Any]]:
        """`{name: {"type", "required", "max_length"}}` of "app.Model". Raises LookupError."""
        model = apps.get_model(model_name)
        return CacheOptimizer.get_or_set_cache(
            _FIELDS + model._meta.label_lower, lambda: _described(model), timeout=FIELDS_KEPT_S
        )

    @staticmethod
    def invalidate_model_cache(model_name: str) -> None:
        """Forget what is kept of a model."""
        cache.delete(_FIELDS + model_name.lower())


class QueryOptimizer:
    """Fewer queries, and how many there are."""

    @staticmethod
    def optimize_queryset(
        queryset: Any,
        select_related: Sequence[str] | None = None,
        prefetch_related: Sequence[Any] | None = None,
    ) -> Any:
        """The query, with what it leads to."""
        if select_related:
            queryset = queryset.select_related(*select_related)
        return queryset.prefetch_related(*prefetch_related) if prefetch_related else queryset

    @staticmethod
    def get_optimized_sync_logs(
        user_id: Any = None, operation: Any = None, limit: int = 100
    ) -> Any:
        """The newest lines of the sync log, with their users, as a query.

        user_id      a user or the id of one; None for all
        operation    "PUSH", "PULL", or an organization whose log it is to be
        """
        logs = apps.get_model("sb_sync", "SyncLog").objects.select_related("user", "organization")
        if user_id is not None:
            logs = logs.filter(user_id=getattr(user_id, "pk", user_id))
        if isinstance(operation, str):
            logs = logs.filter(operation=operation)
        elif operation is not None:
            logs = logs.filter(organization_id=getattr(operation, "pk", operation))
        return logs.order_by("-timestamp", "-id")[:limit]

    @staticmethod
    def count_queries(function: Function) -> Function:
        """Decorate a function: the log tells how many queries it takes, and `query_count` of the
        decorated function how many the last call of this process took."""

        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            with counting_queries() as count:
                try:
                    return function(*arguments, **options)
                finally:
                    told.query_count = count[0]
                    logger.debug("%s took %s queries", function.__qualname__, count[0])

        told: Any = counted
        told.query_count = 0
        return told


class MemoryOptimizer:
    """The memory of this process."""

    @staticmethod
    def get_memory_usage() -> float:
        """Megabytes that it has."""
        return memory.used_mb()

    @staticmethod
    def optimize_memory() -> dict[str, float]:
        """Collect garbage: `{"initial_memory", "final_memory", "memory_freed"}`, in megabytes."""
        before = memory.used_mb()
        gc.collect()
        after = memory.used_mb()
        freed = max(0.0, round(before - after, 2))
        return {"initial_memory": before, "final_memory": after, "memory_freed": freed}

    @staticmethod
    def monitor_memory(function: Function) -> Function:
        """Decorate a function: the log tells how much memory a call leaves taken, and how long it
        takes."""

        @functools.wraps(function)
        def monitored(*arguments: Any, **options: Any) -> Any:
            before, began = memory.used_mb(), time.monotonic()
            try:
                return function(*arguments, **options)
            finally:
                logger.debug(
                    "%s took %.3f s, memory %+.1f MB",
                    function.__qualname__,
                    time.monotonic() - began,
                    memory.used_mb() - before,
                )

        return cast("Function", monitored)


class CacheOptimizer:
    """Django's cache. Hits and misses are counted there, for all processes that share it."""

    @staticmethod
    def get_or_set_cache(key: str, callback: Callable[[], Any], timeout: float = 3_600) -> Any:
        """What is kept under a key, or what the function gives, kept for so many seconds."""
        missing = object()
        found = cache.get(key, missing)
        _count(_MISSES if found is missing else _HITS)
        if found is missing:
            found = callback()
            cache.set(key, found, timeout)
        return found

    @staticmethod
    def cache_model_data(key: str, data: Any, timeout: float = 1_800) -> None:
        """Keep something for so many seconds."""
        cache.set(_data_key(key), data, timeout)

    @staticmethod
    def get_cached_model_data(key: str) -> Any:
        """What is kept, or None."""
        missing = object()
        found = cache.get(_data_key(key), missing)
        _count(_MISSES if found is missing else _HITS)
        return None if found is missing else found

    @staticmethod
    def invalidate_model_cache(key: str) -> None:
        """Forget it."""
        cache.delete(_data_key(key))

    @staticmethod
    def statistics() -> dict[str, int]:
        """`{"cache_hits", "cache_misses"}` since the cache was emptied."""
        found = cache.get_many([_HITS, _MISSES])
        return {"cache_hits": found.get(_HITS, 0), "cache_misses": found.get(_MISSES, 0)}


@contextmanager
def counting_queries() -> Iterator[list[int]]:
    """Count the queries of this thread in the block: `[0]` of what it gives."""
    count = [0]

    def one_more(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        count[0] += 1
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(one_more))
        yield count


@contextmanager
def _counting_rows(using: str) -> Iterator[list[int]]:
    """Count the rows that INSERTs of the block really make."""
    count = [0]

    def add(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        answer = execute(sql, params, many, context)
        if isinstance(sql, str) and sql.startswith("INSERT"):
            count[0] += max(context["cursor"].rowcount, 0)
        return answer

    with connections[using].execute_wrapper(add):
        yield count


def _batches(
    data_list: Iterable[Mapping[str, Any]], batch_size: int | None
) -> Iterator[list[Mapping[str, Any]]]:
    wanted = conf.value("CORE", "DEFAULT_BATCH_SIZE") if batch_size is None else batch_size
    if not (isinstance(wanted, int) and wanted > 0):
        raise BadRequestError(f"{wanted!r} is no size of a batch: give 1 or more.")
    size = min(wanted, conf.value("CORE", "MAX_BATCH_SIZE"))
    rows = iter(data_list)
    while batch := list(islice(rows, size)):
        yield batch


def _fields_of(model: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row by the names that the model's constructor takes."""
    known = {field.name: field for field in model._meta.concrete_fields}
    known |= {field.attname: field for field in model._meta.concrete_fields}
    found = {}
    for name, value in row.items():
        field = model._meta.pk if name == "pk" else known.get(name)
        if field is None:
            raise BadRequestError(f"{model._meta.label} has no field {name!r}.")
        is_object = field.is_relation and isinstance(value, models.Model)
        found[field.name if is_object else field.attname] = value
    return found


def _write(model: Any, rows: Sequence[dict[str, Any]], using: str) -> tuple[int, int]:
    """Write a batch; how many rows were created and updated."""
    meta = model._meta
    manager, key = model._base_manager.using(using), meta.pk.attname
    keys = [row[key] for row in rows if row.get(key) is not None]
    there = manager.in_bulk(keys) if keys else {}
    new: list[Any] = []
    changed: dict[tuple[str, ...], dict[Any, Any]] = {}
    made: dict[Any, Any] = {}
    for row in rows:
        pk = meta.pk.to_python(row.get(key))
        instance = there.get(pk) or made.get(pk)
        if instance is None:
            instance = model(**row)
            new.append(instance)
            if pk is not None:
                made[pk] = instance
            continue
        for name, value in row.items():
            setattr(instance, name, value)
        names = tuple(sorted({meta.get_field(name).name for name in row} - {meta.pk.name}))
        if pk in there and names:
            changed.setdefault(names, {})[pk] = instance
    if meta.all_parents:
        for instance in new:  # whose row is in several tables
            instance.save(using=using, force_insert=instance.pk is not None)
    else:
        manager.bulk_create(new)
    touched = [field for field in meta.concrete_fields if getattr(field, "auto_now", False)]
    for names, instances in changed.items():
        for field in touched:
            for instance in instances.values():
                field.pre_save(instance, add=False)
        also = {field.name for field in touched}
        manager.bulk_update(instances.values(), sorted({*names, *also}))
    return len(new), sum(len(instances) for instances in changed.values())


def _described(model: Any) -> dict[str, dict[str, Any]]:
    return {
        field.name: {
            "type": field.get_internal_type(),
            "required": not (field.null or field.blank or field.has_default()),
            "max_length": field.max_length,
        }
        for field in model._meta.concrete_fields
    }


def _data_key(key: str) -> str:
    return f"sb_sync:data:{key}"


def _count(name: str) -> None:
    cache.add(name, 0, _COUNTED_S)
    try:
        cache.incr(name)
    except ValueError:  # it went between the two
        cache.add(name, 1, _COUNTED_S)
