"""No number on a page is invented: each moves with what it counts, in a test that is named here.

The tables below have every number that the pages Overview, Replicas, Tables, Performance and Jobs
are made of, as their operations declare them, and the test that changes its cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from reunite import Rules
from reunite.console.operations import OPERATIONS
from tests.console.conftest import World
from tests.docs.files import project_files

LIST_OF_SYNCS = "test_a_push_and_what_it_brings_others_are_in_the_log"
STANDING = "test_replicas_are_counted_by_how_they_stand"
COUNTED = "test_commits_tables_and_the_directory_are_counted"
TROUBLES = "test_refused_changes_and_conflicts_are_counted"
LATELY = "test_the_last_minutes_follow_what_is_pushed_and_pulled"
SERIES = "test_series_have_a_point_for_each_stretch_and_none_where_nothing_was_noted"
LAG = "test_lag_is_of_what_was_sent_and_falls_with_a_sync"
OF_ONE = "test_a_replicas_numbers_follow_what_it_does"
TABLES = "test_a_tables_numbers_follow_its_rows_and_columns"
ADDED_UP = "test_points_of_several_processes_are_added_up"

# A number that is there to say when, or which, and counts nothing.
NO_COUNT = re.compile(r"(^|\.)(at_ms|created_ms|from_ms|to_ms|step_s|window_s|times\[\]|tenant)$")

TESTS: dict[str, dict[str, str]] = {
    "overview": {
        "conflicts.": TROUBLES,
        "conflicts.open": "test_an_open_conflict_shows_what_met",
        "parked.": TROUBLES,
        "directory.": COUNTED,
        "directory.tenants": LATELY,
        "directory.roles": LATELY,
        "hub.seq": COUNTED,
        "hub.last_commit_ms": COUNTED,
        "hub.trimmed_seq": STANDING,
        "hub.database_bytes": LATELY,
        "rates.": LATELY,
        "rates.errors": "test_refusals_and_errors_are_told_apart",
        "replicas.": STANDING,
        "sync[].": LIST_OF_SYNCS,
        "tables.tracked": COUNTED,
        "tables.closed": LATELY,
    },
    "replicas": {
        "counts{}": OF_ONE,
        "total": "test_replicas_are_found_sorted_and_read_in_parts",
        "items[].parked": TROUBLES,
        "items[].conflicts": "test_an_open_conflict_shows_what_met",
        "items[].": OF_ONE,
    },
    "replicas/{id}": {"replica.": OF_ONE},
    "tables": {"": TABLES},
    "tables/{name:path}": {"": TABLES},
    "performance": {
        "totals.": LATELY,
        "totals.errors": "test_refusals_and_errors_are_told_apart",
        "totals.push.": ADDED_UP,
        "series{}[]": SERIES,
        "lag[].": LAG,
    },
    "jobs": {"items[].seconds": "test_jobs_are_those_of_the_process"},
}


def test_every_number_of_these_pages_has_a_test_that_moves_it() -> None:
    known = {
        name
        for path in project_files("tests/console/*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for page, by_place in TESTS.items():
        places = set(numbers_of(msgspec.inspect.type_info(OPERATIONS["GET", page].answer)))
        assert places
        for place in places:
            if not NO_COUNT.search(place):
                assert any(place.startswith(known_place) for known_place in by_place), (page, place)
        for known_place, test in by_place.items():
            assert test in known, test
            assert any(place.startswith(known_place) for place in places), (page, known_place)


def numbers_of(kind: Any, place: str = "") -> Iterator[str]:
    """The places of an answer that hold a number."""
    inspect = msgspec.inspect
    match kind:
        case inspect.IntType() | inspect.FloatType():
            yield place
        case inspect.UnionType(types=types):
            for one in types:
                yield from numbers_of(one, place)
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from numbers_of(field.type, f"{place}.{field.name}".lstrip("."))
        case inspect.ListType(item_type=of):
            yield from numbers_of(of, f"{place}[]")
        case inspect.DictType(value_type=of):
            yield from numbers_of(of, f"{place}{{}}")


def test_the_last_minutes_follow_what_is_pushed_and_pulled(world: World) -> None:
    owner = world.owner()
    till, depot = world.replica("till"), world.replica("depot")
    before, former = owner.get("overview"), owner.get("performance")["totals"]
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p1', 1), ('s2', 'p1', 1)")
    till.sync()
    depot.sync()
    after, totals = owner.get("overview"), owner.get("performance")["totals"]
    moved = {
        name: after["rates"][name] - before["rates"][name]
        for name in ("pushes", "pulls", "changes", "rows")
    }
    # Rows come back to who pushed them, as all rows do.
    assert moved == {"pushes": 1, "pulls": 2, "changes": 2, "rows": 4}
    assert {name: totals[name] - former[name] for name in moved} == moved
    assert before["rates"]["p95_ms"]["push"] is None
    assert after["rates"]["p95_ms"]["push"] == totals["push"]["p95_ms"] > 0
    assert totals["pull"]["p50_ms"] <= totals["pull"]["p95_ms"] <= totals["pull"]["p99_ms"]

    with till.transaction() as db:
        db.execute("insert into sale values ('s3', 'p2', 1)")
    world.write("delete from product where id = 'p2'")
    till.sync()
    assert owner.get("performance")["totals"]["refused"] == totals["refused"] + 1
    world.clock.advance(600_000)
    quiet = world.owner().get("overview")["rates"]
    assert (quiet["pushes"], quiet["rows"], quiet["p95_ms"]["push"]) == (0, 0, None)

    directory = world.hub.directory
    directory.add_tenant("acme")
    directory.add_role("Managers")
    found = world.owner().get("overview")
    assert found["directory"]["tenants"] == after["directory"]["tenants"] + 1
    assert found["directory"]["roles"] == after["directory"]["roles"] + 1
    assert found["tables"]["closed"] == 0
    world.hub.track("product", rules=Rules(read=True))
    found = world.owner().get("overview")
    assert found["tables"]["closed"] == 1, "the other one has no rules"
    size = found["hub"]["database_bytes"]
    world.write("create table ballast as select zeroblob(1000000) as it")
    assert world.owner().get("overview")["hub"]["database_bytes"] >= size + 1_000_000


def test_a_replicas_numbers_follow_what_it_does(world: World) -> None:
    owner = world.owner()
    till, depot = world.replica("till"), world.replica("depot")

    def of_till() -> dict[str, Any]:
        items = owner.get("replicas")["items"]
        (one,) = [item for item in items if item["name"] == "till.db"]
        detail: dict[str, Any] = owner.get(f"replicas/{one['id']}")["replica"]
        assert {name: detail[name] for name in one} == one
        return one

    before = of_till()
    assert (before["last_n"], before["unconfirmed"], before["behind"]) == (0, 0, 0)
    assert owner.get("replicas")["counts"]["current"] == 2
    world.clock.advance(601_000)
    with till.transaction() as db:
        db.execute("update product set name = 'Green tea' where id = 'p1'")
    with depot.transaction() as db:
        db.execute("update product set name = 'Black tea' where id = 'p1'")
    depot.sync()
    assert of_till()["behind"] == 1
    assert owner.get("replicas")["counts"]["behind"] >= 1
    till.sync()
    after = of_till()
    assert after["last_n"] == 1
    assert after["unconfirmed"] == after["last_n"] - after["known_n"]
    assert after["conflicts"] == before["conflicts"], "its policy has decided it: none is open"
    assert after["seen_ms"] == world.clock.now_ms() > before["seen_ms"]
    world.clock.advance(601_000)
    till.sync()
    confirmed = of_till()
    assert (confirmed["unconfirmed"], confirmed["known_n"]) == (0, 1)
    assert confirmed["seen_seq"] > before["seen_seq"]


def test_a_tables_numbers_follow_its_rows_and_columns(world: World) -> None:
    owner = world.owner()
    before = owner.get("tables/product")
    assert owner.get("tables")["total"] == 2
    assert (before["rows"]["count"], before["table"]["columns"]) == (2, 3)
    world.write("insert into product values ('p3', 'Rice', 1)")
    assert owner.get("tables/product")["rows"]["count"] == 3
    world.write("alter table product add column colour text")
    world.hub.track("product")
    after = owner.get("tables/product")["table"]
    assert after["columns"] == 4
    assert after["version"] == before["table"]["version"] + 1
    world.hub.untrack("sale")
    assert owner.get("tables")["total"] == 1
