"""`history`, `log` and `export`: what is asked of the hub's past on the command line."""

import csv
import json
import re
from pathlib import Path

from tests.integration.cli_world import World, execute, rows, run, run_json, run_lines

AA = ("airlines", '["AA"]')


def test_history_and_log_are_asked_by_actor_replica_and_time(in_conflict: World) -> None:
    hub = in_conflict.hub_file
    both = run_lines("history", hub, *AA)
    first, second = (entry["replica"] for entry in both)
    assert run_lines("history", hub, *AA, "--replica", first) == both[:1]
    assert run_lines("history", hub, *AA, "--actor", "owner") == both
    assert run_lines("history", hub, *AA, "--since", "1d") == both
    assert run_lines("history", hub, *AA, "--until", "2020-01-01") == []
    assert "no such change" in run("history", hub, *AA, "--actor", "nobody").stdout
    assert len(run_lines("log", hub, "--replica", second)) == 1
    assert run_lines("log", hub, "--table", "planes") == []
    assert "no such change" in run("log", hub, "--table", "planes").stdout
    for wrong in (("--since", "soon"), ("--until", "99999999999w"), ("--replica", "nobody's")):
        run("history", hub, *AA, *wrong, code=2)


def test_a_row_is_shown_as_it_was(world: World) -> None:
    execute(world.hub_file, "update airlines set name = 'AA' where carrier = 'AA'")
    run("log", world.hub_file)
    execute(world.hub_file, "delete from planes; delete from airlines where carrier = 'AA'")
    run("log", world.hub_file)
    deleted = run_lines("history", world.hub_file, *AA)[-1]
    assert run_json("history", world.hub_file, *AA, "--at", "2020-01-01") == {
        "carrier": "AA",
        "name": "American Airlines Inc.",
        "motto": None,
    }
    assert "American Airlines Inc." in run("history", world.hub_file, *AA, "--at", "1000d").stdout
    assert deleted["new"] is None
    assert run_json("history", world.hub_file, *AA, "--at", "2999-01-01") is None
    assert "no row" in run("history", world.hub_file, *AA, "--at", "2999-01-01").stdout


def test_the_history_is_exported_to_a_file_or_to_stdout(in_conflict: World, tmp_path: Path) -> None:
    hub = in_conflict.hub_file
    lines = [
        json.loads(line) for line in run("export", hub, "--table", "airlines").stdout.splitlines()
    ]
    assert [line["new"]["name"] for line in lines] == ["Laptop Air", "Tablet Air"]
    told = run("export", hub, tmp_path / "all.csv")
    assert "2 changes written" in told.stderr
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [json.loads(row["new"])["name"] for row in found] == ["Laptop Air", "Tablet Air"]
    one = ("--table", "airlines", "--key", '["AA"]')
    found = run_json("export", hub, tmp_path / "one.ndjson", *one, "--since", "1h")
    assert found == {"changes": 2, "file": str(tmp_path / "one.ndjson")}


def test_an_export_that_fails_leaves_no_file_and_takes_none_away(
    in_conflict: World, tmp_path: Path
) -> None:
    hub, file = in_conflict.hub_file, tmp_path / "all.csv"
    assert "unknown-table" in run("export", hub, file, "--table", "nothing", code=1).stderr
    assert not file.exists()
    file.write_text("kept")
    assert "--replace" in run("export", hub, file, code=1).stderr
    assert file.read_text() == "kept"
    file.chmod(0o600)
    run("export", hub, file, "--replace", "--table", "nothing", code=1)
    assert file.read_text() == "kept"
    run("export", hub, file, "--replace")
    assert file.read_text().startswith("id,commit,at,actor")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.glob("all.*")] == ["all.csv"]
    run("export", hub, "--key", '["AA"]', code=2)
    run("export", hub, "--json", code=2)


def test_a_commit_is_undone(world: World) -> None:
    execute(world.hub_file, "update airlines set name = 'Wrong', motto = 'Wrong'")
    done = run_lines("log", world.hub_file)[-1]["commit"]
    execute(world.hub_file, "update airlines set name = 'Later' where carrier = 'AA'")
    told = run("undo", world.hub_file, done, "--dry-run").stdout
    assert "can be undone in 2 rows" in told
    assert re.search(
        r"airlines +\[\"AA\"\] +changed since +name +American Airlines Inc. +Later", told
    )
    assert rows(world.hub_file, "select motto from airlines where carrier = 'AA'") == [("Wrong",)]
    told = run("undo", world.hub_file, done, "--actor", "ann").stdout
    assert f"Commit {done} is undone in 2 rows, as commit {done + 2}." in told
    assert rows(world.hub_file, "select * from airlines order by 1") == [
        ("AA", "Later", None),
        ("UA", "United", "Fly"),
    ]
    assert run_lines("log", world.hub_file, "--actor", "ann")[0]["commit"] == done + 2
    assert "Nothing of commit" in run("undo", world.hub_file, done).stdout
    report = run_json("undo", world.hub_file, done + 2)
    assert (report["rows"], report["conflicts"]) == (2, [])
    assert "no commit 99" in run("undo", world.hub_file, 99, code=1).stderr
    run("undo", world.hub_file, 0, code=2)


def test_a_row_is_erased_at_the_hub_and_on_its_replicas(in_conflict: World) -> None:
    hub, tablet = in_conflict.hub_file, in_conflict.tablet
    assert "--yes" in run("erase", hub, *AA, code=1).stderr
    assert "foreign-key" in run("erase", hub, *AA, "--yes", code=1).stderr
    execute(hub, "delete from planes")
    report = run_json("erase", hub, *AA, "--yes", "--actor", "ann")
    assert (report["erased"][0]["key"], report["outcomes"], report["left"]) == (["AA"], 1, "")
    assert b"Tablet Air" not in hub.read_bytes()
    assert b"Tablet Air" in tablet.read_bytes()
    run("sync", tablet)
    assert b"Tablet Air" not in tablet.read_bytes()
    (fact,) = run_lines("erase", hub, "--list")
    assert (fact["table"], fact["key"], fact["actor"]) == ("airlines", ["AA"], "ann")
    assert "ann" in run("erase", hub, "--list").stdout
    assert all(line["erased"] for line in map(json.loads, exported(hub)))
    assert "erased" in run("history", hub, *AA).stdout
    assert "is there" in run("erase", hub, "--scrub").stdout
    assert "as the log says" in run("doctor", hub).stdout
    for wrong in ((), ("airlines",), (*AA, "--list"), ("--list", "--scrub")):
        run("erase", hub, *wrong, code=2)


def exported(hub: Path) -> list[str]:
    return run("export", hub, "--table", "airlines").stdout.splitlines()
