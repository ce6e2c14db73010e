"""Identities, pushes and cursors of others, sent again by somebody else or changed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from reunite import Principal, Rules
from tests.hostile.conftest import (
    ANN,
    BEA,
    MALLORY,
    SECRET,
    Somebody,
    Town,
    change_id,
    delete,
    insert,
    rows_of,
    update,
    watch,
)


def messages_as(one: Somebody, replica: str, cursor: str) -> dict[str, dict[str, Any]]:
    """One of each operation, in the name of this replica."""
    repair = {"protocol": 1, "replica": replica, "cursor": cursor, "table": "task"}
    return {
        "push": one.push_message(insert("k-x"), replica=replica),
        "pull": one.pull_message(replica=replica),
        "pull on": one.pull_message(replica=replica, cursor=cursor),
        "repair sums": {**repair, "ask": "sums"},
        "repair list": {**repair, "ask": "list", "prefixes": [""]},
        "repair rows": {**repair, "ask": "rows", "keys": [["k-bea"], ["k-ann"]]},
        "repair all": {**repair, "ask": "all"},
    }


@pytest.mark.parametrize("victim", [ANN, BEA], ids=lambda principal: principal.user)
def test_the_replica_of_another_is_answered_like_one_that_never_was(
    database: Path, town: Town, mallory: Somebody, victim: Principal
) -> None:
    owner = town.somebody(victim, secrets=False)
    cursor = owner.pull_all()[-1].cursor
    before = rows_of(database)
    theirs = messages_as(mallory, owner.replica, cursor)
    nobodys = messages_as(mallory, "0123456789abcdef", cursor)
    for name, message in theirs.items():
        operation = name.partition(" ")[0]
        told = mallory.send(operation, message)
        assert (told.status_code, told.json()["code"]) == (409, "replica-unknown"), name
        assert told.content == mallory.send(operation, nobodys[name]).content
    stream = {"protocol": "1", "replica": owner.replica}
    told = mallory.get("v1/live", params=stream, headers={"Last-Event-ID": cursor})
    assert (told.status_code, told.json()["code"]) == (409, "replica-unknown")
    assert rows_of(database) == before


def test_a_push_that_was_overheard_does_nothing_for_another(
    database: Path, town: Town, mallory: Somebody
) -> None:
    bea = town.somebody(BEA, secrets=False)
    message = bea.push_message(
        insert("k-bea-2", owner="bea", title=SECRET), insert("k-bea-3", owner="ann")
    )
    assert bea.send("push", message).status_code == 200
    before = rows_of(database)
    assert mallory.send("push", message).json()["code"] == "replica-unknown"
    own = {**message, "replica": mallory.replica, "epoch": mallory.epoch}
    told = mallory.send("push", own)
    assert rows_of(database) == before
    # Neither what came of the changes of others nor that there were such changes is told.
    fresh = json.loads(json.dumps(own))
    for group in fresh["groups"]:
        group["runs"][0]["ids"] = [change_id()]
    other = town.somebody(MALLORY)
    fresh |= {"replica": other.replica}
    assert codes_of(told.json()) == codes_of(other.send("push", fresh).json())


def codes_of(answer: dict[str, Any]) -> list[Any]:
    return [outcome.get("code") for outcome in answer.get("outcomes", [])]


def test_a_push_that_comes_again_takes_effect_once(database: Path, mallory: Somebody) -> None:
    message = mallory.push_message(insert("k-1", size=1))
    answers = [mallory.send("push", message).json() for _ in range(3)]
    assert answers[0]["last_n"] == answers[1]["last_n"] == answers[2]["last_n"] == 1
    assert [found[0] for found in rows_of(database)] == ["k-1", "k-ann", "k-bea"]


def test_an_answered_change_that_comes_again_with_other_words_changes_nothing(
    database: Path, mallory: Somebody
) -> None:
    run = insert("k-1", title="first")
    assert mallory.push(run) == []
    before = rows_of(database)
    values = [list(run["set"][0])]
    values[0][4] = "second"
    for other in (
        {**run, "set": values},
        {**run, "set": [["k-2", *values[0][1:]]]},
        update("k-1", {"title": "first"}, {"title": "second"}) | {"ids": run["ids"]},
    ):
        mallory.send("push", mallory.push_message(other, first_n=1))
        assert rows_of(database) == before


@pytest.mark.parametrize("order", [(2, 1, 3), (3, 2, 1), (2, 3, 1)], ids=str)
def test_pushes_out_of_order_are_refused_and_come_in_order(
    database: Path, mallory: Somebody, order: tuple[int, ...]
) -> None:
    messages = {n: mallory.push_message(insert(f"k-{n}", size=n), first_n=n) for n in sorted(order)}
    seen = 0
    for n in order:
        response = mallory.send("push", messages[n])
        if n == seen + 1:
            seen = n
            assert response.status_code == 200
        else:
            assert response.json()["code"] == "number-gap"
    for n in sorted(order):
        assert mallory.send("push", messages[n]).status_code == 200
    assert [found[0] for found in rows_of(database)] == ["k-1", "k-2", "k-3", "k-ann", "k-bea"]


def test_a_known_change_of_a_colleague_is_recognised_without_what_it_was_about(
    database: Path, town: Town, mallory: Somebody
) -> None:
    """A file may change hands; what its former owner's values met is not for the new one."""
    ann = town.somebody(ANN)
    run = update("k-ann", {"title": "what ann saw"}, {"title": "what ann wrote"})
    (outcome,) = ann.push(run)
    assert outcome["conflicts"]
    before = rows_of(database)
    (told,) = mallory.push(run)
    assert (told["kind"], told.get("conflicts")) == ("duplicate", None)
    assert rows_of(database) == before


def test_what_a_change_met_is_not_told_to_who_may_read_everything_by_now(
    town: Town, mallory: Somebody
) -> None:
    """What the row held then may be from before that was so."""
    ann = town.somebody(ANN)
    run = update("k-ann", {"title": "what ann saw"}, {"title": "what ann wrote"})
    (outcome,) = ann.push(run)
    assert outcome["conflicts"]
    town.hub.drop_rules("task")
    town.hub.track("task", rules=Rules.none())
    (told,) = mallory.push(run)
    assert (told["kind"], told.get("conflicts")) == ("duplicate", None)


def test_an_earlier_identity_of_another_is_worth_nothing(
    database: Path, town: Town, mallory: Somebody
) -> None:
    bea = town.somebody(BEA, secrets=False)
    run = insert("k-bea-2", owner="bea", title=SECRET)
    assert bea.push(run) == []
    before = rows_of(database)
    formers = [{"replica": bea.replica, "n": 2**40}, {"replica": "0123456789abcdef", "n": 1}]
    taken = [
        update("k-bea-2", {"title": "guess"}, {"title": "mine"}),
        delete("k-bea-2", {"title": "guess"}),
    ]
    told = [kinds_of(mallory.push(each, formers=formers)) for each in taken]
    again = [each | {"ids": [change_id()]} for each in taken]
    assert told == [kinds_of(mallory.push(each)) for each in again]
    assert rows_of(database) == before


def kinds_of(outcomes: list[dict[str, Any]]) -> list[str]:
    return [outcome["kind"] for outcome in outcomes]


# --- Cursors --------------------------------------------------------------------------------------


def parts_of(cursor: str) -> list[Any]:
    padded = cursor + "=" * (-len(cursor) % 4)
    parts: list[Any] = json.loads(base64.urlsafe_b64decode(padded))
    return parts


def cursor_of(parts: Any) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


STRANGE: list[Any] = [
    None, -1, 0, 1, 2**31, 2**53, 2**63, 2**64, 2**200, 1.5, "", "x", "' or 1=1 --", "\x00", [], {},
    ["task", None, 0], ["task", ["k-a"], 1], ["team", None, 2**60], ["reunite_token", None, 0],
    ["task", [{}], 0], ["task", ["a", "b"], 0], ["task", [1], 0], ["nothing", ["' --"], 0],
]  # fmt: skip


def test_a_cursor_that_was_tampered_with_opens_nothing(
    database: Path, town: Town, mallory: Somebody
) -> None:
    """Every part of a cursor is replaced by every strange value: refused, or answered with rows of
    mallory's own view, and keys of no other."""
    bea = town.somebody(BEA, secrets=False)
    theirs = parts_of(bea.pull_all()[-1].cursor)
    first = mallory.pull().json()["cursor"]
    last = mallory.pull_all()[-1].cursor
    bea.push(insert("k-bea-4", owner="bea", title=SECRET))
    for start in (first, last):
        parts = parts_of(start)
        for place in range(len(parts)):
            for strange in [*STRANGE, theirs[place] if place < len(theirs) else None]:
                forged = cursor_of([*parts[:place], strange, *parts[place + 1 :]])
                told = mallory.pull(cursor=forged)
                assert told.status_code in (200, 400, 409), told.text
                assert "k-bea" not in told.text
                assert "t-umbrella" not in told.text
                asked = {"ask": "list", "prefixes": [""], "table": "task", "cursor": forged}
                told = mallory.send("repair", {"protocol": 1, "replica": mallory.replica, **asked})
                assert told.status_code in (200, 400, 409), told.text
                assert "k-bea" not in told.text


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "=", "null", "W10", "e30", "A" * 100_000, "../../etc/passwd", "é", "\u0000"]
    + [cursor_of(value) for value in ([], {}, [[[]]], "x", [1], [99] * 10, [None] * 10)],
    ids=lambda cursor: cursor[:20] or "empty",
)
def test_what_is_no_cursor_is_refused(mallory: Somebody, cursor: str) -> None:
    told = mallory.pull(cursor=cursor)
    assert (told.status_code, told.json()["code"]) == (400, "bad-request")
    header = cursor.encode()[:8_000].replace(b"\x00", b"")
    told = mallory.client.get(
        "v1/live",
        params={"protocol": "1", "replica": mallory.replica},
        headers=[(b"Last-Event-ID", header)],
    )
    assert watch(told).json()["code"] == "bad-request"


def test_a_strange_cursor_leaves_the_replica_as_it_was(mallory: Somebody) -> None:
    last = mallory.pull_all()[-1].cursor
    mallory.pull(cursor=cursor_of([*parts_of(last)[:2], 2**40, *parts_of(last)[3:]]))
    assert mallory.pull(cursor=last).json()["checkpoint"]


def test_answers_that_somebody_else_needs_are_not_taken_by_confirming_them(
    town: Town, mallory: Somebody
) -> None:
    """A replica confirms its own outcomes only, and those it has not got are sent again."""
    ann = town.somebody(ANN)
    ann.send("push", ann.push_message(insert("k-1", owner="bea")))
    mallory.pull_all(known=0)
    told = mallory.send("pull", mallory.pull_message(known=2**40))
    assert told.status_code in (200, 409)
    outcomes = [outcome for page in ann.pull_all(known=0) for outcome in page.outcomes]
    assert [outcome.code for outcome in outcomes] == ["not-allowed"]


def test_a_cursor_that_is_none_is_named_by_its_field(mallory: Somebody) -> None:
    push = mallory.push_message(checkpoint="x")
    for operation, message, path in (
        ("push", push, "checkpoint"),
        ("pull", mallory.pull_message(cursor="x"), "cursor"),
    ):
        told = mallory.send(operation, message)
        assert (told.status_code, told.json()["path"]) == (400, path)
