"""Rules that ask rows of other tables, by foreign keys: a change of such a row changes who sees
the rows that point to it (I6), and a write is judged with it (I7)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reunite.core.cursor import decode_cursor
from reunite.core.fields import row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.errors import BadRequestError
from reunite.hub import Hub
from reunite.protocol.live import LiveRequest
from reunite.protocol.pack import decode_page
from reunite.protocol.pull import Page
from reunite.replica import Replica
from reunite.testing import SeededIds
from reunite.testing.wire import Request, WireObserver
from tests.pair.test_rules import Answers, Office, ids, office_in, outcomes, write

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

DDL = """
create table client (id text primary key not null, org text);
create table project (
    id integer primary key, client_id text references client (id), team text, name text
);
create table task (
    id text primary key not null, project_id integer references project (id) on delete cascade,
    title text
);
create table thing (id text primary key not null, project_id integer references project (id));
insert into client values ('c1', 'north'), ('c2', 'south');
insert into project (id, client_id, team, name) values
    (1, 'c1', 'red', 'Bridge'), (2, 'c2', 'blue', 'Tunnel');
insert into task values ('t1', 1, 'one'), ('t2', 1, 'two'), ('t3', 2, 'three'), ('t4', null, 'x');
"""
ANNA = Principal(user="anna", tenant="north", claims={"teams": ["red"]})
CARL = Principal(user="carl", tenant="south", claims={"teams": ["blue"]})
IN_TEAM = row.project.team.is_in(user.teams)


@pytest.fixture
def office(hub_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    with office_in(tmp_path, hub_kind, DDL, request) as office:
        office.hub.track("client", rules=Rules(read=True))
        office.hub.track("project", rules=Rules.none())
        in_team = Rules(read=IN_TEAM, insert=IN_TEAM, update=IN_TEAM, delete=IN_TEAM)
        office.hub.track("task", rules=in_team)
        yield office


def test_each_sees_the_rows_of_what_is_theirs(office: Office) -> None:
    assert ids(office.replica_of(ANNA)) == ["t1", "t2"]
    assert ids(office.replica_of(CARL)) == ["t3"]


def test_a_parent_that_changes_takes_its_rows_along(office: Office) -> None:
    """They leave one device and come to the other, though nobody changed them."""
    anna, carl = office.replica_of(ANNA), office.replica_of(CARL)
    office.at_hub("update project set team = 'blue' where id = 1")
    office.wire.observer = answers = Answers()
    anna.sync()
    assert ids(anna) == []
    assert b"two" not in answers.text
    carl.sync()
    assert ids(carl) == ["t1", "t2", "t3"]
    office.at_hub("update project set team = null")
    carl.sync()
    assert ids(carl) == []


def test_a_change_of_a_parent_that_no_rule_asks_for_sends_no_rows(office: Office) -> None:
    anna = office.replica_of(ANNA)
    office.at_hub("update project set name = 'Viaduct' where id = 1")
    office.wire.observer = answers = Answers()
    anna.sync()
    assert b"Viaduct" in answers.text
    assert b'"t1"' not in answers.text


def test_a_parent_that_is_deleted_takes_rows_away_that_stay_at_the_hub(office: Office) -> None:
    anna = office.replica_of(ANNA)
    if office.database.kind == "sqlite":
        office.at_hub("pragma foreign_keys = off")
        office.at_hub("delete from project where id = 1")
    else:
        office.at_hub("update task set project_id = null; delete from project where id = 1")
    anna.sync()
    assert ids(anna) == []
    if office.database.kind == "sqlite":
        office.at_hub("insert into project (id, team) values (1, 'red')")
        anna.sync()
        assert ids(anna) == ["t1", "t2"], "rows that waited for their parent"


def test_a_row_that_moved_away_from_a_parent_that_changed_later_leaves(office: Office) -> None:
    """What the parent was at the replica's last checkpoint counts, not what it is."""
    anna = office.replica_of(ANNA, page_rows=1)
    office.at_hub("update task set project_id = 2 where id = 't1'")
    office.at_hub("update project set team = 'green' where id = 1")
    office.at_hub("update project set team = 'gold' where id = 1")
    anna.sync()
    assert ids(anna) == []


def test_a_log_that_is_trimmed_between_two_pages_leaves_no_row_behind(office: Office) -> None:
    """What a parent was at the checkpoint is not to be had any more: all is read anew."""
    office.at_hub("insert into client values ('c0', 'west')")
    start = office.hub.number().seq
    anna = office.replica_of(ANNA, page_rows=1)
    office.at_hub("update project set team = 'green' where id = 1")
    office.hub.number()
    office.at_hub("update task set project_id = 2 where id = 't1'")
    office.hub.number()
    office.at_hub("insert into client values ('c3', 'east')")
    office.hub.number()
    trimmed = []

    class Trimming(WireObserver):
        def answered(self, request: Request, answer: bytes) -> None:
            page = decode_page(answer, Page)
            at = decode_cursor(page.cursor)
            if page.more and at.seq == start + 1 and not trimmed:
                with office.hub._store.write() as tx:
                    trimmed.append(tx.trim(until_seq=start + 1))

    office.wire.observer = Trimming()
    anna.sync()
    assert len(trimmed) == 1
    assert ids(anna) == []


@pytest.mark.parametrize("page_rows", [1, 7, None])
def test_a_parent_with_many_rows_fills_several_pages(office: Office, page_rows: int | None) -> None:
    for number in range(40):
        office.at_hub(f"insert into task values ('n{number:02}', 1, 'canary')")
    anna = office.replica_of(ANNA, page_rows=page_rows)
    carl = office.replica_of(CARL, page_rows=page_rows)
    for team, kept, got in (("blue", 0, 43), ("red", 42, 1), ("blue", 0, 43)):
        office.at_hub(f"update project set team = '{team}' where id = 1")
        office.at_hub("update task set title = 'other' where id = 'n03'")
        anna.sync()
        carl.sync()
        assert (len(ids(anna)), len(ids(carl))) == (kept, got)


def test_steps_lead_on_from_step_to_step(office: Office) -> None:
    """A tenant may be that of a row two steps away."""
    office.hub.track("task", tenant="project.client.org", rules=Rules.none())
    anna, carl = office.replica_of(ANNA), office.replica_of(CARL)
    assert (ids(anna), ids(carl)) == (["t1", "t2"], ["t3"])
    office.at_hub("update client set org = 'south' where id = 'c1'")
    anna.sync()
    carl.sync()
    assert (ids(anna), ids(carl)) == ([], ["t1", "t2", "t3"])
    write(carl, "insert into task values ('t5', 1, 'mine')")
    assert outcomes(carl) == []
    with closing(sqlite3.connect(anna.path, isolation_level=None)) as db:
        db.execute("insert into task values ('t6', 2, 'theirs')")
    assert outcomes(anna) == ["not-allowed"]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("insert into task values ('n', 1, 'mine')", None),
        ("insert into task values ('n', 2, 'theirs')", "not-allowed"),
        ("insert into task values ('n', 99, 'nobodys')", "not-allowed"),
        ("insert into task values ('n', null, 'nobodys')", "not-allowed"),
        ("update task set title = 'new' where id = 't1'", None),
        ("update task set project_id = 2 where id = 't1'", "not-allowed"),
        ("delete from task where id = 't1'", None),
    ],
)
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_change_is_judged_with_the_rows_that_it_points_to(
    office: Office, statement: str, code: str | None, is_alone: bool
) -> None:
    replica = office.replica_of(ANNA)
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute(statement)
        if not is_alone:
            db.execute("insert into task values ('m', 1, 'beside it')")
    assert outcomes(replica) == ([] if code is None else [code])
    assert bool(office.at_hub("select 1 from task where id = 'm'")) is not is_alone


def test_a_parent_that_is_made_or_changed_in_the_same_transaction_counts(office: Office) -> None:
    replica = office.replica_of(ANNA)
    key = replica.new_key("project")
    write(
        replica,
        f"insert into project (id, team) values ({key}, 'red')",
        f"insert into task values ('a', {key}, 'with its parent')",
    )
    assert outcomes(replica) == []
    write(
        replica,
        f"update project set team = 'green' where id = {key}",
        "update task set title = 'too late' where id = 'a'",
    )
    assert outcomes(replica) == [], "its row is hidden by then, and as one that is gone"
    assert office.at_hub("select title from task where id = 'a'") == [("with its parent",)]
    assert ids(replica) == ["t1", "t2"]
    office.at_hub("update project set team = 'red'")
    replica.sync()
    write(
        replica,
        f"update project set team = 'green' where id = {key}",
        f"insert into task values ('b', {key}, 'too late')",
    )
    assert outcomes(replica) == ["not-allowed", "not-allowed"]
    assert office.at_hub(f"select team from project where id = {key}") == [("red",)]


def test_a_step_adds_no_statement_for_each_row(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reunite.stores.sql.reading import SqlTransaction

    replica = office.replica_of(ANNA)
    asked: list[int] = []
    rows = SqlTransaction.rows

    def counted(self: Any, table: str, keys: Any) -> Any:
        if table == "project":
            asked.append(len(keys))
        return rows(self, table, keys)

    monkeypatch.setattr(SqlTransaction, "rows", counted)

    def reads(count: int) -> tuple[int, int]:
        with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
            db.executemany(
                "insert into task values (?, 1, '')", [(f"{count}-{n}",) for n in range(count)]
            )
        asked.clear()
        replica.sync()
        pushed = len(asked)
        office.at_hub(f"update task set title = 'x' where id like '{count}-%'")
        asked.clear()
        replica.sync()
        assert replica.status().pending == replica.status().parked == 0
        return pushed, len(asked)

    assert reads(5) == reads(200)


def test_rules_are_kept_in_the_words_of_who_wrote_them(office: Office) -> None:
    kept = office.hub.rules()["task"]
    assert "project.team" in str(kept)
    with Hub(office.database.store(), clock=office.clock, new_id=SeededIds(2)) as other:
        other.track("task")
        assert other.rules()["task"] == kept
        office.wire.hub = other
        assert ids(office.replica_of(ANNA)) == ["t1", "t2"], "the parent need not be offered"


def test_a_parent_that_is_tracked_no_more_closes_the_rows(office: Office) -> None:
    anna = office.replica_of(ANNA)
    office.hub.untrack("project")
    anna.sync()
    assert ids(anna) == []
    office.hub.track("project", rules=Rules.none())
    anna.sync()
    assert ids(anna) == ["t1", "t2"]


@pytest.mark.parametrize(
    "read",
    [
        row.nowhere.team == "red",
        row.project.nothing == "red",
        row.project.team == 7,
        row.title.team == "red",
        row.project.client.project.team == "red",
        row["project."] == "red",
    ],
)
def test_steps_that_lead_nowhere_are_refused(office: Office, read: Any) -> None:
    before = office.hub.rules()
    with pytest.raises(BadRequestError):
        office.hub.track("task", rules=Rules(read=read))
    assert office.hub.rules() == before


def test_a_choice_of_rows_takes_no_steps(office: Office) -> None:
    """It could tell what is in rows that are hidden."""
    replica = office.replica_of(ANNA)
    with pytest.raises(BadRequestError):
        replica.set_tables({"task": row.project.name == "Bridge"})


def test_rows_that_changed_unseen_are_compared(office: Office) -> None:
    """A parent that was written while its table had no triggers decides all the same."""
    if office.database.kind != "sqlite":
        pytest.skip("the triggers are taken off with SQLite's words")
    anna = office.replica_of(ANNA)
    for (name,) in office.at_hub(
        "select name from sqlite_master where type = 'trigger' and tbl_name = 'project'"
    ):
        office.at_hub(f'drop trigger "{name}"')
    office.at_hub("update project set team = 'blue' where id = 1")
    anna.sync()
    assert ids(anna) == []


class WritesInBetween(WireObserver):
    """Writes at the hub once, when an answer with some text is on its way."""

    def __init__(self, office: Office, text: bytes, sql: str) -> None:
        self.office, self.text, self.sql = office, text, sql

    def answered(self, request: Request, answer: bytes) -> None:
        if self.text in answer:
            self.text = b"never again"
            self.office.at_hub(self.sql)


@pytest.mark.parametrize(
    "made",
    [
        "insert into task values ('a0', 1, 'new')",
        "update task set project_id = 1, id = 'a0' where id = 't3'",
    ],
)
def test_a_row_that_was_sent_before_its_turn_leaves_again(office: Office, made: str) -> None:
    """The page that takes the change of its parent sees it already, the next one no more."""
    office.at_hub("update project set team = 'green'")
    anna = office.replica_of(ANNA, page_rows=2)
    office.at_hub("update project set team = 'red' where id = 1")
    office.at_hub("update client set org = 'west' where id = 'c2'")
    office.at_hub(made)
    office.wire.observer = WritesInBetween(
        office, b'"puts":[["a0"', "update project set team = 'blue' where id = 1"
    )
    anna.sync()
    assert ids(anna) == []


def test_what_one_table_asks_of_a_row_hides_nothing_from_another(office: Office) -> None:
    """Two tables ask one row for two things, and it changed both."""
    office.hub.track("thing", rules=Rules(read=row.project.name == "Bridge"))
    office.at_hub("insert into thing values ('x', 1), ('y', 2)")
    anna = office.replica_of(ANNA)
    assert (ids(anna), ids(anna, "thing")) == (["t1", "t2"], ["x"])
    office.at_hub("update project set name = 'Viaduct' where id = 1")
    office.at_hub("update project set team = 'blue' where id = 1")
    anna.sync()
    assert (ids(anna), ids(anna, "thing")) == ([], [])


def test_a_stream_is_told_when_a_parent_changes(office: Office) -> None:
    """And not by a change of one that no row of its view leads to."""
    anna = office.replica_of(ANNA, tables=["task"])
    with anna._file.reading() as (_, state):
        request = LiveRequest(
            protocol=1, replica=state.replica, cursor=str(state.cursor), tables=["task"]
        )
    desk = office.hub.live()
    opened = desk.open(request, ANNA)
    assert opened is not None
    office.at_hub("update client set org = 'west'")
    assert desk.round().deliveries == {}
    office.at_hub("update project set team = 'blue' where id = 1")
    (delivery,) = desk.round().deliveries.values()
    assert delivery is not None
    assert b'"evicts":[["t1"],["t2"]]' in b"".join(delivery.events)
    office.at_hub("update project set team = 'red' where id = 1")
    (delivery,) = desk.round().deliveries.values()
    assert delivery is not None
    assert b'"puts":[["t1",1,"one"],["t2",1,"two"]]' in b"".join(delivery.events)


# --- Explained and erased -------------------------------------------------------------------------


def test_an_explanation_shows_what_stands_where_steps_lead(office: Office) -> None:
    (reason,) = office.hub.explain(CARL, "task", ("t1",)).read.reasons
    assert (reason.text, reason.holds) == ("row.project.team.is_in(user.teams)", False)
    assert (reason.row, reason.user) == ("red", ["blue"])
    (nowhere,) = office.hub.explain(CARL, "task", ("t4",)).read.reasons
    assert (nowhere.holds, nowhere.row) == (False, None)
    office.hub.track("task", rules=Rules(read=row.project.client.org == user.tenant))
    (reason,) = office.hub.explain(CARL, "task", ("t3",)).read.reasons
    assert (reason.row, reason.user, reason.holds) == ("south", "south", True)


def held_by(replica: Replica) -> bytes:
    """The bytes of a file and its log."""
    log = replica.path.with_name(f"{replica.path.name}-wal")
    return replica.path.read_bytes() + (log.read_bytes() if log.exists() else b"")


def test_an_erased_parent_takes_its_rows_out_of_files(office: Office) -> None:
    """With those that its deletion takes along; who saw none of them is told keys at most."""
    office.at_hub("update task set title = 'CANARY' where project_id = 1")
    anna, carl = office.replica_of(ANNA), office.replica_of(CARL)
    assert b"CANARY" in held_by(anna)
    report = office.hub.erase("project", (1,))
    assert {(each.table, each.key) for each in report.erased} == {
        ("project", (1,)), ("task", ("t1",)), ("task", ("t2",)),
    }  # fmt: skip
    office.wire.observer = answers = Answers()
    anna.sync()
    carl.sync()
    assert (ids(anna), ids(carl)) == ([], ["t3"])
    assert b"CANARY" not in answers.text
    assert b"CANARY" not in held_by(anna)
    assert not office.hub.explain(ANNA, "task", ("t1",)).is_there
