"""Stored outcomes as wire messages."""

from __future__ import annotations

import msgspec

from reunite.core.change import Op, OutcomeKind
from reunite.engine.ports import StoredOutcome
from reunite.protocol.push import ConflictMessage, OutcomeMessage


def checkpoint_outcome(stored: StoredOutcome) -> OutcomeMessage:
    """The message that a page carries. Who asks may be a copy of the file that pushed the change,
    and know its row by another key, so the key is named."""
    outcome = stored.outcome
    names_key = stored.op is Op.INSERT or stored.old_key is not None
    if names_key and outcome.kind is not OutcomeKind.REJECTED and outcome.key is None:
        outcome = msgspec.structs.replace(outcome, key=stored.key)
        stored = msgspec.structs.replace(stored, outcome=outcome)
    return outcome_message(stored)


def outcome_message(stored: StoredOutcome) -> OutcomeMessage:
    """The message for one stored outcome."""
    outcome = stored.outcome
    return OutcomeMessage(
        n=stored.n,
        id=stored.id,
        kind=outcome.kind,
        key=outcome.key,
        code=outcome.code,
        reason=outcome.reason,
        columns=outcome.columns,
        conflicts=tuple(
            ConflictMessage(
                column=conflict.column,
                base=conflict.base,
                hub=conflict.hub,
                replica=conflict.replica,
                result=conflict.result,
                policy=conflict.policy,
                is_open=conflict.is_open,
            )
            for conflict in outcome.conflicts
        ),
    )
