"""`MobyncClient`: a file that any program edits, and one `sync`."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reunite.core.lens import Add, Remove, Rename
from reunite.dropin.mobync import (
    InMemorySynchronizer,
    Mobync,
    MobyncClient,
    Unauthorized,
    UnknownModel,
)
from reunite.errors import CallerError, ConstraintError, HubUnreachableError
from tests.dropin.mobync_world import MODEL, OWNER, rows

FIELDS = ["field1", "field2"]
Answer = dict[str, Any]


class World:
    """A server in memory, and devices whose answers may be lost on the way."""

    def __init__(self, folder: Path, models: Any = None) -> None:
        self.models = models or {MODEL: FIELDS}
        self.folder = folder
        self.begin()
        self.loses_answers = False
        self.on_the_way: Callable[[], object] = lambda: None
        self.opened = ExitStack()

    def begin(self) -> None:
        self.synchronizer = InMemorySynchronizer(list(self.models))
        self.mobync = Mobync(self.synchronizer)

    def device(self, name: str, **options: Any) -> MobyncClient:
        options = {"models": self.models, "owner": OWNER, "send": self.send} | options
        return self.opened.enter_context(MobyncClient(self.folder / f"{name}.db", **options))

    def send(self, body: Answer) -> Answer:
        options = {name: body[name] for name in ("limit", "version") if name in body}
        answer = self.mobync.apply(body["logical_clock"], body["diffs"], OWNER, **options)
        self.on_the_way()
        if self.loses_answers:
            raise HubUnreachableError("The answer is lost.")
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]

    def check(self, *devices: MobyncClient) -> None:
        """All have the rows of the server."""
        for device in devices * 2:
            device.sync()
        expected = rows(self.synchronizer)
        for device in devices:
            found = {
                row["id"]: {f: v for f, v in row.items() if f != "id" and v is not None}
                for row in device.rows(MODEL)
            }
            assert found == {
                row: {f: v for f, v in values.items() if v is not None}
                for row, values in expected.items()
            }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.opened:
        yield world


def test_two_devices_edit_apart_and_meet(world: World) -> None:
    a, b = world.device("a"), world.device("b")
    row = a.create(MODEL, {"field1": "0", "field2": "0"})
    assert a.sync().sent == 1
    assert b.sync().received == 1
    a.update(MODEL, row, {"field1": "of A"})
    b.update(MODEL, row, {"field2": "of B"})
    world.check(a, b)
    assert a.rows(MODEL) == [{"id": row, "field1": "of A", "field2": "of B"}]
    b.delete(MODEL, row)
    world.check(a, b)
    assert a.rows(MODEL) == []
    assert a.conflicts() == b.conflicts() == []


def test_another_program_writes_to_the_file(world: World, tmp_path: Path) -> None:
    device = world.device("a")
    device.create(MODEL, {"id": "1", "field1": "0"})
    with sqlite3.connect(tmp_path / "a.db") as other:
        other.execute("INSERT INTO model1 VALUES ('2', 'b', NULL)")
        other.execute("UPDATE model1 SET id = '3' WHERE id = '1'")
        other.execute("UPDATE model1 SET field1 = 'c' WHERE id = '2'")
    other.close()
    report = device.sync()
    assert report.sent == 2, "what one row went through is one diff"
    assert rows(world.synchronizer) == {
        "2": {"field1": "c", "field2": None},
        "3": {"field1": "0", "field2": None},
    }


def test_a_transaction_that_fails_sends_nothing(world: World) -> None:
    device = world.device("a")
    device.create(MODEL, {"id": "1"})

    def write_the_key_again() -> None:
        with device.transaction() as db:
            db.execute("INSERT INTO model1 (id) VALUES ('2')")
            db.execute("INSERT INTO model1 (id) VALUES ('1')")

    with pytest.raises(ConstraintError):
        write_the_key_again()
    device.sync()
    assert list(rows(world.synchronizer)) == ["1"]


def test_lost_answers_and_a_closed_file_lose_nothing(world: World) -> None:
    a, b = world.device("a"), world.device("b")
    row = a.create(MODEL, {"field1": "0"})
    world.loses_answers = True
    for value in ("1", "2"):
        with pytest.raises(HubUnreachableError):
            a.sync()
        a.update(MODEL, row, {"field1": value})
    a.close()
    world.loses_answers = False
    a = world.device("a")
    world.check(a, b)
    assert b.rows(MODEL)[0]["field1"] == "2"


def test_what_is_written_during_a_sync_stays_on_top(world: World) -> None:
    a, b = world.device("a"), world.device("b")
    row = a.create(MODEL, {"field1": "0", "field2": "0"})
    world.check(a, b)
    a.update(MODEL, row, {"field1": "of A", "field2": "of A"})
    a.sync()

    def write() -> None:
        world.on_the_way = lambda: None
        b.update(MODEL, row, {"field1": "x"})
        b.update(MODEL, row, {"field1": "0"})  # back to what it was before the answer
        b.create(MODEL, {"id": "new"})

    world.on_the_way = write
    b.sync()
    assert b.rows(MODEL) == sorted(
        [{"id": "new", "field1": None, "field2": None},
         {"id": row, "field1": "0", "field2": "of A"}], key=lambda found: str(found["id"])
    )  # fmt: skip
    world.check(a, b)
    assert {found["field1"] for found in a.rows(MODEL)} == {None, "0"}


def test_a_loss_is_kept_until_it_is_forgotten(world: World) -> None:
    a, b = world.device("a"), world.device("b")
    row = a.create(MODEL, {"field1": "0"})
    world.check(a, b)
    a.delete(MODEL, row)
    b.update(MODEL, row, {"field1": "late"})
    world.check(a, b)
    assert [one["lost"] for one in b.conflicts()] == [{"field1": "late"}]
    b.forget_conflicts()
    assert b.conflicts() == []


def test_a_server_that_lost_its_log_is_read_anew(world: World) -> None:
    a, b = world.device("a"), world.device("b")
    a.create(MODEL, {"id": "lost", "field1": "0"})
    a.create(MODEL, {"id": "old", "field1": "0"})
    world.check(a, b)
    world.begin()
    waiting = b.create(MODEL, {"field1": "waits"})
    b.update(MODEL, "old", {"field1": "changed"})
    world.check(b)
    assert [row["id"] for row in b.rows(MODEL)] == [waiting]
    assert [one["lost"] for one in b.conflicts()] == [{"field1": "changed"}]


def test_pages_are_applied_together(world: World) -> None:
    a, b = world.device("a"), world.device("b", limit=2)
    for n in range(7):
        a.create(MODEL, {"field1": str(n)})
        a.sync()
    b.create(MODEL, {"field1": "of B"})
    report = b.sync()
    assert len(b.rows(MODEL)) == 8
    assert report.received >= 7
    world.check(a, b)


def test_typed_columns_hold_booleans_and_json(tmp_path: Path) -> None:
    models = {MODEL: {"done": "BOOLEAN", "tags": "JSON", "note": "TEXT", "size": "REAL"}}
    world = World(tmp_path, models)
    values = {"done": True, "tags": ["a", {"b": None}], "note": "[1]", "size": 1.5}
    with world.opened:
        a, b = world.device("a"), world.device("b")
        row = a.create(MODEL, values)
        a.sync()
        assert rows(world.synchronizer) == {row: values}
        b.sync()
        assert b.rows(MODEL) == [{"id": row, **values}]
        b.update(MODEL, row, {"done": False, "tags": {}})
        world.check(a, b)
        assert a.rows(MODEL)[0]["done"] is False


def test_a_refusal_is_raised_and_nothing_is_lost(world: World) -> None:
    device = world.device("a", owner="somebody")
    device.create(MODEL, {"field1": "0"})
    for _ in range(2):
        with pytest.raises(Unauthorized):
            device.sync()


def test_a_diff_that_is_refused_for_good_is_dropped_and_the_rest_goes_on(world: World) -> None:
    a, b = world.device("a"), world.device("b")
    row = a.create(MODEL, {"field1": "0", "field2": "0"})
    world.check(a, b)

    def allows(owner_id: str, **asked: Any) -> bool:
        return "forbidden" not in asked["json_data"]

    world.synchronizer.validate_update = allows  # type: ignore[method-assign]
    a.update(MODEL, row, {"field1": "forbidden"})
    with pytest.raises(Unauthorized):
        a.sync()
    b.update(MODEL, row, {"field2": "of B"})
    b.sync()
    new = a.create(MODEL, {"field1": "new"})
    with pytest.raises(Unauthorized) as refusal:
        a.sync()
    refused, waits = a.waiting()
    assert refusal.value.diff_id == refused["id"] != waits["id"]
    assert a.drop(refused["id"]) == refused
    assert a.waiting() == [waits]
    with pytest.raises(CallerError, match="No diff"):
        a.drop(refused["id"])
    a.update(MODEL, new, {"field2": "since"})
    world.check(a, b)
    assert {each["id"]: (each["field1"], each["field2"]) for each in a.rows(MODEL)} == {
        row: ("0", "of B"), new: ("new", "since")
    }  # fmt: skip
    (kept,) = a.conflicts()
    assert (kept["code"], kept["lost"]) == ("dropped", {"field1": "forbidden"})
    assert a.sync().received == 0, "it reads all anew once"


def test_a_dropped_diff_that_the_server_had_taken_stays_taken(world: World) -> None:
    device = world.device("a")
    device.create(MODEL, {"id": "1", "field1": "0"})
    world.loses_answers = True
    with pytest.raises(HubUnreachableError):
        device.sync()
    world.loses_answers = False
    device.drop(device.waiting()[0]["id"])
    world.check(device)
    assert [row["id"] for row in device.rows(MODEL)] == ["1"]


def test_a_model_that_the_server_lacks(world: World) -> None:
    device = world.device("a", models={"other": ["field1"]})
    device.create("other", {"field1": "0"})
    with pytest.raises(UnknownModel):
        device.sync()


def test_an_unknown_model_or_field_is_refused_on_the_device(world: World) -> None:
    device = world.device("a")
    with pytest.raises(CallerError, match="no model 'nothing'"):
        device.rows("nothing")
    with pytest.raises(CallerError, match="no field 'wrong'"):
        device.create(MODEL, {"wrong": 1})
    with pytest.raises(CallerError, match="`url` or a `send`"):
        world.device("b", url="http://localhost/sync")


@pytest.mark.parametrize(
    "values",
    [{"id": ""}, {"id": 1.5}, {"id": None}, {"id": True}, {"field1": float("inf")},
     {"field1": float("nan")}, {"field1": b"x"}, {"field1": [float("nan")]}, {"field1": "\ud800"}],
)  # fmt: skip
def test_what_no_diff_can_say_is_refused_on_the_device(world: World, values: Answer) -> None:
    device = world.device("a")
    with pytest.raises((CallerError, ConstraintError)):
        device.create(MODEL, values)
    device.create(MODEL, {"id": "r1"})
    with pytest.raises((CallerError, ConstraintError)):
        device.update(MODEL, "r1", values)
    world.check(device)


@pytest.mark.parametrize(
    "row", ["'', 'x'", "1.5, 'x'", "'q', 9e999", "'q', -9e999", "'q', x'00ff'", "null, 'x'"]
)
def test_a_program_that_writes_what_no_diff_can_say_is_told_at_once(
    world: World, tmp_path: Path, row: str
) -> None:
    device = world.device("a")
    device.create(MODEL, {"id": "r1", "field1": "a"})
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        with pytest.raises(sqlite3.Error):
            db.execute(f"insert into {MODEL} (id, field1) values ({row})")
        with pytest.raises(sqlite3.Error):
            db.execute(f"update {MODEL} set (id, field1) = ({row})")
    world.check(device)
    device.delete(MODEL, "r1")
    world.check(device)


def test_texts_and_json_of_other_programs_that_are_none_keep_nothing_back(tmp_path: Path) -> None:
    world = World(tmp_path, {MODEL: {"field1": "TEXT", "field2": "JSON"}})
    with world.opened:
        device = world.device("a")
        for number, odd in enumerate(("NaN", "[1e999]", "[" * 2_000, '"\\ud800"')):
            with device.transaction() as db:
                db.execute(f"insert into {MODEL} values (?, cast(x'61ff' as text), ?)",
                           (f"r{number}", odd))  # fmt: skip
        device.sync()
        found = rows(world.synchronizer)
        assert {values["field1"] for values in found.values()} == {"a\ufffd"}
        assert found["r0"]["field2"] == "NaN"
        assert len(found) == 4


def test_a_renamed_and_a_removed_field(tmp_path: Path) -> None:
    """The limitation that mobync's README names: an old device goes on beside a new one."""
    world = World(tmp_path, {MODEL: ["name", "fax"]})
    with world.opened:
        old = world.device("old", version=1)
        row = old.create(MODEL, {"name": "Ada", "fax": "1"})
        old.sync()
        table = json.loads(world.synchronizer.read(MODEL, []))[0]
        world.synchronizer.delete(MODEL, json.dumps(table))
        world.synchronizer.create(MODEL, json.dumps({"id": row, "full_name": "Ada"}))
        lenses = [Rename(2, "name", "full_name"), Remove(3, "fax"), Add(4, "vip", default=False)]
        world.mobync = Mobync(world.synchronizer, lenses={MODEL: lenses})

        models = {MODEL: {"full_name": "TEXT", "vip": "BOOLEAN"}}
        new = world.device("new", version=4, models=models)
        new.sync()
        assert new.rows(MODEL) == [{"id": row, "full_name": "Ada", "vip": False}]
        old.update(MODEL, row, {"name": "Ada L.", "fax": "2"})
        old.create(MODEL, {"id": "later", "name": "Bob"})
        old.sync()
        new.sync()
        assert {found["full_name"] for found in new.rows(MODEL)} == {"Ada L.", "Bob"}
        new.update(MODEL, row, {"full_name": "Ada K.", "vip": True})
        new.create(MODEL, {"id": "newest", "full_name": "Eve", "vip": False})
        new.sync()
        report = old.sync()
        assert report.received == 2
        found = {each["id"]: (each["name"], each["fax"]) for each in old.rows(MODEL)}
        assert found == {row: ("Ada K.", "2"), "later": ("Bob", None), "newest": ("Eve", None)}


def test_a_devices_file_follows_renamed_removed_and_added_fields(tmp_path: Path) -> None:
    """A release with other fields opens the file of the one before, with what waits in it."""
    world = World(tmp_path, {MODEL: ["name", "fax"]})
    lenses = {
        MODEL: [Rename(2, "name", "full_name"), Remove(3, "fax"), Add(4, "vip", default=False)]
    }
    models = {MODEL: {"full_name": "TEXT", "vip": "BOOLEAN"}}
    newer: dict[str, Any] = {"version": 4, "models": models, "lenses": lenses}
    with world.opened:
        old = world.device("a")
        row = old.create(MODEL, {"name": "Ada", "fax": "1"})
        other = old.create(MODEL, {"name": "Bob", "fax": "2"})
        old.sync()
        old.update(MODEL, row, {"name": "Ada L.", "fax": "3"})
        world.loses_answers = True
        with pytest.raises(HubUnreachableError):
            old.sync()
        old.update(MODEL, other, {"name": "Bob B."})
        old.close()
        with closing(sqlite3.connect(tmp_path / "a.db")) as db:
            db.execute(f"UPDATE {MODEL} SET fax = '4' WHERE id = ?", (other,))
            db.commit()
        world.loses_answers = False

        for made in json.loads(world.synchronizer.read(MODEL, [])):
            world.synchronizer.delete(MODEL, json.dumps(made))
            values = {"id": made["id"], "full_name": made["name"], "vip": False}
            world.synchronizer.create(MODEL, json.dumps(values))
        world.mobync = Mobync(world.synchronizer, lenses=lenses)
        colleague = world.device("b", **newer)
        colleague.sync()
        colleague.update(MODEL, row, {"vip": True})
        colleague.sync()

        again = world.device("a", **newer)
        assert {each["full_name"] for each in again.rows(MODEL)} == {"Ada L.", "Bob B."}
        again.update(MODEL, other, {"vip": True})
        again.close()
        again = world.device("a", **newer)  # a second time changes nothing
        world.check(again, colleague)
        assert {each["id"]: (each["full_name"], each["vip"]) for each in again.rows(MODEL)} == {
            row: ("Ada L.", True), other: ("Bob B.", True)
        }  # fmt: skip
        assert again.conflicts() == colleague.conflicts() == []
        with pytest.raises(CallerError, match="version 4"):
            world.device("a", **newer | {"version": 3})
        with pytest.raises(CallerError, match="`version`"):
            world.device("c", lenses=lenses)


EDITS = st.lists(
    st.tuples(
        st.integers(0, 2),  # the device
        st.sampled_from(["create", "update", "delete", "sync", "lose", "write while syncing"]),
        st.integers(0, 3),  # the row
        st.sampled_from(FIELDS),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(edits=EDITS)
def test_whatever_is_edited_and_lost_all_end_with_the_same_rows(
    edits: list[tuple[int, str, int, str, str | None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    with world.opened:
        devices = [world.device(name) for name in "abc"]
        for number, kind, row, field, value in edits:
            edit(world, devices[number], kind, f"row{row}", field, value)
        world.check(*devices)


def edit(
    world: World, device: MobyncClient, kind: str, row: str, field: str, value: str | None
) -> None:
    has_row = any(found["id"] == row for found in device.rows(MODEL))
    if kind == "create" and not has_row:
        device.create(MODEL, {"id": row, field: value})
    elif kind in {"create", "update"}:
        device.update(MODEL, row, {field: value})
    elif kind == "delete":
        device.delete(MODEL, row)
    elif kind == "write while syncing":

        def write() -> None:
            world.on_the_way = lambda: None
            edit(world, device, "create", row, field, value)

        world.on_the_way = write
        device.sync()
        world.on_the_way = lambda: None
    else:
        world.loses_answers = kind == "lose"
        try:
            device.sync()
        except HubUnreachableError:
            assert world.loses_answers
        world.loses_answers = False
