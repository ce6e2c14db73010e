"""What the simulator cannot find, it does not test: every planted bug is found.

`python -m tests.planted` is the wide form, with fresh seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.planting import Bug, all_bugs, plant, search


@pytest.mark.slow
@pytest.mark.parametrize("bug", all_bugs(), ids=lambda bug: bug.name)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    """Known seeds first, then a bounded number of others."""
    finding = search(bug, plant(bug, tmp_path))
    assert finding.is_found, f"Nothing noticed this: {bug.breaks}\n{finding.text[-2_000:]}"
    assert not finding.is_accident, f"The bug breaks the program, no promise:\n{finding.text}"
