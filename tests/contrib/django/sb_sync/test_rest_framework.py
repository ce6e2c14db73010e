"""Classes of Django REST Framework: other ways in, and conditions, where a project names them."""

from __future__ import annotations

import base64
import sys
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, override_settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission

from reunite.dropin.sb_sync import checks
from tests.contrib.django.sb_sync.conftest import API, World

HERE = __name__
BASIC = "rest_framework.authentication.BasicAuthentication"
SESSION = "rest_framework.authentication.SessionAuthentication"


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Key NAME`, and tokens that carry a name and nothing else."""

    def authenticate(self, request: Any) -> Any:
        kind, _, value = get_authorization_header(request).decode().partition(" ")
        if kind == "Bearer":
            options = {"verify_exp": False}
            try:
                claims = jwt.decode(value, settings.SECRET_KEY, ["HS256"], options=options)
            except jwt.InvalidTokenError:
                return None
            value = claims["username"]
        elif kind != "Key":
            return None
        user = get_user_model().objects.filter(username=value).first()
        if user is None:
            raise AuthenticationFailed("There is no such key.")
        return user, value


class IsJohn(BasePermission):
    message = "Only John."

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.username == "john_manager" and view.request is request)


def frameworks(*ways: str, permission: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "DEFAULT_AUTHENTICATION_CLASSES": list(ways),
        "DEFAULT_PERMISSION_CLASSES": list(permission),
    }


def ask(authorization: str = "", *, client: Client | None = None, **headers: str) -> Any:
    if authorization:
        headers["Authorization"] = authorization
    return (client or Client()).post(
        f"{API}/pull/", {"models": {}}, content_type="application/json", headers=headers
    )


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@override_settings(REST_FRAMEWORK=frameworks(BASIC, f"{HERE}.KeyAuthentication"))
def test_the_project_s_own_ways_in_are_ways_in(readme: World) -> None:
    assert ask(basic("john_manager", "secret")).status_code == 200
    assert ask("Key john_manager").status_code == 200
    assert ask(f"Bearer {readme.api('john_manager').token}").status_code == 200
    refused = ask("Key nobody")
    assert (refused.status_code, refused.json()) == (401, {"detail": "There is no such key."})
    assert refused["WWW-Authenticate"] == "Bearer"
    assert ask(basic("john_manager", "wrong")).status_code == 401
    for nothing in ("", "Other x", "Bearer x.y.z"):
        assert ask(nothing).status_code == 401, nothing
    get_user_model().objects.filter(username="john_manager").update(is_active=False)
    assert ask("Key john_manager").status_code == 401


@override_settings(REST_FRAMEWORK=frameworks(f"{HERE}.KeyAuthentication"))
def test_a_token_of_ours_that_has_ended_is_no_token_of_others(readme: World) -> None:
    token = readme.api("john_manager").token
    others = jwt.encode({"username": "john_manager"}, settings.SECRET_KEY, "HS256")
    assert ask(f"Bearer {others}").status_code == 200
    john = readme.users["john_manager"]
    john.set_password("another")
    john.save()
    # The project's class would take it: it knows nothing of passwords.
    assert ask(f"Bearer {token}").status_code == 401


@override_settings(REST_FRAMEWORK=frameworks(SESSION))
def test_a_session_counts_where_it_is_named_and_with_its_csrf_token(readme: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(readme.users["john_manager"])
    refused = ask(client=client)
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["error"]["message"]
    client.cookies["csrftoken"] = token = "a" * 32
    found = ask(client=client, **{"X-CSRFToken": token})
    assert found.status_code == 200, found.content


@pytest.mark.parametrize("where", ["REST_FRAMEWORK", "SB_SYNC_PERMISSION_CLASSES"])
def test_conditions_hold_for_whoever_comes(readme: World, where: str) -> None:
    john, mary = readme.api("john_manager"), readme.api("mary_sales")
    condition = f"{HERE}.IsJohn"
    found: dict[str, Any] = {"REST_FRAMEWORK": frameworks(permission=(condition,))}
    if where != "REST_FRAMEWORK":
        # Ours counts instead of the framework's, which would let nobody pass.
        denied = frameworks(permission=("rest_framework.permissions.IsAdminUser",))
        found = {"REST_FRAMEWORK": denied, where: [condition]}
    with override_settings(**found):
        assert john.post("pull/", {}).status_code == 200
        for path in ("push/", "pull/"):
            refused = mary.post(path, {"data": [{"_model": "myapp.Customer", "name": "a"}]})
            assert (refused.status_code, refused.json()["error"]["message"]) == (403, "Only John.")
        assert mary.client.get(f"{API}/performance/", headers=mary.headers).status_code == 403
        assert Client().get(f"{API}/health/").status_code == 200


@override_settings(REST_FRAMEWORK={})
def test_what_is_not_named_decides_nothing(readme: World) -> None:
    """The framework's own defaults are sessions and passwords."""
    client = Client()
    client.force_login(readme.users["john_manager"])
    assert ask(client=client).status_code == 401
    assert ask(basic("john_manager", "secret")).status_code == 401


def test_without_the_framework_everything_goes_on(
    readme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = readme.api("john_manager")
    for name in [name for name in sys.modules if name.partition(".")[0] == "rest_framework"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "rest_framework", None)
    assert api.push({"_model": "myapp.Customer", "name": "a"})["status"] == "success"
    assert len(api.pull({"myapp.Customer": None})["data"]) == 1
    assert ask().status_code == 401
    call_command("check", verbosity=0)
    # Conditions that cannot be asked are not met.
    with override_settings(REST_FRAMEWORK=frameworks(permission=("rest_framework.permissions.X",))):
        assert api.post("pull/", {}).json()["error"]["type"] == "configuration"
        with pytest.raises(SystemCheckError, match=r"sb_sync\.E005"):
            call_command("check", verbosity=0)


def test_a_class_that_needs_a_queryset_is_said_to(readme: World) -> None:
    asking = "rest_framework.permissions.DjangoModelPermissions"
    with override_settings(REST_FRAMEWORK=frameworks(permission=(asking,))):
        assert [found.id for found in checks.check_settings(None)] == ["sb_sync.E005"]
        assert readme.api("john_manager").post("pull/", {}).status_code == 500
