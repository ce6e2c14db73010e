"""The simulator on tables that are not its own: it runs, it finds what it is told to look for."""

from __future__ import annotations

import runpy
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from reunite import Hub, UnknownTableError
from reunite.testing import OwnTables, SimulationFailed, Simulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "simulate_your_tables.py"

MANY_TYPES = """
create table kind (code text primary key not null, label text unique);
create table thing (
    id integer primary key,
    kind text references kind (code) on delete set null,
    parent integer references thing (id) on delete cascade,
    price decimal(10, 2),
    weight real,
    is_sold boolean not null default 0,
    made date,
    seen datetime,
    picture blob,
    extra json
);
create table place (
    x integer not null, y integer not null, thing integer references thing (id) on delete cascade,
    primary key (x, y)
) without rowid;
"""


def track_many_types(hub: Hub) -> None:
    hub.track("kind", rows="update_wins")
    hub.track("thing", merge={"price": "maximum"})
    hub.track("place")


@pytest.mark.slow
def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert runpy.run_path(str(EXAMPLE))["main"](seeds=5) == 0
    assert "all agree" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_tables_of_many_types_agree_without_stories(seed: int) -> None:
    counts = Simulator(seed=seed, tables=OwnTables(schema=MANY_TYPES, track=track_many_types)).run()
    assert counts["checkpoint"] > 0


@pytest.mark.slow
def test_a_counter_that_was_forgotten_is_found_and_told_in_few_steps() -> None:
    def forget(hub: Hub) -> None:
        hub.track("product")
        hub.track("sale")

    tables = replace(runpy.run_path(str(EXAMPLE))["TABLES"], track=forget)
    failure = None
    for seed in range(20):
        try:
            Simulator(seed=seed, tables=tables).run(shrinks=True)
        except SimulationFailed as exc:
            failure = exc
            break
    assert failure is not None, "twenty lives of tills that overwrite each other's stock"
    assert "AssertionError" in str(failure)
    assert f"Simulator(seed={seed}, only=" in str(failure)
    assert len(failure.schedule.numbers) <= 8
    with pytest.raises(SimulationFailed, match="sold"):
        Simulator(seed=seed, only=failure.schedule.only, tables=tables).run()


def test_a_table_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(UnknownTableError, match="nothing"):
        Simulator(
            seed=1, tables=OwnTables(schema=MANY_TYPES, track=lambda hub: hub.track("nothing"))
        ).run()


def test_a_schema_that_breaks_raises_what_it_raises() -> None:
    def refuse(db: sqlite3.Connection) -> None:
        db.execute("create table nothing (")

    with pytest.raises(sqlite3.OperationalError):
        Simulator(seed=1, tables=OwnTables(schema=refuse, track=lambda hub: None)).run()
