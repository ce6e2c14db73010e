"""Tenants: sealed compartments of one hub (I8)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import msgspec
import pytest

from reunite.core.cursor import SnapshotPosition, decode_cursor, encode_cursor
from reunite.core.fields import row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.errors import UnknownReplicaError
from reunite.replica import Replica
from reunite.testing import Fault
from reunite.testing.wire import FakeTransport, Request, WireObserver
from tests.pair.hubs import SqliteHubDatabase
from tests.pair.test_rules import Answers, Office, ids, office, outcomes, write

__all__ = ["office"]

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

NORTH = Principal(user="nora", tenant="red")
SOUTH = Principal(user="sol", tenant="blue")


@pytest.fixture
def house(office: Office) -> Office:
    """Every team is a tenant: its own row, its tasks, and notes that need no tenant."""
    office.hub.track("team", tenant="id", rules=Rules.none())
    office.hub.track("task", tenant="team_id", rules=Rules.none())
    office.hub.track("note", rules=Rules.none())
    return office


class Pulls(WireObserver):
    """Keeps the last pull that was sent."""

    def sending(self, request: Request, fault: Fault) -> None:
        if request.operation == "pull":
            self.last = json.loads(request.body)


def with_keys_off(replica: Replica, *statements: str) -> None:
    """Another program, which minds no foreign keys."""
    with closing(sqlite3.connect(replica.path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


UUID = "'0190163d-8694-7000-8000-00000000000a'"
TELLING = [
    ("id text primary key not null, org text", "('a', 'red')", "org"),
    ("id bigint primary key not null, org text", "(7, 'red')", "org"),
    ("a text, b bigint, org text, primary key (a, b)", "('a', 1, 'red')", "org"),
    ("id integer primary key, org text", "(1, 'red')", "org"),
    ("id text primary key not null, team text references team (id)", "('a', 'red')", "team.id"),
]
NOT_TELLING = [
    ("id text primary key not null, org text", f"({UUID}, 'red')", "org"),
    ("id uuid primary key not null, org text", f"({UUID}, 'red')", "org"),
    ("org text, n bigint, primary key (org, n)", "('red', 1)", "org"),
]


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize(
    ("table", "is_telling"),
    [*((each, True) for each in TELLING), *((each, False) for each in NOT_TELLING)],
    ids=lambda each: each[0] if isinstance(each, tuple) else str(each),
)
def test_track_warns_of_keys_that_tell_of_other_tenants(
    house: Office,
    table: tuple[str, str, str],
    is_telling: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    columns, values, tenant = table
    house.at_hub(f"create table told ({columns})")
    house.at_hub(f"insert into told values {values}")
    caplog.clear()
    house.hub.track("told", rules=Rules.none())
    assert not caplog.messages, "without a tenant there is nobody to tell"
    house.hub.track("told", tenant=tenant)
    assert [("'told'" in each, "UUID" in each) for each in caplog.messages] == (
        [(True, True)] if is_telling else []
    )
    caplog.clear()
    house.hub.track("told", tenant=tenant, rules=Rules(read=True))
    assert not caplog.messages, "once is enough"


def test_each_tenant_has_its_own_rows(house: Office) -> None:
    assert ids(house.replica_of(NORTH)) == ["r1", "r2"]
    assert ids(house.replica_of(SOUTH)) == ["b1"]
    assert ids(house.replica_of(NORTH), "team") == ["red"]
    assert ids(house.replica_of(Principal(user="stranger"))) == []


@pytest.mark.parametrize("count", [1, 30])
def test_new_rows_without_a_tenant_get_that_of_who_made_them(house: Office, count: int) -> None:
    replica = house.replica_of(SOUTH)
    write(
        replica,
        *[f"insert into task (id, owner) values ('n{number}', 'sol')" for number in range(count)],
    )
    assert outcomes(replica) == []
    assert house.at_hub("select distinct team_id from task where owner = 'sol'") == [("blue",)]
    with closing(sqlite3.connect(replica.path)) as db:
        found = db.execute("select distinct team_id from task where owner = 'sol'").fetchall()
    assert found == [("blue",)], "the replica has the row as the hub does"
    assert ids(house.replica_of(NORTH)) == ["r1", "r2"]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("insert into task values ('n', 'red', 'sol', 'theirs')", "not-allowed"),
        ("insert into task values ('n', 'green', 'sol', 'nobodys')", "not-allowed"),
        ("update task set team_id = 'red'", "not-allowed"),
        ("update task set team_id = 'green'", "not-allowed"),
        ("update task set team_id = null", "not-allowed"),
        ("insert into team values ('green', 'new')", "not-allowed"),
        ("insert into team values ('red', 'taken')", "not-allowed"),
        ("insert into task values ('r1', 'blue', 'sol', 'taken')", "key-taken"),
    ],
)
def test_nothing_crosses_into_another_tenant(house: Office, statement: str, code: str) -> None:
    """A row of another tenant and one that is nowhere are refused alike, to the byte."""
    before = house.at_hub("select * from task, team order by 1, 5")
    replica = house.replica_of(SOUTH)
    with_keys_off(replica, statement)
    house.wire.observer = answers = Answers()
    assert outcomes(replica) == [code]
    assert b"Red" not in answers.text
    assert house.at_hub("select * from task, team order by 1, 5") == before


def test_parents_of_others_and_of_nobody_are_told_alike(house: Office) -> None:
    def told(team: str) -> Any:
        replica = house.replica_of(SOUTH)
        with_keys_off(replica, f"insert into task values ('n-{team}', '{team}', 'sol', '')")
        replica.sync()
        parked = replica.parked()[-1]
        return parked.code, parked.reason, parked.columns

    assert told("red") == told("green")


def test_rules_are_about_the_own_tenant_only(house: Office) -> None:
    house.hub.track(
        "task",
        tenant="team_id",
        rules=Rules(read=True, insert=True, update=row.owner == user.id),
    )
    sol = house.replica_of(Principal(user="sol", tenant="blue"))
    write(sol, "insert into task values ('n', 'blue', 'sol', 'mine')")
    assert outcomes(sol) == []
    write(sol, "update task set title = 'x' where id = 'b1'")
    assert outcomes(sol) == ["not-allowed"]
    assert ids(sol) == ["b1", "n"]


def test_a_row_that_moves_to_another_tenant_changes_hands(house: Office) -> None:
    north, south = house.replica_of(NORTH), house.replica_of(SOUTH)
    house.at_hub("update task set team_id = 'blue', title = 'CANARY' where id = 'r1'")
    house.wire.observer = answers = Answers()
    north.sync()
    assert b"CANARY" not in answers.text
    south.sync()
    assert ids(north) == ["r2"]
    assert ids(south) == ["b1", "r1"]


def hostile_pull(house: Office, principal: Principal, **fields: Any) -> dict[str, Any]:
    """What the hub answers to the next pull of this principal's replica with fields put in."""
    house.wire.observer = requests = Pulls()
    house.replica_of(principal).sync()
    house.wire.observer = WireObserver()
    body = {**requests.last, **fields}
    if "cursor" in fields:
        cursor = decode_cursor(requests.last["cursor"])
        body["cursor"] = encode_cursor(msgspec.structs.replace(cursor, **fields["cursor"]))
    transport = house.wire.transport(house.hub.create_token(principal))
    answer: dict[str, Any] = json.loads(transport.call("pull", json.dumps(body).encode()))
    return answer


@pytest.mark.parametrize("part", ["view", "old_view"])
def test_a_forged_cursor_names_no_row_of_another_tenant(house: Office, part: str) -> None:
    """A view that another replica was sent is, in a cursor, as unknown as one that never was."""
    house.replica_of(SOUTH).sync()
    ((theirs,),) = house.at_hub("select hash from reunite_view")
    house.replica_of(NORTH).sync()
    found = {hash_ for (hash_,) in house.at_hub("select hash from reunite_view")} - {theirs}
    assert len(found) == 1, "two views, one for each tenant"
    start = SnapshotPosition(table="note", after=None, rows_total=0)
    more = {} if part == "view" else {"snapshot": start}
    forged = hostile_pull(house, NORTH, cursor={part: theirs, **more})
    unknown = hostile_pull(house, NORTH, cursor={part: "0" * 32, **more})
    assert forged["reset"]
    assert not any("evicts" in table for table in forged["tables"])
    assert '"b1"' not in json.dumps(forged)
    assert forged == unknown


NAMESAKE = Principal(user=NORTH.user, tenant="blue")


def test_a_replica_is_unknown_to_who_has_its_users_name_in_another_tenant(house: Office) -> None:
    replica = house.replica_of(NORTH)
    write(replica, "update task set title = 'SECRET' where id = 'r1'")
    house.wire.observer = Pulls()
    replica.sync()
    operations = {"push", "pull"}
    requests = {one.operation: one for one in house.wire.requests if one.operation in operations}
    house.wire.observer = answers = Answers()
    again = house.wire.transport(house.hub.create_token(NORTH))
    other = house.wire.transport(house.hub.create_token(NAMESAKE))
    for operation in sorted(operations):
        again.call(operation, requests[operation].body)  # this is another token, no other user
        answers.text = b""
        with pytest.raises(UnknownReplicaError):
            other.call(operation, requests[operation].body)
        assert answers.text == b""
    (record,) = house.hub.status().replicas
    assert (record.principal, record.tenant) == ("nora", '"red"')


class Claiming(FakeTransport):
    """Says of every push that another replica was its file's earlier identity."""

    former = ""

    def call(self, operation: str, body: bytes) -> bytes:
        if operation == "push":
            formers = [{"replica": self.former, "n": 1_000}]
            body = json.dumps({**json.loads(body), "formers": formers}).encode()
        return super().call(operation, body)


@pytest.mark.parametrize(("tenant", "conflicts"), [("red", 0), ("blue", 1)])
def test_an_earlier_identity_is_of_the_same_tenant(
    house: Office, tenant: str, conflicts: int
) -> None:
    """What an earlier identity made anew is this file's own row; what somebody else did is not."""
    house.hub.drop_rules("task")
    house.hub.track("task", rules=Rules.none())
    north = house.replica_of(NORTH)
    token = house.hub.create_token(Principal(user=NORTH.user, tenant=tenant))
    transport = Claiming(wire=house.wire, token=token, label="other")
    transport.former = house.hub.status().replicas[0].id
    with Replica.clone(
        house.folder / "other.db", transport=transport, clock=house.clock
    ) as replica:
        write(north, "delete from task where id = 'r1'")
        north.sync()
        write(north, "insert into task values ('r1', 'red', 'anna', 'again')")
        north.sync()
        write(replica, "update task set owner = 'bert' where id = 'r1'")
        replica.sync()
        assert len(replica.conflicts()) == conflicts


@pytest.mark.hubs("sqlite")
def test_query_counts_tell_nothing(house: Office) -> None:
    """Parents of another tenant cost as many statements at the hub as parents that are nowhere."""
    counts = []
    replica = house.replica_of(SOUTH)
    for team in ("red", "green"):
        with_keys_off(replica, f"insert into task values ('m-{team}', '{team}', 'sol', '')")
        counts.append(_statements_of_a_sync(house, replica))
    assert counts[0] == counts[1]


def _statements_of_a_sync(house: Office, replica: Replica) -> int:
    return _statements_of(replica.sync)


def _statements_of_a_push(house: Office, replica: Replica) -> int:
    return _statements_of(replica.push) if isinstance(house.database, SqliteHubDatabase) else 0


def _statements_of(act: Any) -> int:
    import reunite.stores.sql.database as database

    count = 0
    execute = database.SqliteSession.execute

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return execute(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.SqliteSession, "execute", counted)
        act()
    return count


SHARED = """
create table room (
    org text not null, number integer not null, name text, primary key (org, number)
);
create table guest (id text primary key not null, org text, room_org text, room_number integer,
    foreign key (room_org, room_number) references room (org, number));
insert into room values ('blue', 1, 'Sol'), ('red', 10, 'Nora');
"""


@pytest.fixture
def hotel(house: Office) -> Office:
    for statement in SHARED.split(";")[:-1]:
        house.at_hub(statement)
    house.hub.track("room", tenant="org", rules=Rules.none())
    house.hub.track("guest", tenant="org", rules=Rules.none())
    return house


@pytest.mark.parametrize("number", [10, 11], ids=["taken", "nowhere"])
def test_a_pointer_that_is_set_in_two_steps_is_judged_whole(hotel: Office, number: int) -> None:
    replica = hotel.replica_of(SOUTH)
    write(replica, "insert into guest values ('g', 'blue', 'red', null)")
    assert outcomes(replica) == []
    with_keys_off(replica, f"update guest set room_number = {number} where id = 'g'")
    assert outcomes(replica) == ["foreign-key"]
    assert hotel.at_hub("select room_number from guest") == [(None,)]
    (parked,) = replica.parked()
    assert (parked.reason, parked.columns) == ("The row that it points to is not at the hub.", ())


@pytest.mark.parametrize("number", [10, 11], ids=["taken", "free"])
def test_keys_of_another_tenant_are_refused_alike(hotel: Office, number: int) -> None:
    """Taken or free: the rules are asked first."""
    replica = hotel.replica_of(SOUTH)
    with_keys_off(replica, f"insert into room values ('red', {number}, 'mine')")
    assert outcomes(replica) == ["not-allowed"]
    replica.discard(replica.parked()[0].id)
    with_keys_off(replica, f"update room set org = 'red', number = {number} where org = 'blue'")
    assert outcomes(replica) == ["not-allowed"]
    assert hotel.at_hub("select * from room order by 1") == [
        ("blue", 1, "Sol"),
        ("red", 10, "Nora"),
    ]


@pytest.mark.parametrize("wins", ["delete_wins", "update_wins"])
@pytest.mark.parametrize("change", ["insert", "update"])
def test_parents_of_others_that_went_are_told_as_those_that_never_were(
    hotel: Office, change: str, wins: str
) -> None:
    """Deleted, or moved to another key, after the replica's last checkpoint."""
    hotel.hub.track("room", rows=wins)
    hotel.at_hub("insert into room values ('red', 20, 'gone'), ('red', 30, 'moved')")
    hotel.at_hub("insert into guest values ('g', 'blue', 'blue', 1)")
    leaving = {
        20: "delete from room where number = 20",
        30: "update room set number = 31 where number = 30",
        40: "update room set name = 'never' where number = 10",
    }
    told, counts = set(), set()
    for number, statement in leaving.items():
        replica = hotel.replica_of(Principal(user=f"sol{number}", tenant="blue"))
        hotel.at_hub(statement)
        hotel.hub.number()
        with_keys_off(
            replica,
            f"insert into guest values ('n{number}', 'blue', 'red', {number})"
            if change == "insert"
            else f"update guest set room_org = 'red', room_number = {number}",
        )
        counts.add(_statements_of_a_push(hotel, replica))
        replica.sync()
        (parked,) = replica.parked()
        told.add((parked.code, parked.reason, parked.columns))
    ((code, _, _),) = told
    assert code == "foreign-key"
    assert len(counts) == 1


def test_a_parent_of_ones_own_that_went_is_told_as_deleted(hotel: Office) -> None:
    hotel.at_hub("insert into room values ('blue', 2, 'Small')")
    replica = hotel.replica_of(SOUTH)
    write(replica, "insert into guest values ('n', 'blue', 'blue', 2)")
    hotel.at_hub("delete from room where number = 2")
    assert outcomes(replica) == ["parent-deleted"]
