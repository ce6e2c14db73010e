"""Policies: code that decides, beside rules and tenants (I6, I7)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reunite import Column, Expression, Hub, Policy, Principal, Rules, row, user
from reunite.testing import FakeClock, FakeWire, SeededIds
from tests.pair.hubs import HubDatabase, MemoryHubDatabase, PostgresHubDatabase, SqliteHubDatabase
from tests.pair.test_rules import Answers, Office, ids, outcomes, write

DDL = """
create table task (
    id text primary key not null, team text, state text not null default 'new', org text
);
insert into task values
    ('r1', 'red', 'new', 'n'), ('r2', 'red', 'done', 'n'), ('b1', 'blue', 'new', 'n'),
    ('s1', 'red', 'CANARY', 's');
"""
NEXT = {"new": {"new", "begun"}, "begun": {"begun", "done"}, "done": {"done"}}
ANN = Principal(user="ann", tenant="n", claims={"teams": ["red"]})


class Tasks(Policy):
    """Whoever is in the team; states go on, and what is done stays."""

    def __init__(self) -> None:
        self.off_duty: set[str] = set()

    def read(self, principal: Principal) -> Expression | bool:
        if principal.user in self.off_duty:
            return False
        return row.team.is_in(user.teams)

    def insert(self, principal: Principal, row: Mapping[str, Any]) -> bool:
        return row["state"] == "new"

    def update(self, principal: Principal, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        return new["state"] in NEXT[old["state"]] and old["id"] == new["id"]

    def delete(self, principal: Principal, row: Mapping[str, Any]) -> bool:
        return row["state"] == "done"


class Broken(Tasks):
    def update(self, principal: Principal, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        raise RuntimeError("SECRET of the program")


class Wrong(Tasks):
    def read(self, principal: Principal) -> Expression | bool:
        return "red"  # type: ignore[return-value]


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
        yield Office(
            folder=tmp_path,
            hub=hub,
            database=database,
            wire=FakeWire(hub, observer=Answers()),
            clock=clock,
            closing=stack,
        )


def states(office: Office) -> dict[str, str]:
    return dict(office.at_hub("select id, state from task"))


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("update task set state = 'begun' where id = 'r1'", None),
        ("update task set state = 'done' where id = 'r1'", "not-allowed"),
        ("update task set id = 'r9' where id = 'r1'", "not-allowed"),
        ("insert into task (id, team) values ('n', 'red')", None),
        ("insert into task (id, team, state) values ('n', 'red', 'done')", "not-allowed"),
        ("delete from task where id = 'r1'", "not-allowed"),
        ("delete from task where id = 'r2'", None),
    ],
)
def test_code_decides_about_each_row(office: Office, statement: str, code: str | None) -> None:
    office.hub.track("task", tenant="org", policy=Tasks())
    replica = office.replica_of(ANN)
    assert ids(replica) == ["r1", "r2"]
    before = states(office)
    write(replica, statement)
    assert outcomes(replica) == ([] if code is None else [code])
    assert (states(office) == before) is (code is not None)
    assert b"CANARY" not in getattr(office.wire.observer, "text", b"CANARY")


def test_a_policy_narrows_what_rules_allow(office: Office) -> None:
    rules = Rules(read=row.state == "new", update=False, delete=True)
    office.hub.track("task", rules=rules, policy=Tasks())
    replica = office.replica_of(ANN)
    assert ids(replica) == ["r1"]
    write(replica, "update task set state = 'begun' where id = 'r1'")
    assert outcomes(replica) == ["not-allowed"]


def test_a_policy_that_answers_otherwise_is_a_changed_view(office: Office) -> None:
    policy = Tasks()
    office.hub.track("task", policy=policy)
    replica = office.replica_of(ANN)
    assert ids(replica) == ["r1", "r2", "s1"]
    policy.off_duty.add("ann")
    replica.sync()
    assert ids(replica) == []
    policy.off_duty.clear()
    replica.sync()
    assert ids(replica) == ["r1", "r2", "s1"]


def test_a_process_without_the_policy_gives_nothing(office: Office) -> None:
    """Neither does one that declares other rules and says nothing of it."""
    office.hub.track("task", policy=Tasks())
    replica = office.replica_of(ANN)
    with Hub(office.database.store(), clock=office.clock, new_id=SeededIds(2)) as other:
        other.adopt()
        assert dict(other.missing_policies()) == {"task": "Tasks"}
        other.track("task", rules=Rules.none())
        assert other.rules()["task"].policy == "Tasks"
        office.wire.hub = other
        write(replica, "update task set state = 'begun' where id = 'r1'")
        replica.sync()
        assert ids(replica) == []
        assert states(office)["r1"] == "new"
        other.track("task", policy=Tasks())
        replica.sync()
        assert ids(replica) == ["r1", "r2", "s1"]
        other.drop_rules("task")
        assert dict(other.missing_policies()) == {}


def test_a_process_without_the_policy_hides_the_columns_that_rules_hide(office: Office) -> None:
    rules = Rules(read=True, columns={"state": Column(read=user.role == "boss")})
    office.hub.track("task", rules=rules, policy=Tasks())
    replica = office.replica_of(ANN)
    with Hub(office.database.store(), clock=office.clock, new_id=SeededIds(2)) as other:
        other.adopt()
        office.wire.hub = other
        replica.sync()
        assert ids(replica) == []
        assert "state" not in replica.schemas["task"].column
    assert b"state" not in getattr(office.wire.observer, "text", b"state")


def test_what_a_policy_raises_is_a_no_and_stays_at_the_hub(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.hub.track("task", policy=Broken())
    replica = office.replica_of(ANN)
    write(replica, "update task set state = 'begun' where id = 'r1'")
    with caplog.at_level(logging.ERROR, logger="reunite.hub"):
        assert outcomes(replica) == ["not-allowed"]
        office.hub.track("task", policy=Wrong())
        replica.sync()
    assert ids(replica) == []
    assert [record.getMessage() for record in caplog.records] == [
        "the policy of 'task' failed"
    ] * len(caplog.records)
    assert caplog.records
    assert b"SECRET" not in getattr(office.wire.observer, "text", b"SECRET")


def test_explanations_name_a_policy_where_it_decides(office: Office) -> None:
    office.hub.track("task", policy=Tasks())
    found = office.hub.explain(ANN, "task", ("b1",))
    assert (found.read.is_allowed, found.read.because) == (False, "policy")
    found = office.hub.explain(ANN, "task", ("r1",))
    assert (found.is_visible, found.delete.because, found.insert.because) == (
        True, "policy", "everybody",
    )  # fmt: skip


@pytest.mark.hubs("sqlite", "postgresql")
def test_rules_that_are_refused_leave_a_fresh_database_as_it_was(office: Office) -> None:
    from reunite import BadRequestError

    def tables() -> set[Any]:
        master = "sqlite_master" if office.database.kind == "sqlite" else "pg_tables"
        name = "name" if office.database.kind == "sqlite" else "tablename"
        return {
            found[0]
            for found in office.at_hub(f"select {name} from {master}")
            if str(found[0]).startswith("reunite_")
        }

    for said in (
        {"rules": Rules(read=row.nowhere == 1)},
        {"tenant": "nowhere"},
        {"rules": Rules(read=True), "tenant": "task.org"},
    ):
        with pytest.raises(BadRequestError):
            office.hub.track("task", **said)  # type: ignore[arg-type]
    assert tables() == set()
    office.hub.track("task", rules=Rules(read=row.team == "red"))
    assert ids(office.replica_of(ANN)) == ["r1", "r2", "s1"]
