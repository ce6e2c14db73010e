"""reunite: clone the tables of a database to any device, write there offline, and sync.

    hub = Hub("shop.db"); hub.track("product"); hub.serve()        # the authority
    replica = Replica.clone("till.db", url, token=token)           # a copy with an outbox

The public names; importing them pulls in neither a web framework nor an ORM.
"""

from reunite.core.columns import Column
from reunite.core.expression import Expression
from reunite.core.fields import row, user
from reunite.core.merge import MergeContext, MergeFunction
from reunite.core.policy import Policy
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.core.schema import ColumnMerge, RowMerge
from reunite.engine.erase import ErasureReport
from reunite.engine.explain import Explanation
from reunite.engine.history import HistoryEntry
from reunite.engine.preview import TablePreview
from reunite.engine.records import Erasure
from reunite.engine.status import HubStatus
from reunite.engine.tables import HookedChange
from reunite.engine.taking_back import UndoConflict
from reunite.engine.undo import UndoReport
from reunite.errors import (
    BadRequestError,
    CallerError,
    ConstraintError,
    HubUnreachableError,
    KeysUsedUpError,
    LimitExceededError,
    NewerLayoutError,
    NotAllowedError,
    NotAReplicaError,
    NotAuthenticatedError,
    PeerError,
    ReplicaBusyError,
    ReuniteError,
    RightsError,
    StorageFaultError,
    StorageFullError,
    StorageReadOnlyError,
    StorageUnavailableError,
    UnknownTableError,
    UntrackableTableError,
    UpgradeRequiredError,
    Veto,
)
from reunite.hub import Hub
from reunite.replica import (
    ConflictRecord,
    LiveReport,
    ParkedChange,
    RepairReport,
    Replica,
    ReplicaStatus,
    SyncProgress,
    SyncReport,
    TableRepair,
)

__all__ = [
    "BadRequestError",
    "CallerError",
    "Column",
    "ColumnMerge",
    "ConflictRecord",
    "ConstraintError",
    "Erasure",
    "ErasureReport",
    "Explanation",
    "Expression",
    "HistoryEntry",
    "HookedChange",
    "Hub",
    "HubStatus",
    "HubUnreachableError",
    "KeysUsedUpError",
    "LimitExceededError",
    "LiveReport",
    "MergeContext",
    "MergeFunction",
    "NewerLayoutError",
    "NotAReplicaError",
    "NotAllowedError",
    "NotAuthenticatedError",
    "ParkedChange",
    "PeerError",
    "Policy",
    "Principal",
    "RepairReport",
    "Replica",
    "ReplicaBusyError",
    "ReplicaStatus",
    "ReuniteError",
    "RightsError",
    "RowMerge",
    "Rules",
    "StorageFaultError",
    "StorageFullError",
    "StorageReadOnlyError",
    "StorageUnavailableError",
    "SyncProgress",
    "SyncReport",
    "TablePreview",
    "TableRepair",
    "UndoConflict",
    "UndoReport",
    "UnknownTableError",
    "UntrackableTableError",
    "UpgradeRequiredError",
    "Veto",
    "row",
    "user",
]
