"""Columns that look like secrets stay at the hub, unless somebody names them."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from reunite import (
    BadRequestError,
    Column,
    HubUnreachableError,
    Principal,
    Replica,
    Rules,
    row,
    user,
)
from tests.pair.test_rules import Answers, Office, office_in, outcomes, write

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

ANN = Principal(user="ann")
CANARIES = (b"CANARY", b"password_hash", b"api_key")
DDL = """
create table account (
    id text primary key not null, name text, password_hash text not null default 'none',
    api_key text unique
);
insert into account values ('a', 'Ann', 'CANARY-hash', 'CANARY-key');
"""


@pytest.fixture
def office(hub_kind: str, tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Office]:
    with office_in(tmp_path, hub_kind, DDL, request) as office:
        office.wire.observer = Answers()
        yield office


def held(office: Office, replica: Replica) -> bytes:
    """All that was told to a replica, and all that is in its file."""
    observer = office.wire.observer
    assert isinstance(observer, Answers)
    return observer.text + b"".join(contents(replica))


def contents(replica: Replica) -> list[bytes]:
    """The replica's file and those beside it."""
    files = replica.path.parent.glob(f"{replica.path.name}*")
    return [file.read_bytes() for file in files]


def columns(replica: Replica) -> list[str]:
    with closing(sqlite3.connect(replica.path)) as db:
        return [found[1] for found in db.execute("pragma table_info(account)")]


def test_a_secret_is_in_no_page_no_log_and_no_file(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.hub.track("account")
    (told,) = caplog.messages
    assert "include=['password_hash', 'api_key']" in told
    assert office.hub.withheld() == {"account": ["password_hash", "api_key"]}
    replica = office.replica_of(ANN)
    office.at_hub("update account set password_hash = 'CANARY-2', api_key = 'CANARY-3'")
    write(replica, "update account set name = 'Anna' where id = 'a'")
    write(replica, "insert into account (id, name) values ('b', 'Bob')")
    assert outcomes(replica) == []
    replica.repair()
    assert columns(replica) == ["id", "name"]
    assert office.at_hub("select * from account order by id") == [
        ("a", "Anna", "CANARY-2", "CANARY-3"),
        ("b", "Bob", "none", None),
    ]
    assert not any(canary in held(office, replica) for canary in CANARIES)
    assert "CANARY" not in json.dumps([str(entry) for entry in office.hub.log()])
    assert "CANARY" not in str(office.at_hub("select * from reunite_change"))
    caplog.clear()
    office.hub.track("account")
    assert not caplog.messages, "once is enough"


def test_what_replaces_a_row_by_a_secret_that_is_unique_is_captured(office: Office) -> None:
    """SQLite deletes the row that is in the way, and fires no trigger for it."""
    office.hub.track("account")
    replica = office.replica_of(ANN)
    if office.database.kind == "sqlite":
        office.at_hub("insert or replace into account values ('b', 'Bob', 'x', 'CANARY-key')")
    else:
        office.at_hub("delete from account")
        office.at_hub("insert into account values ('b', 'Bob', 'x', 'CANARY-key')")
    replica.sync()
    with closing(sqlite3.connect(replica.path)) as db:
        assert db.execute("select * from account").fetchall() == [("b", "Bob")]


def test_rows_that_need_a_secret_are_refused_until_it_has_a_default(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.at_hub("create table bare (id text primary key not null, password text not null)")
    office.hub.track("bare")
    assert "since password cannot be NULL: give it a default" in caplog.text
    replica = office.replica_of(ANN)
    write(replica, "insert into bare values ('a')")
    assert outcomes(replica) == ["not-null"]
    assert office.at_hub("select count(*) from bare") == [(0,)]


@pytest.mark.parametrize(
    "options",
    [
        {"include": ["api_key"]},
        {"merge": {"api_key": "hub_wins"}},
        {"rules": Rules(read=True, columns={"api_key": Column(write=False)})},
        {"tenant": "api_key"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_who_names_a_column_tracks_it(office: Office, options: Any) -> None:
    office.hub.track("account", **options)
    replica = office.replica_of(Principal(user="ann", tenant="CANARY-key"))
    assert columns(replica) == ["id", "name", "api_key"]
    office.hub.track("account")
    assert office.hub.withheld() == {"account": ["password_hash"]}, "what was said stays"
    office.hub.track("account", include=[])
    if "include" in options:
        replica.sync()
        assert columns(replica) == ["id", "name"]
        assert b"CANARY" not in replica.path.read_bytes()


def test_a_secret_that_a_migration_brings_stays_at_the_hub(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.hub.track("account", include=["api_key"])
    replica = office.replica_of(ANN)
    caplog.clear()
    office.at_hub("alter table account add column refresh_token text default 'CANARY-r'")
    office.at_hub("alter table account add column phone text")
    replica.sync()
    assert columns(replica) == ["id", "name", "api_key", "phone"]
    assert b"CANARY-r" not in held(office, replica)
    assert any("refresh_token" in told for told in caplog.messages)


def test_a_rule_that_asks_a_secret_says_how_to_have_it(office: Office) -> None:
    rules = Rules(read=row.api_key == user.key)
    with pytest.raises(BadRequestError, match=r"include=\['api_key'\]"):
        office.hub.track("account", rules=rules)
    hidden = {"api_key": Column(read=False, write=False)}
    office.hub.track("account", rules=Rules(read=row.api_key == user.key, columns=hidden))
    replica = office.replica_of(Principal(user="ann", claims={"key": "CANARY-key"}))
    assert columns(replica) == ["id", "name"]
    with closing(sqlite3.connect(replica.path)) as db:
        assert db.execute("select id from account").fetchall() == [("a",)]
    with pytest.raises(BadRequestError, match="no column 'nothing'"):
        office.hub.track("account", include=["nothing"])


def test_tables_whose_key_is_a_secret_are_tracked_by_name_alone(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.at_hub("create table reset (token text primary key not null, at text)")
    with caplog.at_level(logging.WARNING):
        assert office.hub.track_all() == ["account"]
    assert any("'reset'" in told and "hub.track('reset')" in told for told in caplog.messages)
    office.at_hub("create table later (api_key text primary key not null)")
    office.hub.number()
    assert office.hub.status().tables == ("account",)
    office.hub.track("reset")
    assert office.hub.status().tables == ("account", "reset")


def test_a_row_that_others_name_by_a_secret_is_not_deleted_from_under_them(office: Office) -> None:
    """The log does not say what the row was called: whoever is left without a parent is looked for
    among all children."""
    office.at_hub(
        "create table session (id text primary key not null, key text references account (api_key))"
    )
    office.at_hub("insert into session values ('s', 'CANARY-key')")
    office.at_hub("insert into account (id, name) values ('b', 'Bob')")
    office.hub.track("account")
    replica = office.replica_of(ANN)
    write(replica, "delete from account where id = 'b'")
    write(replica, "update account set id = 'c' where id = 'a'")
    write(replica, "delete from account where id = 'c'")
    assert outcomes(replica) == ["foreign-key"]
    assert replica.status().pending == 0
    assert office.at_hub("select id from account") == [("c",)]


VAULT = """
create table vault (
    id text primary key not null, name text not null, api_key text default 'k',
    pin text default '1', token_count integer not null default 0,
    unique (name, pin),
    constraint none_has_no_api_key check (name <> 'none' or api_key is null),
    constraint token_count_is_small check (token_count < 10)
)
"""


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("update vault set name = 'Ann' where id = 'b'", "unique"),
        ("update vault set name = 'none' where id = 'b'", "check"),
    ],
)
def test_a_refusal_names_no_secret(office: Office, statement: str, code: str) -> None:
    """Neither the change that met the constraint nor another one of its transaction does; whoever
    looks at the hub sees what it was."""
    office.at_hub(VAULT)
    office.at_hub("insert into vault (id, name) values ('a', 'Ann'), ('b', 'Bob'), ('c', 'Cay')")
    office.hub.track("vault")
    replica = office.replica_of(ANN)
    write(replica, "update vault set name = 'Eve' where id = 'c'", statement)
    assert outcomes(replica) == [code, code]
    told = [change.reason for change in replica.parked()]
    assert all("do not take the row" in reason for reason in told)
    assert not any(name in held(office, replica) for name in (b"pin", b"api_key"))
    kept = str(office.at_hub("select outcomes from reunite_outcome"))
    assert ("same name, pin" if code == "unique" else "CHECK") in kept


def test_a_refusal_names_what_is_no_secret(office: Office) -> None:
    office.at_hub(VAULT)
    office.hub.track("vault")
    replica = office.replica_of(ANN)
    write(replica, "insert into vault (id, name, token_count) values ('a', 'Ann', 11)")
    assert outcomes(replica) == ["check"]
    (parked,) = replica.parked()
    assert "token_count" in parked.reason


def test_what_was_synced_leaves_the_file_when_it_is_withheld_again(office: Office) -> None:
    """Rows, what waits, records and the file's log: all that the hub had told of the column."""
    office.hub.track("account", include=["api_key"], merge={"api_key": "hub_wins"})
    replica = office.replica_of(ANN)
    for number in range(3):
        office.at_hub(f"update account set api_key = 'CANARY-{number}'")
        write(replica, f"update account set api_key = 'mine-{number}', name = '{number}'")
        replica.sync()
    assert any(b"CANARY" in file for file in contents(replica))
    assert replica.conflicts()
    office.hub.track("account", include=[])
    replica.sync()
    assert columns(replica) == ["id", "name"]
    assert not any(b"CANARY" in file for file in contents(replica))
    assert [conflict.replica for conflict in replica.conflicts()] == ["mine-0", "mine-1", "mine-2"]


def test_a_conflict_about_a_column_that_is_withheld_again_is_not_shown(office: Office) -> None:
    """Its outcome waits at the hub while the column is taken away."""
    office.hub.track("account", include=["api_key"], merge={"name": "hub_wins"})
    replica = office.replica_of(ANN)
    write(replica, "update account set api_key = 'mine', name = 'mine'")
    office.at_hub("update account set api_key = 'CANARY-other', name = 'other'")
    office.wire.lose_next_answer()
    with pytest.raises(HubUnreachableError):
        replica.sync()
    office.hub.track("account", include=[])
    replica.sync()
    assert [conflict.column for conflict in replica.conflicts()] == ["name"]
    assert not any(b"CANARY-other" in file for file in contents(replica))
