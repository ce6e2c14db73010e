"""`manage.py show_models`: which models the API offers, and why it does not offer the others.

summary   how many            all       every model, with the reason against it
enabled   what is offered     disabled  what is not
default   what a pull gives that names no model
details   the fields of each
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from reunite.contrib.django.discovery import secret_columns, tracked_models
from reunite.dropin.sb_sync import discovery
from reunite.dropin.sb_sync.discovery import Found
from reunite.dropin.sb_sync.management.telling import SyncCommand, action
from reunite.dropin.sb_sync.optimizations import ModelMetadataCache


class Command(SyncCommand):
    """The command."""

    help = "Which models the sync API offers, and why not the others."

    def add_flags(self, parser: CommandParser) -> None:
        action(
            parser, "summary", "all", "enabled", "disabled", "default", "details", default="summary"
        )
        parser.add_argument("--app-label", help="only the models of this app")
        parser.add_argument("--verbose", action="store_true", help="with tables and fields")

    def answer(self, options: Mapping[str, Any]) -> Any:
        found = [
            one
            for one in discovery.discovered()
            if options["app_label"] in (None, one.model._meta.app_label)
        ]
        if not found and options["app_label"]:
            raise CommandError(f"There is no app {options['app_label']!r} with models.")
        enabled = [one for one in found if one.is_enabled]
        match options["action"]:
            case "summary":
                return _summary(found, enabled)
            case "all":
                return {"models": [self._told(one, options) for one in found]}
            case "disabled":
                off = [one for one in found if not one.is_enabled]
                return {"models": [self._told(one, options) for one in off]}
            case "details":
                return {"models": [_detailed(one) for one in enabled]}
            case _:
                return {"models": [self._told(one, options) for one in enabled]}

    def words(self, answer: Any, options: Mapping[str, Any]) -> list[str]:
        if "models" not in answer or options["action"] == "summary":
            return super().words(answer, options)
        lines = []
        for one in answer["models"]:
            reason = f": {one['reason']}" if one.get("reason") else ""
            lines.append(f"{one['model']}{reason}")
            if "table" in one:
                lines.append(
                    f"  table {one['table']}, organization {one['organization'] or 'none'}"
                )
            for name, field in one.get("fields", {}).items():
                more = ", required" if field["required"] else ""
                more += f", {field['max_length']} at most" if field["max_length"] else ""
                lines.append(f"  {name}: {field['type']}{more}")
            if one.get("hidden"):
                lines.append(f"  never sent: {', '.join(one['hidden'])}")
        return [*lines, f"{len(answer['models'])} models"]

    def _told(self, one: Found, options: Mapping[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"model": one.label, "kind": one.kind, "enabled": one.is_enabled}
        if one.reason:
            told["reason"] = one.reason
        return {**told, **_table(one)} if options["verbose"] and one.is_enabled else told


def _summary(found: Sequence[Found], enabled: Sequence[Found]) -> dict[str, Any]:
    return {
        "models": len(found),
        "enabled": len(enabled),
        "disabled": len(found) - len(enabled),
        "enabled_by_app": dict(Counter(one.model._meta.app_label for one in enabled)),
        "reasons": dict(Counter(one.reason.partition(":")[0] for one in found if one.reason)),
    }


def _table(one: Found) -> dict[str, Any]:
    table = one.model._meta.db_table
    tracked = tracked_models(one.model._base_manager.db).get(table)
    return {"table": table, "organization": tracked.tenant if tracked else None}


def _detailed(one: Found) -> dict[str, Any]:
    hidden = set(secret_columns(one.model))
    fields = ModelMetadataCache.get_model_fields(one.label)
    return {
        "model": one.label,
        **_table(one),
        "fields": {name: about for name, about in fields.items() if name not in hidden},
        "hidden": sorted(hidden),
    }
