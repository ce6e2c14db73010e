"""The acceptance scenarios of mobync (MO-S1 to MO-S9), on every kind of synchronizer."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from reunite.dropin.mobync import Diff, Mobync, Synchronizer, Unauthorized
from tests.dropin.conftest import SqlSynchronizer
from tests.dropin.mobync_world import OWNER, Device, diff, log, rows, without_nulls


def server(synchronizer: Synchronizer) -> dict[str, dict[str, Any]]:
    return without_nulls(rows(synchronizer))


def two_devices_meet(synchronizer: Synchronizer, *, times: int) -> None:
    mobync = Mobync(synchronizer)
    d1 = diff("create", "uuid1", field1="a")
    d2 = diff("create", "uuid2", field1="b")
    d2["logical_clock"] = 1
    d3 = diff("create", "uuid3", field1="c")
    d4 = diff("update", "uuid1", field1="x")
    d5 = diff("delete", "uuid3")
    steps = [
        (0, [d1], 1, [], [d1]),
        (0, [d3], 2, [d1], [d1, d3]),
        (1, [d2], 3, [d3], [d1, d3, d2]),
        (2, [], 3, [d2], [d1, d3, d2]),
        (3, [d4], 4, [], [d1, d3, d2, d4]),
        (3, [], 4, [d4], [d1, d3, d2, d4]),
        (4, [d5], 5, [], [d1, d3, d2, d4, d5]),
        (4, [], 5, [d5], [d1, d3, d2, d4, d5]),
    ]
    for clock, sent, next_clock, received, logged in steps:
        for _ in range(times):
            assert mobync.apply(clock, sent, OWNER) == {
                "success": True,
                "message": "",
                "logical_clock": next_clock,
                "diffs": received,
            }
            assert log(synchronizer) == logged
    assert server(synchronizer) == {"uuid1": {"field1": "x"}, "uuid2": {"field1": "b"}}
    assert [one["logical_clock"] for one in (d1, d3, d2, d4, d5)] == [0, 1, 2, 3, 4]


def test_s1_two_devices(synchronizer: Synchronizer) -> None:
    two_devices_meet(synchronizer, times=1)


def test_s3_every_call_sent_twice(synchronizer: Synchronizer) -> None:
    two_devices_meet(synchronizer, times=2)


def test_s1_and_s3_on_postgresql(on_postgresql: SqlSynchronizer) -> None:
    two_devices_meet(on_postgresql, times=2)


def test_s2_protocol(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    with pytest.raises(Exception, match="Tried to instantiate an inconsistent Diff"):
        mobync.apply(0, [{}], OWNER)
    with pytest.raises(Exception, match="Unauthorized action by the business logic"):
        mobync.apply(0, [diff("create", "uuid1", field1="a", owner="somebody")], OWNER)
    for type_ in ("create", "update", "delete"):
        made = diff(type_, "uuid1", field1="a")
        assert Diff.validate(made)
        assert getattr(synchronizer, f"validate_{type_}")(OWNER, **made)

    synchronizer.create("model1", json.dumps({"id": "uuid1", "field1": "a"}))
    assert server(synchronizer) == {"uuid1": {"field1": "a"}}
    synchronizer.update("model1", json.dumps({"id": "uuid1", "field1": "b"}))
    assert server(synchronizer) == {"uuid1": {"field1": "b"}}
    synchronizer.delete("model1", json.dumps({"id": "uuid1"}))
    assert server(synchronizer) == {}

    done = []
    for type_, values, left in (
        ("create", {"field1": "a"}, {"uuid1": {"field1": "a"}}),
        ("update", {"field1": "b"}, {"uuid1": {"field1": "b"}}),
        ("delete", {}, {}),
    ):
        done.append(diff(type_, "uuid1", **values))
        mobync.apply(len(done) - 1, [done[-1]], OWNER)
        assert log(synchronizer) == done
        assert server(synchronizer) == left


@pytest.fixture
def devices(synchronizer: Synchronizer) -> Iterator[tuple[Device, Device]]:
    """Two devices that have the row uuid1 from one clock; in the end all have the same rows."""
    mobync = Mobync(synchronizer)
    a, b = Device(mobync), Device(mobync)
    a.edit("create", "uuid1", field1="0", field2="0")
    a.sync()
    b.sync()
    yield a, b
    for device in (a, b, a, b):
        device.sync()
    assert a.rows == b.rows == server(synchronizer)


def test_s4_late_older_edit(devices: tuple[Device, Device]) -> None:
    a, b = devices
    a.edit("update", "uuid1", at=2000, field1="of A")
    late = b.edit("update", "uuid1", at=1000, field1="of B")
    for device in (a, b, a, b):
        device.sync()
    assert a.rows == b.rows == {"uuid1": {"field1": "of A", "field2": "0"}}
    assert a.conflicts == []
    (conflict,) = b.conflicts
    assert conflict.items() >= late.items()
    assert (conflict["code"], conflict["lost"], conflict["kept"]) == (
        "overwritten", {"field1": "of B"}, {"field1": "of A"},
    )  # fmt: skip


def test_a_later_edit_wins_and_the_earlier_one_is_the_conflict(
    devices: tuple[Device, Device],
) -> None:
    a, b = devices
    early = a.edit("update", "uuid1", at=1000, field1="of A", field2="of A")
    b.edit("update", "uuid1", at=2000, field1="of B")
    for device in (a, b, a, b):
        device.sync()
    assert a.rows == b.rows == {"uuid1": {"field1": "of B", "field2": "of A"}}
    (conflict,) = b.conflicts
    assert (conflict["id"], conflict["lost"]) == (early["id"], {"field1": "of A"})


def test_the_higher_id_wins_at_the_same_time(devices: tuple[Device, Device]) -> None:
    a, b = devices
    a.edit("update", "uuid1", field1="of A")
    b.edit("update", "uuid1", field1="of B")  # ids of diffs rise
    b.sync()
    a.sync()
    assert a.rows["uuid1"]["field1"] == "of B"
    assert [one["lost"] for one in a.conflicts] == [{"field1": "of A"}]


def test_s5_different_fields(devices: tuple[Device, Device]) -> None:
    a, b = devices
    a.edit("update", "uuid1", field1="of A")
    b.edit("update", "uuid1", field2="of B")
    for device in (a, b, a):
        device.sync()
    assert a.rows == b.rows == {"uuid1": {"field1": "of A", "field2": "of B"}}
    assert a.conflicts == b.conflicts == []


def test_s6_delete_against_update(devices: tuple[Device, Device]) -> None:
    a, b = devices
    a.edit("delete", "uuid1")
    refused = b.edit("update", "uuid1", at=9000, field1="of B")
    a.sync()
    b.sync()
    assert a.rows == b.rows == {}
    (conflict,) = b.conflicts
    assert conflict["json_data"] == refused["json_data"]
    assert (conflict["code"], conflict["lost"], conflict["kept"]) == (
        "deleted", {"field1": "of B"}, None,
    )  # fmt: skip


def test_s6_the_delete_stands_when_it_comes_second_too(devices: tuple[Device, Device]) -> None:
    a, b = devices
    b.edit("update", "uuid1", at=9000, field1="of B")
    a.edit("delete", "uuid1")
    b.sync()
    a.sync()
    b.sync()
    assert a.rows == b.rows == {}
    assert [one["lost"] for one in a.conflicts] == [{"field1": "of B"}]


@pytest.mark.parametrize("change", ["update", "delete", "create"])
def test_s7_nobody_touches_anothers_rows(synchronizer: Synchronizer, change: str) -> None:
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1", owner="alice", field1="a")], "alice")
    before = (rows(synchronizer), log(synchronizer))
    for attack in (
        diff("create", "uuid2", owner="alice", field1="m"),
        diff(change, "uuid1", owner="mallory", field1="m"),
        diff("create", "uuid9", owner="mallory", model="diffs") | {"logical_clock": 99},
        diff("create", "uuid3", owner="mallory", id=before[1][0]["id"], field1="m"),
    ):
        with pytest.raises(Unauthorized):
            mobync.apply(0, [diff("create", "mine", owner="mallory"), attack], "mallory")
        assert (rows(synchronizer), log(synchronizer)) == before
    assert mobync.apply(0, [], "alice")["logical_clock"] == 1
    assert mobync.apply(0, [], "mallory") == {
        "success": True, "message": "", "logical_clock": 0, "diffs": [],
    }  # fmt: skip
