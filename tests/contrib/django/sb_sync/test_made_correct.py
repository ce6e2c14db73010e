"""What sb-sync did wrong and is not told elsewhere: requests without middleware, counters under
many writers, failures of the database, and the addresses that its console had."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import Group, Permission
from django.db import OperationalError
from django.test import Client, override_settings
from django.urls import reverse

from reunite.contrib.django.console import console
from reunite.contrib.django.models import DirectoryHistory, ModelPermission
from reunite.dropin.sb_sync import conf, pushing
from reunite.dropin.sb_sync.models import SyncMetadata, UserSyncMetadata
from reunite.errors import StorageUnavailableError
from tests.contrib.django.sb_sync.conftest import API, World
from tests.contrib.django.sb_sync.test_walk_through import sign_in, url

__all__ = ["url"]

NOTHING = dict.fromkeys(ModelPermission.FLAGS, False)


@override_settings(MIDDLEWARE=[])
def test_nothing_of_the_api_needs_a_middleware(readme: World) -> None:
    """SB-3."""
    api = readme.api("john_manager")
    assert api.push({"_model": "myapp.Customer", "name": "a"})["status"] == "success"
    assert [row["name"] for row in api.pull({"myapp.Customer": None})["data"]] == ["a"]
    (entry,) = readme.project.hub.log()
    assert entry.principal == "john_manager"


def test_twenty_pushes_at_once_are_all_counted(world: World, url: str) -> None:
    """SB-14."""
    conf.keep("SECURITY", "ENABLE_RATE_LIMITING", False)
    headers = sign_in(url, "john_manager")
    failures: list[str] = []

    def push(number: int) -> None:
        body = {"data": [{"_model": "myapp.Customer", "name": f"c{number}"}]}
        for _ in range(100):
            answer = httpx2.post(f"{url}/push/", json=body, headers=headers, timeout=60.0)
            if answer.status_code == 200:
                return
            if not answer.json()["error"]["retryable"]:
                break
        failures.append(answer.text)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120.0)
    assert failures == []
    assert UserSyncMetadata.objects.get().total_synced == 20
    assert SyncMetadata.objects.get().total_synced == 20


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (OperationalError("SELECT secret FROM /var/lib"), "database"),
        (StorageUnavailableError("The file /var/lib is locked."), "database"),
        (RuntimeError("SELECT secret FROM /var/lib"), "unknown"),
    ],
)
def test_a_failure_is_told_at_once_and_in_no_words_of_its_own(
    readme: World, monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: str
) -> None:
    """SB-28, SB-29."""
    api = readme.api("john_manager")

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(pushing, "push_items", fail)
    monkeypatch.setattr(time, "sleep", fail)  # whoever waits inside the request is seen
    answer = api.post("push/", {"data": [{"_model": "myapp.Customer", "name": "a"}]})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (500, kind)
    assert not any(word in answer.content.decode() for word in ("SELECT", "secret", "/var"))
    assert error["retryable"] == (kind == "database")
    assert ("retry_info" in error) == (kind == "database")


def test_every_address_has_its_name() -> None:
    """SB-42."""
    for name, path in {
        "sync_auth_token": "auth/token/", "sync_push": "push/", "sync_pull": "pull/",
        "sync_performance": "performance/", "sync_health": "health/",
    }.items():  # fmt: skip
        assert reverse(f"sb_sync:{name}") == f"{API}/{path}"
    for name, path in {
        "config_dashboard": "",
        "permission_matrix": "permissions/", "update_permission": "permissions/update/",
        "bulk_update_permissions": "permissions/bulk-update/",
        "model_discovery_config": "model-discovery/", "sync_logs": "logs/",
        "performance_metrics": "metrics/", "audit_trails": "audit-trails/",
    }.items():  # fmt: skip
        assert reverse(f"reunite-console:{name}") == f"/config/{path}"
        assert reverse(f"sb_sync:{name}") == f"{API}/config/{path}"
    assert reverse("reunite-console:console", kwargs={"path": "logs2"}) == "/config/logs2"


def test_the_dashboard_s_address_is_the_console(readme: World) -> None:
    """SB-42."""
    boss = Staff(readme, "boss").client
    found = boss.get(reverse("reunite-console:config_dashboard"))
    assert found.status_code == 200
    assert found.resolver_match.func is console
    assert found.content == boss.get("/config/permissions").content


def test_the_readme_s_pages_are_at_the_api_s_addresses_for_staff_alone(readme: World) -> None:
    """With nothing in the project's urls but the API."""
    boss = Staff(readme, "boss").client
    for path, to in {
        "permissions/": "permissions", "model-discovery/": "discovery", "logs/": "sync",
        "metrics/": "performance", "audit-trails/": "audit",
        f"permissions/{readme.acme.pk}/": "permissions?tenant=acme-corp",
    }.items():  # fmt: skip
        found = boss.get(f"{API}/config/{path}")
        assert (found.status_code, found["Location"]) == (302, f"{API}/config/{to}")
    assert boss.get(f"{API}/config/").status_code == 200
    assert boss.get(f"{API}/config/api/overview").status_code == 200
    nobody = Client()
    assert nobody.get(f"{API}/config/api/overview").status_code == 401
    nobody.force_login(readme.users["john_manager"])
    assert nobody.get(f"{API}/config/api/overview").status_code == 403
    api = readme.api("john_manager")
    found = api.client.get(f"{API}/config/api/overview", headers=api.headers)
    assert found.status_code == 401, "a token of the API's opens no console"


class Staff:
    """Somebody's browser on the pages that sb-sync had."""

    def __init__(self, readme: World, name: str, *permissions: str) -> None:
        user = readme.project.user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(user)
        self.client.cookies["csrftoken"] = self.token = "a" * 32

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.post(
            f"/config/permissions/{path}",
            body if isinstance(body, str) else json.dumps(body),
            content_type="application/json",
            headers={"X-CSRFToken": self.token, **headers},
        )


def test_one_flag_is_set_and_no_other(readme: World) -> None:
    """SB-22, SB-32."""
    boss = Staff(readme, "boss", "change_modelpermission")
    group = Group.objects.create(name="Nurses")
    body = {
        "organization_id": readme.acme.pk, "group_id": group.pk, "model_name": "myapp.customer",
        "permission_type": "can_pull", "value": True,
    }  # fmt: skip
    answer = boss.post("update/", body)
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    row = ModelPermission.objects.get(group=group)
    assert (row.model_name, row.flags()) == ("myapp.Customer", NOTHING | {"can_pull": True})
    assert answer.json()["permission"]["can_pull"] is True
    assert DirectoryHistory.objects.latest("id").history_user.username == "boss"
    for wrong in (
        {"permission_type": "filters"}, {"permission_type": "organization_id"}, {"value": "yes"},
        {"model_name": "no.Model"}, {"model_name": None}, {"group_id": 10**12},
        {"organization_id": "x"}, {"group_id": True},
    ):  # fmt: skip
        refused = boss.post("update/", body | wrong)
        assert (refused.status_code, refused.json()["success"]) == (200, False), wrong
    assert boss.post("update/", "{").json() == {"success": False, "error": "The body is no JSON."}
    assert boss.post("update/", []).json()["success"] is False
    # Not without the token against forged requests, and only by who may.
    assert boss.post("update/", body, **{"X-CSRFToken": "b" * 32}).status_code == 403
    assert Staff(readme, "clerk").post("update/", body).status_code == 403
    assert Client().post("/config/permissions/update/", body).status_code == 403
    assert boss.client.get("/config/permissions/update/").status_code == 405
    row.refresh_from_db()
    assert row.flags() == NOTHING | {"can_pull": True}


def test_many_flags_are_set_for_the_groups_that_are_named_or_none(readme: World) -> None:
    """SB-22, SB-31."""
    boss = Staff(readme, "boss", "change_modelpermission")
    nurses, doctors = (Group.objects.create(name=name) for name in ("Nurses", "Doctors"))
    before = {row.pk: row.flags() for row in ModelPermission.objects.all()}
    change = {"model_name": "myapp.Order", "value": True}
    body = {
        "organization_id": readme.acme.pk,
        "group_id": nurses.pk,
        "permissions": [
            {**change, "permission_type": "can_pull"},
            {**change, "permission_type": "can_read"},
            {**change, "permission_type": "can_delete", "group_id": doctors.pk},
        ],
    }
    wrong = {**change, "permission_type": "can_fly"}
    refused = boss.post("bulk-update/", {**body, "permissions": [*body["permissions"], wrong]})
    assert refused.json()["success"] is False
    assert ModelPermission.objects.count() == len(before)
    told = boss.post("bulk-update/", body).json()
    assert (told["success"], told["updated_count"]) == (True, 3)
    flags = {row.group.name: row.flags() for row in ModelPermission.objects.exclude(pk__in=before)}
    assert flags == {
        "Nurses": NOTHING | {"can_pull": True, "can_read": True},
        "Doctors": NOTHING | {"can_delete": True},
    }
    assert {row.pk: row.flags() for row in ModelPermission.objects.filter(pk__in=before)} == before
    for odd in ({}, {"permissions": None}, {"permissions": [1]}):
        assert boss.post("bulk-update/", {**body, **odd, "permissions": odd.get("permissions")}
        ).json()["success"] is False  # fmt: skip
