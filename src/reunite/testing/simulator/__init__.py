"""The simulator: the real hub and real replicas in a cruel, repeatable world.

    $ python -m reunite.testing.simulator --seed 4711            one run
    $ python -m reunite.testing.simulator --seeds 0..999         many, on all the jobs
    $ python -m reunite.testing.simulator --minutes 10           fresh ones until the time is up

What it is       one process, one seed, one story: programs write at the hub and to replica files,
                 replicas sync over a wire that drops, cuts, doubles and delays, files are copied
                 and restored, processes die, clocks jump; then the wire heals and all must agree.
What it is not   a test of HTTP, of threads, or of several processes on one file.
The rule         what is checked is written down in design section 18 and in `checks/`, not in the
                 code that it checks: where the two differ, one of them is wrong.

    tables.py   the shop       hubs.py    the hub's side      book.py     what crossed the wire
    writers.py  programs       files.py   replica files       checks/     who judges
    actions.py  what happens   world.py   all of it together  run.py      one run, and shrinking
    streams.py  live streams
    rights.py   a world in which rights change, and who may see what; rights_tables.py  its rules
    mortal.py   who may die at a statement     postgresql.py  a hub with transactions side by side
    own.py      a team's own tables instead of the shop; stories.py   what is written to them
"""

from collections.abc import Sequence

from reunite.testing.simulator.own import Invariant, OwnTables, Story
from reunite.testing.simulator.run import (
    STEPS,
    Schedule,
    SimulationFailed,
    failure_of,
    run,
    shrink,
)


class Simulator:
    """One seeded run of a hub and its replicas.

        Simulator(seed=4711, hub="sqlite").run()
        Simulator(seed=4711, tables=OwnTables(schema=..., track=..., invariants=[...])).run()

    seed     everything that happens follows from it
    hub      `memory`, `sqlite` or `postgresql` (then REUNITE_POSTGRESQL names a server whose role
             may create databases; the run makes one and drops it); a team's own tables are always
             in an SQLite hub
    steps    how long the wire stays bad
    only     the numbers of the steps that happen; None for all of them
    tables   a team's own tables, instead of the shop that reunite tests itself with
    live     replicas of the shop hold live streams as well
    rights   the world of `rights.py` instead of the shop

    `run` returns counts of what happened, and raises SimulationFailed, an AssertionError whose
    message tells the end of the story and how to repeat the run. With `shrinks`, it first looks
    for the fewest steps that fail the same way, which takes up to some hundred runs.

    A run takes less than a second and leaves nothing behind.
    """

    def __init__(
        self,
        *,
        seed: int,
        hub: str = "memory",
        steps: int = STEPS,
        only: Sequence[int] | None = None,
        tables: OwnTables | None = None,
        live: bool = False,
        rights: bool = False,
    ) -> None:
        chosen = None if only is None else tuple(only)
        self.schedule = Schedule(
            seed=seed, hub=hub, steps=steps, only=chosen, tables=tables, live=live, rights=rights
        )

    def run(self, *, shrinks: bool = False) -> dict[str, int]:
        """Run it once."""
        try:
            return run(self.schedule)
        except SimulationFailed as exc:
            if not shrinks:
                raise
            raise shrink(exc) from None


__all__ = [
    "STEPS",
    "Invariant",
    "OwnTables",
    "Schedule",
    "SimulationFailed",
    "Simulator",
    "Story",
    "failure_of",
    "run",
    "shrink",
]
