"""A Django project with a database of its own for each test, migrated: SQLite, and PostgreSQL for
those that ask for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test.utils import override_settings

if not settings.configured:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "nowhere.db"}},
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "reunite.contrib.django",
            "reunite.dropin.sb_sync",
            "simple_history",
            "tests.contrib.django.clinic",
            "tests.contrib.django.myapp",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "reunite.contrib.django.middleware.ActingUser",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ROOT_URLCONF="tests.contrib.django.urls",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="for tests " * 6,
        USE_TZ=True,
        REUNITE={
            "MODELS": {
                "clinic.Visit": {"tenant": "patient.organization_id"},
                "myapp.Line": {"tenant": "order.organization_id"},
            }
        },
    )
    django.setup()

# What needs the applications.
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission

from reunite import Replica
from reunite.contrib.django.models import ModelPermission, Organization, UserOrganization
from reunite.testing import FakeWire
from tests.postgresql_server import PostgresServer

FLAGS = ModelPermission.FLAGS


class Project:
    """The project of one test."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        self.closing = closing

    @property
    def hub(self) -> Any:
        return apps.get_app_config("reunite").hub()

    def user(self, name: str, *permissions: str, **more: Any) -> Any:
        """A user of Django's, with the password "secret" and these of Django's permissions."""
        user = get_user_model().objects.create_user(name, password="secret", **more)
        for permission in permissions:
            app, _, codename = permission.partition(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=app, codename=codename)
            )
        return user

    def organization(self, slug: str, **members: str) -> Organization:
        """An organization, and the group that each of these users has in it."""
        organization = Organization.objects.create(name=slug.title(), slug=slug)
        for name, group in members.items():
            UserOrganization.objects.create(
                user=get_user_model().objects.get(username=name),
                organization=organization,
                group=Group.objects.get_or_create(name=group)[0],
            )
        return organization

    def permit(self, organization: Organization, group: str, model: str, *flags: str) -> None:
        """Exactly these flags for a group."""
        ModelPermission.objects.update_or_create(
            organization=organization,
            group=Group.objects.get_or_create(name=group)[0],
            model_name=model,
            defaults={name: name in {f"can_{flag}" for flag in flags} for name in FLAGS},
        )

    def clone(self, user: str, tenant: str = "", **options: Any) -> Replica:
        """A replica of this user's, over a wire without a network."""
        with self.hub.reading() as tx:
            principal = self.hub.users.member(tx, user, tenant)
        transport = FakeWire(self.hub).transport(self.hub.create_token(principal))
        path = self.folder / f"{user}{len(list(self.folder.iterdir()))}.db"
        return self.closing.enter_context(Replica.clone(path, transport=transport, **options))

    def set(self, **values: Any) -> None:
        """Settings of reunite, beside those that all tests have."""
        self.closing.enter_context(override_settings(REUNITE={**settings.REUNITE, **values}))
        apps.get_app_config("reunite").forget()


def _use(database: dict[str, Any]) -> None:
    connections.close_all()
    apps.get_app_config("reunite").forget()
    connections.settings["default"] = connections.configure_settings({"default": database})[
        "default"
    ]
    with suppress(AttributeError):  # nobody has asked for one in this thread
        del connections["default"]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, to be copied."""
    path = tmp_path_factory.mktemp("django") / "template.db"
    _use({"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)})
    call_command("migrate", verbosity=0)
    apps.get_app_config("reunite").forget()
    connections["default"].close()
    return path


@pytest.fixture(scope="session")
def migrated_on_postgresql(postgresql_server: PostgresServer) -> str:
    """The URL of a database with all tables, to be copied."""
    url = postgresql_server.new_database()
    _use_url(url)
    call_command("migrate", verbosity=0)
    apps.get_app_config("reunite").forget()
    connections.close_all()
    return url


@pytest.fixture
def on_postgresql(
    tmp_path: Path, postgresql_server: PostgresServer, migrated_on_postgresql: str
) -> Iterator[Project]:
    """The same on PostgreSQL."""
    url = postgresql_server.new_database(like=migrated_on_postgresql)
    _use_url(url)
    with ExitStack() as closing:
        closing.enter_context(override_settings(SB_SYNC_LOG_DIR=str(tmp_path / "logs")))
        yield Project(tmp_path, closing)
        apps.get_app_config("reunite").forget()
        connections.close_all()
    postgresql_server.drop_database(url)


def _use_url(address: str) -> None:
    url = urlsplit(address)
    _use(
        {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.lstrip("/"),
            "USER": url.username,
            "PASSWORD": url.password,
            "HOST": url.hostname,
            "PORT": url.port,
        }
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def everywhere(request: pytest.FixtureRequest) -> Project:
    """A project on each kind of database."""
    name = "project" if request.param == "sqlite" else "on_postgresql"
    found: Project = request.getfixturevalue(name)
    return found


@pytest.fixture
def project(tmp_path: Path, migrated: Path) -> Iterator[Project]:
    path = tmp_path / "project.db"
    shutil.copy(migrated, path)
    _use({"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)})
    with ExitStack() as closing:
        closing.enter_context(override_settings(SB_SYNC_LOG_DIR=str(tmp_path / "logs")))
        yield Project(tmp_path, closing)
        apps.get_app_config("reunite").forget()
        connections.close_all()
