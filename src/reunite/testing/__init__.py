"""What tests of reunite, and of programs that use it, share.

Contract suites need pytest and have a module of their own, `reunite.testing.contracts`.
"""

from reunite.testing.clock import FakeClock
from reunite.testing.identity import SeededIds
from reunite.testing.simulator import OwnTables, SimulationFailed, Simulator
from reunite.testing.wire import FakeWire, Fault, SeededFaults

__all__ = [
    "FakeClock",
    "FakeWire",
    "Fault",
    "OwnTables",
    "SeededFaults",
    "SeededIds",
    "SimulationFailed",
    "Simulator",
]
