"""What a hub remembers of its own life, for whoever runs it: records like those of the directory.

    ActRecord            what somebody changed of rights, users and tokens
    HubConflictRecord    that a push met another value; what met stands in the outcome it names
    RefusalRecord        that a change was refused, and waits, parked, on its replica
    SyncRecord           one push, pull, registration or repair
    StandingRecord       how far a replica has been sent
    SeriesRecord         figures of one stretch of time, of one process
    AnsweredRecord       up to which number a replica had been answered at a time
    VisitRecord          a session of the console, or a code that is good for one

What it is       values. Ids begin with a time, in twelve hexadecimal digits, so that ids in order
                 are moments in order, in whatever way a database compares texts.
The rule         no value of a row is kept here: what is erased is erased in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from reunite.core.change import APPLIED, OutcomeKind
from reunite.core.key import key_text
from reunite.engine.records import StoredOutcome

# States of a conflict: a person has to decide; its policy has decided; a person has.
OPEN, MERGED, DECIDED = "open", "merged", "decided"

# Of a refused change: somebody has said that it was seen to. It waits on its replica, parked, until
# something is done about it there, of which the hub does not hear.
SETTLED = "settled"


class ActRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to who may do what: `former` and `now` are JSON, "" for nothing.
    `actor` is "" where a program did it that did not say for whom."""

    id: str
    at_ms: int
    actor: str
    what: str
    about: str
    former: str = ""
    now: str = ""


class HubConflictRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The conflict in place `place` of the outcome of a change; `column_name` is "" for whole
    rows. `decided` is the JSON of what a person took, `hub` or `replica`, say, and not a value."""

    id: str
    at_ms: int
    replica: str
    n: int
    change: str
    place: int
    table_name: str
    key: str
    column_name: str
    policy: str
    state: str
    principal: str
    decided_by: str = ""
    decided_ms: int = 0
    decided: str = ""


class RefusalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was refused, with the id that it has on its replica."""

    id: str
    at_ms: int
    replica: str
    n: int
    change: str
    table_name: str
    key: str
    op: str
    code: str
    state: str
    principal: str
    settled_by: str = ""
    settled_ms: int = 0


class SyncRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One use of the hub. `status` is `ok`, `refused` (some changes were) or `error`; `detail` is
    JSON: changes, rows, tables, milliseconds."""

    id: str
    at_ms: int
    operation: str
    status: str
    code: str
    principal: str
    tenant: str
    replica: str
    detail: str


class SeriesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the `grain` seconds that begin at `at_s`, of one process; `points` is JSON."""

    grain: int
    at_s: int
    who: str
    points: str


class StandingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Up to which commit a replica has been sent everything, whether or not it has said so yet;
    `is_live`: on a stream, at that moment."""

    replica: str
    sent_seq: int
    sent_ms: int
    is_live: bool = False


class AnsweredRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Up to which number a replica had been answered at the moment that its id begins with. Of
    those alone whose outcomes are forgotten after a while."""

    id: str
    replica: str
    n: int


class VisitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the console, by the hash of its secret; with `is_code` something to begin one
    with. `is_member` says that the directory knows the user, and is asked each time."""

    id: str
    user_name: str
    is_code: bool
    is_member: bool
    csrf: str
    created_ms: int
    expires_ms: int


def moment_id(at_ms: int, *rest: str) -> str:
    """An id of this moment."""
    return f"{max(at_ms, 0):012x}{''.join(rest)}"


def moment_of(id_: str) -> int:
    """The moment of such an id, in milliseconds."""
    return int(id_[:12], 16)


def troubles(
    outcomes: Sequence[StoredOutcome], *, principal: str, now_ms: int
) -> Iterator[HubConflictRecord | RefusalRecord]:
    """What is remembered of the outcomes of a push: nothing of those that plainly took effect."""
    for stored in outcomes:
        outcome = stored.outcome
        if outcome is APPLIED or not (outcome.conflicts or outcome.kind is OutcomeKind.REJECTED):
            continue
        of = f"{stored.n:012x}"
        key = key_text(stored.key if outcome.key is None else outcome.key)
        if outcome.kind is OutcomeKind.REJECTED:
            yield RefusalRecord(
                id=moment_id(now_ms, of, "0000", stored.replica),
                at_ms=now_ms,
                replica=stored.replica,
                n=stored.n,
                change=stored.id,
                table_name=stored.table,
                key=key,
                op=stored.op.value,
                code=outcome.code or "",
                state=OPEN,
                principal=principal,
            )
        for place, conflict in enumerate(outcome.conflicts):
            yield HubConflictRecord(
                id=moment_id(now_ms, of, f"{place + 1:04x}", stored.replica),
                at_ms=now_ms,
                replica=stored.replica,
                n=stored.n,
                change=stored.id,
                place=place,
                table_name=stored.table,
                key=key,
                column_name=conflict.column or "",
                policy=conflict.policy,
                state=OPEN if conflict.is_open else MERGED,
                principal=principal,
            )
