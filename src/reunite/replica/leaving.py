"""Leaving: what a replica forgets of rows that it may not see any more.

The rows themselves go with their page. This is about what else tells of them: records of conflicts
and of parked changes, and pages of the file's log that still hold what was overwritten.

The rule         what the user wrote stays, for a person to decide; the hub's values go. A row that
                 was deleted is no such row: what there was to say of it may be said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from reunite.core.key import Key, key_text, parse_key
from reunite.core.values import is_written_alike
from reunite.protocol.pull import Page
from reunite.replica.pending import Place

_RECORDED = """
    select table_name, key from reunite_conflict union select table_name, key from reunite_parked
    union select table_name, old_key from reunite_parked where old_key is not null
"""
# Whoever decides `ask` cannot do so for a row that is not there.
_FORGET_CONFLICTS = """
    update reunite_conflict set base = 'null', hub = 'null', is_open = 0,
        result = case when result = replica then result else 'null' end
    where table_name = ?1 and key = ?2
"""


class Leaving:
    """The rows that the pages of a checkpoint take away.

    is_same_log    what is not in a snapshot was taken away; else another hub, or the one of before,
                   has not got it, and what is recorded stays as it is
    """

    def __init__(self, *, is_same_log: bool) -> None:
        self._is_same_log = is_same_log
        self._evicted: dict[str, set[Key]] = {}
        self._reset: set[str] | None = set()  # tables that are sent anew; None for all

    def __bool__(self) -> bool:
        return bool(self._evicted) or self._reset != set()

    def see(self, page: Page) -> None:
        """Note what a page takes away. The same page may be seen twice."""
        if page.reset:
            self._reset = None
        for part in page.tables:
            if part.reset and self._reset is not None:
                self._reset.add(part.table)
            if part.evicts:
                self._evicted.setdefault(part.table, set()).update(part.evicts)

    def forget(
        self,
        connection: sqlite3.Connection,
        hidden: Collection[Place] = (),
        *,
        has: Callable[[Place], bool] = lambda place: False,
    ) -> None:
        """Take the hub's values of those rows out of the records.

        hidden    rows that earlier pages took away, and that changes of the outbox were about
        has       whether the hub's row is here, for tables that were sent anew
        """
        if not self and not hidden:
            return
        for table, text in connection.execute(_RECORDED).fetchall():
            place = (table, parse_key(text))
            was_reset = self._reset is None or table in self._reset
            was_reset = was_reset and self._is_same_log
            is_evicted = place[1] in self._evicted.get(table, ()) or place in hidden
            if is_evicted or (was_reset and not has(place)):
                _forget(connection, place)


def _forget(connection: sqlite3.Connection, place: Place) -> None:
    table, text = place[0], key_text(place[1])
    connection.execute(_FORGET_CONFLICTS, (table, text))
    parked = connection.execute(
        "select id, old, row from reunite_parked where table_name = ?1 and old is not null"
        " and ?2 in (key, old_key)",
        (table, text),
    ).fetchall()
    connection.executemany(
        "update reunite_parked set old = null, row = ? where id = ?",
        [(_wanted(old, row), id_) for id_, old, row in parked],
    )


def _wanted(old: str, row: str | None) -> str | None:
    """What a parked update set, out of the whole rows before and after it."""
    if row is None:
        return None
    before: dict[str, Any] = msgspec.json.decode(old)
    after: dict[str, Any] = msgspec.json.decode(row)
    changed = {
        name: value
        for name, value in after.items()
        if not is_written_alike(before.get(name), value)
    }
    return msgspec.json.encode(changed).decode()
