"""The port through which a first clone's rows go to another database past everybody's objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reunite.core.expression import Expression
from reunite.core.key import Key


class Pack(Protocol):
    """Rows on their way to a first clone in a form that its database takes at once
    (`protocol/pack.py`). It ends with its transaction."""

    @property
    def size_bytes(self) -> int:
        """How large it is by now."""
        ...

    def add(
        self,
        name: str,
        table: str,
        columns: Sequence[str],
        *,
        after: Key | None,
        limit: int,
        where: Expression | None,
    ) -> tuple[int, Key | None]:
        """Add what `Transaction.scan` would find, in these columns, the key's among them, to the
        pack's table of this name; how many rows, and the last one's key, `after` if there was
        none."""
        ...

    def read(self) -> bytes | None:
        """The pack, once all is in it; None if a row has a value that no pack can carry."""
        ...
