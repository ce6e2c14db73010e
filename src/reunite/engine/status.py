"""How a hub stands, as values: what `Hub.status()` and `Hub.log_statistics()` give."""

from __future__ import annotations

import msgspec

from reunite.engine.ports import Head, ReplicaRecord, Store


class HubStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a hub stands: its log's head, its tables, its replicas."""

    epoch: str
    seq: int
    changes: int
    tables: tuple[str, ...]
    replicas: tuple[ReplicaRecord, ...]


class HubLogStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a hub's log. Commits up to `trimmed_seq` are gone, the next is of `oldest_ms`.

    `changes` counts by table, `bytes_log` is reunite's share of `bytes_total` (None where the
    database does not tell), `readers` are the replicas, those that have read least first.
    """

    seq: int
    trimmed_seq: int
    oldest_ms: int | None
    changes: dict[str, int]
    bytes_total: int | None
    bytes_log: int | None
    readers: tuple[ReplicaRecord, ...]


def log_statistics(store: Store, head: Head) -> HubLogStatistics:
    """How large the log up to `head` is, and how far replicas have read it. Walks through it."""
    with store.read() as tx:
        found, trimmed_seq = tx.statistics(), tx.trimmed_seq()
        readers = sorted(tx.replicas(), key=lambda record: (record.seen_seq, record.seen_ms))
    return HubLogStatistics(
        seq=head.seq,
        trimmed_seq=trimmed_seq,
        oldest_ms=None if found.oldest is None else found.oldest.at_ms,
        changes=dict(found.changes),
        bytes_total=found.bytes_total,
        bytes_log=found.bytes_log,
        readers=tuple(readers),
    )
