"""Filters over relations to many rows: each row once, in pull and push, closed on doubt (SB-24)."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from reunite.contrib.django.models import DataFilter, ModelPermission
from reunite.stores.sql.database import SqliteSession
from tests.contrib.django.myapp.models import Customer, Line, Order
from tests.contrib.django.sb_sync.conftest import Api, World
from tests.contrib.django.sb_sync.test_pull import Follower


def on(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def narrow(world: World, condition: Any, model: str = "myapp.Customer") -> None:
    DataFilter.objects.create(
        organization=world.acme,
        group=Group.objects.get(name="Managers"),
        model_name=model,
        filter_name=f"f{DataFilter.objects.count()}",
        filter_condition=condition,
    )


def customer(world: World, name: str, *numbers: str, organization: Any = None) -> Customer:
    """With orders of these numbers."""
    organization = organization or world.acme
    made = Customer.objects.create(organization=organization, name=name)
    for number in numbers:
        Order.objects.create(organization=organization, customer=made, number=number)
    return made


def shown(follower: Follower) -> list[str]:
    follower.pull_all(2)
    return sorted(row["name"] for row in follower.rows.values())


@pytest.fixture
def john(world: World) -> Api:
    for number in range(5):
        customer(world, f"many{number}", "A1", "A2", "A3", "B1")
    customer(world, "other", "B1")
    customer(world, "none")
    customer(world, "theirs", "A1", organization=world.retail)
    return world.api("john_manager")


MANY = [f"many{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("operator", "value", "wanted"),
    [
        ("startswith", "A", MANY),
        ("exact", "B1", [*MANY, "other"]),
        ("in", ["A1", "A2"], MANY),
        ("contains", "9", []),
        ("gte", "B", [*MANY, "other"]),
    ],
)
def test_each_row_comes_once(
    world: World, john: Api, operator: str, value: Any, wanted: list[str]
) -> None:
    narrow(world, on("order__number", operator, value))
    follower = Follower(john)
    assert shown(follower) == wanted
    assert len(follower.given) == len(wanted), "each once"


def test_rows_come_and_go_with_what_points_to_them(world: World, john: Api) -> None:
    """By a change of theirs alone: the customer's own row stays as it is."""
    narrow(world, on("order__number", "startswith", "A"))
    follower = Follower(john)
    assert shown(follower) == MANY
    other = Customer.objects.get(name="other")
    Order.objects.create(organization=world.acme, customer=other, number="A9")
    assert shown(follower) == [*MANY, "other"]
    Order.objects.filter(customer=other).update(number="B9")
    assert shown(follower) == MANY
    assert follower.deleted == [other.pk]
    moved = Customer.objects.get(name="none")
    Order.objects.filter(customer__name="many0").update(customer=moved)
    assert shown(follower) == [*MANY[1:], "none"]
    Order.objects.filter(customer__name="many1").delete()
    assert shown(follower) == [*MANY[2:], "none"]
    moved.delete()
    assert shown(follower) == MANY[2:]
    assert follower.resets == 0
    hidden = Customer.objects.get(name="theirs").pk
    assert hidden not in follower.deleted
    assert set(follower.given) | set(follower.deleted) <= set(
        range(1, Customer.objects.order_by("pk").last().pk + 1)
    )


def test_paths_lead_over_several_relations(world: World, john: Api) -> None:
    narrow(world, on("order__line__article", "exact", "tea"))
    narrow(world, on("customer__order__number", "exact", "A2"), "myapp.Order")
    narrow(world, on("order__customer__order__line__count", "gte", 5), "myapp.Line")
    customers, orders = Follower(john), Follower(john, "myapp.Order")
    lines = Follower(john, "myapp.Line")
    assert shown(customers) == []
    orders.pull_all()
    assert len(orders.rows) == 20
    order = Order.objects.filter(customer__name="many3").first()
    assert order is not None
    Line.objects.create(order=order, article="tea", count=1)
    assert shown(customers) == ["many3"]
    lines.pull_all()
    assert lines.rows == {}
    Line.objects.create(order=order, article="pot", count=5)
    lines.pull_all()
    assert len(lines.rows) == 2, "the first one comes by what the second one is"


def test_conditions_are_joined_and_those_of_permissions_hold_as_well(
    world: World, john: Api
) -> None:
    """Each looks for a row of its own."""
    narrow(world, on("order__number", "exact", "A1"))
    narrow(world, on("order__number", "exact", "B1"))
    assert shown(Follower(john)) == MANY
    ModelPermission.objects.filter(organization=world.acme, model_name="myapp.Customer").update(
        filters=[on("order__number", "exact", "A3"), on("name", "gte", "many3")]
    )
    assert shown(Follower(john)) == MANY[3:]


@pytest.mark.parametrize(
    "condition",
    [
        on("order__nothing", "exact", "A1"),
        on("order__number", "regex", "A"),
        on("order__number", "exact", None),
        on("order__number", "exact", 7),
        on("order__number__upper", "exact", "A1"),
        on("orders__number", "exact", "A1"),
        on("assigned_manager__username", "exact", "john_manager"),
        {"not": on("order__number", "exact", "A1")},
    ],
)
def test_what_means_nothing_lets_nothing_pass(world: World, john: Api, condition: Any) -> None:
    narrow(world, condition)
    assert shown(Follower(john)) == []
    answer = john.push({"_model": "myapp.Customer", "name": "new"})
    assert answer["results"][0]["code"] == "permission"


def test_a_push_changes_only_rows_that_pass(world: World, john: Api) -> None:
    narrow(world, on("order__number", "startswith", "A"))
    mine, other = (Customer.objects.get(name=name).pk for name in ("many0", "other"))
    theirs = Customer.objects.get(name="theirs").pk
    label = "myapp.Customer"
    answer = john.push(
        {"_model": label, "id": mine, "name": "changed"},
        {"_model": label, "id": other, "name": "bad"},
        {"_model": label, "id": other, "_deleted": True},
        {"_model": label, "id": theirs, "name": "bad"},
        {"_model": label, "name": "bad"},
        {"_model": "myapp.Order", "customer_id": other, "number": "A1"},
    )
    assert [one.get("code", "ok") for one in answer["results"]] == [
        "ok", "not_found", "not_found", "tenant", "permission", "tenant",
    ]  # fmt: skip
    assert not Customer.objects.filter(name="bad").exists()
    assert Order.objects.filter(customer=other).count() == 1
    assert Customer.objects.get(pk=mine).name == "changed"
    own = Order.objects.filter(customer=mine)
    items = [{"_model": "myapp.Order", "id": one.pk, "number": "B7"} for one in own]
    assert john.push(*items)["status"] == "success", "orders have no filter"
    answer = john.push({"_model": label, "id": mine, "name": "bad"})
    assert answer["results"][0]["code"] == "not_found", "it has left"


class Asked:
    """The statements of the hub's, and how SQLite goes about those that look for such rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.plans: list[str] = []
        plain = SqliteSession.execute

        def execute(session: SqliteSession, sql: str, parameters: Any = ()) -> Any:
            self.count += 1
            if "EXISTS (SELECT 1 FROM" in sql:
                steps = plain(session, f"EXPLAIN QUERY PLAN {sql}", parameters)
                self.plans += [step[3] for step in steps]
            return plain(session, sql, parameters)

        monkeypatch.setattr(SqliteSession, "execute", execute)


def test_a_page_asks_as_much_for_many_rows_as_for_few_and_goes_by_indexes(
    readme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow(readme, on("order__number", "startswith", "A"))
    john = readme.api("john_manager")

    def statements(count: int) -> int:
        for number in range(count):
            customer(readme, f"{count}-{number}", "A1", "A2")
        follower = Follower(john)
        follower.pull_all()
        Order.objects.update(number=f"A{count}")
        with monkeypatch.context() as patch:
            asked = Asked(patch)
            assert follower.pull(1_000) == Customer.objects.count()
        return asked.count

    few = statements(2)
    assert few > 5, "this test no longer sees what is asked"
    assert statements(60) < few + 10, "one more step of rows, and not a statement for each"
    with monkeypatch.context() as patch:
        asked = Asked(patch)
        Follower(john).pull()
    searched = [step for step in asked.plans if "t1" in step]
    assert searched, asked.plans
    assert all("myapp_order_customer_id" in step for step in searched), asked.plans
