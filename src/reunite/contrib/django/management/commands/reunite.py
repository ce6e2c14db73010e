"""`manage.py reunite`: how the hubs of a project stand, what is wrong with them, and triggers.

status      what is tracked, what is not and why, how long the log is, who has replicas
doctor      looks for what is missing; exit code 1 if something is
triggers    installs what `migrate` installs; --dry-run only tells
token       a token for a device of a user's; shown once
adopt       `adopt sb-sync`: what sb-sync has made becomes the drop-in's; before the first `migrate`
uninstall   takes triggers and log off a database
jobs        runs the periodic work of the hub and of apps that have some, until it is stopped
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from reunite.contrib.django.conf import setting
from reunite.contrib.django.discovery import label_of, reason_against, tables_there
from reunite.contrib.django.hubs import DjangoHub
from reunite.contrib.django.tidying import tidily
from reunite.engine.directory import NO_TENANT
from reunite.errors import ReuniteError
from reunite.interrupts import wait_for_interrupt

# A small step of trimming the log each time; pushes and pulls do it, too.
_TRIM_EVERY_S = 60


class Command(BaseCommand):
    """The command."""

    help = "How the hubs of this project stand, what is wrong with them, and their triggers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            choices=["status", "doctor", "triggers", "token", "adopt", "uninstall", "jobs"],
        )
        parser.add_argument(
            "user", nargs="?", help="of `token`: the name of a user; of `adopt`: sb-sync"
        )
        parser.add_argument("--organization", help="of `token`: the slug of one of the user's")
        parser.add_argument("--label", default="", help="of `token`: what the device is called")
        parser.add_argument("--database", help="only this one; by default all that are hubs")
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.add_argument("--dry-run", action="store_true", help="of `triggers`: only tell")
        parser.add_argument("--yes", action="store_true", help="of `uninstall`: do not ask")

    def handle(self, *arguments: Any, **options: Any) -> None:
        action = options["action"]
        if options["user"] and action not in ("token", "adopt"):
            raise CommandError(f"`reunite {action}` takes no user.")
        try:
            answers = {
                using: getattr(self, f"_{action}")(self._hub(using), options)
                for using in self._databases(options)
            }
        except ReuniteError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps(answers, indent=2, ensure_ascii=False))
        else:
            for using, answer in answers.items():
                self._tell(using, answer)
        if action == "doctor" and any(answer["problems"] for answer in answers.values()):
            raise SystemExit(1)

    def _databases(self, options: Mapping[str, Any]) -> list[str]:
        wanted = options["database"]
        if wanted is None:
            return list(setting("DATABASES"))
        if wanted not in connections:
            raise CommandError(f"There is no database {wanted!r} in DATABASES.")
        return [wanted]

    def _hub(self, using: str) -> DjangoHub:
        found: DjangoHub = apps.get_app_config("reunite").hub(using)
        return found

    # --- Actions ----------------------------------------------------------------------------------

    def _status(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        tracked = set(hub.tracked_tables())
        models = hub.models()
        answer: dict[str, Any] = {
            "installed": hub.is_installed(),
            "tracked": {
                one.label: {
                    "table": table,
                    "organization": one.tenant,
                    "apply": one.applies,
                    "hidden": list(one.secrets),
                }
                for table, one in sorted(models.items())
                if table in tracked
            },
            "waiting": sorted(one.label for name, one in models.items() if name not in tracked),
            "left_out": {
                label_of(model): reason
                for model in apps.get_models()
                if (reason := reason_against(model, hub.using)) is not None
            },
        }
        if answer["installed"]:
            status = hub.status()
            answer |= {
                "commits": status.seq,
                "changes": status.changes,
                "replicas": [
                    {"id": replica.id, "user": replica.principal, "name": replica.name}
                    for replica in status.replicas
                ],
            }
        return answer

    def _doctor(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        if not hub.is_installed():
            return {"problems": ["nothing is installed: run `manage.py migrate`"]}
        problems = [
            f"{table}: its triggers are missing or old, so writes may have escaped: run "
            "`manage.py reunite triggers`, and replicas compare the table"
            for table in hub.uncaptured()
        ]
        tracked, there = set(hub.tracked_tables()), set(tables_there(hub.using))
        models = hub.models()
        for table, one in models.items():
            if table not in there:
                problems.append(f"{one.label}: its table {table} is not there: run migrations")
            elif table not in tracked:
                problems.append(f"{one.label}: not tracked: run `manage.py reunite triggers`")
        problems += [
            f"{table}: tracked, and no model to track any more: run `manage.py reunite triggers`"
            for table in sorted(tracked - set(models))
        ]
        return {"problems": problems}

    def _triggers(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        if options["dry_run"]:
            tracked, there = set(hub.tracked_tables()), set(tables_there(hub.using))
            wanted = set(hub.models()) & there
            return {
                "would_track": sorted(wanted - tracked),
                "would_untrack": sorted(tracked - wanted),
                "would_renew": sorted(set(hub.uncaptured()) & wanted) if tracked else [],
            }
        done = hub.install()
        return {
            "tracked": list(done.tracked),
            "untracked": list(done.untracked),
            "refused": dict(done.refused),
            "unchanged": done.unchanged,
        }

    def _token(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        user = options["user"]
        if not user:
            raise CommandError("Say for whom: `manage.py reunite token USER`.")
        with hub.reading() as tx:
            names = list(hub.users.tenants_of(tx, user))
            wanted = options["organization"]
            if wanted is not None:
                names = [name for name in names if name == wanted]
            if not names:
                raise CommandError(f"{user!r} is no active user who may come there.")
            if len(names) > 1:
                raise CommandError(f"Give --organization: {user!r} is in {', '.join(names)}.")
            principal = hub.users.member(tx, user, names[0])
        assert principal is not None
        token = hub.create_token(principal, label=options["label"])
        return {
            "user": user,
            "organization": names[0] if names[0] != NO_TENANT else None,
            "token": token,
        }

    def _adopt(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        if options["user"] != "sb-sync":
            raise CommandError("Say what: `manage.py reunite adopt sb-sync`.")
        if not apps.is_installed("reunite.dropin.sb_sync"):
            raise CommandError("Add 'reunite.dropin.sb_sync' to INSTALLED_APPS first.")
        from reunite.dropin.sb_sync.adopting import adopt

        done = adopt(hub.using)
        return {"adopted": done.rows, "left": done.left}

    def _uninstall(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        if not hub.is_installed():
            return {"uninstalled": False}
        if not options["yes"]:
            answer = input(f"Take triggers, log and history off the database {hub.using!r}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was done.")
        hub.uninstall()
        return {"uninstalled": True}

    def _jobs(self, hub: DjangoHub, options: Mapping[str, Any]) -> dict[str, Any]:
        if len(self._databases(options)) != 1:
            raise CommandError("Say for which database: --database.")
        if not hub.is_installed():
            raise CommandError("Nothing is installed: run `manage.py migrate`.")
        for config in apps.get_app_configs():
            add = getattr(config, "add_sync_jobs", None)
            if add is not None:
                add(hub)
        hub.every(seconds=_TRIM_EVERY_S, name="reunite.trim")(lambda: tidily(hub.keep_up))
        hub.start_jobs()
        self.stderr.write("The jobs run; Ctrl-C ends them.")
        try:
            wait_for_interrupt()
        except KeyboardInterrupt:
            pass
        finally:
            hub.stop_jobs()
        return {"stopped": True}

    # --- In words ---------------------------------------------------------------------------------

    def _tell(self, using: str, answer: Mapping[str, Any]) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"Database {using}"))
        for name, value in answer.items():
            title = name.replace("_", " ")
            if isinstance(value, dict):
                self.stdout.write(f"  {title}: {len(value)}")
                for key, one in value.items():
                    self.stdout.write(f"    {key}: {_in_words(one)}")
            elif isinstance(value, list):
                self.stdout.write(f"  {title}: {len(value)}")
                for one in value:
                    self.stdout.write(f"    {_in_words(one)}")
            else:
                self.stdout.write(f"  {title}: {_in_words(value)}")


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {_in_words(one)}" for name, one in value.items() if one not in (None, [], "")
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
