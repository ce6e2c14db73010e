"""The simulator's world in the hands of Hypothesis: it chooses what happens, and shrinks it.

The seeded runs choose by chance and cover more; here a failure comes as a short list of actions,
each with the smallest chance that still fails.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reunite.testing.simulator import actions
from reunite.testing.simulator.actions import Action
from reunite.testing.simulator.world import World

ACTIONS = [action for action, _ in actions.ACTIONS]


class Life(RuleBasedStateMachine):
    """One life of a hub and its replicas; at its end the wire heals and all must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="reunite-stateful-"))
        self.world = World(seed=0, hub="memory", folder=self.folder)
        actions.begin(self.world)
        self.world.is_calm = False

    @rule(action=st.sampled_from(ACTIONS), seed=st.integers(min_value=0, max_value=2**16))
    def act(self, action: Action, seed: int) -> None:
        """Anything may happen."""
        self.world.step += 1
        self.world.chance = random.Random(seed)
        action(self.world)

    @invariant()
    def every_file_is_well(self) -> None:
        """After each action, every file is looked at."""
        for file in self.world.files:
            self.world.look_at(file)

    def teardown(self) -> None:
        try:
            self.world.begin_step(self.world.step + 1)
            actions.heal(self.world)
        finally:
            self.world.close()
            shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.slow
def test_whatever_happens_all_agree_in_the_end() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
