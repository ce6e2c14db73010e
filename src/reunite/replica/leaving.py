"""Leaving: what a replica forgets of rows that it may not see any more.

The rows themselves go with their page. This is about what else tells of them: records of conflicts
and of parked changes, and pages of the file's log that still hold what was overwritten.

The rule         what the user wrote stays, for a person to decide; the hub's values go. A row that
                 was deleted is no such row: what there was to say of it may be said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from reunite.core.change import Op
from reunite.core.columns import is_narrowed
from reunite.core.key import Key, key_text, parse_key
from reunite.core.schema import TableSchema
from reunite.core.values import Row, is_written_alike
from reunite.core.withheld import looks_secret
from reunite.protocol.pull import Page
from reunite.replica.pending import Pending, Place, Schemas, changed_columns

_RECORDED = """
    select table_name, key from reunite_conflict union select table_name, key from reunite_parked
    union select table_name, old_key from reunite_parked where old_key is not null
"""
# Whoever decides `ask` cannot do so for a row that is not there.
_FORGET_VALUES = """
    update reunite_conflict set base = 'null', hub = 'null', is_open = 0,
        result = case when result = replica then result else 'null' end
"""
_FORGET_CONFLICTS = f"{_FORGET_VALUES} where table_name = ?1 and key = ?2"


class Leaving:
    """The rows that the pages of a checkpoint take away.

    is_same_log    what is not in a snapshot was taken away; else another hub, or the one of before,
                   has not got it, and what is recorded stays as it is
    """

    def __init__(self, *, is_same_log: bool) -> None:
        self._is_same_log = is_same_log
        self._evicted: dict[str, set[Key]] = {}
        self._reset: set[str] | None = set()  # tables that are sent anew; None for all
        self._columns: dict[str, set[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._evicted or self._columns) or self._reset != set()

    def make_anew(self, before: TableSchema, after: TableSchema) -> None:
        """Note a table that is sent anew in other columns. Those that it loses, where the hub still
        has them, may not be seen any more, nor may rows that are not sent again; what a migration
        took away is nobody's secret, unless it looks like one: that may be withheld now."""
        if self._reset is not None and (is_narrowed(before) or is_narrowed(after)):
            self._reset.add(before.name)
        lost = {name for name in before.column_names if name not in after.column}
        if not is_narrowed(after):
            lost = set(filter(looks_secret, lost))
        if lost:
            self._columns[before.name] = lost

    def see(self, page: Page) -> None:
        """Note what a page takes away. The same page may be seen twice."""
        if page.reset:
            self._reset = None
        for part in page.tables:
            if part.reset and self._reset is not None:
                self._reset.add(part.table)
            if part.evicts:
                self._evicted.setdefault(part.table, set()).update(part.evicts)

    def missing(
        self,
        pendings: Sequence[Pending],
        schemas: Schemas,
        image_of: Callable[[Place], Row | None],
    ) -> Iterator[Place]:
        """Rows of tables that were sent anew which are not among what was sent, though changes of
        the outbox are about them: they are taken for evicted ones."""
        made: set[Place] = set()
        for pending in pendings:
            target, source = (pending.table, pending.key), (pending.table, pending.source)
            is_sent_anew = self._is_same_log and (
                self._reset is None or pending.table in self._reset
            )
            if pending.op is Op.INSERT or source in made:
                made.add(target)
            elif is_sent_anew and pending.table in schemas and image_of(source) is None:
                yield source

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
        for name, columns in self._columns.items():
            _forget_columns(connection, name, columns)
        if not self and not hidden:
            return
        for table, text in connection.execute(_RECORDED).fetchall():
            place = (table, parse_key(text))
            was_reset = self._reset is None or table in self._reset
            was_reset = was_reset and self._is_same_log
            is_evicted = place[1] in self._evicted.get(table, ()) or place in hidden
            if is_evicted or (was_reset and not has(place)):
                _forget(connection, place)


def forget_erased(
    schemas: Schemas, pendings: Sequence[Pending], erased: Collection[Place]
) -> set[int]:
    """Take what erased rows were out of changes that wait; the positions of those. What a change
    set stays: it is pushed, and finds the row deleted."""
    found = set()
    for index, pending in enumerate(pendings):
        schema = schemas.get(pending.table)
        is_about_one = (pending.table, pending.source) in erased and pending.old is not None
        if schema is None or not is_about_one:
            continue
        found.add(index)
        kept = set(schema.key_positions)
        row, old = pending.row, pending.old
        if row is not None:
            wanted = kept.union(changed_columns(schema, pending))
            pending.row = tuple(value if i in wanted else None for i, value in enumerate(row))
        if old is not None:
            pending.old = tuple(value if i in kept else None for i, value in enumerate(old))
    return found


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
        [(_changed(old, row), id_) for id_, old, row in parked],
    )


def _forget_columns(connection: sqlite3.Connection, table: str, lost: Collection[str]) -> None:
    connection.executemany(
        f"{_FORGET_VALUES} where table_name = ? and column_name = ?",
        [(table, name) for name in lost],
    )
    rows = connection.execute(
        "select id, base, hub, result from reunite_conflict"
        " where table_name = ? and column_name is null",
        (table,),
    ).fetchall()
    connection.executemany(
        "update reunite_conflict set base = ?, hub = ?, result = ? where id = ?",
        [(*(_without(text, lost) for text in images), id_) for id_, *images in rows],
    )
    parked = connection.execute(
        "select id, old, row from reunite_parked where table_name = ? and old is not null", (table,)
    ).fetchall()
    connection.executemany(
        "update reunite_parked set old = ?, row = ? where id = ?",
        [(_without(old, lost), _changed(old, row, lost), id_) for id_, old, row in parked],
    )


def _without(image: str, lost: Collection[str]) -> str:
    """A row by columns, or NULL, as JSON text without some of them."""
    values = msgspec.json.decode(image)
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name not in lost}
    return msgspec.json.encode(values).decode()


def _changed(old: str, row: str | None, lost: Collection[str] | None = None) -> str | None:
    """What a parked update set, out of the whole rows before and after it; of columns that are not
    `lost`, where those are named, what it left as it was, too."""
    if row is None:
        return None
    before: dict[str, Any] = msgspec.json.decode(old)
    after: dict[str, Any] = msgspec.json.decode(row)
    kept = {
        name: value
        for name, value in after.items()
        if (lost is not None and name not in lost) or not is_written_alike(before.get(name), value)
    }
    return msgspec.json.encode(kept).decode()
