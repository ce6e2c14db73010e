"""Tenants, roles, users, tokens and log-ins: shown as they are, and changed with a note."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

from reunite import Principal
from tests.console.conftest import PASSWORD, World

HOSTILE = "<img src=x onerror=alert(1)> \"'; drop table product; --"


def test_tenants_come_change_and_go(world: World) -> None:
    owner = world.owner()
    made = owner.do("PUT", "tenants", {"name": "acme", "title": HOSTILE, "value": 7})
    assert (made["value"], made["users"], made["replicas"]) == (7, 0, 0)
    world.hub.directory.add_role("Managers")
    world.hub.directory.add_user("bob")
    world.hub.directory.add_member("bob", "Managers", tenant="acme")
    owner.do("PUT", "tenants", {"name": "acme", "is_active": False})
    (found,) = owner.get("tenants")["items"]
    assert (found["title"], found["users"], found["is_active"]) == (HOSTILE, 1, False)
    assert owner.ask("DELETE", "tenants?name=acme").status_code == 204
    assert owner.get("tenants")["items"] == []
    whats = [what for (what,) in world.rows("select what from reunite_act order by id")]
    assert whats.count("tenant.removed") == 1
    assert "member.removed" in whats


def test_users_get_roles_and_passwords_that_nothing_tells(world: World) -> None:
    owner = world.owner()
    owner.do("PUT", "users", {"name": "bob", "password": PASSWORD, "claims": {"teams": [1]}})
    owner.do("PUT", "roles", {"name": "Managers", "template": "read_write"})
    found = owner.do("POST", "users/roles", {"user": "bob", "role": "Managers"})
    assert found["roles"] == [{"tenant": "", "role": "Managers"}]
    assert found["has_password"] is True
    assert found["claims"] == {"teams": [1]}
    assert owner.get("roles")["items"][0]["users"] == 1
    owner.do("PUT", "users", {"name": "bob", "password": "another one altogether"})
    notes = world.rows("select former, now from reunite_act where what like 'user.%' order by id")
    assert all("argon2" not in text and PASSWORD not in text for note in notes for text in note)
    told = [[json.loads(text)["password"] for text in note if text] for note in notes]
    assert told == [["set"], ["set", "changed"]]
    assert owner.ask("DELETE", "users/roles?user=bob&role=Managers").status_code == 204
    assert owner.ask("DELETE", "users?name=bob").status_code == 204
    assert owner.get("users", q="BO")["items"] == []


def test_nobody_locks_themselves_out(world: World) -> None:
    ann = world.member("ann", "console:write")
    for method, path, body in (
        ("PUT", "users", {"name": "ann", "is_active": False}),
        ("DELETE", "users?name=ann", None),
        ("DELETE", "users/roles?user=ann&role=console:write", None),
        ("DELETE", "roles?name=console:write", None),
    ):
        assert ann.ask(method, path, body).status_code == 400, path
    assert ann.get("session")["can"] == ["console:read", "console:write"]


def test_a_token_is_shown_once_opens_the_hub_and_is_taken_back(world: World) -> None:
    owner = world.owner()
    given = {"user": HOSTILE, "label": "till", "roles": ["Managers"], "tenant": 7}
    made = owner.do("POST", "tokens", given)
    assert world.hub.authenticate(made["token"]).tenant == 7
    listed = next(one for one in owner.get("tokens")["items"] if one["id"] == made["item"]["id"])
    assert listed["label"] == "till"
    assert made["token"] not in str(owner.get("tokens"))
    assert owner.ask("DELETE", f"tokens?id={made['item']['id']}").status_code == 204
    assert owner.ask("DELETE", f"tokens?id={made['item']['id']}").status_code == 404
    assert owner.ask("DELETE", "tokens?id=").status_code == 404, "not all of them"
    acts = world.rows("select actor, what, now from reunite_act where what like 'token%'")
    assert ("owner", "token.revoked", "") in acts
    assert made["token"] not in str(acts)


def test_log_ins_are_listed_and_ended(world: World) -> None:
    from reunite import Replica

    owner = world.owner()
    directory = world.hub.directory
    directory.add_role("Managers", template="full_access")
    directory.add_user("bob", password=PASSWORD)
    directory.add_member("bob", "Managers")
    Replica.clone(
        world.folder / "bob.db", world.server.url, username="bob", password=PASSWORD
    ).close()
    (one,) = owner.get("log-ins", user="bob")["items"]
    assert owner.get("users", q="bob")["items"][0]["log_ins"] == 1
    assert owner.ask("DELETE", f"log-ins?id={one['id']}").status_code == 204
    assert owner.get("log-ins")["items"] == []


def test_the_usual_roles_are_added_once(world: World) -> None:
    owner = world.owner()
    first = owner.do("POST", "roles/groups", {})
    again = owner.do("POST", "roles/groups", {})
    assert first == again
    assert "Administrators" in [one["name"] for one in first["items"]]


def test_of_tokens_that_are_made_at_once_each_is_answered_with_its_own(world: World) -> None:
    owner = world.owner()

    def make(label: str) -> tuple[str, dict[str, str], str]:
        made = owner.do("POST", "tokens", {"user": "robot", "label": label})
        return label, made["item"], hashlib.sha256(made["token"].encode()).hexdigest()

    with ThreadPoolExecutor(8) as pool:
        for label, item, hashed in pool.map(make, map(str, range(40))):
            assert (item["label"], item["id"]) == (label, hashed[:12])


def test_who_may_not_come_is_not_counted(world: World) -> None:
    owner, directory = world.owner(), world.hub.directory
    directory.add_tenant("acme")
    directory.add_role("Managers")
    for name in ("bob", "eve"):
        directory.add_user(name)
        directory.add_member(name, "Managers", tenant="acme")
    directory.set_user_active("eve", False)
    assert [one["users"] for one in owner.get("roles")["items"]] == [1]
    assert [one["users"] for one in owner.get("permissions", tenant="acme")["roles"]] == [1]
    assert [one["users"] for one in owner.get("tenants")["items"]] == [1]


def test_replicas_of_a_tenant_whose_value_is_nought_are_its_own(world: World) -> None:
    owner = world.owner()
    world.replica("till", user=Principal(user="bob", tenant=0))
    world.replica("depot", user="ann")
    assert [one["name"] for one in owner.get("replicas", tenant="0")["items"]] == ["till.db"]
    assert [one["name"] for one in owner.get("replicas", tenant="")["items"]] == ["depot.db"]
