"""The `reunite` command: the whole story, serving, and cloning."""

import logging
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reunite.cli.app import app
from reunite.cli.serve import numbering
from reunite.errors import CallerError, ReuniteError, StorageUnavailableError
from reunite.hub import Hub
from tests.integration.cli_world import TABLES, World, execute, rows, run, run_json, run_lines
from tests.integration.processes import COMMAND, ServeProcess, wait_until
from tests.patience import DEADLINE_S

# --- The whole story, with processes of its own ---------------------------------------------------


@pytest.mark.slow
def test_two_devices_edit_apart_and_reunite(tmp_path: Path) -> None:
    hub, laptop, tablet = (tmp_path / name for name in ("hub.db", "laptop.db", "tablet.db"))
    execute(hub, TABLES)

    def reunite(*arguments: object, code: int = 0) -> str:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    with ServeProcess(hub) as served:
        for file in (laptop, tablet):
            reunite("clone", served.url, file, "--token", served.token)
        execute(laptop, "update airlines set name = 'Laptop Air' where carrier = 'AA'")
        execute(
            tablet,
            "update airlines set name = 'Tablet Air' where carrier = 'AA';"
            "delete from planes where tailnum = 'N10156'",
        )
        for file in (laptop, tablet, laptop):
            reunite("sync", file)

        for file in (hub, laptop, tablet):
            assert rows(file, "select name from airlines order by 1") == [
                ("Tablet Air",),
                ("United",),
            ]
            assert rows(file, "select tailnum from planes") == [("N102UW",)]
        assert "Nothing waits to be pushed." in reunite("status", laptop)
        assert "Laptop Air" in reunite("conflicts", tablet)
        assert "Tablet Air" in reunite("history", hub, "airlines", '["AA"]')
        for file in (hub, laptop, tablet):
            assert "is well." in reunite("doctor", file)

    assert served.notes[-1] == "Stopped."
    execute(laptop, "insert into notes (text) values ('written on a plane')")
    told = reunite("sync", laptop, code=75)
    assert told.startswith("hub-unreachable: ")
    assert "Nothing is lost." in told
    assert "1 change waits to be pushed." in reunite("status", laptop)

    with ServeProcess(hub, "--port", served.port) as again:
        assert again.token != served.token
        reunite("sync", laptop)  # a token of an earlier start is still good
    assert rows(hub, "select text from notes") == [("written on a plane",)]


@pytest.mark.slow
def test_demo_tells_its_story_and_ends(tmp_path: Path) -> None:
    done = run("demo", "--once", "--small", "--port", 0, "--folder", tmp_path / "demo")
    titles = re.findall(r"^\d\. .*$", done.stdout, re.MULTILINE)
    assert len(titles) == 9, done.stdout
    assert "hub-unreachable" in done.stdout
    after = done.stdout.partition("6. Everyone")[2].partition("7. ")[0]
    for fact in ("Tablet Air", "Turbo-prop", "60"):
        assert re.search(rf"{fact} +{fact} +{fact}", after), after
    assert "✗" not in done.stdout
    # A second run begins anew on the same data.
    run("demo", "--once", "--small", "--port", 0, "--folder", tmp_path / "demo")


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "running.db", isolation_level=None)) as other:
        other.execute("begin exclusive")
        told = run("demo", "--once", "--folder", tmp_path, code=1).stderr
    assert "--folder" in told


# --- serve ----------------------------------------------------------------------------------------


def test_serve_says_what_it_leaves_out_and_why(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES + "create table scraps (text);")
    with ServeProcess(file) as served:
        assert served.notes[:2] == [
            "Tracking 3 tables: airlines, notes, planes.",
            (
                "Left out: The table 'scraps' has no primary key: add one, so that its rows can "
                "be told apart."
            ),
        ]


def test_serve_numbers_what_others_write(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with ServeProcess(file):
        execute(file, "insert into notes (text) values ('from elsewhere')")
        wait_until(lambda: rows(file, "select count(*) from reunite_commit") == [(1,)])


def test_serve_accepts_a_token_that_was_chosen(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    for _ in range(2):
        with ServeProcess(file, "--token", "a-token-that-was-chosen") as served:
            assert served.token == "a-token-that-was-chosen"
    assert len(run_lines("token", "list", file)) == 1
    assert "16" in run("serve", file, "--port", 0, "--token", "short", code=1).stderr


def test_serve_keeps_the_policies_that_a_program_chose(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track("planes", merge={"seats": "counter"}, rows="update_wins")
    with ServeProcess(file), Hub(file) as hub:
        schemas = {schema.name: schema for schema in hub.adopt()}
    assert schemas["planes"].column["seats"].merge == "counter"
    assert schemas["planes"].rows == "update_wins"
    assert set(schemas) == {"airlines", "notes", "planes"}


def test_serve_does_not_guess_a_merge_function(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track("airlines", merge={"name": lambda base, theirs, mine, context: theirs})
    assert "airlines.name is merged by a function" in run("serve", file, code=1).stderr


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("create table scraps (text)", "The table 'scraps' has no primary key: add one"),
        ("create table t (k text primary key); insert into t values (null)", "is NULL: give it"),
        ("select 1", "It has no tables: create some first."),
    ],
    ids=["no key", "NULL in a key", "empty"],
)
def test_serve_refuses_a_database_it_cannot_track(
    tmp_path: Path, script: str, sentence: str
) -> None:
    file = tmp_path / "hub.db"
    execute(file, script)
    told = run("serve", file, "--port", 0, code=1).stderr
    assert told.startswith("untrackable-table: ")
    assert sentence in told


def test_serve_says_what_to_do_about_files_and_ports(world: World, tmp_path: Path) -> None:
    assert "There is no file" in run("serve", tmp_path / "missing.db", code=1).stderr
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "letter.txt").write_text("Dear hub, I am not a database. " * 40)
    told = run("serve", tmp_path / "letter.txt", code=1).stderr
    assert "is not an SQLite database" in told
    assert "is not a file" in run("serve", tmp_path, code=1).stderr
    port = world.url.rpartition(":")[2]
    tokens = len(run_lines("token", "list", world.hub_file))
    told = run("serve", world.hub_file, "--port", port, code=1).stderr
    assert "is in use" in told
    assert "--port" in told
    assert len(run_lines("token", "list", world.hub_file)) == tokens
    assert "Missing argument" in run("serve", code=2).stderr


@pytest.mark.parametrize("port", [-1, 65_536, 70_000])
def test_serve_refuses_a_port_that_cannot_be_before_it_tracks(tmp_path: Path, port: int) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    before = rows(file, "select name, sql from sqlite_schema order by name")
    assert "--port" in run("serve", file, "--port", port, code=2).stderr
    assert rows(file, "select name, sql from sqlite_schema order by name") == before


@pytest.mark.parametrize("url", ["mysql://ann:secret@db/shop", "sqlite:///shop.db"])
def test_serve_says_that_it_takes_files_and_no_such_urls(url: str) -> None:
    told = run("serve", url, code=1).stderr
    assert told.startswith("caller-error: ")
    assert "or a PostgreSQL database as postgresql://" in told
    assert "secret" not in told


def test_a_replica_is_not_served(cloned: World) -> None:
    assert "is a replica" in run("serve", cloned.laptop, code=1).stderr


def test_numbering_ends_with_its_block(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track_all()
        with numbering(hub):
            pass


@pytest.mark.parametrize(
    ("error", "told"), [(CallerError("not granted"), 1), (StorageUnavailableError("locked"), 0)]
)
def test_numbering_that_fails_says_so_once_and_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: ReuniteError,
    told: int,
) -> None:
    """A hub whose rights were taken away said nothing; a locked database passes."""
    rounds = 0

    def fail() -> None:
        nonlocal rounds
        rounds += 1
        raise error

    file = tmp_path / "hub.db"
    execute(file, TABLES)
    monkeypatch.setattr("reunite.cli.serve.NUMBER_EVERY_S", 0.01)
    with Hub(file) as hub, caplog.at_level(logging.WARNING, "reunite.hub"):
        monkeypatch.setattr(hub, "number", fail)
        with numbering(hub):
            wait_until(lambda: rounds >= 3)
    assert len([record for record in caplog.records if str(error) in record.getMessage()]) == told


# --- clone and its token --------------------------------------------------------------------------


def test_clone_remembers_the_token_beside_the_replica_for_its_owner_only(world: World) -> None:
    done = run("clone", world.url, world.laptop, "--token", world.token)
    kept = world.laptop.with_name("laptop.db-token")
    assert kept.read_text().strip() == world.token
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert world.token not in done.output
    for ending in ("", "-wal", "-shm"):
        path = world.laptop.with_name("laptop.db" + ending)
        assert not path.exists() or world.token.encode() not in path.read_bytes()
    run("sync", world.laptop)


@pytest.mark.parametrize("step", ["register", "fill"])
def test_a_clone_that_was_killed_goes_on_without_the_token(world: World, step: str) -> None:
    """Before it had an identity, and before its first row."""
    killed = (
        "import os\n"
        "from reunite.replica import cloning\n"
        f"cloning.Cloning.{step} = lambda *_: os._exit(9)\n"
        "from reunite.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", killed, "clone", world.url, str(world.laptop)]
    assert subprocess.run([*command, "--token", world.token], check=False).returncode == 9
    run("clone", world.url, world.laptop)
    run("sync", world.laptop)


def test_a_clone_that_is_refused_leaves_no_token(world: World) -> None:
    kept = world.laptop.with_name("laptop.db-token")
    run("clone", world.url, world.laptop, "--token", "not-the-right-one", code=1)
    assert not kept.exists()
    execute(world.laptop, "create table airlines (x)")
    run("clone", world.url, world.laptop, "--token", world.token, code=1)
    assert not kept.exists()
    told = run(
        "clone", world.url, world.laptop.parent / "no" / "x.db", "--token", world.token, code=1
    )
    assert "There is no folder" in told.stderr


def test_a_token_from_the_environment_is_not_written(world: World) -> None:
    runner = CliRunner(env={"REUNITE_TOKEN": world.token})
    assert runner.invoke(app, ["clone", world.url, str(world.laptop)]).exit_code == 0
    assert not world.laptop.with_name("laptop.db-token").exists()
    assert runner.invoke(app, ["sync", str(world.laptop)]).exit_code == 0
    told = run("sync", world.laptop, code=1).stderr
    assert told.startswith("not-authenticated: ")
    assert "--token or REUNITE_TOKEN" in told


def test_a_new_token_is_remembered_by_the_sync_it_was_good_for(cloned: World) -> None:
    run("token", "revoke", cloned.hub_file, "test")
    assert "not-authenticated" in run("sync", cloned.laptop, code=1).stderr
    token = run_json("token", "create", cloned.hub_file)["token"]
    run("sync", cloned.laptop, "--token", "not-the-right-one", code=1)
    run("sync", cloned.laptop, "--token", token)
    run("sync", cloned.laptop)


def test_a_clone_that_was_refused_leaves_no_file(world: World) -> None:
    run("clone", world.url, world.laptop, "--token", "not-the-right-one", code=1)
    run("clone", world.url, world.laptop, code=1)
    run("clone", world.url, world.laptop, "--token", world.token, "--table", "nope", code=1)
    world.server.close()
    run("clone", world.url, world.laptop, "--token", world.token, code=75)
    assert [path.name for path in world.laptop.parent.glob("laptop*")] == []


def test_clone_takes_the_tables_asked_for(world: World) -> None:
    arguments = (world.url, world.laptop, "--token", world.token)
    told = run_json("clone", *arguments, "--table", "airlines", "--table", "notes")
    assert told == {
        "file": str(world.laptop),
        "url": world.url,
        "rows": 2,
        "tables": {"airlines": 2, "notes": 0},
    }


def test_clone_takes_the_rows_asked_for_and_sync_chooses_others(world: World) -> None:
    arguments = (world.url, world.laptop, "--token", world.token)
    told = run_json("clone", *arguments, "--where", "airlines: carrier == 'AA'")
    assert told["tables"] == {"airlines": 1, "notes": 0, "planes": 2}
    run("sync", world.laptop, "--table", "airlines", "--where", "airlines: not carrier == 'AA'")
    (carrier,) = rows(world.laptop, "select carrier from airlines")[0]
    assert carrier != "AA"
    assert rows(world.laptop, "select name from sqlite_master where name = 'planes'") == []
    run("sync", world.laptop, "--everything")
    assert len(rows(world.laptop, "select * from airlines")) == 2
    failed = run("sync", world.laptop, "--where", "airlines: nobody == 1", code=1)
    assert "has no column 'nobody'" in failed.stderr
    for mistyped in (("--table", "airline"), ("--where", "airline: carrier == 'AA'")):
        failed = run("sync", world.laptop, *mistyped, code=1)
        assert failed.stderr.startswith("unknown-table: This hub tracks no table 'airline'.")
    run("sync", world.laptop, "--where", "airlines", code=2)
    run("sync", world.laptop, "--everything", "--dry-run", code=2)


def test_a_file_is_cloned_into_once(cloned: World) -> None:
    told = run("clone", cloned.url, cloned.laptop, "--token", cloned.token, code=1).stderr
    assert "reunite sync" in told
    told = run("clone", cloned.url, cloned.hub_file, "--token", cloned.token, code=1).stderr
    assert "hub's database" in told
