"""Forgetting: answers to those who ask again for some time only are not kept for ever.

    push ──► the last number before it, noted once a day ──► a month later: outcomes up to there go

What it is       for what pushes under numbers that the hub itself has given, as an API does for its
                 users. A replica asks as long as its file lives, so its outcomes stay.
The rule         an outcome is kept for ANSWERS_KEPT_MS at least, and for as long as a conflict of
                 the same replica, or of before it, waits for somebody who decides.
"""

from __future__ import annotations

from reunite.engine.ports import ReplicaRecord, WriteTransaction
from reunite.engine.remembered import (
    OPEN,
    AnsweredRecord,
    HubConflictRecord,
    moment_id,
    moment_of,
)

# How long a change whose answer was lost may be sent again.
ANSWERS_KEPT_MS = 30 * 24 * 3_600_000

# How often it is noted how far the answers are.
NOTED_EVERY_MS = 24 * 3_600_000

# What one push forgets at most: pieces of outcomes, of some hundred each, which is more than one
# push makes; and notes.
FORGET_PIECES_MAX = 200
FORGET_NOTES_MAX = 10

# Conflicts of one replica that are looked at.
_CONFLICTS_MAX = 1_000


def forget_answers(tx: WriteTransaction, record: ReplicaRecord, *, now_ms: int) -> None:
    """Note how far this replica has been answered, before it pushes, and forget outcomes that are
    old, of it and of others like it. Mostly two reads."""
    for known in tx.latest(AnsweredRecord, limit=1, replica=record.id):
        if 0 <= now_ms - moment_of(known.id) < NOTED_EVERY_MS:
            break
    else:
        id_ = moment_id(now_ms, record.id)
        tx.put_record(AnsweredRecord(id=id_, replica=record.id, n=record.last_n))
    old, left = moment_id(now_ms - ANSWERS_KEPT_MS), FORGET_PIECES_MAX
    for note in tx.latest(AnsweredRecord, before=old, limit=FORGET_NOTES_MAX):
        left -= tx.forget_outcomes(note.replica, until_n=_decided(tx, note), limit=left)
        if left <= 0:
            return
        tx.drop_records(AnsweredRecord, id=note.id)


def _decided(tx: WriteTransaction, note: AnsweredRecord) -> int:
    """Up to which number nothing waits for a decision; that of the note at most."""
    waiting = tx.latest(HubConflictRecord, limit=_CONFLICTS_MAX, replica=note.replica, state=OPEN)
    if len(waiting) == _CONFLICTS_MAX:
        return 0
    return min([note.n, *(one.n - 1 for one in waiting)])
