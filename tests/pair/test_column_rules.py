"""Column rules between a hub and its replicas: a column that may not be read is nowhere (I6), one
that may not be written is not (I7)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from reunite import (
    BadRequestError,
    Column,
    Hub,
    HubUnreachableError,
    Principal,
    Replica,
    Rules,
    row,
    user,
)
from reunite.core.change import Op
from reunite.protocol.live import LiveRequest
from reunite.protocol.push import GroupMessage, PushRequest, Run
from reunite.protocol.query import QueryRequest
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.testing import FakeClock, FakeWire, SeededIds
from tests.pair.hubs import HubDatabase, MemoryHubDatabase, PostgresHubDatabase, SqliteHubDatabase
from tests.pair.test_rules import Answers, Office, outcomes, write

DDL = """
create table place (id text primary key not null, code text unique);
create table person (
    id text primary key not null, name text, salary integer default 1000, badge text unique,
    grade text not null default 'junior', place_code text references place (code),
    boss text
);
create table made (
    id text primary key not null, label text, at text default current_timestamp, kind text
);
insert into place values ('p', 'HQ');
insert into person values
    ('a', 'Ann', 7654321, 'CANARY-a', 'senior', 'HQ', 'c'),
    ('b', 'Bob', 8765432, 'CANARY-b', 'junior', null, 'c');
"""
HR = Principal(user="hugo", claims={"role": "hr"})
ANN = Principal(user="ann")
HR_ANN = Principal(user="ann", claims={"role": "hr"})
HIDDEN = (b"7654321", b"8765432", b"CANARY", b"salary", b"badge")
PERSON = Rules(
    read=True,
    insert=True,
    update=True,
    delete=True,
    columns={
        "salary": Column(read=user.role == "hr", write=user.role == "hr"),
        "badge": Column(read=user.role == "hr"),
        "grade": Column(write=(user.role == "hr") | (row.boss == user.id)),
    },
)
MADE = Rules(
    read=True, insert=True, update=True, columns={"at": Column(write=False), "kind": Column()}
)


@pytest.fixture
def office(hub_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    database: HubDatabase
    if hub_kind == "memory":
        database = MemoryHubDatabase(tmp_path, DDL)
    elif hub_kind == "sqlite":
        database = SqliteHubDatabase(tmp_path / "hub.db", DDL)
    else:
        database = PostgresHubDatabase(request.getfixturevalue("postgresql"), DDL)
    clock = FakeClock()
    with ExitStack() as stack:
        stack.callback(database.close)
        hub = stack.enter_context(Hub(database.store(), clock=clock, new_id=SeededIds(1)))
        hub.track("place", rules=Rules.none())
        hub.track("person", rules=PERSON)
        hub.track("made", rules=MADE)
        yield Office(
            folder=tmp_path,
            hub=hub,
            database=database,
            wire=FakeWire(hub, observer=Answers()),
            clock=clock,
            closing=stack,
        )


def columns(replica: Replica, table: str = "person") -> list[str]:
    with closing(sqlite3.connect(replica.path)) as db:
        return [found[1] for found in db.execute(f"pragma table_info({table})")]


def rows(replica: Replica, what: str = "*", table: str = "person") -> list[Any]:
    with closing(sqlite3.connect(replica.path)) as db:
        return db.execute(f"select {what} from {table} order by id").fetchall()


def file_bytes(office: Office, replica: Replica) -> bytes:
    names = (replica.path.name, f"{replica.path.name}-wal")
    return b"".join(path.read_bytes() for name in names if (path := office.folder / name).exists())


def assert_hidden(office: Office, replica: Replica) -> None:
    observer = office.wire.observer
    assert isinstance(observer, Answers)
    held = file_bytes(office, replica)
    for canary in (b"7654321", b"8765432", b"CANARY"):
        assert canary not in observer.text, f"{canary!r} was told"
        assert canary not in held, f"{canary!r} is in the file"


# --- Reading --------------------------------------------------------------------------------------


def test_a_column_that_may_not_be_read_is_in_no_answer_and_in_no_file(office: Office) -> None:
    """Not in the schema, pages, repairs and queries either."""
    replica = office.replica_of(ANN)
    assert columns(replica) == ["id", "name", "grade", "place_code", "boss"]
    office.at_hub("update person set name = 'Anna', salary = 7654321 + 1 where id = 'a'")
    replica.sync()
    replica.repair()
    assert rows(replica, "id, name") == [("a", "Anna"), ("b", "Bob")]
    found = office.hub.query(QueryRequest(table="person", where={}), ANN)
    assert "salary" not in found.columns
    assert len(found.rows[0]) == len(found.columns)
    with pytest.raises(BadRequestError, match="no column 'salary'"):
        office.hub.query(QueryRequest(table="person", where={"salary": 1}), ANN)
    text = getattr(office.wire.observer, "text", b"")
    assert not [canary for canary in HIDDEN if canary in text]
    assert_hidden(office, replica)


def test_who_may_read_it_has_it(office: Office) -> None:
    replica = office.replica_of(HR)
    assert columns(replica)[2:4] == ["salary", "badge"]
    assert rows(replica, "salary") == [(7654321,), (8765432,)]


def test_a_choice_of_rows_asks_nothing_of_a_hidden_column(office: Office) -> None:
    """Or it would tell what stands there, row by row."""
    with pytest.raises(BadRequestError, match="no column 'salary'"):
        office.replica_of(ANN, tables={"person": row.salary > 8_000_000})
    with pytest.raises(BadRequestError, match="no column 'salary'"):
        office.replica_of(ANN).set_tables({"person": row.salary > 8_000_000})


def test_a_choice_of_before_means_no_row_when_its_column_is_hidden(office: Office) -> None:
    """The sync goes through, so that what may not be seen any more leaves the device; then it says
    why there is nothing."""
    door, replica = changing(office)
    replica.set_tables({"person": row.salary > 8_000_000})
    replica.sync()
    assert rows(replica, "id") == [("b",)]
    door.principal = ANN
    office.wire.observer = Answers()
    with pytest.raises(BadRequestError, match="no column 'salary'") as caught:
        replica.sync()
    assert caught.value.path == "where.person.field"
    assert rows(replica) == []
    status = replica.status()
    assert status.last_error == "", "all was done"
    assert "means no row any more" in status.sentences[-1]
    assert_hidden(office, replica)


@pytest.mark.parametrize("value", [5, "much"])
def test_a_hidden_column_is_asked_for_as_one_that_is_not_there(office: Office, value: Any) -> None:
    """In pulls, repairs and on streams: the same bytes, whatever it is compared with."""
    office.replica_of(ANN)
    (record,) = office.hub.status().replicas
    hidden, missing = (_asked(office, record.id, name, value) for name in ("salary", "nosuch"))
    assert hidden == missing


def _asked(office: Office, replica: str, column: str, value: Any) -> list[Any]:
    where = {"person": {"field": column, "operator": "exact", "value": value}}
    asked = {"protocol": PROTOCOL_VERSION, "replica": replica, "where": where}
    pull = json.dumps({**asked, "known": 0}).encode()
    page = office.hub.answer("pull", pull, ANN)
    cursor = json.loads(page)["cursor"]
    repair = json.dumps({**asked, "cursor": cursor, "table": "person", "ask": "all"}).encode()
    stream = LiveRequest(protocol=PROTOCOL_VERSION, replica=replica, cursor=cursor, where=where)
    opened = office.hub.live().open(stream, ANN)
    assert opened is not None
    return [page, office.hub.answer("repair", repair, ANN), opened.delivery.events]


def test_rules_may_ask_a_hidden_column(office: Office) -> None:
    rules = Rules(read=row.salary < 8_000_000, columns=PERSON.columns)
    office.hub.track("person", rules=rules)
    replica = office.replica_of(ANN)
    assert rows(replica, "id") == [("a",)]
    office.at_hub("update person set salary = 9000000 where id = 'a'")
    replica.sync()
    assert rows(replica, "id") == []


def test_a_repair_compares_what_is_shown(office: Office) -> None:
    replica = office.replica_of(ANN)
    assert [found.differing for found in replica.repair().tables if found.table == "person"] == [0]


# --- Rights that change ---------------------------------------------------------------------------


class Door:
    """The hub, with claims that change while the token stays."""

    def __init__(self, hub: Hub, principal: Principal) -> None:
        self.hub = hub
        self.principal = principal

    def authenticate(self, token: str) -> Principal:
        return self.principal

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        return self.hub.answer(operation, body, principal)


def changing(office: Office) -> tuple[Door, Replica]:
    door = Door(office.hub, HR_ANN)
    wire = FakeWire(door, observer=Answers())
    office.wire = wire
    replica = office.closing.enter_context(
        Replica.clone(
            office.folder / "ann.db",
            transport=wire.transport("ann", label="ann"),
            clock=office.clock,
        )
    )
    return door, replica


def test_a_column_comes_and_goes_with_the_right_to_read_it(office: Office) -> None:
    door, replica = changing(office)
    assert rows(replica, "salary") == [(7654321,), (8765432,)]
    door.principal = ANN
    office.wire.observer = Answers()
    replica.sync()
    assert columns(replica) == ["id", "name", "grade", "place_code", "boss"]
    assert_hidden(office, replica)
    door.principal = HR_ANN
    replica.sync()
    assert rows(replica, "salary") == [(7654321,), (8765432,)]


def test_what_waits_in_the_outbox_goes_on_without_the_column(office: Office) -> None:
    """The user's own value is parked, the hub's is gone from the file, nothing else is lost."""
    door, replica = changing(office)
    write(
        replica,
        "update person set salary = 4444444, name = 'Anne' where id = 'a'",
        "insert into person (id, name, salary) values ('n', 'New', 5555555)",
    )
    door.principal = ANN
    office.wire.observer = Answers()
    replica.sync()
    replica.sync()
    assert office.at_hub("select name, salary from person where id = 'a'") == [("Anne", 7654321)]
    assert office.at_hub("select name, salary from person where id = 'n'") == [("New", 1000)]
    parked = replica.parked()
    assert [change.code for change in parked] == ["schema-changed"] * 2
    assert sorted(change.set["salary"] for change in parked) == [4444444, 5555555]
    assert_hidden(office, replica)
    door.principal = HR_ANN
    replica.sync()
    assert replica.status().pending == 0


def test_records_forget_the_column(office: Office) -> None:
    """A conflict in it, a conflict about the whole row, and a parked change of the row."""
    door, replica = changing(office)
    write(replica, "update person set salary = 4444444 where id = 'a'")
    office.at_hub("update person set salary = 6666666 where id = 'a'")
    write(replica, "delete from person where id = 'b'")
    office.at_hub("update person set name = 'Bo' where id = 'b'")
    replica.sync()
    assert len(replica.conflicts()) == 2
    write(replica, "update person set name = 'Anne', badge = 'taken' where id = 'a'")
    office.at_hub("insert into person (id, badge) values ('t', 'taken')")
    replica.sync()
    assert [change.code for change in replica.parked()] == ["unique"]
    door.principal = ANN
    office.wire.observer = Answers()
    replica.sync()
    held = file_bytes(office, replica)
    assert b"CANARY" not in held
    assert b"6666666" not in held
    assert b"8765432" not in held
    assert b"4444444" in held, "what the user wrote stays"
    assert len(replica.conflicts()) == 2


def test_records_forget_rows_that_left_with_the_column(office: Office) -> None:
    """The table is sent anew, without telling which rows are not in it any more."""
    door, replica = changing(office)
    write(replica, "update person set badge = 'taken', name = 'Anne' where id = 'a'")
    office.at_hub("insert into person (id, badge) values ('t', 'taken')")
    office.at_hub("update person set name = 'CANARY-name' where id = 'a'")
    office.at_hub("update person set name = 'Anna' where id = 'a'")
    replica.sync()
    assert [change.was["badge"] for change in replica.parked()] == ["CANARY-a"]
    door.principal = ANN
    rules = Rules(read=row.id != "a", columns={"salary": Column(read=False)})
    office.hub.track("person", rules=rules)
    office.at_hub("update person set badge = 'other' where id = 'b'")
    replica.sync()
    assert rows(replica, "id") == [("b",), ("t",)]
    assert b"CANARY" not in file_bytes(office, replica)
    assert [change.set["name"] for change in replica.parked()] == ["Anne"]


def test_an_answer_that_comes_late_says_nothing_of_the_column(office: Office) -> None:
    """The outcome was stored while the column was seen; it is told when it is not any more."""
    door, replica = changing(office)
    write(replica, "delete from person where id = 'b'")
    office.at_hub("update person set name = 'Bo', salary = 6666666 where id = 'b'")
    office.wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        replica.sync()
    door.principal = ANN
    office.wire.observer = answers = Answers()
    replica.sync()
    assert len(replica.conflicts()) == 1
    for canary in (b"6666666", b"8765432", b"CANARY"):
        assert canary not in answers.text
        assert canary not in file_bytes(office, replica)


def late_answer(office: Office, *, lost_by: Principal = ANN) -> tuple[Door, Replica]:
    """Ann's delete has met a change of the hub's; the answer is lost, and rights change."""
    door, replica = changing(office)
    door.principal = lost_by
    replica.sync()
    write(replica, "delete from person where id = 'b'")
    office.at_hub("update person set name = 'Bo', salary = 6666666 where id = 'b'")
    office.wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        replica.sync()
    office.wire.observer = Answers()
    return door, replica


def assert_told_without(office: Office, replica: Replica, *canaries: bytes) -> None:
    """The conflict has been told, with what was read then, and none of these values."""
    assert len(replica.conflicts()) == 1
    answers = office.wire.observer
    assert isinstance(answers, Answers)
    assert b'"name":"Bo"' in answers.text
    for canary in canaries:
        assert canary not in answers.text, f"{canary!r} was told"
        assert canary not in file_bytes(office, replica), f"{canary!r} is in the file"


def test_an_answer_that_comes_late_says_nothing_that_could_not_be_read_then(
    office: Office,
) -> None:
    """The column is read when it is told; by then the row is gone, and would be hidden."""
    door, replica = late_answer(office)
    door.principal = HR_ANN
    office.hub.track("person", rules=Rules(read=row.id != "b", columns=PERSON.columns))
    replica.sync()
    assert rows(replica, "salary") == [(7654321,)], "the column has come"
    assert_told_without(office, replica, b"6666666", b"8765432", b"CANARY-b")


def test_a_row_brought_back_is_told_late_without_what_could_not_be_read(office: Office) -> None:
    """What a write has won against a delete is the whole row."""
    office.hub.track("person", rules=PERSON, rows="update_wins")
    door, replica = changing(office)
    door.principal = ANN
    replica.sync()
    write(replica, "update person set name = 'Bo' where id = 'b'")
    office.at_hub("delete from person where id = 'b'")
    office.wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        replica.sync()
    office.at_hub("delete from person where id = 'b'")
    door.principal = HR_ANN
    office.wire.observer = Answers()
    replica.sync()
    assert_told_without(office, replica, b"8765432", b"CANARY-b")


@pytest.mark.hubs("sqlite", "postgresql")
@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("reader", ["then", "never"])
def test_an_answer_that_comes_late_says_nothing_of_a_column_by_its_former_name(
    office: Office, reader: str, is_declared: bool
) -> None:
    """The rules speak of the new name, or not yet; the outcome was stored with the old one."""
    door, replica = late_answer(office, lost_by=HR_ANN if reader == "then" else ANN)
    door.principal = ANN
    office.at_hub("alter table person rename column salary to pay")
    office.hub.number()
    if is_declared:
        renamed = {"pay" if name == "salary" else name: c for name, c in PERSON.columns.items()}
        office.hub.track("person", rules=Rules(read=True, columns=renamed))
    replica.sync()
    assert_told_without(office, replica, b"6666666", b"CANARY-b")


# --- Writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("update person set name = 'x', grade = grade where id = 'a'", None),
        ("update person set grade = 'chief' where id = 'a'", "column-not-allowed"),
        ("update person set boss = 'ann' where id = 'a'", None),
        ("update person set boss = 'ann', grade = 'chief' where id = 'a'", "column-not-allowed"),
        ("insert into person (id, name) values ('n', 'New')", None),
        ("insert into person (id, grade) values ('n', 'junior')", None),
        ("insert into person (id, grade) values ('n', 'chief')", "column-not-allowed"),
        ("insert into person (id, grade, boss) values ('n', 'chief', 'ann')", None),
        ("insert into person (id, name) values ('a', 'met')", None),
        ("insert into person (id, name, grade) values ('a', 'met', 'chief')", "column-not-allowed"),
        ("insert into made (id, label) values ('m', 'x')", None),
        ("update made set at = 'now' where id = 'm0'", "column-not-allowed"),
    ],
)
def test_a_column_is_written_by_who_may(office: Office, statement: str, code: str | None) -> None:
    """Judged on the row as it was and as it is to be; in groups of one and in larger ones."""
    office.at_hub("insert into made (id, label, at) values ('m0', 'old', 'then')")
    replica = office.replica_of(ANN)
    if "'met'" in statement:
        with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
            db.execute("insert into made (id, label) values ('beside', 'it')")
        office.at_hub("delete from person where id = 'a'")
        replica.sync()
        office.at_hub(
            "insert into person values ('a', 'Ann', 7654321, 'CANARY-a', 'senior', 'HQ', 'c')"
        )
    write(replica, statement)
    assert outcomes(replica) == ([] if code is None else [code])
    if code is not None:
        assert replica.parked()[0].columns == (("at",) if "made" in statement else ("grade",))
    found = office.at_hub("select salary, grade from person where id = 'a'")
    assert found == [(7654321, "senior")]
    new = office.at_hub("select salary from person where id = 'n'")
    assert new == ([(1000,)] if code is None and "'n'" in statement else [])


def test_who_may_not_write_a_column_makes_rows_with_its_default(office: Office) -> None:
    """The hub's own clock and not a replica's."""
    replica = office.replica_of(ANN)
    write(replica, "insert into made (id, label, at) values ('m', 'x', '1999-01-01')")
    codes = outcomes(replica)
    assert codes == []
    (made,) = office.at_hub("select at from made where id = 'm'")
    assert made[0] is None or not str(made[0]).startswith("1999")


def test_nobody_names_a_hidden_column_in_a_push(office: Office) -> None:
    """A client that knows its name is told that there is none."""
    replica = office.replica_of(ANN)
    state = replica._file.state()
    schema = next(schema for schema in state.schemas if schema.name == "person")
    run = Run(
        table="person",
        op=Op.UPDATE,
        columns=("salary",),
        ids=("0" * 32,),
        keys=(("a",),),
        set=((1,),),
        was=((7654321,),),
        stamps=("0" * 32,),
        mark=state.mark,
        covered=0,
    )
    request = PushRequest(
        protocol=PROTOCOL_VERSION,
        known=0,
        replica=state.replica,
        epoch=state.epoch,
        first_n=1,
        schemas={"person": schema.version},
        groups=(GroupMessage(runs=(run,)),),
    )
    with pytest.raises(BadRequestError, match="no column 'salary'"):
        office.hub.push(request, ANN)


# --- Explained ------------------------------------------------------------------------------------


def test_hidden_and_read_only_columns_are_explained(office: Office) -> None:
    found = office.hub.explain(ANN, "person", ("a",))
    assert (found.hidden, found.read_only) == (("badge", "salary"), ("grade",))
    office.at_hub("update person set boss = 'ann' where id = 'a'")
    assert office.hub.explain(ANN, "person", ("a",)).read_only == ()
    assert office.hub.explain(HR, "person", ("a",)).hidden == ()


# --- Declaring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"salary": Column(read=row.boss == user.id)}, "table of its own"),
        ({"salary": Column(read=(user.role == "hr") & (row.id == user.id))}, "table of its own"),
        ({"id": Column(write=False)}, "part of the key"),
        ({"wage": Column(read=False)}, "no column 'wage'"),
        ({"salary": Column(write=row.nowhere == 1)}, "nowhere"),
        ({"salary": Column(read=3)}, "True or False"),  # type: ignore[arg-type]
    ],
)
def test_column_rules_that_cannot_be_kept_are_refused(
    office: Office, columns: dict[str, Column], words: str
) -> None:
    before = office.hub.rules()["person"]
    with pytest.raises(BadRequestError, match=words):
        office.hub.track("person", rules=Rules(read=True, columns=columns))
    assert office.hub.rules()["person"] == before


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_renamed_column_shows_nothing_under_its_new_name(office: Office) -> None:
    """Until the rules are declared anew, the whole table is closed."""
    replica = office.replica_of(ANN)
    office.wire.observer = Answers()
    office.at_hub("alter table person rename column salary to pay")
    office.hub.number()
    replica.sync()
    assert rows(replica) == []
    assert_hidden(office, replica)
