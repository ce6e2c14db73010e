"""Blaming: which change of a group to name for what the hub, or its database, refused.

The rule         a refusal is told of one change, and the whole group with it; the last change that
                 could have caused it is the one to look at.
"""

from __future__ import annotations

from collections.abc import Sequence

from reunite.core.change import Change
from reunite.engine.rights import GroupRejectedError
from reunite.engine.workspace import Slot
from reunite.errors import ConstraintError


def change_of(changes: Sequence[Change], slot: Slot) -> Change:
    """The last change of this row; the group's last one for a row that was restored."""
    for change in reversed(changes):
        if change.table == slot.schema.name and change.key in (slot.after_key, slot.before_key):
            return change
    return changes[-1]


def rejected(changes: Sequence[Change], exc: ConstraintError) -> GroupRejectedError:
    """What becomes of a group that the database refused."""
    blamed = _blame(changes, exc)
    return GroupRejectedError(blamed, str(exc.code), exc.message, columns=exc.columns)


def _blame(changes: Sequence[Change], error: ConstraintError) -> Change:
    """The change to name for a constraint: the last one of the table that the database named."""
    for change in reversed(changes):
        if change.table == error.table:
            return change
    return changes[-1]
