"""One seeded run: begin, hurt, heal, agree; and the shortest form of a run that fails.

The rule: two runs of one `Schedule` do the same, and leaving out a step changes no other step's
chance. That is what makes a failure repeatable and a schedule shrinkable.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from reunite.replica import outbox
from reunite.testing.simulator import actions
from reunite.testing.simulator.book import InvariantBroken
from reunite.testing.simulator.own import OwnTables, OwnWorld
from reunite.testing.simulator.rights import RightsWorld
from reunite.testing.simulator.world import World

STEPS = 70

# Lines that a failure shows.
LINES_SHOWN = 60

# Runs that shrinking may take.
SHRINKING_RUNS_MAX = 250

# A file system in memory, where there is one.
_MEMORY_FOLDER = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is run. `only` are the steps that happen; None for all of them. `tables` are a team's
    own, on an SQLite hub; None for the shop. With `live`, replicas hold streams as well. With
    `rights`, it is the world in which rights change, not the shop (in memory means SQLite then)."""

    seed: int
    hub: str = "memory"
    steps: int = STEPS
    only: tuple[int, ...] | None = None
    tables: OwnTables | None = None
    live: bool = False
    rights: bool = False

    @property
    def command(self) -> str:
        """The command that runs it, or the call."""
        if self.tables is not None:
            steps = "" if self.steps == STEPS else f", steps={self.steps}"
            only = "" if self.only is None else f", only={self.only}"
            return f"Simulator(seed={self.seed}{steps}{only}, tables=...).run()"
        parts = [f"python -m reunite.testing.simulator --seed {self.seed} --hub {self.hub}"]
        if self.rights:
            parts.append("--rights")
        if self.live:
            parts.append("--live")
        if self.steps != STEPS:
            parts.append(f"--steps {self.steps}")
        if self.only is not None:
            parts.append(f"--only {','.join(str(step) for step in self.only) or '0'}")
        return " ".join(parts)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The steps that happen, in order."""
        return tuple(range(1, self.steps + 1)) if self.only is None else self.only


class SimulationFailed(AssertionError):  # noqa: N818 — it says what it is
    """A run broke a promise; the message tells the story's end and how to repeat it."""

    def __init__(self, schedule: Schedule, step: int, cause: BaseException, story: str) -> None:
        self.schedule = schedule
        self.step = step
        self.kind = cause.invariant if isinstance(cause, InvariantBroken) else type(cause).__name__
        self.cause_text = f"{type(cause).__name__}: {cause}"
        super().__init__(
            f"{story}\n\nStep {step}: {self.cause_text}\nRepeat it with: {schedule.command}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Carried between processes as its text.
        return (_remade, (self.schedule, self.step, self.kind, self.cause_text, str(self)))


def _remade(schedule: Schedule, step: int, kind: str, cause: str, text: str) -> SimulationFailed:
    failure = SimulationFailed.__new__(SimulationFailed)
    AssertionError.__init__(failure, text)
    failure.schedule, failure.step, failure.kind = schedule, step, kind
    failure.cause_text = cause
    return failure


def run(schedule: Schedule) -> dict[str, int]:
    """Run it; what happened, counted. Raises SimulationFailed."""
    memory = _MEMORY_FOLDER if _MEMORY_FOLDER.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="reunite-simulator-", dir=memory))
    # Programs write little at a time here. In every other run that is enough for a range.
    long_group = 1 if schedule.seed % 2 else outbox.LONG_GROUP
    try:
        world = _world(schedule, folder)
        try:
            with mock.patch.object(outbox, "LONG_GROUP", long_group):
                if not isinstance(world, World):
                    world.live(schedule.numbers, schedule.steps)
                    return world.counts
                _live(world, schedule)
                return world.book.counts
        except Exception as exc:
            story = "\n".join([*world.lines][-LINES_SHOWN:])
            raise SimulationFailed(schedule, world.step, exc, story) from exc
        finally:
            world.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _world(schedule: Schedule, folder: Path) -> World | OwnWorld | RightsWorld:
    if schedule.rights:
        return RightsWorld(seed=schedule.seed, hub=schedule.hub, folder=folder)
    if schedule.tables is not None:
        return OwnWorld(schedule.tables, seed=schedule.seed, folder=folder)
    return World(seed=schedule.seed, hub=schedule.hub, folder=folder, live=schedule.live)


def _live(world: World, schedule: Schedule) -> None:
    actions.begin(world)
    world.is_calm = False
    for step in schedule.numbers:
        world.begin_step(step)
        actions.happen(world)
        world.book.count("step")
    world.begin_step(schedule.steps + 1)
    actions.heal(world)


def failure_of(schedule: Schedule) -> SimulationFailed | None:
    """How the schedule fails, or None."""
    try:
        run(schedule)
    except SimulationFailed as exc:
        return exc
    return None


def shrink(
    failure: SimulationFailed, *, told: Callable[[Schedule], None] = lambda schedule: None
) -> SimulationFailed:
    """The same failure with as few steps as can be found. `told` hears of every success.

    Takes away ever smaller runs of steps while a failure of the same kind remains.
    """
    best = failure
    numbers = [step for step in failure.schedule.numbers if step <= failure.step]
    size = max(1, len(numbers) // 2)
    runs = 0
    while runs < SHRINKING_RUNS_MAX:
        start, has_shrunk = 0, False
        while start < len(numbers) and runs < SHRINKING_RUNS_MAX:
            fewer = numbers[:start] + numbers[start + size :]
            found = _same_failure(best, fewer)
            runs += 1
            if found is None:
                start += size
            else:
                best, numbers, has_shrunk = found, fewer, True
                told(found.schedule)
        if size == 1 and not has_shrunk:
            break
        size = max(1, size // 2)
    return best


def _same_failure(failure: SimulationFailed, numbers: Sequence[int]) -> SimulationFailed | None:
    found = failure_of(replace(failure.schedule, only=tuple(numbers)))
    return found if found is not None and found.kind == failure.kind else None
