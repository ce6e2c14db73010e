"""Where rights change all the time, nobody is told or keeps what is not theirs to see, and nothing
takes effect that is forbidden (I6, I7, I8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from reunite.core.rules import Access
from reunite.engine.view import Sight
from reunite.replica.leaving import Leaving
from reunite.testing.simulator import Schedule, SimulationFailed, run
from tests.postgresql_server import PostgresServer

# 1232: a column is written, and the row given away, in one push. 2178: an undo makes a row again
# that somebody does not see who has a record of what it was.
SEEDS = (*range(1, 11), 1232, 2178)
POSTGRESQL_SEEDS = range(1, 4)


@pytest.fixture
def server(postgresql_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REUNITE_POSTGRESQL", postgresql_server.url())


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_told_or_keeps_what_is_not_theirs_to_see(seed: int) -> None:
    run(Schedule(seed=seed, hub="sqlite", rights=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", POSTGRESQL_SEEDS)
def test_nobody_is_told_what_is_not_theirs_to_see_on_postgresql(server: None, seed: int) -> None:
    run(Schedule(seed=seed, hub="postgresql", steps=40, rights=True))


@pytest.mark.slow
def test_runs_in_which_rights_change_repeat_and_do_something() -> None:
    counts: Counter[str] = Counter()
    for seed in (21, 22, 23):
        schedule = Schedule(seed=seed, hub="sqlite", rights=True)
        once = run(schedule)
        counts.update(once)
    assert run(schedule) == once, "a seed is a promise"
    for what in (
        "change_claims",
        "change_rules",
        "erase",
        "undo",
        "restore",
        "death",
        "look into a file",
        "answer to push",
        "refused schema-changed",
        "refused storage-unavailable",
    ):
        assert counts[what] > 0, f"{what!r} never happened: {counts}"


def _everything(*arguments: Any) -> bool:
    return True


def _nothing(*arguments: Any, **options: Any) -> None:
    return None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name", "instead", "kind"),
    [
        (Sight, "shows", _everything, "I6"),
        (Access, "may", _everything, "I7"),
        (Leaving, "forget", _nothing, "I6"),
    ],
    ids=["pages show all rows", "everybody may do everything", "files forget nothing"],
)
def test_the_checkers_see_what_is_broken(
    monkeypatch: pytest.MonkeyPatch,
    where: Any,
    name: str,
    instead: Callable[..., Any],
    kind: str,
) -> None:
    monkeypatch.setattr(where, name, instead)
    kinds = set()
    for seed in range(31, 37):
        try:
            run(Schedule(seed=seed, hub="sqlite", rights=True))
        except SimulationFailed as exc:
            kinds.add(exc.kind)
            if kind in kinds:
                return
    pytest.fail(f"{name} was broken, and only {kinds} was noticed")
