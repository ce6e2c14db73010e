"""The sync log and the series: each figure moves with what it counts, is kept, and thins out."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
import pytest

from reunite import Hub, Principal
from reunite.engine.remembered import SeriesRecord, SyncRecord, moment_id
from reunite.errors import StorageUnavailableError, UnknownReplicaError
from reunite.metering import (
    CLASS_FACTOR,
    GRAINS,
    SYNCS_KEPT_MAX,
    SYNCS_KEPT_MS,
    Figures,
    class_end_ms,
    class_of,
)
from tests.console.conftest import World
from tests.integration.live_helpers import LiveReplica


def drain(world: World) -> None:
    """As if a minute of the meter's own had gone by."""
    meter = world.hub.workings.meter
    meter._pruned_at = float("-inf")
    meter.flush()


def test_a_push_and_what_it_brings_others_are_in_the_log(world: World) -> None:
    owner = world.owner()
    till, depot = world.replica("till", user="ann"), world.replica("depot", user="bob")
    before = owner.get("sync")["counts"]["total"]
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p1', 1), ('s2', 'p1', 1)")
        db.execute("update product set price = 4 where id = 'p1'")
    till.sync()
    depot.sync()
    found = owner.get("sync")
    assert found["counts"]["total"] == before + 3, "the push, and a pull of each"
    push = next(one for one in found["items"] if one["operation"] == "push")
    assert (push["changes"], push["applied"], push["refused"]) == (3, 3, 0)
    assert push["tables"] == {"sale": 2, "product": 1}
    assert (push["principal"], push["replica_name"], push["status"]) == ("ann", "till.db", "ok")
    assert push["at_ms"] == world.clock.now_ms()
    pull = found["items"][0]
    assert (pull["operation"], pull["principal"], pull["rows"]) == ("pull", "bob", 3)


def test_pulls_that_bring_nothing_are_counted_and_not_listed(world: World) -> None:
    owner = world.owner()
    till = world.replica("till")
    till.sync()
    listed = owner.get("sync")["counts"]["total"]
    pulls = owner.get("performance")["totals"]["pulls"]
    till.sync()
    assert owner.get("sync")["counts"]["total"] == listed
    assert owner.get("performance")["totals"]["pulls"] == pulls + 1


def test_refusals_and_errors_are_told_apart(world: World) -> None:
    owner = world.owner()
    till = world.replica("till")
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p2', 1)")
    world.write("delete from product where id = 'p2'")
    till.sync()
    found = owner.get("sync", status="refused")
    assert [one["refused"] for one in found["items"]] == [1]
    assert found["counts"]["refused"] == 1
    assert found["counts"]["errors"] == 0

    with pytest.raises(UnknownReplicaError):
        world.hub.answer("pull", b'{"protocol":1,"replica":"nobody","known":0}', principal())
    found = owner.get("sync", status="error")
    assert [one["code"] for one in found["items"]] == ["replica-unknown"]
    overview = owner.get("overview")
    assert overview["rates"]["errors"] == 1
    assert "errors" in {one["code"] for one in overview["warnings"]}


def principal() -> Any:
    return Principal(user="ann")


def test_the_log_is_filtered_and_read_in_parts_and_as_a_file(world: World) -> None:
    owner = world.owner()
    till = world.replica("till", user="=cmd")
    for price in range(5):
        world.clock.advance(1_000)
        with till.transaction() as db:
            db.execute("update product set price = ? where id = 'p1'", (price + 10,))
        till.sync()
    seen: list[str] = []
    after = None
    while True:
        part = owner.get("sync", operation="push", limit=2, **({"after": after} if after else {}))
        seen += [one["id"] for one in part["items"]]
        after = part["next"]
        if after is None:
            break
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    late = owner.get("sync", operation="push", since_ms=world.clock.now_ms())
    assert len(late["items"]) == 1
    assert len(owner.get("sync", operation="push", until_ms=world.clock.now_ms())["items"]) == 4
    file = owner.client.get("sync.csv", params={"operation": "push"})
    assert file.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert len(rows) == 5
    assert {row["principal"] for row in rows} == {"'=cmd"}, "no spreadsheet calculates it"


def test_series_have_a_point_for_each_stretch_and_none_where_nothing_was_noted(
    world: World,
) -> None:
    world.clock.advance(10_000 - world.clock.now_ms() % 10_000)
    owner = world.owner()
    till = world.replica("till")
    owner.get("performance")
    world.clock.advance(20_000)
    with till.transaction() as db:
        db.execute("update product set price = 4 where id = 'p1'")
    till.sync()
    found = owner.get("performance")
    assert found["step_s"] == 10
    assert found["times"][-1] == world.clock.now_ms() // 1_000 // 10 * 10
    assert found["series"]["pushes"][-3:] == [0, None, 1]
    assert found["series"]["changes"][-3:] == [0, None, 1]
    assert found["series"]["push_p95_ms"][-3] is None
    assert found["series"]["push_p95_ms"][-1] > 0
    assert found["series"]["database_bytes"][-1] > 0
    assert found["totals"]["pushes"] == 1
    assert all(len(values) == len(found["times"]) for values in found["series"].values())
    for longer, step in (("24h", 300), ("14d", 1_800), ("1y", 21_600)):
        other = owner.get("performance", range=longer)
        assert (other["step_s"], other["totals"]["pushes"]) == (step, 1)


def test_points_of_several_processes_are_added_up(world: World) -> None:
    owner = world.owner()
    at_s = world.clock.now_ms() // 1_000 // 10 * 10
    points = {"operations": {"push": {"count": 2, "changes": 7, "seconds": 0.2, "classes": {3: 2}}}}
    with world.hub.workings.store.write() as tx:
        for who in ("one", "two"):
            tx.put_record(
                SeriesRecord(
                    grain=10, at_s=at_s, who=who, points=msgspec.json.encode(points).decode()
                )
            )
    found = owner.get("performance")
    assert (found["totals"]["pushes"], found["totals"]["changes"]) == (4, 14)
    assert found["totals"]["push"]["mean_ms"] == 100.0
    assert found["totals"]["push"]["p50_ms"] == round(class_end_ms(3), 2)


def test_points_of_one_step_are_added_up_and_gauges_are_the_largest(world: World) -> None:
    owner = world.owner()
    step_s = 21_600
    at_s = world.clock.now_ms() // 1_000 // step_s * step_s - 10 * step_s
    with world.hub.workings.store.write() as tx:
        for hour, behind in ((0, 3), (1, 9), (5, 1), (6, 4)):
            points = {
                "operations": {"push": {"count": 1, "changes": 2, "seconds": 0.1}},
                "gauges": {"behind_max": behind},
            }
            text = msgspec.json.encode(points).decode()
            tx.put_record(
                SeriesRecord(grain=3_600, at_s=at_s + hour * 3_600, who="one", points=text)
            )
    found = owner.get("performance", range="1y")
    place = found["times"].index(at_s)
    assert found["series"]["pushes"][place : place + 3] == [3, 1, None]
    assert found["series"]["changes"][place : place + 2] == [6, 2]
    assert found["series"]["behind_max"][place : place + 2] == [9, 4]


def test_lag_is_of_what_was_sent_and_falls_with_a_sync(world: World) -> None:
    owner = world.owner()
    till, depot = world.replica("till"), world.replica("depot")
    world.write("update product set price = 9")
    till.sync()
    found = owner.get("performance")
    lag = [(one["name"], one["principal"], one["behind"]) for one in found["lag"]]
    assert lag == [("depot.db", "ann", 1)]
    world.clock.advance(10_000)
    found = owner.get("performance")
    assert found["series"]["behind_max"][-1] == 1
    depot.sync()
    assert owner.get("performance")["lag"] == []


def test_a_replica_on_a_stream_is_live_and_current(world: World) -> None:
    owner = world.owner()
    till = world.replica("till")
    with LiveReplica(till) as live:
        live.seen.until_phase("live")
        world.write("update product set price = 9")
        world.hub.number()
        live.until_rows("select price from product where id = 'p1'", [(9,)])
        (one,) = owner.get("replicas")["items"]
        assert (one["is_live"], one["behind"], one["state"]) == (True, 0, "current")


def test_old_points_and_entries_go(world: World) -> None:
    owner = world.owner()
    till = world.replica("till")
    till.sync()
    drain(world)
    world.clock.advance(GRAINS[10] * 1_000 + 20_000)
    drain(world)
    store = world.hub.workings.store
    with store.read() as tx:
        assert {one.at_s for one in tx.latest(SeriesRecord, grain=10, limit=9)} <= {
            world.clock.now_ms() // 1_000 // 10 * 10
        }
        assert tx.latest(SeriesRecord, grain=3_600, limit=9)
    world.clock.advance(SYNCS_KEPT_MS)
    drain(world)
    with store.read() as tx:
        assert tx.record_count(SyncRecord) == 0
    assert owner is not None


def test_the_log_keeps_only_so_many_entries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SYNCS_KEPT_MAX == 100_000
    monkeypatch.setattr("reunite.metering.SYNCS_KEPT_MAX", 10)
    world.owner()
    now_ms = world.clock.now_ms()
    with world.hub.workings.store.write() as tx:
        for n in range(30):
            at_ms = now_ms - n * 60_000
            tx.put_record(
                SyncRecord(
                    id=moment_id(at_ms, f"{n:08x}"),
                    at_ms=at_ms,
                    operation="push",
                    status="ok",
                    code="",
                    principal="ann",
                    tenant="",
                    replica="",
                    detail='{"ms":1}',
                )
            )
    drain(world)
    with world.hub.workings.store.read() as tx:
        kept = tx.latest(SyncRecord, limit=99)
        assert len(kept) in (9, 10)
        assert kept[0].at_ms == now_ms, "the newest stay"


def test_classes_hold_what_they_say() -> None:
    for seconds in (0.0001, 0.0005, 0.00051, 0.01, 0.5, 3.0, 60.0):
        number = class_of(seconds)
        assert seconds * 1_000 <= class_end_ms(number) * (1 + 1e-9) or number == 60
        if 0 < number < 60:
            assert seconds * 1_000 > class_end_ms(number) / CLASS_FACTOR * (1 - 1e-9)
    total = Figures(count=1, rows_max=3, classes={1: 1})
    total.add(Figures(count=2, rows_max=2, classes={1: 1, 2: 1}))
    assert (total.count, total.rows_max, total.classes) == (3, 3, {1: 2, 2: 1})


def test_a_hub_without_a_console_notes_nothing(world: World) -> None:
    with Hub(world.file) as hub:
        hub.adopt()
        meter = hub.workings.meter
        with meter.use("push", principal()) as use:
            assert type(use).__name__ == "_NoUse"
        meter.flush()
    with world.hub.workings.store.read() as tx:
        assert tx.record_count(SyncRecord) == 0


def test_what_cannot_be_written_now_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = world.owner()
    store, meter = world.hub.workings.store, world.hub.workings.meter

    def locked() -> Any:
        raise StorageUnavailableError("It is locked for the moment.")

    till = world.replica("till")
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", locked)
        with pytest.raises(StorageUnavailableError):
            meter._flush()
        meter.flush()
    assert owner.get("sync")["counts"]["total"] >= 2, "registered, and cloned"
    assert till is not None
