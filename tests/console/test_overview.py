"""The overview's figures, each of which moves with what it counts; and the pulse."""

from __future__ import annotations

from typing import Any

from reunite.console.standing import SILENT_MS
from tests.console.conftest import World


def test_the_page_and_everything_below_it_are_served_with_its_own_base(world: World) -> None:
    browser = world.browser()
    page = browser.client.get(f"{world.server.url}/console/")
    assert '<base href="/console/">' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    deep = browser.client.get(f"{world.server.url}/console/replicas/abc")
    assert deep.text == page.text
    bare = browser.client.get(f"{world.server.url}/console")
    assert bare.status_code == 308
    assert bare.headers["location"] == "/console/"
    nothing = browser.client.get(f"{world.server.url}/console/api/nothing")
    assert nothing.status_code == 404
    assert nothing.json()["code"] == "not-found"


def test_replicas_are_counted_by_how_they_stand(world: World) -> None:
    owner = world.owner()
    assert owner.get("overview")["replicas"]["total"] == 0
    till, _ = world.replica("till"), world.replica("depot")
    found = owner.get("overview")["replicas"]
    assert (found["total"], found["current"], found["seen_last_hour"]) == (2, 2, 2)

    world.write("update product set price = 9 where id = 'p1'")
    till.sync()
    # What it was sent is confirmed by the next sync, and noted now and then.
    world.clock.advance(601_000)
    till.sync()
    found = owner.get("overview")["replicas"]
    assert (found["current"], found["behind"]) == (1, 1)
    assert [one["name"] for one in found["furthest_behind"]] == ["depot.db"]
    assert found["furthest_behind"][0]["behind"] == 1

    world.clock.advance(SILENT_MS + 1)
    owner = world.owner()
    found = owner.get("overview")
    assert found["replicas"]["silent"] == 2
    assert found["replicas"]["seen_last_hour"] == 0
    assert "silent-replicas" in {one["code"] for one in found["warnings"]}

    world.hub.trim(older_than_s=0, seen_within_s=0)
    found = owner.get("overview")
    assert (found["replicas"]["outdated"], found["replicas"]["silent"]) == (1, 1)
    assert found["hub"]["trimmed_seq"] > 0


def test_commits_tables_and_the_directory_are_counted(world: World) -> None:
    owner = world.owner()
    before = owner.get("overview")
    assert before["tables"] == {"tracked": 2, "closed": 0}
    assert "no-rules" in {one["code"] for one in before["warnings"]}
    world.write("update product set price = 9")
    world.hub.directory.add_user("ann")
    world.hub.directory.add_role("Managers")
    world.hub.directory.permit("Managers", "product", "read_only")
    after = owner.get("overview")
    assert after["hub"]["seq"] == before["hub"]["seq"] + 1
    assert after["hub"]["last_commit_ms"] == world.clock.now_ms()
    assert after["directory"]["users"] == before["directory"]["users"] + 1
    assert after["directory"]["permissions"] == 1
    assert "no-rules" not in {one["code"] for one in after["warnings"]}


def test_refused_changes_and_conflicts_are_counted(world: World) -> None:
    owner = world.owner()
    till, depot = world.replica("till"), world.replica("depot")
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p2', 1)")
    world.write("delete from product where id = 'p2'")
    till.sync()
    with till.transaction() as db:
        db.execute("update product set name = 'Green tea' where id = 'p1'")
    with depot.transaction() as db:
        db.execute("update product set name = 'Black tea' where id = 'p1'")
    till.sync()
    depot.sync()
    found = owner.get("overview")
    assert found["parked"] == {"open": 1, "last_day": 1}
    assert found["conflicts"] == {"open": 0, "last_day": 1}, "its policy has decided it"
    by_name = {one["name"]: one for one in owner.get("replicas")["items"]}
    assert by_name["till.db"]["parked"] == 1
    world.clock.advance(25 * 3600 * 1000)
    found = world.owner().get("overview")
    assert found["parked"] == {"open": 1, "last_day": 0}


def test_the_pulse_of_a_part_changes_with_it_and_of_others_does_not(world: World) -> None:
    owner = world.owner()

    def changed(former: dict[str, str]) -> set[str]:
        now: dict[str, Any] = owner.get("pulse")["topics"]
        return {name for name, text in now.items() if former[name] != text}

    before = owner.get("pulse")["topics"]
    world.write("update product set price = 9")
    assert changed(before) == {"commits"}
    before = owner.get("pulse")["topics"]
    world.hub.directory.add_role("Managers")
    assert changed(before) == {"directory", "acts"} - ({"acts"} - changed(before))
    before = owner.get("pulse")["topics"]
    world.hub.directory.permit("Managers", "product", "read_only")
    assert "permissions" in changed(before)
    before = owner.get("pulse")["topics"]
    world.replica("till")
    assert "replicas" in changed(before)


def test_news_come_as_a_stream_until_a_right_is_lost(world: World) -> None:
    ann = world.member("ann", "console:read")
    with ann.client.stream("GET", "events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: pulse"
        assert next(lines).startswith("data: ")
        world.hub.directory.set_user_active("ann", False)
        assert any(line == "event: bye" for line in lines)


def test_replicas_are_found_sorted_and_read_in_parts(world: World) -> None:
    owner = world.owner()
    for name in ("till 1", "till 2", "Depot"):
        world.replica(name, user="bob" if name == "Depot" else "ann")
        world.clock.advance(1_000)
    by_name = owner.get("replicas", sort="name")
    assert [one["name"] for one in by_name["items"]] == ["Depot.db", "till 1.db", "till 2.db"]
    newest = owner.get("replicas", limit=2)
    assert [one["name"] for one in newest["items"]] == ["Depot.db", "till 2.db"]
    rest = owner.get("replicas", limit=2, after=newest["next"])
    assert [one["name"] for one in rest["items"]] == ["till 1.db"]
    assert rest["next"] is None
    assert owner.get("replicas", q="TILL")["total"] == 2
    assert owner.get("replicas", principal="bob")["total"] == 1
    assert owner.get("replicas", state="silent")["items"] == []
    one = owner.get(f"replicas/{rest['items'][0]['id']}")
    assert one["replica"]["name"] == "till 1.db"
    assert one["views"][0]["tables"] == {"product": None, "sale": None}
    assert owner.ask("GET", "replicas/nobody").status_code == 404


def test_what_is_no_parameter_or_no_place_is_refused_with_where(world: World) -> None:
    owner = world.owner()
    for path, place in (
        ("replicas?limit=0", "limit"),
        ("replicas?limit=x", "limit"),
        ("replicas?after=x", "after"),
        ("replicas?state=odd", "state"),
    ):
        answer = owner.ask("GET", path)
        assert answer.status_code == 400, path
        assert answer.json()["path"] == place
    assert owner.ask("GET", "replicas?nothing=1").status_code == 400
