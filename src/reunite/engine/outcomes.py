"""Stored outcomes as wire messages: what of them their replica is told, now or later.

The rule         an outcome tells of a row as it was when the change was pushed, which may be gone
                 or hidden when it is told again: so it shows no more than could be seen then, and
                 of that no column that may not be read any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from reunite.core.change import Op, Outcome, OutcomeKind
from reunite.core.refusal import names_secret
from reunite.core.rules import Access
from reunite.core.withheld import looks_secret
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


def with_hidden(outcomes: Sequence[StoredOutcome], access: Access) -> list[StoredOutcome]:
    """Outcomes to store, with the columns that the principal of their push may not read now."""
    return [
        msgspec.structs.replace(
            stored,
            outcome=msgspec.structs.replace(
                stored.outcome, hidden=tuple(sorted(hidden.union(stored.outcome.hidden)))
            ),
        )
        if _tells(stored.outcome) and (hidden := access.of(stored.table).hidden)
        else stored
        for stored in outcomes
    ]


def _tells(outcome: Outcome) -> bool:
    """Whether it has values, or names columns."""
    return bool(outcome.conflicts or outcome.reason)


def shown_outcome(stored: StoredOutcome, access: Access) -> StoredOutcome:
    """An outcome without what is in columns that the principal may not read, not any more or not
    yet when it was stored, or that stay at the hub; nor does it name them."""
    outcome = stored.outcome
    if not _tells(outcome):
        return stored
    bound = access.of(stored.table)
    hidden = bound.hidden.union(outcome.hidden)
    schema = access.schemas.get(stored.table)
    known = () if schema is None else schema.column

    def is_shown(name: str) -> bool:
        if name in hidden:
            return False
        # What is not there under this name any more may hide under another one.
        return name in known or not (bound.hidden or looks_secret(name))

    reason = outcome.reason
    if reason is not None and (
        any(name in reason for name in hidden) or names_secret(reason, known=known)
    ):
        reason = "The rules of this hub's table do not take the row."
    outcome = msgspec.structs.replace(
        outcome,
        reason=reason,
        columns=tuple(filter(is_shown, outcome.columns)),
        conflicts=tuple(
            msgspec.structs.replace(
                each, **{name: _of_columns(getattr(each, name), is_shown) for name in _IMAGES}
            )
            if each.column is None
            else each
            for each in outcome.conflicts
            if each.column is None or is_shown(each.column)
        ),
    )
    return msgspec.structs.replace(stored, outcome=outcome)


_IMAGES = ("base", "hub", "replica", "result")


def _of_columns(image: Any, is_shown: Callable[[str], bool]) -> Any:
    """What a row, or None, has in these columns."""
    if image is None:
        return None
    return {name: value for name, value in image.items() if is_shown(name)}


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
