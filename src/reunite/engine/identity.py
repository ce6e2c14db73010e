"""Whether a replica is who it says, and what the hub has told it: asked before a push is judged.

The rule         a push that this replica, as the hub knows it, cannot have made is refused whole: a
                 file that was copied or restored takes a new identity, and sends all of it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from reunite.core.cursor import decode_cursor
from reunite.core.principal import Principal
from reunite.engine.parse import ParsedPush
from reunite.engine.ports import ReplicaRecord, StoredOutcome, WriteTransaction
from reunite.engine.register import check_known, is_owner
from reunite.errors import (
    EpochChangedError,
    HubRestoredError,
    IdentityForkedError,
    NumberGapError,
)
from reunite.protocol.push import PushRequest


def check_log(tx: WriteTransaction, request: PushRequest) -> None:
    """Refuse a replica that has read another log than this one: its marks mean nothing here."""
    head = tx.head()
    if request.epoch != head.epoch:
        raise EpochChangedError("This hub's log is another one than the replica has read.")
    if request.checkpoint is None:
        return
    cursor = decode_cursor(request.checkpoint, path="checkpoint")
    if cursor.seq == 0 or cursor.seq < tx.trimmed_seq():
        return
    commit = tx.commit(cursor.seq)
    if commit is None or commit.nonce != cursor.nonce:
        raise HubRestoredError("This hub's log is an older one than the replica has read.")


def formers(tx: WriteTransaction, principal: Principal, request: PushRequest) -> dict[str, int]:
    """Earlier identities of the replica's file that are this principal's, with the last number
    of each that was this very file's."""
    found = {}
    for former in request.formers:
        record = tx.replica(former.replica)
        if record is not None and is_owner(principal, record):
            found[former.replica] = former.n
    return found


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub has said of the changes of a push, and of earlier ones.

    answered   by number: those that this replica has pushed before
    known      by id: those that are new under this identity, and answered under another one
    rejected   earlier changes whose rejection the replica may not have known
    """

    answered: Mapping[int, StoredOutcome]
    known: Mapping[str, StoredOutcome]
    rejected: Sequence[StoredOutcome]


def check_past(
    tx: WriteTransaction, record: ReplicaRecord, request: PushRequest, parsed: ParsedPush
) -> Past:
    """What came before this push. Raises HubRestoredError, NumberGapError, IdentityForkedError for
    one that this replica, as the hub knows it, cannot have made."""
    ids = [
        change_id
        for run in parsed.runs()
        for change_id in run.run.ids[max(0, record.last_n + 1 - run.first_n) :]
    ]
    asked = [*ids, request.known_id] if request.known_id else ids
    found = tx.outcomes_by_id(asked) if asked else {}
    check_known(record, known=request.known, known_id=request.known_id, answered=found)
    known = {change_id: found[change_id] for change_id in ids if change_id in found}
    if max((run.run.mark for run in parsed.runs()), default=0) > tx.mark():
        raise HubRestoredError("This hub knows less than the replica was told.")
    if request.first_n > record.last_n + 1:
        raise NumberGapError(
            f"The push begins with number {request.first_n}; after {record.last_n} comes "
            f"{record.last_n + 1}.",
            path="first_n",
        )
    covered = min((run.run.covered for run in parsed.runs()), default=record.last_n)
    rejected = tx.rejections(record.id, after_n=covered) if covered < record.last_n else ()
    answered = {}
    if request.first_n <= record.last_n:
        answered = {
            stored.n: stored for stored in tx.outcomes(record.id, after_n=request.first_n - 1)
        }
        _check_answered(answered, parsed, last_n=record.last_n)
    return Past(answered=answered, known=known, rejected=rejected)


def _check_answered(
    answered: Mapping[int, StoredOutcome], parsed: ParsedPush, *, last_n: int
) -> None:
    for run in parsed.runs():
        for n, change_id in enumerate(run.run.ids, run.first_n):
            if n > last_n:
                return
            stored = answered.get(n)
            if stored is None or stored.id != change_id:
                raise IdentityForkedError(
                    f"Number {n} of this replica is another change: the file was copied or "
                    "restored. It needs a new identity."
                )
