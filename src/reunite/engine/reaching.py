"""Reaching: reads the rows to which the steps of expressions lead, many at a time.

    Reaching     the rows as they are now, and as a group that is under way makes them
    Images       the rows as they are and as they were, since a replica's checkpoint

The rule         whoever judges many rows calls `prepare` first: then a step costs one statement,
                 or two for images, however many rows there are. Without it each row costs its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from reunite.core.change import Op
from reunite.core.expression import Expression, Via, fields_of, vias_of
from reunite.core.key import Key
from reunite.core.matching import Judge
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.ports import LogEntry, Transaction

# How many ways to combine what reached rows were are looked at; more count as seen.
ALTERNATIVES_MAX = 64

# A row that a group is about to make, change or delete: whether there is such a one, and the row.
Made = Callable[[str, Key], tuple[bool, Row | None]]


def _nothing_made(table: str, key: Key) -> tuple[bool, Row | None]:
    return False, None


def pointers(via: Via, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> set[Key]:
    """The keys that a step goes to from rows of these columns."""
    places = [columns.index(name) for name in via.columns]
    keys = {tuple([row[place] for place in places]) for row in rows}
    return {key for key in keys if None not in key}  # type: ignore[misc]


class Reaching:
    """Rows by table and key, remembered until `begin`."""

    def __init__(self, tx: Transaction, schemas: Mapping[str, TableSchema]) -> None:
        self.schemas = schemas
        self._tx = tx
        self._made: Made = _nothing_made
        self._rows: dict[tuple[str, Key], Row | None] = {}

    def begin(self, made: Made = _nothing_made) -> None:
        """Forget what was read; `made` goes before what the database has."""
        self._made = made
        self._rows.clear()

    def row(self, table: str, key: Key) -> Row | None:
        is_made, row = self._made(table, key)
        if is_made:
            return row
        if (table, key) not in self._rows:
            self._read(table, [key])
        return self._rows[table, key]

    def prepare(
        self, wheres: Iterable[Expression], columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Read all to which steps from these rows lead."""
        if not rows:
            return
        for where in wheres:
            for via in vias_of(where):
                keys = pointers(via, columns, rows)
                self._read(via.parent, [key for key in keys if (via.parent, key) not in self._rows])
                reached = [self.row(via.parent, key) for key in keys]
                names = self.schemas[via.parent].column_names
                self.prepare([via.part], names, [row for row in reached if row is not None])

    def remember(self, table: str, keys: Iterable[Key], rows: Mapping[Key, Row]) -> None:
        """Rows that somebody has read."""
        self._rows.update({(table, key): rows.get(key) for key in keys})

    def _read(self, table: str, keys: Collection[Key]) -> None:
        if keys:
            self.remember(table, keys, self._tx.rows(table, keys))


class UnknownImageError(Exception):
    """Nobody can tell any more what the row held, in the terms of today."""


class Images:
    """Rows by table and key, as any of what they were since change `after_id`.

    wheres    all expressions that will ask
    """

    def __init__(
        self,
        tx: Transaction,
        schemas: Mapping[str, TableSchema],
        wheres: Iterable[Expression],
        *,
        after_id: int,
    ) -> None:
        self.schemas = schemas
        self._tx = tx
        self._after_id = after_id
        self._images: dict[tuple[str, Key], list[Row | None] | None] = {}
        # What is asked of the rows of each table; images that are alike in it are one.
        self._needed: dict[str, set[str]] = {}
        for where in wheres:
            self._note_needed(where)
        # Which image of each place that was asked for is taken now, in the order of asking.
        self._chosen: dict[tuple[str, Key], int] = {}

    def _note_needed(self, where: Expression) -> None:
        for via in vias_of(where):
            self._needed.setdefault(via.parent, set()).update(fields_of(via.part))
            self._note_needed(via.part)

    def prepare(
        self, wheres: Iterable[Expression], columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Read all to which steps from these rows lead, or led."""
        if not rows:
            return
        for via in [via for where in wheres for via in vias_of(where)]:
            keys = pointers(via, columns, rows)
            self._read(via.parent, [key for key in keys if (via.parent, key) not in self._images])
            known = [self._images[via.parent, key] or () for key in keys]
            reached = [image for images in known for image in images if image is not None]
            self.prepare([via.part], self.schemas[via.parent].column_names, reached)

    def any(self, judge: Judge, row: Sequence[object]) -> bool:
        """Whether the row is meant with any of what it leads to."""
        self._chosen = {}
        for _ in range(ALTERNATIVES_MAX):
            try:
                if judge(row) is True:  # type: ignore[arg-type]
                    return True
            except UnknownImageError:
                return True
            if not self._advance():
                return False
        return True

    def _advance(self) -> bool:
        """Take the next alternative; whether there is one. What is asked for depends on what was
        found before, so places behind the one that changes are asked for anew."""
        while self._chosen:
            place, index = self._chosen.popitem()
            if index + 1 < len(self._images[place] or ()):
                self._chosen[place] = index + 1
                return True
        return False

    def row(self, table: str, key: Key) -> Row | None:
        place = (table, key)
        if place not in self._images:
            self._read(table, [key])
        images = self._images[place]
        if images is None:
            raise UnknownImageError
        return images[self._chosen.setdefault(place, 0)]

    def _read(self, table: str, keys: Collection[Key]) -> None:
        if not keys:
            return
        wanted = set(keys)
        now = self._tx.rows(table, keys)
        entries: dict[Key, list[LogEntry]] = {key: [] for key in keys}
        for entry in self._tx.entries(table, keys, after_id=self._after_id):
            for key in {entry.key, entry.old_key or entry.key} & wanted:
                entries[key].append(entry)
        for key in keys:
            self._images[table, key] = self._images_of(table, key, now.get(key), entries[key])

    def _images_of(
        self, table: str, key: Key, now: Row | None, entries: Sequence[LogEntry]
    ) -> list[Row | None] | None:
        """What a row is and was, each once as far as expressions ask for it; None where nobody
        knows."""
        schema = self.schemas[table]
        needed = self._needed.get(table, set())
        images = [now]
        for entry in entries:
            if entry.is_erased and entry.op is not Op.INSERT:
                return None  # what it was is in no log any more
            if entry.key == key and (entry.old is None or entry.old_key is not None):
                images.append(None)
            if entry.old is not None and (entry.old_key or entry.key) == key:
                if not needed <= set(entry.old_columns):
                    return None
                images.append(entry.image_in(schema))
        places = [schema.position[name] for name in sorted(needed)]
        by_value = {
            None if image is None else tuple(repr(image[place]) for place in places): image
            for image in images
        }
        return list(by_value.values())
