"""Steps: how many rows to read at a time, so that rows of any size stay within bounds.

They grow while they stay small, so that a table of huge values never has more than a step's worth
in memory.
"""

from __future__ import annotations

_STEP_ROWS_FIRST = 100
_STEP_ROWS_MAX = 2_500
_STEP_BYTES_GROW = 512 * 1024


class Steps:
    """Sizes of the steps in which rows are read."""

    def __init__(self, rows_expected: int) -> None:
        self._size = min(_STEP_ROWS_FIRST, rows_expected)

    def next(self, left: int) -> int:
        """How many rows to read now, when `left` are wanted."""
        return max(1, min(self._size, left))

    def took(self, size_bytes: int) -> None:
        """The step was so large."""
        if size_bytes < _STEP_BYTES_GROW:
            self._size = min(self._size * 5, _STEP_ROWS_MAX)
        else:
            self._size = max(1, self._size // 4)
