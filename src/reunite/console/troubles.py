"""Conflicts and refused changes: what met, what was refused and why, and what is done about it.

    conflict    base, hub, replica ──► a person takes one, or types another ──► an ordinary change
    refusal     it waits, parked, on its device: the hub knows why, and not what was in it

The rule         what is decided here is a change of the hub like any other, by who decided it, and
                 reaches the replicas as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from reunite.console.acts import note_in
from reunite.console.audit import ChangeItem, change_items
from reunite.console.names import replica_names
from reunite.console.operations import READ, WRITE, Asked, Desk, operation
from reunite.console.paging import newest_of, part_by_id
from reunite.console.problems import missing
from reunite.console.rows import check_row_tag, commit_of
from reunite.core.change import Conflict
from reunite.core.key import Key, parse_key
from reunite.core.schema import TableSchema
from reunite.directory.noting import Act, acting_by
from reunite.engine.history import entries_of, with_rows
from reunite.engine.ports import StoredOutcome, Transaction, WriteTransaction
from reunite.engine.putting_back import Named, named_row, put_back, row_tag
from reunite.engine.remembered import DECIDED, OPEN, SETTLED, HubConflictRecord, RefusalRecord
from reunite.engine.taking_back import image_under
from reunite.errors import BadRequestError, UnknownTableError

# Changes of a conflict's row that are shown beside it.
_HISTORY = 10


class ConflictsAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which conflicts."""

    state: Literal["open", "merged", "decided", "all"] = "all"
    table: str | None = None
    replica: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided, when, and what for."""

    by: str
    at_ms: int
    value: Any


class ConflictItem(msgspec.Struct, frozen=True, kw_only=True):
    """Two values that met. Without a column, whole rows did: values by column, null for no row."""

    id: str
    at_ms: int
    table: str
    key: Key
    column: str | None
    policy: str
    state: str
    replica: str
    replica_name: str | None
    principal: str
    base: Any
    hub: Any
    replica_value: Any
    result: Any
    is_erased: bool
    decided: Decided | None


class Conflicts(msgspec.Struct, frozen=True, kw_only=True):
    """Some conflicts, and how many are open."""

    items: list[ConflictItem]
    next: str | None
    open: int


class Identified(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which one."""

    id: str


class ConflictSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict, the row as it is now, and what has become of it. `column_type`: what its
    column's values mean, null where it has none any more."""

    item: ConflictItem
    column_type: str | None
    row: Named | None
    etag: str
    history: list[ChangeItem]


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to stand there: the value of one side, or another one. Of a whole row, columns that
    are not named stay as they are, or as they were when the row went."""

    id: str
    take: Literal["hub", "replica", "base", "value"]
    value: Any = None


class ConflictDecided(msgspec.Struct, frozen=True, kw_only=True):
    """The conflict, and the commit that the decision made; null if nothing was to be written."""

    item: ConflictItem
    commit: int | None


@operation("GET", "conflicts", READ, "Conflicts, newest first")
def conflicts(desk: Desk, given: ConflictsAsked) -> Conflicts:
    """Those that are meant."""
    where = _where(given.table, given.replica, given.state)
    with desk.reading() as tx:
        found = newest_of(tx, HubConflictRecord, given, where)
        part, following = part_by_id(found, given.limit, lambda one: one.id)
        return Conflicts(
            items=_conflict_items(tx, part),
            next=following,
            open=tx.record_count(HubConflictRecord, state=OPEN),
        )


def _where(table: str | None, replica: str | None, state: str) -> dict[str, str | int]:
    # What is rarest comes first; the others are looked at in what its index gives.
    asked = {"replica": replica, "state": None if state == "all" else state, "table_name": table}
    return {name: value for name, value in asked.items() if value is not None}


def _conflict_items(tx: Transaction, found: Sequence[HubConflictRecord]) -> list[ConflictItem]:
    outcomes = tx.outcomes_by_id([one.change for one in found])
    names = replica_names(tx, (one.replica for one in found))
    return [_conflict_item(tx, one, outcomes.get(one.change), names) for one in found]


def _conflict_item(
    tx: Transaction,
    one: HubConflictRecord,
    stored: StoredOutcome | None,
    names: dict[str, str],
) -> ConflictItem:
    key = parse_key(one.key)
    conflict = _conflict(one, stored)
    is_erased = conflict is None or (
        conflict.base is conflict.hub is conflict.replica is conflict.result is None
        and bool(tx.erasures(one.table_name, [key]))
    )
    return ConflictItem(
        id=one.id,
        at_ms=one.at_ms,
        table=one.table_name,
        key=key,
        column=one.column_name or None,
        policy=one.policy,
        state=one.state,
        replica=one.replica,
        replica_name=names.get(one.replica) or None,
        principal=one.principal,
        base=None if conflict is None else conflict.base,
        hub=None if conflict is None else conflict.hub,
        replica_value=None if conflict is None else conflict.replica,
        result=None if conflict is None else conflict.result,
        is_erased=is_erased,
        decided=None
        if one.state != DECIDED
        else Decided(
            by=one.decided_by,
            at_ms=one.decided_ms,
            value=msgspec.json.decode(one.decided) if one.decided else None,
        ),
    )


def _conflict(one: HubConflictRecord, stored: StoredOutcome | None) -> Conflict | None:
    """What met."""
    if stored is None or one.place >= len(stored.outcome.conflicts):
        return None
    return stored.outcome.conflicts[one.place]


def _known(tx: Transaction, conflict_id: str) -> HubConflictRecord:
    found = tx.records(HubConflictRecord, id=conflict_id)
    if not found:
        raise missing("There is no conflict of this id.")
    return found[0]


@operation("GET", "conflicts/{id}", READ, "One conflict, with the row as it is now")
def conflict(desk: Desk, given: Identified) -> ConflictSeen:
    """The conflict of this id."""
    desk.hub.number()
    with desk.reading() as tx:
        one = _known(tx, given.id)
        tables = desk.tables(tx)
        (item,) = _conflict_items(tx, [one])
        found = column = None
        if (schema := tables.schemas.get(one.table_name)) is not None:
            found = named_row(tx, schema, item.key)
            column = schema.column.get(one.column_name)
        entries = entries_of(tx, one.table_name, item.key)[-_HISTORY:]
        return ConflictSeen(
            item=item,
            column_type=None if column is None else column.type.value,
            row=found,
            etag=row_tag(found),
            history=change_items(tx, with_rows(tx, desk.inside.tables, entries))[::-1],
        )


@operation("POST", "conflicts/{id}", WRITE, "Decide a conflict")
def decide(desk: Desk, given: Decision) -> ConflictDecided:
    """Make the row what was decided, and note who did."""
    with desk.reading() as tx:
        one = _known(tx, given.id)
        stored = tx.outcomes_by_id([one.change]).get(one.change)
    met = _conflict(one, stored)
    if given.take != "value" and (met is None):
        raise BadRequestError("What met was erased: give a value.", path="take")
    value = given.value if given.take == "value" else _taken(met, given.take)
    decided = msgspec.structs.replace(
        one,
        state=DECIDED,
        decided_by=desk.user,
        decided_ms=desk.now_ms,
        # A value is the row's, and not kept where nobody would erase it.
        decided=msgspec.json.encode(given.take).decode(),
    )

    def wanted(tx: Transaction, schema: TableSchema) -> Named | None:
        key = parse_key(one.key)
        row = named_row(tx, schema, key)
        if not one.column_name:
            if value is None:
                return None
            if not isinstance(value, dict):
                raise BadRequestError("A row is values by column, or null.", path="value")
            side = {**dict(zip(schema.key, key, strict=True)), **value}
            if row is not None:
                return side
            return _whole(tx, schema, key, side, is_typed=given.take == "value")
        if row is None:
            # What waits for a person, and has nothing any more to be decided about, can be closed.
            if given.take == "hub" and one.state == OPEN:
                return None
            raise BadRequestError("The row is gone: put it back first.", path="take")
        if one.column_name not in schema.column:
            raise UnknownTableError(f"The table has no column {one.column_name!r} any more.")
        return {one.column_name: value}

    def then(tx: WriteTransaction) -> None:
        tx.put_record(decided)
        about = f"{one.table_name} {one.key}" + (f" · {one.column_name}" if one.column_name else "")
        note_in(desk, tx, Act("conflict.decided", about, now={"take": given.take, "id": one.id}))

    with acting_by(desk.user):
        _, first_id = put_back(
            desk.inside.store,
            desk.inside.tables,
            one.table_name,
            parse_key(one.key),
            wanted=wanted,
            check=lambda before, tag: check_row_tag(desk, before, tag),
            then=then,
            actor=desk.user,
            now_ms=desk.now_ms,
        )
    commit = commit_of(desk, first_id)
    with desk.reading() as tx:
        return ConflictDecided(item=_conflict_items(tx, [decided])[0], commit=commit)


def _whole(tx: Transaction, schema: TableSchema, key: Key, side: Named, *, is_typed: bool) -> Named:
    """A row that is gone, as one side has it: a conflict knows the columns that this side changed,
    and the log what the others were when the row went. Raises BadRequestError."""
    was: Named = {}
    for entry in reversed(tx.entries(schema.name, [key], after_id=0)):
        image = image_under(entry, key)
        if image is not None or entry.is_erased:
            was = image or {}
            break
    found = {**was, **side}
    if not was and not is_typed and not found.keys() >= set(schema.column_names):
        raise BadRequestError(
            "The log does not tell any more what the rest of the row was: give all of it as a "
            "value.",
            path="take",
        )
    return found


def _taken(met: Conflict | None, take: str) -> Any:
    assert met is not None, "checked before"
    return {"hub": met.hub, "replica": met.replica, "base": met.base}[take]


# --- Refused changes ------------------------------------------------------------------------------


class RefusalsAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which refused changes."""

    state: Literal["open", "settled", "all"] = "all"
    table: str | None = None
    replica: str | None = None
    code: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class RefusalItem(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was refused, and waits on its device until somebody does something about it
    there. `settled`: somebody said here that nothing is left to do."""

    id: str
    at_ms: int
    table: str
    key: Key
    op: str
    code: str
    reason: str | None
    columns: tuple[str, ...]
    replica: str
    replica_name: str | None
    principal: str
    state: str
    settled_by: str | None
    settled_ms: int | None


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """Some of them, how many are open, and the codes of the newest."""

    items: list[RefusalItem]
    next: str | None
    open: int
    codes: list[str]


class Settled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether something is left to do about it."""

    id: str
    is_settled: bool = True


@operation("GET", "parked", READ, "Refused changes, newest first")
def parked(desk: Desk, given: RefusalsAsked) -> Refusals:
    """Those that are meant."""
    where = _where(given.table, given.replica, given.state)
    if given.code is not None:
        where["code"] = given.code
    with desk.reading() as tx:
        found = newest_of(tx, RefusalRecord, given, where)
        part, following = part_by_id(found, given.limit, lambda one: one.id)
        newest = tx.latest(RefusalRecord, limit=1_000)
        return Refusals(
            items=_refusal_items(tx, part),
            next=following,
            open=tx.record_count(RefusalRecord, state=OPEN),
            codes=sorted({one.code for one in newest}),
        )


def _refusal_items(tx: Transaction, found: Iterable[RefusalRecord]) -> list[RefusalItem]:
    found = list(found)
    outcomes = tx.outcomes_by_id([one.change for one in found])
    names = replica_names(tx, (one.replica for one in found))
    items = []
    for one in found:
        stored = outcomes.get(one.change)
        items.append(
            RefusalItem(
                id=one.id,
                at_ms=one.at_ms,
                table=one.table_name,
                key=parse_key(one.key),
                op=one.op,
                code=one.code,
                reason=None if stored is None else stored.outcome.reason,
                columns=() if stored is None else stored.outcome.columns,
                replica=one.replica,
                replica_name=names.get(one.replica) or None,
                principal=one.principal,
                state=one.state,
                settled_by=one.settled_by or None,
                settled_ms=one.settled_ms or None,
            )
        )
    return items


@operation(
    "POST", "parked/{id}", WRITE, "Say that a refused change was seen to, or that it was not"
)
def settle(desk: Desk, given: Settled) -> RefusalItem:
    """Mark it; on its device nothing happens."""
    with acting_by(desk.user), desk.inside.store.write() as tx:
        found = tx.records(RefusalRecord, id=given.id)
        if not found:
            raise missing("There is no refused change of this id.")
        (one,) = found
        now = msgspec.structs.replace(
            one,
            state=SETTLED if given.is_settled else OPEN,
            settled_by=desk.user if given.is_settled else "",
            settled_ms=desk.now_ms if given.is_settled else 0,
        )
        tx.put_record(now)
        what = "refusal.settled" if given.is_settled else "refusal.opened"
        note_in(desk, tx, Act(what, f"{one.table_name} {one.key}", now={"id": one.id}))
    with desk.reading() as tx:
        return _refusal_items(tx, [now])[0]
