"""The command line with the URL of a PostgreSQL database: each command works, or says what does."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reunite import Hub, Replica
from reunite.cli.opening import shown
from reunite.server import ServerThread
from tests.integration.live_helpers import query
from tests.integration.processes import COMMAND
from tests.patience import DEADLINE_S

DDL = """
create table note (id text primary key, title text);
create table nokey (x int);
create table later (id int primary key);
insert into note values ('a', 'before');
"""


@pytest.fixture
def program(postgresql: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(DDL)
        yield connection


@pytest.fixture
def url(postgresql: str, program: psycopg.Connection[Any], tmp_path: Path) -> str:
    """A hub with a change of a replica and one of another program in its log."""
    with Hub(postgresql) as hub:
        hub.track("note")
        with ServerThread(hub) as server:
            token = hub.create_token("ann", label="till")
            with Replica.clone(tmp_path / "till.db", server.url, token=token) as replica:
                with replica.transaction() as file:
                    file.execute("insert into note values ('b', 'pushed')")
                replica.sync()
        program.execute("update note set title = 'after' where id = 'a'")
        hub.number()
    return postgresql


def run(*arguments: object, code: int = 0) -> str:
    """What a command prints; of one that fails what it says on stderr too."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr + done.stdout if code else done.stdout


def objects(*arguments: object) -> list[Any]:
    return [json.loads(line) for line in run(*arguments, "--json").splitlines()]


def test_the_log_and_its_history_are_told(url: str) -> None:
    assert {tuple(change["key"]) for change in objects("log", url)} == {("a",), ("b",)}
    assert "ann" in run("history", url, "note", '["b"]')
    assert "after" in run("history", url, "note", '["a"]')
    (statistics,) = objects("log", url, "--stats")
    assert statistics["changes"] == {"note": 2}
    assert statistics["bytes_total"] > statistics["bytes_log"] > 0


def test_tokens_are_made_listed_and_revoked(url: str) -> None:
    (made,) = objects("token", "create", url, "--label", "office")
    assert made["token"]
    labels = [token["label"] for token in objects("token", "list", url)]
    assert sorted(labels) == ["office", "till"]
    assert objects("token", "revoke", url, "office") == [{"revoked": 1}]


def test_the_log_is_trimmed(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as program:
        program.execute("update reunite_commit set at_ms = 1")
        program.execute("update reunite_replica set seen_ms = 1")
    assert objects("trim", url, "--older-than", "1d") == [{"removed": 2}]
    assert objects("log", url) == []


def test_doctor_finds_the_hub_well_and_tells_what_it_leaves_out(url: str) -> None:
    told = run("doctor", url)
    assert "✗" not in told
    for sentence in (
        "✓ reunite's own tables are there.",
        "✓ Every write to 1 table is captured: note.",
        "✓ Commits are numbered without a gap up to 2.",
        "✓ The log's 2 changes can all be read.",
        "✓ Rows are there, and gone, as the log says.",
        "✓ Hub processes hear of each other's commits by LISTEN.",
        "· later is not tracked: `reunite serve` tracks it when it runs.",
        "· nokey is not tracked.",
    ):
        assert sentence in told


def test_doctor_sees_a_pooler(url: str, pooled: str) -> None:
    assert "· A pooler stands in between" in run("doctor", pooled)


def test_doctor_finds_triggers_that_are_switched_off_and_mends_them(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as program:
        program.execute("alter table note disable trigger all")
        assert "✗ note lacks a trigger" in run("doctor", url, code=1)
        assert "Mended: note lacks a trigger" in run("doctor", url, "--fix")
        program.execute("insert into note values ('c', 'captured')")
    assert "captured" in run("history", url, "note", '["c"]')


def test_doctor_finds_rows_that_are_not_as_the_log_says_and_has_replicas_compare(
    url: str, tmp_path: Path
) -> None:
    with psycopg.connect(url, autocommit=True) as program:
        program.execute("insert into note values ('c', 'new'), ('d', 'new'), ('e', 'new')")
        program.execute("update note set id = 'f' where id = 'c'; delete from note where id = 'd'")
        # One transaction: what came of it, its entries alone do not say.
        program.execute(
            "begin; delete from note where id = 'e'; insert into note values ('e', 'e')"
        )
        program.execute("delete from note where id = 'e'; commit")
        assert "✓ Rows are there, and gone, as the log says." in run("doctor", url)
        for trigger, statement in (
            ("reunite_insert", "insert into note values ('d', 'back')"),
            ("reunite_delete", "delete from note where id = 'b'"),
        ):
            program.execute(f"alter table note disable trigger {trigger}")
            program.execute(statement)
            program.execute(f"alter table note enable always trigger {trigger}")
        told = run("doctor", url, code=1)
        assert "✗ note was written to past its triggers: by the log the row" in told
        assert "and 1 more are like it" in told
        assert "Mended: note was written to" in run("doctor", url, "--fix")
        with Hub(url) as hub:
            hub.adopt()
            with (
                ServerThread(hub) as server,
                Replica.clone(tmp_path / "new.db", server.url, token=hub.create_token()) as replica,
                Replica(tmp_path / "till.db", url=server.url, token=hub.create_token("ann")) as old,
            ):
                old.sync()
                question = "select * from note order by id"
                assert query(old.path, question) == query(replica.path, question)


def test_doctor_finds_numbers_that_break_and_tables_that_are_missing(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as program:
        program.execute("update reunite_commit set seq = 7 where seq = 2")
        assert "✗ The log's numbers break at commit 7" in run("doctor", url, code=1)
        program.execute("drop table reunite_staged")
        assert "reunite's own reunite_staged are missing" in run("doctor", url, code=1)
        program.execute("update reunite_meta set value = '1' where name = 'layout'")
        assert "those of an older release" in run("doctor", url, code=1)
        run("doctor", url, "--fix", code=1)
        assert "own tables are there" in run("doctor", url, code=1)


def test_doctor_of_a_database_without_reunite_says_how_it_becomes_a_hub(postgresql: str) -> None:
    assert "reunite serve" in run("doctor", postgresql, code=1)


@pytest.mark.parametrize(
    ("command", "tool"),
    [
        ("backup URL copy.db", "pg_dump"),
        ("restore URL hub.db", "pg_restore"),
        ("restore copy.db URL", "pg_restore"),
    ],
)
def test_backup_and_restore_name_postgresqls_own_tools(command: str, tool: str) -> None:
    told = run(*command.replace("URL", "postgresql://localhost/shop").split(), code=1)
    assert told.startswith("caller-error: ")
    assert tool in told


@pytest.mark.parametrize("command", ["status", "sync", "conflicts list", "parked list"])
def test_commands_for_replicas_say_that_a_database_server_has_none(command: str) -> None:
    told = run(*command.split(), "postgresql://localhost/shop", code=1)
    assert "name a replica's file" in told


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("postgresql://ann:secret@host:5432/shop", "postgresql://ann:***@host:5432/shop"),
        ("postgresql+psycopg://ann:se:c@ret@host/shop", "postgresql+psycopg://ann:***@host/shop"),
        (
            "postgres:///shop?user=ann&password=secret&sslmode=require",
            "postgres:///shop?user=ann&password=***&sslmode=require",
        ),
        (
            "postgresql://ann@host:5432/shop?sslpassword=s",
            "postgresql://ann@host:5432/shop?sslpassword=***",
        ),
        ("postgresql://ann:s/e?c@host/shop", "postgresql://ann:***@host/shop"),
        ("postgresql://[::1]:5432/shop", "postgresql://[::1]:5432/shop"),
        ("a:b@c.db", "a:b@c.db"),
    ],
)
def test_a_password_is_not_repeated(named: str, expected: str) -> None:
    assert shown(named) == expected


def test_no_command_repeats_a_password(url: str) -> None:
    secret = f"{url}{'&' if '?' in url else '?'}password=s3cret"
    with psycopg.connect(url, autocommit=True) as program:
        program.execute("alter table note disable trigger all")
        told = [run("doctor", secret, code=1), run("doctor", secret, "--json", code=1)]
    told += [run("doctor", secret, "--fix"), run("token", "revoke", secret, "nobody", code=1)]
    told += [run("migrate", secret, "--json", "--", "true")]
    told += [run("uninstall", secret, "--yes"), run("log", secret, code=1)]
    for text in told:
        assert "s3cret" not in text
    assert sum("password=***" in text for text in told) >= 6
