"""Commits, changes, rows and acts: told as they were, undone and put back by who has seen them."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from reunite.console import audit
from tests.console.conftest import World

HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> \u202e"


def test_commits_tell_what_they_touched_who_did_it_and_from_where(world: World) -> None:
    owner = world.owner()
    till = world.replica("till", user="ann")
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p1', 1), ('s2', 'p1', 1)")
        db.execute("update product set price = 4 where id = 'p1'")
    till.sync()
    world.clock.advance(1_000)
    world.write("delete from sale where id = 's2'")
    found = owner.get("commits")["items"]
    assert [one["seq"] for one in found] == [2, 1]
    assert found[0]["tables"] == {"sale": 1}
    assert found[0]["actors"] == []
    assert found[0]["at_ms"] == world.clock.now_ms()
    assert found[1]["tables"] == {"sale": 2, "product": 1}
    assert found[1]["actors"] == ["ann"]
    assert [one["name"] for one in found[1]["replicas"]] == ["till.db"]
    assert owner.get("commits/1") == found[1]
    assert owner.ask("GET", "commits/9").status_code == 404


def test_changes_are_told_field_by_field(world: World) -> None:
    owner = world.owner()
    world.write("update product set name = 'Green tea' where id = 'p1'")
    world.write("delete from product where id = 'p2'")
    deleted, updated = owner.get("changes")["items"]
    assert (deleted["op"], deleted["key"]) == ("delete", ["p2"])
    assert {one["column"]: one["old"] for one in deleted["fields"]}["name"] == "Milk"
    assert all(one["new"] is None for one in deleted["fields"])
    assert updated["fields"][0] == {
        "column": "name",
        "old": "Tea",
        "new": "Green tea",
        "is_changed": True,
    }
    assert not any(one["is_changed"] for one in updated["fields"][1:])
    of_commit = owner.get(f"commits/{updated['seq']}/changes")["items"]
    assert of_commit == [updated, deleted], "numbered together, in their order"
    first = owner.get(f"commits/{updated['seq']}/changes", limit=1)
    assert first["items"] == [updated]
    rest = owner.get(f"commits/{updated['seq']}/changes", limit=1, after=first["next"])
    assert (rest["items"], rest["next"]) == ([deleted], None)


@pytest.fixture
def busy(world: World) -> World:
    """Ten commits, of which each third is a sale, a second apart."""
    for n in range(10):
        world.clock.advance(1_000)
        if n % 3 == 0:
            world.write(f"insert into sale values ('s{n}', 'p1', {n})")
        else:
            world.write(f"update product set price = {n + 10} where id = 'p1'")
        world.hub.number()
    return world


def in_parts(owner: Any, path: str, **asked: Any) -> list[Any]:
    found, after = [], None
    for _ in range(50):
        part = owner.get(path, **asked, **({} if after is None else {"after": after}))
        found += part["items"]
        after = part["next"]
        if after is None:
            return found
    raise AssertionError("a list without an end")


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, 10, 200])
def test_lists_of_the_log_have_each_entry_once_in_parts_of_any_size(
    busy: World, limit: int
) -> None:
    owner = busy.owner()
    commits = in_parts(owner, "commits", limit=limit)
    assert [one["seq"] for one in commits] == list(range(10, 0, -1))
    changes = in_parts(owner, "changes", limit=limit)
    assert [one["seq"] for one in changes] == list(range(10, 0, -1))
    sales = in_parts(owner, "commits", limit=limit, table="sale")
    assert [one["seq"] for one in sales] == [10, 7, 4, 1]
    sales = in_parts(owner, "changes", limit=limit, table="sale", op="insert")
    assert [one["seq"] for one in sales] == [10, 7, 4, 1]
    assert in_parts(owner, "changes", limit=limit, op="delete") == []


def test_lists_of_the_log_are_of_a_stretch_of_time(busy: World) -> None:
    owner = busy.owner()
    now_ms = busy.clock.now_ms()
    asked = {"since_ms": now_ms - 5_000, "until_ms": now_ms - 2_000}
    assert [one["seq"] for one in in_parts(owner, "commits", limit=2, **asked)] == [7, 6, 5]
    assert [one["seq"] for one in in_parts(owner, "changes", limit=2, **asked)] == [7, 6, 5]
    only = in_parts(owner, "changes", limit=2, table="sale", **asked)
    assert [one["seq"] for one in only] == [7]
    assert in_parts(owner, "commits", since_ms=now_ms + 1) == []
    assert in_parts(owner, "changes", until_ms=1) == []


def test_what_is_rare_is_looked_for_bit_by_bit(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.console.audit._WINDOW", 2)
    monkeypatch.setattr("reunite.console.audit.LOOK_S", 0.0)
    owner = busy.owner()
    part = owner.get("changes", table="sale", limit=50)
    assert len(part["items"]) <= 1
    assert part["next"] is not None
    assert part["scanned_to_ms"] is not None
    assert [one["seq"] for one in in_parts(owner, "changes", table="sale")] == [10, 7, 4, 1]
    assert [one["seq"] for one in in_parts(owner, "commits", table="sale")] == [10, 7, 4, 1]


def test_changes_are_found_by_who_made_them(world: World) -> None:
    owner = world.owner()
    till, depot = world.replica("till", user="ann"), world.replica("depot", user="bob")
    for replica, price in ((till, 4), (depot, 5)):
        with replica.transaction() as db:
            db.execute("insert into sale values (?, 'p1', ?)", (f"s{price}", price))
        replica.sync()
    (one,) = owner.get("changes", actor="bob")["items"]
    assert one["key"] == ["s5"]
    (one,) = owner.get("changes", replica=one["replica"])["items"]
    assert one["replica_name"] == "depot.db"
    (one,) = owner.get("commits", actor="ann")["items"]
    assert one["actors"] == ["ann"]
    assert owner.ask("GET", "changes?replica=nobody").status_code == 400
    assert owner.ask("GET", "changes?table=nothing").status_code == 404


def test_a_commit_is_undone_after_a_look_at_what_would_come_of_it(world: World) -> None:
    ann = world.member("ann", "console:write")
    world.write("update product set price = 99")
    seq = ann.get("commits")["items"][0]["seq"]
    looked = ann.do("POST", f"commits/{seq}/undo", {"dry_run": True})
    assert (looked["rows"], looked["commit"]) == (2, None)
    assert world.rows("select price from product") == [(99,), (99,)]
    done = ann.do("POST", f"commits/{seq}/undo", {"dry_run": False})
    assert world.rows("select price from product order by id") == [(3,), (2,)]
    newest = ann.get("commits")["items"][0]
    assert (newest["seq"], newest["actors"]) == (done["commit"], ["ann"])
    act = ann.get("acts")["items"][0]
    assert (act["actor"], act["what"], act["about"]) == ("ann", "commit.undone", str(seq))


def test_a_row_is_put_back_by_who_has_seen_what_it_is(world: World) -> None:
    owner = world.owner()
    world.write("delete from product where id = 'p2'")
    (deleted,) = owner.get("changes", op="delete")["items"]
    asked = {"table": "product", "key": ["p2"], "change": deleted["id"]}
    looked = owner.do("POST", "restore", asked | {"dry_run": True})
    assert looked["before"] is None
    assert looked["after"] == {"id": "p2", "name": "Milk", "price": 2}
    assert world.rows("select * from product where id = 'p2'") == []
    blind = owner.ask("POST", "restore", asked | {"dry_run": False})
    assert blind.status_code == 400
    done = owner.do("POST", "restore", asked | {"dry_run": False}, If_Match=looked["etag"])
    assert world.rows("select * from product where id = 'p2'") == [("p2", "Milk", 2)]
    assert owner.get(f"commits/{done['commit']}")["actors"] == ["owner"]
    late = owner.ask("POST", "restore", asked | {"dry_run": False}, If_Match=looked["etag"])
    assert late.status_code == 412
    assert late.json()["row"]["name"] == "Milk"


def test_what_the_database_refuses_is_not_put_back(world: World) -> None:
    owner = world.owner()
    world.write("insert into product values ('p3', 'Salt', 1)")
    (inserted,) = owner.get("changes", op="insert")["items"]
    world.write("insert into sale values ('s1', 'p3', 1)")
    asked = {"table": "product", "key": ["p3"], "change": inserted["id"], "dry_run": False}
    tag = owner.get("row", table="product", key='["p3"]')["etag"]
    refused = owner.ask("POST", "restore", asked, If_Match=tag)
    assert (refused.status_code, refused.json()["code"]) == (409, "foreign-key")
    assert world.rows("select count(*) from product") == [(3,)]


def test_the_history_of_a_row_is_told_newest_first(world: World) -> None:
    owner = world.owner()
    world.write("update product set price = 4 where id = 'p1'")
    world.write("update product set price = 5 where id = 'p1'")
    found = owner.get("history", table="product", key='["p1"]')["items"]
    assert [one["fields"][0]["new"] for one in found] == [5, 4]
    assert owner.ask("GET", "history?table=product&key=p1").json()["path"] == "key"


def test_the_history_is_downloaded_as_a_file_that_no_spreadsheet_calculates(world: World) -> None:
    owner = world.owner()
    with world.hub.acting_as(HOSTILE) as db:
        db.execute("update product set price = 9 where id = 'p2'")
    file = owner.client.get("export", params={"table": "product"})
    assert "attachment" in file.headers["content-disposition"]
    (told,) = csv.DictReader(io.StringIO(file.text))
    assert told["actor"] == f"'{HOSTILE}"
    (line,) = owner.client.get("export", params={"format": "ndjson"}).text.splitlines()
    assert json.loads(line)["new"]["price"] == 9
    assert owner.ask("GET", "export?table=nothing").status_code == 404


def test_acts_are_listed_by_who_and_what(world: World) -> None:
    ann, bob = world.member("ann", "console:write"), world.member("bob", "console:write")
    ann.do("PUT", "tenants", {"name": "acme"})
    bob.do("PUT", "tenants", {"name": "umbrella", "title": HOSTILE})
    (one,) = ann.get("acts", actor="bob")["items"]
    assert (one["what"], one["about"], one["before"]) == ("tenant.added", "umbrella", None)
    assert one["after"]["title"] == HOSTILE
    assert [act["about"] for act in ann.get("acts", what="tenant.added")["items"]] == [
        "umbrella",
        "acme",
    ]
    everything = in_parts(ann, "acts", limit=2)
    assert len({act["id"] for act in everything}) == len(everything) >= 4


def test_a_large_commit_is_counted_on_its_own_page_and_said_to_be_larger_in_the_list(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = world.owner()
    world.write("""
        insert into sale
        with recursive n (x) as (select 1 union all select x + 1 from n where x < 300)
        select 's' || x, null, 1 from n
    """)
    (listed,) = owner.get("commits")["items"]
    assert (listed["changes"], listed["is_partial"]) == (100, True)
    own = owner.get("commits/1")
    assert (own["changes"], own["tables"], own["is_partial"]) == (300, {"sale": 300}, False)
    assert owner.do("POST", "commits/1/undo", {})["rows"] == 300
    monkeypatch.setattr(audit, "COUNTED_CHANGES", 200)
    own = owner.get("commits/1")
    assert (own["changes"], own["is_partial"]) == (200, True)
