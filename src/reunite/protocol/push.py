"""Push: an outbox's groups go to the hub, outcomes come back; never rows.

Changes travel in runs: neighbours of one table, one operation and one set of columns, as arrays.

    run      | table, op, columns | ids[i] | keys[i] | old_keys[i] | set[i] | was[i] | stamps[i] |
    insert     all its columns      yes      from set   no            yes      no
    update     those it sets        yes      yes        if moved      yes      yes
    delete     those it knew        yes      yes        no            no       yes

The numbers are `first_n`, `first_n + 1` … in the order in which the changes stand.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.core.change import Op, OutcomeKind
from reunite.core.schema import TableSchema
from reunite.protocol.numbers import Count, Number
from reunite.protocol.register import KeyBlock


class Run(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Neighbouring changes of one shape. `stamps` has one entry for all, or one for each.

    `mark` and `covered` are those of the checkpoint that the replica showed when they were made.
    """

    table: str
    op: Op
    columns: tuple[str, ...]
    mark: Number
    covered: Number
    stamps: tuple[str, ...]
    ids: tuple[str, ...]
    keys: tuple[tuple[Any, ...], ...] = ()
    old_keys: tuple[tuple[Any, ...], ...] = ()
    set: tuple[tuple[Any, ...], ...] = ()
    was: tuple[tuple[Any, ...], ...] = ()


class Part(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A push that carries a part of a group which is too large for one, and nothing else.

    `of` is random, the same in all parts of one attempt to push the group; `begins` the number of
    the group's first change. The last part does not `continue`.
    """

    of: str
    begins: Count
    continues: bool = False


class GroupMessage(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A local transaction; a `divisible` one has unknown borders, so the hub may split it."""

    runs: tuple[Run, ...]
    divisible: bool = False
    part: Part | None = None


class Former(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity that this file had before: changes of it up to `n` were this file's."""

    replica: str
    n: Number


class PushRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`known` is the last number whose outcome this replica has stored, `known_id` the id of that
    change, if it waits for its checkpoint. `lease` names tables of
    which it wants another block of keys; a push without groups may ask for nothing else."""

    protocol: int
    epoch: str
    replica: str
    known: Number
    known_id: str = ""
    first_n: Count
    schemas: dict[str, int]
    groups: tuple[GroupMessage, ...]
    checkpoint: str | None = None
    lease: dict[str, int] = {}
    formers: tuple[Former, ...] = ()


class ConflictMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Two values that met; without `column` they are of whole rows, objects by column or null."""

    column: str | None
    base: Any
    hub: Any
    replica: Any
    result: Any
    policy: str
    is_open: bool = False


class OutcomeMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of the change numbered `n`. `key` is there where it is not the key sent."""

    n: int
    id: str
    kind: OutcomeKind
    key: tuple[Any, ...] | None = None
    code: str | None = None
    reason: str | None = None
    columns: tuple[str, ...] = ()
    conflicts: tuple[ConflictMessage, ...] = ()


class Renumber(msgspec.Struct, frozen=True, kw_only=True):
    """The push ended before the group of change `n`: its generated key is taken. Move the row."""

    n: int
    table: str
    key: tuple[Any, ...]


class PushAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Outcomes in order of `n`; those not listed, from `first_n` to `last_n`, are `applied`.

    `last_n` below what was sent means that the push ended there: `renumber` says why, or the
    last outcome names another key than the one sent. `stamp` is the hub's newest. `staged` is
    the last number of a group in parts that the hub holds; nothing of the group is answered yet.
    """

    first_n: int
    last_n: int
    outcomes: tuple[OutcomeMessage, ...]
    stamp: str
    renumber: Renumber | None = None
    blocks: tuple[KeyBlock, ...] = ()
    staged: int | None = None


class SchemaAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET v1/schema` answers: every table that the principal may ask for."""

    protocol: int
    epoch: str
    tables: tuple[TableSchema, ...]
