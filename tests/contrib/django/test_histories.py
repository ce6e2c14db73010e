"""Histories of django-simple-history on the admin's page and in `setup_audit_trails`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import clear_url_caches

from reunite.contrib.django.audit import AuditedAdmin
from reunite.contrib.django.histories import begin, changes_of
from tests.contrib.django import urls
from tests.contrib.django.clinic.models import Bed, Tag
from tests.contrib.django.conftest import Project


@pytest.fixture
def audited() -> Iterator[None]:
    """The bed in the admin, with its histories."""
    admin.site.register(Bed, AuditedAdmin)
    before, urls.urlpatterns[0] = urls.urlpatterns[0], urls.path("admin/", admin.site.urls)
    clear_url_caches()
    yield
    admin.site.unregister(Bed)
    urls.urlpatterns[0] = before
    clear_url_caches()


def told(*arguments: str) -> Any:
    out = StringIO()
    call_command("setup_audit_trails", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_records_are_told_as_changes(everywhere: Project) -> None:
    ann = everywhere.user("ann")
    bed = Bed.objects.create(name="one")
    bed.name, bed.door_password = "two", "hunter2"
    bed._history_user = ann
    bed.save()
    Bed.objects.create(name="other")
    changed, created = changes_of(bed, limit=10)
    assert (changed.user, changed.action) == ("ann", "changed")
    assert [tuple(field) for field in changed.fields] == [
        ("name", "one", "two"),
        ("door_password", "(hidden)", "(hidden)"),
    ]
    assert (created.user, created.action, created.replica) == (None, "created", None)
    assert ("name", None, "one") in created.fields
    assert changes_of(bed, limit=1) == [changed]
    kept = Bed.objects.get(pk=bed.pk)
    bed.delete()
    assert [one.action for one in changes_of(kept, limit=10)] == ["deleted", "changed", "created"]
    assert changes_of(Tag.objects.create(name="a"), limit=10) == []


def test_the_admin_shows_them_below_the_log(project: Project, audited: None) -> None:
    bed = Bed.objects.create(name="one", door_password="hunter2")
    Bed.objects.filter(pk=bed.pk).update(name="<b>two</b>")  # only the log hears of it
    bed.refresh_from_db()
    bed.save()
    client = Client()
    client.force_login(project.user("boss", is_staff=True, is_superuser=True))
    page = client.get(f"/admin/clinic/bed/{bed.pk}/history/").content.decode()
    log, _, kept = page.partition("kept-history")
    assert "&lt;b&gt;two" in log
    assert "&lt;b&gt;two" in kept
    assert "hunter2" not in page
    Bed.history.all().delete()
    page = client.get(f"/admin/clinic/bed/{bed.pk}/history/").content.decode()
    assert "It has no records" in page


def test_the_command_begins_counts_and_cleans_them_up(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = Bed.objects.create(name="one")
    Bed.history.all().delete()
    assert told("--action", "setup", "--model", "clinic.Bed")["begun"] == {"clinic.Bed": 1}
    assert begin(Bed) == 0
    for name in ("two", "three"):
        bed.name = name
        bed.save()
    assert told("--action", "check", "--model", "clinic.Bed")["history"] == {"clinic.Bed": 3}
    from reunite.dropin.sb_sync.management.commands import setup_audit_trails

    monkeypatch.setattr(setup_audit_trails, "LINES_KEPT", 1)
    # Of all models, only the trails that are ours.
    assert "clinic.Bed" not in told("--action", "cleanup")["removed"]
    removed = told("--action", "cleanup", "--model", "clinic.Bed")["removed"]
    assert removed == {"clinic.Bed": 2}
    assert [one.name for one in Bed.history.all()] == ["three"]
