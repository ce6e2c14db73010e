"""`explain` and `preview` on the command line."""

import json
import re
from pathlib import Path

from reunite import Rules, row, user
from tests.integration.cli_world import World, run, run_json, run_lines

AA = ("airlines", '["AA"]')


def test_the_command_says_who_sees_a_row_and_why(world: World) -> None:
    world.hub.track("airlines", rules=Rules(read=row.carrier.is_in(user.carriers), update=True))
    ask = ("explain", world.hub_file, *AA, "--principal", "ann")
    told = run(*ask, "--claim", 'carriers=["AA"]').stdout
    assert "ann sees the row" in told
    assert re.search(
        r"read +yes +the rule decides +row.carrier.is_in\(user.carriers\) +yes +AA", told
    )
    assert re.search(r"insert +no +the rule lets nobody", told)
    told = run(*ask).stdout
    assert "ann does not see the row" in told
    assert re.search(r"update +no +who does not see a row cannot change it", told)
    found = run_json(*ask, "--role", "boss", "--tenant", "north")
    assert (found["is_visible"], found["read"]["because"]) == (False, "rule")
    assert found["read"]["reasons"][0]["user"] is None
    plane = run_json("explain", world.hub_file, "planes", '["N10156"]', "--principal", "x")
    assert plane["read"] == {
        "operation": "read",
        "is_allowed": False,
        "because": "closed",
        "reasons": [],
    }
    run("explain", world.hub_file, *AA, code=2)


def test_the_command_counts_what_other_rules_would_change(world: World, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(
        json.dumps(
            {"airlines": {"read": {"field": "carrier", "operator": "exact", "value": "$user.at"}}}
        )
    )
    ask = ("preview", world.hub_file, file, "--principal", "ann")
    told = run(*ask, "--claim", "at=AA").stdout
    assert re.search(r"airlines +2 +1 +0 +1", told)
    by_table = {each["table"]: each for each in run_lines(*ask)}
    assert by_table["airlines"]["then"] == 0
    assert by_table["planes"]["vanish"] == 2
    file.write_text('{"airlines": {"read": true, "columns": {"name": {"read": false}}}}')
    assert re.search(r"airlines +2 +2 +0 +0 +-name", run(*ask).stdout)
    assert run_lines(*ask)[0]["columns_vanish"] == ["name"]
    told = run("preview", world.hub_file, tmp_path / "nope", "--principal", "ann", code=1).stderr
    assert re.search(r"The rules cannot be read from .*nope: No such file or directory\.", told)
    file.write_text('{"nothing": {"read": true}}')
    assert "unknown-table" in run(*ask, code=1).stderr
    for wrong in ("{", "[]", '{"airlines": {"see": true}}', '{"airlines": 7}'):
        file.write_text(wrong)
        assert "bad-request" in run(*ask, code=1).stderr
