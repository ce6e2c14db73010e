"""The app: one hub for each database, and the step after `migrate` that tracks the models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate

from reunite.contrib.django.conf import setting
from reunite.contrib.django.hubs import DjangoHub
from reunite.errors import CallerError


class ReuniteConfig(AppConfig):
    """`reunite.contrib.django`, label `reunite`."""

    name = "reunite.contrib.django"
    label = "reunite"
    verbose_name = "Sync"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._hubs: dict[str, DjangoHub] = {}
        self._later: set[str] = set()
        self._lock = threading.Lock()

    def ready(self) -> None:
        from reunite.contrib.django import checks, signals, trail

        register(checks.check_settings)
        post_migrate.connect(_track_models, sender=self)
        signals.connect()
        trail.connect()

    def hub(self, using: str = "default") -> DjangoHub:
        """The hub of a database, made when it is asked for first. Raises CallerError for a database
        that is not in `REUNITE["DATABASES"]`."""
        with self._lock:
            found = self._hubs.get(using)
            if found is None:
                if using not in setting("DATABASES"):
                    raise CallerError(
                        f'The database {using!r} is no hub: add it to REUNITE["DATABASES"].'
                    )
                found = self._hubs[using] = DjangoHub(using)
            return found

    def install(self, using: str, *, verbosity: int = 1) -> None:
        """Track the models of a database as they are now, unless that is to come later."""
        if using not in setting("DATABASES") or using in self._later:
            return
        report = self.hub(using).install()
        if verbosity and report.has_changed:
            print(report.in_words())  # noqa: T201 - as migrate tells what it does

    @contextmanager
    def installing_later(self, using: str) -> Iterator[None]:
        """In the block `install` does nothing: whoever asked for that calls it afterwards."""
        self._later.add(using)
        try:
            yield
        finally:
            self._later.discard(using)

    def forget(self) -> None:
        """Close all hubs: those who come next read the settings again. For tests."""
        with self._lock:
            hubs, self._hubs = self._hubs, {}
        for hub in hubs.values():
            hub.close()


def _track_models(sender: Any, using: str, verbosity: int = 1, **_: Any) -> None:
    """After `migrate`: capture as the models and the settings say now."""
    sender.install(using, verbosity=verbosity)
