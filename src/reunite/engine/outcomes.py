"""Stored outcomes as wire messages."""

from __future__ import annotations

from reunite.engine.ports import StoredOutcome
from reunite.protocol.push import ConflictMessage, OutcomeMessage


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
                rule=conflict.rule,
                is_open=conflict.is_open,
            )
            for conflict in outcome.conflicts
        ),
    )
