"""Rules that ask for rows which point here, as stored filters over to-many relations do: a change
of such a row brings the row that it points to, or takes it away (I6), and decides writes (I7)."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reunite.core.expression import Expression, Not, Operator, Some, Term, Via
from reunite.core.fields import row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.engine import reaching
from reunite.engine.rights import Rights
from reunite.errors import BadRequestError
from reunite.hub import Hub
from reunite.protocol.live import LiveRequest
from reunite.stores.sql.database import SqliteSession
from reunite.testing import SeededIds
from tests.pair.test_repair import past_the_triggers
from tests.pair.test_rules import Answers, Office, ids, office_in, outcomes, write

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

DDL = """
create table ward (id integer primary key, region text);
create table patient (id text primary key not null, name text, org text);
create table visit (
    id integer primary key, patient_id text references patient (id) on delete cascade,
    ward_id integer references ward (id), place text
);
create table result (id text primary key not null, patient_id text references patient (id));
create index visit_patient on visit (patient_id);
create index visit_ward on visit (ward_id);
insert into ward values (1, 'north'), (2, 'south');
insert into patient values
    ('p1', 'Ada', 'x'), ('p2', 'Bo', 'x'), ('p3', 'Cy', 'y'), ('p4', '', 'x');
insert into visit values
    (1, 'p1', 1, 'A'), (2, 'p1', 1, 'A'), (3, 'p2', 2, 'B'), (4, 'p3', 2, 'A');
insert into result values ('r1', 'p1'), ('r2', 'p2'), ('r4', null);
"""
ANNA = Principal(user="anna", tenant="x", claims={"places": ["A"]})
CARL = Principal(user="carl", tenant="x", claims={"places": ["B", "C"]})


def visited(part: Expression) -> Expression:
    """Patients with such a visit."""
    return Some("visit", ("patient_id",), ("id",), part)


HERE = visited(row.place.is_in(user.places))


@pytest.fixture
def office(hub_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    with office_in(tmp_path, hub_kind, DDL, request) as office:
        office.hub.track("ward", rules=Rules(read=True))
        office.hub.track("patient", rules=Rules.none())
        office.hub.track("visit", rules=Rules.none())
        here = Rules(read=HERE, insert=HERE, update=HERE, delete=HERE)
        office.hub.track("patient", tenant="org", rules=here)
        through = Via(("patient_id",), "patient", HERE)
        office.hub.track("result", rules=Rules(read=through, insert=through))
        yield office


def at_hub(office: Office, statements: str) -> None:
    for statement in statements.split(";"):
        office.at_hub(statement)


def patients(replica: Any) -> list[Any]:
    return ids(replica, "patient")


def test_each_sees_the_rows_to_which_such_rows_point(office: Office) -> None:
    anna = office.replica_of(ANNA)
    assert patients(anna) == ["p1"], "p3 is another tenant's"
    assert ids(anna, "result") == ["r1"]
    assert patients(office.replica_of(CARL)) == ["p2"]


@pytest.mark.parametrize(
    ("sql", "of_anna", "of_carl"),
    [
        ("insert into visit values (9, 'p2', 1, 'A')", ["p1", "p2"], ["p2"]),
        ("insert into visit values (9, 'p4', 1, 'C')", ["p1"], ["p2", "p4"]),
        ("update visit set place = 'C'", [], ["p1", "p2"]),
        ("update visit set patient_id = 'p4' where patient_id = 'p1'", ["p4"], ["p2"]),
        ("update visit set patient_id = 'p4' where id = 1", ["p1", "p4"], ["p2"]),
        ("update visit set patient_id = null", [], []),
        ("delete from visit where id = 1", ["p1"], ["p2"]),
        ("delete from visit where patient_id = 'p1'", [], ["p2"]),
        ("delete from visit where place = 'B'", ["p1"], []),
        ("update visit set id = 70, place = 'B' where id = 2", ["p1"], ["p1", "p2"]),
        ("delete from result; delete from visit; delete from patient where id = 'p1'", [], []),
        ("update patient set org = 'x' where id = 'p3'", ["p1", "p3"], ["p2"]),
    ],
)
def test_a_change_of_a_pointing_row_brings_rows_and_takes_them(
    office: Office, sql: str, of_anna: list[str], of_carl: list[str]
) -> None:
    anna, carl = office.replica_of(ANNA), office.replica_of(CARL)
    at_hub(office, sql)
    for replica, wanted in ((anna, of_anna), (carl, of_carl)):
        replica.sync()
        assert patients(replica) == wanted
    assert patients(office.replica_of(ANNA)) == of_anna, "as a clone of now has them"
    results = office.at_hub("select patient_id, id from result order by id")
    assert ids(anna, "result") == [key for patient, key in results if patient in of_anna]


def test_a_change_that_no_rule_asks_for_sends_no_rows(office: Office) -> None:
    anna = office.replica_of(ANNA)
    office.at_hub("update visit set ward_id = 2")
    office.wire.observer = answers = Answers()
    anna.sync()
    assert b'"p1",2' in answers.text, "the visit itself"
    assert b"Ada" not in answers.text


def test_nothing_is_told_of_rows_that_were_never_seen(office: Office) -> None:
    """Neither of other tenants' rows nor of those without such a visit, changed as they may be."""
    office.hub.track("visit", rules=Rules())
    anna = office.replica_of(ANNA)
    office.at_hub("update visit set place = 'Q' where patient_id <> 'p1'")
    office.at_hub("update patient set name = 'new'")
    office.at_hub("insert into visit values (9, 'p4', 1, 'R'), (10, 'p3', 1, 'A')")
    office.wire.observer = answers = Answers()
    anna.sync()
    for hidden in (b"p2", b"p3", b"p4"):
        assert hidden not in answers.text
    assert b'"p1"' in answers.text


def test_what_nobody_remembers_takes_rows_away_rather_than_leaving_them(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its own tenant alone: for others it does not matter what their visits were."""
    monkeypatch.setattr(reaching, "FORMER_CHANGES_MAX", 1)
    office.hub.track("visit", rules=Rules())
    anna = office.replica_of(ANNA)
    office.at_hub("update visit set place = 'Q'")
    office.wire.observer = answers = Answers()
    anna.sync()
    assert patients(anna) == []
    assert b"p3" not in answers.text


@pytest.mark.parametrize("page_rows", [1, 3, None])
def test_many_rows_that_are_pointed_to_fill_several_pages(
    office: Office, page_rows: int | None
) -> None:
    office.hub.track("patient", tenant="org", rules=Rules(read=visited(row.ward.region == "east")))
    for number in range(20):
        office.at_hub(f"insert into patient values ('n{number:02}', 'canary', 'x')")
        office.at_hub(f"insert into visit values ({100 + number}, 'n{number:02}', 1, '')")
        office.at_hub(f"insert into visit values ({200 + number}, 'n{number:02}', 1, '')")
    anna = office.replica_of(ANNA, page_rows=page_rows)
    for region, count in (("east", 21), ("west", 0), ("east", 21)):
        office.at_hub(f"update ward set region = '{region}' where id = 1")
        anna.sync()
        assert len(patients(anna)) == count


@pytest.mark.hubs("sqlite")
def test_a_page_of_many_small_changes_costs_no_statement_for_each(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of which brings a row, and all of them more than a page has room for."""
    office.hub.track("visit", rules=Rules())
    for number in range(300):
        office.at_hub(f"insert into patient values ('n{number:03}', '', 'x')")
        office.at_hub(f"insert into visit values ({1_000 + number}, 'n{number:03}', 1, 'Z')")
    anna = office.replica_of(ANNA, tables=["patient"], page_rows=100)
    office.at_hub("update visit set place = 'A' where id >= 1000")
    asked: list[str] = []
    execute = SqliteSession.execute

    def counted(session: SqliteSession, sql: str, parameters: Any = ()) -> Any:
        asked.append(sql)
        return execute(session, sql, parameters)

    monkeypatch.setattr(SqliteSession, "execute", counted)
    anna.sync()
    assert len(patients(anna)) == 301
    assert 20 < len(asked) < 600, "about four pages of fewer than a hundred each"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("insert into patient values ('n', 'nobody', 'x')", "not-allowed"),
        ("update patient set name = 'new' where id = 'p1'", None),
        ("update patient set id = 'p9' where id = 'p1'", "not-allowed"),
        ("delete from patient where id = 'p1'", None),
        ("insert into result values ('n', 'p1')", None),
        ("insert into result values ('n', 'p2')", "not-allowed"),
    ],
)
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_change_is_judged_with_the_rows_that_point_to_its_row(
    office: Office, statement: str, code: str | None, is_alone: bool
) -> None:
    office.at_hub("delete from result")
    replica = office.replica_of(ANNA)
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute(statement)
        if not is_alone:
            db.execute("insert into visit values (80, null, 1, 'beside it')")
    assert outcomes(replica)[:1] == ([] if code is None else [code])


def test_a_group_makes_no_row_by_what_it_says_of_others(office: Office) -> None:
    """Rows that point here count as they were before the group, whatever comes with it."""
    replica = office.replica_of(ANNA)
    key = replica.new_key("visit")
    write(
        replica,
        "insert into patient values ('n', 'new', 'x')",
        f"insert into visit values ({key}, 'n', 1, 'A')",
    )
    assert outcomes(replica) == ["not-allowed", "not-allowed"]
    assert office.at_hub("select id from patient where id = 'n'") == []
    key = replica.new_key("visit")
    write(replica, f"insert into visit values ({key}, 'p1', 1, 'Z')")
    write(
        replica,
        "delete from visit where place = 'A'",
        "update patient set name = 'too late' where id = 'p1'",
    )
    replica.sync()
    assert office.at_hub("select name from patient where id = 'p1'") == [("too late",)]
    assert patients(replica) == [], "and its last such visit went with the same group"


@pytest.mark.hubs("postgresql")
def test_nobody_changes_the_rows_that_decide_while_a_push_is_judged(office: Office) -> None:
    import psycopg

    office.at_hub("set lock_timeout = '50ms'")
    with office.hub._store.write() as tx:
        access = office.hub.workings.tables.at(tx).access(ANNA)
        assert Rights(tx, access).seen("patient", [("p1",), ("p2",)]) == {("p1",)}
        with pytest.raises(psycopg.errors.LockNotAvailable):
            office.at_hub("delete from visit where id = 1")
        office.at_hub("delete from visit where id = 4")
    office.at_hub("delete from visit where id = 1")


def test_a_stream_is_told_when_a_pointing_row_changes(office: Office) -> None:
    anna = office.replica_of(ANNA, tables=["patient"])
    with anna._file.reading() as (_, state):
        request = LiveRequest(
            protocol=1, replica=state.replica, cursor=str(state.cursor), tables=["patient"]
        )
    desk = office.hub.live()
    assert desk.open(request, ANNA) is not None
    office.at_hub("update ward set region = 'west'")
    assert desk.round().deliveries == {}
    office.at_hub("update visit set patient_id = 'p2' where patient_id = 'p1'")
    (delivery,) = desk.round().deliveries.values()
    assert delivery is not None
    text = b"".join(delivery.events)
    assert b'"evicts":[["p1"]]' in text
    assert b'"puts":[["p2","Bo","x"]]' in text


def test_a_repair_compares_what_the_rule_shows(office: Office) -> None:
    anna = office.replica_of(ANNA)
    office.at_hub("update visit set place = 'A' where id = 3")
    assert anna.repair().found == 0
    assert patients(anna) == ["p1", "p2"]
    with closing(sqlite3.connect(anna.path, isolation_level=None)) as db:
        past_the_triggers(
            db,
            "delete from patient where id = 'p2'",
            "insert into patient values ('p4', 'hidden', 'x')",
        )
    assert anna.repair().found == 2
    anna.sync()
    assert patients(anna) == ["p1", "p2"]


def test_an_erased_pointing_row_takes_the_row_away(office: Office) -> None:
    """Nobody knows any more to what it pointed, so all rows are looked at."""
    office.at_hub("delete from visit where id = 2")
    anna, carl = office.replica_of(ANNA), office.replica_of(CARL)
    office.hub.erase("visit", (1,))
    anna.sync()
    carl.sync()
    assert (patients(anna), patients(carl)) == ([], ["p2"])


def test_a_pointing_table_that_is_tracked_no_more_closes_the_rows(office: Office) -> None:
    anna = office.replica_of(ANNA)
    office.hub.untrack("visit")
    anna.sync()
    assert patients(anna) == []
    office.hub.track("visit", rules=Rules.none())
    anna.sync()
    assert patients(anna) == ["p1"]


def test_a_column_of_pointing_rows_that_goes_closes_the_rows(office: Office) -> None:
    anna = office.replica_of(ANNA)
    with office.hub.migrating():
        office.at_hub("alter table visit rename column place to room")
    anna.sync()
    assert patients(anna) == []


def test_such_rules_are_kept_and_explained(office: Office) -> None:
    kept = office.hub.rules()["patient"]
    with Hub(office.database.store(), clock=office.clock, new_id=SeededIds(2)) as other:
        other.track("patient")
        assert other.rules()["patient"] == kept
        office.wire.hub = other
        assert patients(office.replica_of(ANNA)) == ["p1"]
    reasons = office.hub.explain(CARL, "patient", ("p1",)).read.reasons
    (reason,) = [one for one in reasons if "visit" in one.text]
    assert not reason.holds
    assert reason.text == "some visit by patient_id ─► (row.place.is_in(user.places))"


@pytest.mark.parametrize(
    "read",
    [
        Not(HERE),
        HERE & ~visited(row.place == "B"),
        Some("nowhere", ("patient_id",), ("id",), row.place == "A"),
        Some("visit", ("ward_id",), ("id",), row.place == "A"),
        Some("visit", ("patient_id",), ("name",), row.place == "A"),
        visited(row.nothing == "A"),
        visited(Term("place", Operator.GT, 7)),
        Via(("name",), "ward", row.region == "north"),
        visited(visited(row.place == "A")),
    ],
)
def test_what_cannot_be_decided_of_pointing_rows_is_refused(office: Office, read: Any) -> None:
    before = office.hub.rules()
    with pytest.raises(BadRequestError):
        office.hub.track("patient", rules=Rules(read=read))
    assert office.hub.rules() == before


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("seed", range(10))
def test_at_random_replicas_have_what_a_new_clone_has(office: Office, seed: int) -> None:
    """Whatever is written, in whatever pages it is read."""
    chance = random.Random(seed)
    region = chance.choice(["north", "south"])
    read = visited(row.place.is_in(user.places)) | visited(row.ward.region == region)
    office.hub.track("patient", tenant="org", rules=Rules(read=read))
    mine = Via(("patient_id",), "patient", visited(row.ward.region == region))
    office.hub.track("result", rules=Rules(read=mine))
    pages = chance.choice([1, 2, 5, None])
    replicas = {who.user: office.replica_of(who, page_rows=pages) for who in (ANNA, CARL)}
    for step in range(60):
        patient, visit = chance.choice(["p1", "p2", "p3", "p4", "p5"]), chance.randrange(1, 8)
        place, ward = chance.choice("ABCD"), chance.randrange(1, 3)
        region = chance.choice(["north", "south", "east"])
        known = f"(select id from patient where id = '{patient}')"
        pointing = f"(select 1 from result where patient_id = '{patient}')"
        statements = [
            f"insert or ignore into patient values ('{patient}', '{step}', 'x')",
            f"insert or replace into visit values ({visit}, {known}, {ward}, '{place}')",
            f"update visit set place = '{place}' where id = {visit}",
            f"update visit set patient_id = {known} where id = {visit}",
            f"delete from visit where id = {visit}",
            f"update ward set region = '{region}' where id = {ward}",
            f"delete from result where patient_id = '{patient}'",
            f"delete from patient where id = '{patient}' and not exists {pointing}",
            f"insert or replace into result values ('r{visit}', {known})",
            f"update patient set org = '{place.lower()}' where id = '{patient}'",
            f"update patient set org = 'x', name = '{step}' where id = '{patient}'",
        ]
        office.at_hub(chance.choice(statements))
        if chance.random() < 0.15:
            for name, replica in replicas.items():
                replica.sync()
                fresh = office.replica_of(ANNA if name == "anna" else CARL)
                for table in ("patient", "result"):
                    assert ids(replica, table) == ids(fresh, table), (step, name)
