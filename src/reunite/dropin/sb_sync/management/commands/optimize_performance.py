"""`manage.py optimize_performance`: what pushes and pulls take, and what can be done about it.

analyze    figures of the last --days, and what they ask for
optimize   tables analyzed, caches warmed, garbage collected; without --force only if asked for
cleanup    lines of the log older than 90 days and measurements older than 30 go
monitor    what the machine has left
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection, connections

from reunite.dropin.sb_sync import logs, memory, monitoring, tasks
from reunite.dropin.sb_sync.management.telling import SyncCommand, action

# Percent that are taken, and connections, above which something is said.
WARN_ABOVE = {"cpu_percent": 80, "memory_percent": 85, "disk_percent": 90, "connections": 100}


class Command(SyncCommand):
    """The command."""

    help = "Analyze, optimize, clean up and monitor what the sync API takes."

    def add_flags(self, parser: CommandParser) -> None:
        action(parser, "analyze", "optimize", "cleanup", "monitor", default="analyze")
        parser.add_argument("--days", type=int, default=7, help="of analyze and optimize")
        parser.add_argument("--force", action="store_true", help="optimize in any case")
        parser.add_argument("--dry-run", action="store_true", help="only tell")

    def answer(self, options: Mapping[str, Any]) -> Any:
        if options["days"] < 0:
            raise CommandError("--days is 0 or more.")
        return getattr(self, f"_{options['action']}")(options)

    def _analyze(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = monitoring.report(options["days"])
        figures = found["performance_stats"]
        return {
            "days": options["days"],
            "memory_usage_mb": found["current_memory_usage"],
            "cache_hit_rate": figures["cache_hit_rate"],
            "average_processing_time_s": figures["average_processing_time"],
            "total_operations": figures["total_operations"],
            "average_query_count": figures["avg_query_count"],
            "slow_operations": figures["slow_operations"],
            "recommendations": found["optimization_suggestions"],
        }

    def _optimize(self, options: Mapping[str, Any]) -> dict[str, Any]:
        asked = self._analyze(options)["recommendations"]
        if not (asked or options["force"]):
            return {"optimized": False, "why": "nothing asks for it; --force does it all the same"}
        if options["dry_run"]:
            return {"dry_run": True, "optimized": False, "recommendations": asked}
        return {
            "optimized": True,
            "recommendations": asked,
            "analyzed_tables": tasks.analyze(),
            **tasks.cache_warmup(),
            **tasks.memory_optimization(),
        }

    def _cleanup(self, options: Mapping[str, Any]) -> dict[str, Any]:
        old = {"deleted_logs": monitoring.old_logs(), "deleted_metrics": monitoring.old_metrics()}
        if options["dry_run"]:
            return {"dry_run": True, **{name: rows.count() for name, rows in old.items()}}
        return {name: monitoring.delete(rows) for name, rows in old.items()}

    def _monitor(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = {**memory.machine(logs.folder())._asdict(), "connections": _connections()}
        warnings = [
            f"{name.replace('_', ' ')}: {found[name]}, which is more than {most}"
            for name, most in WARN_ABOVE.items()
            if found[name] is not None and found[name] > most
        ]
        return {**found, "process_memory_mb": memory.used_mb(), "warnings": warnings}


def _connections() -> int:
    """To the project's database: all of PostgreSQL's, on SQLite this process's."""
    if connection.vendor != "postgresql":
        return sum(1 for one in connections.all() if one.connection is not None)
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_stat_activity where datname = current_database()")
        return int(cursor.fetchone()[0])
