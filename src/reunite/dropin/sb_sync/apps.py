"""The app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import register
from django.db.models.signals import post_delete, post_save


class SbSyncConfig(AppConfig):
    """`reunite.dropin.sb_sync`, label `sb_sync`."""

    name = "reunite.dropin.sb_sync"
    label = "sb_sync"
    verbose_name = "Sync API"
    default_auto_field = "django.db.models.BigAutoField"

    @property
    def sync_settings(self) -> frozenset[str]:
        """What this app reads of REUNITE."""
        from reunite.dropin.sb_sync import conf

        return conf.setting_names()

    def add_sync_jobs(self, hub: Any) -> None:
        """Have the hub run what Celery's beat would: `manage.py reunite jobs`."""
        from reunite.dropin.sb_sync import tasks

        tasks.schedule(hub)

    def ready(self) -> None:
        """The log has its file, and values that are set here are known here at once."""
        from reunite.contrib.django import trail
        from reunite.dropin.sb_sync import checks, logs

        logs.configure()
        register(checks.check_settings)
        model = apps.get_model("reunite", "SyncConfiguration")
        for name in ("SyncLog", "SyncMetadata", "UserSyncMetadata", "PerformanceMetrics"):
            trail.follow(apps.get_model("sb_sync", name), from_birth=False)
        for signal in (post_save, post_delete):
            signal.connect(_forget, sender=model, dispatch_uid=f"sb_sync-{id(signal)}")


def _forget(sender: Any, **_: Any) -> None:
    from reunite.dropin.sb_sync import conf

    conf.forget()
