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
from contextlib import contextmanager

from reunite.engine.ports import Clock, Store, Transaction, WriteTransaction


class _NewsError(Exception):
    """Something waits for its number."""


class NumberedStore:
    """A store, and the clock to read once a transaction has begun: what others wrote before it was
    given its time before that moment.

    number   gives what is visible its number; called only if there is something
    """

    def __init__(self, store: Store, *, number: Callable[[], object], clock: Clock) -> None:
        self.plain = store
        self.clock = clock
        self._number = number

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A snapshot."""
        with self.plain.read() as tx:
            if not tx.has_news():
                yield tx
                return
        self._number()
        with self.plain.read() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """A write transaction."""
        try:
            with self.plain.write() as tx:
                if tx.has_news():
                    raise _NewsError
                yield tx
                return
        except _NewsError:
            pass
        self._number()
        with self.plain.write() as tx:
            yield tx
