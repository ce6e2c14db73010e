"""What tests of reunite, and of programs that use it, share.

Contract suites need pytest and have a module of their own, `reunite.testing.contracts`.
"""

from reunite.testing.clock import FakeClock
from reunite.testing.identity import SeededIds

__all__ = ["FakeClock", "SeededIds"]
