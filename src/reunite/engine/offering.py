"""Offering: which of many views a commit can concern, without asking each of them.

    table ──► views that take all of its rows, or choose them in ways that no index helps
          ├─► field ──► value ──► views that need this value there
          └─► views of other tables, of which rows decide about those

Views of one kind, such as `row.owner_id == user.id`, differ in a value: a row is then looked up
rather than shown to each of them.

The rule         a view too many costs a page that turns out empty; a view missed would lose rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reunite.core.asked import reached_tables
from reunite.core.expression import And, Expression, IsTrue, Operator, Or, Term
from reunite.core.key import Key
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.values import order_key
from reunite.core.view import TableView, View
from reunite.engine.ports import Touch, Transaction


class Offers:
    """Views by what they need, under names that the caller chooses (their hashes)."""

    def __init__(self, schemas: Mapping[str, TableSchema]) -> None:
        self._schemas = schemas
        self._tables: dict[str, _TableOffers] = {}
        # Views by a table of which rows decide about theirs.
        self._reaching: dict[str, set[str]] = {}

    def add(self, name: str, view: View) -> None:
        """Offer rows to this view from now on."""
        for table, part in view.tables.items():
            schema = self._schemas[table]
            self._tables.setdefault(table, _TableOffers(schema)).add(name, part)
            for reached in reached_tables(part.where):
                self._reaching.setdefault(reached, set()).add(name)

    def remove(self, name: str, view: View) -> None:
        """Offer nothing to it any more."""
        for table, part in view.tables.items():
            self._tables[table].remove(name, part)
            for reached in reached_tables(part.where):
                self._reaching.get(reached, set()).discard(name)

    def concerned(self, tx: Transaction, touches: Sequence[Touch]) -> set[str]:
        """The views that have, or had, a row among these touches. A number of statements that
        depends on the tables only."""
        by_table: dict[str, list[Touch]] = defaultdict(list)
        for touch in touches:
            by_table[touch.table].append(touch)
        found: set[str] = set()
        for table, of_table in by_table.items():
            found |= self._reaching.get(table, set())
            offers = self._tables.get(table)
            if offers is not None:
                found |= offers.concerned(tx, of_table)
        return found


class _TableOffers:
    """The views of one table."""

    def __init__(self, schema: TableSchema) -> None:
        self._schema = schema
        self._always: set[str] = set()
        self._by_value: dict[str, dict[object, set[str]]] = {}

    def add(self, name: str, part: TableView) -> None:
        needed = needed_values(part.where)
        if needed is None:
            self._always.add(name)
            return
        by_value = self._by_value.setdefault(needed[0], {})
        for value in self._keys(*needed):
            by_value.setdefault(value, set()).add(name)

    def remove(self, name: str, part: TableView) -> None:
        needed = needed_values(part.where)
        if needed is None:
            self._always.discard(name)
            return
        by_value = self._by_value[needed[0]]
        for value in self._keys(*needed):
            by_value[value].discard(name)
            if not by_value[value]:
                del by_value[value]
        if not by_value:
            del self._by_value[needed[0]]

    def _keys(self, field: str, values: Iterable[Any]) -> set[object]:
        column_type = self._schema.column[field].type
        return {order_key(column_type, value) for value in values}

    def concerned(self, tx: Transaction, touches: Sequence[Touch]) -> set[str]:
        found = set(self._always)
        if not self._by_value:
            return found
        fields = tuple(self._by_value)
        types = [self._schema.column[field].type for field in fields]
        for values in self._images(tx, touches, fields):
            if values is None:
                return found.union(*(s for by in self._by_value.values() for s in by.values()))
            self._look_up(fields, types, values, found)
        return found

    def _look_up(
        self,
        fields: Sequence[str],
        types: Sequence[ColumnType],
        values: Sequence[Any],
        found: set[str],
    ) -> None:
        for field, column_type, value in zip(fields, types, values, strict=True):
            if value is not None:
                found |= self._by_value[field].get(order_key(column_type, value), set())

    def _images(
        self, tx: Transaction, touches: Sequence[Touch], fields: Sequence[str]
    ) -> Iterator[Sequence[Any] | None]:
        """These fields of the rows as they are and as they were before each touch; None for one
        that nobody can tell any more."""
        table, position = self._schema.name, self._schema.position
        keys: dict[Key, None] = {}
        for touch in touches:
            keys[touch.key] = None
            if touch.old_key is not None:
                keys[touch.old_key] = None
        places = [position[field] for field in fields]
        for row in tx.rows(table, keys).values():
            yield [row[place] for place in places]
        former = tx.old_values(table, [touch.id for touch in touches], fields)
        for touch in touches:
            if touch.id not in former:
                yield None
            else:
                values = former[touch.id]
                if values is not None:
                    yield values


def needed_values(where: Expression | None) -> tuple[str, Sequence[Any]] | None:
    """A field and the values of which a row must have one there for `where` to be true; None if
    the expression says no such thing."""
    match where:
        case Term(field, Operator.EXACT, value):
            return None if value is None else (field, [value])
        case Term(field, Operator.IN, values):
            return field, [value for value in values if value is not None]
        case IsTrue(part):
            return needed_values(part)
        case And(parts):
            return next(filter(None, map(needed_values, parts)), None)
        case Or(parts):
            each = [needed_values(part) for part in parts]
            fields = {needed[0] for needed in each if needed is not None}
            if None in each or len(fields) != 1:
                return None
            return fields.pop(), [v for needed in each if needed for v in needed[1]]
        case _:
            return None
