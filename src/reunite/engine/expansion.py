"""Expansion: the rows of a view that a change of another row concerns.

    read=row.project.team.is_in(user.teams)        a project gets another team ──► all of its tasks

A change of a row that a view's steps lead to counts as a touch of the rows that reach it: those
that point to it now. (What pointed to it before was changed itself.) It counts only if it is about
what the view asks of that row.

The rule         whatever a touch concerns is looked at by the page that takes the touch, or by the
                 pages after it, before the cursor moves on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from reunite.core.expression import Expression, Via, fields_of, vias_of
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.core.view import View
from reunite.engine.ports import Touch, Transaction

# Rows between that are read at a time, where more than one step leads from a row to the changed.
ROWS_BETWEEN = 5_000


class Path(msgspec.Struct, frozen=True, order=True):
    """How rows of `table` reach those of another one, by `steps`: columns, and the table that they
    point to. `fields` are what is asked of the row at the end."""

    table: str
    steps: tuple[tuple[tuple[str, ...], str], ...]
    fields: tuple[str, ...]

    @property
    def end(self) -> str:
        """The table that the last step leads to."""
        return self.steps[-1][1]


class Reached(msgspec.Struct, frozen=True):
    """Rows at the end of the path number `path` that changed."""

    path: int
    keys: tuple[Key, ...]


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
            keys = self._changed(path, of_table) if of_table else ()
            if keys:
                found.append(Reached(index, tuple(keys)))
        return found

    def _changed(self, path: Path, touches: Sequence[Touch]) -> dict[Key, None]:
        schema = self._schemas[path.end]
        keys = {key: None for touch in touches for key in (touch.key, touch.old_key) if key}
        rows = self._tx.rows(path.end, keys)
        before = self._tx.old_values(path.end, [touch.id for touch in touches], path.fields)
        places = [schema.position[name] for name in path.fields]
        changed: dict[Key, None] = {}
        for touch in touches:
            row = rows.get(touch.key)
            now = None if row is None else tuple(row[place] for place in places)
            was = before.get(touch.id)
            is_same = touch.id in before and touch.old_key is None and repr(was) == repr(now)
            if not is_same:
                changed[touch.key] = None
                if touch.old_key is not None:
                    changed[touch.old_key] = None
        return changed

    def rows(self, reached: Reached, *, after: Key | None, limit: int) -> Sequence[Row]:
        """The next rows of the path's table that reach one of these."""
        path = self.paths[reached.path]
        keys: Sequence[Key] = reached.keys
        tables = [path.table, *(parent for _, parent in path.steps)]
        for table, (columns, _) in reversed([*zip(tables, path.steps, strict=False)][1:]):
            keys = list(self._between(table, columns, keys))
        columns, _ = path.steps[0]
        return self._tx.pointing(path.table, columns, keys, after=after, limit=limit)

    def _between(self, table: str, columns: Sequence[str], keys: Sequence[Key]) -> Iterator[Key]:
        key_of = self._schemas[table].key_of
        after: Key | None = None
        while keys:
            rows = self._tx.pointing(table, columns, keys, after=after, limit=ROWS_BETWEEN)
            yield from map(key_of, rows)
            if len(rows) < ROWS_BETWEEN:
                return
            after = key_of(rows[-1])


def _paths(
    table: str, steps: tuple[tuple[tuple[str, ...], str], ...], where: Expression
) -> Iterator[Path]:
    for via in vias_of(where):
        yield from _paths_through(table, steps, via)


def _paths_through(
    table: str, steps: tuple[tuple[tuple[str, ...], str], ...], via: Via
) -> Iterator[Path]:
    steps = (*steps, (via.columns, via.parent))
    yield Path(table, steps, fields_of(via.part))
    yield from _paths(table, steps, via.part)
