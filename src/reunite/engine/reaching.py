"""Reaching: reads the rows to which the steps of expressions lead, many at a time.

    Reaching     the rows as they are now, and as a group that is under way makes them
    Images       the rows as they are and as they were, since a replica's checkpoint

The rule         whoever judges many rows calls `prepare` first: then a step costs one statement,
                 or two for images, however many rows there are. Without it each row costs its own.

Rows that point here count as the database has them: what a group is about to make of them comes
after what they decide. So no row is made, or changed, for what the same group says of others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from reunite.core.asked import fields_of, steps_of, table_of
from reunite.core.change import Op
from reunite.core.expression import Expression, Some, Via
from reunite.core.key import Key
from reunite.core.matching import Judge
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.ports import LogEntry, Position, Transaction

# How many ways to combine what reached rows were are looked at; more count as seen.
ALTERNATIVES_MAX = 64

# Rows that point somewhere, read at a time.
POINTING_ROWS_STEP = 5_000

# How far the log is read for rows that pointed somewhere; where that is too little, one may have.
FORMER_CHANGES_MAX = 10_000

# A row that a group is about to make, change or delete: whether there is such a one, and the row.
Made = Callable[[str, Key], tuple[bool, Row | None]]


def _nothing_made(table: str, key: Key) -> tuple[bool, Row | None]:
    return False, None


def pointers(via: Via, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> set[Key]:
    """The keys that a step goes to from rows of these columns."""
    return _keys(via.columns, columns, rows)


def _keys(
    names: Sequence[str], columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> set[Key]:
    """What rows of these columns hold in some of them, but for what has a NULL in it."""
    places = [columns.index(name) for name in names]
    keys = {tuple([row[place] for place in places]) for row in rows}
    return {key for key in keys if None not in key}  # type: ignore[misc]


def rows_pointing(
    tx: Transaction, schema: TableSchema, columns: Sequence[str], keys: Collection[Key]
) -> Iterator[Row]:
    """All rows of a table that hold one of these keys in these columns, by key; rows that the
    database takes for such may be among them."""
    after: Key | None = None
    while keys:
        rows = tx.pointing(schema.name, columns, keys, after=after, limit=POINTING_ROWS_STEP)
        yield from rows
        if len(rows) < POINTING_ROWS_STEP:
            return
        after = schema.key_of(rows[-1])


# Where rows point to: a table of theirs, the columns, and the key that they hold.
_Pointed = tuple[str, tuple[str, ...], Key]


def _read_pointing(
    tx: Transaction,
    schema: TableSchema,
    columns: tuple[str, ...],
    keys: Iterable[Key],
    found: dict[_Pointed, list[Row]],
    *,
    holds: bool = False,
) -> None:
    """Add the rows that point to these keys, each key with what it has. `holds` has nobody else
    change them before the transaction ends."""
    asked = [key for key in keys if (schema.name, columns, key) not in found]
    found.update({(schema.name, columns, key): [] for key in asked})
    rows = list(rows_pointing(tx, schema, columns, asked))
    if holds:
        rows = list(tx.rows(schema.name, [schema.key_of(row) for row in rows]).values())
    places = [schema.position[name] for name in columns]
    for row in rows:
        place = (schema.name, columns, tuple([row[place] for place in places]))
        if place in found:
            found[place].append(row)


class Reaching:
    """Rows by table and key, remembered until `begin`. With `holds` those that point to rows stay
    as they are until the transaction ends."""

    def __init__(
        self, tx: Transaction, schemas: Mapping[str, TableSchema], *, holds: bool = False
    ) -> None:
        self.schemas = schemas
        self._holds = holds
        self._pointing: dict[_Pointed, list[Row]] = {}
        self._tx = tx
        self._made: Made = _nothing_made
        self._rows: dict[tuple[str, Key], Row | None] = {}

    def begin(self, made: Made = _nothing_made) -> None:
        """Forget what was read; `made` goes before what the database has."""
        self._made = made
        self._rows.clear()
        self._pointing.clear()

    def row(self, table: str, key: Key) -> Row | None:
        is_made, row = self._made(table, key)
        if is_made:
            return row
        if (table, key) not in self._rows:
            self._read(table, [key])
        return self._rows[table, key]

    def pointing(self, table: str, columns: Sequence[str], key: Key) -> Sequence[Row]:
        place = (table, tuple(columns), key)
        if place not in self._pointing:
            self._read_pointing(table, place[1], [key])
        return self._pointing[place]

    def _read_pointing(self, table: str, columns: tuple[str, ...], keys: Iterable[Key]) -> None:
        schema = self.schemas[table]
        _read_pointing(self._tx, schema, columns, keys, self._pointing, holds=self._holds)

    def prepare(
        self, wheres: Iterable[Expression], columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Read all to which steps from these rows lead."""
        if not rows:
            return
        for step in [step for where in wheres for step in steps_of(where)]:
            names = self.schemas[table_of(step)].column_names
            if isinstance(step, Via):
                keys, table = pointers(step, columns, rows), step.parent
                self._read(table, [key for key in keys if (table, key) not in self._rows])
                found = [self.row(table, key) for key in keys]
                reached = [row for row in found if row is not None]
            else:
                keys = _keys(step.key, columns, rows)
                self._read_pointing(step.child, step.columns, keys)
                reached = [
                    row for key in keys for row in self.pointing(step.child, step.columns, key)
                ]
            self.prepare([step.part], names, reached)

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
    after     the same place as a position in the log
    """

    def __init__(
        self,
        tx: Transaction,
        schemas: Mapping[str, TableSchema],
        wheres: Iterable[Expression],
        *,
        after_id: int,
        after: Position,
    ) -> None:
        self.schemas = schemas
        self._tx = tx
        self._after = after
        self._after_id = after_id
        self._images: dict[tuple[str, Key], list[Row | None] | None] = {}
        # What is asked of the rows of each table; images that are alike in it are one.
        self._needed: dict[str, set[str]] = {}
        for where in wheres:
            self._note_needed(where)
        # Which image of each place that was asked for is taken now, in the order of asking.
        self._chosen: dict[tuple[str, Key], int] = {}
        # Rows that point to others, as they are; and as they were, None where nobody knows that.
        self._pointing: dict[_Pointed, list[Row]] = {}
        self._pointed: dict[tuple[str, tuple[str, ...]], dict[Key, list[Row]] | None] = {}

    def _note_needed(self, where: Expression) -> None:
        for step in steps_of(where):
            needed = self._needed.setdefault(table_of(step), set())
            needed.update(fields_of(step.part))
            if isinstance(step, Some):
                needed.update(step.columns)
            self._note_needed(step.part)

    def prepare(
        self, wheres: Iterable[Expression], columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Read all to which steps from these rows lead, or led."""
        if not rows:
            return
        for step in [step for where in wheres for step in steps_of(where)]:
            if isinstance(step, Via):
                keys, table = pointers(step, columns, rows), step.parent
                self._read(table, [key for key in keys if (table, key) not in self._images])
                known = [self._images[table, key] or () for key in keys]
                reached = [image for images in known for image in images if image is not None]
            else:
                table, keys = step.child, _keys(step.key, columns, rows)
                schema = self.schemas[table]
                _read_pointing(self._tx, schema, step.columns, keys, self._pointing)
                found = [self.pointing(table, step.columns, key) or () for key in keys]
                reached = [row for rows_here in found for row in rows_here]
            self.prepare([step.part], self.schemas[table].column_names, reached)

    def pointing(self, table: str, columns: Sequence[str], key: Key) -> Sequence[Row] | None:
        """All rows that hold the key there, as they are and as they were while they did."""
        place = (table, tuple(columns), key)
        if place not in self._pointing:
            _read_pointing(self._tx, self.schemas[table], place[1], [key], self._pointing)
        if place[:2] not in self._pointed:
            self._pointed[place[:2]] = self._read_pointed(table, place[1])
        former = self._pointed[place[:2]]
        return None if former is None else [*self._pointing[place], *former.get(key, ())]

    def _read_pointed(self, table: str, columns: tuple[str, ...]) -> dict[Key, list[Row]] | None:
        """Rows of a table as they were since then, by what they held in these columns; NULL in
        columns that nobody asks."""
        touches = self._tx.touched(self._after, limit=FORMER_CHANGES_MAX + 1)
        if len(touches) > FORMER_CHANGES_MAX:
            return None
        ids = [touch.id for touch in touches if touch.table == table]
        schema, needed = self.schemas[table], sorted(self._needed.get(table, ()))
        olds = self._tx.old_values(table, ids, needed)
        if len(olds) < len(ids):
            return None
        found: dict[Key, list[Row]] = {}
        for old in olds.values():
            if old is not None:
                known = dict(zip(needed, old, strict=True))
                image = tuple(map(known.get, schema.column_names))
                for key in _keys(columns, schema.column_names, [image]):
                    found.setdefault(key, []).append(image)
        return found

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
