"""The console in a project: for its staff, with its sessions, over its organizations and groups."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client

from reunite.contrib.django.models import DataFilter, ModelPermission, Organization
from tests.contrib.django.clinic.models import Patient
from tests.contrib.django.conftest import Project

NOTHING = dict.fromkeys(("push", "pull", "create", "update", "delete", "read"), False)
READ_ONLY = NOTHING | {"pull": True, "read": True}


class Page:
    """Somebody's browser."""

    def __init__(self, project: Project, name: str | None, **more: Any) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers: dict[str, str] = {}
        if name is not None:
            self.client.force_login(project.user(name, **more))

    def get(self, path: str) -> Any:
        return self.client.get(f"/config/{path}")

    def begin(self) -> dict[str, Any]:
        session: dict[str, Any] = self.get("api/session").json()
        self.headers = {session["csrf"]["header"]: session["csrf"]["token"]}
        return session

    def do(self, method: str, path: str, body: Any, **headers: str) -> Any:
        return self.client.generic(
            method,
            f"/config/{path}",
            __import__("json").dumps(body),
            content_type="application/json",
            headers=self.headers | headers,
        )


@pytest.fixture
def clinic(project: Project) -> Project:
    project.user("ann")
    organization = project.organization("acme", ann="Nurses")
    project.permit(organization, "Nurses", "clinic.Patient", "pull", "read")
    return project


def test_the_page_is_there_and_its_api_for_the_staff_alone(clinic: Project) -> None:
    stranger = Page(clinic, None)
    assert '<base href="/config/">' in stranger.get("").content.decode()
    assert '<base href="/config/">' in stranger.get("replicas/x").content.decode()
    refused = stranger.get("api/overview")
    assert refused.status_code == 401
    assert refused.json()["login"] == {"password": False, "url": "/admin/login/?next=/config/"}
    assert Page(clinic, "bob").get("api/overview").status_code == 403
    found = Page(clinic, "eve", is_staff=True).get("api/overview")
    assert found.status_code == 200
    assert found.json()["hub"]["database"] == "sqlite"
    assert found.json()["tables"]["tracked"] > 0


def test_staff_may_look_and_who_may_change_permissions_may_change_them(clinic: Project) -> None:
    eve = Page(clinic, "eve", is_staff=True)
    assert eve.begin()["can"] == ["console:read"]
    table = ModelPermission.objects.get().model_name
    matrix = eve.get("api/permissions?tenant=acme").json()
    (cell,) = [one for one in matrix["cells"] if one["role"] == "Nurses"]
    assert (table, cell["flags"]) == ("clinic.Patient", READ_ONLY)
    assert matrix["tenants"] == ["acme"]
    nurses = next(one for one in matrix["roles"] if one["name"] == "Nurses")
    assert nurses["users"] == 1
    asked = {"tenant": "acme", "role": "Nurses", "table": cell["table"], "flags": NOTHING}
    tag = {"If-Match": cell["etag"]}
    assert eve.do("PUT", "api/permissions", asked, **tag).status_code == 403

    root = Page(clinic, "root", is_staff=True, is_superuser=True)
    assert root.begin()["can"] == ["console:read", "console:write"]
    done = root.do("PUT", "api/permissions", asked, **tag)
    assert done.status_code == 200, done.content
    assert done.json()["was"]["flags"] == READ_ONLY
    assert not ModelPermission.objects.get().can_read
    late = root.do("PUT", "api/permissions", asked, **tag)
    assert (late.status_code, late.json()["code"]) == (412, "changed-meanwhile")
    (act,) = root.get("api/acts").json()["items"]
    assert (act["actor"], act["what"]) == ("root", "permission.changed")
    assert act["before"]["can_read"] is True


def test_a_change_without_djangos_token_is_refused(clinic: Project) -> None:
    root = Page(clinic, "root", is_staff=True, is_superuser=True)
    asked = {"tenant": "acme", "role": "Nurses", "table": "clinic_patient", "flags": NOTHING}
    refused = root.do("PUT", "api/permissions", asked, **{"If-Match": "-"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not-allowed")
    assert ModelPermission.objects.get().can_read


def test_what_the_project_keeps_is_changed_in_the_project(clinic: Project) -> None:
    root = Page(clinic, "root", is_staff=True, is_superuser=True)
    root.begin()
    refused = root.do("PUT", "api/users", {"name": "new"})
    assert refused.status_code == 403
    refused = root.do("POST", "api/discovery", {"table": "clinic_patient", "track": False})
    assert refused.status_code == 400
    assert "clinic_patient" in root.get("api/discovery").json()["tracked"]


def test_a_sync_of_the_project_is_in_the_log_where_the_settings_ask_for_it(
    clinic: Project,
) -> None:
    clinic.set(CONSOLE=True)
    clinic.clone("ann", "acme").sync()
    root = Page(clinic, "root", is_staff=True)
    found = root.get("api/sync").json()
    assert found["items"][0]["principal"] == "ann"
    assert root.get("api/replicas").json()["total"] == 1
    assert root.get("api/events").status_code == 404, "pages ask now and then instead"


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("permissions/", "permissions"),
        ("logs/", "sync"),
        ("metrics/", "performance"),
        ("audit-trails/", "audit"),
        ("model-discovery/", "discovery"),
    ],
)
def test_addresses_of_sb_sync_lead_to_the_pages(project: Project, address: str, page: str) -> None:
    answer = Page(project, None).get(address)
    assert (answer.status_code, answer["Location"]) == (302, f"/config/{page}")


def test_the_matrix_of_an_organization_is_reached_by_its_number(clinic: Project) -> None:
    number = ModelPermission.objects.get().organization_id
    answer = Page(clinic, None).get(f"permissions/{number}/")
    assert answer["Location"] == "/config/permissions?tenant=acme"
    assert Page(clinic, "x").get(f"permissions/{number + 1}/").status_code == 404
    assert Group.objects.filter(name="Nurses").exists()


def test_users_organizations_and_groups_are_listed_with_their_place_in_the_admin(
    clinic: Project,
) -> None:
    eve = Page(clinic, "eve", is_staff=True)
    users = {one["name"]: one for one in eve.get("api/users").json()["items"]}
    assert set(users) == {"ann", "eve"}
    ann = get_user_model().objects.get(username="ann")
    assert users["ann"]["url"] == f"/admin/auth/user/{ann.pk}/change/"
    assert users["ann"]["roles"] == [{"tenant": "acme", "role": "Nurses"}]
    assert users["eve"]["claims"] == {"is_staff": True}
    (acme,) = eve.get("api/tenants").json()["items"]
    assert (acme["name"], acme["title"], acme["users"]) == ("acme", "Acme", 1)
    assert acme["url"].startswith("/admin/reunite/organization/")
    nurses = next(one for one in eve.get("api/roles").json()["items"] if one["name"] == "Nurses")
    assert (nurses["users"], nurses["url"].startswith("/admin/auth/group/")) == (1, True)

    ann.is_active = False
    ann.save()
    clinic.user("bob")
    clinic.organization("bay", bob="Nurses")
    (found,) = eve.get("api/users?q=ANN").json()["items"]
    assert not found["is_active"]
    nurses = eve.get("api/roles?q=nurses").json()["items"][0]
    assert nurses["users"] == 2
    first = eve.get("api/users?limit=2").json()
    rest = eve.get(f"api/users?limit=2&after={first['next']}").json()
    assert [one["name"] for one in first["items"] + rest["items"]] == ["ann", "bob", "eve"]
    assert rest["next"] is None


def test_a_projects_filters_are_listed_in_the_words_of_rules(clinic: Project) -> None:
    group, organization = Group.objects.get(name="Nurses"), Organization.objects.get(slug="acme")
    where = {"group": group, "organization": organization, "model_name": "clinic.Patient"}
    condition = {"field": "name", "operator": "startswith", "value": "A"}
    kept = DataFilter.objects.create(filter_name="A only", filter_condition=condition, **where)
    ModelPermission.objects.filter(**where).update(filters=condition)
    eve = Page(clinic, "eve", is_staff=True)
    first, second = eve.get("api/filters?tenant=acme").json()["items"]
    assert (first["name"], first["role"], first["table"]) == ("A only", "Nurses", "clinic_patient")
    assert "row.name" in first["text"]
    assert first["condition"] == condition
    assert first["url"] == f"/admin/reunite/datafilter/{kept.pk}/change/"
    assert second["name"] == "of the permission"
    assert second["text"] == first["text"]
    assert eve.get("api/filters?tenant=other").json()["items"] == []


def test_a_permission_is_previewed_with_its_filters_and_nothing_is_stored(clinic: Project) -> None:
    organization = Organization.objects.get(slug="acme")
    other = clinic.organization("bay")
    for owner, name in ((organization, "Ada"), (organization, "Bea"), (other, "Abe")):
        Patient.objects.create(organization=owner, name=name)
    root = Page(clinic, "root", is_staff=True)
    root.begin()

    def previewed(role: str, flags: dict[str, bool] | None) -> Any:
        cell = {"tenant": "acme", "role": role, "table": "clinic_patient", "flags": flags}
        answer = root.do("POST", "api/permissions/preview", {"items": [cell]})
        assert answer.status_code == 200, answer.content
        (found,) = answer.json()["items"]
        return found["now"], found["then"], found["appear"], found["vanish"]

    assert previewed("Nurses", NOTHING) == (2, 0, 0, 2)
    assert previewed("Nurses", READ_ONLY) == (2, 2, 0, 0)
    DataFilter.objects.create(
        group=Group.objects.get(name="Nurses"),
        organization=organization,
        model_name="clinic.Patient",
        filter_name="A only",
        filter_condition={"field": "name", "operator": "startswith", "value": "A"},
    )
    assert previewed("Nurses", READ_ONLY) == (1, 1, 0, 0)
    Group.objects.create(name="Doctors")
    assert previewed("Doctors", READ_ONLY) == (0, 2, 2, 0)
    assert previewed("Doctors", None) == (0, 0, 0, 0)
    assert ModelPermission.objects.count() == 1
