"""mobync's interface: an application's own storage, one log of diffs an owner, one call to sync.

    from reunite.dropin.mobync import Mobync, Synchronizer, ReadFilter, FilterType, Diff

What it is       `Mobync.apply` for servers, with the JSON of mobync 0.2; ready synchronizers;
                 a client for Python programs.
What it is not   a hub: the rows and the log live where the synchronizer puts them.
The rule         merging is the core's. Here is only what a log of diffs needs around it.
"""

from reunite.dropin.mobync.apply import Mobync
from reunite.dropin.mobync.client import MobyncClient, MobyncReport
from reunite.dropin.mobync.diff import Diff, OperationType
from reunite.dropin.mobync.errors import (
    InconsistentClock,
    InconsistentDiff,
    MobyncError,
    Unauthorized,
    UnknownField,
    UnknownModel,
)
from reunite.dropin.mobync.http import flask_blueprint
from reunite.dropin.mobync.memory import InMemorySynchronizer
from reunite.dropin.mobync.sql import SqlSynchronizer, diffs_table
from reunite.dropin.mobync.synchronizer import FilterType, ReadFilter, Synchronizer

__all__ = [
    "Diff",
    "FilterType",
    "InMemorySynchronizer",
    "InconsistentClock",
    "InconsistentDiff",
    "Mobync",
    "MobyncClient",
    "MobyncError",
    "MobyncReport",
    "OperationType",
    "ReadFilter",
    "SqlSynchronizer",
    "Synchronizer",
    "Unauthorized",
    "UnknownField",
    "UnknownModel",
    "diffs_table",
    "flask_blueprint",
]
