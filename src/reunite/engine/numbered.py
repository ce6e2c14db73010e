"""Transactions that begin when what they see has its number.

    begin ──► nothing waits for its number ──────────────────────► go on
        └───► something does: leave, number it, begin again ─────► go on, whatever came meanwhile

What it is       how push, pull, repair and live begin. Looking first costs a read in a transaction
                 that is there anyway; numbering first would cost one of its own.
The rule         numbering is never inside a transaction of a use case: who numbers looks at what is
                 visible after it is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from reunite.engine.ports import Clock, Store, Transaction, WriteTransaction

Tx = TypeVar("Tx", bound=Transaction)


class NumberedStore:
    """A store, and the clock to read once a transaction has begun: what others wrote before it was
    given its time before that moment.

    number   gives what is visible its number; called only if there is something
    """

    def __init__(self, store: Store, *, number: Callable[[], object], clock: Clock) -> None:
        self.plain = store
        self.clock = clock
        self._number = number

    def read(self) -> AbstractContextManager[Transaction]:
        """A snapshot."""
        return self._begun(self.plain.read)

    def write(self) -> AbstractContextManager[WriteTransaction]:
        """A write transaction."""
        return self._begun(self.plain.write)

    @contextmanager
    def _begun(self, begin: Callable[[], AbstractContextManager[Tx]]) -> Iterator[Tx]:
        # The first one is left, not undone: with a rollback a driver may forget what it has
        # prepared, which made a push beside other writers take half as long again.
        with begin() as tx:
            if not tx.has_news():
                yield tx
                return
        self._number()
        with begin() as tx:
            yield tx
