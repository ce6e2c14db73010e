"""`python -m tests.crash`: kill processes until something breaks, or until all was tried.

    edges   every scenario, at each edge (or `--sample 0.2` of them)
    soak    real processes at random moments, `--kills 1000`
    full, readonly, power    storage that fails, `--times 20` a scenario
    large   one transaction of `--rows 500000`, read by others all the while
    all     all of these but the last

Exit codes: 0 all held, 1 something did not (what, and the command that repeats it, is printed).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.edges import kill_everywhere
from tests.crash.large import move
from tests.crash.scenarios import SCENARIOS
from tests.crash.soak import Soak
from tests.crash.storage import fail_everywhere

KINDS = ("full", "readonly", "power")

# Kills after which a soak begins anew, with empty files.
LIFE_KILLS = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("what", choices=("edges", "soak", "large", *KINDS, "all"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), action="append")
    parser.add_argument("--sample", type=float, default=1.0, help="share of the edges")
    parser.add_argument("--edge", type=int, help="this edge of one scenario only")
    parser.add_argument("--kills", type=int, default=1_000, help="kills of a soak")
    parser.add_argument("--times", type=int, default=20, help="failures of storage a scenario")
    parser.add_argument("--rows", type=int, default=500_000, help="rows of a large transaction")
    options = parser.parse_args()
    started = time.monotonic()
    kills, failures = 0, []
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "large":
            move(Path(folder), rows=options.rows)
        if options.what in ("edges", "all"):
            for name in options.scenario or SCENARIOS:
                done, found = kill_everywhere(
                    name, Path(folder), seed=options.seed, sample=options.sample, only=options.edge
                )
                print(f"{name}: {done} kills, {len(found)} failures", flush=True)
                kills += done
                failures += found
        for kind in KINDS:
            for name in (options.scenario or SCENARIOS) if options.what in (kind, "all") else ():
                done, found = fail_everywhere(
                    kind, name, Path(folder), seed=options.seed, times=options.times
                )
                print(f"{kind}, {name}: {done} times, {len(found)} failures", flush=True)
                kills += done
                failures += found
        if options.what in ("soak", "all"):
            done, found = soak(Path(folder), seed=options.seed, kills=options.kills)
            kills += done
            failures += found
    for failure in failures:
        print("\n" + failure, file=sys.stderr)
    print(f"{kills} kills in {time.monotonic() - started:.1f} s, {len(failures)} failures.")
    return 1 if failures else 0


def soak(folder: Path, *, seed: int, kills: int) -> tuple[int, list[str]]:
    """Lives of `LIFE_KILLS` kills each, until there were enough; stops at the first failure."""
    done = 0
    while done < kills:
        life = folder / f"life{seed}"
        life.mkdir()
        running = Soak(life, seed=seed, kills=min(LIFE_KILLS, kills - done))
        try:
            done += running.run()
        except AssertionError as exc:
            return done + running.kills, [
                f"{exc}\npython -m tests.crash soak --seed {seed} --kills {LIFE_KILLS}"
            ]
        print(f"seed {seed}: {done} kills", flush=True)
        shutil.rmtree(life)
        seed += 1
    return done, []


if __name__ == "__main__":
    sys.exit(main())
