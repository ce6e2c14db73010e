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


class Applied(msgspec.Struct, kw_only=True):
    """What a checkpoint did. `tables` are those whose rows may be others now."""

    tables: set[str] = msgspec.field(default_factory=set)
    rows: int = 0
    rejected: int = 0
    conflicts: int = 0
    blocked: int = 0


class SyncProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sync is: `phase` is push, pull, clone or compare; `rows_total` is known in a snapshot
    and in a comparison."""

    phase: str
    rows: int
    bytes: int
    rows_total: int | None = None


class LiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a live replica stands, and what happened since the report before.

    `phase` is `connecting`, `live`, `polling` (streams do not come through, pulls that wait do),
    `offline` (with `error`, and `retry_in_s` until the next attempt) or `stopped`. The numbers are
    those of one step, as in a `SyncReport`; `pending` is what is left.
    """

    phase: str
    pushed: int = 0
    pulled: int = 0
    rejected: int = 0
    conflicts: int = 0
    pending: int = 0
    error: str = ""
    retry_in_s: float | None = None


OnProgress: TypeAlias = Callable[[SyncProgress], None]
