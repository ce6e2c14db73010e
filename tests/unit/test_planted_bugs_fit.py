"""The planted bugs of `tests/planted/` fit the code of today, so that they can be found in it."""

from __future__ import annotations

import pytest

from tests.planted.planting import Bug, all_bugs, misfits


@pytest.mark.parametrize("bug", all_bugs(), ids=lambda bug: bug.name)
def test_planted_bug_fits_the_code(bug: Bug) -> None:
    assert not misfits(bug), "\n".join(misfits(bug))
