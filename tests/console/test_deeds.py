"""Everything that the console can change: each deed takes effect, and stands in the audit trail
under the name of who did it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from reunite import Replica
from reunite.console.operations import OPERATIONS
from reunite.console.visitors import WRITE
from tests.console.conftest import PASSWORD, Browser, World
from tests.console.test_troubles import meet


class Deed(NamedTuple):
    """What is asked, what of the database it changes, and what has to be there before."""

    ask: Callable[[World, Browser], Any]
    sql: str
    then: list[Any]
    what: str
    before: Callable[[World], Any] = lambda world: None


FLAGS = dict.fromkeys(("push", "pull", "create", "update", "delete", "read"), True)
CELL = {"tenant": "", "role": "Managers", "table": "product", "flags": FLAGS}
CONDITION = {"field": "price", "operator": "gt", "value": 2}
FILTER = {"role": "Managers", "table": "product", "name": "dear", "condition": CONDITION}


def role(world: World) -> None:
    world.hub.directory.add_role("Managers")


def user(world: World) -> None:
    role(world)
    world.hub.directory.add_user("bob", password=PASSWORD)


def member(world: World) -> None:
    user(world)
    world.hub.directory.add_member("bob", "Managers")


def filtered(world: World) -> None:
    role(world)
    world.hub.directory.permit("Managers", "product", "read_only")
    world.hub.directory.add_filter("Managers", "product", "dear", CONDITION)


def emptied(world: World) -> None:
    role(world)
    world.hub.directory.permit("Managers", "product", "read_only")
    world.hub.directory.forbid("Managers", "product")


def logged_in(world: World) -> None:
    member(world)
    Replica.clone(
        world.folder / "bob.db", world.server.url, username="bob", password=PASSWORD
    ).close()


def priced(world: World) -> None:
    world.write("update product set price = 9 where id = 'p1'")
    world.hub.number()


def conflict(world: World) -> None:
    world.hub.track("product", merge={"name": "ask"})
    meet((world.replica("till"), world.replica("depot")), "Green tea", "Black tea")


def refused(world: World) -> None:
    till = world.replica("till")
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p2', 1)")
    world.write("delete from product where id = 'p2'")
    till.sync()


def first(browser: Browser, path: str) -> Any:
    return browser.get(path)["items"][0]


def restore(world: World, ann: Browser) -> Any:
    asked = {"change": first(ann, "changes")["id"], "table": "product", "key": ["p1"]}
    plan = ann.do("POST", "restore", asked | {"dry_run": True})
    return ann.do("POST", "restore", asked | {"dry_run": False}, If_Match=plan["etag"])


def decide(world: World, ann: Browser) -> Any:
    one = first(ann, "conflicts")
    tag = ann.get(f"conflicts/{one['id']}")["etag"]
    return ann.do("POST", f"conflicts/{one['id']}", {"take": "replica"}, If_Match=tag)


PERMITTED = "select role, can_delete from reunite_permission"
PRICE = "select price from product where id = 'p1'"
BY_A_COMMIT = ""

DEEDS: dict[tuple[str, str], Deed] = {
    ("POST", "commits/{seq}/undo"): Deed(
        lambda world, ann: ann.do(
            "POST", f"commits/{first(ann, 'commits')['seq']}/undo", {"dry_run": False}
        ),
        PRICE,
        [(3,)],
        BY_A_COMMIT,
        priced,
    ),
    ("POST", "restore"): Deed(restore, PRICE, [(3,)], BY_A_COMMIT, priced),
    ("POST", "conflicts/{id}"): Deed(
        decide,
        "select name from product where id = 'p1'",
        [("Black tea",)],
        BY_A_COMMIT,
        conflict,
    ),
    ("POST", "parked/{id}"): Deed(
        lambda world, ann: ann.do(
            "POST", f"parked/{first(ann, 'parked')['id']}", {"is_settled": True}
        ),
        "select state, settled_by from reunite_refusal",
        [("settled", "ann")],
        "refusal.settled",
        refused,
    ),
    ("PUT", "permissions"): Deed(
        lambda world, ann: ann.do("PUT", "permissions", CELL, If_Match="-"),
        PERMITTED,
        [("Managers", 1)],
        "permission.added",
        role,
    ),
    ("POST", "permissions/bulk"): Deed(
        lambda world, ann: ann.do("POST", "permissions/bulk", {"items": [CELL | {"etag": "-"}]}),
        PERMITTED,
        [("Managers", 1)],
        "permission.added",
        role,
    ),
    ("POST", "permissions/open"): Deed(
        lambda world, ann: ann.do("POST", "permissions/open", {}),
        "select value from reunite_meta where name = 'stamp:closed'",
        [("",)],
        "hub.opened",
        emptied,
    ),
    ("PUT", "filters"): Deed(
        lambda world, ann: ann.do("PUT", "filters", FILTER, If_Match="-"),
        "select name from reunite_filter",
        [("dear",)],
        "filter.added",
        role,
    ),
    ("DELETE", "filters"): Deed(
        lambda world, ann: ann.do(
            "DELETE",
            "filters?role=Managers&table=product&name=dear",
            If_Match=first(ann, "filters")["etag"],
        ),
        "select name from reunite_filter",
        [],
        "filter.removed",
        filtered,
    ),
    ("PUT", "tenants"): Deed(
        lambda world, ann: ann.do("PUT", "tenants", {"name": "acme"}),
        "select name from reunite_tenant",
        [("acme",)],
        "tenant.added",
    ),
    ("DELETE", "tenants"): Deed(
        lambda world, ann: ann.do("DELETE", "tenants?name=acme"),
        "select name from reunite_tenant",
        [],
        "tenant.removed",
        lambda world: world.hub.directory.add_tenant("acme"),
    ),
    ("PUT", "roles"): Deed(
        lambda world, ann: ann.do("PUT", "roles", {"name": "Managers"}),
        "select name from reunite_role where name = 'Managers'",
        [("Managers",)],
        "role.added",
    ),
    ("POST", "roles/groups"): Deed(
        lambda world, ann: ann.do("POST", "roles/groups", {}),
        "select count(*) > 6 from reunite_role",
        [(1,)],
        "role.added",
    ),
    ("DELETE", "roles"): Deed(
        lambda world, ann: ann.do("DELETE", "roles?name=Managers"),
        "select name from reunite_role where name = 'Managers'",
        [],
        "role.removed",
        role,
    ),
    ("PUT", "users"): Deed(
        lambda world, ann: ann.do("PUT", "users", {"name": "bob"}),
        "select name from reunite_user where name = 'bob'",
        [("bob",)],
        "user.added",
    ),
    ("DELETE", "users"): Deed(
        lambda world, ann: ann.do("DELETE", "users?name=bob"),
        "select name from reunite_user where name = 'bob'",
        [],
        "user.removed",
        user,
    ),
    ("POST", "users/roles"): Deed(
        lambda world, ann: ann.do("POST", "users/roles", {"user": "bob", "role": "Managers"}),
        "select role from reunite_member where user_name = 'bob'",
        [("Managers",)],
        "member.added",
        user,
    ),
    ("DELETE", "users/roles"): Deed(
        lambda world, ann: ann.do("DELETE", "users/roles?user=bob&role=Managers"),
        "select role from reunite_member where user_name = 'bob'",
        [],
        "member.removed",
        member,
    ),
    ("POST", "tokens"): Deed(
        lambda world, ann: ann.do("POST", "tokens", {"user": "robot", "label": "gate"}),
        "select label from reunite_token where label = 'gate'",
        [("gate",)],
        "token.created",
    ),
    ("DELETE", "tokens"): Deed(
        lambda world, ann: ann.do("DELETE", f"tokens?id={first(ann, 'tokens')['id']}"),
        "select count(*) from reunite_token where label = 'gate'",
        [(0,)],
        "token.revoked",
        lambda world: world.hub.create_token("robot", label="gate"),
    ),
    ("DELETE", "log-ins"): Deed(
        lambda world, ann: ann.do("DELETE", f"log-ins?id={first(ann, 'log-ins?user=bob')['id']}"),
        "select count(*) from reunite_session where user_name = 'bob'",
        [(0,)],
        "log-in.ended",
        logged_in,
    ),
    ("POST", "discovery"): Deed(
        lambda world, ann: ann.do("POST", "discovery", {"table": "sale", "track": False}),
        "select count(*) from sqlite_master where type = 'trigger' and tbl_name = 'sale'",
        [(0,)],
        "table.untracked",
    ),
}


def test_each_deed_of_the_console_is_among_these() -> None:
    writing = {key for key, one in OPERATIONS.items() if one.right == WRITE}
    assert writing == set(DEEDS)


@pytest.mark.parametrize("deed", DEEDS.values(), ids=[" ".join(key) for key in DEEDS])
def test_a_deed_takes_effect_and_is_noted(world: World, deed: Deed) -> None:
    deed.before(world)
    ann = world.member("ann", "console:write")
    assert world.rows(deed.sql) != deed.then, "the deed would change nothing"
    acts = "select actor, what from reunite_act order by id"
    former = len(world.rows(acts))
    deed.ask(world, ann)
    assert world.rows(deed.sql) == deed.then
    if deed.what == BY_A_COMMIT:
        assert first(ann, "commits")["actors"] == ["ann"]
    else:
        assert ("ann", deed.what) in world.rows(acts)[former:]
