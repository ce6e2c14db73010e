"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """Clock of the engine's ports. It starts at `now_ms` and nothing but a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        return self._now_ms

    def advance(self, ms: int = 1) -> int:
        """Let time pass; the time after it."""
        if ms < 0:
            raise ValueError("Time only passes forwards: use jump().")
        return self.jump(ms)

    def jump(self, ms: int) -> int:
        """Set the clock by a difference, as a user or a time server does: also backwards."""
        self._now_ms += ms
        return self._now_ms
