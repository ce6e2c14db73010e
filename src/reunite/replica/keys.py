"""Generated keys: blocks that the hub leased to this replica, and what is left of them.

A block's `first` is its high-water mark: a key once given, or taken by an insert inside the block,
is never given again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import parse_integer
from reunite.protocol.register import KeyBlock, block_size


def keys_left_min(schema: TableSchema) -> int:
    """A new block is asked for when fewer keys than this are left."""
    return block_size(schema) // 5


class KeyBlocks:
    """The blocks of one replica."""

    def __init__(self, blocks: Iterable[KeyBlock]) -> None:
        self.blocks = list(blocks)

    def note(self, table: str, key: int) -> bool:
        """An insert used `key`: whether it was this replica's to give, and had not been given."""
        for index, block in enumerate(self.blocks):
            if block.table == table and block.first <= key <= block.last:
                self.blocks[index] = msgspec.structs.replace(block, first=key + 1)
                return True
        return False

    def take(self, table: str) -> int | None:
        """The next key of this table; None when the blocks are used up."""
        for index, block in enumerate(self.blocks):
            if block.table == table and block.first <= block.last:
                self.blocks[index] = msgspec.structs.replace(block, first=block.first + 1)
                return block.first
        return None

    def take_last(self, table: str) -> int | None:
        """A key from the end of the blocks, where other programs' implicit keys come last."""
        for index, block in enumerate(self.blocks):
            if block.table == table and block.first <= block.last:
                self.blocks[index] = msgspec.structs.replace(block, last=block.last - 1)
                return block.last
        return None

    def left(self, table: str) -> int:
        """How many keys are left to give."""
        return sum(
            max(0, block.last - block.first + 1) for block in self.blocks if block.table == table
        )

    def add(self, blocks: Iterable[KeyBlock]) -> None:
        """Take in fresh blocks; used-up ones are forgotten."""
        self.blocks = [block for block in self.blocks if block.first <= block.last]
        self.blocks.extend(blocks)

    def value(self) -> tuple[KeyBlock, ...]:
        return tuple(self.blocks)


def without_given(blocks: Sequence[KeyBlock], table: str, key: Key) -> tuple[KeyBlock, ...]:
    """The blocks when `key` turns out to have been given: by the file that this one is a copy of.
    Keys that are not generated are in no block."""
    known = KeyBlocks(blocks)
    if any(block.table == table for block in blocks):
        known.note(table, parse_integer(key[0]))
    return known.value()
