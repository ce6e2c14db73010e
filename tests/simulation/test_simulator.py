"""The simulator holds: fixed seeds, every seed that once failed, and in CI fresh ones.

A file in `regressions/` is one schedule and a sentence on what it found:

    found = "An echo of a push arrived after its row had moved, and was applied again."
    seed = 4711
    hub = "memory"          # the rest as in `Schedule`; left out where it is the default
    steps = 40
    only = [3, 8, 21]

Failing seeds are kept for ever, also when the simulator has changed so much that they no longer
tell the story they once told.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from reunite.errors import CallerError
from reunite.testing.simulator import Schedule, run
from tests.postgresql_server import PostgresServer

LIVE_SEEDS = range(1, 7)
POSTGRESQL_SEEDS = range(1, 4)
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.toml"))
SEEDS = range(1, 41)
FRESH_SECONDS = 180
FRESH_RUNS_MAX = 250


def schedule_of(path: Path) -> Schedule:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    assert told.pop("found"), f"{path.name} does not say what it found"
    only = told.pop("only", None)
    return Schedule(**told, only=None if only is None else tuple(only))


@pytest.mark.slow
@pytest.mark.parametrize("hub", ["memory", "sqlite"])
@pytest.mark.parametrize("seed", SEEDS)
def test_seed_holds(seed: int, hub: str) -> None:
    run(Schedule(seed=seed, hub=hub))


@pytest.mark.slow
@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_seed_that_once_failed_holds(path: Path) -> None:
    run(schedule_of(path))


@pytest.mark.slow
@pytest.mark.parametrize("hub", ["memory", "sqlite"])
@pytest.mark.parametrize("seed", LIVE_SEEDS)
def test_seed_holds_where_replicas_are_live(seed: int, hub: str) -> None:
    run(Schedule(seed=seed, hub=hub, live=True))


@pytest.mark.slow
def test_live_runs_do_something() -> None:
    counts: Counter[str] = Counter()
    for seed in range(50, 54):
        counts.update(run(Schedule(seed=seed, live=True)))
    for what in ("stream", "stream behind", "stream left for a pull", "checkpoint of a stream"):
        assert counts[what] > 0, f"{what!r} never happened: {counts}"


@pytest.fixture
def server(postgresql_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REUNITE_POSTGRESQL", postgresql_server.url())


@pytest.mark.slow
@pytest.mark.parametrize("seed", POSTGRESQL_SEEDS)
def test_seed_holds_where_transactions_are_open_side_by_side(server: None, seed: int) -> None:
    counts = run(Schedule(seed=seed, hub="postgresql", steps=40, live=seed == 3))
    assert counts["transaction left open"] > 0


@pytest.mark.slow
def test_runs_on_postgresql_repeat(server: None) -> None:
    schedule = Schedule(seed=7, hub="postgresql", steps=15)
    assert run(schedule) == run(schedule)


def test_a_run_on_postgresql_says_that_it_needs_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REUNITE_POSTGRESQL", raising=False)
    with pytest.raises(CallerError, match="REUNITE_POSTGRESQL"):
        run(Schedule(seed=1, hub="postgresql"))


@pytest.mark.slow
def test_runs_repeat() -> None:
    """A seed is a promise: twice the same run, to the last count."""
    assert run(Schedule(seed=7)) == run(Schedule(seed=7))


@pytest.mark.slow
def test_runs_do_something() -> None:
    """A simulator in which nothing is merged, rejected, renumbered or forked proves nothing."""
    counts: dict[str, int] = {}
    for seed in range(100, 130):
        for what, count in run(Schedule(seed=seed)).items():
            counts[what] = counts.get(what, 0) + count
    for what in (
        "checkpoint",
        "outcome applied",
        "outcome merged",
        "outcome rejected unique",
        "outcome rejected parent-deleted",
        "outcome rejected vetoed",
        "outcome rejected depends-on-rejected",
        "outcome told again",
        "refused identity-forked",
        "renumber",
        "intrusion",
        "death",
        "death at a statement",
        "repair",
    ):
        assert counts.get(what, 0) > 0, f"{what!r} never happened: {counts}"
    told = {what: count for what, count in counts.items() if what.startswith("outcome ")}
    judged = sum(told.values()) - told["outcome told again"]
    assert counts["outcome applied"] > judged / 3


@pytest.mark.slow
@pytest.mark.skipif("CI" not in os.environ, reason="fresh seeds are for CI and `make simulate`")
@pytest.mark.parametrize("hub", ["memory", "sqlite"])
def test_fresh_seeds_hold(hub: str) -> None:
    """About three minutes of seeds that nobody has seen: others for each commit, so that a commit
    that failed fails again."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    chance = random.Random(f"{commit} {hub}" if commit else None)
    until = time.monotonic() + FRESH_SECONDS / 2
    for _ in range(FRESH_RUNS_MAX):
        seed = chance.randrange(10**9)
        run(Schedule(seed=seed, hub=hub, rights=hub == "sqlite" and seed % 5 == 0))
        if time.monotonic() > until:
            break
