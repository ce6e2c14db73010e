"""`push/`, made correct: SB-4, SB-9 to SB-13, SB-17 to SB-21, SB-24, SB-25, SB-27, SB-38."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from reunite.contrib.django.database import statements_of
from reunite.contrib.django.models import DataFilter, UserOrganization
from reunite.dropin.sb_sync import conf
from reunite.dropin.sb_sync.models import PerformanceMetrics, SyncLog, UserSyncMetadata
from tests.contrib.django.myapp.models import Country, Customer, Line, Order, Report, Task
from tests.contrib.django.sb_sync.conftest import (
    API,
    READ_WRITE,
    Api,
    World,
    codes,
    customer,
)


def test_a_plain_model_is_created_updated_and_deleted(world: World) -> None:
    api = world.api("john_manager")
    made = api.push(customer("a"), customer("b"))["results"]
    a, b = (one["id"] for one in made)
    found = api.push(
        customer("better", id=a), {"_model": "myapp.Customer", "id": b, "_deleted": True}
    )
    assert found["processed_models"] == {
        "myapp.Customer": {"created": 0, "updated": 1, "deleted": 1}
    }
    assert list(Customer.objects.values_list("pk", "name")) == [(a, "better")]
    assert [one["action"] for one in found["results"]] == ["updated", "deleted"]
    changes = api.pull({"myapp.Customer": None})
    assert [row["name"] for row in changes["data"]] == ["better"]


def test_generated_keys_follow_each_other_and_the_orm_goes_on_after_them(world: World) -> None:
    api = world.api("john_manager")
    first = api.push(customer("a"))["results"][0]["id"]
    second = api.push(customer("b"))["results"][0]["id"]
    assert second == first + 1
    third = Customer.objects.create(organization=world.acme, name="orm").pk
    assert third > second
    chosen = api.push(customer("chosen", id=third + 500))["results"][0]
    assert (chosen["id"], chosen["action"]) == (third + 500, "created")
    assert Customer.objects.create(organization=world.acme, name="after").pk > chosen["id"]
    assert api.push(customer("c"))["results"][0]["id"] > chosen["id"]


def test_a_client_s_uuid_is_the_key_of_the_row(readme: World) -> None:
    key = str(uuid.uuid4())
    found = readme.api("john_manager").push({"_model": "myapp.Task", "id": key, "code": "t1"})
    assert found["results"][0]["id"] == key
    task = Task.objects.get()
    assert (str(task.pk), task.organization, task.is_done) == (key, readme.acme, False)
    assert task.created_at is not None


def test_a_row_without_a_key_of_the_client_s_gets_the_model_s_default(readme: World) -> None:
    found = readme.api("john_manager").push({"_model": "myapp.Task", "code": "t1"})
    assert found["results"][0]["id"] == str(Task.objects.get().pk)


def test_values_of_every_kind_come_back_as_they_went(world: World) -> None:
    api = world.api("john_manager")
    given = {
        "code": "Zoë",
        "price": "12.50",
        "is_done": True,
        "due": "2026-03-01T12:00:00+02:00",
    }
    found = api.push({"_model": "myapp.Task", **given})
    assert found["status"] == "success", found
    row = api.pull({"myapp.Task": None})["data"][0]
    assert (row["code"], row["price"], row["is_done"]) == ("Zoë", "12.50", True)
    assert row["due"] == "2026-03-01T10:00:00.000000Z" or row["due"] == "2026-03-01T10:00:00Z"
    assert row["organization"] == world.acme.pk
    assert "portal_password" not in row
    # What a pull gave can be pushed as it is.
    again = api.push(row)
    assert again["status"] == "success", again
    assert again["results"][0]["action"] == "updated"


def test_json_comes_back_as_it_went(world: World) -> None:
    """Whatever the database makes of it, and sent back it changes nothing."""
    api = world.api("john_manager")
    values: list[Any] = [{"a": [1, 2.5, None, "ä"]}, "text", '{"a": 1}', "null", 5, True, [{}]]
    items = [
        {"_model": "myapp.Report", "report_type": str(n), "results": value}
        for n, value in enumerate(values)
    ]
    assert api.push(*items)["status"] == "success"
    for _ in range(2):
        rows = api.pull({"myapp.Report": None})["data"]
        assert [row["results"] for row in rows] == values
        assert [report.results for report in Report.objects.order_by("pk")] == values
        assert api.push(*rows)["status"] == "success"


def test_times_that_the_server_sets_are_new_with_each_update(readme: World) -> None:
    api = readme.api("john_manager")
    key = api.push({"_model": "myapp.Task", "code": "t"})["results"][0]["id"]
    before = Task.objects.get()
    api.push({"_model": "myapp.Task", "id": key, "is_done": True})
    after = Task.objects.get()
    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at


def test_children_of_the_same_push_find_their_parents(readme: World) -> None:
    api = readme.api("john_manager")
    found = api.push(
        customer("a", id=1000),
        {"_model": "myapp.Order", "id": 2000, "customer_id": 1000, "number": "n"},
        {"_model": "myapp.Line", "order": 2000, "article": "tea"},
    )
    assert found["status"] == "success", found
    line = Line.objects.get()
    assert (line.order.customer.name, line.order.organization) == ("a", readme.acme)


def test_an_item_may_be_about_a_row_of_an_earlier_item(readme: World) -> None:
    api = readme.api("john_manager")
    found = api.push(
        customer("a", id=77),
        customer("b", id=77),
        {"_model": "myapp.Customer", "id": 77, "_deleted": True},
        customer("c", id=77),
    )
    assert [one.get("action") for one in found["results"]] == [
        "created", "updated", "deleted", "created",
    ]  # fmt: skip
    assert Customer.objects.get().name == "c"


# -- conflicts ----------------------------------------------------------------------


def test_a_version_that_is_old_is_a_conflict_and_shows_the_row(readme: World) -> None:
    api = readme.api("john_manager")
    made = api.push(customer("a"))["results"][0]
    first = {"_model": "myapp.Customer", "id": made["id"], "_version": made["version"]}
    assert api.push({**first, "name": "b"})["status"] == "success"
    answer = api.post("push/", {"data": [{**first, "name": "c"}]})
    assert answer.status_code == 409
    result = answer.json()["results"][0]
    assert (result["code"], result["row"]["name"]) == ("conflict", "b")
    row = api.pull({"myapp.Customer": None}, include_versions=True)["data"][0]
    assert row["_version"] != made["version"]
    assert api.push({**first, "_version": row["_version"], "name": "d"})["status"] == "success"
    assert Customer.objects.get().name == "d"


def test_fields_of_two_writers_are_merged_and_the_loser_is_recorded(world: World) -> None:
    """Both saw the same row; without versions, each field goes to who changed it."""
    world.project.user("jane")
    UserOrganization.objects.create(
        user=get_user_model().objects.get(username="jane"),
        organization=world.acme,
        group=Group.objects.get(name="Managers"),
    )
    john, jane = world.api("john_manager"), world.api("jane")
    key = john.push(customer("a", age=1, department="X"))["results"][0]["id"]
    row = john.pull({"myapp.Customer": None})["data"][0]
    assert jane.pull({"myapp.Customer": None})["data"] == [row]
    john.push({**row, "age": 2})
    found = jane.push({**row, "department": "Y", "name": "b"})
    assert found["status"] == "success", found
    one = Customer.objects.get()
    assert (one.name, one.age, one.department) == ("b", 2, "Y")
    # A field that both have changed: the later writer's, and the other's value is kept.
    john.push({"_model": "myapp.Customer", "id": key, "name": "c"})
    assert Customer.objects.get().name == "c"
    hub = world.project.hub
    with hub.reading() as tx:
        conflicts = [
            (outcome.table, conflict.column, conflict.hub)
            for replica in tx.replicas()
            for outcome in tx.outcomes(replica.id, after_n=0)
            for conflict in outcome.outcome.conflicts
        ]
    assert conflicts == [("myapp_customer", "name", "b")]


# -- each item for itself -----------------------------------------------------------


def test_one_bad_item_of_1_500_fails_alone(readme: World) -> None:
    items = [customer(f"c{n}") for n in range(1_500)]
    items[1199]["name"] = "x" * 500
    answer = readme.api("john_manager").post("push/", {"data": items})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["status"], found["success_count"], found["error_count"]) == (
        "partial_success",
        1_499,
        1,
    )
    assert [one["index"] for one in found["results"] if one["status"] == "error"] == [1199]
    assert Customer.objects.count() == 1_499
    log = SyncLog.objects.get()
    assert (log.status, log.object_count) == ("WARNING", 1_499)


def test_with_atomic_nothing_is_stored(readme: World) -> None:
    items = [customer(f"c{n}") for n in range(100)]
    items[50]["name"] = "x" * 500
    answer = readme.api("john_manager").post("push/", {"data": items, "atomic": True})
    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert Customer.objects.count() == 0
    assert SyncLog.objects.get().status == "ERROR"


@pytest.mark.parametrize("is_atomic", [False, True])
def test_what_only_the_database_refuses_fails_alone(world: World, is_atomic: bool) -> None:
    api = world.api("john_manager")
    api.push({"_model": "myapp.Task", "code": "taken"})
    items = [{"_model": "myapp.Task", "code": f"t{n}"} for n in range(20)]
    items[7]["code"] = "taken"
    found = api.push(*items, atomic=is_atomic)
    failed = [one for one in found["results"] if one["status"] == "error"]
    assert (7, "validation") in [(one["index"], one["code"]) for one in failed]
    assert Task.objects.count() == (1 if is_atomic else 20)
    assert found["success_count"] == (0 if is_atomic else 19)


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"name": "a"}, "missing_model"),
        ({"_model": "", "name": "a"}, "missing_model"),
        ({"_model": "no.Model"}, "not_enabled"),
        ({"_model": "nonsense"}, "not_enabled"),
        ({"_model": "auth.User", "username": "x"}, "not_enabled"),
        ({"_model": "myapp.Country", "name": "x"}, "not_enabled"),
        ("text", "validation"),
        ({"_model": "myapp.Customer"}, "validation"),
        ({"_model": "myapp.Customer", "name": ""}, "validation"),
        ({"_model": "myapp.Customer", "name": None}, "validation"),
        ({"_model": "myapp.Customer", "name": ["a"]}, "validation"),
        ({"_model": "myapp.Customer", "name": "a\x00b"}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "age": "old"}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "age": 1.5}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "age": 2**70}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "age": True}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "is_superuser": True}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "organization": 999}, "tenant"),
        ({"_model": "myapp.Customer", "name": "a", "pk": 3}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "id": -1}, "validation"),
        ({"_model": "myapp.Customer", "name": "a", "id": 2**62}, "validation"),
        ({"_model": "myapp.Customer", "_deleted": True}, "validation"),
        ({"_model": "myapp.Customer", "id": 4711, "_deleted": True}, "not_found"),
        ({"_model": "myapp.Customer", "_deleted": "yes"}, "validation"),
        ({"_model": "myapp.Task", "code": "bad code"}, "validation"),
        ({"_model": "myapp.Task", "code": "x", "portal_password": "p"}, "validation"),
        ({"_model": "myapp.Task", "code": "x", "id": "no uuid"}, "validation"),
        ({"_model": "myapp.Task", "code": "x", "price": "1.234"}, "validation"),
        ({"_model": "myapp.Task", "code": "x", "due": "yesterday"}, "validation"),
        ({"_model": "myapp.Order", "customer_id": 4711}, "tenant"),
        ({"_model": "myapp.Order"}, "validation"),
    ],
)
def test_an_item_that_means_nothing_says_why(readme: World, item: Any, code: str) -> None:
    api = readme.api("john_manager")
    found = api.push(item, customer("good"))
    assert codes(found) == [code, None], found
    assert found["status"] == "partial_success"
    assert Customer.objects.get().name == "good"
    text = found["results"][0]["message"]
    assert not any(word in text.lower() for word in ("select", "insert", "traceback", "/src/"))


def test_a_model_s_own_clean_judges_updates_too(readme: World) -> None:
    api = readme.api("john_manager")
    key = api.push({"_model": "myapp.Task", "code": "good"})["results"][0]["id"]
    found = api.push({"_model": "myapp.Task", "id": key, "code": "bad one"})
    assert codes(found) == ["validation"]
    assert "No code begins with bad." in found["results"][0]["message"]
    assert Task.objects.get().code == "good"


def test_a_row_that_others_point_to_is_not_deleted(readme: World) -> None:
    api = readme.api("john_manager")
    key = api.push(customer("a"))["results"][0]["id"]
    api.push({"_model": "myapp.Order", "customer_id": key})
    found = api.push({"_model": "myapp.Customer", "id": key, "_deleted": True})
    assert codes(found) == ["validation"]
    assert Customer.objects.count() == 1


# -- requests that are no pushes ----------------------------------------------------


def test_bodies_that_are_no_pushes_are_400_and_large_ones_413(readme: World) -> None:
    api = readme.api("john_manager")
    for body in ({}, {"data": []}, {"data": {}}, {"data": [customer("a")], "atomic": 1}):
        assert api.post("push/", body).status_code == 400, body
    raw = Client().post(f"{API}/push/", "{", content_type="application/json", headers=api.headers)
    assert raw.status_code == 400
    conf.keep("CORE", "MAX_BATCH_SIZE", 5)
    assert api.post("push/", {"data": [customer("a")] * 6}).status_code == 413
    large = Client().post(
        f"{API}/push/",
        b"x" * (10 * 1024 * 1024 + 1),
        content_type="application/json",
        headers=api.headers,
    )
    assert large.status_code == 413
    assert large.json()["error"]["type"] == "validation"
    assert Customer.objects.count() == 0


def test_a_body_of_more_than_a_form_may_have_is_taken(readme: World) -> None:
    """`DATA_UPLOAD_MAX_MEMORY_SIZE` is about forms."""
    api = readme.api("john_manager")
    items = [
        {"_model": "myapp.Report", "report_type": "r", "results": ["y" * 1_000_000]}
        for _ in range(4)
    ]
    assert api.push(*items)["status"] == "success"


def test_without_a_token_it_is_401(readme: World) -> None:
    answer = Client().post(f"{API}/push/", {"data": []}, content_type="application/json")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {"detail": "Authentication credentials were not provided."}


def test_a_session_is_no_way_in(readme: World) -> None:
    """So no page of others can push in the name of who is logged in."""
    client = Client()
    client.force_login(readme.users["john_manager"])
    answer = client.post(f"{API}/push/", {"data": [customer("a")]}, content_type="application/json")
    assert answer.status_code == 401


@pytest.mark.parametrize("what", ["user", "password", "membership", "organization"])
def test_who_is_out_is_out_with_the_next_request(readme: World, what: str) -> None:
    api = readme.api("john_manager")
    user = readme.users["john_manager"]
    if what == "user":
        user.is_active = False
        user.save()
    elif what == "password":
        user.set_password("another")
        user.save()
    elif what == "membership":
        user.user_organizations.update(is_active=False)
    else:
        readme.acme.is_active = False
        readme.acme.save()
    answer = api.post("push/", {"data": [customer("a")]})
    assert answer.status_code == (401 if what in ("user", "password") else 403)
    assert Customer.objects.count() == 0


def test_too_many_requests_of_a_user_are_429(readme: World) -> None:
    api = readme.api("john_manager")
    conf.keep("SECURITY", "RATE_LIMIT_REQUESTS", 3)
    statuses = [api.post("push/", {"data": [customer("a")]}).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    conf.keep("SECURITY", "ENABLE_RATE_LIMITING", False)
    assert api.post("push/", {"data": [customer("a")]}).status_code == 200


# -- organizations, rights, filters -------------------------------------------------


def test_who_is_in_two_organizations_says_which(readme: World) -> None:
    UserOrganization.objects.create(
        user=readme.users["john_manager"],
        organization=readme.retail,
        group=Group.objects.get(name="Sales"),
    )
    api = readme.api("john_manager")
    answer = api.post("push/", {"data": [customer("a")]})
    assert answer.status_code == 400
    assert answer.json()["error"]["context"] == {"organizations": ["acme-corp", "global-retail"]}
    chosen = api.post("push/", {"data": [customer("b")]}, **{"X-Organization": "global-retail"})
    assert chosen.status_code == 200
    assert Customer.objects.get().organization == readme.retail
    assert api.push(customer("c"), organization=readme.acme.pk)["status"] == "success"
    assert (
        api.post("push/", {"data": [customer("d")], "organization": "city-university"}).status_code
        == 403
    )


def test_nobody_points_to_a_row_of_another_organization(world: World) -> None:
    theirs = Customer.objects.create(organization=world.retail, name="theirs")
    api = world.api("john_manager")
    found = api.push(
        {"_model": "myapp.Order", "customer_id": theirs.pk},
        {"_model": "myapp.Task", "code": "t", "customer": theirs.pk},
        customer("a", assigned_manager_id=world.users["mary_sales"].pk),
        customer("b", assigned_manager_id=world.users["john_manager"].pk),
    )
    assert codes(found) == ["tenant", "tenant", "tenant", None]
    mine = api.push(customer("mine"))["results"][0]["id"]
    order = api.push({"_model": "myapp.Order", "customer_id": mine})["results"][0]["id"]
    found = api.push({"_model": "myapp.Order", "id": order, "customer_id": theirs.pk})
    assert codes(found) == ["tenant"]
    found = api.push({"_model": "myapp.Line", "order": 987_654, "article": "x"})
    assert codes(found) == ["tenant"]
    assert Order.objects.get().customer_id == mine


def test_a_row_of_another_organization_is_neither_taken_over_nor_deleted(readme: World) -> None:
    theirs = Customer.objects.create(organization=readme.retail, name="theirs")
    order = Order.objects.create(organization=readme.retail, customer=theirs)
    line = Line.objects.create(order=order, article="tea")
    api = readme.api("john_manager")
    found = api.push(
        customer("mine", id=theirs.pk),
        {"_model": "myapp.Customer", "id": theirs.pk, "_deleted": True},
        {"_model": "myapp.Line", "id": line.pk, "article": "mine"},
    )
    assert codes(found) == ["tenant"] * 3
    theirs.refresh_from_db()
    assert (theirs.name, theirs.organization) == ("theirs", readme.retail)
    assert Line.objects.get().article == "tea"


ALL_FLAGS = {"push", "pull", "create", "update", "delete", "read"}


@pytest.mark.parametrize("flag", sorted(ALL_FLAGS))
@pytest.mark.parametrize("is_alone", [True, False])
def test_each_flag_lets_do_what_it_says(readme: World, flag: str, is_alone: bool) -> None:
    flags = {flag} if is_alone else ALL_FLAGS - {flag}
    readme.grant(readme.acme, "Managers", "myapp.Customer", *flags)
    a = Customer.objects.create(organization=readme.acme, name="a")
    b = Customer.objects.create(organization=readme.acme, name="b")
    api = readme.api("john_manager")
    found = api.push(
        customer("new"),
        customer("a2", id=a.pk),
        {"_model": "myapp.Customer", "id": b.pk, "_deleted": True},
    )
    wanted = [
        None if {"push", needed} <= flags else "permission"
        for needed in ("create", "update", "delete")
    ]
    assert codes(found) == wanted
    told = api.pull({"myapp.Customer": None})["metadata"]["myapp.Customer"]
    assert ("error" in told) is not ({"pull", "read"} <= flags)


def test_a_superuser_passes_every_flag_and_no_tenant_check(readme: World) -> None:
    theirs = Customer.objects.create(organization=readme.retail, name="theirs")
    user = readme.users["bob_analyst"]
    user.is_superuser = True
    user.save()
    api = readme.api("bob_analyst")
    found = api.push(customer("a"), customer("b", id=theirs.pk))
    assert codes(found) == [None, "tenant"]
    assert [row["name"] for row in api.pull({"myapp.Customer": None})["data"]] == ["a"]


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "nonsense", "operator": "exact", "value": 1},
        {"field": "name", "operator": "regex", "value": ".*"},
        {"field": "name", "operator": "exact", "value": None},
        {"field": "assigned_manager__password__startswith", "operator": "exact", "value": "p"},
        "nonsense",
    ],
)
def test_a_filter_that_means_nothing_lets_nothing_pass(readme: World, condition: Any) -> None:
    Customer.objects.create(organization=readme.acme, name="a")
    DataFilter.objects.create(
        organization=readme.acme,
        group=Group.objects.get(name="Managers"),
        model_name="myapp.Customer",
        filter_name="f",
        filter_condition=condition,
    )
    api = readme.api("john_manager")
    assert api.pull({"myapp.Customer": None})["data"] == []
    assert codes(api.push(customer("b"))) == ["permission"]


# -- what it leaves behind ----------------------------------------------------------


def test_no_value_of_an_item_is_logged(readme: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sb_sync")
    readme.api("john_manager").push(customer("Very Secret Name", age=271828))
    log = SyncLog.objects.get()
    assert log.request_data == {
        "items": 1,
        "models": {"myapp.Customer": {"count": 1, "fields": ["_model", "name", "age"]}},
    }
    told = caplog.text + str(log.request_data) + log.error_message
    assert "PUSH request from user john_manager in Acme-Corp: {" in caplog.text
    assert "Very Secret" not in told
    assert "271828" not in told


def test_the_history_says_who_pushed(readme: World) -> None:
    readme.api("john_manager").push(customer("a"))
    (entry,) = readme.project.hub.log()
    assert (entry.principal, entry.table) == ("john_manager", "myapp_customer")


def test_a_push_costs_the_same_statements_for_10_and_for_1_000_items(world: World) -> None:
    api = world.api("john_manager")
    api.push(customer("warm"))

    def cost(count: int) -> tuple[int, int]:
        with CaptureQueriesContext(connection) as queries:
            before = statements_of(connection)
            made = api.push(*(customer(f"c{n}") for n in range(count)))
            creating = len(queries) + statements_of(connection) - before
        with CaptureQueriesContext(connection) as queries:
            before = statements_of(connection)
            api.push(*(customer(f"d{n}", id=one["id"]) for n, one in enumerate(made["results"])))
            updating = len(queries) + statements_of(connection) - before
        return creating, updating

    few, many = cost(10), cost(1_000)
    assert many[0] <= few[0] + 4
    assert many[1] <= few[1] + 4
    assert max(many) <= 60, many
    assert PerformanceMetrics.objects.first().query_count > 10


def test_all_of_twenty_pushes_are_counted(readme: World) -> None:
    api = readme.api("john_manager")
    for n in range(20):
        api.push(customer(f"c{n}"))
    assert UserSyncMetadata.objects.get().total_synced == 20


def test_migrations_are_complete(readme: World) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_nothing_of_a_push_depends_on_who_else_is_in_the_group(readme: World) -> None:
    readme.grant(readme.retail, "Managers", "myapp.Customer", *READ_WRITE)
    assert isinstance(readme.api("mary_sales"), Api)
    assert codes(readme.api("mary_sales").push(customer("a"))) == [None]
    assert Country.objects.count() == 0
