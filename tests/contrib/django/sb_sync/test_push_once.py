"""`push/`: what is sent again takes effect once, and for how long that is known."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from reunite.contrib.django.database import statements_of
from reunite.testing.clock import FakeClock
from tests.contrib.django.myapp.models import Customer
from tests.contrib.django.sb_sync.conftest import READ_WRITE, World, codes, customer


def test_the_same_request_again_has_the_same_answer_and_one_row(world: World) -> None:
    api = world.api("john_manager")
    body = {"data": [customer(f"c{n}") for n in range(50)]}
    first = api.post("push/", body, **{"Idempotency-Key": "k1"}).json()
    for _ in range(2):
        again = api.post("push/", body, **{"Idempotency-Key": "k1"}).json()
        assert again["results"] == first["results"]
        assert again["processed_models"] == first["processed_models"]
    assert Customer.objects.count() == 50
    api.post("push/", body, **{"Idempotency-Key": "k2"})
    assert Customer.objects.count() == 100


def test_an_item_with_a_uid_takes_effect_once(readme: World) -> None:
    api = readme.api("john_manager")
    for _ in range(3):
        found = api.push(customer("a", _uid="x1"), customer("b", _uid="x2"))
        assert found["processed_models"]["myapp.Customer"]["created"] == 2
    assert Customer.objects.count() == 2


def test_a_uid_that_stands_twice_in_one_push_takes_effect_once(world: World) -> None:
    """And the rest of the push is done: a client that sends it again and again gets on."""
    api = world.api("john_manager")
    found = api.push(
        customer("a", _uid="x1"), customer("b", _uid="x2"), customer("a", _uid="x1"),
        customer("x" * 500, _uid="x2"), customer("", _uid="x3"), customer("c", _uid="x3"),
    )  # fmt: skip
    assert [one["status"] for one in found["results"]] == ["ok", "ok", "ok", "error", "error", "ok"]
    assert found["results"][2] == {**found["results"][0], "index": 2}
    assert list(Customer.objects.order_by("pk").values_list("name", flat=True)) == ["a", "b", "c"]
    world.grant(world.acme, "Managers", "myapp.Customer", "pull", "read")
    found = api.push(customer("d", _uid="x4"), customer("d", _uid="x4"))
    assert codes(found) == ["permission", "permission"]
    world.grant(world.acme, "Managers", "myapp.Customer", *READ_WRITE)
    found = api.push(customer("d", _uid="x5"), customer("d", _uid="x5"), atomic=True)
    assert (found["status"], Customer.objects.count()) == ("success", 4)


def test_an_item_that_failed_names_no_key_that_was_drawn_for_it(world: World) -> None:
    api = world.api("john_manager")
    api.push({"_model": "myapp.Task", "code": "one"})
    found = api.push({"_model": "myapp.Task", "code": "one"}, customer("a"))["results"]
    assert [one["status"] for one in found] == ["error", "ok"]
    assert "id" not in found[0]
    chosen = str(uuid.uuid4())
    found = api.push({"_model": "myapp.Task", "code": "one", "id": chosen})["results"]
    assert found[0]["id"] == chosen


def test_an_update_that_comes_again_does_not_undo_a_later_one(readme: World) -> None:
    api = readme.api("john_manager")
    key = api.push(customer("a"))["results"][0]["id"]
    update = {"data": [customer("b", id=key)]}
    api.post("push/", update, **{"Idempotency-Key": "u"})
    api.push(customer("c", id=key))
    api.post("push/", update, **{"Idempotency-Key": "u"})
    assert Customer.objects.get().name == "c"


def test_a_retry_is_known_for_thirty_days_and_what_is_kept_of_it_goes_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as one pushes on; nothing of it is left in the hub's tables."""
    clock = FakeClock(world.project.hub.now_ms())
    monkeypatch.setattr(world.project.hub, "_clock", clock)
    api = world.api("john_manager")
    day = 24 * 3_600_000

    def push(*items: dict[str, Any], key: str = "") -> None:
        headers = {"Idempotency-Key": key} if key else {}
        answer = api.post("push/", {"data": list(items)}, **headers)
        assert answer.json()["status"] == "success", answer.json()

    def kept() -> tuple[int, int, int]:
        with world.project.hub.database.read() as session:
            return tuple(
                session.execute(f"SELECT count(*) FROM {table}")[0][0]
                for table in ("reunite_outcome", "reunite_outcome_slot", "reunite_answered")
            )  # type: ignore[return-value]

    first = [customer(f"c{n}", _uid=f"u{n}") for n in range(300)]
    push(*first)
    push(customer("by key"), key="k")
    for _ in range(30):
        clock.advance(day)
        push(customer("daily"))
    push(*first)
    push(customer("by key"), key="k")
    assert Customer.objects.count() == 331
    most = kept()
    assert most[1] > 300
    for _ in range(2):
        clock.advance(day)
        push(customer("daily"))
    assert kept() < most
    assert kept()[1] < 40, "the first day is gone"
    push(*first[:2])
    push(customer("by key"), key="k")
    assert Customer.objects.count() == 336, "and is new"
    for _ in range(40):
        clock.advance(day)
        push(customer("daily"))
    assert max(kept()) < 40


def test_what_others_left_behind_does_not_make_a_push_dear(
    readme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(readme.project.hub.now_ms())
    monkeypatch.setattr(readme.project.hub, "_clock", clock)
    api = readme.api("john_manager")

    def statements() -> int:
        before = statements_of("default")
        api.push(customer("x"))
        return statements_of("default") - before

    statements()
    usual = statements()
    clock.advance(40 * 24 * 3_600_000)
    assert statements() <= usual + 10
    assert statements() == usual
