"""How replicas stand, from what the hub knows of each.

    current     it has read all of the log             silent      not seen for a week
    behind      there is more for it to read           outdated    what it would read is trimmed

The rule         a replica is in one of these, the last that is true of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reunite.engine.ports import ReplicaRecord

STATES = ("current", "behind", "silent", "outdated")

SILENT_MS = 7 * 24 * 3600 * 1000


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica said of itself last."""

    pending: int
    at_ms: int


class ReplicaItem(msgspec.Struct, frozen=True, kw_only=True):
    """A replica. `behind` counts commits; `unconfirmed` are answers that it may not have."""

    id: str
    name: str
    principal: str
    tenant: str | int | None
    created_ms: int
    seen_ms: int
    seen_seq: int
    behind: int
    last_n: int
    known_n: int
    unconfirmed: int
    state: str
    parked: int = 0
    conflicts: int = 0
    reported: Reported | None = None


def replica_item(
    record: ReplicaRecord,
    *,
    head_seq: int,
    trimmed_seq: int,
    now_ms: int,
    parked: Mapping[str, int] | None = None,
    conflicts: Mapping[str, int] | None = None,
) -> ReplicaItem:
    """A replica as it stands to the log. The counts are by replica."""
    behind = max(head_seq - record.seen_seq, 0)
    if record.seen_seq < trimmed_seq:
        state = "outdated"
    elif now_ms - record.seen_ms > SILENT_MS:
        state = "silent"
    else:
        state = "behind" if behind else "current"
    return ReplicaItem(
        id=record.id,
        name=record.name,
        principal=record.principal,
        tenant=msgspec.json.decode(record.tenant) if record.tenant else None,
        created_ms=record.created_ms,
        seen_ms=record.seen_ms,
        seen_seq=record.seen_seq,
        behind=behind,
        last_n=record.last_n,
        known_n=record.known_n,
        unconfirmed=max(record.last_n - record.known_n, 0),
        state=state,
        parked=(parked or {}).get(record.id, 0),
        conflicts=(conflicts or {}).get(record.id, 0),
    )
