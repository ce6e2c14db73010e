"""Who sees what, and why; and what other rules would change."""

from __future__ import annotations

from typing import Any

import pytest

from reunite import Column, Principal, Replica, Rules, row, user
from reunite.errors import BadRequestError, UnknownTableError
from tests.pair.conftest import Pair

ANN = Principal(user="ann", roles=("boss",), claims={"codes": ["A", "X"]})
BOB = Principal(user="bob")


def of(pair: Pair, principal: Principal, key: int = 1) -> dict[str, tuple[bool, str]]:
    found = pair.hub.explain(principal, "product", (key,))
    return {
        each.operation: (each.is_allowed, each.because)
        for each in (found.read, found.insert, found.update, found.delete)
    }


def test_without_rules_everybody_may_and_with_others_nobody(pair: Pair) -> None:
    assert set(of(pair, BOB).values()) == {(True, "no-rules")}
    pair.hub.track("note", rules=Rules(read=True))
    assert set(of(pair, BOB).values()) == {(False, "closed")}
    assert set(of(pair, BOB, key=99).values()) == {(False, "no-row")}
    found = pair.hub.explain("bob", "product", (99,))
    assert (found.is_there, found.is_visible) == (False, False)


def test_the_parts_of_a_rule_say_what_decides(pair: Pair) -> None:
    pair.hub.track(
        "product",
        rules=Rules(
            read=row.code.is_in(user.codes) | (row.stock > 100),
            update=user.roles.contains("boss"),
            delete=True,
        ),
    )
    assert of(pair, ANN) == {
        "read": (True, "rule"),
        "insert": (False, "nobody"),
        "update": (True, "rule"),
        "delete": (True, "everybody"),
    }
    first, second = pair.hub.explain(ANN, "product", (1,)).read.reasons
    assert (first.text, first.holds) == ("row.code.is_in(user.codes)", True)
    assert (first.row, first.user) == ("A", ["A", "X"])
    assert (second.text, second.holds, second.row) == ("row.stock > 100", False, 10)
    assert not pair.hub.explain(ANN, "product", (2,)).is_visible
    assert of(pair, ANN, key=2)["delete"] == (False, "hidden")
    codes, _ = pair.hub.explain(BOB, "product", (1,)).read.reasons
    assert (codes.holds, codes.user) == (False, None), "bob has no codes"


def test_the_row_of_another_tenant_is_told_as_such(pair: Pair) -> None:
    pair.hub.track("product", tenant="name", rules=Rules(read=row.stock > 100, update=True))
    own = Principal(user="ann", tenant="Apple")
    assert of(pair, Principal(user="ann", tenant="Pear"))["read"] == (False, "tenant")
    assert of(pair, own)["read"] == (False, "rule")
    pair.at_hub("update product set stock = 101 where id = 1")
    assert of(pair, own)["read"] == (True, "rule")
    assert of(pair, own)["update"] == (True, "everybody")
    (reason,) = pair.hub.explain(BOB, "product", (1,)).read.reasons
    assert (reason.text, reason.row, reason.user) == ("row.name == user.tenant", "Apple", None)


def test_explained_is_what_a_replica_gets(pair: Pair) -> None:
    rules = [
        Rules(read=~(row.name == "Apple")),
        Rules(read=(row.code == "A") & user.roles.contains("boss")),
        Rules(read=(row.code == user.nothing) | row.name.startswith("P")),
        Rules(read=~row.code.is_null() & row.stock.between(10, 20)),
    ]
    for n, each in enumerate(rules):
        pair.hub.track("product", rules=each)
        for principal in (ANN, BOB):
            token = pair.hub.create_token(principal)
            label = f"{principal.user}{n}"
            transport = pair.wire.transport(token, label=label)
            path = pair.folder / f"{label}.db"
            with Replica.clone(path, transport=transport, clock=pair.clock) as replica:
                seen = {id_ for id_, *_ in pair.rows(replica, "product")}
            for key in (1, 2):
                explained = pair.hub.explain(principal, "product", (key,))
                assert explained.is_visible == (key in seen), (each, principal, key)


def previewed(pair: Pair, principal: Principal, rules: Any) -> dict[str, tuple[int, ...]]:
    return {
        each.table: (each.now, each.then, each.appear, each.vanish)
        for each in pair.hub.preview(principal, rules)
    }


def test_other_rules_are_counted_before_they_are_made(pair: Pair) -> None:
    pair.at_hub("insert into note values ('a', 'red'), ('b', 'blue'), ('c', null), ('d', 'green')")
    counted = previewed(pair, BOB, {"note": Rules(read=row.title == "red")})
    assert counted == {"note": (4, 1, 0, 3), "product": (2, 0, 0, 2), "sale": (2, 0, 0, 2)}
    assert pair.hub.rules() == {}, "nothing was changed"

    pair.hub.track("note", rules=Rules(read=row.title.is_in(["red", "blue"])))
    wanted = {"note": Rules(read=row.title != "red"), "sale": Rules.none()}
    counted = previewed(pair, BOB, wanted)
    assert counted == {"note": (2, 2, 1, 1), "product": (0, 0, 0, 0), "sale": (0, 2, 2, 0)}
    assert previewed(pair, BOB, {"note": None})["note"] == (2, 4, 2, 0), "no rules at all"
    same = previewed(pair, BOB, {})
    assert same["note"] == (2, 2, 0, 0)


def test_a_preview_keeps_the_tenant_as_track_does(pair: Pair) -> None:
    pair.at_hub("insert into note values ('a', 'north'), ('b', 'south')")
    pair.hub.track("note", tenant="title")
    north = Principal(user="ann", tenant="north")
    assert previewed(pair, north, {"note": Rules(read=True)})["note"] == (1, 1, 0, 0)
    assert previewed(pair, BOB, {"note": Rules(read=True)})["note"] == (0, 0, 0, 0)
    assert previewed(pair, north, {"note": None})["note"] == (1, 2, 1, 0)


def test_columns_that_appear_and_vanish_are_named(pair: Pair) -> None:
    """Of a table of which no row is read, no column is."""

    def columns(rules: Rules | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        (found,) = (
            each for each in pair.hub.preview(BOB, {"product": rules}) if each.table == "product"
        )
        return found.columns_appear, found.columns_vanish

    def hiding(*names: str) -> Rules:
        mine = {name: Column(read=user.id == "ann") for name in names}
        return Rules(read=True, columns=mine)

    assert columns(hiding("code", "stock")) == ((), ("code", "stock"))
    pair.hub.track("product", rules=hiding("code"))
    assert columns(hiding("stock")) == (("code",), ("stock",))
    assert columns(Rules(read=True)) == (("code",), ())
    assert columns(Rules(read=False)) == ((), ())
    assert columns(hiding("code")) == ((), ())
    pair.hub.track("product", rules=Rules(read=False))
    assert columns(hiding("code")) == ((), ())


def test_what_cannot_be_explained_or_previewed_is_refused(pair: Pair) -> None:
    with pytest.raises(UnknownTableError):
        pair.hub.explain("ann", "nothing", (1,))
    with pytest.raises(BadRequestError):
        pair.hub.explain("ann", "product", "1")
    with pytest.raises(BadRequestError):
        pair.hub.explain("", "product", (1,))
    with pytest.raises(UnknownTableError):
        pair.hub.preview("ann", {"nothing": Rules.none()})
    with pytest.raises(BadRequestError):
        pair.hub.preview("ann", {"note": Rules(read=row.color == "red")})
    for no_rules in (Rules.none(), {"note": "all"}):
        with pytest.raises(BadRequestError, match="rules by table"):
            pair.hub.preview("ann", no_rules)  # type: ignore[arg-type]
