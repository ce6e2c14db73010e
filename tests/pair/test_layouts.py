"""Releases beside each other: files of newer ones are refused or used, of older ones upgraded."""

import subprocess
import sys
from types import MappingProxyType

import pytest

from reunite import Hub, HubUnreachableError, NewerLayoutError, Replica
from reunite.replica import layout as replica_layout
from reunite.stores.sql import layout
from reunite.stores.sql.directory import record_tables
from tests.pair.conftest import Pair
from tests.patience import DEADLINE_S

pytestmark = pytest.mark.hubs("sqlite")


def hub_layout_of(pair: Pair) -> dict[str, int]:
    rows = pair.at_hub("select name, value from reunite_meta where name like 'layout%'")
    return dict(rows)


def test_every_layout_but_the_first_has_steps_that_lead_to_it() -> None:
    assert set(layout.LAYOUT_STEPS) == set(range(1, layout.LAYOUT_VERSION))
    assert set(replica_layout.LAYOUT_STEPS) == set(range(1, replica_layout.LAYOUT_VERSION))
    assert 1 <= layout.LAYOUT_VERSION_MIN <= layout.LAYOUT_VERSION


def test_a_hub_of_a_newer_layout_is_refused_and_left_alone(pair: Pair) -> None:
    """A process that was serving while a newer release came says so, and replicas wait."""
    newer = layout.LAYOUT_VERSION + 1
    replica = pair.replica
    pair.at_hub("update reunite_meta set value = ? where name like 'layout%'", newer)
    pair.at_hub("insert into note values ('n1', 'x')")
    before = pair.at_hub("select sql from sqlite_schema order by name")
    with pytest.raises(NewerLayoutError, match=f"layout {newer}.*Upgrade reunite"):
        pair.hub.number()
    with pytest.raises(HubUnreachableError):
        replica.sync()
    with Hub(pair.folder / "hub.db") as hub:
        for step in (hub.adopt, hub.status, hub.track_all, lambda: hub.track("note")):
            with pytest.raises(NewerLayoutError):
                step()
    assert pair.at_hub("select sql from sqlite_schema order by name") == before
    assert hub_layout_of(pair) == {"layout": newer, "layout_min": newer}


def test_a_newer_layout_that_older_code_works_on_is_used_and_kept(pair: Pair) -> None:
    newer = layout.LAYOUT_VERSION + 1
    pair.at_hub("update reunite_meta set value = ? where name = 'layout'", newer)
    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    pair.at_hub("alter table note add column more")
    pair.assert_agreed()
    with Hub(pair.folder / "hub.db") as hub:
        hub.adopt()
        hub.track("note")
    assert hub_layout_of(pair)["layout"] == newer


def test_an_older_layout_is_brought_up_to_date_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever is done first; what was in the log stays."""
    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    pair.replica.sync()
    step = "alter table reunite_replica add column colour text default 'blue'"
    monkeypatch.setattr(layout, "LAYOUT_VERSION", layout.LAYOUT_VERSION + 1)
    monkeypatch.setattr(
        layout,
        "LAYOUT_STEPS",
        MappingProxyType({**layout.LAYOUT_STEPS, layout.LAYOUT_VERSION - 1: (step,)}),
    )
    with Hub(pair.folder / "hub.db") as hub:
        hub.adopt()
        assert [entry.key for entry in hub.log()] == [("n1",)]
        hub.adopt()
    assert pair.at_hub("select colour from reunite_replica") == [("blue",)]
    versions = {"layout": layout.LAYOUT_VERSION, "layout_min": layout.LAYOUT_VERSION_MIN}
    assert hub_layout_of(pair) == versions
    pair.write(pair.replica, "update note set title = 'y'")
    pair.assert_agreed()


# What came with the second layout.
CAME_TABLES = (*record_tables(), "reunite_erased")
CAME_INDEX = "reunite_outcome_rejected"


def own_relations(pair: Pair) -> list[tuple[str]]:
    """reunite's tables and indexes at the hub."""
    catalogue = {
        "sqlite": "select name from sqlite_schema where name like 'reunite%' order by 1",
        "postgresql": "select relname::text from pg_class where relname like 'reunite%' order by 1",
    }
    return pair.at_hub(catalogue[pair.database.kind])


def go_back_to_the_first_layout(pair: Pair) -> None:
    pair.hub.close()
    for table in CAME_TABLES:
        pair.at_hub(f"drop table {table}")
    pair.at_hub(f"drop index {CAME_INDEX}")
    pair.at_hub("update reunite_meta set value = '1' where name = 'layout'")


@pytest.mark.hubs("sqlite", "postgresql")
def test_tables_that_an_older_release_did_not_make_are_made(pair: Pair) -> None:
    """All that they are for works then, and what was in the log stays."""
    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    pair.replica.sync()
    before = own_relations(pair)
    go_back_to_the_first_layout(pair)
    assert len(own_relations(pair)) < len(before)
    pair.restart_hub()
    pair.hub.directory.add_user("ann", password="correct horse battery")
    assert own_relations(pair) == before
    found = pair.at_hub("select value from reunite_meta where name = 'layout'")
    assert int(found[0][0]) == layout.LAYOUT_VERSION
    assert [entry.key for entry in pair.hub.log()] == [("n1",)]
    pair.write(pair.replica, "update note set title = 'y'")
    pair.assert_agreed()
    pair.hub.erase("note", ("n1",))
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_processes_that_open_an_older_hub_at_once_bring_it_up_to_date_once(pair: Pair) -> None:
    before = own_relations(pair)
    go_back_to_the_first_layout(pair)
    program = (
        "import sys; from reunite import Hub; hub = Hub(sys.argv[1]); sys.stdin.readline(); "
        "hub.adopt(); print(len(hub.log()), hub.directory.users())"
    )
    command = [sys.executable, "-c", program, str(pair.database.store())]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    told = [process.communicate(timeout=DEADLINE_S)[0] for process in processes]
    assert told == ["0 []\n"] * 3
    assert own_relations(pair) == before
    pair.restart_hub()
    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    pair.assert_agreed()


def test_a_replica_of_a_newer_layout_is_refused(pair: Pair) -> None:
    path = pair.replica.path
    newer = replica_layout.LAYOUT_VERSION + 1
    pair.in_file(pair.replica, f"update reunite_state set value = {newer} where name = 'layout'")
    with pytest.raises(NewerLayoutError, match=f"layout {newer}.*Upgrade reunite"):
        Replica(path, transport=pair.wire.transport(pair.token))


def test_a_replica_of_an_older_layout_is_brought_up_to_date(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    newer = replica_layout.LAYOUT_VERSION + 1
    step = "alter table reunite_inbox add column colour text default 'blue'"
    monkeypatch.setattr(replica_layout, "LAYOUT_VERSION", newer)
    steps = MappingProxyType({**replica_layout.LAYOUT_STEPS, newer - 1: (step,)})
    monkeypatch.setattr(replica_layout, "LAYOUT_STEPS", steps)
    with Replica(
        pair.replica.path, transport=pair.wire.transport(pair.token), clock=pair.clock
    ) as replica:
        pair.in_file(replica, "select colour from reunite_inbox")
        assert pair.in_file(replica, "select value from reunite_state where name = 'layout'") == [
            (str(newer),)
        ]
        replica.sync()
    assert pair.at_hub("select id from note") == [("n1",)]
