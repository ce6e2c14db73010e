"""A push of a program of the hub's, which does more in the same transaction.

    takes_all        whole or not at all: what the hub would reject of it undoes all of it, for
                     programs that are told of a refusal and mend it themselves
    otherwise        settled group by group, as a replica's own pushes are, so that one rejected
                     change never keeps others back; what undoes all of it raises UndoneError

The rule         what is rejected is found inside the transaction, so a refusal leaves no trace.
"""

from __future__ import annotations

from reunite.core.change import Op, OutcomeKind
from reunite.engine.halving import Settle
from reunite.engine.ports import UndoneError, WriteTransaction
from reunite.errors import ReuniteError
from reunite.protocol.push import OutcomeMessage, PushAnswer, PushRequest


class RefusedError(ReuniteError):
    """A push that was to be taken whole holds what the hub rejects: `outcome` is the first of it,
    None where the database undid all of it. Nothing was done: mend the change, and push again."""

    def __init__(self, reason: str, outcome: OutcomeMessage | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Whole:
    """What a program that takes pushes whole does in their transaction: overwrite what you need.

    `has_way_back` says that a refusal is to be expected, so nothing is done twice. What `before`
    or `after` raises undoes all, and comes to whoever pushed.
    """

    has_way_back = False
    takes_all = True

    def before(self, tx: WriteTransaction) -> None:
        """Called before anything is judged; again, if the push must be settled another way."""

    def request(self, tx: WriteTransaction, request: PushRequest) -> PushRequest:
        """What is judged in place of the request: what can be said only now that the transaction
        has begun, such as numbers and keys. Called after `before`."""
        return request

    def after(self, tx: WriteTransaction, answer: PushAnswer) -> None:
        """Called when everything has taken effect that is going to; with `takes_all`, nothing is
        rejected then."""


def begin_whole(tx: WriteTransaction, whole: Whole | None, request: PushRequest) -> PushRequest:
    """What is to be done before a push; what is to be judged."""
    if whole is None:
        return request
    whole.before(tx)
    return whole.request(tx, request)


def end_whole(
    tx: WriteTransaction, whole: Whole | None, request: PushRequest, answer: PushAnswer
) -> None:
    """What is to be done after it. Raises RefusedError."""
    if whole is not None:
        if whole.takes_all:
            _refuse_rejected(request, answer)
        whole.after(tx, answer)


def _refuse_rejected(request: PushRequest, answer: PushAnswer) -> None:
    """Raise RefusedError if anything was rejected, so that the transaction is undone: but for
    deletes of rows that others point to by now, and what hangs on them, which do no harm undone."""
    rejected = [each for each in answer.outcomes if each.kind is OutcomeKind.REJECTED]
    if not rejected:
        return
    deleted = {
        uid
        for group in request.groups
        for run in group.runs
        if run.op is Op.DELETE
        for uid in run.ids
    }
    for outcome in rejected:
        is_still_needed = outcome.code == "foreign-key" and outcome.id in deleted
        if not (is_still_needed or outcome.code == "depends-on-rejected"):
            raise RefusedError(f"{outcome.code}: {outcome.reason}", outcome)


def settle_whole(request: PushRequest, settle: Settle) -> PushAnswer:
    """The answer to all of it. Raises RefusedError for what the database undoes, too."""
    try:
        return settle(request, None)
    except UndoneError as exc:
        raise RefusedError(str(exc)) from exc
