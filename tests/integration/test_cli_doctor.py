"""`reunite doctor` and `reunite repair`: what they find, say and mend."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reunite.server import ServerThread
from tests.integration.cli_world import TABLES, World, execute, rows, run, run_json
from tests.integration.processes import ServeProcess


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
    assert "· late is not tracked: `reunite serve` tracks it when it runs." in told


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


def test_doctor_brings_a_replica_of_an_older_release_up_to_date(cloned: World) -> None:
    first_layout = "drop view reunite_outbox; drop table reunite_range;"
    execute(
        cloned.laptop,
        f"{first_layout} update reunite_state set value = '1' where name = 'layout'",
    )
    told = run("doctor", cloned.laptop, code=1).stdout
    assert "✗ reunite's own tables are those of an older release: `reunite sync` or --fix" in told
    assert "missing" not in told
    assert run_json("doctor", cloned.laptop, "--fix")["is_well"]


def test_doctor_brings_a_hub_of_an_older_release_up_to_date(cloned: World) -> None:
    cloned.close()
    execute(
        cloned.hub_file,
        "drop table reunite_user; update reunite_meta set value = 1 where name = 'layout'",
    )
    told = run("doctor", cloned.hub_file, code=1).stdout
    assert "✗ reunite's own tables are those of an older release" in told
    assert "own tables are there" in run("doctor", cloned.hub_file, "--fix").stdout
    assert rows(cloned.hub_file, "select count(*) from reunite_user") == [(0,)]


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
