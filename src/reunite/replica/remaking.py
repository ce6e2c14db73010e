"""Remaking: changes of which only the place is known are made again on the hub's rows.

For files that another sync left: its log says that a row was updated or deleted, and not what it
was. What was replaced is known when the hub's rows are here. So the first pull

    keep    what updated rows are, which unsent rows they point to, and the parents of unsent rows
    pull    the hub's rows come in
    remake  pending changes: updates of whole rows, deletes, and parents that the hub lost; what was
            edited since, of rows that the hub lost, becomes an insert of the row

The rule         an entry goes in the transaction that makes its change, so a crash loses none; a
                 row that others need is not deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from reunite.core.change import Op
from reunite.core.pointers import pointed_parents, pointer_places
from reunite.core.schema import ForeignKey
from reunite.core.values import Row
from reunite.replica.outbox import Made, Outbox
from reunite.replica.pending import Pending, Place, Schemas, with_values
from reunite.replica.rows import RowForms
from reunite.replica.squashing import forget_changes
from reunite.replica.state import State

_LAYOUT = """
    create table if not exists reunite_deferred (
        table_name text not null, key text not null, op text not null, row text,
        primary key (table_name, key)
    )
"""
# What updated rows pointed to that this replica has made itself: such a row may get another key.
_POINTER_LAYOUT = """
    create table if not exists reunite_deferred_pointer (
        table_name text not null, key text not null, columns text not null, uid text not null,
        primary key (table_name, key, columns)
    )
"""
_NEEDED = "needed"


def defer(connection: sqlite3.Connection, entries: Iterable[tuple[str, str, str]]) -> None:
    """Note updates and deletes, as (table, key text, op), to be made again."""
    connection.execute(_LAYOUT)
    connection.executemany(
        "insert or replace into reunite_deferred values (?, ?, ?, null)", entries
    )


def has_deferred(connection: sqlite3.Connection) -> bool:
    """Whether anything was ever noted in this file."""
    is_there = "select 1 from sqlite_master where name = 'reunite_deferred'"
    return connection.execute(is_there).fetchone() is not None


def deferred(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Table, key text and operation of what is to be made again."""
    if not has_deferred(connection):
        return []
    return connection.execute(
        "select table_name, key, op from reunite_deferred where op <> ?", (_NEEDED,)
    ).fetchall()


class Remaking:
    """One step of it, inside one transaction of the replica's own."""

    def __init__(
        self, connection: sqlite3.Connection, state: State, schemas: Schemas, forms: RowForms
    ) -> None:
        self._connection = connection
        self._state = state
        self._schemas = schemas
        self._forms = forms
        self._outbox = Outbox(connection, state, schemas, forms)

    # -- before the pull ------------------------------------------------------------------------

    def keep(self) -> None:
        """Write down what updated rows are and point to, and the parents of unsent ones; nothing
        once the hub's rows are here. One that was deleted since is to be deleted."""
        if self._state.checkpoint is not None:
            return
        self._connection.execute(_POINTER_LAYOUT)
        self._connection.execute("delete from reunite_deferred_pointer")
        made = {
            (table, self._forms.read_key(table, key)): uid
            for table, key, uid in self._connection.execute(
                "select table_name, key, uid from reunite_change"
                " where op = 'insert' and outcome is null"
            )
            if table in self._schemas
        }
        self._connection.execute("delete from reunite_deferred where op = ?", (_NEEDED,))
        for place, op in self._entries().items():
            if op == Op.UPDATE:
                self._keep(place, self._shown(place), made)
        known = set(self._entries())
        unsent = dict.fromkeys(
            (table, self._forms.read_key(table, key))
            for table, key in self._connection.execute(
                "select table_name, key from reunite_change where outcome is null"
            )
            if table in self._schemas
        )
        waiting = [place for place in (*unsent, *known) if place[0] in self._schemas]
        known |= unsent.keys()
        while waiting:
            place = waiting.pop()
            for parent in self._parents(place[0], self._shown(place)):
                if parent not in known and (row := self._shown(parent)) is not None:
                    known.add(parent)
                    waiting.append(parent)
                    self._connection.execute(
                        "insert into reunite_deferred values (?, ?, ?, ?)",
                        (*self._named(parent), _NEEDED, self._forms.log_text(parent[0], row)),
                    )

    def _keep(self, place: Place, row: Row | None, made: Mapping[Place, str]) -> None:
        if row is None:
            self._keep_delete(place)
            return
        self._connection.execute(
            "update reunite_deferred set row = ? where table_name = ? and key = ?",
            (self._forms.log_text(place[0], row), *self._named(place)),
        )
        self._connection.executemany(
            "insert into reunite_deferred_pointer values (?, ?, ?, ?)",
            [
                (*self._named(place), ",".join(foreign_key.columns), made[parent])
                for foreign_key, places in self._pointers(place[0])
                if (parent := (foreign_key.parent, tuple(row[i] for i in places))) in made
            ],
        )

    def _keep_delete(self, place: Place) -> None:
        """The row was deleted since. The change that says so knows the row as it was updated, which
        the hub never had: make the delete again, too. One that moved has a change of its own."""
        changes = self._connection.execute(
            "select id, op from reunite_change"
            " where table_name = ? and key = ? and outcome is null order by id",
            self._named(place),
        ).fetchall()
        if not changes or changes[-1][1] != Op.DELETE:
            self._forget(place)
            return
        forget_changes(
            self._connection, self._state, [id_ for id_, _ in changes], after_n=self._state.known_n
        )
        self._connection.execute(
            "update reunite_deferred set op = ? where table_name = ? and key = ?",
            (Op.DELETE, *self._named(place)),
        )

    def places(self) -> tuple[set[Place], set[Place]]:
        """Where rows are to be updated, and where deleted."""
        entries = self._entries()
        return (
            {place for place, op in entries.items() if op == Op.UPDATE},
            {place for place, op in entries.items() if op == Op.DELETE},
        )

    # -- after it -------------------------------------------------------------------------------

    def remake(self, *, now_ms: int) -> bool:
        """Put the changes into the outbox; whether there were any. The caller shows them."""
        entries = self._entries()
        if self._state.checkpoint is None:
            return False
        self._outbox.prepare(now_ms=now_ms)
        edits = self._edits_of_lost(entries)
        if not entries and not edits:
            self._drop()
            return False
        forget_changes(
            self._connection,
            self._state,
            [pending.id for chain in edits for pending in chain],
            after_n=self._state.known_n,
        )
        kept = {
            place: self._followed(place, self._kept(place))
            for place, op in entries.items()
            if op != Op.DELETE
        }
        bases = self._outbox.stored_bases()
        shown = {place: self._shown(place) for place in entries}
        lost = {
            place: row
            for place, row in kept.items()
            if row is not None and bases.get(place, shown[place]) is None
        }
        for *_, last_edit in edits:
            if last_edit.row is not None:
                lost[last_edit.table, last_edit.key] = last_edit.row
        first = [
            *(Made(place[0], Op.INSERT, place[1], None, lost[place])
              for place in self._parents_first(lost)),
            *self._deletes([place for place, op in entries.items() if op == Op.DELETE], kept),
        ]  # fmt: skip
        last = [
            Made(place[0], Op.UPDATE, place[1], shown[place], row)
            for place, row in kept.items()
            if entries[place] == Op.UPDATE and place not in lost and row is not None
            if shown[place] != row
        ]
        self._outbox.add(first, last, now_ms=now_ms)
        self._drop()
        self._state.has_misplaced = True
        return True

    def _edits_of_lost(self, entries: Container[Place]) -> list[list[Pending]]:
        """The unsent changes of each row that the hub lost and that was updated here since, row by
        row; what is among the entries is made again anyway."""
        bases = self._outbox.stored_bases()
        sent_n = max(self._state.sent_n, self._state.known_n)
        chains: dict[Place, list[Pending]] = {}
        ended: list[list[Pending]] = []
        own: set[Place] = set()
        for pending in self._outbox.load():
            source, target = (pending.table, pending.source), (pending.table, pending.key)
            chain = chains.pop(source, None)
            if chain is None:
                is_lost = source in bases and bases[source] is None and source not in entries
                if source in own or pending.op is not Op.UPDATE or pending.n <= sent_n:
                    own.add(target)
                    continue
                if not is_lost:
                    continue
                chain = []
            chain.append(pending)
            if pending.op is Op.DELETE:
                ended.append(chain)
            else:
                chains[target] = chain
        return [*ended, *chains.values()]

    def _followed(self, place: Place, row: Row | None) -> Row | None:
        """The row with the keys that those have by now to which it pointed."""
        if row is None:
            return None
        found = self._connection.execute(
            "select p.columns, c.table_name, c.key from reunite_deferred_pointer p"
            " join reunite_change c using (uid) where p.table_name = ? and p.key = ?",
            self._named(place),
        )
        keys = {columns: self._forms.read_key(table, key) for columns, table, key in found}
        for foreign_key, places in self._pointers(place[0]):
            if (key := keys.get(",".join(foreign_key.columns))) is not None:
                row = with_values(row, places, key)
        return row

    def _pointers(self, table: str) -> Iterator[tuple[ForeignKey, list[int]]]:
        """The foreign keys of a table, with where a row has the parent's key."""
        schema = self._schemas[table]
        for foreign_key in schema.foreign_keys:
            if places := pointer_places(self._schemas, foreign_key, schema.column_names):
                yield foreign_key, places

    def _deletes(self, places: Sequence[Place], kept: Mapping[Place, Row | None]) -> list[Made]:
        """The deletes, children first, but for those of rows that others need."""
        rows = {place: row for place in places if (row := self._shown(place)) is not None}
        while True:
            pointed = self._pointed(rows.keys(), kept)
            needed = rows.keys() & pointed
            if not needed:
                break
            for place in needed:
                del rows[place]
        order = reversed(list(self._parents_first(rows)))
        return [Made(place[0], Op.DELETE, place[1], rows[place], None) for place in order]

    def _pointed(self, going: Iterable[Place], kept: Mapping[Place, Row | None]) -> set[Place]:
        """The rows of those that go to which one points that stays, as it will be."""
        going = set(going)
        found: set[Place] = set()
        parents = {table for table, _ in going}
        for schema in self._schemas.values():
            if not parents.isdisjoint(key.parent for key in schema.foreign_keys):
                for row in self._forms.read_all(self._connection, schema):
                    place = schema.name, schema.key_of(row)
                    if place not in going and not kept.get(place):
                        found.update(self._parents(schema.name, row))
        for (table, _), wanted in kept.items():
            found.update(self._parents(table, wanted))
        return found & going

    def _parents_first(self, rows: Mapping[Place, Row]) -> list[Place]:
        """The places so that parents come before rows that point to them; a ring as it comes."""
        order: dict[Place, None] = {}
        begun: set[Place] = set()
        waiting = list(rows)[::-1]
        while waiting:
            place = waiting[-1]
            parents = [
                parent
                for parent in self._parents(place[0], rows[place])
                if parent in rows and parent not in begun
            ]
            begun.add(place)
            if parents:
                waiting.extend(parents)
            else:
                order[waiting.pop()] = None
        return list(order)

    # -- what is there --------------------------------------------------------------------------

    def _entries(self) -> dict[Place, str]:
        """Operation by place, of the tables that there are."""
        return {
            (table, self._forms.read_key(table, key)): op
            for table, key, op in self._connection.execute(
                "select table_name, key, op from reunite_deferred order by rowid"
            )
            if table in self._schemas
        }

    def _kept(self, place: Place) -> Row | None:
        (text,) = self._connection.execute(
            "select row from reunite_deferred where table_name = ? and key = ?", self._named(place)
        ).fetchone()
        read = self._forms.reader(place[0], self._schemas[place[0]].version)
        return None if text is None else read(text)

    def _shown(self, place: Place) -> Row | None:
        return self._forms.read(self._connection, self._schemas[place[0]], place[1])

    def _named(self, place: Place) -> tuple[str, str]:
        return place[0], self._forms.key_text(*place)

    def _forget(self, place: Place) -> None:
        self._connection.execute(
            "delete from reunite_deferred where table_name = ? and key = ?", self._named(place)
        )

    def _drop(self) -> None:
        for name in ("reunite_deferred", "reunite_deferred_pointer"):
            self._connection.execute(f"drop table if exists {name}")

    def _parents(self, table: str, row: Row | None) -> list[Place]:
        if row is None:
            return []
        return list(pointed_parents(self._schemas, table, self._schemas[table].column_names, row))
