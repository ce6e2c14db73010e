"""What became of a row, from the log: who, when, which fields, from what to what.

    class PatientAdmin(AuditedAdmin): …          the page "History" of each object shows it

What it is       the log read for one object of a model, with the tables that it inherits from.
What it is not   a second history: the very log that syncs is told, whoever wrote, trimmed as it is.
The rule         fields that look like secrets are named and not shown; who may not see the object
                 does not see its history.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import connections, router
from django.utils.functional import SimpleLazyObject

from reunite.contrib.django import histories
from reunite.contrib.django.conf import setting
from reunite.contrib.django.histories import HIDDEN, Change, FieldChange
from reunite.contrib.django.hubs import DjangoHub
from reunite.core.change import Op
from reunite.core.values import wire_integer
from reunite.engine.history import HistoryEntry

# Changes that a page shows, the newest ones.
CHANGES_MAX = 200

_VERBS = {Op.INSERT: "created", Op.UPDATE: "changed", Op.DELETE: "deleted"}


def changes_of(instance: Any, *, limit: int = CHANGES_MAX) -> list[Change]:
    """The newest changes of an object's row, newest first; none if its model is not tracked.

    Cost: the row's part of the log.
    """
    using = instance._state.db or router.db_for_write(type(instance), instance=instance)
    if using not in setting("DATABASES"):
        return []
    hub: DjangoHub = apps.get_app_config("reunite").hub(using)
    if not hub.is_installed():
        return []
    known = set(hub.tracked_tables())
    models = hub.models()
    found: list[tuple[int, Change]] = []
    for model in (type(instance)._meta.concrete_model, *instance._meta.all_parents):
        one = models.get(model._meta.db_table)
        if one is None or one.table not in known:
            continue
        key = _wire_key(model._meta.pk, getattr(instance, model._meta.pk.attname), using)
        fields = {field.column: field.name for field in model._meta.local_concrete_fields}
        for entry in hub.history(one.table, (key,)):
            change = _change(entry, fields, set(one.secrets))
            if change is not None:
                found.append((entry.id, change))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [change for _, change in found[:limit]]


class AuditedAdmin(admin.ModelAdmin):
    """A `ModelAdmin` whose page "History" shows what the log knows, and what django-simple-history
    has kept of a model that it follows, above Django's own list."""

    object_history_template = "reunite/object_history.html"

    def history_view(self, request: Any, object_id: str, extra_context: Any = None) -> Any:
        """Django's page, with `changes`."""

        def find() -> list[Change]:
            instance = self.get_object(request, unquote(object_id))
            return [] if instance is None else changes_of(instance)

        def find_kept() -> list[Change]:
            instance = self.get_object(request, unquote(object_id))
            return [] if instance is None else histories.changes_of(instance, limit=CHANGES_MAX)

        # Read when the page is made: Django has asked by then whether it may be seen.
        context = {
            "changes": SimpleLazyObject(find),
            "kept": SimpleLazyObject(find_kept),
            "has_kept": histories.manager_of(self.model) is not None,
            **(extra_context or {}),
        }
        return super().history_view(request, object_id, context)


def _wire_key(field: Any, value: Any, using: str) -> Any:
    """A primary key as the log has it."""
    while field.is_relation:
        field = field.target_field
    stored = field.get_db_prep_value(value, connections[using], prepared=False)
    if isinstance(stored, bool) or not isinstance(stored, int):
        return str(stored)
    return wire_integer(stored)


def _change(entry: HistoryEntry, fields: Mapping[str, str], secrets: set[str]) -> Change | None:
    """An entry as a person reads it; None for one that left the row as it was."""
    if entry.is_rewrite:
        return None
    old, new = entry.old or {}, entry.row or {}
    changed = [
        FieldChange(
            fields.get(column, column),
            None if column not in old else HIDDEN if column in secrets else old[column],
            None if column not in new else HIDDEN if column in secrets else new[column],
        )
        for column in {**old, **new}
        if old.get(column) != new.get(column)
    ]
    at = None if entry.at_ms is None else datetime.fromtimestamp(entry.at_ms / 1_000, UTC)
    return Change(
        at=at,
        user=entry.principal,
        replica=entry.replica,
        action="erased" if entry.is_erased else _VERBS[entry.op],
        fields=changed,
    )
