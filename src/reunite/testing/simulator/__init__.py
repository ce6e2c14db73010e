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
    mortal.py   who may die at a statement
"""

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

    seed    everything that happens follows from it
    hub     `memory` or `sqlite`
    steps   how long the wire stays bad

    `run` returns counts of what happened, and raises SimulationFailed, an AssertionError whose
    message ends with the command that repeats the run.
    """

    def __init__(self, *, seed: int, hub: str = "memory", steps: int = STEPS) -> None:
        self.schedule = Schedule(seed=seed, hub=hub, steps=steps)

    def run(self) -> dict[str, int]:
        """Run it once."""
        return run(self.schedule)


__all__ = ["STEPS", "Schedule", "SimulationFailed", "Simulator", "failure_of", "run", "shrink"]
