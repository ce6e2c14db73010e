"""Groups that are too large for one push come in parts: held, then applied with the last one.

    part ──► answered already? ──yes──► its outcomes, as for any push
               │ no
             the next one of its group? ──no──► nothing; the answer says how far the hub is
               │ yes
             held (`staged`); with the last one all are applied in order, slice by slice

The rules: in one transaction, and in a savepoint, so that the group takes effect whole or not at
all; each slice is judged as a push of its own, so that no more than one is in memory. Parts of
two attempts are never mixed: a replica that begins again begins with another `of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from reunite.core.sizes import UNSEEN, Look
from reunite.engine.ports import ReplicaRecord, StagedPart, WriteTransaction
from reunite.engine.rights import GroupRejectedError
from reunite.errors import BadRequestError, LimitExceededError, NumberGapError
from reunite.protocol.codec import decode, encode
from reunite.protocol.limits import (
    GROUP_BYTES_MAX,
    GROUP_CHANGES_MAX,
    KEY_BLOCK_SIZE,
    STAGED_AGE_S_MAX,
)
from reunite.protocol.push import OutcomeMessage, Part, PushAnswer, PushRequest

_OF_LENGTH = 32


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    """How to settle a request: as it is; as a slice, whose rejection is raised as
    GroupRejectedError; or as rejected with the group that it is a slice of. `look` is what was seen
    of all its rows."""

    is_slice: bool = False
    rejection: GroupRejectedError | None = None
    look: Look = UNSEEN


Settle: TypeAlias = Callable[[PushRequest, Settling], PushAnswer]


class _RenumberedError(Exception):
    """A generated key of a slice is taken: nothing of the group may stay."""

    def __init__(self, answer: PushAnswer) -> None:
        super().__init__()
        self.answer = answer


def take_part(
    tx: WriteTransaction, request: PushRequest, settle: Settle, *, now_ms: int
) -> PushAnswer:
    """Hold a part, or apply its group. The request has been parsed, and is this replica's.

    Raises BadRequestError, LimitExceededError, NumberGapError, and what `settle` raises.
    """
    part = _checked(request)
    record = tx.replica(request.replica)
    assert record is not None, "looked up in this transaction"
    count = sum(len(run.ids) for run in request.groups[0].runs)
    last_n = request.first_n + count - 1
    if last_n <= record.last_n:
        return settle(request, Settling())  # the answer of the whole group was lost
    _check_numbers(part, request, record)
    asked = msgspec.structs.replace(request, groups=(), first_n=part.begins)
    tx.unstage(older_than_ms=now_ms - STAGED_AGE_S_MAX * 1000)
    held, held_n = [], part.begins - 1
    for staged in tx.staged(record.id):
        if staged.of == part.of and staged.first_n == held_n + 1 < request.first_n:
            held.append(staged)
            held_n = staged.last_n
    if request.first_n != held_n + 1:
        answer = settle(asked, Settling())
        return msgspec.structs.replace(answer, staged=held_n)
    if part.continues:
        _check_size(held, count)
        body = encode(request)
        _check_bytes(held, len(body))
        staged = StagedPart(
            of=part.of,
            begins_n=part.begins,
            first_n=request.first_n,
            last_n=last_n,
            size=len(body),
        )
        answer = settle(asked, Settling())
        tx.stage(record.id, staged, body, now_ms=now_ms)
        return msgspec.structs.replace(answer, staged=last_n)
    return _Group(tx, request, part, held, settle).take()


def _checked(request: PushRequest) -> Part:
    part = request.groups[0].part
    if part is None or len(request.groups) != 1 or request.groups[0].divisible:
        raise BadRequestError("A part of a group travels alone, and not divisible.", path="groups")
    if len(part.of) != _OF_LENGTH or not set(part.of) <= set("0123456789abcdef"):
        raise BadRequestError(
            "Parts of a group share 32 lowercase hexadecimal digits.", path="groups[0].part.of"
        )
    if part.begins > request.first_n:
        raise BadRequestError("A group begins before its parts end.", path="groups[0].part.begins")
    return part


def _check_numbers(part: Part, request: PushRequest, record: ReplicaRecord) -> None:
    """A group is answered whole, so none of an unanswered part's numbers can be."""
    if part.begins <= record.last_n:
        raise NumberGapError(
            f"The group begins with number {part.begins}, and {record.last_n} is answered.",
            path="groups[0].part.begins",
        )


def _check_size(held: Sequence[StagedPart], count: int) -> None:
    total = count + sum(staged.last_n - staged.first_n + 1 for staged in held)
    if total > GROUP_CHANGES_MAX:
        raise LimitExceededError(
            f"A group has at most {GROUP_CHANGES_MAX} changes; this one goes on after {total}.",
            limit="GROUP_CHANGES_MAX",
        )


def _check_bytes(held: Sequence[StagedPart], size: int) -> None:
    total = size + sum(staged.size for staged in held)
    if total > GROUP_BYTES_MAX:
        raise LimitExceededError(
            f"A group has at most {GROUP_BYTES_MAX} bytes; this one goes on after {total}.",
            limit="GROUP_BYTES_MAX",
        )


class _Group:
    """A group whose last part has come."""

    def __init__(
        self,
        tx: WriteTransaction,
        last: PushRequest,
        part: Part,
        held: Sequence[StagedPart],
        settle: Settle,
    ) -> None:
        self._tx = tx
        self._last = last
        self._part = part
        self._held = held
        self._settle = settle

    def take(self) -> PushAnswer:
        """Apply all of it or nothing; either way it is not held any longer."""
        try:
            with self._tx.savepoint():
                answer = self._run(Settling(is_slice=True))
        except GroupRejectedError as exc:
            answer = self._run(Settling(rejection=exc))
        except _RenumberedError as exc:
            answer = self._renumbered(exc.answer)
        self._tx.unstage(replica_id=self._last.replica)
        return answer

    def _run(self, how: Settling) -> PushAnswer:
        """Settle the slices in order; one answer for all of them."""
        outcomes: list[OutcomeMessage] = []
        for request in self._slices():
            answer = self._settle(request, how)
            if answer.renumber is not None:
                raise _RenumberedError(answer)
            outcomes.extend(answer.outcomes)
            if answer.last_n < request.first_n - 1 + sum(
                len(run.ids) for run in request.groups[0].runs
            ):
                break  # a row has another key here: the replica follows before it goes on
        return msgspec.structs.replace(answer, first_n=self._part.begins, outcomes=tuple(outcomes))

    def _slices(self) -> Iterator[PushRequest]:
        """The parts as pushes of their own, one in memory at a time."""
        for staged in self._held:
            body = self._tx.staged_body(self._last.replica, first_n=staged.first_n)
            stored = decode(body, PushRequest, bytes_max=None)
            yield msgspec.structs.replace(
                self._last,
                first_n=stored.first_n,
                schemas=stored.schemas,
                groups=stored.groups,
                lease={},
            )
        yield self._last

    def _renumbered(self, answer: PushAnswer) -> PushAnswer:
        """Nothing of the group stays, so its fresh block of keys is leased once more."""
        assert answer.renumber is not None
        lease = {answer.renumber.table: KEY_BLOCK_SIZE, **self._last.lease}
        asked = msgspec.structs.replace(
            self._last, groups=(), first_n=self._part.begins, lease=lease
        )
        return msgspec.structs.replace(self._settle(asked, Settling()), renumber=answer.renumber)
