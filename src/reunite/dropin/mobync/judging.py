"""Judging: what a device's new diffs do, given what the log has that the device had not seen.

    create meets no row       the row is made
    create meets a row        field by field, like an update
    update meets a row        a field that the others left alone is taken; one that they set too
                              goes to the higher (utc_timestamp, diff id), by `core.merge`
    update meets no row       refused: the delete stands
    delete meets a row        it goes, with what the others had set in it
    delete meets no row       nothing

What it is       pure decisions over parsed diffs. Several diffs of one row in one call are first
                 made one, by `core.squash`.
The rule         what loses is in `conflicts`, with its values. What one call decided, the same call
                 sent again reports again: it is read from what the log has of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from reunite.core.change import Change, Op
from reunite.core.merge import merge_insert
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.squash import squash
from reunite.core.values import is_written_alike
from reunite.dropin.mobync.diff import CREATE, DELETE, UPDATE, Diff, Entry, RowKey

OVERWRITTEN = "overwritten"
DELETED = "deleted"

_OPS = {CREATE: Op.INSERT, UPDATE: Op.UPDATE, DELETE: Op.DELETE}


class Step(msgspec.Struct, kw_only=True):
    """One new diff: what the log says of it, and what is done to its model, if anything."""

    entry: Entry
    operation: str | None = None
    values: dict[str, Any] = msgspec.field(default_factory=dict)


class Judged(msgspec.Struct, kw_only=True):
    """`steps` stand in the order of the new diffs; `rows` are the rows after them."""

    steps: list[Step]
    conflicts: list[dict[str, Any]]
    rows: dict[RowKey, dict[str, Any] | None]


class _Folded(msgspec.Struct, kw_only=True):
    """Diffs of one row that do one thing. `carrier` is the one that stands for it in the log."""

    op: Op
    values: dict[str, Any]
    carrier: Entry
    last: Entry


class _Row(msgspec.Struct, kw_only=True):
    """A row while diffs are judged.

    now          its fields, None if there is no such row
    is_logged    whether the log has made it
    has_died     whether somebody deleted the row that the device had seen
    unseen       by field, the last diff of others that set it after the device had looked
    others       all diffs of others since then that set something
    """

    now: dict[str, Any] | None
    is_logged: bool
    has_died: bool = False
    unseen: dict[str, Entry] = msgspec.field(default_factory=dict)
    others: list[Entry] = msgspec.field(default_factory=list)

    def begin(self) -> None:
        """Another life of the row begins, or the last one ends."""
        self.unseen.clear()
        self.others.clear()


def judge(
    timeline: Sequence[Entry],
    *,
    sent: Mapping[str, Entry],
    new: Sequence[Entry],
    rows: Mapping[RowKey, dict[str, Any] | None],
    logged: set[RowKey],
) -> Judged:
    """Decide what new diffs do.

    timeline     what the log has since the device's clock, in order
    sent         by id, the call's diffs as the device made them; those in the timeline are known
    new          those of them that the log does not have, in order
    rows         the rows that `sent` names, as they are; None for one that is not there
    logged       which of these rows the log has made
    """
    state = {key: _Row(now=row, is_logged=key in logged) for key, row in rows.items()}
    conflicts: list[dict[str, Any]] = []
    for _, group in groupby(timeline, key=lambda entry: entry.clock):
        together = [entry for entry in group if entry.key in state]
        for entry in together:
            if entry.id not in sent:
                _see(state[entry.key], entry)
        stored = {entry.id: entry for entry in together}
        for folded in _fold([sent[entry.id] for entry in together if entry.id in sent]):
            conflicts += _recall(state[folded.carrier.key], folded, stored[folded.carrier.id])
    # What another diff of the call stands for is known to the log, and changes nothing by itself.
    steps = {entry.id: Step(entry=entry.replaced(values={}, type=UPDATE)) for entry in new}
    for folded in _fold(new):
        step, lost = _decide(state[folded.carrier.key], folded)
        steps[folded.carrier.id] = step
        conflicts += lost
    return Judged(
        steps=list(steps.values()),
        conflicts=conflicts,
        rows={key: row.now for key, row in state.items()},
    )


def conflict(
    loser: Entry, code: str, lost: Mapping[str, Any], kept: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is told of a loss: the diff that lost, why, its values, and what the row has instead."""
    return {**loser.diff, "code": code, "lost": dict(lost), "kept": kept and dict(kept)}


def _fold(entries: Sequence[Entry]) -> Iterable[_Folded]:
    """Diffs of one call, squashed; in order of the last diff that each has in it."""
    squashed = {
        change.id: change for change in squash([_change(*item) for item in enumerate(entries)])
    }
    waiting: dict[RowKey, list[Entry]] = {}
    for entry in entries:
        members = waiting.setdefault(entry.key, [])
        members.append(entry)
        change = squashed.get(entry.id)
        if change is None:
            continue
        carrier = entry
        if change.op is Op.INSERT:
            carrier = next(member for member in reversed(members) if member.type == CREATE)
        values = dict(zip(change.columns, change.set, strict=True)) if change.set else {}
        yield _Folded(op=change.op, values=values, carrier=carrier, last=entry)
        del waiting[entry.key]


def _change(n: int, entry: Entry) -> Change:
    values = {} if entry.type == DELETE else entry.values
    return Change(
        id=entry.id,
        n=n,
        table=entry.key[0],
        op=_OPS[entry.type],
        key=(entry.row,),
        columns=tuple(values),
        set=tuple(values.values()),
        stamp=entry.stamp,
    )


def _see(row: _Row, entry: Entry) -> None:
    """Somebody else's diff, which the device did not know."""
    if entry.type == DELETE:
        row.begin()
        row.has_died = True
    elif not entry.is_silent:
        row.unseen.update(dict.fromkeys(entry.values, entry))
        row.others.append(entry)


def _recall(row: _Row, folded: _Folded, stored: Entry) -> list[dict[str, Any]]:
    """The conflicts of a diff that was judged before, from what was stored of it."""
    if folded.op is Op.DELETE:
        if stored.type != DELETE:
            return []
        lost = _lost_to_delete(row)
        row.begin()
        row.has_died = False
        return lost
    met = [field for field in folded.values if field in row.unseen]
    if folded.op is Op.INSERT:  # it is never refused
        row.has_died = False
    elif stored.is_silent and folded.values and (row.has_died or not met):
        return [conflict(folded.carrier, DELETED, folded.values, None)]
    mine: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    theirs: list[tuple[Entry, str, Any]] = []
    for field in met:
        value, other = folded.values[field], row.unseen[field]
        if not is_written_alike(value, other.values[field]):
            if field in stored.values:
                theirs.append((other, field, value))
            else:
                mine[field], kept[field] = value, other.values[field]
    for field in stored.values:
        row.unseen.pop(field, None)
    return _overwritten(folded, mine, kept, theirs)


def _decide(row: _Row, folded: _Folded) -> tuple[Step, list[dict[str, Any]]]:
    """What a new diff does to its row."""
    if folded.op is Op.DELETE:
        return _decide_delete(row, folded)
    carrier = folded.carrier
    at = folded.last.diff[Diff.UTC_TIMESTAMP]
    if folded.op is Op.INSERT and row.now is None:
        row.begin()
        row.now, row.is_logged, row.has_died = dict(folded.values), True, False
        made = carrier.replaced(values=folded.values, utc_timestamp=at)
        return Step(entry=made, operation=CREATE, values=folded.values), []
    if row.now is None or (folded.op is Op.UPDATE and row.has_died):
        lost = [conflict(carrier, DELETED, folded.values, None)] if folded.values else []
        return Step(entry=carrier.replaced(values={}, type=UPDATE)), lost
    taken, lost = _merge(row, row.now, folded)
    # Others learn of a row from the diff that created it: if there is none yet, from this one.
    kind = CREATE if folded.op is Op.INSERT and not row.is_logged else UPDATE
    row.is_logged, row.has_died = True, False
    row.now = {**row.now, **taken}
    for field in taken:
        row.unseen.pop(field, None)
    entry = carrier.replaced(values=taken, type=kind, utc_timestamp=at)
    return Step(entry=entry, operation=UPDATE if taken else None, values=taken), lost


def _decide_delete(row: _Row, folded: _Folded) -> tuple[Step, list[dict[str, Any]]]:
    entry = folded.carrier
    if row.now is None:
        return Step(entry=entry), []
    if row.has_died:  # the device deleted the row that was there before, not this one
        return Step(entry=entry.replaced(values={}, type=UPDATE)), []
    lost = _lost_to_delete(row)
    row.begin()
    row.now = None
    return Step(entry=entry, operation=DELETE), lost


def _lost_to_delete(row: _Row) -> list[dict[str, Any]]:
    return [conflict(entry, DELETED, entry.values, None) for entry in row.others]


def _merge(
    row: _Row, now: Mapping[str, Any], folded: _Folded
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The fields that the row takes, and the conflicts."""
    met = [field for field in folded.values if field in row.unseen]
    merged = merge_insert(
        _schema(folded.carrier.key[0], met),
        columns=met,
        mine=[folded.values[field] for field in met],
        theirs=tuple(now.get(field) for field in met),
        stamp=folded.last.stamp,
        hub_stamps={field: row.unseen[field].stamp for field in met},
    )
    taken = dict(folded.values)
    mine: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    theirs: list[tuple[Entry, str, Any]] = []
    contested = {found.column: found for found in merged.conflicts}
    for field in met:
        found, other = contested.get(field), row.unseen[field]
        if found is None:
            # Both set the same: the log has it with the later time.
            if other.stamp > folded.last.stamp:
                del taken[field]
        elif is_written_alike(found.result, found.replica):
            theirs.append((other, field, found.replica))
        else:
            mine[field], kept[field] = taken.pop(field), found.hub
    return taken, _overwritten(folded, mine, kept, theirs)


def _schema(model: str, fields: Sequence[str]) -> TableSchema:
    """Fields hold any JSON, and the last writer wins."""
    columns = tuple(Column(name=field, type=ColumnType.JSON) for field in fields)
    return TableSchema(name=model, columns=columns, key=())


def _overwritten(
    folded: _Folded,
    mine: Mapping[str, Any],
    kept: Mapping[str, Any],
    theirs: Sequence[tuple[Entry, str, Any]],
) -> list[dict[str, Any]]:
    """One conflict for the device's diff, if it lost fields, and one for each diff that it beat."""
    found = [conflict(folded.carrier, OVERWRITTEN, mine, kept)] if mine else []
    beaten = {entry.id: entry for entry, _, _ in theirs}
    for entry in beaten.values():
        won = {field: value for other, field, value in theirs if other is entry}
        lost = {field: entry.values[field] for field in won}
        found.append(conflict(entry, OVERWRITTEN, lost, won))
    return found
