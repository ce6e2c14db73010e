"""Tables, rules, what somebody sees and why, jobs, discovery and the soundness of the log."""

from __future__ import annotations

import pytest

from reunite import Rules, row, user
from reunite.cli.tracking import hub_over
from reunite.core.rules import Column
from tests.console.conftest import World


@pytest.fixture
def ruled(world: World) -> World:
    world.hub.track(
        "product",
        rules=Rules(
            read=row.price < user.limit,
            update=user.roles.contains("Managers"),
            columns={"name": Column(write=False)},
        ),
    )
    directory = world.hub.directory
    directory.add_role("Managers")
    directory.add_user("bob", claims={"limit": 3})
    directory.add_member("bob", "Managers")
    return world


def test_tables_tell_their_columns_rules_and_rows(ruled: World) -> None:
    owner = ruled.owner()
    found = owner.get("tables")
    by_name = {one["name"]: one for one in found["items"]}
    assert (by_name["product"]["rules"], by_name["sale"]["rules"]) == ("rules", "closed")
    assert owner.get("overview")["tables"] == {"tracked": 2, "closed": 1}
    assert owner.get("tables", q="PROD")["total"] == 1
    one = owner.get("tables/product")
    assert one["rules_text"]["read"] == "row.price < user.limit"
    assert one["rows"] == {"count": 2, "is_exact": True}
    name = next(column for column in one["columns"] if column["name"] == "name")
    assert (name["type"], name["write"]) == ("text", "False")
    ruled.write("insert into product values ('p3', 'Salt', 1)")
    assert owner.get("tables/product")["rows"]["count"] == 3
    sale = owner.get("tables/sale")
    assert sale["foreign_keys"] == [
        {"columns": ["product"], "parent": "product", "parent_columns": ["id"]}
    ]
    assert owner.ask("GET", "tables/nothing").status_code == 404


def test_many_rows_are_not_all_counted(ruled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reunite.console.tables.COUNTED_MAX", 1)
    assert ruled.owner().get("tables/product")["rows"] == {"count": 1, "is_exact": False}


def test_why_somebody_sees_a_row_or_not(ruled: World) -> None:
    owner = ruled.owner()
    asked = {"user": "bob", "table": "product", "key": ["p1"]}
    found = owner.do("POST", "explain", asked)
    assert found["read"]["is_allowed"] is False
    (reason,) = found["read"]["reasons"]
    assert (reason["text"], reason["row"], reason["user"]) == ("row.price < user.limit", 3, 3)
    assert found["row"]["name"] == "Tea"
    ruled.write("update product set price = 1 where id = 'p1'")
    assert owner.do("POST", "explain", asked)["read"]["is_allowed"] is True
    said = {"principal": {"user": "eve", "claims": {"limit": 0}}}
    other = owner.do("POST", "explain", {"table": "product", "key": ["p1"]} | said)
    assert other["read"]["is_allowed"] is False
    nobody = owner.ask("POST", "explain", asked | {"user": "nobody"})
    assert (nobody.status_code, nobody.json()["path"]) == (400, "user")


def test_what_somebody_sees_is_what_a_replica_gets(ruled: World) -> None:
    owner = ruled.owner()
    found = owner.do("POST", "view", {"user": "bob", "table": "product"})
    assert found["rows"] == [["p2", "Milk", 2]]
    assert found["count"] == {"count": 1, "is_exact": True}
    closed = owner.do("POST", "view", {"user": "bob", "table": "sale"})
    assert (closed["rows"], closed["count"]["count"]) == ([], 0)
    tables = owner.do("POST", "view/tables", {"user": "bob"})
    by_name = {one["table"]: one for one in tables["items"]}
    assert by_name["product"]["reads"] == "some"
    assert by_name["product"]["inserts"] == "none"
    assert by_name["sale"]["reads"] == "none"
    assert tables["claims"] == {"limit": 3}


def test_rows_are_read_in_parts(world: World) -> None:
    owner = world.owner()
    asked = {"principal": {"user": "eve"}, "table": "product", "limit": 1}
    first = owner.do("POST", "view", asked)
    assert first["next"] == ["p1"]
    rest = owner.do("POST", "view", asked | {"after": first["next"]})
    assert rest["rows"] == [["p2", "Milk", 2]]


def test_jobs_are_those_of_the_process(world: World) -> None:
    owner = world.owner()
    assert owner.get("jobs")["items"] == []

    @world.hub.every(seconds=3600, name="report")
    def report() -> None:
        """Nothing."""

    assert owner.get("jobs", limit=50)["items"] == [{"name": "report", "seconds": 3600.0}]

    @world.hub.every(seconds=60, name="sweep")
    def sweep() -> None:
        """Nothing."""

    first = owner.get("jobs", limit=1)
    rest = owner.get("jobs", limit=1, after=first["next"])
    assert [one["name"] for one in first["items"] + rest["items"]] == ["report", "sweep"]
    assert rest["next"] is None


def test_tables_are_found_tracked_and_left(world: World) -> None:
    world.write("create table note (id text primary key not null, text text)")
    owner = world.owner()
    found = owner.get("discovery")
    assert found["tracked"] == ["product", "sale"]
    assert found["left_out"] == [{"name": "note", "why": None, "can_track": True}]
    found = owner.do("POST", "discovery", {"table": "note", "track": True})
    assert found["tracked"] == ["note", "product", "sale"]
    world.write("insert into note values ('n1', 'kept')")
    assert owner.get("changes", table="note")["items"][0]["op"] == "insert"
    found = owner.do("POST", "discovery", {"table": "note", "track": False})
    assert "note" not in found["tracked"]
    assert [act["what"] for act in owner.get("acts")["items"]][:2] == [
        "table.untracked",
        "table.tracked",
    ]
    for name in ("none", "reunite_visit", "reunite_change"):
        for is_tracked in (True, False):
            asked = {"table": name, "track": is_tracked}
            assert owner.ask("POST", "discovery", asked).status_code == 404, asked


def test_a_table_that_was_left_out_comes_back_with_a_note(world: World) -> None:
    owner = world.owner()
    owner.do("POST", "discovery", {"table": "sale", "track": False})
    for _ in range(2):
        hub, tracked = hub_over(world.file)
        hub.close()
        assert "sale" in tracked.tables
    acts = [(one["actor"], one["what"], one["about"]) for one in owner.get("acts")["items"]]
    assert [one for one in acts if one[1].startswith("table.")] == [
        ("reunite serve", "table.tracked", "sale"),
        (acts[1][0], "table.untracked", "sale"),
    ]


def test_discovery_tells_of_each_table_and_whether_new_ones_are_tracked(world: World) -> None:
    world.write("create table nokey (a text)")
    owner = world.owner()
    found = owner.get("discovery")
    assert found["tracks_newcomers"] is False
    (one,) = found["left_out"]
    assert (one["name"], one["can_track"]) == ("nokey", False)
    assert "has no primary key" in one["why"]
    world.hub.track_newcomers()
    world.write("create table fresh (id text primary key not null)")
    found = owner.get("discovery")
    assert found["tracks_newcomers"] is True
    assert "fresh" in found["tracked"]


def test_a_log_is_verified_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reunite.console.working.VERIFIED_COMMITS", 2)
    owner = world.owner()
    for price in range(5):
        world.write(f"update product set price = {price + 10} where id = 'p1'")
        world.hub.number()
    after, checked = 0, 0
    while after is not None:
        found = owner.do("POST", "verify", {"after_seq": after})
        assert found["problems"] == []
        checked, after = checked + found["checked"], found["next"]
    assert checked == found["head"] == 5


def test_what_is_missing_in_a_log_is_told(world: World) -> None:
    owner = world.owner()
    for price in range(3):
        world.write(f"update product set price = {price + 10} where id = 'p1'")
        world.hub.number()
    world.write("insert into product values ('p3', 'Salt', 1)")
    world.hub.number()
    assert owner.do("POST", "verify", {})["problems"] == []
    triggers = world.rows(
        "select name, sql from sqlite_schema where type = 'trigger' and tbl_name = 'product'"
    )
    world.write(
        "delete from reunite_commit where seq = 2;"
        + "".join(f'drop trigger "{name}";' for name, _ in triggers)
        + "delete from product where id = 'p3'"
    )
    texts = [one["text"] for one in owner.do("POST", "verify", {})["problems"]]
    assert texts[0] == "Commit 2 is missing."
    found = owner.do("POST", "verify", {"after_seq": 3})
    assert any("was last written, and is not there" in one["text"] for one in found["problems"])


@pytest.fixture
def logged(world: World) -> World:
    """Six commits of one change each."""
    for price in range(6):
        world.write(f"update product set price = {price + 10} where id = 'p1'")
        world.hub.number()
    return world


@pytest.mark.parametrize("at_once", [5_000, 1])
def test_a_commit_that_lacks_changes_is_told(
    logged: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("reunite.console.working.VERIFIED_CHANGES", at_once)
    owner = logged.owner()
    logged.write("update product set price = 1")
    logged.hub.number()
    logged.write(
        "delete from reunite_change where id = 3;"
        "delete from reunite_change where id = (select max(id) - 1 from reunite_change)"
    )
    problems, after = [], 0
    while after is not None:
        found = owner.do("POST", "verify", {"after_seq": after})
        problems, after = problems + found["problems"], found["next"]
    assert problems == [
        {"seq": 3, "text": "Commit 3 was made with 1 changes, and has 0."},
        {"seq": 7, "text": "Commit 7 was made with 2 changes, and has 1."},
    ]


def test_what_cannot_be_read_in_a_log_is_told(logged: World) -> None:
    owner = logged.owner()
    logged.write(
        "update reunite_change set op = 'upsert' where id = 4;"
        "delete from reunite_change where id = 5"
    )
    found = owner.do("POST", "verify", {})
    assert [one["seq"] for one in found["problems"]] == [4, 5]
    assert "change 4 has the operation 'upsert'" in found["problems"][0]["text"]
    assert (found["checked"], found["next"]) == (6, None)
    listed = owner.ask("GET", "commits")
    assert listed.status_code == 503
    assert "change 4 has the operation 'upsert'" in listed.json()["detail"]
