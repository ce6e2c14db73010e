"""Migrations with capture switched off: it is on again afterwards, whatever happened."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reunite import Hub, StorageUnavailableError
from tests.integration.processes import COMMAND
from tests.patience import DEADLINE_S

TABLES = """
    create table parent (id text primary key not null, name text, extra text);
    create table child (
        id integer primary key, parent_id text references parent (id) on delete cascade
    );
    create table other (id text primary key not null, name text unique);
    insert into parent values ('p', 'x', 'y');
    insert into child values (1, 'p');
    insert into other values ('o', 'n');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    run(path, *TABLES.split(";"))
    with Hub(path) as hub:
        hub.track_all()
    return path


@pytest.fixture
def hub(path: Path) -> Iterator[Hub]:
    with Hub(path) as hub:
        hub.track_all()
        yield hub


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma foreign_keys = on")
        for statement in statements:
            db.execute(statement)


def triggers(path: Path) -> dict[str, int]:
    """How many triggers each table has, of whatever maker."""
    with closing(sqlite3.connect(path)) as db:
        return dict(
            db.execute(
                "select tbl_name, count(*) from sqlite_schema where type = 'trigger' group by 1"
            )
        )


def test_a_column_is_dropped_that_the_triggers_named(hub: Hub, path: Path) -> None:
    before = triggers(path)
    with pytest.raises(sqlite3.OperationalError, match="extra"):
        run(path, "alter table parent drop column extra")
    with hub.migrating() as tables:
        run(path, "alter table parent drop column extra")
    assert {table.table: table.what for table in tables} == {
        "child": "unchanged",
        "other": "unchanged",
        "parent": "changed",
    }
    (changed,) = [table for table in tables if table.what == "changed"]
    assert (changed.version, changed.added, changed.removed) == (2, (), ("extra",))
    assert triggers(path) == before
    run(path, "update parent set name = 'z'")
    assert [entry.old for entry in hub.log()] == [("p", "x")]


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        ("insert into other values ('q', 'm')", {"other"}),
        ("update other set name = 'm'", {"other"}),
        ("delete from other", {"other"}),
        ("insert or replace into other values ('q', 'n')", {"other"}),
        ("delete from parent", {"parent", "child"}),
        ("update other set name = 'm' where id = 'nobody'", set()),
        ("create index parent_name on parent (name)", set()),
        ("drop table other", set()),
        ("create table more (id text primary key not null)", set()),
    ],
)
def test_only_tables_that_were_written_count_as_written(
    hub: Hub, path: Path, statement: str, written: set[str]
) -> None:
    with hub.migrating() as tables:
        run(path, statement)
    assert {table.table for table in tables if table.what == "written"} == written


def test_a_table_made_anew_counts_as_written(hub: Hub, path: Path) -> None:
    with hub.migrating() as tables:
        run(
            path,
            "create table copy (id text primary key not null, name text unique)",
            "insert into copy select * from other",
            "drop table other",
            "alter table copy rename to other",
        )
    assert [table.table for table in tables if table.what != "unchanged"] == ["other"]
    run(path, "insert into other values ('q', 'm')")
    assert [(entry.table, entry.key) for entry in hub.log()] == [("other", ("q",))]


def test_a_block_that_raises_leaves_capture_on(hub: Hub, path: Path) -> None:
    before = triggers(path)
    with pytest.raises(ZeroDivisionError), hub.migrating():
        raise ZeroDivisionError
    assert triggers(path) == before
    assert hub.status().tables == ("child", "other", "parent")


def test_nobody_gets_an_answer_meanwhile(hub: Hub, path: Path) -> None:
    """Nothing may be written or read that is not captured, in this process or another one."""
    with Hub(path) as other, hub.migrating():
        for ask in (hub.number, other.number, hub.tokens, lambda: other.track("parent")):
            with pytest.raises(StorageUnavailableError, match="migrated"):
                ask()
        with pytest.raises(StorageUnavailableError), other.migrating():
            pass
    hub.number()


def test_a_renamed_table_is_tracked_under_its_new_name_by_who_tracks_all(
    hub: Hub, path: Path
) -> None:
    run(path, "alter table other rename to another")
    assert hub.status().tables == ("another", "child", "parent")
    run(path, "insert into another values ('q', 'm')")
    assert [(entry.table, entry.key) for entry in hub.log()] == [("another", ("q",))]


@pytest.mark.parametrize("migrates", [True, False])
def test_a_table_that_came_is_tracked_by_who_tracks_all_whoever_saw_it_first(
    hub: Hub, path: Path, migrates: bool
) -> None:
    """`reunite migrate`, or a hub that names its tables, followed first: it never came."""
    with Hub(path) as other:
        other.adopt()
        if migrates:
            with other.migrating():
                run(path, "create table newt (id integer primary key)")
        else:
            run(path, "create table newt (id integer primary key)")
            other.number()
        assert "newt" not in triggers(path)
        hub.number()
        assert triggers(path)["newt"]
        assert "newt" in hub.status().tables
        run(path, "drop table newt")
        other.number()
        run(path, "create table newt (id integer primary key, name text)")
        other.number()
        hub.status()
        assert triggers(path)["newt"]


def test_who_tracks_all_leaves_alone_what_was_untracked(hub: Hub, path: Path) -> None:
    hub.untrack("other")
    run(path, "create table more (id text primary key not null)", "create table keyless (x)")
    assert hub.status().tables == ("child", "more", "parent")


MIGRATOR = """
import sqlite3, sys, time
from reunite import Hub
hub = Hub(sys.argv[1])
hub.adopt()
with hub.migrating():
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("alter table parent drop column extra")
    db.execute("insert into other values ('smuggled', 'm')")
    db.close()
    print("here", flush=True)
    time.sleep(600)
"""


def test_a_migration_whose_process_was_killed_is_ended_by_the_next_one(
    hub: Hub, path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MIGRATOR, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        with pytest.raises(StorageUnavailableError):
            hub.number()
        process.kill()
        process.wait(DEADLINE_S)
        hub.number()
    finally:
        process.kill()
        process.communicate()
    run(path, "update parent set name = 'z'")
    assert [(entry.table, entry.old) for entry in hub.log()] == [("parent", ("p", "x"))]


def migrate(path: Path, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, "migrate", str(path), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def python(path: Path, *statements: str, end: str = "") -> list[str]:
    """The command line of a program that runs these statements."""
    lines = [f"db.execute({statement!r})" for statement in statements]
    script = f"import sqlite3; db = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
    return [sys.executable, "-c", script + "\n".join([*lines, end])]


def test_the_command_says_what_happened(path: Path) -> None:
    command = python(
        path,
        "alter table parent drop column extra",
        "alter table parent add column more text",
        "update other set name = 'm'",
        "create table new (id text primary key not null)",
    )
    done = migrate(path, "--", *command)
    assert done.stdout.splitlines() == [
        "other was written, or may have been: replicas compare it.",
        "parent is at version 2 now (gained more; lost extra): replicas get it anew.",
        "new is new: `reunite serve` tracks it.",
    ]
    assert migrate(path, "--", *python(path)).stdout == (
        "No tracked table was changed or written.\n"
    )


def test_a_command_that_fails_leaves_capture_on_and_fails_too(path: Path) -> None:
    before = triggers(path)
    command = python(path, "drop table child", end="print('told'); raise SystemExit(3)")
    done = migrate(path, "--json", "--", *command, code=1)
    assert json.loads(done.stdout) == {
        "database": str(path),
        "code": 3,
        "tables": [
            {"table": "child", "what": "gone"},
            {"table": "other", "what": "unchanged"},
            {"table": "parent", "what": "unchanged"},
        ],
    }
    assert "told" in done.stderr
    assert "ended with code 3" in done.stderr
    assert triggers(path) == {name: before[name] for name in ("other", "parent")}
    done = migrate(path, "--", str(path.parent / "nowhere"), code=1)
    assert "Nothing was run, and every write is captured again." in done.stderr
    assert triggers(path) == {name: before[name] for name in ("other", "parent")}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_command_that_is_told_to_stop_is_waited_for(path: Path) -> None:
    before = triggers(path)
    command = python(path, end="import signal; print('here', flush=True); signal.pause()")
    process = subprocess.Popen(
        [*COMMAND, "migrate", str(path), "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 1
    assert output == "No tracked table was changed or written.\n"
    assert "signal 15" in errors
    assert triggers(path) == before
