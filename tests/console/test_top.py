"""`reunite top` shows what the overview counts, and ends when it is told to."""

from __future__ import annotations

import json
import re

from tests.console.conftest import World
from tests.integration.cli_world import run

ESCAPE = "\x1b[31m\x07"


def test_top_shows_the_figures_and_what_is_to_be_looked_after(world: World) -> None:
    till = world.replica("till")
    with till.transaction() as db:
        db.execute("insert into sale values ('s1', 'p2', 1)")
    world.write("delete from product where id = 'p2'")
    till.sync()
    world.hub.workings.meter.flush()
    text = run("top", world.file, "--once").stdout
    assert re.search(r"1 replicas", text)
    assert re.search(r"1 refused", text)
    assert "A change was refused, and waits on its device." in text
    assert "till.db" in text


def test_top_looks_once_where_there_is_no_terminal_and_as_json(world: World) -> None:
    found = json.loads(run("top", world.file, "--once", "--json").stdout)
    assert found["replicas"]["total"] == 0
    world.replica("till")
    found = json.loads(run("top", world.file, "--once", "--json").stdout)
    assert found["replicas"]["total"] == 1
    assert "1 replicas" in run("top", world.file).stdout


def test_what_strangers_wrote_does_not_reach_the_terminal(world: World) -> None:
    world.replica("till")
    world.write(f"update reunite_replica set name = 'x{ESCAPE}'")
    world.write("update product set price = 9")
    text = run("top", world.file, "--once").stdout
    assert "\x1b" not in text
    assert "\x07" not in text
