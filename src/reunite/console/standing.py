"""How replicas stand, from what the hub knows of each.

    current     it has read all of the log             silent      not seen for a week
    behind      there is more for it to read           outdated    what it would read is trimmed

The rule         a replica is in one of these, the last that is true of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reunite.engine.ports import ReplicaRecord, Transaction
from reunite.engine.remembered import StandingRecord

STATES = ("current", "behind", "silent", "outdated")

SILENT_MS = 7 * 24 * 3600 * 1000

# How long after it was last seen on a stream a replica counts as one that is.
LIVE_MS = 15_000


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica said of itself last."""

    pending: int
    at_ms: int


class ReplicaItem(msgspec.Struct, frozen=True, kw_only=True):
    """A replica. `seen_seq` is the commit up to which it was sent everything, and `behind` how many
    came since; `unconfirmed` are answers that it may not have; `is_live`: on a stream."""

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
    is_live: bool
    parked: int = 0
    conflicts: int = 0
    reported: Reported | None = None


def replica_item(
    record: ReplicaRecord,
    *,
    head_seq: int,
    trimmed_seq: int,
    now_ms: int,
    sent: Mapping[str, StandingRecord],
    parked: Mapping[str, int] | None = None,
    conflicts: Mapping[str, int] | None = None,
) -> ReplicaItem:
    """A replica as it stands to the log. The counts are by replica, and so is what was `sent`."""
    standing = sent.get(record.id)
    # What it was sent it has, or asks for again.
    seq = record.seen_seq if standing is None else max(record.seen_seq, standing.sent_seq)
    seen_ms = record.seen_ms if standing is None else max(record.seen_ms, standing.sent_ms)
    behind = max(head_seq - seq, 0)
    if seq < trimmed_seq:
        state = "outdated"
    elif now_ms - seen_ms > SILENT_MS:
        state = "silent"
    else:
        state = "behind" if behind else "current"
    return ReplicaItem(
        id=record.id,
        name=record.name,
        principal=record.principal,
        tenant=msgspec.json.decode(record.tenant) if record.tenant else None,
        created_ms=record.created_ms,
        seen_ms=seen_ms,
        seen_seq=seq,
        is_live=standing is not None and standing.is_live and now_ms - standing.sent_ms < LIVE_MS,
        behind=behind,
        last_n=record.last_n,
        known_n=record.known_n,
        unconfirmed=max(record.last_n - record.known_n, 0),
        state=state,
        parked=(parked or {}).get(record.id, 0),
        conflicts=(conflicts or {}).get(record.id, 0),
    )


def sent_seqs(tx: Transaction) -> dict[str, StandingRecord]:
    """How far replicas have been sent, by id."""
    return {one.replica: one for one in tx.records(StandingRecord)}
