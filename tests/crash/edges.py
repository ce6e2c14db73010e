"""Kills at numbered edges: every SQL statement of a process, and every step of an exchange.

    template ──copy──► run in a forked child ──SIGKILL at edge k──► heal in another child, check

An edge is the moment before a statement begins; SQLite's trace numbers them, on every connection
that the child opens, and the wire adds the steps of its requests. Borders (a transaction begins or
ends, a statement outside of one, the edge after a commit, a step of the wire) leave files in
different states; edges inside a transaction should not, so of those a seeded sample is enough.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.world import World, heal


class Edge(NamedTuple):
    """What was about to happen, and whether a transaction's border is there."""

    label: str
    is_border: bool


class Edges:
    """Counts the edges of this process, and kills it at one of them."""

    def __init__(self, *, kill_at: int = 0, log: Path | None = None) -> None:
        self._kill_at = kill_at
        self._log = log
        self._count = 0
        self._open: set[int] = set()
        self._is_border = True

    def passed(self, label: str, connection: int = 0) -> None:
        self._count += 1
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        word = label.partition(": ")[2].lstrip()[:8].lower()
        ends = word.startswith("commit") or word == "rollback"
        is_border = self._is_border or ends or connection not in self._open
        self._is_border = ends
        if word.startswith("begin"):
            self._open.add(connection)
        elif ends:
            self._open.discard(connection)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                print(int(is_border), " ".join(label.split()), file=file)

    def install(self) -> None:
        """Watch every connection that this process opens from now on."""
        connect = sqlite3.connect

        def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            name, number = Path(str(arguments[0])).name, id(connection)
            self._open.discard(number)
            connection.set_trace_callback(lambda sql: self.passed(f"{name}: {sql}", number))
            return connection

        sqlite3.connect = watched  # type: ignore[assignment]


class ChildFailedError(AssertionError):
    """A forked child did not do what it should; the text is its traceback."""


def in_child(work: Callable[[], None], folder: Path) -> int:
    """Run it in a forked child: 0, or the signal that ended it. Raises what the child raised."""
    report = folder.with_name(folder.name + "-failure.txt")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            report.write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise ChildFailedError(report.read_text(encoding="utf-8"))
    return 0


def prepared(scenario: Scenario, template: Path) -> list[Edge]:
    """Make the scenario's template, and list the edges of one run of it."""
    template.mkdir()
    in_child(lambda: _run(scenario.prepare, template, "before", Edges()), template)
    trial = template.with_name(template.name + "-trial")
    shutil.copytree(template, trial)
    log = trial / "edges.txt"
    in_child(lambda: _run(scenario.run, trial, "trial", Edges(log=log)), trial)
    lines = log.read_text(encoding="utf-8").splitlines()
    heal_in_child(trial)
    shutil.rmtree(trial)
    return [Edge(line[2:], line.startswith("1")) for line in lines]


def chosen(edges: list[Edge], *, sample: float, chance: random.Random) -> list[int]:
    """Numbers of edges, from 1: a share of the borders and a tenth of that of the others."""
    return [
        number
        for number, edge in enumerate(edges, 1)
        if chance.random() < (sample if edge.is_border else sample / 10)
    ]


def kill_everywhere(
    name: str, folder: Path, *, seed: int, sample: float, only: int | None = None
) -> tuple[int, list[str]]:
    """Kill a scenario at its edges: how often, and what went wrong."""
    chance = random.Random(f"{seed} {name}")
    scenario = SCENARIOS[name]
    template = folder / name
    edges = prepared(scenario, template)
    numbers = [only] if only else chosen(edges, sample=sample, chance=chance)
    failures = []
    kills = 0
    for number in numbers:
        work = folder / f"{name}-{number}"
        shutil.copytree(template, work)
        # Now and then the recovery is cut off as well.
        again = random.Random(f"{seed} {number}").randrange(1, len(edges) + 1)
        try:
            kills += _kill_and_heal(scenario, work, number, again if again % 3 == 0 else None)
        except ChildFailedError as exc:
            failures.append(
                f"{name}, killed at edge {number}: {edges[number - 1].label[:200]}\n{exc}"
                f"python -m tests.crash edges --scenario {name} --edge {number} --seed {seed}"
            )
        shutil.rmtree(work)
    return kills, failures


def _kill_and_heal(scenario: Scenario, folder: Path, number: int, again: int | None) -> int:
    kills = _killed(scenario.run, folder, "run", number)
    if again is not None:
        kills += _killed(_sync_all, folder, "again", again)
    heal_in_child(folder)
    return kills


def _killed(step: Callable[[World], None], folder: Path, who: str, number: int) -> int:
    signalled = in_child(lambda: _run(step, folder, who, Edges(kill_at=number)), folder)
    return int(signalled == signal.SIGKILL)


def _run(step: Callable[[World], None], folder: Path, who: str, edges: Edges) -> None:
    edges.install()
    world = World(folder, who=who, passed=edges.passed)
    step(world)
    world.close()


def _sync_all(world: World) -> None:
    for name in world.replica_names():
        world.clone(name).sync()


def heal_in_child(folder: Path) -> None:
    """Open, sync and check everything, in a child."""
    in_child(lambda: _heal(folder), folder)


def _heal(folder: Path) -> None:
    world = World(folder, who="heal")
    heal(world)
    world.close()
