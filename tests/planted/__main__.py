"""`python -m tests.planted [NAME ...]`: plant the bugs one by one and tell which seeds find each.

The wide form of `test_planted.py`: fresh seeds only, so that one sees how quickly each is found.
After a change of the simulator's story, `--record --seeds 0..99` keeps seeds that find them at
once. Exit code 1 if one is not found.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted.planting import Bug, Finding, all_bugs, misfits, plant, record, search


def main() -> int:
    """Search for the bugs that the command line names; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted")
    parser.add_argument("names", nargs="*", help="these bugs; all of them if none is named")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seeds", help="these seeds: 0..99 or 3,17")
    parser.add_argument("--tell", action="store_true", help="show how each was found")
    parser.add_argument("--record", action="store_true", help="keep the seeds that find them")
    options = parser.parse_args()
    bugs = [bug for bug in all_bugs() if not options.names or bug.name in options.names]
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for bug, finding, seconds in pool.map(lambda bug: _timed(bug, options.seeds), bugs):
            is_found = finding.is_found and not finding.is_accident
            missed += not is_found
            print(f"{_word(finding):9} {seconds:6.1f} s  {bug.name:44} {_last_words(finding)}")
            if options.record and is_found and finding.seed is not None:
                record(bug, finding.seed)
            if options.tell:
                print(finding.text)
    return 1 if missed else 0


def _timed(bug: Bug, seeds: str | None) -> tuple[Bug, Finding, float]:
    lines = misfits(bug)
    if lines:
        return bug, Finding(is_found=False, text="\n".join(lines)), 0.0
    first = random.randrange(10**9)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        finding = search(bug, plant(bug, Path(folder)), seeds=seeds or f"{first}..{first + 99}")
    return bug, finding, time.monotonic() - started


def _word(finding: Finding) -> str:
    if not finding.is_found:
        return "NOT FOUND"
    return "ACCIDENT" if finding.is_accident else "found"


def _last_words(finding: Finding) -> str:
    """The finder's reason, and the seed."""
    reason = next(
        (line for line in finding.text.splitlines() if re.match(r"(Step \d+:|FAILED|E  )", line)),
        finding.text.strip()[-120:],
    )
    seed = "" if finding.seed is None else f"seed {finding.seed}  "
    return f"{seed}{reason[:150]}"


if __name__ == "__main__":
    sys.exit(main())
