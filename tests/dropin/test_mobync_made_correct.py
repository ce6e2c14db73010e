"""What was wrong in mobync 0.2 and is right here, one test a defect (MO-1 to MO-14)."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from reunite.dropin.mobync import (
    Diff,
    InconsistentClock,
    InconsistentDiff,
    InMemorySynchronizer,
    Mobync,
    SqlSynchronizer,
    Synchronizer,
    Unauthorized,
    UnknownField,
    UnknownModel,
    diffs_table,
)
from tests.dropin.mobync_world import (
    MODEL,
    OWNER,
    Device,
    Implementation,
    at_once,
    diff,
    log,
    rows,
    without_nulls,
)


class Stumbling(Implementation):
    """Refuses to create one row, until it does not."""

    stumbles = True

    def create(self, where: str, data_json: str) -> object:
        if self.stumbles and where == MODEL and json.loads(data_json)["id"] == "uuid3":
            raise RuntimeError("The disk is full.")
        return super().create(where, data_json)


def test_mo1_a_call_sent_again_changes_nothing(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    first = diff("create", "uuid1", field1="a")
    for clock in (0, 0, 1):  # also from a device that has heard the answer, and forgot that
        answer = mobync.apply(clock, [first], OWNER)
        assert (answer["logical_clock"], answer["diffs"]) == (1, [])
        assert (len(rows(synchronizer)), log(synchronizer)) == (1, [first])


def test_mo1_what_follows_a_lost_answer_is_new(synchronizer: Synchronizer) -> None:
    device = Device(Mobync(synchronizer))
    device.edit("create", "uuid1", field1="a")
    device.call()
    device.edit("update", "uuid1", field1="b")
    device.sync()
    assert rows(synchronizer)["uuid1"]["field1"] == "b"
    assert len(log(synchronizer)) == 2


def test_mo1_a_lost_answer_tells_its_conflicts_again(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    a, b = Device(mobync), Device(mobync)
    for row in ("uuid1", "uuid2", "uuid3"):
        a.edit("create", row, field1="0")
    a.sync()
    b.sync()
    a.edit("update", "uuid1", at=2000, field1="of A")
    a.edit("delete", "uuid2")
    a.edit("update", "uuid3", at=2000, field1="of A")
    b.edit("update", "uuid1", at=1000, field1="of B")
    b.edit("update", "uuid2", field1="of B")
    b.edit("delete", "uuid3")
    a.sync()
    heard_first = b.call()
    assert len(heard_first["conflicts"]) == 3
    again = b.call()
    assert again["conflicts"] == heard_first["conflicts"]
    assert again["diffs"] == heard_first["diffs"]


def test_mo2_a_failing_call_leaves_nothing() -> None:
    synchronizer = Stumbling()
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "old", field1="0"), diff("create", "gone")], OWNER)
    before = (rows(synchronizer), log(synchronizer))
    sent = [
        diff("update", "old", field1="1", field2="new"),
        diff("delete", "gone"),
        diff("create", "uuid1"),
        diff("create", "uuid2"),
        diff("create", "uuid3"),
    ]
    with pytest.raises(RuntimeError, match="disk is full"):
        mobync.apply(1, sent, OWNER)
    assert (rows(synchronizer), log(synchronizer)) == before
    assert {one["logical_clock"] for one in sent} == {0}
    synchronizer.stumbles = False
    mobync.apply(1, sent, OWNER)
    assert set(rows(synchronizer)) == {"old", "uuid1", "uuid2", "uuid3"}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_mo2_a_transaction_leaves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    synchronizer: Any = (
        request.getfixturevalue("sqlite") if kind == "sqlite" else InMemorySynchronizer([MODEL])
    )
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "old", field1="0"), diff("create", "gone")], OWNER)
    before = (rows(synchronizer), log(synchronizer), synchronizer.row_owner(MODEL, "gone"))
    create = synchronizer.create

    def stumble(where: str, data_json: str) -> None:
        if json.loads(data_json)["id"] == "uuid3":
            raise RuntimeError("The disk is full.")
        create(where, data_json)

    synchronizer.create = stumble
    sent = [diff("update", "old", field1="1"), diff("delete", "gone")]
    sent += [diff("create", f"uuid{n}") for n in (1, 2, 3)]
    with pytest.raises(RuntimeError, match="disk is full"):
        mobync.apply(1, sent, OWNER)
    assert (
        rows(synchronizer), log(synchronizer), synchronizer.row_owner(MODEL, "gone")
    ) == before  # fmt: skip
    synchronizer.create = create
    mobync.apply(1, sent, OWNER)
    assert set(rows(synchronizer)) == {"old", "uuid1", "uuid2", "uuid3"}


def test_mo2_a_row_whose_diff_was_not_logged_is_gone_over_by_the_retry() -> None:
    """What a killed process leaves where there are no transactions."""
    synchronizer = Implementation()
    mobync = Mobync(synchronizer)
    device, other = Device(mobync), Device(mobync)
    made = device.edit("create", "uuid1", field1="a")
    synchronizer.create(MODEL, made["json_data"])
    device.sync()
    other.sync()
    assert rows(synchronizer) == device.rows == other.rows == {"uuid1": {"field1": "a"}}
    assert [one["type"] for one in log(synchronizer)] == ["create"]


# MO-3, MO-4: test_mobync_scenarios.py has the long stories.


def test_mo3_the_time_decides_and_not_the_arrival(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1", field1="0")], OWNER)
    mobync.apply(1, [diff("update", "uuid1", at=2000, field1="new")], OWNER)
    answer = mobync.apply(1, [diff("update", "uuid1", at=1000, field1="old")], OWNER)
    assert rows(synchronizer)["uuid1"]["field1"] == "new"
    assert [json.loads(one["json_data"])["field1"] for one in answer["diffs"]] == ["new"]
    assert [one["lost"] for one in answer["conflicts"]] == [{"field1": "old"}]


def test_mo4_an_update_of_a_deleted_row_is_told(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    device = Device(mobync)
    device.edit("create", "uuid1", field1="0")
    device.sync()
    mobync.apply(1, [diff("delete", "uuid1")], OWNER)
    late = device.edit("update", "uuid1", at=9000, field1="late")
    device.sync()
    assert rows(synchronizer) == device.rows == {}
    assert [(one["id"], one["lost"]) for one in device.conflicts] == [
        (late["id"], {"field1": "late"})
    ]
    other = Device(mobync)
    other.sync()
    assert other.rows == {}


def test_mo4_a_row_that_the_server_never_had_leaves_the_device(synchronizer: Synchronizer) -> None:
    device = Device(Mobync(synchronizer))
    device.rows["uuid1"] = {"field1": "0"}
    device.edit("update", "uuid1", field1="1")
    answer = device.call()
    assert device.call() == answer
    device.hear(answer)
    assert device.rows == {}
    assert [one["code"] for one in device.conflicts] == ["deleted"]


TRIALS = 30


def calls_at_the_same_moment(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    for trial in range(TRIALS):
        owner = f"owner{trial}"
        devices = [Device(mobync, owner=owner) for _ in range(2)]
        for number, device in enumerate(devices):
            device.edit("create", f"row{trial}-{number}", field1=str(number))
        at_once(*(device.sync for device in devices))
        for device in devices:
            device.sync()
        assert devices[0].rows == devices[1].rows
        assert len(devices[0].rows) == 2
        assert devices[0].clock == 2


def test_mo5_calls_at_the_same_moment_see_each_other(synchronizer: Synchronizer) -> None:
    calls_at_the_same_moment(synchronizer)


def test_mo5_on_postgresql(on_postgresql: SqlSynchronizer) -> None:
    calls_at_the_same_moment(on_postgresql)


def test_mo5_two_objects_on_one_database(on_postgresql: SqlSynchronizer) -> None:
    """As in two processes: nothing in memory is shared."""
    mobyncs = [Mobync(on_postgresql), Mobync(on_postgresql)]
    for trial in range(TRIALS):
        owner = f"owner{trial}"
        at_once(
            *(
                partial(mobync.apply, 0, [diff("create", f"{trial}-{n}", owner=owner)], owner)
                for n, mobync in enumerate(mobyncs)
            )
        )
        logged = [one for one in log(on_postgresql) if one["owner"] == owner]
        assert [one["logical_clock"] for one in logged] == [0, 1]


def test_mo6_owners_at_once_get_only_their_own(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    answers: dict[str, list[dict[str, Any]]] = {"ann": [], "bob": []}

    def work(owner: str) -> None:
        for trial in range(200):
            made = diff("create", f"{owner}{trial}", owner=owner, field1="a")
            answers[owner].append(mobync.apply(max(0, trial - 2), [made], owner))

    at_once(lambda: work("ann"), lambda: work("bob"))
    for owner, found in answers.items():
        assert {one["owner"] for answer in found for one in answer["diffs"]} == {owner}
        assert [answer["logical_clock"] for answer in found] == list(range(1, 201))


class Shared(InMemorySynchronizer):
    """Everybody may update the rows of "shared"."""

    def validate_update(self, owner_id: str, **kwargs: Any) -> bool:
        return kwargs["row_owner"] in {owner_id, "shared", None}


class Named(InMemorySynchronizer):
    def validate_update(self, owner_id: str, row_owner: str | None = None, **kwargs: Any) -> bool:
        return row_owner in {owner_id, "shared", None}


@pytest.mark.parametrize("kind", [Shared, Named])
def test_mo7_a_validator_that_looks_at_row_owner_may_allow_it(
    kind: Callable[[list[str]], Synchronizer],
) -> None:
    synchronizer = kind([MODEL])
    mobync = Mobync(synchronizer)
    for owner in ("shared", "alice"):
        mobync.apply(0, [diff("create", owner, owner=owner, field1="0")], owner)
    mobync.apply(0, [diff("update", "shared", owner="bob", field1="1")], "bob")
    assert rows(synchronizer)["shared"] == {"field1": "1"}
    for refused in (
        diff("update", "alice", owner="bob", field1="1"),
        diff("delete", "shared", owner="bob"),
    ):
        with pytest.raises(Unauthorized):
            mobync.apply(1, [refused], "bob")


UUID = "0190163d-8694-739b-aea5-966c26f8ad91"


@pytest.mark.parametrize(
    ("kind", "own", "others"),
    [
        (sa.Integer(), 1, ["1", " 1", "1.0", 1.0, True]),
        (sa.Text(), "1", [1]),
        (sa.Uuid(), UUID, [UUID.upper(), UUID.replace("-", "")]),
        (sa.Text(collation="NOCASE"), "abc", ["ABC"]),
    ],
)
def test_mo7_a_row_is_not_reached_by_another_spelling_of_its_id(
    tmp_path: Path, kind: sa.types.TypeEngine[Any], own: Any, others: list[Any]
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'server.db'}")
    metadata = sa.MetaData()
    table = sa.Table(
        MODEL, metadata, sa.Column("id", kind, primary_key=True), sa.Column("field1", sa.Text)
    )
    diffs = diffs_table(metadata)
    metadata.create_all(engine)
    mobync = Mobync(SqlSynchronizer(engine, {MODEL: table}, diffs))
    mobync.apply(0, [diff("create", own, owner="alice", field1="hers")], "alice")
    for other in others:
        for type_, values in (("update", {"field1": "his"}), ("delete", {})):
            with pytest.raises(InconsistentDiff):
                mobync.apply(0, [diff(type_, other, owner="mallory", **values)], "mallory")
    with engine.connect() as connection:
        assert connection.execute(sa.select(table.c.field1)).scalars().all() == ["hers"]
    engine.dispose()


def test_mo7_a_row_that_nobody_made_by_a_diff_is_everybodys(synchronizer: Synchronizer) -> None:
    synchronizer.create(MODEL, json.dumps({"id": "seed", "field1": "0"}))
    Mobync(synchronizer).apply(0, [diff("update", "seed", field1="1")], OWNER)
    assert rows(synchronizer)["seed"]["field1"] == "1"


def test_mo7_a_row_that_somebody_made_after_mine_was_deleted_is_theirs(
    synchronizer: Synchronizer,
) -> None:
    mobync = Mobync(synchronizer)
    mine, late = Device(mobync), Device(mobync)
    mine.edit("create", "uuid1", field1="mine")
    mine.sync()
    late.sync()
    mine.edit("delete", "uuid1")
    mine.sync()
    mobync.apply(0, [diff("create", "uuid1", owner="bob", field1="bobs")], "bob")
    late.edit("update", "uuid1", field1="late")
    late.sync()
    assert late.rows == {}
    assert [one["code"] for one in late.conflicts] == ["deleted"]
    assert rows(synchronizer)["uuid1"]["field1"] == "bobs"


class Counting(InMemorySynchronizer):
    """Counts the rows that are read."""

    rows_read = 0

    def read(self, where: str, filters: list[Any]) -> str:
        text = super().read(where, filters)
        self.rows_read += len(json.loads(text))
        return text


class CountingPlain(Counting):
    """The same with no more than mobync's seven methods."""

    last_clock = row_owner = page = lock = transaction = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Counting, CountingPlain])
def test_mo8_a_call_costs_what_is_sent_and_missed(kind: type[Counting]) -> None:
    synchronizer = kind([MODEL])
    mobync = Mobync(synchronizer)
    clock = 0
    for start in range(0, 3_000, 1_000):
        made = [diff("create", f"row{n}", field1="0") for n in range(start, start + 1_000)]
        clock = mobync.apply(clock, made, OWNER)["logical_clock"]
    for change in (
        [],
        [diff("create", "new", field1="0")],
        [diff("update", "row7", field1="1")],
        [diff("delete", "row8")],
    ):
        synchronizer.rows_read = 0
        answer = mobync.apply(clock, change, OWNER)
        assert synchronizer.rows_read <= 3
        clock = answer["logical_clock"]


def test_mo8_an_owners_long_log_is_nothing_to_another(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1", field1="0")], OWNER)
    assert mobync.apply(0, [], "bob") == {
        "success": True, "message": "", "logical_clock": 0, "diffs": [],
    }  # fmt: skip


def test_mo8_what_another_process_wrote_is_seen(synchronizer: Synchronizer) -> None:
    """What is remembered of the log is only where to read on from."""
    here, there = Mobync(synchronizer), Mobync(synchronizer)
    for turn, mobync in enumerate([here, there, here, there, here]):
        answer = mobync.apply(turn, [diff("create", f"row{turn}")], OWNER)
        assert answer["logical_clock"] == turn + 1
    there.apply(5, [diff("update", "row0", field1="1")], OWNER)
    assert len(here.apply(5, [], OWNER)["diffs"]) == 1
    assert [one["logical_clock"] for one in log(synchronizer)] == [0, 1, 2, 3, 4, 5]


def test_mo9_a_clock_from_the_future_is_refused(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1")], OWNER)
    with pytest.raises(InconsistentClock) as refused:
        mobync.apply(2, [diff("create", "uuid2")], OWNER)
    assert refused.value.code == "resync_needed"
    assert list(rows(synchronizer)) == ["uuid1"]
    assert mobync.apply("1", [], OWNER)["logical_clock"] == 1


@pytest.mark.parametrize("clock", [-1, "-3", "x", None, ""])
def test_a_clock_that_is_none_is_refused(clock: Any) -> None:
    with pytest.raises(
        InconsistentClock, match="Received an inconsistent logical clock"
    ) as refused:
        Mobync(Implementation()).apply(clock, [], OWNER)
    assert refused.value.code == "inconsistent-clock"


def test_mo10_an_unknown_model_is_refused(synchronizer: Synchronizer) -> None:
    with pytest.raises(UnknownModel):
        Mobync(synchronizer).apply(
            0, [diff("create", "uuid1"), diff("create", "uuid2", model="nothing")], OWNER
        )
    assert (rows(synchronizer), log(synchronizer)) == ({}, [])


def test_mo11_a_create_with_a_missing_field_is_refused() -> None:
    synchronizer = InMemorySynchronizer({MODEL: ["field1", "field2"]})
    mobync = Mobync(synchronizer)
    for refused in (
        diff("create", "uuid1", field1="a"),
        diff("create", "uuid1", field1="a", field2="b", field3="c"),
        diff("update", "uuid1", field3="c"),
    ):
        with pytest.raises(UnknownField):
            mobync.apply(0, [refused], OWNER)
    assert rows(synchronizer) == {}
    mobync.apply(0, [diff("create", "uuid1", field1="a", field2="b")], OWNER)
    assert rows(synchronizer) == {"uuid1": {"field1": "a", "field2": "b"}}


def test_mo12_a_limit_gives_whole_clocks(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    for clock in range(4):
        pair = [diff("create", f"row{clock}-{n}", field1="a") for n in range(2)]
        mobync.apply(clock, pair, OWNER)
    device, clocks = Device(mobync), []
    while True:
        answer = device.call(limit=3)
        device.hear(answer)
        clocks.append((answer["logical_clock"], len(answer["diffs"])))
        if not answer.get("has_more"):
            break
    assert clocks == [(2, 4), (4, 4)]
    assert device.rows == without_nulls(rows(synchronizer))
    with pytest.raises(Exception, match="one diff or more"):
        mobync.apply(0, [], OWNER, limit=0)


def test_mo12_a_page_reads_no_more_than_it_needs() -> None:
    synchronizer = Counting([MODEL])
    mobync = Mobync(synchronizer)
    for clock in range(100):
        mobync.apply(clock, [diff("create", f"row{clock}")], OWNER)
    synchronizer.rows_read = 0
    answer = mobync.apply(0, [], OWNER, limit=10)
    assert (len(answer["diffs"]), answer["logical_clock"], answer["has_more"]) == (10, 10, True)
    assert synchronizer.rows_read == 0, "pages have a method of their own"


def test_mo12_compacting_leaves_one_diff_a_row(synchronizer: Synchronizer) -> None:
    mobync = Mobync(synchronizer)
    writer, behind, fresh = Device(mobync), Device(mobync), Device(mobync)
    writer.edit("create", "uuid1", field1="0", field2="0")
    writer.edit("create", "uuid2", field1="0")
    writer.sync()
    behind.sync()
    for n in range(100):
        writer.edit("update", "uuid1", at=1000 + n, field1=str(n))
        writer.sync()
    writer.edit("delete", "uuid2")
    writer.sync()
    assert mobync.compact(OWNER, writer.clock) == 101
    assert [one["type"] for one in log(synchronizer)] == ["create", "delete"]
    behind.edit("update", "uuid1", at=5000, field2="late")
    for device in (fresh, behind, writer, fresh):
        device.sync()
    expected = {"uuid1": {"field1": "99", "field2": "late"}}
    assert writer.rows == behind.rows == fresh.rows == expected
    assert without_nulls(rows(synchronizer)) == expected


@pytest.mark.parametrize("times", [1, 2])
def test_mo12_what_was_folded_away_may_be_sent_again(
    synchronizer: Synchronizer, times: int
) -> None:
    """A device did not hear that its diffs were taken; others went on, and the log was folded."""
    mobync = Mobync(synchronizer)
    deaf, other = Device(mobync), Device(mobync)
    deaf.edit("create", "gone", field1="0")
    deaf.edit("create", "uuid1", at=5000, field1="0", field2="0")
    deaf.call()
    other.sync()
    other.edit("delete", "gone")
    other.edit("update", "uuid1", at=2000, field1="1")  # its clock is behind
    other.edit("create", "uuid2", field1="0")
    other.sync()
    for _ in range(times):
        mobync.compact(OWNER, other.clock)
        other.edit("update", "uuid1", at=3000, field2="2")
        other.sync()
    assert not any("folded" in one["json_data"] for one in Device(mobync).call()["diffs"])
    deaf.sync()
    other.sync()
    expected = {"uuid1": {"field1": "1", "field2": "2"}, "uuid2": {"field1": "0"}}
    assert deaf.rows == other.rows == expected
    assert without_nulls(rows(synchronizer)) == expected
    assert deaf.conflicts == other.conflicts == []


@pytest.mark.parametrize(
    "json_data",
    ["not json", "[]", "{}", '{"id": ""}', '{"id": null}', '{"id": true}', '{"id": 1.5}', "", None,
     '{"id": "a", "x": NaN}', '{"id": "a", "x": "\\ud800"}', "[" * 100_000, {"id": "a"}],
)  # fmt: skip
def test_mo13_json_data_is_an_object_that_names_a_row(json_data: Any) -> None:
    bad = diff("create", "uuid1") | {"json_data": json_data}
    assert Diff.validate(bad) is False
    with pytest.raises(InconsistentDiff):
        Mobync(Implementation()).apply(0, [bad], OWNER)


@pytest.mark.parametrize("type_", ["create", "update", "delete"])
def test_a_diff_of_each_type_with_and_without_data_is_valid(type_: str) -> None:
    for made in (diff(type_, "uuid1"), diff(type_, "uuid1", field1="a")):
        assert Diff.validate(made) is True
        assert Diff.validate(json.dumps(made)) is True


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", ""), ("id", 1), ("owner", None), ("model", ""), ("logical_clock", True),
     ("logical_clock", -1), ("utc_timestamp", "1"), ("utc_timestamp", 1.0), ("type", "CREATE"),
     ("type", 0), ("id", "\ud800")],
)  # fmt: skip
def test_a_diff_with_a_wrong_field_is_not_valid(field: str, value: object) -> None:
    assert Diff.validate(diff("create", "uuid1") | {field: value}) is False
    missing = diff("create", "uuid1")
    del missing[field]
    assert Diff.validate(missing) is False


@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.integers())))
def test_anything_else_is_not_valid(data: object) -> None:
    assert Diff.validate(data) is False


def test_mo14_a_wrong_synchronizer_is_refused() -> None:
    wrong: Any = object()
    with pytest.raises(Exception, match="synchronizer should be a subclass of Synchronizer, inst"):
        Mobync(wrong)


def test_a_time_of_any_size_is_compared() -> None:
    synchronizer = Implementation()
    mobync = Mobync(synchronizer)
    mobync.apply(0, [diff("create", "uuid1", field1="0")], OWNER)
    mobync.apply(1, [diff("update", "uuid1", at=10**30, field1="far")], OWNER)
    mobync.apply(1, [diff("update", "uuid1", at=9 * 10**29, field1="near")], OWNER)
    assert rows(synchronizer)["uuid1"]["field1"] == "far"
