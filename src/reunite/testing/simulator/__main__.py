"""`python -m reunite.testing.simulator`: run seeds, tell what happened, shrink what failed.

Exit codes: 0 all runs held, 1 one failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from reunite.testing.simulator.run import (
    STEPS,
    Schedule,
    SimulationFailed,
    run,
    shrink,
)

# Fresh seeds are drawn below this.
FRESH_SEEDS = 10**9


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    options = _parser().parse_args(arguments)
    logging.getLogger("reunite.hub").setLevel(logging.ERROR)  # keys of the worlds that would tell
    started = time.monotonic()
    until = started + 60 * options.minutes if options.minutes else None
    counts: Counter[str] = Counter()
    runs = failures = 0
    for outcome in _outcomes(_schedules(options), jobs=options.jobs):
        runs += 1
        if isinstance(outcome, SimulationFailed):
            failures += 1
            _tell(outcome, is_shrinking=options.shrink)
            if failures >= options.failures:
                break
        else:
            counts.update(outcome)
        if until is not None and time.monotonic() > until:
            break
    seconds = time.monotonic() - started
    print(f"{runs} runs in {seconds:.1f} s, {failures} failed.")
    if options.verbose or failures == 0:
        print("\n".join(f"{count:10,}  {what}" for what, count in sorted(counts.items())))
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reunite.testing.simulator")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seed", type=int, help="run this seed")
    what.add_argument("--seeds", type=_seed_list, metavar="A..B,C", help="run these, B included")
    what.add_argument("--minutes", type=float, help="run fresh seeds for so long")
    parser.add_argument(
        "--hub",
        choices=("memory", "sqlite", "both", "postgresql"),
        default="both",
        help="postgresql needs a server: REUNITE_POSTGRESQL=postgresql://…",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="replicas hold live streams; fresh seeds do every other time",
    )
    parser.add_argument(
        "--rights",
        action="store_true",
        help="rules, claims, erasures and undos instead of the shop; fresh seeds do now and then",
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="steps before the wire heals")
    parser.add_argument("--only", type=_numbers, help="of these steps, only some: 3,8,21")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many")
    parser.add_argument("--shrink", action="store_true", help="look for a shorter failing run")
    parser.add_argument("--verbose", action="store_true", help="tell counts in any case")
    return parser


def _seed_list(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        try:
            seeds.extend(range(int(first), int(last or first) + 1))
        except ValueError as exc:
            raise argparse.ArgumentTypeError("write 0..99 or 3,17,20..29") from exc
    return seeds


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if int(number) > 0)


def _schedules(options: argparse.Namespace) -> Iterator[Schedule]:
    hubs = ("memory", "sqlite") if options.hub == "both" else (options.hub,)
    is_fresh = options.seed is None and options.seeds is None
    for seed in _seeds(options):
        for hub in hubs:
            yield Schedule(
                seed=seed,
                hub=hub,
                steps=options.steps,
                only=options.only,
                live=options.live or (is_fresh and seed % 2 == 1),
                rights=options.rights or (is_fresh and seed % 5 == 0),
            )


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    if options.seed is not None:
        yield options.seed
    elif options.seeds is not None:
        yield from options.seeds
    else:
        # Without a number of minutes, until someone stops it.
        while True:
            yield random.randrange(FRESH_SEEDS)


def _outcomes(
    schedules: Iterator[Schedule], *, jobs: int
) -> Iterator[dict[str, int] | SimulationFailed]:
    if jobs <= 1:
        yield from map(_outcome, schedules)
        return
    with multiprocessing.Pool(jobs) as pool:
        # A pool takes all it is given at once; fresh seeds never end.
        running = []
        for schedule in schedules:
            running.append(pool.apply_async(_outcome, (schedule,)))
            if len(running) > 2 * jobs:
                yield running.pop(0).get()
        for waiting in running:
            yield waiting.get()


def _outcome(schedule: Schedule) -> dict[str, int] | SimulationFailed:
    try:
        return run(schedule)
    except SimulationFailed as exc:
        return exc


def _tell(failure: SimulationFailed, *, is_shrinking: bool) -> None:
    if is_shrinking:
        failure = shrink(failure)
    print(f"\n{failure}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
