"""The view of a pull: what is asked for, and whether the replica may have had what it hides now.

The rule         a row leaves a replica when any of its old images in a page's range was visible,
                 not only the last: one that moved from store A to B to C must still leave A's
                 replicas. While the view changes, an image counts that the old or the new one saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reunite.core.asked import fields_of, fits, reached_tables
from reunite.core.expression import Expression, check_expression, from_json
from reunite.core.key import Key
from reunite.core.matching import Judge, judge_of, row_judge
from reunite.core.rules import NEVER, Access, narrowed
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.core.view import TableView, View
from reunite.engine.ports import Position, Touch, Transaction
from reunite.engine.reaching import Images, Reaching
from reunite.errors import BadRequestError

# Views that a hub keeps. If one was pushed out, a change of it sends a snapshot.
VIEWS_MAX = 10_000

# Erasures that a replica is told of whose cursor the log does not serve any more.
ERASURES_TOLD_MAX = 10_000

# Those that it knows of each replica.
REPLICA_VIEWS_MAX = 8

_BEGINNING = Position(seq=0, id=0)


def view_of(
    schemas: Mapping[str, TableSchema],
    asked: Sequence[str] | None,
    where: Mapping[str, Any],
    access: Access,
    *,
    is_new: bool = False,
) -> View:
    """The view of these tables: the rows that the principal may read, of those that the
    expressions of a request mean.

    schemas        the tables that it can be sent, of those that it asked for; whole
    asked          the names it asked for, None for all
    where          JSON forms of expressions by table; of tables that are gone they are passed over
    access         what the principal may read; an expression that does not fit what it knows of the
                   table, or not any more, means no row: whoever asks for a column that it may not
                   read is answered as who asks for one that is not there
    is_new         such an expression is refused

    Raises BadRequestError, LimitExceededError with the path of what is wrong.
    """
    for name in where:
        if asked is not None and name not in asked:
            raise BadRequestError(
                f"There is an expression for {name!r}, which is not among the tables asked for.",
                path=f"where.{name}",
            )
    tables = {}
    known = access.shown()
    shown = {name: known.get(name, schema) for name, schema in schemas.items()}
    for name, schema in shown.items():
        chosen = None
        if name in where:
            path = f"where.{name}"
            wanted = from_json(where[name], path=path)
            try:
                chosen = check_expression(wanted, schema, path=path)
            except BadRequestError:
                if is_new:
                    raise
                # It must learn that the column is gone: whoever asks for it is told no row by it.
                chosen = NEVER
        tables[name] = TableView(
            version=schema.version, where=narrowed(chosen, access.of(name).read)
        )
    return View(tables=tables, shown=shown)


class Sight:
    """What a replica of a view sees of rows, and may have seen of them.

    old            the view of its checkpoint while its view changes
    after_id       a change before which its checkpoint covers everything
    after          the position of that checkpoint
    """

    def __init__(
        self,
        tx: Transaction,
        schemas: Mapping[str, TableSchema],
        new: View,
        old: View | None,
        *,
        after_id: int = 0,
        after: Position = _BEGINNING,
    ) -> None:
        self._tx = tx
        known = tx.schemas()
        self._reach = Reaching(tx, known)
        asking = [new] if old is None else [new, old]
        asked = [table.where for view in asking for table in view.tables.values()]
        self._images = Images(
            tx,
            known,
            [where for where in asked if where is not None],
            after_id=after_id,
            after=after,
        )
        self._names = {name: schema.column_names for name, schema in schemas.items()}
        self._steps: dict[str, list[Expression]] = {}
        self._new, self._old = new, old
        self._judges: dict[str, Judge] = {}
        self._former: dict[str, _Former] = {}
        for name, schema in schemas.items():
            views = [new.tables[name]]
            before = None if old is None else old.tables.get(name)
            # Of another version the replica keeps nothing.
            if before is not None and before.version == new.tables[name].version:
                views.append(before)
            wheres = [view.where for view in views if view.where is not None]
            if new.tables[name].where is not None:
                self._judges[name] = row_judge(wheres[0], schema, self._reach)
                if reached_tables(wheres[0]):
                    self._steps[name] = [wheres[0]]
            if len(wheres) == len(views):
                self._former[name] = _Former(schema, wheres, self._images)

    def prepare(self, table: str, rows: Sequence[Row]) -> None:
        """Read at once what decides about these rows."""
        if table in self._steps:
            self._reach.prepare(self._steps[table], self._names[table], rows)

    def shows(self, table: str, row: Sequence[Any]) -> bool:
        """Whether the row is in the view."""
        judge = self._judges.get(table)
        return judge is None or judge(row) is True

    def formerly(self, table: str, touches: Sequence[Touch]) -> Iterator[Key]:
        """The keys under which the replica may have had rows before these changes of one table."""
        former = self._former.get(table)
        if former is None:
            for touch in touches:
                yield touch.key
                yield _source(touch)
            return
        if not former.columns and not former.was_seen(()):
            return  # no row of the table was ever shown
        ids = [touch.id for touch in touches]
        found = self._tx.old_values(table, ids, former.columns)
        former.prepare([values for values in found.values() if values is not None])
        for touch in touches:
            # What nobody can judge any more counts as seen: an evict too many does no harm.
            if touch.id not in found or former.was_seen(found[touch.id]):
                yield _source(touch)

    def formerly_among(self, table: str, rows: Sequence[Row]) -> Iterator[Row]:
        """Those of these rows, which have not changed, that the replica may have had because of
        what other rows were."""
        former = self._former.get(table)
        if former is None:
            yield from rows
            return
        places = [self._names[table].index(name) for name in former.columns]
        values = [tuple(row[place] for place in places) for row in rows]
        former.prepare(values)
        for row, of_row in zip(rows, values, strict=True):
            if former.was_seen(of_row):
                yield row

    def erased(self, table: str, touches: Sequence[Touch]) -> Iterator[Key]:
        """The keys of these changes under which the replica may have had a row that was erased, so
        that only the record of it can tell."""
        keys = {touch.key for touch in touches if touch.is_erased}
        keys |= {_source(touch) for touch in touches if touch.is_erased}
        if not keys:
            return
        sees_all = table not in self._former
        hashes = {self._new.hash} | ({self._old.hash} if self._old is not None else set())
        # A view that came since then showed nothing of it: the one before it decides.
        before = self._new if self._old is None else self._old
        for erasure in self._tx.erasures(table, keys):
            is_known = not hashes.isdisjoint(erasure.seen_by)
            if sees_all or is_known or before.hash not in erasure.unseen_by:
                yield erasure.key

    def erased_ever(self, views: Sequence[str]) -> Iterator[tuple[str, Key]]:
        """What was erased that a replica of this view, which was sent these before, had seen:
        table and key, of the last ERASURES_TOLD_MAX erasures."""
        hashes = {self._new.hash, *views}
        for erasure in self._tx.last_erasures(ERASURES_TOLD_MAX):
            view = self._new.tables.get(erasure.table)
            if view is not None and (view.where is None or not hashes.isdisjoint(erasure.seen_by)):
                yield erasure.table, erasure.key


class _Former:
    """Judges old rows by the fields that any of some views of a table asks for."""

    def __init__(self, schema: TableSchema, wheres: Sequence[Expression], images: Images) -> None:
        self._wheres, self._images = wheres, images
        self.columns = tuple(sorted({name for where in wheres for name in fields_of(where)}))
        types = [(name, schema.column[name].type) for name in self.columns]
        self._judges = [judge_of(where, types, images) for where in wheres]

    def prepare(self, rows: Sequence[Sequence[Any]]) -> None:
        self._images.prepare(self._wheres, self.columns, rows)

    def was_seen(self, values: Sequence[Any] | None) -> bool:
        return values is not None and any(self._images.any(judge, values) for judge in self._judges)


def still_fits(view: View, tx: Transaction) -> bool:
    """Whether the steps of a view that was kept still lead where they did."""
    known = tx.schemas()
    return all(
        fits(table.where, known[name], known)
        for name, table in view.tables.items()
        if table.where is not None and reached_tables(table.where) and name in known
    )


def generation_of(schema: TableSchema, view: View, known: Mapping[str, TableSchema]) -> str:
    """A table's generation in a view: another one too when rows that decide about its rows may
    have changed unseen."""
    texts = [schema.generation] if schema.generation else []
    for name in sorted(reached_tables(view.tables[schema.name].where)):
        reached = known.get(name)
        if reached is not None and (reached.generation or reached.version != 1):
            texts.append(f"{name}.{reached.version}.{reached.generation}")
    return " ".join(texts)


def _source(touch: Touch) -> Key:
    """The key under which the row stood before the change."""
    return touch.key if touch.old_key is None else touch.old_key
