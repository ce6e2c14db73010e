"""DB-S20: three nodes work at random and lose answers; all are equal at the end, none is stuck."""

import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dropin.dbsync_world import World, random_step

SEEDS = range(6)
STEPS = 50


@pytest.mark.parametrize("seed", SEEDS)
def test_three_nodes_agree_after_random_work(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    with ExitStack() as closing:
        world = World(tmp_path, closing)
        nodes = [world.node(name) for name in ("a", "b", "c")]
        for node in nodes:
            node.net.lose = lambda: chance.random() < 0.2
        for number in range(STEPS):
            for node in nodes:
                random_step(node, chance, number)
        for node in nodes:
            node.net.lose = lambda: False
        for _ in range(2):
            for node in nodes:
                node.synchronize()
        for node in nodes:
            node.pull()
        world.check_equal(*nodes)
