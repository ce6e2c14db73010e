"""A database that sb-sync made becomes this app's: `manage.py reunite adopt sb-sync`.

    organizations, memberships, permissions, filters    their tables get our names: keys and the
                                                        foreign keys of a project's tables stay
    log, counters, measurements                         copied into our tables, without the bodies
                                                        of requests that sb-sync logged
    histories and examples of sb-sync's                 stay as they are, and are named

The rule         before `migrate`, once; what was interrupted goes on when it is called again.
                 Nothing but sb-sync's own tables is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections, models, transaction
from django.db.migrations.recorder import MigrationRecorder

from reunite.contrib.django.models import (
    DataFilter,
    ModelPermission,
    Organization,
    UserOrganization,
)
from reunite.dropin.sb_sync.models import (
    PerformanceMetrics,
    SyncLog,
    SyncMetadata,
    UserSyncMetadata,
)
from reunite.errors import CallerError

# sb-sync's tables that are ours under other names.
_RENAMED: Sequence[tuple[str, Any]] = (
    ("sb_sync_organization", Organization),
    ("sb_sync_user_organization", UserOrganization),
    ("sb_sync_model_permission", ModelPermission),
    ("sb_sync_data_filter", DataFilter),
)

# Those that are copied, with what goes where theirs has nothing.
_COPIED: Sequence[tuple[Any, dict[str, str]]] = (
    (SyncLog, {"object_count": "0"}),
    (SyncMetadata, {"total_synced": "0"}),
    (UserSyncMetadata, {"total_synced": "0"}),
    (PerformanceMetrics, {"memory_usage": "0", "query_count": "0", "batch_size": "0"}),
)

# Bodies of requests: values of rows, which no log of ours has.
_LEFT_BEHIND = frozenset({"request_data"})

_ASIDE = "old_"


class Adopted(NamedTuple):
    """What was done: rows by table, and the tables of sb-sync's that are left."""

    rows: dict[str, int]
    left: list[str]


def adopt(using: str = "default") -> Adopted:
    """Make sb-sync's tables ours. Raises CallerError where there are none, or both."""
    connection = connections[using]
    there = _tables(connection)
    aside = [model for model, _ in _COPIED if _ASIDE + model._meta.db_table in there]
    if not aside and _RENAMED[0][0] not in there:
        raise CallerError(f"The database {using!r} has no tables of sb-sync's.")
    with transaction.atomic(using=using):
        _make_room(connection, there)
    call_command("migrate", "reunite", database=using, fake_initial=True, verbosity=0)
    call_command("migrate", "sb_sync", database=using, verbosity=0)
    rows = {}
    with transaction.atomic(using=using):
        for old, model in _RENAMED:
            _widen(connection, model)
            rows[old] = model._base_manager.using(using).count()
        there = _tables(connection)
        for model, instead in _COPIED:
            name = model._meta.db_table
            if _ASIDE + name in there:
                rows[name] = _copy(connection, model, instead)
        kinds = [model for model, _ in _COPIED] + [model for _, model in _RENAMED]
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), kinds):
                cursor.execute(statement)
    ours = {model._meta.db_table for model, _ in _COPIED} | {"sb_sync_stamp"}
    left = sorted(
        name for name in _tables(connection) if name.startswith("sb_sync_") and name not in ours
    )
    return Adopted(rows=rows, left=left)


def _tables(connection: Any) -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.table_names(cursor))


def _make_room(connection: Any, there: set[str]) -> None:
    """Give sb-sync's tables their new names, and forget that its migrations were ours."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for old, model in _RENAMED:
            new = model._meta.db_table
            if old not in there:
                continue
            if new in there:
                raise CallerError(
                    f"There is {new!r} already, beside {old!r}: adopt before the first `migrate`."
                )
            cursor.execute(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")
        recorder = MigrationRecorder(connection)
        is_first = any(old in there for old, _ in _RENAMED)
        for model, _ in _COPIED:
            name = model._meta.db_table
            if is_first and name in there and _ASIDE + name not in there:
                cursor.execute(f"ALTER TABLE {quote(name)} RENAME TO {quote(_ASIDE + name)}")
                _rename_indexes(connection, cursor, _ASIDE + name)
        if is_first and recorder.has_table():
            recorder.migration_qs.filter(app="sb_sync").delete()


def _rename_indexes(connection: Any, cursor: Any, table: str) -> None:
    """Names of indexes are the database's, not a table's: ours may be the same."""
    if connection.vendor == "sqlite":
        names = [
            name
            for name, found in connection.introspection.get_constraints(cursor, table).items()
            if found["index"] and not found["primary_key"] and not name.startswith("__")
        ]
        for name in names:
            if not name.startswith("sqlite_autoindex"):
                cursor.execute(f"DROP INDEX IF EXISTS {connection.ops.quote_name(name)}")
        return
    for name, found in connection.introspection.get_constraints(cursor, table).items():
        quoted = connection.ops.quote_name(name)
        if found["foreign_key"] or found["primary_key"] or found["unique"] or found["check"]:
            quoted_table = connection.ops.quote_name(table)
            cursor.execute(f"ALTER TABLE {quoted_table} DROP CONSTRAINT IF EXISTS {quoted} CASCADE")
        cursor.execute(f"DROP INDEX IF EXISTS {quoted}")


def _widen(connection: Any, model: Any) -> None:
    """Texts may be as long as ours; SQLite does not care."""
    if connection.vendor != "postgresql":
        return
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for field in model._meta.local_concrete_fields:
            if isinstance(field, models.CharField):
                cursor.execute(
                    f"ALTER TABLE {quote(model._meta.db_table)} ALTER COLUMN "
                    f"{quote(field.column)} TYPE {field.db_type(connection)}"
                )


def _copy(connection: Any, model: Any, instead: dict[str, str]) -> int:
    """The rows of a table that stands aside, which goes then."""
    quote = connection.ops.quote_name
    old = _ASIDE + model._meta.db_table
    with connection.cursor() as cursor:
        known = {
            column.name for column in connection.introspection.get_table_description(cursor, old)
        }
        names, values = [], []
        for field in model._meta.local_concrete_fields:
            name = field.column
            if name in known and name not in _LEFT_BEHIND:
                names.append(quote(name))
                quoted = quote(name)
                if name in instead:
                    quoted = f"CASE WHEN {quoted} >= 0 THEN {quoted} ELSE {instead[name]} END"
                values.append(quoted)
            elif not field.null:
                names.append(quote(name))
                values.append("0" if isinstance(field, models.IntegerField) else "''")
        cursor.execute(
            f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(names)}) "
            f"SELECT {', '.join(values)} FROM {quote(old)}"
        )
        cursor.execute(f"DROP TABLE {quote(old)}")
    return int(model._base_manager.using(connection.alias).count())
