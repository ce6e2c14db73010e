"""The client side: a device's copy, its outbox, and the driver that reunites it with the hub."""

from reunite.replica.repair import RepairReport, TableRepair
from reunite.replica.replica import Replica
from reunite.replica.reports import LiveReport, SyncProgress, SyncReport
from reunite.replica.status import ConflictRecord, ParkedChange, ReplicaStatus
from reunite.replica.transport import Transport

__all__ = [
    "ConflictRecord",
    "LiveReport",
    "ParkedChange",
    "RepairReport",
    "Replica",
    "ReplicaStatus",
    "SyncProgress",
    "SyncReport",
    "TableRepair",
    "Transport",
]
