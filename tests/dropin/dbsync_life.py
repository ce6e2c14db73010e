"""DB-S20: three nodes work at random, lose answers, and write what the server refuses until they
mend it; all are equal at the end, none is stuck.

`python -m tests.dropin.dbsync_life 200` lives the first 200 seeds.
"""

from __future__ import annotations

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.dropin.dbsync_world import World, mend_orphans, random_step

STEPS = 50


def live(seed: int, folder: Path, *, steps: int = STEPS, has_orphans: bool = True) -> None:
    """One life. Raises AssertionError if the nodes do not end as the server, or one is stuck."""
    chance = random.Random(seed)
    with ExitStack() as closing:
        world = World(folder, closing)
        nodes = [world.node(name) for name in ("a", "b", "c")]
        for node in nodes:
            node.net.lose = lambda: chance.random() < 0.2
        for number in range(steps):
            for node in nodes:
                random_step(node, chance, number, has_orphans=has_orphans)
        for node in nodes:
            node.net.lose = lambda: False
            mend_orphans(node, delete=False)
        for _ in range(2):
            for node in nodes:
                node.synchronize()
        for node in nodes:
            node.pull()
        world.check_equal(*nodes)


def main(count: int) -> int:
    """Live so many seeds; how many ended badly."""
    failed = 0
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            try:
                live(seed, Path(folder))
            except Exception as exc:
                failed += 1
                print(f"seed {seed}: {exc!r}", flush=True)
    print(f"{count - failed} of {count} lives ended well")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 200) else 0)
