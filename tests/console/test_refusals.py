"""What the API refuses says so before it begins to answer, and names the parameter; and what lists
are asked for, each list takes."""

from __future__ import annotations

import json

import msgspec
import pytest

from reunite.console.csv import csv_lines
from reunite.console.operations import OPERATIONS
from tests.console.conftest import World

LARGE = 2**63


@pytest.mark.parametrize(
    ("path", "asked", "named"),
    [
        ("sync.csv", {"after": "../.."}, "after"),
        ("sync", {"after": "../.."}, "after"),
        ("sync.csv", {"since_ms": LARGE}, "since_ms"),
        ("export", {"since_ms": LARGE}, "since_ms"),
        ("export", {"format": "ndjson", "until_ms": 10**30}, "until_ms"),
        ("commits", {"since_ms": LARGE}, "since_ms"),
        ("changes", {"until_ms": -LARGE - 1}, "until_ms"),
        ("commits/9223372036854775808", {}, "seq"),
        ("row", {"table": "product", "key": "[]"}, "key"),
        ("row", {"table": "product", "key": '["p1", "p2"]'}, "key"),
        ("row", {"table": "product", "key": "[[1]]"}, "key"),
        ("history", {"table": "product", "key": "[]"}, "key"),
        ("history", {"table": "product", "key": '["p1"]', "after": "x"}, "after"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(
    world: World, path: str, asked: dict[str, object], named: str
) -> None:
    world.write("update product set price = 1")
    answer = world.owner().client.get(path, params=asked)
    assert (answer.status_code, answer.json()["path"]) == (400, named)


def test_what_a_body_has_is_refused_by_name(world: World) -> None:
    answer = world.owner().ask("POST", "verify", {"after_seq": LARGE})
    assert (answer.status_code, answer.json()["path"]) == (400, "after_seq")


def test_a_file_that_fails_at_its_beginning_is_a_problem(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr("reunite.console.synclog.newest_of", fail)
    assert world.owner().ask("GET", "sync.csv").status_code == 500


def test_each_list_takes_what_lists_are_asked_for() -> None:
    lists = [
        one
        for one in OPERATIONS.values()
        if one.in_query and {"items", "next"} <= set(fields_of(one.answer))
    ]
    assert len(lists) > 10
    assert [one.path for one in lists if not {"after", "limit"} <= set(fields_of(one.given))] == []


def fields_of(kind: object) -> list[str]:
    found = msgspec.inspect.type_info(kind)
    return [one.name for one in found.fields] if hasattr(found, "fields") else []


def test_a_history_is_read_in_parts(world: World) -> None:
    owner = world.owner()
    for price in range(5):
        world.write(f"update product set price = {price + 10} where id = 'p1'")
        world.hub.number()
    asked = {"table": "product", "key": json.dumps(["p1"])}
    whole = [one["id"] for one in owner.get("history", **asked, limit=50)["items"]]
    assert len(whole) == 5
    found, after = [], {}
    while after is not None:
        part = owner.get("history", **asked, limit=2, **after)
        found += [one["id"] for one in part["items"]]
        after = None if part["next"] is None else {"after": part["next"]}
    assert found == whole == sorted(whole, reverse=True)


def test_undoing_what_is_undone_is_noted_once(world: World) -> None:
    owner = world.owner()
    world.write("update product set price = 99")
    seq = owner.get("commits")["items"][0]["seq"]
    first, again = (owner.do("POST", f"commits/{seq}/undo", {"dry_run": False}) for _ in range(2))
    assert (first["commit"] is None, again["commit"]) == (False, None)
    acts = owner.get("acts", what="commit.undone")["items"]
    assert [one["after"] for one in acts] == [{"commit": first["commit"]}]


def test_no_cell_of_a_file_begins_as_a_formula() -> None:
    for sign in "=+-@\t\r\n":
        _, line = csv_lines(("name",), [(f"{sign}1",)])
        assert line.startswith(("'", "\"'")), repr(sign)
