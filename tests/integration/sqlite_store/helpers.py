"""What tests of the SQL store on SQLite files do with a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reunite.core.key import Key
from reunite.core.values import Row
from reunite.engine.ports import (
    Update,
    Writes,
)
from reunite.stores.sql import SqlStore

# Makes a store over the tables of a script.
Make = Callable[[str], SqlStore]


def apply(
    store: SqlStore,
    *,
    inserts: Mapping[str, Sequence[Row]] | None = None,
    updates: Mapping[str, Sequence[Update]] | None = None,
    deletes: Mapping[str, Sequence[Key]] | None = None,
) -> None:
    with store.write() as transaction:
        transaction.apply(
            Writes(inserts=inserts or {}, updates=updates or {}, deletes=deletes or {})
        )


def update(key: Key, **values: Any) -> Update:
    return Update(key=key, columns=tuple(values), values=tuple(values.values()))


def rows_of(store: SqlStore, table: str) -> list[Row]:
    with store.read() as transaction:
        return list(transaction.scan(table, after=None, limit=10_000))


def number(store: SqlStore) -> int:
    return store.number(now_ms=1_000, new_nonce=lambda: "n").seq
