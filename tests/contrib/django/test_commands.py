"""`manage.py reunite`, `migrate`, `check`: what they tell and change."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from tests.contrib.django.clinic.models import Tag
from tests.contrib.django.conftest import Project
from tests.contrib.django.test_capture import rows


def told(*arguments: str, **options: Any) -> Any:
    out = StringIO()
    call_command("reunite", *arguments, "--json", stdout=out, **options)
    return json.loads(out.getvalue())["default"]


def test_status_tells_what_is_tracked_and_why_the_rest_is_not(everywhere: Project) -> None:
    answer = told("status")
    assert answer["tracked"]["clinic.Patient"] == {
        "table": "clinic_patient",
        "organization": "organization_id",
        "apply": "bulk",
        "hidden": ["portal_password"],
    }
    assert "clinic.Patient_tags" in answer["tracked"]
    assert "secret" in answer["left_out"]["clinic.ApiToken"]
    assert "proxy" in answer["left_out"]["clinic.LargeWard"]
    assert answer["left_out"]["auth.User"] == "the app auth is left out"
    assert answer["waiting"] == []
    out = StringIO()
    call_command("reunite", "status", stdout=out)
    assert "clinic.Patient: table clinic_patient" in out.getvalue()


def test_doctor_finds_missing_triggers_and_triggers_puts_them_back(everywhere: Project) -> None:
    assert told("doctor") == {"problems": []}
    everywhere.user("root", is_superuser=True)
    replica = everywhere.clone("root")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("drop trigger reunite_clinic_tag_after_insert")
        else:
            cursor.execute("alter table clinic_tag disable trigger user")
        cursor.execute("insert into clinic_tag (name) values ('unseen')")
    out = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("reunite", "doctor", stdout=out)
    assert (stopped.value.code, "clinic_tag" in out.getvalue()) == (1, True)
    assert told("triggers", dry_run=True)["would_renew"] == ["clinic_tag"]
    told("triggers")
    assert told("doctor") == {"problems": []}
    replica.sync()
    assert rows(replica, "select name from clinic_tag") == [("unseen",)]


def test_settings_that_leave_a_model_out_untrack_it_with_the_next_step(project: Project) -> None:
    project.set(EXCLUDE_MODELS=["clinic.Tag"])
    with pytest.raises(SystemExit):
        call_command("reunite", "doctor", stdout=StringIO())
    assert told("triggers", dry_run=True)["would_untrack"] == ["clinic_patient_tags", "clinic_tag"]
    assert told("triggers")["untracked"] == ["clinic_patient_tags", "clinic_tag"]
    project.set(EXCLUDE_MODELS=[], AUTO_DISCOVER_MODELS=False)
    assert set(told("status")["waiting"]) == set()
    assert set(project.hub.models()) == {"clinic_visit", "myapp_line"}
    project.set(AUTO_DISCOVER_MODELS=True, INCLUDE_APPS=["clinic"], EXCLUDE_MODELS=["clinic.Visit"])
    assert "clinic_visit" not in project.hub.models()
    project.set(EXCLUDE_APPS=["clinic"], MODELS={})
    assert project.hub.models() == {}


def test_secrets_travel_only_where_they_are_named(project: Project) -> None:
    project.set(SHOW_FIELDS={"clinic.Patient": ["portal_password"]}, MODELS={"clinic.ApiToken": {}})
    found = project.hub.models()
    assert found["clinic_patient"].secrets == ()
    assert "clinic_apitoken" in found


def test_a_token_for_a_device(project: Project) -> None:
    project.user("ann", "clinic.view_tag")
    token = told("token", "ann", label="tablet")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().get("/sync/v1/schema", headers=headers).status_code == 200
    with pytest.raises(CommandError, match="no active user"):
        call_command("reunite", "token", "bob")
    with pytest.raises(CommandError, match="Say for whom"):
        call_command("reunite", "token")
    project.organization("north", ann="Nurses")
    project.organization("south", ann="Nurses")
    with pytest.raises(CommandError, match="north, south"):
        call_command("reunite", "token", "ann")
    assert told("token", "ann", organization="south")["organization"] == "south"


def test_uninstall_leaves_the_project_as_it_was(everywhere: Project) -> None:
    assert told("uninstall", yes=True) == {"uninstalled": True}
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    assert not [name for name in names if name.startswith("reunite_")]
    assert "sync_organization" in names
    Tag.objects.create(name="free")
    assert told("status")["installed"] is False
    assert told("uninstall", yes=True) == {"uninstalled": False}
    assert Client().get("/sync/readyz").status_code == 503
    call_command("migrate", verbosity=0)
    assert told("doctor") == {"problems": []}


class _DropNote(migrations.Migration):
    operations = [migrations.RemoveField("Visit", "note")]  # noqa: RUF012
    dependencies = [("clinic", "0001_initial")]  # noqa: RUF012


class _AddColour(migrations.Migration):
    operations = [  # noqa: RUF012
        migrations.AddField("Tag", "colour", models.CharField(max_length=10, default="red"))
    ]
    dependencies = [("clinic", "0001_initial")]  # noqa: RUF012


@pytest.mark.parametrize("migration", [_DropNote, _AddColour])
def test_a_migration_that_changes_columns_leaves_capture_whole(
    everywhere: Project, monkeypatch: pytest.MonkeyPatch, migration: Any
) -> None:
    from django.db.migrations.loader import MigrationLoader

    everywhere.user("root", is_superuser=True)
    Tag.objects.create(name="a")
    replica = everywhere.clone("root")
    load = MigrationLoader.load_disk

    def with_one_more(self: MigrationLoader) -> None:
        load(self)
        self.disk_migrations["clinic", "0002_next"] = migration("0002_next", "clinic")

    monkeypatch.setattr(MigrationLoader, "load_disk", with_one_more)
    call_command("migrate", verbosity=0)
    assert MigrationExecutor(connection).loader.applied_migrations
    with connection.cursor() as cursor:
        cursor.execute("update clinic_tag set name = 'b'")
    assert everywhere.hub.uncaptured() == []
    replica.sync()
    assert rows(replica, "select name from clinic_tag") == [("b",)]
    columns = [name for _, name, *_ in rows(replica, "pragma table_info(clinic_visit)")]
    colours = [name for _, name, *_ in rows(replica, "pragma table_info(clinic_tag)")]
    assert ("note" in columns, "colour" in colours) == (
        migration is not _DropNote, migration is _AddColour,
    )  # fmt: skip


def test_the_app_s_migrations_say_what_its_models_do(project: Project) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_checks_find_settings_that_mean_nothing(project: Project) -> None:
    def found(**values: Any) -> list[str]:
        with project.closing.__class__() as _:
            project.set(**values)
            return [str(message.id) for message in run_checks()]

    assert found() == []
    assert found(NOTHING=1) == ["reunite.E002"]
    project.closing.close()
    assert found(EXCLUDE_MODELS="clinic.Tag") == ["reunite.E003"]
    project.closing.close()
    assert found(KEEP_DAYS="30") == ["reunite.E003"]
    project.closing.close()
    assert found(DATABASES=["default", "other"]) == ["reunite.E004"]
    project.closing.close()
    assert found(EXCLUDE_MODELS=["clinic.Nothing"]) == ["reunite.E006"]
    project.closing.close()
    assert found(SHOW_FIELDS={"clinic.Tag": ["nothing"]}) == ["reunite.E007"]
    project.closing.close()
    assert found(MODELS={"clinic.Tag": {"how": 1}}) == ["reunite.E008"]
    project.closing.close()
    assert found(MODELS={"clinic.Tag": {"apply": "slowly"}}) == ["reunite.E008"]
    project.closing.close()
    assert found(MODELS={"clinic.Ward": {"apply": "save"}}) == ["reunite.E009"]
