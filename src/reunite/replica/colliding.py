"""Colliding: unique values that unsent rows share with rows of the hub that are on their way.

For programs that want to be told before a pull takes effect, and to give their rows other values
first. A pull by itself sets such a row aside until the hub has judged it.

The rule         nothing is changed here: it is found in the transaction that would show the pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from reunite.core.key import Key, parse_key
from reunite.core.schema import TableSchema, Unique
from reunite.core.values import Row, parse_integer
from reunite.protocol.pull import Page
from reunite.replica.pages import aligned, gathered
from reunite.replica.pending import Place
from reunite.replica.state import State
from reunite.stores.sql.dialects.sqlite import Storer
from reunite.stores.sql.quoting import quoted


class Collision(NamedTuple):
    """An unsent row, and the columns in which it has the values of a row of the hub."""

    table: str
    key: Key
    columns: tuple[str, ...]


class CollidingError(Exception):
    """What a pull would bring collides with unsent rows: nothing of it was shown."""

    def __init__(self, found: list[Collision]) -> None:
        super().__init__(found)
        self.found = found


class Unsent(NamedTuple):
    """Keys of one table: of rows with unsent changes; of inserts among them whose key is not this
    replica's to give, so that the hub's row under it is another one."""

    keys: set[Key]
    strangers: set[Key]


def collisions(
    connection: sqlite3.Connection,
    state: State,
    schemas: Mapping[str, TableSchema],
    final: Page,
    *,
    updated: Collection[Place] = (),
    deleted: Collection[Place] = (),
) -> list[Collision]:
    """The unsent rows that would be in the way of a checkpoint, each with each of its constraints
    once. One read for each unique constraint of a row that comes, where its table has unsent rows.

    updated, deleted    rows that are to be changed again when the hub's are here
    """
    found: dict[Collision, None] = {}
    unsent: dict[str, Unsent] = {}
    others = {*updated, *deleted}
    for page in gathered(connection, final):
        for part in page.tables:
            schema = schemas.get(part.table)
            if schema is None or not part.puts:
                continue
            if part.table not in unsent:
                unsent[part.table] = _unsent(
                    connection, state, schema, final.answered or 0, updated
                )
            mine = unsent[part.table]
            if not mine.keys:
                continue
            rows = {
                key: row
                for row in aligned(schema, part)
                if (part.table, key := schema.key_of(row)) not in others
            }
            for unique in schema.uniques:
                for key in _in_the_way(connection, schema, unique, rows, mine):
                    found[Collision(schema.name, key, unique.columns)] = None
    return list(found)


def _unsent(
    connection: sqlite3.Connection,
    state: State,
    schema: TableSchema,
    answered: int,
    updated: Collection[Place],
) -> Unsent:
    keys = {key for table, key in updated if table == schema.name}
    strangers = set()
    blocks = [block for block in state.granted if block.table == schema.name]
    for text, op in connection.execute(
        "select distinct key, op from reunite_change "
        "where outcome is null and table_name = ? and (n is null or n > ?)",
        (schema.name, answered),
    ):
        key = parse_key(text)
        keys.add(key)
        if op == "insert" and schema.generated_key:
            number = parse_integer(key[0])
            if not any(block.first <= number <= block.last for block in blocks):
                strangers.add(key)
    return Unsent(keys, strangers)


def _in_the_way(
    connection: sqlite3.Connection,
    schema: TableSchema,
    unique: Unique,
    rows: Mapping[Key, Row],
    mine: Unsent,
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
        for found in map(tuple, connection.execute(text, storer.row(values))):
            if found in mine.keys and (found != key or found in mine.strangers):
                yield found
