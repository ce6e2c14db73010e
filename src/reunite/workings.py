"""What a hub is made of, for what is built on top of it, such as the console.

What it is       the objects that `Hub` holds, in one value.
The rule         whoever has it may read everything and decide nothing: rights are judged before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reunite.directory import Sessions
from reunite.engine.directory import Directory
from reunite.engine.ports import Clock, Store
from reunite.engine.tables import Tables
from reunite.jobs import Jobs
from reunite.metering import Meter


class Workings(NamedTuple):
    """The parts of one hub."""

    store: Store
    tables: Tables
    clock: Clock
    directory: Directory
    sessions: Sessions
    jobs: Jobs
    meter: Meter
    new_id: Callable[[], str]
    wake: Callable[[], None]
