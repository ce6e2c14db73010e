"""Rules between a hub and its replicas: who sees which rows (I6), whose changes count (I7)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reunite.core.fields import row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.errors import BadRequestError, UntrackableTableError
from reunite.hub import Hub
from reunite.protocol.query import QueryRequest
from reunite.replica import Replica
from reunite.stores.sql.database import connect_sqlite
from reunite.testing import FakeClock, FakeWire, SeededIds
from reunite.testing.wire import Request, WireObserver
from tests.pair.hubs import HubDatabase, PostgresHubDatabase, SqliteHubDatabase

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

DDL = """
create table team (id text primary key not null, name text);
create table task (
    id text primary key not null, team_id text references team (id), owner text, title text
);
create table note (id integer primary key, author text, body text);
insert into team values ('red', 'Red'), ('blue', 'Blue');
insert into task values
    ('r1', 'red', 'anna', 'paint'), ('r2', 'red', 'bert', 'sand'), ('b1', 'blue', 'carl', 'SECRET');
insert into note values (1, 'anna', 'hello'), (2, 'carl', 'SECRET');
"""
ANNA = Principal(user="anna", claims={"teams": ["red"]})
CARL = Principal(user="carl", claims={"teams": ["blue"]})
BOSS = Principal(user="boss", roles=("boss",), claims={"teams": ["red", "blue"]})

TASK_RULES = Rules(
    read=row.team_id.is_in(user.teams),
    insert=row.team_id.is_in(user.teams) & (row.owner == user.id),
    update=(row.owner == user.id) | user.roles.contains("boss"),
    delete=user.roles.contains("boss"),
)
MINE = row.author == user.id


class Answers(WireObserver):
    """Keeps what the hub said."""

    def __init__(self) -> None:
        self.text = b""

    def answered(self, request: Request, answer: bytes) -> None:
        self.text += answer


@dataclass(kw_only=True)
class Office:
    """A hub with rules, and a replica for each principal."""

    folder: Path
    hub: Hub
    database: HubDatabase
    wire: FakeWire
    clock: FakeClock
    closing: ExitStack
    replicas: dict[str, Replica] = field(default_factory=dict)

    def replica_of(self, principal: Principal, **options: Any) -> Replica:
        if principal.user not in self.replicas:
            token = self.hub.create_token(principal, label=principal.user)
            self.replicas[principal.user] = self.closing.enter_context(
                Replica.clone(
                    self.folder / f"{principal.user}.db",
                    transport=self.wire.transport(token, label=principal.user),
                    clock=self.clock,
                    **options,
                )
            )
        return self.replicas[principal.user]

    def at_hub(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.execute(sql)


def ids(replica: Replica, table: str = "task") -> list[Any]:
    with closing(sqlite3.connect(replica.path)) as db:
        return [found for (found,) in db.execute(f"select id from {table} order by 1")]


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for statement in statements:
            db.execute(statement)


def outcomes(replica: Replica) -> list[str]:
    """The codes of what is parked, after a sync."""
    replica.sync()
    return [change.code for change in replica.parked()]


@contextmanager
def office_in(
    folder: Path, hub_kind: str, ddl: str, request: pytest.FixtureRequest
) -> Iterator[Office]:
    """A hub with these tables, none of them tracked yet."""
    database: HubDatabase
    if hub_kind == "sqlite":
        database = SqliteHubDatabase(folder / "hub.db", ddl)
    else:
        database = PostgresHubDatabase(request.getfixturevalue("postgresql"), ddl)
    clock = FakeClock()
    with ExitStack() as stack:
        stack.callback(database.close)
        hub = stack.enter_context(Hub(database.store(), clock=clock, new_id=SeededIds(1)))
        yield Office(
            folder=folder,
            hub=hub,
            database=database,
            wire=FakeWire(hub),
            clock=clock,
            closing=stack,
        )


@pytest.fixture
def office(hub_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    with office_in(tmp_path, hub_kind, DDL, request) as office:
        office.hub.track("team", rules=Rules(read=row.id.is_in(user.teams)))
        office.hub.track("task", rules=TASK_RULES)
        office.hub.track("note", rules=Rules(read=MINE, insert=MINE, update=MINE, delete=MINE))
        yield office


# --- Reading --------------------------------------------------------------------------------------


def test_each_sees_the_rows_that_the_rules_mean(office: Office) -> None:
    assert ids(office.replica_of(ANNA)) == ["r1", "r2"]
    assert ids(office.replica_of(ANNA), "note") == [1]
    assert ids(office.replica_of(CARL)) == ["b1"]
    assert ids(office.replica_of(BOSS)) == ["b1", "r1", "r2"]
    nobody = office.replica_of(Principal(user="nobody"))
    assert [ids(nobody, name) for name in ("team", "task", "note")] == [[], [], []]


def test_what_came_under_former_rights_is_named_by_its_key_at_most(office: Office) -> None:
    """A replica may be told to forget rows that it never had; nothing else of them travels."""
    office.hub.track("note", rules=Rules(read=True))
    replica = office.replica_of(ANNA)
    office.at_hub("insert into note (author, body) values ('carl', 'CANARY before')")
    office.hub.track("note", rules=Rules(read=MINE))
    office.at_hub("insert into note (author, body) values ('carl', 'CANARY after')")
    office.at_hub("update note set body = body || ' all' where author = 'carl'")
    office.wire.observer = answers = Answers()
    replica.sync()
    assert ids(replica, "note") == [1]
    assert b"CANARY" not in answers.text
    assert b"carl" not in answers.text
    assert b"SECRET" not in answers.text


def test_what_is_hidden_is_in_no_answer(office: Office) -> None:
    """Neither in pages, repairs and queries, nor in the answers to pushes at hidden rows."""
    office.wire.observer = answers = Answers()
    replica = office.replica_of(ANNA)
    office.at_hub("update task set title = title || ' still' where id = 'b1'")
    office.at_hub("insert into note (author, body) values ('carl', 'SECRET too')")
    replica.sync()
    replica.repair()
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute("insert into task values ('b1', 'red', 'anna', 'mine now')")
        db.execute("insert into task values ('r9', 'blue', 'anna', 'spy')")
    replica.sync()
    found = office.hub.query(QueryRequest(table="task", where={}), ANNA)
    assert [r[0] for r in found.rows] == ["r1", "r2"]
    assert office.hub.query(QueryRequest(table="task", where={"id": "b1"}), ANNA).rows == []
    assert b"SECRET" not in answers.text
    assert b"carl" not in answers.text


def test_a_row_that_moves_to_another_team_changes_hands(office: Office) -> None:
    anna, carl = office.replica_of(ANNA), office.replica_of(CARL)
    office.at_hub("update task set team_id = 'blue', title = 'later' where id = 'r1'")
    office.at_hub("update task set title = 'CANARY' where id = 'r1'")
    anna.sync()
    carl.sync()
    assert ids(anna) == ["r2"]
    assert ids(carl) == ["b1", "r1"]
    assert b"CANARY" not in (office.folder / "anna.db").read_bytes()


def test_a_choice_of_rows_is_narrowed_and_never_widened(office: Office) -> None:
    replica = office.replica_of(ANNA, tables={"task": row.owner.is_in(["bert", "carl"])})
    assert ids(replica) == ["r2"]
    replica.set_tables({"task": row.team_id == "blue"})
    replica.sync()
    assert ids(replica) == []


def test_changed_rules_take_rows_away_and_bring_others(office: Office) -> None:
    """Only the difference travels, and what is gone leaves the file."""
    replica = office.replica_of(ANNA)
    office.hub.track("task", rules=Rules(read=row.owner == user.id))
    replica.sync()
    assert ids(replica) == ["r1"]
    office.hub.track("task", rules=Rules(read=row.team_id == "blue"))
    replica.sync()
    assert ids(replica) == ["b1"]
    office.hub.drop_rules("task")
    replica.sync()
    assert ids(replica) == [], "a table without rules is closed while others have some"


def test_another_process_keeps_the_rules(office: Office) -> None:
    """They are in the database, so a hub that was not told of any has them too."""
    replica = office.replica_of(ANNA)
    with Hub(office.database.store(), clock=office.clock, new_id=SeededIds(2)) as other:
        other.track_all()
        assert other.rules() == office.hub.rules()
        office.wire.hub = other
        office.at_hub("insert into task values ('b2', 'blue', 'carl', 'x')")
        office.at_hub("insert into task values ('r3', 'red', 'carl', 'x')")
        replica.sync()
        assert ids(replica) == ["r1", "r2", "r3"]
        other.track("note", rules=Rules.none())
    office.wire.hub = office.hub
    replica.sync()
    assert ids(replica, "note") == [1, 2]


def test_without_rules_a_hub_is_open(office: Office) -> None:
    for table in ("team", "task", "note"):
        office.hub.drop_rules(table)
    replica = office.replica_of(Principal(user="anybody"))
    assert ids(replica) == ["b1", "r1", "r2"]
    write(replica, "delete from task where id = 'b1'")
    assert outcomes(replica) == []


def test_rules_that_do_not_fit_are_refused_before_anything_is_done(office: Office) -> None:
    before = office.hub.rules()
    with pytest.raises(BadRequestError):
        office.hub.track("task", rules=Rules(read=row.nowhere == 1))
    assert office.hub.rules() == before


# --- Writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("insert into task values ('n', 'red', 'anna', 'mine')", None),
        ("insert into task values ('n', 'red', 'bert', 'his')", "not-allowed"),
        ("insert into task values ('n', null, 'anna', 'nobodys')", "not-allowed"),
        ("insert into task values ('n', 'blue', 'anna', 'theirs')", "not-allowed"),
        ("insert into task values ('n', 'green', 'anna', 'nowhere')", "not-allowed"),
        ("insert into task values ('b1', 'red', 'anna', 'taken')", "key-taken"),
        ("update task set title = 'new' where id = 'r1'", None),
        ("update task set title = 'new' where id = 'r2'", "not-allowed"),
        ("update task set owner = 'bert' where id = 'r1'", "not-allowed"),
        ("update task set owner = 'anna' where id = 'r2'", "not-allowed"),
        ("update task set id = 'r5' where id = 'r1'", None),
        ("update task set id = 'r5' where id = 'r2'", "not-allowed"),
        ("delete from task where id = 'r1'", "not-allowed"),
        ("insert into note (author, body) values ('anna', 'x')", None),
        ("insert into note (author, body) values ('bert', 'x')", "not-allowed"),
        ("update team set name = 'Reds'", "not-allowed"),
    ],
)
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_change_takes_effect_if_the_rules_allow_it(
    office: Office, statement: str, code: str | None, is_alone: bool
) -> None:
    """On the old row and on the new; what is refused is parked, and the hub's row is back."""
    replica = office.replica_of(ANNA)
    before = office.at_hub("select * from task, note order by 1, 5")
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute(statement)
        if not is_alone:
            db.execute("insert into note (author, body) values ('anna', 'beside it')")
    codes = outcomes(replica)
    assert codes == ([] if code is None else [code])
    if code is not None and is_alone:
        assert office.at_hub("select * from task, note order by 1, 5") == before
    assert bool(office.at_hub("select 1 from note where body = 'beside it'")) is not is_alone
    shown = [r for r in office.at_hub("select id from task order by 1") if r[0] != "b1"]
    assert ids(replica) == [found for (found,) in shown]


def test_a_change_of_a_row_that_was_hidden_meanwhile_is_as_of_one_that_is_gone(
    office: Office,
) -> None:
    """Byte for byte: what was moved out of sight and what was deleted are answered alike."""

    def told(hide: str, change: str) -> bytes:
        replica = office.replica_of(Principal(user=f"anna{len(office.replicas)}", claims=CLAIMS))
        write(replica, change)
        office.at_hub(hide)
        office.wire.observer = answers = Pushes()
        replica.sync()
        office.wire.observer = WireObserver()
        assert ids(replica) == ["r2"]
        office.at_hub("delete from task where id = 'r1'")
        office.at_hub("insert into task values ('r1', 'red', 'anna', 'paint')")
        return answers.text

    for change in ("update task set title = 'x' where id = 'r1'", "delete from task where id='r1'"):
        moved = told("update task set team_id = 'blue' where id = 'r1'", change)
        gone = told("delete from task where id = 'r1'", change)
        assert moved == gone
        assert b"rejected" not in moved


CLAIMS = {"teams": ["red"]}


class Pushes(Answers):
    """Keeps the outcomes that pushes were answered with."""

    def answered(self, request: Request, answer: bytes) -> None:
        if request.operation == "push":
            start = answer.index(b'"outcomes"')
            told = answer[start : answer.index(b'"stamp"')]
            self.text += re.sub(rb'"id":"[0-9a-f]{32}"', b"", told)


def test_a_parent_comes_with_its_child_in_one_group(office: Office) -> None:
    everybody = Rules(read=row.id.is_in(user.teams), insert=True)
    office.hub.track("team", rules=everybody)
    founder = Principal(user="founder", claims={"teams": ["green"]})
    replica = office.replica_of(founder)
    write(
        replica,
        "insert into team values ('green', 'Green')",
        "insert into task values ('g1', 'green', 'founder', 'begin')",
    )
    assert outcomes(replica) == []
    assert ids(replica) == ["g1"]


def test_many_inserts_are_judged_one_by_one_where_some_are_refused(office: Office) -> None:
    replica = office.replica_of(ANNA)
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        for number in range(40):
            owner = "bert" if number in (7, 23) else "anna"
            db.execute(f"insert into task values ('n{number}', 'red', '{owner}', '')")
    assert outcomes(replica) == ["not-allowed"] * 2
    assert len(ids(replica)) == 40


def test_what_was_written_without_the_right_to_read_it_leaves_the_file(office: Office) -> None:
    """A letter box: anybody may put something in, nobody else sees it."""
    office.hub.track("note", rules=Rules(read=MINE, insert=True))
    replica = office.replica_of(ANNA)
    write(replica, "insert into note (author, body) values ('carl', 'for you')")
    assert outcomes(replica) == []
    assert ids(replica, "note") == [1]
    assert office.at_hub("select count(*) from note where body = 'for you'") == [(1,)]


def test_rights_lost_while_offline_park_the_change_and_take_the_row(office: Office) -> None:
    replica = office.replica_of(ANNA)
    write(replica, "update task set title = 'my work' where id = 'r1'")
    office.hub.track("task", rules=Rules(read=row.team_id.is_in(user.teams)))
    assert outcomes(replica) == ["not-allowed"]
    (parked,) = replica.parked()
    assert "my work" in str(parked)
    assert ids(replica) == ["r1", "r2"]


def test_a_parent_that_is_made_and_changed_with_its_child_is_no_hidden_one(
    office: Office,
) -> None:
    everything = Rules(read=row.id.is_in(user.teams), insert=True, update=True)
    office.hub.track("team", rules=everything)
    founder = Principal(user="founder", claims={"teams": ["green"]})
    replica = office.replica_of(founder)
    write(
        replica,
        "insert into team values ('green', 'Green')",
        "insert into task values ('g1', 'green', 'founder', 'begin')",
        "update task set title = 'go on' where id = 'g1'",
        "update team set name = 'Greens' where id = 'green'",
    )
    assert outcomes(replica) == []
    assert office.at_hub("select title from task where id = 'g1'") == [("go on",)]


def test_a_change_of_a_hidden_parent_does_not_make_it_seen(office: Office) -> None:
    """Nor does one of a parent that is nowhere: both are answered alike."""
    office.hub.track("task", rules=Rules.none())
    office.hub.track("team", rules=Rules(read=row.id.is_in(user.teams), update=True))
    replica = office.replica_of(ANNA)
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute("insert into team values ('blue', 'mine')")
        db.execute("insert into team values ('green', 'mine')")
    replica.sync()
    for parked in replica.parked():
        replica.discard(parked.id)
    for team in ("blue", "green"):
        with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
            db.execute(f"insert into task values ('n-{team}', '{team}', 'anna', '')")
            db.execute(f"update task set title = 'x' where id = 'n-{team}'")
        replica.sync()
    codes = {(parked.code, parked.reason.removeprefix("Another")) for parked in replica.parked()}
    assert {code for code, _ in codes} <= {"foreign-key", "depends-on-rejected"}
    assert office.at_hub("select count(*) from task where id like 'n-%'") == [(0,)]


def test_who_may_not_write_leaves_no_trace_in_the_log(office: Office) -> None:
    """Not even with an insert that is the row that is there."""
    office.hub.track("task", rules=Rules(read=True))
    replica = office.replica_of(ANNA)
    before = office.hub.status().changes
    write(
        replica,
        "delete from task where id = 'r1'",
        "insert into task values ('r1', 'red', 'anna', 'paint')",
    )
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute("insert or replace into task values ('r2', 'red', 'bert', 'sand')")
    replica.sync()
    assert office.hub.status().changes == before


def test_tracking_again_keeps_what_was_declared(office: Office) -> None:
    declared = office.hub.rules()["task"]
    office.hub.track("task", tenant="team_id")
    assert office.hub.rules()["task"] == declared.within("team_id")
    office.hub.track("task", rules=Rules(read=True))
    assert office.hub.rules()["task"] == Rules(read=True, tenant="team_id")
    office.hub.track("task")
    assert office.hub.rules()["task"] == Rules(read=True, tenant="team_id")


@pytest.mark.hubs("sqlite")
def test_a_table_that_cannot_be_tracked_gets_no_rules(office: Office) -> None:
    """Else all the others would be closed for it."""
    for table in ("team", "task", "note"):
        office.hub.drop_rules(table)
    office.at_hub("create table odd (id text primary key, x text)")
    office.at_hub("insert into odd values (null, 'x')")
    with pytest.raises(UntrackableTableError):
        office.hub.track("odd", rules=Rules(read=True))
    assert office.hub.rules() == {}


@pytest.mark.hubs("sqlite")
def test_rows_that_are_taken_away_are_not_left_in_free_pages(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where SQLite is built to leave them there."""

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect_sqlite(*arguments, **options)
        connection.execute("pragma secure_delete = off").fetchall()
        return connection

    monkeypatch.setattr("reunite.replica.file.connect_sqlite", connect)
    for number in range(300):
        office.at_hub(f"insert into task values ('c{number}', 'red', 'x', 'CANARY{number:0200}')")
    replica = office.replica_of(ANNA)
    office.at_hub("update task set team_id = 'blue' where id like 'c%'")
    replica.sync()
    replica.close()
    assert ids(replica) == ["r1", "r2"]
    assert b"CANARY" not in (office.folder / "anna.db").read_bytes()


def test_records_of_a_row_that_left_keep_what_the_user_wrote(office: Office) -> None:
    """Of conflicts and of parked changes; the hub's values go, and are in no byte of the file."""
    office.at_hub("update task set owner = 'anna'")
    office.at_hub("update task set title = 'HUBS OWN' where id = 'r2'")
    office.hub.track("task", rules=msgspec.structs.replace(TASK_RULES, update=row.owner != "carl"))
    replica = office.replica_of(ANNA)
    office.at_hub("update task set title = 'CANARY' where id = 'r1'")
    write(replica, "update task set title = 'my title' where id = 'r1'")
    write(replica, "update task set title = 'my other', owner = 'carl' where id = 'r2'")
    write(replica, "delete from task where id = 'r2'")
    replica.sync()
    (conflict,) = replica.conflicts()
    assert (conflict.base, conflict.hub) == ("paint", "CANARY")
    assert replica.parked()[0].was == {"title": "HUBS OWN", "owner": "anna"}
    office.at_hub("update task set team_id = 'blue'")
    replica.sync()
    (conflict,) = replica.conflicts()
    assert (conflict.base, conflict.hub, conflict.replica) == (None, None, "my title")
    update, delete = replica.parked()
    assert (update.was, update.set) == ({}, {"title": "my other", "owner": "carl"})
    assert (delete.was, delete.set) == ({}, {})
    held = [path.read_bytes() for path in office.folder.glob("anna.db*")]
    assert not any(text in found for found in held for text in (b"CANARY", b"HUBS OWN"))


def test_a_log_that_somebody_reads_is_emptied_when_they_are_done(office: Office) -> None:
    replica = office.replica_of(ANNA)
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        db.execute("begin")
        assert db.execute("select count(*) from task").fetchall() == [(2,)]
        office.at_hub("update task set team_id = 'blue', title = 'paint' where id = 'r1'")
        replica.sync()
        assert ids(replica) == ["r2"]
        db.execute("rollback")
    replica.sync()
    assert b"paint" not in (office.folder / "anna.db-wal").read_bytes()
    assert b"paint" not in (office.folder / "anna.db").read_bytes()
