"""Rows that claim to be of another owner or tenant, and hands stretched out for rows of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hostile.conftest import (
    ANN,
    BEA,
    SECRET,
    Somebody,
    Town,
    delete,
    insert,
    rows_of,
    update,
)

ANNS = {"title": "Paint", "owner": "ann"}
BEAS = {"title": f"{SECRET} title", "owner": "bea"}


@pytest.mark.parametrize(
    "forged",
    [
        {"organization": "umbrella"},
        {"owner": "ann"},
        {"owner": "bea", "organization": "umbrella"},
        {"owner": None},
        {"organization": ""},
        {"organization": "ACME"},
        {"organization": "acme "},
        {"organization": "acme\x00"},
        {"owner": "Mallory"},
    ],
    ids=str,
)
def test_a_row_of_somebody_else_is_not_made(
    database: Path, mallory: Somebody, forged: dict[str, Any]
) -> None:
    before = rows_of(database)
    assert mallory.codes(insert("k-new", **forged)) == ["not-allowed"]
    assert rows_of(database) == before


def test_a_row_without_a_tenant_gets_that_of_its_maker(database: Path, mallory: Somebody) -> None:
    assert mallory.push(insert("k-new", organization=None)) == []
    assert ("k-new", "acme", "mallory") in [found[:3] for found in rows_of(database)]


@pytest.mark.parametrize("column", ["organization", "owner"])
def test_an_own_row_is_not_given_away(database: Path, mallory: Somebody, column: str) -> None:
    assert mallory.push(insert("k-mine", organization="acme")) == []
    before = rows_of(database)
    was = {"organization": "acme", "owner": "mallory"}
    now = {column: {"organization": "umbrella", "owner": "ann"}[column]}
    assert mallory.codes(update("k-mine", was, now)) == ["not-allowed"]
    assert rows_of(database) == before


def test_a_row_that_may_be_seen_may_not_be_taken(database: Path, mallory: Somebody) -> None:
    before = rows_of(database)
    taken = update("k-ann", ANNS, {"owner": "mallory"})
    moved = update("k-mine", {"id": "k-ann"}, {"id": "k-mine"}, old_keys=[["k-ann"]])
    lied = update("k-ann", {"owner": "mallory"}, {"owner": "mallory"})
    assert mallory.codes(taken) == ["not-allowed"]
    assert mallory.codes(moved) == ["not-allowed"]
    assert mallory.codes(lied) == ["not-allowed"]
    assert mallory.codes(delete("k-ann", ANNS)) == ["not-allowed"]
    assert rows_of(database) == before


def without_ids(outcomes: list[dict[str, Any]], key: str) -> str:
    """What was answered, but for what the sender chose."""
    kept = [
        {name: value for name, value in outcome.items() if name not in ("id", "n")}
        for outcome in outcomes
    ]
    return str(kept).replace(key, "KEY")


@pytest.mark.parametrize("guess", [{"title": f"{SECRET} title"}, {"title": "wrong"}], ids=str)
def test_hidden_rows_answer_like_rows_that_are_not_there(
    database: Path, mallory: Somebody, guess: dict[str, Any]
) -> None:
    """Even when what they hold was guessed right."""
    before = rows_of(database)
    secretive = Somebody(mallory.client, secrets=False)  # a guess may come back to who made it
    secretive.register()
    told = []
    for key in ("k-bea", "k-nobodys"):
        moved = update("k-mine", {"id": key}, {"id": "k-mine"}, old_keys=[[key]])
        runs = (update(key, guess, {"title": "mine"}), delete(key, guess), moved)
        told.append([without_ids(secretive.push(run), key) for run in runs])
    assert told[0] == told[1]
    assert rows_of(database) == before


def test_parents_of_others_are_parents_that_are_not_there(
    database: Path, mallory: Somebody
) -> None:
    told = [
        without_ids(mallory.push(insert(f"k-{parent}", team_id=parent)), parent)
        for parent in ("t-umbrella", "t-nothing")
    ]
    assert told[0] == told[1]
    assert "foreign-key" in told[0]


def test_the_key_of_a_hidden_row_is_taken_and_tells_nothing_else(
    database: Path, mallory: Somebody
) -> None:
    before = rows_of(database)
    (outcome,) = mallory.push(insert("k-bea", title="mine"))
    assert (outcome["kind"], outcome["code"]) == ("rejected", "key-taken")
    assert rows_of(database) == before


def test_a_table_that_may_only_be_read_is_not_written(database: Path, mallory: Somebody) -> None:
    before = rows_of(database, "team")
    run = insert("t-mine") | {
        "table": "team",
        "columns": ["id", "organization", "name"],
        "set": [["t-mine", "acme", "Mine"]],
    }
    assert mallory.codes(run) == ["not-allowed"]
    assert rows_of(database, "team") == before


def test_nobody_sees_what_another_tenant_has(town: Town, mallory: Somebody) -> None:
    """`watch` looks for the canary in every answer."""
    pages = mallory.pull_all()
    assert {put[0] for page in pages for part in page.tables for put in part.puts} == {
        "k-ann",
        "t-acme",
    }
    for path in ("v1/schema", "v1/query/task", "v1/query/team"):
        assert mallory.get(path).status_code == 200
    for where in ({"id": "k-bea"}, {"organization": "umbrella"}, {"title": f"{SECRET} title"}):
        found = mallory.get("v1/query/task", params={"where": str(where).replace("'", '"')})
        assert found.json()["rows"] == []
    bea = town.somebody(BEA, secrets=False)
    assert SECRET in bea.get("v1/query/task").text
    assert SECRET not in town.somebody(ANN).get("v1/query/task").text
