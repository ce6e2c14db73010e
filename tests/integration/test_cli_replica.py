"""The `reunite` command on replicas: what people type, what they read, and what it exits with."""

import re
from pathlib import Path

from reunite.errors import Veto
from tests.integration.cli_world import TABLES, World, execute, rows, run, run_json, run_lines


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
