"""What became of organizations, rights and configuration: who, when, which fields."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from reunite.contrib.django import trail
from reunite.contrib.django.middleware import acting_as
from reunite.contrib.django.models import (
    DataFilter,
    DirectoryHistory,
    ModelPermission,
    Organization,
)
from reunite.dropin.sb_sync import conf
from reunite.dropin.sb_sync.models import (
    PerformanceMetrics,
    SyncLog,
    SyncMetadata,
    UserSyncMetadata,
)
from tests.contrib.django.conftest import Project
from tests.contrib.django.myapp.models import Customer


def lines(rows: Any) -> list[tuple[str | None, str, dict[str, Any]]]:
    return [
        (one.history_user and one.history_user.username, one.history_type, one.changes)
        for one in rows.order_by("id")
    ]


def told(*arguments: str) -> Any:
    out = StringIO()
    call_command("setup_audit_trails", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_trail_tells_who_changed_which_field_from_what_to_what(everywhere: Project) -> None:
    """SB-32."""
    ann = everywhere.user("ann")
    with acting_as(ann):
        acme = Organization.objects.create(name="Acme", slug="acme")
    with acting_as("ann"):
        acme.name = "Acme Corporation"
        acme.save()
    acme.save()  # which changes nothing
    pk = acme.pk
    acme.delete()
    created, changed, deleted = lines(Organization.history)
    assert created[:2] == ("ann", "+")
    assert created[2]["slug"] == [None, "acme"]
    assert changed == ("ann", "~", {"name": ["Acme", "Acme Corporation"]})
    assert deleted[:2] == (None, "-")
    assert deleted[2]["name"] == ["Acme Corporation", None]
    assert DirectoryHistory.objects.filter(object_id=str(pk)).count() == 3
    first = Organization.history.earliest("history_date")
    assert str(first) == "Created reunite.Organization Acme"


def test_one_objects_trail_is_its_own(project: Project) -> None:
    one, other = project.organization("one"), project.organization("other")
    project.permit(one, "Managers", "myapp.Customer", "push")
    assert [line.object_id for line in one.history.all()] == [str(one.pk)]
    assert [line.object_id for line in other.history.all()] == [str(other.pk)]
    assert ModelPermission.history.get().changes["can_push"] == [None, True]
    condition = {"field": "age", "operator": "gte", "value": 18}
    DataFilter.objects.create(
        organization=one,
        group=Group.objects.get(name="Managers"),
        model_name="myapp.Customer",
        filter_name="adults",
        filter_condition=condition,
    )
    assert DataFilter.history.get().changes["filter_condition"] == [None, condition]


def test_the_admin_s_changes_are_its_user_s(project: Project) -> None:
    """SB-32."""
    project.user("boss", is_staff=True, is_superuser=True)
    client = Client()
    client.login(username="boss", password="secret")
    answer = client.post("/admin/reunite/organization/add/", {"name": "New", "slug": "new"})
    assert answer.status_code == 302
    assert Organization.history.get().history_user.username == "boss"
    page = client.get("/admin/reunite/directoryhistory/")
    assert page.status_code == 200
    assert "boss" in page.content.decode()
    assert client.get("/admin/reunite/directoryhistory/add/").status_code == 403


def test_a_secret_of_the_configuration_is_not_in_it(project: Project) -> None:
    conf.keep("SECURITY", "JWT_SECRET_KEY", "x" * 40)
    conf.keep("SECURITY", "JWT_SECRET_KEY", "y" * 40)
    conf.keep("CORE", "LOG_LEVEL", "DEBUG")
    values = [one.changes["value"] for one in DirectoryHistory.objects.order_by("id")]
    assert values == [["(hidden)", "(hidden)"], ["(hidden)", "(hidden)"], [None, "DEBUG"]]


def test_trails_are_begun_counted_and_cleaned_up(
    everywhere: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = everywhere.organization("acme")
    Customer.objects.create(organization=acme, name="a")
    DirectoryHistory.objects.all().delete()
    begun = told("--action", "setup")["begun"]
    assert begun["reunite.Organization"] == 1
    assert told("--action", "setup", "--model", "sb_sync.Organization") == {
        "begun": {"reunite.Organization": 0}, "recorded_by_the_hub": {}
    }  # fmt: skip
    for n in range(4):
        acme.description = str(n)
        acme.save()
    found = told("--action", "check")
    assert found["history"]["reunite.Organization"] == 5
    assert found["recorded_by_the_hub"]["myapp.Customer"] == "1 changes"
    only = told("--action", "check", "--model", "sb_sync.ModelPermission")
    assert only["history"] == {"reunite.ModelPermission": 0}
    from reunite.dropin.sb_sync.management.commands import setup_audit_trails

    monkeypatch.setattr(setup_audit_trails, "LINES_KEPT", 2)
    dry = told("--action", "cleanup", "--dry-run")
    assert (dry["removed"]["reunite.Organization"], acme.history.count()) == (3, 5)
    assert told("--action", "cleanup")["removed"]["reunite.Organization"] == 3
    assert acme.history.first().changes == {"description": ["2", "3"]}
    with pytest.raises(CommandError, match="no model"):
        call_command("setup_audit_trails", "--model", "no.Model")


def test_what_people_do_to_the_log_and_the_counters_is_told(project: Project) -> None:
    """What the API writes is its own record; cleaning up is nobody's deed."""
    boss = project.user("boss", is_staff=True, is_superuser=True)
    for model in (SyncMetadata, UserSyncMetadata, PerformanceMetrics, SyncLog):
        assert model.history.count() == 0
    old = timezone.now() - timedelta(days=200)
    for _ in range(3):
        SyncLog.objects.create(operation="PUSH", status="SUCCESS", object_count=1)
    SyncLog.objects.filter(pk=SyncLog.objects.first().pk).update(timestamp=old)
    call_command("cleanup_sync_logs", stdout=StringIO())
    assert (SyncLog.objects.count(), SyncLog.history.count()) == (2, 0)
    one, other = SyncLog.objects.order_by("pk")
    client = Client()
    client.force_login(boss)
    chosen = {"action": "delete_selected", "_selected_action": [one.pk], "post": "yes"}
    assert client.post("/admin/sb_sync/synclog/", chosen).status_code == 302
    line = SyncLog.history.get()
    assert (line.history_user, line.history_type, line.object_id) == (boss, "-", str(one.pk))
    assert line.changes["object_count"] == [1, None]
    other.error_message = "looked into"
    other.save()
    assert other.history.get().changes == {"error_message": ["", "looked into"]}
    found = told("--action", "check", "--model", "sb_sync.SyncLog")
    assert found["history"] == {"sb_sync.SyncLog": 2}


def test_every_model_of_the_directory_has_a_trail() -> None:
    from django.apps import apps

    for name in trail.MODELS:
        assert apps.get_model("reunite", name).history.count is not None
