"""`pull/`, made correct: SB-5 to SB-9, SB-15, SB-20, SB-40."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import override_settings

from reunite.contrib.django.models import DataFilter
from reunite.dropin.sb_sync.models import SyncLog, SyncMetadata, SyncStamp, UserSyncMetadata
from tests.contrib.django.myapp.models import Country, Customer, Line, Order, Task
from tests.contrib.django.sb_sync.conftest import Api, World


class Follower:
    """A client that keeps what pulls have given, and its place as the README does."""

    def __init__(self, api: Api, model: str = "myapp.Customer", *, key: str = "last_sync") -> None:
        self.api = api
        self.model = model
        self.value: Any = None
        self.rows: dict[Any, dict[str, Any]] = {}
        self.given: list[Any] = []
        self.deleted: list[Any] = []
        self.resets = 0
        self._key = key

    def pull(self, size: int = 100) -> int:
        found = self.api.pull({self.model: self.value}, batch_size=size)
        told = found["metadata"][self.model]
        self.value = told[self._key]
        self.resets += bool(told.get("reset"))
        for row in found["data"]:
            self.rows[row["id"]] = row
            self.given.append(row["id"])
        for row in found.get("deleted", ()):
            self.rows.pop(row["id"], None)
            self.deleted.append(row["id"])
        return int(told["count"])

    def pull_all(self, size: int = 100) -> list[int]:
        """Until a pull brings nothing, as the README's client does."""
        counts = []
        for _ in range(1_000):
            counts.append(self.pull(size))
            if counts[-1] == 0:
                return counts
        raise AssertionError("it does not end")


def customers(world: World, count: int, prefix: str = "c") -> list[Customer]:
    return Customer.objects.bulk_create(
        Customer(organization=world.acme, name=f"{prefix}{n}") for n in range(count)
    )


@pytest.mark.parametrize("key", ["last_sync", "next_cursor"])
def test_250_rows_come_in_three_batches_each_once(world: World, key: str) -> None:
    customers(world, 250)
    follower = Follower(world.api("john_manager"), key=key)
    assert follower.pull_all() == [100, 100, 50, 0]
    assert len(set(follower.given)) == len(follower.given) == 250


def test_a_model_without_times_is_paged_all_the_same(readme: World) -> None:
    (one,) = customers(readme, 1)
    Order.objects.bulk_create(Order(organization=readme.acme, customer=one) for _ in range(250))
    follower = Follower(readme.api("john_manager"), "myapp.Order")
    assert follower.pull_all() == [100, 100, 50, 0]
    assert len(set(follower.given)) == 250


@pytest.mark.parametrize("model", ["myapp.Customer", "myapp.Task"])
def test_what_is_written_between_pages_comes_once_and_deletions_are_told(
    world: World, model: str
) -> None:
    """Generated keys come at the end, random ones anywhere."""
    kind: Any = Customer if model == "myapp.Customer" else Task

    def make(n: int) -> Any:
        named = {"name": f"n{n}"} if kind is Customer else {"code": f"n{n}"}
        return kind.objects.create(organization=world.acme, **named)

    rows = [make(n) for n in range(30)]
    follower = Follower(world.api("john_manager"), model)
    gone = []
    for n in range(6):
        follower.pull(7)
        make(100 + n)
        gone.append(rows[n * 5].pk)
        rows[n * 5].delete()
    follower.pull_all(7)
    wanted = {str(pk) for pk in kind.objects.values_list("pk", flat=True)}
    assert {str(key) for key in follower.rows} == wanted
    given = [str(key) for key in follower.given if str(key) in wanted]
    assert len(given) == len(set(given))
    assert {str(key) for key in gone} <= {str(key) for key in follower.deleted}


def test_the_request_s_value_alone_decides(readme: World) -> None:
    """Somebody's own push does not move anybody's place."""
    api = readme.api("john_manager")
    follower = Follower(api)
    follower.pull_all()
    Customer.objects.create(organization=readme.acme, name="a colleague's")
    api.push({"_model": "myapp.Customer", "name": "mine"})
    follower.pull_all()
    assert {row["name"] for row in follower.rows.values()} == {"a colleague's", "mine"}


@contextmanager
def another_connection() -> Iterator[Any]:
    """A connection of another program's."""
    other = connections["default"].copy("other")
    other.inc_thread_sharing()
    try:
        yield other
    finally:
        other.close()


def test_a_row_that_is_committed_after_a_pull_comes_with_the_next_one(world: World) -> None:
    """SB-8: its transaction began, and took its stamp, before the pull."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer: nobody pulls while its transaction is open.")
    follower = Follower(world.api("john_manager"))
    with another_connection() as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO myapp_customer (organization_id, name, department) "
                "VALUES (%s, 'late', '')",
                [world.acme.pk],
            )
            customers(world, 2)
            assert follower.pull() == 2
        other.commit()
    assert follower.pull() == 1
    assert {row["name"] for row in follower.rows.values()} == {"c0", "c1", "late"}


def test_two_clients_update_and_delete_and_are_equal_in_the_end(world: World) -> None:
    api = world.api("john_manager")
    a, b = Follower(api), Follower(world.api("john_manager"))
    made = api.push(*({"_model": "myapp.Customer", "name": f"c{n}"} for n in range(5)))
    keys = [one["id"] for one in made["results"]]
    a.pull_all()
    b.pull_all()
    api.push({"_model": "myapp.Customer", "id": keys[0], "name": "changed"})
    Customer.objects.filter(pk=keys[1]).update(name="in bulk")
    api.push({"_model": "myapp.Customer", "id": keys[2], "_deleted": True})
    a.pull_all()
    b.pull_all()
    assert a.rows == b.rows
    assert {key: row["name"] for key, row in a.rows.items()} == dict(
        Customer.objects.values_list("pk", "name")
    )
    assert keys[2] in b.deleted


def test_a_plain_time_brings_what_changed_since_then(readme: World) -> None:
    customers(readme, 3)
    api = readme.api("john_manager")
    first = api.pull({"myapp.Customer": "2020-01-01T00:00:00Z"})
    assert len(first["data"]) == 3
    stamp = first["metadata"]["myapp.Customer"]["last_sync"]
    SyncStamp.objects.all().delete()  # it counts as a time then, and nothing is missed
    customers(readme, 1, "late")
    names = {row["name"] for row in api.pull({"myapp.Customer": stamp})["data"]}
    assert "late0" in names
    assert api.pull({"myapp.Customer": "2999-01-01"})["data"] == []


@pytest.mark.parametrize("value", [5, "nonsense", "c.nonsense", ["x"], "2024-13-45T00:00:00Z", ""])
def test_a_value_that_is_no_place_is_400(readme: World, value: Any) -> None:
    answer = readme.api("john_manager").post("pull/", {"models": {"myapp.Customer": value}})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "validation"


def test_nobody_reads_on_from_the_place_of_somebody_else(readme: World) -> None:
    customers(readme, 2)
    mine = Follower(readme.api("john_manager"), key="next_cursor")
    mine.pull()
    mary = readme.api("mary_sales")
    assert mary.post("pull/", {"models": {"myapp.Customer": mine.value}}).status_code == 400
    answer = readme.api("john_manager").post("pull/", {"models": {"myapp.Order": mine.value}})
    assert answer.status_code == 400


@pytest.mark.parametrize("size", [0, -1, 1_001, "10", True, 1.5])
def test_a_batch_size_is_from_1_to_1_000(readme: World, size: Any) -> None:
    answer = readme.api("john_manager").post("pull/", {"batch_size": size})
    assert answer.status_code == 400


def test_without_models_all_that_may_be_read_come_parents_first(readme: World) -> None:
    (one,) = customers(readme, 1)
    order = Order.objects.create(organization=readme.acme, customer=one)
    Line.objects.create(order=order, article="tea")
    readme.grant(readme.acme, "Managers", "myapp.Task", "push")
    found = readme.api("john_manager").pull()
    assert [row["_model"] for row in found["data"]] == [
        "myapp.Customer", "myapp.Order", "myapp.Line",
    ]  # fmt: skip
    assert "myapp.Task" not in found["metadata"]
    assert found["data"][2]["order_id"] == order.pk


def test_what_cannot_be_given_says_why(readme: World) -> None:
    readme.grant(readme.acme, "Managers", "myapp.Task", "push", "create")
    found = readme.api("john_manager").pull(
        {"no.Model": None, "auth.Permission": None, "myapp.Task": None, "myapp.Country": None}
    )
    told = {name: one["error"] for name, one in found["metadata"].items()}
    assert told["no.Model"] == "Model 'no.Model' not found"
    assert "not enabled" in told["auth.Permission"]
    assert "not enabled" in told["myapp.Country"]
    assert "does not have pull permission for myapp.Task" in told["myapp.Task"]
    codes = {name: one["code"] for name, one in found["metadata"].items()}
    assert codes == {
        "no.Model": "not_found",
        "auth.Permission": "not_enabled",
        "myapp.Task": "permission",
        "myapp.Country": "not_enabled",
    }
    assert found["data"] == []


def test_shared_models_and_fields_are_named_in_sb_sync_s_words(readme: World) -> None:
    Country.objects.create(name="Chile")
    Task.objects.create(organization=readme.acme, code="t", portal_password="p")
    readme.grant(readme.acme, "Managers", "myapp.Country", "pull", "read", "push", "create")
    named = {
        "SB_SYNC_SHARED_MODELS": ["myapp.Country"],
        "SB_SYNC_FIELDS": {"myapp.Task": ["portal_password"]},
    }
    with override_settings(**named):
        apps.get_app_config("reunite").forget()
        call_command("reunite", "triggers", verbosity=0, stdout=StringIO())
        api = readme.api("john_manager")
        found = api.pull({"myapp.Country": None, "myapp.Task": None})
        assert [row.get("name", row.get("portal_password")) for row in found["data"]] == [
            "Chile", "p",
        ]  # fmt: skip
        answer = api.push({"_model": "myapp.Country", "name": "mine"})
        assert answer["results"][0]["code"] == "not_enabled"


def test_a_filter_that_is_changed_takes_rows_away_and_brings_others(readme: World) -> None:
    for name in ("north", "south"):
        Customer.objects.create(organization=readme.acme, name=name, department=name)
    given = DataFilter.objects.create(
        organization=readme.acme,
        group=Group.objects.get(name="Managers"),
        model_name="myapp.Customer",
        filter_name="department",
        filter_condition={"field": "department", "operator": "exact", "value": "north"},
    )
    follower = Follower(readme.api("john_manager"))
    follower.pull_all()
    assert [row["name"] for row in follower.rows.values()] == ["north"]
    given.filter_condition = {**given.filter_condition, "value": "south"}
    given.save()
    follower.pull_all()
    assert [row["name"] for row in follower.rows.values()] == ["south"]
    assert follower.resets == 0


def test_a_row_that_leaves_the_organization_is_told_as_deleted(readme: World) -> None:
    one = customers(readme, 1)[0]
    follower = Follower(readme.api("john_manager"))
    follower.pull_all()
    one.organization = readme.retail
    one.save()
    follower.pull_all()
    assert (follower.rows, follower.deleted) == ({}, [one.pk])


def test_counters_are_of_every_pull(readme: World) -> None:
    customers(readme, 5)
    api = readme.api("john_manager")
    api.pull({"myapp.Customer": None}, batch_size=2)
    api.push({"_model": "myapp.Customer", "name": "x"})
    of_user, of_model = UserSyncMetadata.objects.get(), SyncMetadata.objects.get()
    assert (of_user.total_synced, of_model.total_synced) == (3, 3)
    assert of_model.last_sync is not None
    assert [log.operation for log in SyncLog.objects.all()] == ["PUSH", "PULL"]


def test_pulling_goes_on_inside_a_project_s_own_transaction(readme: World) -> None:
    with transaction.atomic():
        customers(readme, 3)
        assert len(readme.api("john_manager").pull({"myapp.Customer": None})["data"]) == 3
