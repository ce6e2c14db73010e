"""Overview: how all of it stands, at a glance; and the pulse by which a page knows what is new.

The rule         every number is counted when it is asked for, from what the hub's database holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from importlib.metadata import version

import msgspec

from reunite.console.news import Pulse
from reunite.console.operations import READ, Desk, Nothing, operation
from reunite.console.performance import Rates, recent_rates
from reunite.console.standing import STATES, ReplicaItem, replica_item, sent_seqs
from reunite.console.synclog import SyncItem, latest_syncs
from reunite.console.tables import Governing, governing
from reunite.directory import StoredDirectory
from reunite.engine.directory import (
    GRANTS_STAMP,
    MEMBERS_STAMP,
    PermissionRecord,
    RoleRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import Measured, Store, Transaction
from reunite.engine.remembered import (
    OPEN,
    ActRecord,
    HubConflictRecord,
    RefusalRecord,
    SeriesRecord,
    StandingRecord,
    SyncRecord,
    moment_id,
)
from reunite.hub import Hub

_HOUR_MS, _DAY_MS = 3600 * 1000, 24 * 3600 * 1000

# Replicas that are named because they are furthest behind.
_NAMED = 5


class HubFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The hub and its log."""

    epoch: str
    seq: int
    trimmed_seq: int
    last_commit_ms: int | None
    version: str
    database: str
    database_bytes: int | None


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that has commits to read."""

    id: str
    name: str
    principal: str
    behind: int
    seen_ms: int


class ReplicaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas by state."""

    total: int
    current: int
    behind: int
    silent: int
    outdated: int
    seen_last_hour: int
    furthest_behind: list[Behind]


class TableFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Tables: `closed` ones have neither rules nor permissions where others have some."""

    tracked: int
    closed: int


class DirectoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory holds; None where the host keeps it."""

    kind: str
    users: int | None
    tenants: int | None
    roles: int | None
    permissions: int | None


class TroubleFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a person, and what came within a day."""

    open: int
    last_day: int


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look after; `link` leads to the page where that is done."""

    code: str
    text: str
    link: str | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """How all of it stands."""

    at_ms: int
    hub: HubFigures
    replicas: ReplicaFigures
    tables: TableFigures
    directory: DirectoryFigures
    conflicts: TroubleFigures
    parked: TroubleFigures
    rates: Rates
    sync: list[SyncItem]
    warnings: list[Warned]


@operation("GET", "overview", READ, "How all of it stands")
def overview(desk: Desk, given: Nothing) -> Overview:
    """The figures, and what is to be looked after."""
    desk.inside.meter.flush()
    head = desk.hub.number()
    database, size = _measured(desk.inside.store)
    with desk.reading() as tx:
        now_ms = desk.now_ms
        standing = _replicas(desk, tx)
        told = governing(desk, tx)
        schemas = desk.tables(tx).schemas
        closed = sorted(name for name in schemas if told.of(name) == "closed")
        found = Overview(
            at_ms=now_ms,
            hub=HubFigures(
                epoch=head.epoch,
                seq=head.seq,
                trimmed_seq=tx.trimmed_seq(),
                last_commit_ms=head.at_ms if head.seq else None,
                version=version("reunite"),
                database=database,
                database_bytes=size,
            ),
            replicas=standing,
            tables=TableFigures(tracked=len(schemas), closed=len(closed)),
            directory=_directory(desk, tx),
            conflicts=_troubles(tx, HubConflictRecord, now_ms),
            parked=_troubles(tx, RefusalRecord, now_ms),
            rates=recent_rates(desk, tx),
            sync=latest_syncs(tx, _NAMED),
            warnings=[],
        )
    warnings = _warnings(found, closed, desk.hub.missing_policies(), told)
    if told.is_open and found.directory.kind == "own":
        warnings.append(
            Warned(
                code="no-rules",
                text="There are no rules: whoever has a token may read and write everything.",
                link="permissions",
            )
        )
    return msgspec.structs.replace(found, warnings=warnings)


def _measured(store: Store) -> tuple[str, int | None]:
    return store.measure() if isinstance(store, Measured) else ("memory", None)


def _replicas(desk: Desk, tx: Transaction) -> ReplicaFigures:
    head_seq, trimmed_seq, now_ms = tx.head().seq, tx.trimmed_seq(), desk.now_ms
    sent = sent_seqs(tx)
    items: list[ReplicaItem] = [
        replica_item(record, head_seq=head_seq, trimmed_seq=trimmed_seq, now_ms=now_ms, sent=sent)
        for record in tx.replicas()
    ]
    counts = Counter(item.state for item in items)
    behind = sorted(
        (item for item in items if item.behind), key=lambda item: (-item.behind, item.seen_ms)
    )
    return ReplicaFigures(
        total=len(items),
        **{state: counts[state] for state in STATES},
        seen_last_hour=sum(now_ms - item.seen_ms <= _HOUR_MS for item in items),
        furthest_behind=[
            Behind(
                id=item.id,
                name=item.name,
                principal=item.principal,
                behind=item.behind,
                seen_ms=item.seen_ms,
            )
            for item in behind[:_NAMED]
        ],
    )


def _directory(desk: Desk, tx: Transaction) -> DirectoryFigures:
    if not isinstance(desk.inside.directory, StoredDirectory):
        return DirectoryFigures(kind="host", users=None, tenants=None, roles=None, permissions=None)
    return DirectoryFigures(
        kind="own",
        users=tx.record_count(UserRecord),
        tenants=tx.record_count(TenantRecord),
        roles=tx.record_count(RoleRecord),
        permissions=tx.record_count(PermissionRecord),
    )


def _troubles(
    tx: Transaction, kind: type[HubConflictRecord] | type[RefusalRecord], now_ms: int
) -> TroubleFigures:
    return TroubleFigures(
        open=tx.record_count(kind, state=OPEN),
        last_day=tx.record_count(kind, since=moment_id(now_ms - _DAY_MS)),
    )


def _warnings(
    found: Overview, closed: list[str], missing: object, told_by: Governing
) -> list[Warned]:
    def counted(count: int, one: str, many: str) -> str:
        return one if count == 1 else many.format(count)

    replicas, told = found.replicas, []
    if replicas.outdated:
        told.append(
            Warned(
                code="outdated-replicas",
                text=counted(
                    replicas.outdated,
                    "A replica has not read what was trimmed: it will be sent all of it again.",
                    "{} replicas have not read what was trimmed: they will be sent all of it "
                    "again.",
                ),
                link="replicas?state=outdated",
            )
        )
    if replicas.silent:
        told.append(
            Warned(
                code="silent-replicas",
                text=counted(
                    replicas.silent,
                    "A replica was not seen for a week.",
                    "{} replicas were not seen for a week.",
                ),
                link="replicas?state=silent",
            )
        )
    if found.conflicts.open:
        told.append(
            Warned(
                code="open-conflicts",
                text=counted(
                    found.conflicts.open,
                    "A conflict waits for a decision.",
                    "{} conflicts wait for a decision.",
                ),
                link="conflicts?state=open",
            )
        )
    if found.parked.open:
        told.append(
            Warned(
                code="parked-changes",
                text=counted(
                    found.parked.open,
                    "A change was refused, and waits on its device.",
                    "{} changes were refused, and wait on their devices.",
                ),
                link="parked?state=open",
            )
        )
    if closed:
        told.append(
            Warned(
                code="closed-tables",
                text=(
                    "Closed to everybody, since permissions govern this hub and nobody has one for "
                    "these: "
                    if told_by.permitted
                    else "Closed to everybody, since other tables have rules and these have none: "
                )
                + f"{', '.join(closed[:_NAMED])}{' …' if len(closed) > _NAMED else ''}",
                link="permissions" if told_by.permitted else "tables",
            )
        )
    if missing:
        told.append(
            Warned(
                code="missing-policy",
                text="A policy that tables need was not given to this process: it serves nothing "
                "of them.",
                link="tables",
            )
        )
    uses = found.rates.pushes + found.rates.pulls
    if found.rates.errors:
        told.append(
            Warned(
                code="errors",
                text=f"Of {uses} pushes and pulls within five minutes, {found.rates.errors} ended "
                "with an error.",
                link="sync?status=error",
            )
        )
    return told


def pulse(hub: Hub) -> Pulse:
    """What has changed, in a few indexed reads."""
    head = hub.number()
    with hub.workings.store.read() as tx:
        replicas = tx.replicas()
        topics = {
            "commits": str(head.seq),
            "replicas": _digest(
                " ".join(f"{one.id}{one.seen_ms}" for one in replicas)
                + " ".join(f"{one.sent_seq}{one.is_live}" for one in tx.records(StandingRecord))
            ),
            "directory": tx.stamp(MEMBERS_STAMP),
            "permissions": tx.stamp(GRANTS_STAMP),
            "rules": _digest(tx.rules()),
            "tables": _digest(
                " ".join(f"{one.name}:{one.version}" for one in tx.schemas().values())
            ),
            "conflicts": _newest(tx, HubConflictRecord),
            "parked": _newest(tx, RefusalRecord),
            "sync": _newest(tx, SyncRecord),
            "acts": _newest(tx, ActRecord),
        }
        series = tx.latest(SeriesRecord, grain=10, limit=1)
        topics["performance"] = str(series[0].at_s) if series else ""
    return Pulse(at_ms=hub.workings.clock.now_ms(), topics=topics)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _newest(
    tx: Transaction,
    kind: type[HubConflictRecord | RefusalRecord | SyncRecord | ActRecord],
) -> str:
    found = tx.latest(kind, limit=1)
    newest = found[0].id[:24] if found else ""
    if kind in (HubConflictRecord, RefusalRecord):
        return f"{newest} {tx.record_count(kind, state=OPEN)}"
    return newest


@operation("GET", "pulse", READ, "What has changed since the last one, part by part")
def pulse_now(desk: Desk, given: Nothing) -> Pulse:
    """The pulse, for who has no stream."""
    return pulse(desk.hub)
