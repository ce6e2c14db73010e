"""Expansion: the rows of a view that a change of another row concerns.

    read=row.project.team.is_in(user.teams)        a project gets another team ──► all of its tasks
    a filter over the visits of patients           a visit moves to another patient ──► both of them

A change of a row that a view's steps lead to counts as a touch of the rows that reach it: those
that point to it now, and those that it points to, or pointed to before. (What pointed to it before
was changed itself.) It counts only if it is about what the view asks of that row.

The rule         whatever a touch concerns is looked at by the page that takes the touch, or by the
                 pages after it, before the cursor moves on. Where nobody knows any more to what a
                 row pointed, all rows are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from reunite.core.asked import fields_of, steps_of, table_of
from reunite.core.expression import Expression, Some, Via
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row, order_key
from reunite.core.view import View
from reunite.engine.ports import Touch, Transaction
from reunite.engine.reaching import rows_pointing


class Hop(msgspec.Struct, frozen=True, order=True):
    """A step to rows of `table`: by `columns` of the row before it; with `is_back`, by those of the
    rows there, which point to that one."""

    columns: tuple[str, ...]
    table: str
    is_back: bool


class Path(msgspec.Struct, frozen=True, order=True):
    """How rows of `table` reach those of another one, by `hops`. `fields` are what is asked of the
    row at the end."""

    table: str
    hops: tuple[Hop, ...]
    fields: tuple[str, ...]

    @property
    def end(self) -> str:
        """The table that the last step leads to."""
        return self.hops[-1].table

    def table_at(self, place: int) -> str:
        """The table after so many steps."""
        return self.hops[place - 1].table if place else self.table


class Reached(msgspec.Struct, frozen=True):
    """Rows on the path number `path`, after `place` steps, for which something changed; None for
    all of the path's table."""

    path: int
    place: int
    keys: tuple[Key, ...] | None


class Expander:
    """What changes concern the rows of some views, of these tables of theirs."""

    def __init__(
        self, tx: Transaction, schemas: Mapping[str, TableSchema], views: Sequence[View]
    ) -> None:
        self._tx = tx
        self._schemas = tx.schemas()
        found = {
            path
            for view in views
            for name, table in view.tables.items()
            if name in schemas and table.where is not None
            for path in _paths(name, (), table.where)
        }
        self.paths = sorted(found)

    def reached(self, touches: Sequence[Touch]) -> list[Reached]:
        """The rows at the ends of paths of which these changes change what is asked. A few
        statements for each such table."""
        found = []
        for index, path in enumerate(self.paths):
            of_table = [touch for touch in touches if touch.table == path.end]
            if not of_table:
                continue
            is_back, end = path.hops[-1].is_back, len(path.hops)
            keys = self._left(path, of_table) if is_back else self._changed(path, of_table)
            if keys is None or keys:
                kept = None if keys is None else tuple(keys)
                found.append(Reached(index, end - 1 if is_back else end, kept))
        return found

    def _changed(self, path: Path, touches: Sequence[Touch]) -> dict[Key, None]:
        """The keys of changed rows at the end of a path."""
        changed: dict[Key, None] = {}
        for touch, was, now in self._images(path, touches):
            is_same = was is not _UNKNOWN and touch.old_key is None and repr(was) == repr(now)
            if not is_same:
                changed[touch.key] = None
                if touch.old_key is not None:
                    changed[touch.old_key] = None
        return changed

    def _left(self, path: Path, touches: Sequence[Touch]) -> dict[Key, None] | None:
        """The keys to which changed rows at the end of a path point, and pointed; None where nobody
        knows."""
        places = [path.fields.index(name) for name in path.hops[-1].columns]
        found: dict[Key, None] = {}
        for _, was, now in self._images(path, touches):
            if was is _UNKNOWN:
                return None
            if repr(was) != repr(now):
                for image in (was, now):
                    if image is not None:
                        found[tuple([image[place] for place in places])] = None
        return {key: None for key in found if None not in key}

    def _images(
        self, path: Path, touches: Sequence[Touch]
    ) -> Iterator[tuple[Touch, Row | None, Row | None]]:
        """What is asked of the row of each change, as it was before that and as it is now."""
        schema = self._schemas[path.end]
        keys = {key: None for touch in touches for key in (touch.key, touch.old_key) if key}
        rows = self._tx.rows(path.end, keys)
        before = self._tx.old_values(path.end, [touch.id for touch in touches], path.fields)
        places = [schema.position[name] for name in path.fields]
        for touch in touches:
            row = rows.get(touch.key)
            now = None if row is None else tuple(row[place] for place in places)
            yield touch, before.get(touch.id, _UNKNOWN), now

    def rows(self, reached: Reached, *, after: Key | None, limit: int) -> Sequence[Row]:
        """The next rows of the path's table that reach one of these."""
        path, keys = self.paths[reached.path], reached.keys
        if keys is None:
            return self._tx.scan(path.table, after=after, limit=limit)
        for place in range(reached.place, 0, -1):
            hop, before = path.hops[place - 1], path.table_at(place - 1)
            if hop.is_back:
                keys = self._pointed(hop, keys)
            elif place == 1:
                return self._tx.pointing(before, hop.columns, keys, after=after, limit=limit)
            else:
                schema = self._schemas[before]
                rows = rows_pointing(self._tx, schema, hop.columns, keys)
                keys = tuple(map(schema.key_of, rows))
        return self._rows_of(path.table, keys, after, limit)

    def _pointed(self, hop: Hop, keys: Sequence[Key]) -> tuple[Key, ...]:
        """To what these rows of a step's table point, each once."""
        places = [self._schemas[hop.table].position[name] for name in hop.columns]
        rows = self._tx.rows(hop.table, keys).values()
        found = dict.fromkeys(tuple([row[place] for place in places]) for row in rows)
        return tuple(key for key in found if None not in key)

    def _rows_of(
        self, table: str, keys: Iterable[Key], after: Key | None, limit: int
    ) -> Sequence[Row]:
        """The next rows of these keys, in an order of their own that is always the same."""
        schema = self._schemas[table]
        types = [schema.column[name].type for name in schema.key]

        def order(key: Key) -> tuple[tuple[int, object, str], ...]:
            return tuple(map(order_key, types, key))

        waiting = sorted(keys, key=order)
        if after is not None:
            reached = order(after)
            waiting = [key for key in waiting if order(key) > reached]
        found: list[Row] = []
        while waiting and len(found) < limit:
            part, waiting = waiting[: limit - len(found)], waiting[limit - len(found) :]
            rows = self._tx.rows(table, part)
            found += [rows[key] for key in part if key in rows]
        return found


# What nobody can tell of a row any more.
_UNKNOWN: Row = ("?",)


def _paths(table: str, hops: tuple[Hop, ...], where: Expression) -> Iterator[Path]:
    for step in steps_of(where):
        yield from _paths_through(table, hops, step)


def _paths_through(table: str, hops: tuple[Hop, ...], step: Via | Some) -> Iterator[Path]:
    is_back = isinstance(step, Some)
    hops = (*hops, Hop(step.columns, table_of(step), is_back))
    asked = {*fields_of(step.part), *(step.columns if is_back else ())}
    yield Path(table, hops, tuple(sorted(asked)))
    yield from _paths(table, hops, step.part)
