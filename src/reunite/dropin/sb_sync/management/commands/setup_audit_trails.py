"""`manage.py setup_audit_trails`: who changed what of organizations, rights and configuration.

setup     a first line for what has none, so that every trail has a beginning
check     how many lines there are, and how long the hub's log is for the project's own models
cleanup   the newest 1,000 lines of each model stay

What changes of these models is recorded without any setup; what changes of the project's tables is
in the hub's log. A history of django-simple-history is begun and counted, too, and cleaned up if
--model names it. So are the trails of the API's own log and counters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from reunite.contrib.django import histories, trail
from reunite.contrib.django.discovery import label_of
from reunite.contrib.django.models import DirectoryHistory
from reunite.dropin.sb_sync import discovery
from reunite.dropin.sb_sync.management.telling import SyncCommand, action

LINES_KEPT = 1_000

# Changes of a model that `check` counts.
COUNTED_MAX = 1_000


class Command(SyncCommand):
    """The command."""

    help = "Audit trails of organizations, rights and configuration: setup, check, cleanup."

    def add_flags(self, parser: CommandParser) -> None:
        action(parser, "setup", "check", "cleanup", default="setup")
        parser.add_argument("--model", help="app.Model: only this one")
        parser.add_argument("--dry-run", action="store_true", help="of cleanup: only tell")

    def answer(self, options: Mapping[str, Any]) -> Any:
        chosen = _chosen(options["model"])
        return getattr(self, f"_{options['action']}")(chosen, options)

    def _setup(self, chosen: list[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "begun": {label_of(one): _begin(one) for one in chosen if _has_lines(one)},
            "recorded_by_the_hub": _tracked(chosen),
        }

    def _check(self, chosen: list[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "history": {label_of(one): _lines(one).count() for one in chosen if _has_lines(one)},
            "recorded_by_the_hub": _tracked(chosen),
        }

    def _cleanup(self, chosen: list[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        removed = {}
        for model in chosen:
            if not (trail.has_trail(model) or (options["model"] and _has_lines(model))):
                continue
            lines = _lines(model).order_by("-history_date", "-pk")
            newest = lines.values_list("pk", flat=True)[:LINES_KEPT]
            old = _lines(model).exclude(pk__in=list(newest))
            removed[label_of(model)] = old.count() if options["dry_run"] else old.delete()[0]
        return {**({"dry_run": True} if options["dry_run"] else {}), "removed": removed}


def _chosen(label: str | None) -> list[Any]:
    if label is None:
        ours = [apps.get_model("reunite", name) for name in trail.MODELS]
        return [*ours, *discovery.enabled().values()]
    found = discovery.find(label)
    if found is None:
        raise CommandError(f"There is no model {label!r}: write app.Model.")
    return [found.model]


def _has_lines(model: Any) -> bool:
    """Whether a model has a history of ours or of django-simple-history."""
    return trail.has_trail(model) or histories.manager_of(model) is not None


def _lines(model: Any) -> Any:
    if trail.has_trail(model):
        return DirectoryHistory.objects.filter(model_name=label_of(model))
    return histories.manager_of(model).all()


def _begin(model: Any) -> int:
    return trail.begin(model) if trail.has_trail(model) else histories.begin(model)


def _tracked(models: list[Any]) -> dict[str, str]:
    """By model, how many changes of its rows the hub's log has, up to COUNTED_MAX."""
    hub = apps.get_app_config("reunite").hub()
    if not hub.is_installed():
        return {}
    tracked, found = set(hub.tracked_tables()), {}
    for model in models:
        table = model._meta.db_table
        if table in tracked:
            count = len(hub.log(table=table, limit=COUNTED_MAX))
            found[label_of(model)] = f"{count}{' or more' if count == COUNTED_MAX else ''} changes"
    return found
