"""`manage.py cleanup_sync_logs`: old lines of the sync log go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from reunite.dropin.sb_sync import monitoring
from reunite.dropin.sb_sync.conf import LOGS_KEPT_DAYS
from reunite.dropin.sb_sync.management.telling import SyncCommand


class Command(SyncCommand):
    """The command."""

    help = "Delete lines of the sync log that are older than some days."

    def add_flags(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=LOGS_KEPT_DAYS)
        parser.add_argument("--dry-run", action="store_true", help="only tell")

    def answer(self, options: Mapping[str, Any]) -> Any:
        if options["days"] < 0:
            raise CommandError("--days is 0 or more.")
        old = monitoring.old_logs(options["days"])
        if options["dry_run"]:
            return {"dry_run": True, "deleted": old.count()}
        return {"deleted": monitoring.delete(old)}

    def words(self, answer: Any, options: Mapping[str, Any]) -> list[str]:
        if options["dry_run"]:
            return [f"{answer['deleted']} old sync log entries would be deleted"]
        return [f"Successfully deleted {answer['deleted']} old sync log entries"]
