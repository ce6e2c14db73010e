"""Stored outcomes as rows of `reunite_outcome`: some hundred in a row, as JSON.

    one by one    [[n, id, table, op, key, old_key, null or the outcome], …]
    inserts       {"first_n", "table", "ids", "keys"}: neighbours, all of them plainly applied

A push writes many and seldom reads one. `reunite_outcome_slot` says which rows may have an id: by
the time with which ids begin, so that those of one moment share a slot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from operator import itemgetter

import msgspec

from reunite.core.change import APPLIED, Op, Outcome
from reunite.core.key import Key
from reunite.engine.ports import AppliedInserts, Origin, StoredOutcome
from reunite.engine.records import one_by_one
from reunite.stores.sql.ports import Session

# Outcomes kept in one row: few enough to read one of them cheaply.
OUTCOMES_PER_ROW = 250

# What of a change id is its time: twelve hexadecimal digits, milliseconds.
_TIME_OF = itemgetter(slice(12))


class OutcomePart(msgspec.Struct, frozen=True, kw_only=True):
    """One row: its text, its largest number, and the slots of its ids."""

    text: str
    last_n: int
    slots: Collection[int]


class PushRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a push; `replica` is its number in our tables."""

    replica: int
    principal: str
    last_n: int
    known_n: int
    at_ms: int
    origins: Sequence[Origin]
    outcomes: Sequence[OutcomePart]


class _Inserts(msgspec.Struct, frozen=True, kw_only=True):
    first_n: int
    table: str
    ids: Sequence[str]
    keys: Sequence[Key]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(
    list[tuple[int, str, str, Op, Key, Key | None, Outcome | None]]
).decode
_decode_inserts = msgspec.json.Decoder(_Inserts).decode


def outcome_parts(outcomes: Sequence[StoredOutcome]) -> Iterator[OutcomePart]:
    """Rows of these outcomes, plainly applied ones as null."""
    for start in range(0, len(outcomes), OUTCOMES_PER_ROW):
        part = outcomes[start : start + OUTCOMES_PER_ROW]
        entries = [
            (
                stored.n,
                stored.id,
                stored.table,
                stored.op,
                stored.key,
                stored.old_key,
                None if stored.outcome == APPLIED else stored.outcome,
            )
            for stored in part
        ]
        yield OutcomePart(
            text=_encode(entries).decode(),
            last_n=max(stored.n for stored in part),
            slots=outcome_slots(stored.id for stored in part),
        )


def insert_parts(runs: Sequence[AppliedInserts]) -> Iterator[OutcomePart]:
    """Rows of these runs."""
    for run in runs:
        for start in range(0, len(run.ids), OUTCOMES_PER_ROW):
            ids = run.ids[start : start + OUTCOMES_PER_ROW]
            keys = run.keys[start : start + OUTCOMES_PER_ROW]
            first_n = run.first_n + start
            part = _Inserts(first_n=first_n, table=run.table, ids=ids, keys=keys)
            yield OutcomePart(
                text=_encode(part).decode(),
                last_n=first_n + len(ids) - 1,
                slots=outcome_slots(ids),
            )


def read_outcomes(replica: str, text: str) -> list[StoredOutcome]:
    """The outcomes of one row."""
    if text.startswith("{"):
        run = _decode_inserts(text)
        return list(
            one_by_one(
                AppliedInserts(
                    replica=replica,
                    first_n=run.first_n,
                    table=run.table,
                    ids=run.ids,
                    keys=run.keys,
                )
            )
        )
    return [
        StoredOutcome(
            replica=replica,
            n=n,
            id=id_,
            table=table,
            op=op,
            key=key,
            old_key=old_key,
            outcome=APPLIED if outcome is None else outcome,
        )
        for n, id_, table, op, key, old_key, outcome in _decode(text)
    ]


def forget_outcomes(session: Session, replica: int, *, until_n: int, limit: int) -> int:
    """Delete the first rows of a replica, by its number in our tables, that hold no outcome after
    that number; how many."""
    found = session.execute(
        "SELECT id, outcomes FROM reunite_outcome WHERE replica = ? AND last_n <= ? "
        "ORDER BY last_n LIMIT ?",
        (replica, until_n, limit),
    )
    slots = [
        (slot, id_)
        for id_, text in found
        for slot in outcome_slots(outcome.id for outcome in read_outcomes("", text))
    ]
    session.executemany("DELETE FROM reunite_outcome_slot WHERE slot = ? AND outcome = ?", slots)
    session.executemany("DELETE FROM reunite_outcome WHERE id = ?", [(id_,) for id_, _ in found])
    return len(found)


def outcome_slots(change_ids: Iterable[str]) -> set[int]:
    """Where to look for change ids; those that do not begin with a time are hashed."""
    return set(map(_slot, set(map(_TIME_OF, change_ids))))


def _slot(time: str) -> int:
    try:
        return int(time, 16)
    except ValueError:
        return int(blake2b(time.encode(), digest_size=6).hexdigest(), 16)
