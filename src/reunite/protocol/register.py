"""Register: a file becomes a replica and gets its name, its key blocks and the hub's schema."""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.core.schema import TableSchema
from reunite.protocol.limits import KEY_BLOCK_SIZE


class KeyBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Generated keys of `table` from `first` to `last` are this replica's to give."""

    table: str
    first: int
    last: int


def block_size(schema: TableSchema) -> int:
    """Keys in a block of this table, if no more are needed: few where all keys are few."""
    return min(KEY_BLOCK_SIZE, schema.generated_key_max // 1_024)


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a new identity. `tables` None asks for all that the principal may read; `where` is
    what pulls will ask for, refused here if it does not fit the tables."""

    protocol: int
    name: str = ""
    tables: tuple[str, ...] | None = None
    where: dict[str, Any] = {}


class RegisterAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The new identity, and all that a file needs to become a replica."""

    protocol: int
    replica: str
    epoch: str
    tables: tuple[TableSchema, ...]
    blocks: tuple[KeyBlock, ...]
    stamp: str  # the hub's newest stamp; the replica's next is later
    mark: int  # the last change in the hub's log; for an outbox that outlived another log
    whose: str = ""  # the same in all answers to one user, and another for every other user
