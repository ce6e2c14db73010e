"""Squashing: what the hub has not taken of a row becomes one change, before it is pushed.

    insert, update     an insert of the row as it is now
    insert, delete     nothing
    update, delete     a delete

For replicas whose pushes are taken whole or not at all: a value that the hub refuses is refused for
as long as it is sent, so what the user mended must not be sent as a step of its own.

What it is       `core/squash.py` over pending changes, which know whole rows.
The rule         whatever the hub may have taken, or may still take, keeps its number and content:
                 an answer that was lost is asked for before anything is put together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from reunite.core.change import Change, Op
from reunite.core.pointers import pointed_parents
from reunite.core.squash import squash
from reunite.replica.pending import Pending, Place, Schemas, changed_columns, with_values
from reunite.replica.state import State

_HAS_SEVERAL = """
    select exists (
        select 1 from (
            select table_name, key from reunite_change where n > ?1
            union all
            select table_name, old_key from reunite_change where n > ?1 and old_key is not null
        ) group by table_name, key having count(*) > 1
    )
"""


def has_several(connection: sqlite3.Connection, *, after_n: int) -> bool:
    """Whether a row has several changes among those after a number."""
    return bool(connection.execute(_HAS_SEVERAL, (after_n,)).fetchone()[0])


def forget_pending(
    connection: sqlite3.Connection, state: State, tables: Collection[str], *, after_n: int
) -> None:
    """Take what is pending of tables out of the outbox, captured or numbered after a number. Their
    rows stay as they are."""
    found = connection.execute(
        "select id from reunite_change where table_name in (select value from json_each(?))"
        " and (n is null or n > ?)",
        (msgspec.json.encode(sorted(tables)).decode(), after_n),
    )
    forget_changes(connection, state, [id_ for (id_,) in found], after_n=after_n)


def forget_changes(
    connection: sqlite3.Connection, state: State, ids: Sequence[int], *, after_n: int
) -> None:
    """Take changes out of the outbox, captured or numbered after a number. The numbers of others
    close up."""
    if not ids:
        return
    connection.executemany("delete from reunite_change where id = ?", [(id_,) for id_ in ids])
    left = connection.execute("select id from reunite_change where n > ? order by n", (after_n,))
    numbers = [(n, id_) for n, (id_,) in enumerate(left.fetchall(), after_n + 1)]
    connection.executemany("update reunite_change set n = ? where id = ?", numbers)
    state.next_n = after_n + len(numbers) + 1
    state.sent_n = min(state.sent_n, state.next_n - 1)


class Squashed:
    """What becomes of pending changes, given in order of their numbers: those that are `gone`, and
    the numbers of those that were `changed`, in place."""

    def __init__(self, schemas: Schemas, pendings: Sequence[Pending]) -> None:
        self._schemas = schemas
        known = [pending for pending in pendings if pending.table in schemas]
        changes = {pending.uid: self._change(pending) for pending in known}
        results = {change.id: change for change in squash(tuple(changes.values()))}
        self.gone = [pending for pending in known if pending.uid not in results]
        self.changed: set[int] = set()
        inserts: dict[Place, Pending] = {}
        for pending in known:
            result = results.get(pending.uid)
            if pending.op is Op.INSERT:
                inserts[pending.table, pending.key] = pending
            if result is not None and result is not changes[pending.uid]:
                first = inserts.get((pending.table, pending.key))
                self._rewrite(pending, result)
                if pending.op is Op.INSERT and first is not None:
                    self._put_back(pending, first)
                self.changed.add(pending.n)

    def _change(self, pending: Pending) -> Change:
        names = self._schemas[pending.table].column_names
        places: Sequence[int] = range(len(names))
        if pending.op is Op.UPDATE:
            places = changed_columns(self._schemas[pending.table], pending)
        old, row = pending.old, pending.row
        return Change(
            id=pending.uid,
            n=pending.n,
            table=pending.table,
            op=pending.op,
            key=pending.key,
            old_key=pending.old_key,
            columns=tuple(names[i] for i in places),
            set=() if row is None else tuple(row[i] for i in places),
            was=() if old is None else tuple(old[i] for i in places),
            stamp=pending.stamp,
            mark=pending.mark,
            covered=pending.covered,
        )

    def _rewrite(self, pending: Pending, result: Change) -> None:
        """Make a change what it and the earlier ones of its row come to."""
        names = self._schemas[pending.table].column_names
        places = [names.index(name) for name in result.columns]
        if result.op is Op.INSERT:
            pending.old = None
        else:
            # What the last change left alone, an earlier one may have replaced.
            before = pending.row if result.op is Op.UPDATE else pending.old
            assert before is not None, "an update knows the row after, a delete the one before"
            pending.old = with_values(before, places, result.was)
        pending.op, pending.key, pending.old_key = result.op, result.key, result.old_key
        pending.mark, pending.covered = result.mark, result.covered

    def _put_back(self, pending: Pending, first: Pending) -> None:
        """Let an insert stand where it stood, before rows that point to it, unless it points to
        others now: a push of very many changes goes in several messages, in their order."""
        if self._parents(pending) <= self._parents(first):
            pending.n, first.n = first.n, pending.n

    def _parents(self, pending: Pending) -> set[Place]:
        names = self._schemas[pending.table].column_names
        assert pending.row is not None, "an insert knows its row"
        return set(pointed_parents(self._schemas, pending.table, names, pending.row))
