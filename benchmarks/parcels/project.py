"""A Django project around the app: its settings, and the rows and users that a measurement needs.

`PARCELS`, in the environment of a server's process, says the same: a database of Django's and a
folder for the log, as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import standard

LABEL = "parcels.Parcel"
PASSWORD = "secret"
VARIABLE = "PARCELS"


def environment(database: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What `configure_by_environment` needs."""
    return {**os.environ, VARIABLE: json.dumps([dict(database), str(folder)])}


def configure_by_environment() -> None:
    """Configure Django in a process of its own."""
    database, folder = json.loads(os.environ[VARIABLE])
    configure(database, Path(folder))


def configure(database: Mapping[str, Any], folder: Path) -> None:
    """Configure Django."""
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": dict(database)},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "reunite.contrib.django",
            "reunite.dropin.sb_sync",
            "benchmarks.parcels",
        ],
        MIDDLEWARE=["reunite.contrib.django.middleware.ActingUser"],
        ROOT_URLCONF="benchmarks.parcels.urls",
        SECRET_KEY="for benchmarks " * 4,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ALLOWED_HOSTS=["*"],
        SB_SYNC_CONFIG={"SECURITY": {"RATE_LIMIT_REQUESTS": 10**9}},
        SB_SYNC_LOG_DIR=str(folder / "logs"),
        USE_TZ=True,
    )
    django.setup()


def prepare(*names: str) -> None:
    """All tables, an organization with shops, and users of it."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    # The app has no migrations, and its tables point to those of apps that have.
    call_command("migrate", run_syncdb=True, verbosity=0)
    from benchmarks.parcels.models import Shop
    from reunite.contrib.django.models import ModelPermission, Organization, UserOrganization

    organization = Organization.objects.create(name="North", slug="north")
    group = Group.objects.create(name="Managers")
    for name in names:
        user = get_user_model().objects.create_user(name, password=PASSWORD)
        UserOrganization.objects.create(user=user, organization=organization, group=group)
    for label in (LABEL, "parcels.Shop"):
        ModelPermission.objects.create(
            organization=organization,
            group=group,
            model_name=label,
            **dict.fromkeys(ModelPermission.FLAGS, True),
        )
    Shop.objects.bulk_create(
        Shop(organization=organization, name=name) for _, name in standard.shop_rows()
    )
