"""What a replica tells of its dealings with the hub: reports at the end, progress on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec


class SyncReport(msgspec.Struct, kw_only=True):
    """What one sync did. `pulled` counts rows that pages brought, `pushed` changes answered."""

    pushed: int = 0
    pulled: int = 0
    rejected: int = 0
    conflicts: int = 0
    pending: int = 0
    cursor: str | None = None


class SyncProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sync is: `phase` is push, pull, clone or compare; `rows_total` is known in a snapshot
    and in a comparison."""

    phase: str
    rows: int
    bytes: int
    rows_total: int | None = None


OnProgress: TypeAlias = Callable[[SyncProgress], None]
