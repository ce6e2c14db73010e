"""Errors after which hub and replica must agree anew on who the replica is."""

from __future__ import annotations

from reunite.errors import (
    EpochChangedError,
    HubRestoredError,
    IdentityForkedError,
    NumberGapError,
    UnknownReplicaError,
)

LOST_IDENTITY = (
    IdentityForkedError,
    HubRestoredError,
    EpochChangedError,
    UnknownReplicaError,
    NumberGapError,
)

# Of these, the ones after which nothing that was read of the hub's log can be relied on.
LOST_LOG = (HubRestoredError, EpochChangedError, UnknownReplicaError)
