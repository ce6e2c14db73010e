"""Changes, and the hub's word on each.

What it is       the values that push decides about: change, outcome, conflict.
What it is not   the log's entry (that is `engine.ports.LogEntry`) or a wire message.
The rule         `set` and `was` stand in the order of `columns`; an insert sets every column it
                 knows, a delete knows what every column was.
"""

from __future__ import annotations

import enum

import msgspec

from reunite.core.key import Key
from reunite.core.values import Value


class Op(enum.StrEnum):
    """What the statement meant."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


class Change(msgspec.Struct, gc=False, frozen=True, kw_only=True, omit_defaults=True):
    """One row inserted, updated or deleted on a replica.

    `key` is the row's key after the change; `old_key` the one before, where the key moved.
    `mark` is the hub's last change id in the snapshot behind the replica's last checkpoint when the
    change was made, `covered` the last of the replica's own numbers in that snapshot.
    """

    id: str
    n: int
    table: str
    op: Op
    key: Key
    old_key: Key | None = None
    columns: tuple[str, ...] = ()
    set: tuple[Value, ...] = ()
    was: tuple[Value, ...] = ()
    stamp: str
    mark: int = 0
    covered: int = 0


class OutcomeKind(enum.StrEnum):
    """What became of a pushed change."""

    APPLIED = "applied"
    MERGED = "merged"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Conflict(msgspec.Struct, gc=False, frozen=True, kw_only=True, omit_defaults=True):
    """Two values for one column set without knowledge of each other.

    `column` is None when the rows themselves met: one side deleted what the other changed; then
    the values are objects, column → value, of what each side knows, or None for "no row".
    """

    column: str | None
    base: Value
    hub: Value
    replica: Value
    result: Value
    policy: str
    is_open: bool = False  # `ask`: a person decides


class Outcome(msgspec.Struct, gc=False, frozen=True, kw_only=True, omit_defaults=True):
    """The hub's answer for a pushed change. `code` is stable; `reason` is for people. `hidden` are
    columns that who pushed it could not read then: whoever may read them later is not told what
    they held in a row that may be hidden by then."""

    kind: OutcomeKind
    key: Key | None = None  # the key under which it took effect, where that is not the one sent
    code: str | None = None
    reason: str | None = None
    columns: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    hidden: tuple[str, ...] = ()


APPLIED = Outcome(kind=OutcomeKind.APPLIED)
