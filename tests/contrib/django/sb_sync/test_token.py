"""`auth/token/`, and whom its tokens let in: SB-S2, SB-16, SB-26, SB-29."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client, override_settings

from reunite.dropin.sb_sync import conf
from reunite.dropin.sb_sync.errors import TokenError
from reunite.dropin.sb_sync.tokens import make_token, user_of_token
from tests.contrib.django.sb_sync.conftest import API, PASSWORD, World

WEEK_S = 7 * 24 * 60 * 60


def ask(body: Any, **more: Any) -> Any:
    return Client().post(f"{API}/auth/token/", body, **more)


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_form_or_json_gives_a_token_and_the_organizations(world: World, kind: str) -> None:
    more = {"content_type": "application/json"} if kind == "json" else {}
    answer = ask({"username": "john_manager", "password": PASSWORD}, **more)
    assert answer.status_code == 200
    found = answer.json()
    user = world.users["john_manager"]
    assert found["user"] == {
        "id": user.pk,
        "username": "john_manager",
        "email": "john_manager@example.com",
    }
    assert found["organizations"] == [
        {
            "id": world.acme.pk,
            "name": "Acme-Corp",
            "slug": "acme-corp",
            "group": "Managers",
        }
    ]
    assert user_of_token(found["token"]) == user


def test_a_missing_password_is_named(readme: World) -> None:
    answer = ask({"username": "john_manager"}, content_type="application/json")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["severity"], error["retryable"]) == ("validation", "medium", False)
    assert error["context"] == {"missing_fields": ["password"]}


def test_a_wrong_password_is_401(readme: World) -> None:
    answer = ask({"username": "john_manager", "password": "no"})
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error["type"] == "authentication"
    assert error["context"] == {"username": "john_manager"}


def test_inactive_memberships_and_organizations_are_not_listed(readme: World) -> None:
    readme.acme.is_active = False
    readme.acme.save()
    answer = ask({"username": "john_manager", "password": PASSWORD})
    assert answer.json()["organizations"] == []


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_a_token_is_valid_for_seven_days_in_every_time_zone(readme: World, zone: str) -> None:
    with override_settings(TIME_ZONE=zone):
        token = make_token(readme.users["john_manager"])
        assert user_of_token(token) == readme.users["john_manager"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == WEEK_S
    assert abs(claims["iat"] - time.time()) < 60


def forged(readme: World, **changes: Any) -> str:
    token = make_token(readme.users["john_manager"])
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"exp": 1_000, "iat": 1}, "Token expired"),
        ({"exp": None}, "Invalid token"),
        ({"user_id": 987_654}, "User not found"),
        ({"user_id": None}, "Invalid token payload"),
        ({"user_id": "x'--"}, "Invalid token payload"),
        ({"user_id": [1]}, "Invalid token payload"),
        ({"stamp": None}, "Invalid token payload"),
        ({"stamp": "0" * 32}, "Invalid token"),
    ],
)
def test_a_token_that_does_not_count_says_why(readme: World, changes: Any, detail: str) -> None:
    with pytest.raises(TokenError, match=rf"^{detail}$"):
        user_of_token(forged(readme, **changes))


@pytest.mark.parametrize("how", ["none", "other key", "garbage"])
def test_nobody_makes_a_token_without_the_key(readme: World, how: str) -> None:
    token = make_token(readme.users["john_manager"])
    claims = jwt.decode(token, options={"verify_signature": False})
    token = {
        "none": jwt.encode(claims, None, algorithm="none"),
        "other key": jwt.encode(claims, "x" * 40, algorithm="HS256"),
        "garbage": "a.b.c",
    }[how]
    with pytest.raises(TokenError, match=r"^Invalid token$"):
        user_of_token(token)


def test_ten_failed_log_ins_a_minute_are_enough(readme: World) -> None:
    for _ in range(10):
        assert ask({"username": "john_manager", "password": "no"}).status_code == 401
    answer = ask({"username": "john_manager", "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.json()["error"] == "Rate limit exceeded"
    assert answer.json()["retry_after"] == 60


def test_other_methods_are_told_which_one(readme: World) -> None:
    answer = Client().get(f"{API}/auth/token/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_a_body_that_is_no_json_is_400_and_a_large_one_413(readme: World) -> None:
    assert ask("{", content_type="application/json").status_code == 400
    assert ask("[1]", content_type="application/json").status_code == 400
    assert ask("[" * 50_000, content_type="application/json").status_code == 400
    assert ask("x" * 70_000, content_type="application/json").status_code == 413


def test_the_switch_closes_the_api(readme: World) -> None:
    conf.keep("CORE", "ENABLED", False)
    answer = ask({"username": "john_manager", "password": PASSWORD})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "configuration"


def test_the_life_of_tokens_is_a_setting(readme: World) -> None:
    with override_settings(SB_SYNC_CONFIG={"SECURITY": {"JWT_EXPIRATION": 60}}):
        token = make_token(readme.users["john_manager"])
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 60
