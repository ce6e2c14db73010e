"""`performance/` and `health/` over HTTP, and what configuration does to a running API."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings
from django.urls import reverse

from reunite.dropin.sb_sync import conf, health, logs
from tests.contrib.django.conftest import Project
from tests.contrib.django.sb_sync.conftest import API, World


@pytest.fixture(autouse=True)
def looked_at_anew() -> None:
    health.forget()


def test_performance_tells_what_was_measured(world: World) -> None:
    """SB-30, SB-37."""
    john = world.api("john_manager")
    john.push({"_model": "myapp.Customer", "name": "a"})
    john.pull()
    answer = john.client.get(f"{API}/performance/?days=7", headers=john.headers)
    assert answer.status_code == 200
    found = answer.json()
    figures = found["performance_stats"]
    assert figures["total_operations"] == 2
    assert figures["average_processing_time"] > 0
    assert figures["avg_query_count"] > 3
    assert found["current_memory_usage"] > 1
    assert set(found["cache_stats"]) == {"cache_hits", "cache_misses"}
    assert isinstance(found["optimization_suggestions"], list)
    for wrong in ("0", "-1", "many", "9" * 30):
        answer = john.client.get(f"{API}/performance/?days={wrong}", headers=john.headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "validation")
    assert john.client.get(f"{API}/performance/").status_code == 401


def test_health_answers_everybody_whatever_is_down(
    readme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SB-30, SB-S19."""
    assert reverse("sb_sync:sync_health") == f"{API}/health/"
    assert reverse("sb_sync:sync_performance") == f"{API}/performance/"
    client = Client()
    answer = client.get(f"{API}/health/")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert client.post(f"{API}/health/").status_code == 405
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "/nowhere/nothing.db")
    answer = client.get(f"{API}/health/")
    assert (answer.status_code, answer.json()["status"]) == (200, "unhealthy")
    assert client.get(f"{API}/health/?strict=1").status_code == 503
    assert b"nowhere" not in answer.content


def test_a_model_that_discovery_leaves_out_is_not_enabled(world: World) -> None:
    """SB-34."""
    john = world.api("john_manager")
    conf.keep("MODEL_DISCOVERY", "EXCLUDE_MODELS", ["myapp.Customer"])
    answer = john.push({"_model": "myapp.Customer", "name": "a"})
    assert answer["results"][0]["code"] == "not_enabled"
    assert answer["errors"] == ["Model myapp.Customer is not enabled for sync operations"]
    told = john.pull({"myapp.Customer": None, "myapp.Order": None})["metadata"]
    assert "error" in told["myapp.Customer"]
    assert "error" not in told["myapp.Order"]
    conf.keep("MODEL_DISCOVERY", "EXCLUDE_MODELS", [])
    assert john.push({"_model": "myapp.Customer", "name": "a"})["success_count"] == 1


def test_requests_leave_their_lines_in_the_file(readme: World) -> None:
    """SB-27, SB-36."""
    john = readme.api("john_manager")
    john.push({"_model": "myapp.Customer", "name": "Jane Doe"})
    john.pull()
    push, pull = (logs.folder() / logs.FILE).read_text().splitlines()
    assert "PUSH request from user john_manager in Acme-Corp: {" in push
    assert "Jane" not in push
    assert pull.endswith("PULL request completed for user john_manager in Acme-Corp: 1 records")


def test_an_api_that_is_switched_off_says_so_and_health_goes_on(readme: World) -> None:
    """SB-34."""
    john = readme.api("john_manager")
    conf.keep("CORE", "ENABLED", False)
    answer = john.post("push/", {"data": [{"_model": "myapp.Customer", "name": "a"}]})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "configuration")
    assert john.client.get(f"{API}/performance/", headers=john.headers).status_code == 500
    assert john.client.get(f"{API}/health/").status_code == 200


def test_the_checks_of_a_deployment_find_nothing(project: Project) -> None:
    middleware = (
        "django.middleware.security.SecurityMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    )
    with override_settings(
        DEBUG=False,
        MIDDLEWARE=middleware,
        SECRET_KEY="".join(chr(65 + n % 50) for n in range(60)),
        SECURE_HSTS_SECONDS=3_600,
        SECURE_HSTS_INCLUDE_SUBDOMAINS=True,
        SECURE_HSTS_PRELOAD=True,
        SECURE_SSL_REDIRECT=True,
        SESSION_COOKIE_SECURE=True,
        CSRF_COOKIE_SECURE=True,
    ):
        call_command("check", deploy=True, fail_level="WARNING", verbosity=0)
