"""Django's `migrate`, with capture out of its way where its triggers would stand in it.

    SQLite refuses to drop a column that a trigger names. If a migration may do that, triggers are
    off while migrations run, and on again afterwards however they end; replicas then compare the
    tables that were written meanwhile. All other migrations are captured like everything else.

The rule         `post_migrate`, or the end of this command, tracks the models as they are then.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.commands.migrate import Command as MigrateCommand
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations import AddField, RemoveField, RunSQL, SeparateDatabaseAndState

from reunite.contrib.django.conf import setting

# What may drop a column, forwards; to go back may drop any.
_MAY_DROP = (RemoveField, RunSQL, SeparateDatabaseAndState)
_MAY_DROP_BACKWARDS = (AddField, RunSQL, SeparateDatabaseAndState)


class Command(MigrateCommand):
    """The command."""

    def handle(self, *arguments: Any, **options: Any) -> None:
        using = options["database"]
        is_looking = options.get("plan") or options.get("check_unapplied")
        if using not in setting("DATABASES") or is_looking or not self._may_drop(using, options):
            super().handle(*arguments, **options)
            return
        config = apps.get_app_config("reunite")
        hub = config.hub(using)
        if not hub.is_installed():
            super().handle(*arguments, **options)
            return
        with config.installing_later(using), hub.migrating():
            super().handle(*arguments, **options)
        config.install(using, verbosity=options["verbosity"])

    def _may_drop(self, using: str, options: Any) -> bool:
        """Whether one of the migrations that are to run may drop a column on SQLite."""
        if connections[using].vendor != "sqlite":
            return False
        if options["app_label"]:
            return True  # perhaps backwards
        executor = MigrationExecutor(connections[using])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        return any(
            isinstance(operation, _MAY_DROP_BACKWARDS if is_back else _MAY_DROP)
            for migration, is_back in plan
            for operation in migration.operations
        )
