"""Colliding: unique values that unsent rows share with rows of the hub that are on their way.

For programs that want to be told before a pull, and to give their rows other values first. A pull
by itself sets such a row aside until the hub has judged it.

The rule         nothing is changed here; the hub is only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reunite.core.key import Key, parse_key
from reunite.core.schema import TableSchema, Unique
from reunite.core.values import Row
from reunite.protocol.pull import Page
from reunite.replica.pages import aligned
from reunite.stores.sql.dialects.sqlite import Storer, quoted


class Collision(NamedTuple):
    """An unsent row, and the columns in which it has the values of a row of the hub."""

    table: str
    key: Key
    columns: tuple[str, ...]


def collisions(
    connection: sqlite3.Connection, schemas: Mapping[str, TableSchema], page: Page
) -> Iterator[Collision]:
    """The unsent rows that would be in the way of a page. One read for each unique constraint
    of a row that comes, where its table has unsent rows."""
    for part in page.tables:
        schema = schemas.get(part.table)
        unsent = _unsent(connection, part.table) if schema is not None and part.puts else None
        if schema is None or not unsent:
            continue
        rows = {schema.key_of(row): row for row in aligned(schema, part)}
        for unique in schema.uniques:
            for key in _in_the_way(connection, schema, unique, rows):
                if key in unsent:
                    yield Collision(schema.name, key, unique.columns)


def _unsent(connection: sqlite3.Connection, table: str) -> set[Key]:
    question = "select distinct key from reunite_change where outcome is null and table_name = ?"
    return {parse_key(key) for (key,) in connection.execute(question, (table,))}


def _in_the_way(
    connection: sqlite3.Connection,
    schema: TableSchema,
    unique: Unique,
    rows: Mapping[Key, Row],
) -> Iterator[Key]:
    places = [schema.position[name] for name in unique.columns]
    columns = [schema.columns[place] for place in places]
    where = " and ".join(f"{quoted(name)} = ?" for name in unique.columns)
    names = ", ".join(map(quoted, schema.key))
    text = f"select {names} from {quoted(schema.name)} where {where}"
    storer = Storer(columns)
    for key, row in rows.items():
        values = tuple(row[place] for place in places)
        if None in values:
            continue
        for found in connection.execute(text, storer.row(values)):
            if tuple(found) != key:
                yield tuple(found)
