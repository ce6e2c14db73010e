"""`manage.py configure_model_discovery`: which models the API offers, kept in the database.

Every process knows of it within some seconds. --test-discovery tells what it comes to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from reunite.dropin.sb_sync import configuring, discovery
from reunite.dropin.sb_sync.management.telling import SyncCommand

_SECTION = "MODEL_DISCOVERY"
_LISTS = {
    "set_include_apps": "INCLUDE_APPS",
    "set_exclude_models": "EXCLUDE_MODELS",
    "set_exclude_patterns": "EXCLUDE_MODEL_PATTERNS",
    "set_include_patterns": "INCLUDE_MODEL_PATTERNS",
    "set_exclude_fields": "EXCLUDE_MODELS_WITH_FIELDS",
    "set_require_fields": "REQUIRE_MODELS_WITH_FIELDS",
}


class Command(SyncCommand):
    """The command."""

    help = "Configure which models the sync API offers."

    def add_flags(self, parser: CommandParser) -> None:
        parser.add_argument("--list-current", action="store_true", help="what counts now")
        for flag, key in _LISTS.items():
            parser.add_argument(
                f"--{flag.replace('_', '-')}", nargs="*", metavar="NAME", help=f"{key}; none: []"
            )
        parser.add_argument("--set-model-types", nargs="+", choices=discovery.KINDS)
        parser.add_argument("--set-app-exclusions", metavar="JSON", help='{"app": ["Model"]}')
        parser.add_argument("--set-max-models", type=int, metavar="N")
        parser.add_argument("--test-discovery", action="store_true", help="list what is offered")
        parser.add_argument("--reset-to-defaults", action="store_true")
        parser.add_argument("--dry-run", action="store_true", help="only tell")

    def answer(self, options: Mapping[str, Any]) -> Any:
        wanted = _wanted(options)
        if wanted and options["reset_to_defaults"]:
            raise CommandError("Either --reset-to-defaults or new values.")
        told = configuring.problems({_SECTION: wanted})
        if told:
            raise CommandError(" ".join(told))
        answer: dict[str, Any] = {}
        if options["dry_run"]:
            answer["dry_run"] = True
        elif options["reset_to_defaults"]:
            answer["removed"] = configuring.reset([_SECTION])
        elif wanted:
            configuring.store({_SECTION: wanted})
        if wanted:
            answer["set"] = wanted
        if options["test_discovery"]:
            found = discovery.discovered()
            answer["offered"] = [one.label for one in found if one.is_enabled]
            answer["left_out"] = {one.label: one.reason for one in found if one.reason}
        if options["list_current"] or not answer:
            answer["current"] = configuring.current([_SECTION])[_SECTION]
        return answer


def _wanted(options: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {key: options[flag] for flag, key in _LISTS.items() if options[flag] is not None}
    if options["set_model_types"] is not None:
        wanted["INCLUDE_MODEL_TYPES"] = options["set_model_types"]
    if options["set_max_models"] is not None:
        wanted["MAX_MODELS_PER_APP"] = options["set_max_models"]
    if options["set_app_exclusions"] is not None:
        try:
            wanted["APP_SPECIFIC_EXCLUSIONS"] = json.loads(options["set_app_exclusions"])
        except ValueError as error:
            raise CommandError(f"--set-app-exclusions is no JSON: {error}.") from error
    return wanted
