"""Short questions to a store, for its tests."""

from __future__ import annotations

from collections.abc import Sequence

from reunite.core.key import Key
from reunite.core.values import Row
from reunite.engine.ports import Head, LogEntry, Position, Store, Touch, Transaction
from reunite.testing.identity import SeededIds

START = Position(seq=0, id=0)
LIMIT = 10_000

_new_nonce = SeededIds(0)


def number(store: Store, *, now_ms: int = 1_000) -> Head:
    return store.number(now_ms=now_ms, new_nonce=_new_nonce)


def log_of(store: Store, *, after_id: int = 0) -> Sequence[LogEntry]:
    """All log entries after an id."""
    with store.read() as transaction:
        return transaction.log(after_id=after_id, until_id=2**53, limit=LIMIT)


def last_id_of(store: Store) -> int:
    with store.read() as transaction:
        return transaction.last_change_id()


def row_of(store: Store, table: str, key: Key) -> Row | None:
    with store.read() as transaction:
        return transaction.rows(table, [key]).get(key)


def rows_of(store: Store, table: str) -> Sequence[Row]:
    """All rows by key."""
    with store.read() as transaction:
        return all_rows(transaction, table)


def all_rows(transaction: Transaction, table: str) -> Sequence[Row]:
    return transaction.scan(table, after=None, limit=LIMIT)


def all_touched(transaction: Transaction) -> Sequence[Touch]:
    return transaction.touched(START, limit=LIMIT)


def pages_of_touched(transaction: Transaction, *, limit: int) -> list[Touch]:
    """The numbered changes, read page by page as a replica does."""
    found: list[Touch] = []
    position = START
    while True:
        page = [touch for touch in transaction.touched(position, limit=limit) if touch.seq]
        if not page:
            return found
        found.extend(page)
        last = page[-1]
        assert last.seq is not None
        position = Position(seq=last.seq - 1, id=last.id)
