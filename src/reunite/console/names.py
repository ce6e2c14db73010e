"""Names of replicas, for lists that know their ids."""

from __future__ import annotations

from collections.abc import Iterable

from reunite.engine.ports import Transaction


def replica_names(tx: Transaction, ids: Iterable[str]) -> dict[str, str]:
    """The names of these replicas; "" of one that the hub does not know. A look-up for each."""
    found = {}
    for replica_id in set(ids):
        record = tx.replica(replica_id) if replica_id else None
        found[replica_id] = "" if record is None else record.name
    return found
