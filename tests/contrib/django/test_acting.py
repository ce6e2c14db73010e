"""Who acts: writes through the ORM are ascribed to a user."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client

from reunite import BadRequestError
from reunite.contrib.django.middleware import acting_as
from tests.contrib.django.clinic.models import Tag
from tests.contrib.django.conftest import Project
from tests.contrib.django.test_capture import write


def actors(project: Project) -> list[str | None]:
    return [entry.principal for entry in project.hub.log()]


def test_what_a_request_writes_was_done_by_its_user(everywhere: Project) -> None:
    everywhere.user("root", is_superuser=True, is_staff=True)
    admin.site.register(Tag)
    try:
        client = Client()
        client.force_login(everywhere.user("other", is_superuser=True, is_staff=True))
        from django.urls import clear_url_caches

        clear_url_caches()
        Tag.objects.create(name="by nobody")
        with acting_as("root"):
            Tag.objects.create(name="by root")
            Tag.objects.filter(name="by nobody").update(name="changed")
    finally:
        admin.site.unregister(Tag)
    assert actors(everywhere) == [None, "root", "root"]


def test_one_transaction_may_have_several_actors(everywhere: Project) -> None:
    ann = everywhere.user("ann")
    with transaction.atomic():
        with acting_as(ann):
            Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
        Tag.objects.create(name="c")
        with acting_as(lambda: "bob"):
            Tag.objects.filter(name="c").delete()
    assert actors(everywhere) == ["ann", "ann", None, "bob"]


def test_a_push_stays_the_pushers(everywhere: Project) -> None:
    everywhere.set(MODELS={"clinic.Tag": {"apply": "save"}})
    everywhere.user("root", is_superuser=True)
    replica = everywhere.clone("root")
    write(replica, "insert into clinic_tag (name) values ('pushed')")
    with acting_as("somebody else"):
        assert replica.sync().rejected == 0
    assert actors(everywhere) == ["root"]


def test_a_failed_statement_leaves_nothing_behind(everywhere: Project) -> None:
    Tag.objects.create(name="a")
    with acting_as("ann"), pytest.raises(Exception, match=r"(?i)unique"):
        Tag.objects.create(name="a")
    assert actors(everywhere) == [None]
    with acting_as(7), pytest.raises(BadRequestError, match="no user"):
        Tag.objects.create(name="b")
