"""The `reunite` command: what people type, what they read, and what it exits with."""

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
from reunite.errors import Veto
from reunite.hub import Hub
from reunite.server import ServerThread
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


# --- sync, status, conflicts, parked --------------------------------------------------------------


def test_sync_json_has_these_fields(cloned: World) -> None:
    execute(cloned.laptop, "insert into notes (text) values ('a'), ('b')")
    execute(cloned.hub_file, "insert into airlines values ('B6', 'JetBlue', null)")
    told = run_json("sync", cloned.laptop)
    assert list(told) == ["pushed", "pulled", "rejected", "conflicts", "pending", "cursor"]
    assert told["pushed"] == 2
    assert told["pulled"] >= 1
    assert (told["rejected"], told["conflicts"], told["pending"]) == (0, 0, 0)
    assert isinstance(told["cursor"], str)


def test_sync_says_what_is_no_replica_before_it_asks_for_a_token(
    world: World, tmp_path: Path
) -> None:
    letter, empty, plain = (tmp_path / name for name in ("letter.txt", "empty.db", "plain.db"))
    letter.write_text("Dear hub, I am not a database. " * 40)
    empty.touch()
    execute(plain, TABLES)
    for file, sentence in (
        (tmp_path / "missing.db", "There is no file"),
        (letter, "is not an SQLite database"),
        (tmp_path, "is not a file"),
        (world.hub_file, "is no replica"),
        (empty, "is no replica"),
        (plain, "is no replica"),
    ):
        assert sentence in run("sync", file, code=1).stderr
    assert not (tmp_path / "missing.db").exists()


def test_a_dry_run_changes_nothing(cloned: World) -> None:
    execute(cloned.laptop, "insert into notes (text) values ('a')")
    execute(cloned.hub_file, "insert into airlines values ('B6', 'JetBlue', null)")
    told = run("sync", cloned.laptop, "--dry-run").stdout
    assert "would push 1 change and pull 1 row" in told
    assert rows(cloned.hub_file, "select count(*) from notes") == [(0,)]
    assert rows(cloned.laptop, "select count(*) from airlines") == [(2,)]


def test_sync_without_a_hub_exits_75_and_status_says_so(cloned: World) -> None:
    execute(cloned.laptop, "insert into notes (text) values ('a')")
    cloned.server.close()
    told = run("sync", cloned.laptop, code=75)
    assert told.stdout == ""
    assert len(told.stderr.splitlines()) == 1
    status = run_json("status", cloned.laptop)
    assert status["pending"] == 1
    assert status["last_error"].startswith("hub-unreachable")


def test_status_shows_the_tables_and_how_many_rows(cloned: World) -> None:
    told = run("status", cloned.laptop).stdout
    assert f"{cloned.laptop} is a replica of {cloned.url}." in told
    assert "planes    2" in told


def test_conflicts_show_the_value_that_lost(in_conflict: World) -> None:
    assert "There are no conflicts." in run("conflicts", in_conflict.laptop).stdout
    (conflict,) = run_lines("conflicts", in_conflict.tablet)
    assert (conflict["table"], conflict["key"], conflict["column"]) == ("airlines", ["AA"], "name")
    assert (conflict["hub"], conflict["replica"]) == ("Laptop Air", "Tablet Air")
    assert conflict["result"] == "Tablet Air"
    told = run("conflicts", "list", in_conflict.tablet).stdout
    for value in ("American Airlines Inc.", "Laptop Air", "Tablet Air", "last_writer", "settled"):
        assert value in told


def test_a_conflict_can_be_decided_otherwise(in_conflict: World) -> None:
    run("conflicts", "decide", in_conflict.tablet, 1, "Both Air")
    assert "decided" in run("conflicts", in_conflict.tablet).stdout
    run("sync", in_conflict.tablet)
    assert rows(in_conflict.hub_file, "select name from airlines where carrier = 'AA'") == [
        ("Both Air",)
    ]
    assert "lists them" in run("conflicts", "decide", in_conflict.tablet, 7, "x", code=1).stderr
    run("conflicts", "decide", in_conflict.tablet, 1, code=2)
    run("conflicts", "decide", in_conflict.tablet, 1, "x", "--null", code=2)
    run("conflicts", "decide", in_conflict.tablet, "one", "x", code=2)


def test_parked_changes_are_listed_and_discarded(parked: World) -> None:
    assert rows(parked.laptop, "select * from planes") == []
    (change,) = run_lines("parked", parked.laptop)
    assert (change["table"], change["key"]) == ("planes", ["N1"])
    assert change["set"]["seats"] == 4
    assert change["reason"] in run("parked", parked.laptop).stdout
    assert "parked" in run("doctor", parked.laptop).stdout
    run("parked", "discard", parked.laptop, change["id"])
    assert "Nothing is parked." in run("parked", parked.laptop).stdout
    assert "no parked change" in run("parked", "discard", parked.laptop, 99, code=1).stderr


def test_long_values_are_shortened_for_people_and_whole_in_json(parked: World) -> None:
    text, lost = "x" * 1_000_000, "y" * 1_000_000
    execute(parked.tablet, f"update airlines set name = '{lost}' where carrier = 'UA'")
    run("sync", parked.tablet)
    execute(parked.laptop, f"insert into planes values ('{text}', 0, null)")
    execute(parked.laptop, f"update airlines set name = '{text}' where carrier = 'UA'")
    run("sync", parked.laptop)
    for command in (
        ("parked", parked.laptop),
        ("conflicts", parked.laptop),
        ("history", parked.hub_file, "airlines", '["UA"]'),
        ("query", parked.url, "airlines", "--token", parked.token),
    ):
        told = run(*command).stdout
        assert "x… (1.0 MB)" in told
        assert len(told) < 5_000
        assert text in run(*command, "--json").stdout


def test_a_parked_change_of_many_columns_shows_the_first_ones(cloned: World) -> None:
    names = [f"column_{n}" for n in range(100)]
    execute(cloned.hub_file, f"create table wide (id text primary key, {', '.join(names)})")
    cloned.hub.track("wide", merge=dict.fromkeys(names, "hub_wins"))
    run("sync", cloned.laptop)
    cloned.hub.on_insert("wide")(_refuse)
    values = ", ".join("'some value'" for _ in names)
    execute(cloned.laptop, f"insert into wide values ('a', {values})")
    run("sync", cloned.laptop)
    told = run("parked", cloned.laptop).stdout
    assert "column_0=some value, column_1=some value" in told
    assert re.search(r", … and \d+ other columns", told)
    assert "column_99" not in told
    assert "No." in told


def _refuse(*_: object) -> None:
    raise Veto("No.")


def test_a_parked_change_can_be_retried(parked: World) -> None:
    execute(parked.hub_file, "insert into airlines values ('AA', 'American again', null)")
    run("sync", parked.laptop)
    (change,) = run_lines("parked", parked.laptop)
    run("parked", "retry", parked.laptop, change["id"])
    run("sync", parked.laptop)
    assert rows(parked.hub_file, "select tailnum, seats from planes") == [("N1", 4)]


def test_a_parked_change_can_be_edited(parked: World) -> None:
    (change,) = run_lines("parked", parked.laptop)
    edit = ("parked", "edit", parked.laptop, change["id"])
    run(*edit, "carrier", code=2)
    run(*edit, "wings=2", code=2)
    run(*edit, "seats=many", code=2)
    run(*edit, "carrier:=null", "seats=5")
    run("sync", parked.laptop)
    assert rows(parked.hub_file, "select * from planes") == [("N1", 5, None)]


# --- At the hub -----------------------------------------------------------------------------------


def test_history_shows_who_when_where_and_what(in_conflict: World) -> None:
    told = run("history", in_conflict.hub_file, "airlines", '["AA"]').stdout.splitlines()
    assert re.search(r"owner +laptop.db +update +name +American Airlines Inc. +Laptop Air", told[1])
    assert re.search(r"owner +tablet.db +update +name +Laptop Air +Tablet Air", told[2])
    first, second = run_lines("history", in_conflict.hub_file, "airlines", '["AA"]')
    assert first["changed"] == {"name": ["American Airlines Inc.", "Laptop Air"]}
    assert (second["principal"], second["seq"]) == ("owner", 2)


def test_history_of_a_row_written_at_the_hub(world: World) -> None:
    execute(world.hub_file, "insert into notes values (7, 'new'); delete from notes")
    told = run("history", world.hub_file, "notes", "[7]").stdout
    assert re.search(r"at the hub +insert +id +7", told)
    assert re.search(r"delete +id +7\s", told)


@pytest.mark.parametrize("key", ["AA", '"AA"', "[]", "{}"])
def test_history_says_how_a_key_is_written(world: World, key: str) -> None:
    told = run("history", world.hub_file, "airlines", key, code=2).stderr
    assert "JSON array" in " ".join(re.sub(r"[│╭╮╰╯─]", " ", told).split())


def test_history_says_what_a_key_of_the_table_has(world: World) -> None:
    told = run("history", world.hub_file, "airlines", '["AA", 1]', code=1).stderr
    assert told.startswith("bad-request: ")
    assert "carrier" in told


def test_log_is_read_in_parts(cloned: World) -> None:
    execute(cloned.hub_file, "insert into notes (text) values ('a'), ('b'), ('c')")
    first = run_lines("log", cloned.hub_file, "--limit", 2)
    assert [(entry["table"], entry["key"]) for entry in first] == [("notes", [1]), ("notes", [2])]
    (last,) = run_lines("log", cloned.hub_file, "--after", first[-1]["id"])
    assert last["key"] == [3]
    assert "--after 2" in run("log", cloned.hub_file, "--limit", 2).stderr
    assert "no change after" in run("log", cloned.hub_file, "--after", 3).stdout
    assert "no change after" in run("log", cloned.hub_file, "--after", 2**63 - 1).stdout
    for wrong in ("99999999999999999999", "-1"):
        assert "--after" in run("log", cloned.hub_file, "--after", wrong, code=2).stderr


def test_query_reads_rows_without_being_a_replica(world: World) -> None:
    ask = ("query", world.url, "planes", "--token", world.token)
    assert run_lines(*ask, "--where", "seats=182") == [
        {"tailnum": "N102UW", "seats": 182, "carrier": "AA"}
    ]
    ask_airlines = ("query", world.url, "airlines", "--token", world.token)
    assert len(run_lines(*ask_airlines, "--where", "motto:=null")) == 1
    told = run(*ask, "--limit", 1)
    assert "N10156" in told.stdout
    assert "--limit 0" in told.stderr
    assert len(run_lines(*ask, "--limit", 0)) == 2
    run(*ask, "--where", "wings=2", code=2)
    run(*ask, "--limit", -1, code=2)
    assert "It has airlines" in run("query", world.url, "nope", *ask[3:], code=1).stderr
    assert "not-authenticated" in run("query", world.url, "planes", code=1).stderr


def test_tokens_are_made_listed_and_revoked(world: World) -> None:
    made = run("token", "create", world.hub_file, "--principal", "ann", "--label", "phone")
    token = made.stdout.strip()
    assert world.hub.authenticate(token).user == "ann"
    told = run("token", "list", world.hub_file).stdout
    assert "ann" in told
    assert token not in told
    assert "Revoked 1 token." in run("token", "revoke", world.hub_file, "phone").stdout
    assert "token list" in run("token", "revoke", world.hub_file, "phone", code=1).stderr
    run("token", "revoke", world.hub_file, "", code=2)


def test_trim_takes_ages(cloned: World) -> None:
    execute(cloned.hub_file, "insert into notes (text) values ('a')")
    run("sync", cloned.laptop)
    run("sync", cloned.tablet)
    assert run_json("trim", cloned.hub_file, "--older-than", "30d") == {"removed": 0}
    assert "1 change" in run("trim", cloned.hub_file, "--older-than", "0s").stdout
    assert "such as 30d" in run("trim", cloned.hub_file, "--older-than", "a month", code=2).stderr
    run("trim", cloned.hub_file, code=2)


def test_the_log_says_how_large_it_is_and_who_is_behind(cloned: World) -> None:
    execute(cloned.hub_file, "insert into notes (text) values ('a'), ('b')")
    run("sync", cloned.laptop)
    found = run_json("log", cloned.hub_file, "--stats")
    assert (found["seq"], found["trimmed_seq"], found["changes"]) == (1, 0, {"notes": 2})
    assert 0 < found["bytes_log"] < found["bytes_total"]
    assert {reader["name"] for reader in found["readers"]} == {"laptop.db", "tablet.db"}
    told = run("log", cloned.hub_file, "--stats").stdout
    assert "The log holds 2 changes of 1 table." in told
    assert re.search(r"The database has [\d.]+ kB, [\d.]+ kB of it reunite's\.", told)
    assert "commits behind" in told


def test_serve_trims_what_is_older_than_it_keeps(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track("notes")
        execute(file, "insert into notes (text) values ('a')")
        hub.number()
    # What is old enough when it begins goes at once; the next look comes after a minute.
    with ServeProcess(file, "--keep", "0s"):
        wait_until(
            lambda: rows(file, "select value from reunite_meta where name = 'trimmed_id'") == [(1,)]
        )
    assert "no duration" in run("serve", file, "--keep", "a month", code=2).stderr


def test_backup_and_restore_say_what_they_did(cloned: World, tmp_path: Path) -> None:
    copy, again = tmp_path / "copy.db", tmp_path / "again.db"
    found = run_json("backup", cloned.hub_file, copy)
    assert found == {"backup": str(copy), "bytes": copy.stat().st_size}
    assert "give --replace" in run("backup", cloned.hub_file, copy, code=1).stderr
    assert f"to {copy}" in run("backup", cloned.hub_file, copy, "--replace").stdout
    assert run_json("restore", copy, again) == {"restored": str(again), "former": None}
    assert "give --replace" in run("restore", copy, again, code=1).stderr
    told = run("restore", copy, again, "--replace")
    assert f"{again}.former-1" in told.stdout.replace("\n", "")
    assert "reunite token list" in told.stderr
    own = tmp_path / "own.db"
    execute(own, TABLES)
    assert "neither" in run("backup", own, tmp_path / "x.db", code=1).stderr
    run("backup", cloned.laptop, tmp_path / "replica.db")
    told = run("restore", tmp_path / "replica.db", tmp_path / "x.db", code=1)
    assert "is used as it is" in told.stderr
    assert not (tmp_path / "x.db").exists()


def test_uninstall_asks_and_leaves_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    before = rows(file, "select name, sql from sqlite_schema order by name")
    with Hub(file) as hub:
        hub.track_all()
    run("uninstall", file, typed="n\n", code=1)
    assert rows(file, "select count(*) from reunite_schema") != []
    run("uninstall", file, typed="y\n")
    assert rows(file, "select name, sql from sqlite_schema order by name") == before
    assert rows(file, "select count(*) from planes") == [(2,)]
    assert "no hub's database yet" in run("uninstall", file, "--yes", code=1).stderr


def test_uninstall_does_not_ask_a_program(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track_all()
    refused = run("uninstall", file, "--json", typed="y\n", code=1)
    assert refused.stdout == ""
    assert re.fullmatch(r"caller-error: .*--yes.*\n", refused.stderr)
    assert run_lines("token", "list", file) == [], "it is a hub still"
    assert run_json("uninstall", file, "--yes") == {"uninstalled": str(file)}


# --- doctor ---------------------------------------------------------------------------------------


def test_doctor_finds_hub_and_replicas_well(in_conflict: World) -> None:
    for file, kind in ((in_conflict.hub_file, "hub"), (in_conflict.laptop, "replica")):
        told = run_json("doctor", file)
        assert (told["kind"], told["is_well"]) == (kind, True)
        assert "✗" not in run("doctor", file).stdout


def test_doctor_tells_of_tables_that_are_not_tracked(world: World) -> None:
    execute(
        world.hub_file, "create table scraps (text); create table late (id integer primary key)"
    )
    told = run("doctor", world.hub_file).stdout
    assert "· scraps is not tracked. The table 'scraps' has no primary key" in told
    assert "· late is not tracked: start `reunite serve` again" in told


def test_rows_without_a_key_are_named_by_doctor_and_the_next_serve(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    execute(file, "create table word (id text primary key, title text)")
    with ServeProcess(file):
        pass
    execute(file, "insert into word values (null, 'a'), (null, 'b'), ('c', 'c')")
    sentence = (
        "word: 2 rows have NULL in the key (id) and cannot reach replicas: give each a key, or "
        "delete it. The rest of the table goes on syncing."
    )
    assert f"✗ {sentence}" in run("doctor", file, code=1).stdout
    with ServeProcess(file) as served:
        assert served.notes[:2] == ["Tracking 1 table: word.", f"Left out, in {sentence}"]
    execute(file, "update word set id = title")
    assert run_json("doctor", file)["is_well"]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("alter table planes add column wings integer", "planes has other columns"),
        ("drop table planes", "planes cannot be captured any more"),
        ("delete from reunite_commit where seq = 1", "numbers break at commit"),
        ("update reunite_change set schema = 99", "cannot be read"),
        ("drop table reunite_token", "reunite_token are missing"),
    ],
)
def test_doctor_finds_what_is_wrong_with_a_hub(cloned: World, script: str, sentence: str) -> None:
    for text in ("a", "b", "c"):
        execute(cloned.hub_file, f"insert into notes (text) values ('{text}')")
        run("sync", cloned.laptop)
    execute(cloned.hub_file, "update notes set text = 'd'")
    run("sync", cloned.laptop)
    cloned.close()
    if "commit" in script:
        execute(cloned.hub_file, script.replace("= 1", "= 2"))
    else:
        execute(cloned.hub_file, script)
    told = run("doctor", cloned.hub_file, code=1).stdout
    assert sentence in told
    assert "wrong with" in told


def test_doctor_misses_no_trigger(cloned: World) -> None:
    for file, remedy in ((cloned.hub_file, "reunite serve"), (cloned.laptop, "--fix")):
        ((trigger,),) = rows(
            file,
            "select name from sqlite_schema where type = 'trigger' and tbl_name = 'notes'"
            " order by name limit 1",
        )
        execute(file, f'drop trigger "{trigger}"')
        told = run("doctor", file, code=1).stdout
        assert "✗ notes lacks a trigger" in told
        assert remedy in told


def test_doctor_finds_what_is_wrong_with_a_replica(cloned: World) -> None:
    token = cloned.laptop.with_name("laptop.db-token")
    token.chmod(0o644)
    assert f"chmod 600 {token}" in run("doctor", cloned.laptop, code=1).stdout
    token.unlink()
    assert "No token is remembered" in run("doctor", cloned.laptop).stdout
    execute(cloned.laptop, "update reunite_guard set suspended = 1")
    assert "Capture is suspended" in run("doctor", cloned.laptop, code=1).stdout
    execute(cloned.laptop, "drop table reunite_parked")
    assert "reunite_parked are missing" in run("doctor", cloned.laptop, code=1).stdout


def past_the_triggers(file: Path, script: str) -> None:
    """Change rows as a program does that takes the triggers off and puts them back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        triggers = db.execute("select name, sql from sqlite_master where type = 'trigger'")
        found = triggers.fetchall()
        for name, _ in found:
            db.execute(f'drop trigger "{name}"')
        db.executescript(script)
        for _, text in found:
            db.execute(text)


def test_doctor_finds_rows_that_are_not_the_hubs_and_mends_them(cloned: World) -> None:
    execute(cloned.laptop, "insert into notes (text) values ('waits')")
    past_the_triggers(
        cloned.laptop, "update planes set seats = 5; delete from airlines where carrier = 'AA'"
    )
    told = run("doctor", cloned.laptop, code=1).stdout
    assert "✗ Not as the hub has it: airlines: 1 row is missing." in told
    assert "reunite repair" in told
    mended = run("doctor", cloned.laptop, "--fix").stdout
    assert "Mended: Not as the hub has it: planes:" in mended
    assert "is as the hub has it." in mended
    assert "1 change waits" in run("status", cloned.laptop).stdout
    for table in ("airlines", "planes"):
        question = f"select * from {table} order by 1"
        assert rows(cloned.laptop, question) == rows(cloned.hub_file, question)
    run("sync", cloned.laptop)
    assert rows(cloned.hub_file, "select text from notes") == [("waits",)]


def test_doctor_mends_a_replica_without_triggers_or_with_an_open_token(cloned: World) -> None:
    trigger = "reunite_notes_after_insert"
    execute(cloned.laptop, f"drop trigger {trigger}; update reunite_guard set suspended = 1")
    token = cloned.laptop.with_name("laptop.db-token")
    token.chmod(0o644)
    told = run_json("doctor", cloned.laptop, "--fix")
    assert told["is_well"]
    assert len(told["fixed"]) == 3
    assert token.stat().st_mode & 0o077 == 0
    execute(cloned.laptop, "insert into notes (text) values ('captured')")
    assert "1 change waits" in run("status", cloned.laptop).stdout


def test_doctor_says_when_rows_could_not_be_compared(cloned: World) -> None:
    cloned.close()
    assert "· Its rows were not compared" in run("doctor", cloned.laptop).stdout
    cloned.laptop.with_name("laptop.db-token").unlink()
    assert "that needs a token" in run("doctor", cloned.laptop).stdout


def test_doctor_says_what_keeps_a_replica_from_being_locked(cloned: World) -> None:
    lock = cloned.laptop.with_name("laptop.db-sync")
    lock.unlink()
    lock.mkdir()
    told = run("doctor", cloned.laptop, code=1).stdout
    assert (
        "✗ Its rows could not be compared with the hub's. laptop.db-sync cannot be locked." in told
    )
    assert "syncing" not in told


def test_doctor_compares_with_another_url_of_the_hub(cloned: World) -> None:
    past_the_triggers(cloned.laptop, "update planes set seats = 5")
    with ServerThread(cloned.hub) as other:
        told = run("doctor", cloned.laptop, "--hub", other.url, code=1).stdout
        assert "planes:" in told
    told = run("doctor", cloned.laptop, "--hub", "http://127.0.0.1:9", "--token", cloned.token)
    assert "were not compared" in told.stdout


def test_doctor_mends_a_hub_so_that_replicas_follow(cloned: World) -> None:
    """A gap in capture: the table is read anew by every replica."""
    execute(
        cloned.hub_file,
        "drop trigger reunite_planes_before_update; update planes set seats = 7",
    )
    run("doctor", cloned.hub_file, code=1)
    assert "Mended: planes lacks a trigger" in run("doctor", cloned.hub_file, "--fix").stdout
    for file in (cloned.laptop, cloned.tablet):
        run("sync", file)
        question = "select * from planes order by 1"
        assert rows(file, question) == rows(cloned.hub_file, question)


def test_doctor_finds_rows_that_are_not_as_the_log_says(cloned: World) -> None:
    execute(cloned.hub_file, "insert into notes (text) values ('a'), ('b'), ('c')")
    execute(cloned.hub_file, "delete from notes where text = 'c'; update notes set text = 'd'")
    run("sync", cloned.laptop)
    assert "as the log says" in run("doctor", cloned.hub_file).stdout
    past_the_triggers(
        cloned.hub_file, "insert into notes (id, text) select max(id) + 1, 'back' from notes"
    )
    told = run("doctor", cloned.hub_file, code=1).stdout
    assert "✗ notes was written to past its triggers" in told
    assert "Mended: notes" in run("doctor", cloned.hub_file, "--fix").stdout
    run("sync", cloned.laptop)
    assert rows(cloned.laptop, "select text from notes order by id") == [("d",), ("d",), ("back",)]


def test_repair_fetches_the_rows_that_differ(cloned: World) -> None:
    assert "are as the hub has them" in run("repair", cloned.laptop).stdout
    past_the_triggers(cloned.laptop, "delete from airlines; update planes set seats = 5")
    told = run("repair", cloned.laptop, "--table", "airlines").stdout
    assert "airlines: " in told
    assert "missing. Healed." in told
    report = run_json("repair", cloned.laptop)
    assert {table["table"]: table["differing"] for table in report["tables"]}["planes"] > 0
    for table in ("airlines", "planes"):
        question = f"select * from {table} order by 1"
        assert rows(cloned.laptop, question) == rows(cloned.hub_file, question)
    assert "bad-request" in run("repair", cloned.laptop, "--table", "x", code=1).stderr


def test_doctor_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "plain.db"
    execute(file, TABLES)
    assert "neither" in run("doctor", file, code=1).stderr
    run("doctor", tmp_path / "missing.db", code=1)
