"""The sync log: pushes, pulls that brought something, registrations and repairs, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from reunite.console.csv import csv_lines
from reunite.console.names import replica_names
from reunite.console.operations import READ, Asked, Desk, Download, operation
from reunite.console.paging import newest_of, part_by_id
from reunite.engine.ports import Transaction
from reunite.engine.remembered import SyncRecord, moment_id
from reunite.metering import SyncDetail

_HOUR_MS = 3_600_000

# Entries that are read at a time for a file.
_AT_ONCE = 200

_COLUMNS = (
    "at_ms",
    "operation",
    "status",
    "code",
    "principal",
    "tenant",
    "replica",
    "changes",
    "refused",
    "conflicts",
    "rows",
    "tables",
    "ms",
)


class SyncsAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which uses of the hub."""

    operation: Literal["push", "pull", "register", "repair"] | None = None
    status: Literal["ok", "refused", "error"] | None = None
    principal: str | None = None
    replica: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class SyncItem(msgspec.Struct, frozen=True, kw_only=True):
    """One use of the hub. `ms` is how long the hub worked on it; `packed_bytes` is the size of a
    first clone's database, whose rows nobody counts."""

    id: str
    at_ms: int
    operation: str
    status: str
    code: str | None
    principal: str
    tenant: str | int | None
    replica: str | None
    replica_name: str | None
    changes: int
    applied: int
    refused: int
    conflicts: int
    rows: int
    packed_bytes: int
    tables: dict[str, int]
    ms: float
    process: str


class SyncCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds."""

    total: int
    ok: int
    refused: int
    errors: int
    last_hour: int


class Syncs(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log."""

    items: list[SyncItem]
    next: str | None
    counts: SyncCounts


@operation("GET", "sync", READ, "Pushes and pulls, newest first")
def syncs(desk: Desk, given: SyncsAsked) -> Syncs:
    """A part of the log, and what all of it counts."""
    desk.inside.meter.flush()
    with desk.reading() as tx:
        found = newest_of(tx, SyncRecord, given, _where(given))
        part, following = part_by_id(found, given.limit, lambda one: one.id)
        names = replica_names(tx, (one.replica for one in part))
        return Syncs(
            items=[sync_item(one, names) for one in part],
            next=following,
            counts=SyncCounts(
                total=tx.record_count(SyncRecord),
                ok=tx.record_count(SyncRecord, status="ok"),
                refused=tx.record_count(SyncRecord, status="refused"),
                errors=tx.record_count(SyncRecord, status="error"),
                last_hour=tx.record_count(SyncRecord, since=moment_id(desk.now_ms - _HOUR_MS)),
            ),
        )


@operation("GET", "sync.csv", READ, "The same as a file")
def sync_file(desk: Desk, given: SyncsAsked) -> Download:
    """All that is meant, as CSV."""
    desk.inside.meter.flush()
    return Download(name="sync.csv", media_type="text/csv", lines=_lines(desk, given))


def _lines(desk: Desk, given: SyncsAsked) -> Iterator[str]:
    def rows() -> Iterator[tuple[object, ...]]:
        asked = msgspec.structs.replace(given, limit=_AT_ONCE)
        while True:
            with desk.reading() as tx:
                found = newest_of(tx, SyncRecord, asked, _where(asked))
                part, following = part_by_id(found, asked.limit, lambda one: one.id)
                names = replica_names(tx, (one.replica for one in part))
            for one in part:
                item = sync_item(one, names)
                yield tuple(
                    " ".join(f"{name}={count}" for name, count in item.tables.items())
                    if column == "tables"
                    else getattr(item, column)
                    for column in _COLUMNS
                )
            if following is None:
                return
            asked = msgspec.structs.replace(asked, after=following)

    return csv_lines(_COLUMNS, rows())


def latest_syncs(tx: Transaction, limit: int) -> list[SyncItem]:
    """The newest entries."""
    found = tx.latest(SyncRecord, limit=limit)
    names = replica_names(tx, (one.replica for one in found))
    return [sync_item(one, names) for one in found]


def sync_item(record: SyncRecord, names: dict[str, str]) -> SyncItem:
    """An entry, for people."""
    detail = msgspec.json.decode(record.detail, type=SyncDetail)
    return SyncItem(
        id=record.id,
        at_ms=record.at_ms,
        operation=record.operation,
        status=record.status,
        code=record.code or None,
        principal=record.principal,
        tenant=msgspec.json.decode(record.tenant) if record.tenant else None,
        replica=record.replica or None,
        replica_name=names.get(record.replica) or None,
        changes=detail.changes,
        applied=detail.changes - detail.refused,
        refused=detail.refused,
        conflicts=detail.conflicts,
        rows=detail.rows,
        packed_bytes=detail.packed_bytes,
        tables=detail.tables,
        ms=detail.ms,
        process=detail.process,
    )


def _where(given: SyncsAsked) -> dict[str, str | int]:
    names = ("operation", "status", "principal", "replica")
    return {name: value for name in names if (value := getattr(given, name)) is not None}
