"""What tests of reunite, and of programs that use it, share.

Contract suites need pytest and have a module of their own, `reunite.testing.contracts`.
"""

from reunite.testing.clock import FakeClock
from reunite.testing.identity import SeededIds
from reunite.testing.wire import FakeWire, Fault, SeededFaults

__all__ = ["FakeClock", "FakeWire", "Fault", "SeededFaults", "SeededIds"]
