"""The matrix: cells changed one by one and many at a time, by several people, with a preview."""

from __future__ import annotations

from typing import Any

import pytest

from reunite import row, user
from tests.console.conftest import World

READ_ONLY = {
    "push": False,
    "pull": True,
    "create": False,
    "update": False,
    "delete": False,
    "read": True,
}
FULL = dict.fromkeys(READ_ONLY, True)
CELL = {"tenant": "acme", "role": "Managers", "table": "product"}


@pytest.fixture
def shop(world: World) -> World:
    directory = world.hub.directory
    directory.add_tenant("acme", value="a")
    directory.add_role("Managers", template="read_write")
    directory.add_role("Readers")
    directory.add_user("bob")
    directory.add_member("bob", "Managers", tenant="acme")
    return world


def stored(world: World) -> list[Any]:
    return world.rows(
        "select tenant, role, table_name, can_push, can_read from reunite_permission order by 1,2,3"
    )


def test_a_cell_is_stored_tagged_and_shown(shop: World) -> None:
    owner = shop.owner()
    matrix = owner.get("permissions", tenant="acme")
    assert matrix["cells"] == []
    assert matrix["tables"] == ["product", "sale"]
    managers = next(one for one in matrix["roles"] if one["name"] == "Managers")
    assert managers == {"name": "Managers", "template": "read_write", "users": 1}
    done = owner.do("PUT", "permissions", CELL | {"flags": READ_ONLY}, If_Match="-")
    assert done["was"]["flags"] is None
    assert done["cell"]["flags"] == READ_ONLY
    assert stored(shop) == [("acme", "Managers", "product", 0, 1)]
    (cell,) = owner.get("permissions", tenant="acme")["cells"]
    assert cell["etag"] == done["cell"]["etag"] == "_L___R"
    assert owner.get("permissions")["cells"] == [], "of another place"


def test_who_has_not_seen_a_cell_as_it_is_does_not_change_it(shop: World) -> None:
    one, other = shop.owner(), shop.owner()
    first = one.do("PUT", "permissions", CELL | {"flags": READ_ONLY}, If_Match="-")
    late = other.ask("PUT", "permissions", CELL | {"flags": FULL}, If_Match="-")
    assert late.status_code == 412
    assert late.json()["code"] == "changed-meanwhile"
    assert late.json()["cells"][0]["flags"] == READ_ONLY
    assert stored(shop) == [("acme", "Managers", "product", 0, 1)]
    other.do("PUT", "permissions", CELL | {"flags": FULL}, If_Match=first["cell"]["etag"])
    assert stored(shop) == [("acme", "Managers", "product", 1, 1)]
    blind = other.ask("PUT", "permissions", CELL | {"flags": FULL})
    assert (blind.status_code, blind.json()["path"]) == (400, "If-Match")


def test_many_cells_are_changed_together_or_not_at_all_and_undone(shop: World) -> None:
    owner = shop.owner()
    owner.do("PUT", "permissions", CELL | {"flags": READ_ONLY}, If_Match="-")
    items = [
        CELL | {"flags": FULL, "etag": "_L___R"},
        CELL | {"table": "sale", "flags": READ_ONLY, "etag": "-"},
        CELL | {"role": "Readers", "tenant": "", "flags": READ_ONLY, "etag": "PL___R"},
    ]
    refused = owner.ask("POST", "permissions/bulk", {"items": items})
    assert refused.status_code == 412
    assert [one["role"] for one in refused.json()["cells"]] == ["Readers"]
    assert len(stored(shop)) == 1
    items[2]["etag"] = "-"
    done = owner.do("POST", "permissions/bulk", {"items": items})
    assert len(stored(shop)) == 3
    back = [
        {name: was[name] for name in ("tenant", "role", "table", "flags")} | {"etag": now["etag"]}
        for was, now in zip(done["was"], done["cells"], strict=True)
    ]
    owner.do("POST", "permissions/bulk", {"items": back})
    assert stored(shop) == [("acme", "Managers", "product", 0, 1)]
    unknown = CELL | {"table": "nothing", "flags": FULL, "etag": "-"}
    assert owner.ask("POST", "permissions/bulk", {"items": [unknown]}).status_code == 404
    unknown = CELL | {"role": "Nobody", "flags": FULL, "etag": "-"}
    assert owner.ask("POST", "permissions/bulk", {"items": [unknown]}).status_code == 400


def test_a_cell_is_changed_once_by_one_request(shop: World) -> None:
    owner = shop.owner()
    items = [CELL | {"flags": flags, "etag": "-"} for flags in (READ_ONLY, FULL)]
    answer = owner.ask("POST", "permissions/bulk", {"items": items})
    assert (answer.status_code, answer.json()["path"]) == (400, "items")
    assert stored(shop) == []


def test_each_change_is_noted_with_who_and_from_what_to_what(shop: World) -> None:
    ann = shop.member("ann", "console:write")
    ann.do("PUT", "permissions", CELL | {"flags": READ_ONLY}, If_Match="-")
    ann.do("PUT", "permissions", CELL | {"flags": FULL}, If_Match="_L___R")
    acts = shop.rows(
        "select actor, what, about, former, now from reunite_act where what like 'permission%' "
        "order by id"
    )
    assert [act[:3] for act in acts] == [
        ("ann", "permission.added", "acme · Managers · product"),
        ("ann", "permission.changed", "acme · Managers · product"),
    ]
    assert acts[0][3] == ""
    assert '"can_push":false' in acts[1][3]
    assert '"can_push":true' in acts[1][4]


def test_the_matrix_says_when_it_has_not_changed(shop: World) -> None:
    owner = shop.owner()
    tag = owner.ask("GET", "permissions").headers["etag"]
    assert owner.ask("GET", "permissions", If_None_Match=tag).status_code == 304
    shop.hub.directory.permit("Readers", "sale", "read_only")
    assert owner.ask("GET", "permissions", If_None_Match=tag).status_code == 200


def test_a_preview_counts_the_rows_that_appear_and_vanish(shop: World) -> None:
    owner = shop.owner()
    cell = CELL | {"tenant": "", "role": "Readers"}

    def previewed(flags: Any, **more: Any) -> list[int]:
        body = {"items": [cell | {"flags": flags}], **more}
        (one,) = owner.do("POST", "permissions/preview", body)["items"]
        return [one[name] for name in ("now", "then", "appear", "vanish")]

    assert previewed(READ_ONLY) == [2, 2, 0, 0], "without any permission the hub is open"
    shop.hub.directory.permit("Managers", "sale", "read_only", tenant="acme")
    assert previewed(READ_ONLY) == [0, 2, 2, 0]
    shop.write("insert into product values ('p3', 'Salt', 1)")
    assert previewed(READ_ONLY) == [0, 3, 3, 0]
    shop.hub.directory.add_filter("Readers", "product", "cheap", row.price < 3)
    assert previewed(READ_ONLY) == [0, 2, 2, 0]
    shop.hub.directory.permit("Readers", "product", "read_only")
    assert previewed(None) == [2, 0, 0, 2]
    shop.hub.directory.add_filter("Readers", "product", "cheap", row.name == user.favourite)
    shop.hub.directory.add_user("eve", claims={"favourite": "Tea"})
    shop.hub.directory.add_member("eve", "Readers")
    assert previewed(READ_ONLY, user="eve") == [1, 1, 0, 0]


def test_the_first_permission_closes_an_open_hub_and_its_undo_opens_it(shop: World) -> None:
    owner, till = shop.owner(), shop.replica("till")

    def rows() -> list[Any]:
        till.sync()
        with till.transaction() as db:
            return db.execute("select id from product").fetchall()

    cell = CELL | {"table": "sale", "flags": READ_ONLY}
    preview = owner.do("POST", "permissions/preview", {"items": [cell]})
    assert "closes all 2 tables: their 2 rows vanish from every token" in preview["closing"]["text"]
    assert preview["closing"]["roles"] == ["Managers", "Readers"]
    assert [(one["table"], one["rows"]["count"]) for one in preview["closing"]["tables"]] == [
        ("product", 2),
        ("sale", 0),
    ]
    nothing = CELL | {"flags": None}
    preview = owner.do("POST", "permissions/preview", {"items": [nothing]})
    assert (preview["closing"], preview["items"][0]["vanish"]) == (None, 0)
    assert len(rows()) == 2
    done = owner.do("PUT", "permissions", cell, If_Match="-")
    assert done["was_open"] is True
    assert rows() == []
    assert owner.do("POST", "permissions/preview", {"items": [cell]})["closing"] is None
    other = owner.do("PUT", "permissions", CELL | {"flags": FULL}, If_Match="-")
    assert other["was_open"] is False
    for one in (done, other):
        back = one["was"] | {"flags": None}
        given = {name: back[name] for name in ("tenant", "role", "table", "flags")}
        assert owner.get("permissions")["can_open"] is False
        assert owner.ask("POST", "permissions/open", {}).status_code == 400, "there are some still"
        owner.do("PUT", "permissions", given, If_Match=one["cell"]["etag"])
    assert rows() == []
    assert owner.get("permissions")["can_open"] is True
    owner.do("POST", "permissions/open", {})
    assert len(rows()) == 2
    assert owner.get("permissions")["can_open"] is False


def test_tables_and_the_overview_say_what_permissions_close(shop: World) -> None:
    owner = shop.owner()

    def told() -> tuple[list[str], int, list[str]]:
        found = owner.get("overview")
        return (
            [one["rules"] for one in owner.get("tables")["items"]],
            found["tables"]["closed"],
            [one["code"] for one in found["warnings"]],
        )

    assert told() == (["none", "none"], 0, ["no-rules"])
    shop.hub.directory.permit("Readers", "product", "read_only")
    assert told() == (["permissions", "closed"], 1, ["closed-tables"])
    assert owner.get("tables/sale")["table"]["rules"] == "closed"
    (warned,) = owner.get("overview")["warnings"]
    assert "nobody has one for these: sale" in warned["text"]
    shop.hub.directory.forbid("Readers", "product")
    assert told() == (["closed", "closed"], 2, ["closed-tables"])
    shop.hub.directory.open_up()
    assert told() == (["none", "none"], 0, ["no-rules"])


def test_filters_are_added_changed_and_taken_away(shop: World) -> None:
    owner = shop.owner()
    given = CELL | {
        "name": "cheap",
        "condition": {"field": "price", "operator": "lt", "value": 3},
    }
    made = owner.do("PUT", "filters", given, If_Match="-")
    assert made["text"] == "row.price < 3"
    assert shop.rows("select name, is_active from reunite_filter") == [("cheap", 1)]
    assert owner.ask("PUT", "filters", given, If_Match="-").status_code == 412
    changed = owner.do("PUT", "filters", given | {"is_active": False}, If_Match=made["etag"])
    assert changed["is_active"] is False
    (listed,) = owner.get("filters", role="Managers")["items"]
    assert listed == changed
    bad = given | {"name": "odd", "condition": {"field": "nothing", "operator": "lt", "value": 3}}
    refused = owner.ask("PUT", "filters", bad, If_Match="-")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad-request")
    where = "filters?tenant=acme&role=Managers&table=product&name=cheap"
    stale = owner.ask("DELETE", where, If_Match=made["etag"])
    assert (stale.status_code, stale.json()["item"]) == (412, changed)
    assert owner.ask("DELETE", where).status_code == 400, "who has not seen it takes nothing away"
    assert owner.ask("DELETE", where, If_Match=changed["etag"]).status_code == 204
    assert owner.ask("DELETE", where, If_Match="-").status_code == 404
    assert shop.rows("select * from reunite_filter") == []


def test_who_may_only_look_changes_nothing(shop: World) -> None:
    ann = shop.member("ann", "console:read")
    before = shop.rows("select count(*) from reunite_act")
    from reunite.console.operations import OPERATIONS

    for method, path in OPERATIONS:
        if OPERATIONS[method, path].right == "console:write":
            asked = path.replace("{seq}", "1").replace("{id}", "x").replace("{name:path}", "x")
            refused = ann.ask(method, asked, None if method == "DELETE" else {})
            assert refused.status_code == 403, (method, path)
            assert "console:write" in refused.json()["detail"]
    assert shop.rows("select count(*) from reunite_act") == before
    ann.get("permissions")


def test_every_operation_needs_somebody(shop: World) -> None:
    from reunite.console.operations import OPERATIONS

    stranger = shop.browser()
    for method, path in OPERATIONS:
        asked = path.replace("{seq}", "1").replace("{id}", "x").replace("{name:path}", "x")
        refused = stranger.ask(method, asked, {} if method in ("PUT", "POST") else None)
        assert refused.status_code == 401, (method, path)
