"""The history of an object in the admin, read from the log."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import clear_url_caches

from reunite.contrib.django.audit import AuditedAdmin, changes_of
from reunite.contrib.django.middleware import acting_as
from tests.contrib.django import urls
from tests.contrib.django.clinic.models import Everything, Patient, Tag, Ward
from tests.contrib.django.conftest import Project
from tests.contrib.django.test_capture import write


@pytest.fixture
def audited() -> Any:
    """The tag in the admin, with its history."""
    admin.site.register(Tag, AuditedAdmin)
    before, urls.urlpatterns[0] = urls.urlpatterns[0], urls.path("admin/", admin.site.urls)
    clear_url_caches()
    yield
    admin.site.unregister(Tag)
    urls.urlpatterns[0] = before
    clear_url_caches()


def test_changes_tell_who_did_what_to_which_field(everywhere: Project) -> None:
    everywhere.user("root", is_superuser=True)
    tag = Tag.objects.create(name="a")
    with acting_as("ann"):
        Tag.objects.update(name="b")
    replica = everywhere.clone("root")
    write(replica, "update clinic_tag set name = 'c'")
    replica.sync()
    found = [(one.user, one.action, [tuple(f) for f in one.fields]) for one in changes_of(tag)]
    assert found == [
        ("root", "changed", [("name", "b", "c")]),
        ("ann", "changed", [("name", "a", "b")]),
        (None, "created", [("id", None, tag.pk), ("name", None, "a")]),
    ]
    newest = changes_of(tag)[0]
    assert newest.replica is not None
    assert newest.at is not None
    assert len(changes_of(tag, limit=1)) == 1


def test_secrets_are_named_and_not_shown(project: Project) -> None:
    north = project.organization("north")
    patient = Patient.objects.create(organization=north, name="x", portal_password="hunter2")
    patient.portal_password = "hunter3"
    patient.save()
    changed = changes_of(patient)[0].fields
    assert [tuple(field) for field in changed] == [("portal_password", "(hidden)", "(hidden)")]
    assert "hunter" not in str(changes_of(patient))


def test_keys_of_other_kinds_and_rows_in_two_tables_have_a_history(everywhere: Project) -> None:
    one = Everything.objects.create(id=uuid.uuid4(), text="x")
    assert [change.action for change in changes_of(one)] == ["created"]
    ward = Ward.objects.create(name="north", beds=1)
    ward.name, ward.beds = "south", 2
    ward.save()
    changed = {field for change in changes_of(ward)[:2] for field in change.fields}
    assert changed == {("beds", 1, 2), ("name", "north", "south")}


def test_what_is_not_tracked_has_no_history(project: Project) -> None:
    assert changes_of(project.user("ann")) == []


def test_the_admin_shows_the_log_to_who_may_see_the_object(project: Project, audited: None) -> None:
    tag = Tag.objects.create(name="before")
    client = Client()
    client.force_login(project.user("boss", is_staff=True, is_superuser=True))
    answer = client.post(f"/admin/clinic/tag/{tag.pk}/change/", {"name": "<b>after</b>"})
    assert answer.status_code == 302, answer.content
    page = client.get(f"/admin/clinic/tag/{tag.pk}/history/").content.decode()
    assert "before" in page
    assert "&lt;b&gt;after" in page
    assert "<b>after" not in page
    assert changes_of(tag)[0].user == "boss"
    stranger = Client()
    stranger.force_login(project.user("clerk", is_staff=True))
    assert stranger.get(f"/admin/clinic/tag/{tag.pk}/history/").status_code == 403
