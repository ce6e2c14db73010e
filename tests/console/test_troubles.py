"""Conflicts and refused changes: shown with what met, decided, and gone when erased."""

from __future__ import annotations

from typing import Any

import pytest

from reunite import Replica
from tests.console.conftest import Browser, World


@pytest.fixture
def asked(world: World) -> World:
    """Names of products are for a person to decide; two tills have met."""
    world.hub.track("product", merge={"name": "ask"})
    world.tills = (world.replica("till", user="ann"), world.replica("depot", user="bob"))  # type: ignore[attr-defined]
    meet(world.tills, "Green tea", "Black tea")  # type: ignore[attr-defined]
    return world


def meet(tills: tuple[Replica, ...], *names: str) -> None:
    for till, name in zip(tills, names, strict=True):
        with till.transaction() as db:
            db.execute("update product set name = ? where id = 'p1'", (name,))
    for till in tills:
        till.sync()


def test_an_open_conflict_shows_what_met(asked: World) -> None:
    owner = asked.owner()
    found = owner.get("conflicts", state="open")
    (one,) = found["items"]
    assert found["open"] == owner.get("overview")["conflicts"]["open"] == 1
    conflicts = {item["name"]: item["conflicts"] for item in owner.get("replicas")["items"]}
    assert conflicts == {"till.db": 0, "depot.db": 1}
    assert (one["table"], one["key"], one["column"], one["policy"]) == (
        "product",
        ["p1"],
        "name",
        "ask",
    )
    assert (one["base"], one["hub"], one["replica_value"], one["result"]) == (
        "Tea",
        "Green tea",
        "Black tea",
        "Green tea",
    )
    assert (one["principal"], one["replica_name"]) == ("bob", "depot.db")
    seen = owner.get(f"conflicts/{one['id']}")
    assert seen["row"]["name"] == "Green tea"
    assert [change["actor"] for change in seen["history"]] == ["ann"]
    assert owner.ask("GET", "conflicts/nothing").status_code == 404


def test_a_conflict_tells_its_columns_type(asked: World) -> None:
    owner = asked.owner()
    (one,) = owner.get("conflicts")["items"]
    assert owner.get(f"conflicts/{one['id']}")["column_type"] == "text"


@pytest.mark.parametrize(
    ("decision", "name"),
    [
        ({"take": "replica"}, "Black tea"),
        ({"take": "base"}, "Tea"),
        ({"take": "value", "value": "<b>White</b> tea"}, "<b>White</b> tea"),
        ({"take": "hub"}, "Green tea"),
    ],
)
def test_a_decision_is_a_change_that_reaches_the_replicas(
    asked: World, decision: dict[str, Any], name: str
) -> None:
    ann = asked.member("eve", "console:write")
    (one,) = ann.get("conflicts")["items"]
    seen = ann.get(f"conflicts/{one['id']}")
    done = ann.do("POST", f"conflicts/{one['id']}", decision, If_Match=seen["etag"])
    assert done["item"]["state"] == "decided"
    assert done["item"]["decided"]["by"] == "eve"
    assert asked.rows("select name from product where id = 'p1'") == [(name,)]
    if decision["take"] == "hub":
        assert done["commit"] is None
    else:
        assert ann.get(f"commits/{done['commit']}")["actors"] == ["eve"]
    for till in asked.tills:  # type: ignore[attr-defined]
        till.sync()
        with till.transaction() as db:
            assert db.execute("select name from product where id = 'p1'").fetchall() == [(name,)]
    assert ann.get("conflicts", state="open")["items"] == []
    assert ann.get("overview")["conflicts"]["open"] == 0
    act = ann.get("acts")["items"][0]
    assert (act["what"], act["actor"]) == ("conflict.decided", "eve")


def test_who_has_not_seen_the_row_as_it_is_decides_nothing(asked: World) -> None:
    one, other = asked.owner(), asked.owner()
    (found,) = one.get("conflicts")["items"]
    tag = one.get(f"conflicts/{found['id']}")["etag"]
    other.do("POST", f"conflicts/{found['id']}", {"take": "replica"}, If_Match=tag)
    late = one.ask("POST", f"conflicts/{found['id']}", {"take": "base"}, If_Match=tag)
    assert late.status_code == 412
    assert late.json()["row"]["name"] == "Black tea"
    blind = one.ask("POST", f"conflicts/{found['id']}", {"take": "base"})
    assert blind.status_code == 400
    assert asked.rows("select name from product where id = 'p1'") == [("Black tea",)]


def test_a_value_that_the_column_cannot_have_is_refused(asked: World) -> None:
    owner = asked.owner()
    (found,) = owner.get("conflicts")["items"]
    tag = owner.get(f"conflicts/{found['id']}")["etag"]
    refused = owner.ask(
        "POST", f"conflicts/{found['id']}", {"take": "value", "value": [1]}, If_Match=tag
    )
    assert refused.status_code == 400
    assert owner.get("conflicts", state="open")["open"] == 1


def test_a_row_that_one_deleted_and_the_other_changed_is_a_conflict_of_rows(world: World) -> None:
    owner = world.owner()
    till = world.replica("till")
    with till.transaction() as db:
        db.execute("update product set name = 'Oat milk' where id = 'p2'")
    world.write("delete from product where id = 'p2'")
    till.sync()
    (one,) = owner.get("conflicts")["items"]
    assert one["column"] is None
    assert one["hub"] is None
    assert one["replica_value"]["name"] == "Oat milk"
    tag = owner.get(f"conflicts/{one['id']}")["etag"]
    assert tag == "-"
    owner.do("POST", f"conflicts/{one['id']}", {"take": "replica"}, If_Match=tag)
    assert world.rows("select name from product where id = 'p2'") == [("Oat milk",)]


@pytest.mark.parametrize(
    ("take", "name"), [("hub", "Green tea"), ("base", "Tea"), ("replica", "Black tea")]
)
def test_what_a_policy_decided_is_overruled(world: World, take: str, name: str) -> None:
    owner = world.owner()
    till, depot = world.replica("till"), world.replica("depot")
    meet((till,), "Green tea")
    world.clock.advance(1_000)
    with depot.transaction() as db:
        db.execute("update product set name = 'Black tea' where id = 'p1'")
    depot.sync()
    (one,) = owner.get("conflicts", state="merged")["items"]
    assert (one["hub"], one["result"]) == ("Green tea", "Black tea")
    done = decided(owner, one, take)
    assert (done["commit"] is None) == (take == "replica")
    assert world.rows("select name from product where id = 'p1'") == [(name,)]


def decided(owner: Browser, one: dict[str, Any], take: str) -> Any:
    path = f"conflicts/{one['id']}"
    return owner.do("POST", path, {"take": take}, If_Match=owner.get(path)["etag"])


@pytest.mark.parametrize(
    ("take", "rows"),
    [("hub", []), ("base", [("p2", "Milk", 2)]), ("replica", [("p2", "Oat milk", 2)])],
)
def test_a_row_that_the_hub_deleted_comes_back_whole_or_stays_away(
    world: World, take: str, rows: list[Any]
) -> None:
    owner, till = world.owner(), world.replica("till")
    with till.transaction() as db:
        db.execute("update product set name = 'Oat milk' where id = 'p2'")
    world.write("delete from product where id = 'p2'")
    till.sync()
    (one,) = owner.get("conflicts")["items"]
    decided(owner, one, take)
    assert world.rows("select * from product where id = 'p2'") == rows, "with its price"


@pytest.mark.parametrize(
    ("take", "rows"),
    [("hub", [("p2", "Milk", 9)]), ("base", [("p2", "Milk", 2)]), ("replica", [])],
)
def test_a_row_that_the_device_deleted_comes_back_as_the_hub_had_it(
    world: World, take: str, rows: list[Any]
) -> None:
    owner, till = world.owner(), world.replica("till")
    with till.transaction() as db:
        db.execute("delete from product where id = 'p2'")
    world.write("update product set price = 9 where id = 'p2'")
    till.sync()
    (one,) = owner.get("conflicts")["items"]
    assert (one["policy"], world.rows("select * from product where id = 'p2'")) == (
        "delete_wins",
        [],
    )
    decided(owner, one, take)
    assert world.rows("select * from product where id = 'p2'") == rows


def test_a_row_whose_rest_the_log_has_forgotten_is_not_put_back_in_part(world: World) -> None:
    owner, till = world.owner(), world.replica("till")
    with till.transaction() as db:
        db.execute("update product set name = 'Oat milk' where id = 'p2'")
    world.write("delete from product where id = 'p2'")
    world.hub.number()
    world.clock.advance(1_000)
    world.hub.trim(older_than_s=0, seen_within_s=0)
    till.sync()
    (one,) = owner.get("conflicts")["items"]
    path, whole = f"conflicts/{one['id']}", {"name": "Oat milk", "price": 2}
    refused = owner.ask("POST", path, {"take": "replica"}, If_Match="-")
    assert refused.status_code == 400
    assert "give all of it" in refused.json()["detail"]
    assert owner.get(path)["item"]["state"] == "merged"
    owner.do("POST", path, {"take": "value", "value": whole}, If_Match="-")
    assert world.rows("select * from product where id = 'p2'") == [("p2", "Oat milk", 2)]


def test_conflicts_that_a_policy_decided_are_listed_apart(world: World) -> None:
    owner = world.owner()
    meet((world.replica("till"), world.replica("depot")), "Green tea", "Black tea")
    assert owner.get("conflicts", state="open")["items"] == []
    (one,) = owner.get("conflicts", state="merged", table="product")["items"]
    assert one["policy"] == "last_writer"
    assert owner.get("conflicts", table="sale")["items"] == []
    assert len(owner.get("conflicts", replica=one["replica"])["items"]) == 1


def test_what_was_erased_is_shown_to_nobody(asked: World) -> None:
    owner = asked.owner()
    asked.hub.erase("product", ("p1",))
    (one,) = owner.get("conflicts")["items"]
    assert one["is_erased"] is True
    assert one["base"] is one["hub"] is one["replica_value"] is one["result"] is None
    assert b"Black tea" not in asked.file.read_bytes()


def test_refused_changes_are_listed_with_why_and_settled(world: World) -> None:
    owner = world.owner()
    till = world.replica("till", user="bob")
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p2', 1)")
    world.write("delete from product where id = 'p2'")
    till.sync()
    found = owner.get("parked")
    (one,) = found["items"]
    assert (one["table"], one["key"], one["op"], one["code"]) == (
        "sale",
        ["s1"],
        "insert",
        "parent-deleted",
    )
    assert one["reason"]
    assert (one["principal"], one["replica_name"], one["state"]) == ("bob", "till.db", "open")
    assert found["codes"] == ["parent-deleted"]
    assert owner.get("parked", code="unique")["items"] == []
    settled = owner.do("POST", f"parked/{one['id']}", {"is_settled": True})
    assert (settled["state"], settled["settled_by"]) == ("settled", "owner")
    assert owner.get("overview")["parked"]["open"] == 0
    assert len(till.parked()) == 1, "on its device nothing happens"
    again = owner.do("POST", f"parked/{one['id']}", {"is_settled": False})
    assert again["state"] == "open"
    assert [act["what"] for act in owner.get("acts")["items"]][:2] == [
        "refusal.opened",
        "refusal.settled",
    ]
