"""One step of net writes: inserts, updates and deletes of many tables, judged at its end.

    plainly ──unique──► with parked values ──┐     each try inside a savepoint; most steps need
       └─────foreign key────► deferred ──────┴──►  the first one only

What it is       the order of statements that lets the end of the step decide, not its middle.
The rule         a row that survives is only ever updated, so nothing cascades that should not.

*Plainly*: parents before children, deletes the other way round, each statement checked at once.
*Deferred*: foreign keys wait, and `ForeignKeyCheck` asks for the rows that the log shows.
*Parked*: unique values that the step takes away are first replaced by NULL, or by values that
nobody has, so that swaps and rings go through.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reunite.core.key import Key
from reunite.core.values import Row
from reunite.engine.ports import Update, Writes
from reunite.errors import CallerError, ConstraintError, UnknownTableError
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.ports import Session
from reunite.stores.sql.refusals import TABLE_GONE, WRITE_FAILED
from reunite.stores.sql.tables import TablePlan

# What went wrong is the hub's own affair, and told in its log.


class Step:
    """A step under way."""

    def __init__(self, session: Session, catalogue: Catalogue, writes: Writes) -> None:
        self._session = session
        self._catalogue = catalogue
        self._writes = writes
        self.missed = 0  # rows that the database passed over, cascades among them
        names = {*writes.inserts, *writes.updates, *writes.deletes}
        order = catalogue.order
        self._plans = sorted(
            (catalogue.plan(name) for name in names), key=lambda plan: order[plan.name]
        )

    def apply(self) -> None:
        """Do it. Raises ConstraintError, and then nothing is done."""
        if not self._plans:
            return
        is_parked, is_deferred = False, self._catalogue.has_deferred_keys(self._session)
        while True:
            try:
                with self._session.savepoint():
                    self._try(is_parked=is_parked, is_deferred=is_deferred)
                return
            except ConstraintError as exc:
                if exc.code == "unique" and not is_parked and self._may_park():
                    is_parked = is_deferred = True
                elif exc.code == "foreign-key" and not is_deferred:
                    is_deferred = True
                else:
                    raise

    def apply_plainly(self) -> None:
        """Do it outside any savepoint: inside one, SQLite copies every page that a statement with
        triggers changes, which costs a third more. Raises ConstraintError, and then part of it may
        be done."""
        is_deferred = self._catalogue.has_deferred_keys(self._session)
        self._try(is_parked=False, is_deferred=is_deferred)

    def _try(self, *, is_parked: bool, is_deferred: bool) -> None:
        try:
            if not is_deferred:
                self._write({})
                return
            with self._session.dialect.deferred(self._session, self._catalogue):
                self._write(self._park() if is_parked else {})
        except (self._session.driver_error, CallerError) as exc:
            raise self._failed(exc) from exc

    def _failed(self, exc: Exception) -> ConstraintError:
        """Neither a constraint nor the storage: what the tables do by themselves fails with these
        rows, a trigger or a CHECK that reads JSON, say, and with others perhaps not."""
        table = self._plans[0].name if len(self._plans) == 1 else None
        if isinstance(exc, UnknownTableError):
            return ConstraintError(TABLE_GONE, code="unknown-table", table=table)
        return ConstraintError(WRITE_FAILED, code="write-failed", table=table)

    def _write(self, moved: dict[tuple[str, Key], Key]) -> None:
        """`moved` are the temporary keys of parked rows."""
        self.missed = 0
        self._insert_rows()
        for plan in self._plans:
            self._update(plan, self._writes.updates.get(plan.name, ()), moved)
        for plan in reversed(self._plans):
            keys = self._writes.deletes.get(plan.name, ())
            if keys:
                with _named(plan, self._catalogue, self._session):
                    self.missed += len(keys) - plan.delete(self._session, keys)

    def _insert_rows(self) -> None:
        for plan in self._plans:
            rows = self._writes.inserts.get(plan.name, ())
            if rows:
                with _named(plan, self._catalogue, self._session):
                    is_plain = plan.name in self._writes.plain
                    self.missed += len(rows) - plan.insert(self._session, rows, is_plain=is_plain)

    def _update(
        self, plan: TablePlan, updates: Sequence[Update], moved: dict[tuple[str, Key], Key]
    ) -> None:
        by_columns: dict[tuple[str, ...], list[Update]] = {}
        for update in updates:
            by_columns.setdefault(update.columns, []).append(update)
        for columns, group in by_columns.items():
            if not columns:
                continue
            values = [update.values for update in group]
            keys = [moved.get((plan.name, update.key), update.key) for update in group]
            with _named(plan, self._catalogue, self._session):
                self.missed += len(keys) - plan.update(self._session, columns, values, keys)

    # --- Parking ----------------------------------------------------------------------------------

    def _may_park(self) -> bool:
        return bool(self._writes.updates or self._writes.deletes)

    def _park(self) -> dict[tuple[str, Key], Key]:
        """Take unique values and moving keys out of the way; the temporary keys."""
        moved: dict[tuple[str, Key], Key] = {}
        for plan in self._plans:
            updates = self._writes.updates.get(plan.name, ())
            deletes = self._writes.deletes.get(plan.name, ())
            if not updates and not deletes:
                continue
            parking = _Parking(self._session, self._catalogue, plan)
            parked: dict[tuple[str, ...], list[Row]] = {}
            for update in updates:
                names = tuple(name for name in update.columns if name in parking.columns)
                keys_moved = [name for name in names if name in plan.schema.key]
                if not names:
                    continue
                values = tuple(parking.value(name) for name in names)
                parked.setdefault(names, []).append((*values, *plan.stored_key(update.key)))
                if keys_moved:
                    by_name = dict(zip(names, values, strict=True))
                    moved[plan.name, update.key] = tuple(
                        by_name.get(name, value)
                        for name, value in zip(plan.schema.key, update.key, strict=True)
                    )
            names = tuple(name for name in parking.columns if name not in plan.schema.key)
            for key in deletes if names else ():
                values = tuple(parking.value(name) for name in names)
                parked.setdefault(names, []).append((*values, *plan.stored_key(key)))
            for names, rows in parked.items():
                unchecked = self._session.dialect.unchecked(self._session)
                with _named(plan, self._catalogue, self._session), unchecked:
                    plan.set_stored(self._session, names, rows)
        return moved


class _Parking:
    """What unique columns of a table hold for the moment."""

    def __init__(self, session: Session, catalogue: Catalogue, plan: TablePlan) -> None:
        self._plan = plan
        details = catalogue.details(session, plan.name)
        stored = plan.schema.column
        names = dict.fromkeys(plan.schema.key)
        for index in details.unique_terms:
            read = {name.lower() for name in index.columns}
            names.update(dict.fromkeys(name for name in stored if name.lower() in read))
        self.columns = tuple(name for name in names if name in stored)
        # Children of a row with NULL in the column they name would not follow it back.
        named_by_children = {
            name
            for _, foreign_key in catalogue.references(session).get(plan.name, ())
            for name in foreign_key.parent_columns
        }
        self._may_be_null = {
            name for name in self.columns if stored[name].nullable and name not in named_by_children
        }
        self._token = secrets.token_hex(8)
        self._count = 0

    def value(self, name: str) -> Any:
        """NULL or a value that no row has."""
        if name in self._may_be_null:
            return None
        self._count += 1
        return self._plan.temporary(name, self._token, self._count)


@contextmanager
def _named(plan: TablePlan, catalogue: Catalogue, session: Session) -> Iterator[None]:
    """Complete what a ConstraintError says of the place."""
    try:
        yield
    except ConstraintError as exc:
        if exc.table is None:
            exc.table = plan.name
            index = re.fullmatch(r"UNIQUE constraint failed: index '(.*)'", exc.message)
            if index is not None:
                exc.columns = _columns_of(catalogue, session, plan, index[1])
        raise


def _columns_of(
    catalogue: Catalogue, session: Session, plan: TablePlan, index: str
) -> tuple[str, ...]:
    for unique in catalogue.details(session, plan.name).unique_terms:
        if unique.name == index:
            return tuple(unique.labels)
    return ()
