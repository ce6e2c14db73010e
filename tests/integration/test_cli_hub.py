"""The `reunite` command at the hub: what people type, what they read, and what it exits with."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reunite.hub import Hub
from tests.integration.cli_world import TABLES, World, execute, rows, run, run_json, run_lines
from tests.integration.processes import ServeProcess, wait_until


def test_history_shows_who_when_where_and_what(in_conflict: World) -> None:
    told = run("history", in_conflict.hub_file, "airlines", '["AA"]').stdout.splitlines()
    assert re.search(r"owner +laptop.db +update +name +American Airlines Inc. +Laptop Air", told[1])
    assert re.search(r"owner +tablet.db +update +name +Laptop Air +Tablet Air", told[2])
    first, second = run_lines("history", in_conflict.hub_file, "airlines", '["AA"]')
    assert first["changed"] == {"name": ["American Airlines Inc.", "Laptop Air"]}
    assert (second["actor"], second["commit"]) == ("owner", 2)


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


def test_uninstall_says_what_it_leaves_while_another_program_has_the_file_open(
    tmp_path: Path,
) -> None:
    file = tmp_path / "hub.db"
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track_all()
    with closing(sqlite3.connect(file)) as program:
        program.execute("select * from airlines").fetchall()
        told = " ".join(run("uninstall", file, "--yes").stdout.split())
        assert "still in WAL mode" in told
        assert "pragma journal_mode = delete" in told
        assert "as it was before reunite came" not in told
    execute(file, "pragma journal_mode = delete")
    with Hub(file) as hub:
        hub.track_all()
    assert "as it was before reunite came" in run("uninstall", file, "--yes").stdout


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
