"""The README's push and pull, line by line: SB-S3 to SB-S7."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from reunite.contrib.django.models import DataFilter
from reunite.dropin.sb_sync.models import PerformanceMetrics, SyncLog, UserSyncMetadata
from tests.contrib.django.myapp.models import Customer, Report
from tests.contrib.django.sb_sync.conftest import World

SINCE = "2024-01-14T10:00:00Z"


def customer(world: World, **more: Any) -> dict[str, Any]:
    return {
        "_model": "myapp.Customer",
        "name": "John Doe",
        "age": 45,
        "department": "SALES",
        "assigned_manager_id": world.users["john_manager"].pk,
        **more,
    }


def test_the_readme_s_customer_is_pushed(world: World) -> None:
    answer = world.api("john_manager").post("push/", {"data": [customer(world)]})
    assert answer.status_code == 200, answer.content
    found = answer.json()
    one = Customer.objects.get()
    assert (found["status"], found["success_count"], found["error_count"]) == ("success", 1, 0)
    assert found["processed_models"] == {"myapp.Customer": {"created": 1, "updated": 0}}
    assert found["results"] == [
        {
            "index": 0,
            "model": "myapp.Customer",
            "id": one.pk,
            "action": "created",
            "status": "ok",
            "version": found["results"][0]["version"],
        }
    ]
    assert (one.organization, one.name, one.age) == (world.acme, "John Doe", 45)
    assert one.assigned_manager == world.users["john_manager"]
    log = SyncLog.objects.get()
    assert (log.operation, log.status, log.object_count) == ("PUSH", "SUCCESS", 1)
    assert (log.user, log.organization) == (world.users["john_manager"], world.acme)
    metrics = PerformanceMetrics.objects.get()
    assert (metrics.operation_type, metrics.batch_size) == ("PUSH", 1)
    assert metrics.query_count > 5
    assert metrics.memory_usage > 1
    assert UserSyncMetadata.objects.get().total_synced == 1


def test_the_readme_s_pull_gives_it_once(world: World) -> None:
    api = world.api("john_manager")
    api.push(customer(world))
    found = api.pull({"myapp.Customer": SINCE}, batch_size=100)
    one = Customer.objects.get()
    assert found["data"] == [
        {
            "_model": "myapp.Customer",
            "id": one.pk,
            "name": "John Doe",
            "age": 45,
            "department": "SALES",
            "assigned_manager_id": world.users["john_manager"].pk,
            "organization": world.acme.pk,
        }
    ]
    assert found["batch_info"] == {"batch_size": 100, "total_records": 1, "has_more": False}
    assert "deleted" not in found
    told = found["metadata"]["myapp.Customer"]
    assert (told["count"], told["has_more"]) == (1, False)
    again = api.pull({"myapp.Customer": told["last_sync"]})
    assert again["data"] == []
    assert again["metadata"]["myapp.Customer"]["last_sync"] == told["last_sync"]
    assert again["metadata"]["myapp.Customer"]["user_last_sync"] is not None
    assert api.pull({"myapp.Customer": told["next_cursor"]})["data"] == []


def test_another_organization_sees_nothing_of_it_and_cannot_write_it(world: World) -> None:
    world.api("john_manager").push(customer(world))
    one = Customer.objects.get()
    mary = world.api("mary_sales")
    assert mary.pull({"myapp.Customer": None})["data"] == []
    answer = mary.post("push/", {"data": [{"_model": "myapp.Customer", "id": one.pk, "name": "x"}]})
    assert answer.status_code == 400
    found = answer.json()
    assert found["results"][0]["code"] == "tenant"
    assert found["results"][0]["message"] == f"There is no row {one.pk}."
    assert Customer.objects.get().name == "John Doe"
    answer = world.api("bob_analyst").post("push/", {"data": [customer(world)]})
    assert answer.status_code == 403
    assert answer.json()["errors"] == [
        "User bob_analyst does not have push permission for myapp.Customer in City University"
    ]


def test_a_filter_shows_mary_her_customers_and_lets_her_write_no_others(world: World) -> None:
    mary = world.users["mary_sales"]
    DataFilter.objects.create(
        organization=world.retail,
        group=mary.user_organizations.get().group,
        model_name="myapp.Customer",
        filter_name="hers",
        filter_condition={"field": "assigned_manager_id", "operator": "exact", "value": mary.pk},
    )
    hers = Customer.objects.create(organization=world.retail, name="hers", assigned_manager=mary)
    other = Customer.objects.create(organization=world.retail, name="other")
    api = world.api("mary_sales")
    assert [row["id"] for row in api.pull({"myapp.Customer": None})["data"]] == [hers.pk]
    found = api.push({"_model": "myapp.Customer", "id": other.pk, "name": "mine"})
    assert found["results"][0]["code"] == "not_found"
    found = api.push({"_model": "myapp.Customer", "id": hers.pk, "assigned_manager_id": None})
    assert found["results"][0]["code"] == "permission"
    found = api.push({"_model": "myapp.Customer", "name": "new one"})
    assert found["results"][0]["code"] == "permission"
    found = api.push({"_model": "myapp.Customer", "id": hers.pk, "name": "better"})
    assert found["status"] == "success"
    assert set(Customer.objects.values_list("name", flat=True)) == {"better", "other"}


def test_the_analyst_s_report_is_pushed(world: World) -> None:
    world.grant(world.city, "Analysts", "myapp.Report", "push", "create")
    found = world.api("bob_analyst").push(
        {
            "_model": "myapp.Report",
            "customer_id": 1,
            "report_type": "Sales Analysis",
            "results": {"total": 12.5, "by_month": [1, 2, None]},
        }
    )
    assert found["status"] == "success", found
    report = Report.objects.get()
    assert (report.organization, report.results) == (
        world.city,
        {"total": 12.5, "by_month": [1, 2, None]},
    )


def test_last_sync_is_a_time_that_no_other_place_has(world: World) -> None:
    api = world.api("john_manager")
    stamps = set()
    for number in range(4):
        api.push(customer(world, name=f"c{number}"))
        found = api.pull({"myapp.Customer": None, "myapp.Order": None}, batch_size=2)
        stamps |= {told["last_sync"] for told in found["metadata"].values()}
    assert all(timezone.datetime.fromisoformat(stamp) for stamp in stamps)
    assert len(stamps) >= 5
