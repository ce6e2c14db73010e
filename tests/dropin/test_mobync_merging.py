"""Corners of the merge: what one call folds, rows that are made twice, and rows that return."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.dropin.mobync import InMemorySynchronizer, Mobync, Synchronizer
from tests.dropin.mobync_world import MODEL, OWNER, Device, diff, log, rows, without_nulls


def contents(diffs: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(one["type"], json.loads(one["json_data"])) for one in diffs]


def test_what_one_call_does_to_a_row_reaches_others_as_one_diff(
    synchronizer: Synchronizer,
) -> None:
    mobync = Mobync(synchronizer)
    sent = [
        diff("create", "uuid1", field1="a"),
        diff("update", "uuid1", field1="b"),
        diff("update", "uuid1", field2="c"),
        diff("create", "uuid2", field1="d"),
        diff("delete", "uuid2"),
    ]
    for _ in range(2):
        mobync.apply(0, sent, OWNER)
    assert contents(mobync.apply(0, [], OWNER)["diffs"]) == [
        ("create", {"id": "uuid1", "field1": "b", "field2": "c"})
    ]
    mobync.apply(1, [diff("update", "uuid1", field1=value) for value in ("x", "y")], OWNER)
    assert contents(mobync.apply(1, [], OWNER)["diffs"]) == [
        ("update", {"id": "uuid1", "field1": "y"})
    ]
    assert len(log(synchronizer)) == len(sent) + 2, "each diff is known when it comes again"


def test_a_value_keeps_its_kind_when_diffs_are_folded() -> None:
    synchronizer = InMemorySynchronizer([MODEL])
    sent = [diff("create", "uuid1", done=1), diff("update", "uuid1", done=True)]
    Mobync(synchronizer).apply(0, sent, OWNER)
    assert rows(synchronizer)["uuid1"]["done"] is True


def test_a_row_that_both_made_is_merged(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    a, b, c = Device(mobync), Device(mobync), Device(mobync)
    a.edit("create", "uuid1", at=2000, field1="of A", field2="of A")
    b.edit("create", "uuid1", at=1000, field1="of B", field3="of B")
    for device in (a, b, a, c):
        device.sync()
    expected = {"uuid1": {"field1": "of A", "field2": "of A", "field3": "of B"}}
    assert a.rows == b.rows == c.rows == without_nulls(rows(synchronizer)) == expected
    assert [one["lost"] for one in b.conflicts] == [{"field1": "of B"}]


def test_the_same_value_from_both_is_no_conflict(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1", field1="0")], OWNER)
    for at, value in ((1000, "x"), (3000, "x"), (2000, "y")):
        answer = mobync.apply(1, [diff("update", "uuid1", at=at, field1=value)], OWNER)
        assert ("conflicts" in answer) == (value == "y")
    assert rows(synchronizer)["uuid1"]["field1"] == "x", "it was set at 3000, too"


def test_a_deleted_row_may_be_made_again(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    a, b, c = Device(mobync), Device(mobync), Device(mobync)
    a.edit("create", "uuid1", field1="first", field2="first")
    for device in (a, b, c):
        device.sync()
    a.edit("delete", "uuid1")
    a.edit("create", "uuid1", field1="second")
    a.sync()
    b.edit("update", "uuid1", at=9000, field2="late")
    c.edit("delete", "uuid1")
    for device in (b, c, a):
        device.sync()
    expected = {"uuid1": {"field1": "second"}}
    assert a.rows == b.rows == c.rows == without_nulls(rows(synchronizer)) == expected
    assert [one["lost"] for one in b.conflicts] == [{"field2": "late"}]
    assert c.conflicts == [], "it deleted the row that was there before"


def test_two_deletes_are_one(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    a, b = Device(mobync), Device(mobync)
    a.edit("create", "uuid1", field1="0")
    a.sync()
    b.sync()
    a.edit("delete", "uuid1")
    b.edit("delete", "uuid1")
    a.sync()
    b.sync()
    assert a.rows == b.rows == rows(synchronizer) == {}
    assert a.conflicts == b.conflicts == []


def test_a_delete_may_name_the_whole_row(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1", field1="0")], OWNER)
    whole = diff("delete", "uuid1", field1="0")
    mobync.apply(1, [whole], OWNER)
    assert rows(synchronizer) == {}
    assert log(synchronizer)[-1] == whole


def test_a_call_that_names_one_id_twice(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    twice = diff("create", "uuid1", field1="0")
    mobync.apply(0, [twice, dict(twice)], OWNER)
    assert len(log(synchronizer)) == 1
    other = diff("create", "uuid2", id="shared")
    with pytest.raises(Exception, match="inconsistent Diff"):
        mobync.apply(1, [other, other | {"utc_timestamp": 1}], OWNER)


def test_what_an_older_version_logged_is_read(synchronizer: Synchronizer) -> None:
    """The original did not look into `json_data`."""
    made = diff("create", "uuid1", field1="0")
    synchronizer.create(MODEL, made["json_data"])
    synchronizer.create("diffs", json.dumps(made))
    if synchronizer.__class__.__name__ == "Implementation":  # the others cannot hold it
        bad = diff("update", "uuid1") | {"json_data": "not json", "logical_clock": 0}
        synchronizer.create("diffs", json.dumps(bad))
    device = Device(Mobync(synchronizer))
    device.sync()
    assert device.rows == {"uuid1": {"field1": "0"}}
    device.edit("update", "uuid1", field1="1")
    device.sync()
    assert rows(synchronizer)["uuid1"]["field1"] == "1"


def test_a_device_that_made_no_sense_gets_the_row_all_the_same() -> None:
    """It updated a row that it had deleted, and then somebody made one of that id."""
    synchronizer = InMemorySynchronizer([MODEL])
    mobync = Mobync(synchronizer)
    device, other = Device(mobync), Device(mobync)
    device.edit("create", "row")
    device.edit("delete", "row")
    device.edit("update", "row", f=1)
    device.call()
    other.edit("create", "row", f=2)
    other.sync()
    device.sync()
    assert device.rows == other.rows == rows(synchronizer) == {"row": {"f": 2}}


def test_two_rows_of_one_id_that_say_the_same_are_no_conflict_when_told_again() -> None:
    synchronizer = InMemorySynchronizer([MODEL])
    mobync = Mobync(synchronizer)
    first, second = Device(mobync), Device(mobync)
    first.edit("delete", "row")
    first.edit("create", "row", at=1001, f=0)
    first.sync()
    second.edit("create", "row", at=1000, f=0)
    answer = second.call()
    assert "conflicts" not in answer
    assert second.call() == answer


TYPES = st.sampled_from(["create", "update", "update", "delete"])
VALUES = st.dictionaries(st.sampled_from(["f", "g"]), st.sampled_from([0, 1, True, None, "x"]))
CALLS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(TYPES, st.integers(0, 1), st.integers(0, 3), VALUES), max_size=4),
        st.sampled_from(["heard", "lost", "twice"]),
    ),
    max_size=12,
)


@given(calls=CALLS)
def test_any_diffs_in_any_calls_end_with_the_same_rows(
    calls: list[tuple[int, list[tuple[str, int, int, dict[str, Any]]], str]],
) -> None:
    """Also diffs that make no sense: updates of rows that are not there, rows made twice."""
    synchronizer = InMemorySynchronizer([MODEL])
    mobync = Mobync(synchronizer)
    devices = [Device(mobync) for _ in range(3)]
    told: list[str] = []
    for number, edits, hears in calls:
        device = devices[number]
        for type_, row, at, values in edits:
            if type_ == "create" and f"row{row}" in device.rows:
                type_ = "update"
            device.edit(type_, f"row{row}", at=at, **values)
        sent = [one["id"] for one in device.pending]
        first = device.call()
        if hears == "twice":
            assert device.call() == first
        if hears != "lost":
            device.hear(first)
        told += sent
    for device in devices * 2:
        device.sync()
    for device in devices:
        assert device.rows == rows(synchronizer)
    logged = [one["id"] for one in log(synchronizer)]
    assert sorted(logged) == sorted(set(told)), "each diff is in the log, and once"
