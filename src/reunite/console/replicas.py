"""Replicas: a list to look through, and one of them."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from reunite.console.operations import READ, Asked, Desk, operation
from reunite.console.paging import after_place, part_of
from reunite.console.problems import missing
from reunite.console.standing import STATES, ReplicaItem, replica_item, sent_seqs
from reunite.core.expression import Expression
from reunite.core.view import parse_view
from reunite.engine.explain import expression_text
from reunite.engine.ports import Transaction
from reunite.engine.remembered import OPEN, HubConflictRecord, RefusalRecord


class ReplicasAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which replicas, in which order."""

    q: str = ""
    state: Literal["current", "behind", "silent", "outdated"] | None = None
    principal: str | None = None
    tenant: str | None = None
    sort: Literal["seen", "behind", "name", "created"] = "seen"
    order: Literal["asc", "desc"] | None = None


class Replicas(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the replicas. `counts` are by state, whatever state was asked for."""

    items: list[ReplicaItem]
    next: str | None
    total: int
    counts: dict[str, int]


class ReplicaAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which replica."""

    id: str


class ViewSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A view that it is sent: of each table all rows (null), or those that a text says."""

    hash: str
    tables: dict[str, str | None]


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One replica, with the views that it was sent last."""

    replica: ReplicaItem
    views: list[ViewSeen]


_SORTED = {
    "seen": (lambda item: (item.seen_ms, item.id), "desc"),
    "behind": (lambda item: (item.behind, item.seen_ms, item.id), "desc"),
    "name": (lambda item: (item.name.casefold(), item.id), "asc"),
    "created": (lambda item: (item.created_ms, item.id), "desc"),
}


@operation("GET", "replicas", READ, "Replicas, and how each of them stands")
def replicas(desk: Desk, given: ReplicasAsked) -> Replicas:
    """The replicas that are meant."""
    desk.inside.meter.flush()
    with desk.reading() as tx:
        items = _items(desk, tx)
    text = given.q.casefold()
    found = [
        item
        for item in items
        if (text in item.name.casefold() or text in item.principal.casefold() or text in item.id)
        and given.principal in (None, item.principal)
        and given.tenant in (None, "" if item.tenant is None else str(item.tenant))
    ]
    counts = Counter(item.state for item in found)
    if given.state is not None:
        found = [item for item in found if item.state == given.state]
    key, usual = _SORTED[given.sort]
    found.sort(key=key, reverse=(given.order or usual) == "desc")
    part, following = part_of(found, given.limit, after_place(given.after))
    return Replicas(
        items=part,
        next=following,
        total=len(found),
        counts={state: counts[state] for state in STATES},
    )


@operation("GET", "replicas/{id}", READ, "One replica, and what it is sent")
def replica(desk: Desk, given: ReplicaAsked) -> Replica:
    """The replica of this id."""
    desk.inside.meter.flush()
    with desk.reading() as tx:
        record = tx.replica(given.id)
        if record is None:
            raise missing("There is no replica of this id.")
        views = [
            ViewSeen(hash=view_hash, tables=_tables_of(text))
            for view_hash in record.views
            if (text := tx.view(view_hash)) is not None
        ]
        parked, conflicts = open_troubles(tx)
        return Replica(
            replica=replica_item(
                record,
                head_seq=tx.head().seq,
                trimmed_seq=tx.trimmed_seq(),
                now_ms=desk.now_ms,
                sent=sent_seqs(tx),
                parked=parked,
                conflicts=conflicts,
            ),
            views=views,
        )


def _items(desk: Desk, tx: Transaction) -> list[ReplicaItem]:
    head_seq, trimmed_seq, now_ms = tx.head().seq, tx.trimmed_seq(), desk.now_ms
    parked, conflicts = open_troubles(tx)
    sent = sent_seqs(tx)
    return [
        replica_item(
            record,
            head_seq=head_seq,
            trimmed_seq=trimmed_seq,
            now_ms=now_ms,
            sent=sent,
            parked=parked,
            conflicts=conflicts,
        )
        for record in tx.replicas()
    ]


# Troubles of all replicas that are looked through to count those of each.
TROUBLES_MAX = 5_000


def open_troubles(tx: Transaction) -> tuple[Counter[str], Counter[str]]:
    """How many refused changes and open conflicts each replica has, of the newest."""
    refused = tx.latest(RefusalRecord, state=OPEN, limit=TROUBLES_MAX)
    met = tx.latest(HubConflictRecord, state=OPEN, limit=TROUBLES_MAX)
    return Counter(one.replica for one in refused), Counter(one.replica for one in met)


def _tables_of(text: str) -> dict[str, str | None]:
    def told(where: Expression | None) -> str | None:
        return None if where is None else expression_text(where)

    return {name: told(table.where) for name, table in parse_view(text).tables.items()}
