"""DB-20: nodes that work at random and lose answers end as the server (`dbsync_life.py`)."""

from pathlib import Path

import pytest

from tests.dropin.dbsync_life import live


# 98 was stuck: a parent that was shown for a pending change had come back by another's push.
@pytest.mark.parametrize(("seed", "has_orphans"), [(0, True), (1, True), (2, True), (98, False)])
def test_three_nodes_agree_after_random_work(
    seed: int, tmp_path: Path, *, has_orphans: bool
) -> None:
    live(seed, tmp_path, has_orphans=has_orphans)
