"""The app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_delete, post_save


class SbSyncConfig(AppConfig):
    """`reunite.dropin.sb_sync`, label `sb_sync`."""

    name = "reunite.dropin.sb_sync"
    label = "sb_sync"
    verbose_name = "Sync API"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Values that are set here are known here at once."""
        model = apps.get_model("reunite", "SyncConfiguration")
        for signal in (post_save, post_delete):
            signal.connect(_forget, sender=model, dispatch_uid=f"sb_sync-{id(signal)}")


def _forget(sender: Any, **_: Any) -> None:
    from reunite.dropin.sb_sync import conf

    conf.forget()
