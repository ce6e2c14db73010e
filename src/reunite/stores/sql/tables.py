"""A tracked table as statements: what the store says to the database about its rows.

What it is       SQL texts and value converters of one table, worked out once and kept.
What it is not   reflection or triggers; those are the dialect's.
The rule         every statement about rows of tracked tables is written here, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec

from reunite.core.expression import Expression
from reunite.core.key import Key, key_text, parse_key
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.values import Row
from reunite.stores.sql.database import Session
from reunite.stores.sql.dialects import sqlite
from reunite.stores.sql.where import Condition, condition_of

# Keys in one statement where they cannot travel as JSON (blobs, reals, text with NUL).
KEYS_PER_STATEMENT = 200

_JSON_TYPES = frozenset({
    ColumnType.INTEGER, ColumnType.TEXT, ColumnType.UUID, ColumnType.BOOLEAN,
    ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME,
})  # fmt: skip
_encode = msgspec.json.Encoder().encode


class TupleSource(msgspec.Struct, frozen=True, kw_only=True):
    """Tuples of values as something to select from.

    `sql` stands in FROM and is called `given`; `columns` are the expressions of its values.
    """

    sql: str
    columns: tuple[str, ...]
    parameters: tuple[Any, ...]


def tuple_sources(types: Sequence[ColumnType], tuples: Sequence[Key]) -> Iterator[TupleSource]:
    """Tuples in wire form, with columns of these types in mind; almost always a single source."""
    if not tuples:
        return
    if _JSON_TYPES.issuperset(types):
        # One text whatever the number of tuples, so that the statement is prepared once.
        is_single = len(types) == 1
        text = _encode([values[0] for values in tuples] if is_single else tuples).decode()
        # SQLite before 3.43 ends a JSON string at its NUL.
        if "\\u0000" not in text:
            columns = (
                ("given.value",)
                if is_single
                else tuple(f"json_extract(given.value, '$[{i}]')" for i in range(len(types)))
            )
            yield TupleSource(sql="json_each(?) AS given", columns=columns, parameters=(text,))
            return
    columns = tuple(f"given.column{i + 1}" for i in range(len(types)))
    marks = f"({', '.join('?' * len(types))})"
    convert = sqlite.to_database_types(types)
    for start in range(0, len(tuples), KEYS_PER_STATEMENT):
        part = tuples[start : start + KEYS_PER_STATEMENT]
        stored = [convert(values) for values in part] if convert else part
        yield TupleSource(
            sql=f"(VALUES {', '.join([marks] * len(part))}) AS given",
            columns=columns,
            parameters=tuple(value for values in stored for value in values),
        )


# Generated keys that somebody chose beyond here are left alone.
KEYS_COUNTED_BELOW = 2**62


class TablePlan:
    """The statements of one table in one version of its schema."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.name = schema.name
        self.sql_name = sqlite.quoted(schema.name)
        self._image_to_wire = sqlite.stored_to_wire(schema.columns)
        self.read_key = (
            parse_key if sqlite.has_plain_key(schema) else sqlite.log_key_to_wire(schema)
        )
        self._finish = sqlite.to_wire(schema)
        self._key_types = tuple(schema.column[name].type for name in schema.key)
        self._key_to_database = sqlite.to_database_types(self._key_types)
        self._keys_sql = ", ".join(f"t.{sqlite.quoted(name)}" for name in schema.key)
        self._select = f"SELECT {sqlite.select_list(schema)} FROM"
        self._updates: dict[tuple[str, ...], str] = {}

    # --- Reading ----------------------------------------------------------------------------------

    def rows(self, session: Session, keys: Iterable[Key]) -> list[Row]:
        """The rows of these keys that exist."""
        found: list[Row] = []
        for source in tuple_sources(self._key_types, list(dict.fromkeys(keys))):
            found += session.execute(
                f"{self._select} {source.sql} CROSS JOIN {self.sql_name} AS t "
                f"ON {self.key_equals(source.columns)}",
                source.parameters,
            )
        return self._finished(found)

    def scan(
        self, session: Session, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> list[Row]:
        """Rows in order of the key, of those that an expression means."""
        found = self._in_order(session, self._select, self._condition(where), after, limit)
        return self._finished(found)

    def scan_keys(
        self, session: Session, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> list[Key]:
        """Keys in order, of the rows that an expression means."""
        select = f"SELECT {sqlite.select_list(self._keys_only)} FROM"
        found = self._in_order(session, select, self._condition(where), after, limit)
        finish = sqlite.to_wire(self._keys_only)
        return found if finish is None else [finish(key) for key in found]

    def find(
        self, session: Session, where: dict[str, Any], *, after: Key | None, limit: int
    ) -> list[Row]:
        """Rows in order of the key whose columns equal `where`."""
        condition = Condition(
            " AND ".join(f"t.{sqlite.quoted(name)} IS ?" for name in where),
            tuple(self._stored(name, value) for name, value in where.items()),
        )
        return self._finished(self._in_order(session, self._select, condition, after, limit))

    def _condition(self, where: Expression | None) -> Condition:
        return Condition("") if where is None else condition_of(where, self.schema)

    def _in_order(
        self, session: Session, select: str, condition: Condition, after: Key | None, limit: int
    ) -> list[Row]:
        conditions = [condition.sql] if condition.sql else []
        parameters = [*condition.parameters]
        if after is not None:
            marks = ", ".join("?" * len(after))
            conditions.append(f"({self._keys_sql}) > ({marks})")
            parameters += self.stored_key(after)
        where_sql = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return session.execute(
            f"{select} {self.sql_name} AS t {where_sql} ORDER BY {self._keys_sql} LIMIT ?",
            (*parameters, limit),
        )

    @cached_property
    def _keys_only(self) -> TableSchema:
        columns = tuple(self.schema.column[name] for name in self.schema.key)
        return msgspec.structs.replace(self.schema, columns=columns)

    def count(self, session: Session, where: Expression | None = None) -> int:
        """How many rows there are, or how many an expression means."""
        condition = self._condition(where)
        where_sql = f"WHERE {condition.sql}" if condition.sql else ""
        text = f"SELECT count(*) FROM {self.sql_name} AS t {where_sql}"
        return int(session.execute(text, condition.parameters)[0][0])

    def largest_key(self, session: Session) -> int:
        """The largest generated key that is, or that SQLite remembers having been.

        Keys from KEYS_COUNTED_BELOW on do not count: a row with the largest integer there is must
        not leave the others without keys.
        """
        name = sqlite.quoted(self.schema.key[0])
        largest = session.execute(
            f"SELECT max({name}) FROM {self.sql_name} WHERE {name} < {KEYS_COUNTED_BELOW}"
        )[0][0]
        remembered = sqlite.largest_rowid_given(session.execute, self.name)
        return max(int(largest or 0), remembered if remembered < KEYS_COUNTED_BELOW else 0)

    def read_image(self, values: Sequence[Any]) -> Row:
        """A row of this version as the log kept it; what the log has beyond its columns is not
        of this table."""
        return self._image_to_wire(values[: len(self.schema.columns)])

    def _finished(self, rows: list[Row]) -> list[Row]:
        finish = self._finish
        return rows if finish is None else [finish(row) for row in rows]

    # --- Keys -------------------------------------------------------------------------------------

    def key_equals(self, expressions: Sequence[str]) -> str:
        """The condition that t has this key."""
        return " AND ".join(
            f"t.{sqlite.quoted(name)} = {expression}"
            for name, expression in zip(self.schema.key, expressions, strict=True)
        )

    def key_sources(self, keys: Sequence[Key]) -> Iterator[TupleSource]:
        """Keys as something to select from."""
        return tuple_sources(self._key_types, keys)

    def stored_key(self, key: Key) -> Key:
        """A key as the database is given it."""
        return self._key_to_database(key) if self._key_to_database else key

    def log_keys(self, session: Session, keys: Iterable[Key]) -> list[str]:
        """Keys as the triggers write them."""
        if sqlite.has_plain_key(self.schema):
            return [key_text(key) for key in dict.fromkeys(keys)]
        texts: list[str] = []
        for source in self.key_sources(list(dict.fromkeys(keys))):
            text = sqlite.key_image_of_given(self.schema, source.columns)
            texts += [
                row[0]
                for row in session.execute(f"SELECT {text} FROM {source.sql}", source.parameters)
            ]
        return texts

    # --- Writing ----------------------------------------------------------------------------------

    @cached_property
    def insert_sql(self) -> str:
        """INSERT with a mark for each column."""
        names = ", ".join(map(sqlite.quoted, self.schema.column_names))
        marks = ", ".join("?" * len(self.schema.columns))
        return f"INSERT INTO {self.sql_name} ({names}) VALUES ({marks})"

    def update_sql(self, columns: tuple[str, ...]) -> str:
        """UPDATE of these columns, then the key."""
        if columns not in self._updates:
            sets = ", ".join(f"{sqlite.quoted(name)} = ?" for name in columns)
            self._updates[columns] = f"UPDATE {self.sql_name} AS t SET {sets} WHERE {self._by_key}"
        return self._updates[columns]

    @cached_property
    def delete_sql(self) -> str:
        """DELETE by key."""
        return f"DELETE FROM {self.sql_name} AS t WHERE {self._by_key}"

    @cached_property
    def _by_key(self) -> str:
        return self.key_equals(["?"] * len(self.schema.key))

    def stored_rows(self, columns: Sequence[str], rows: Sequence[Row]) -> Sequence[Row]:
        """Values of these columns as the database is given them."""
        convert = sqlite.to_database([self.schema.column[name] for name in columns])
        return rows if convert is None else [convert(row) for row in rows]

    def _stored(self, name: str, value: Any) -> Any:
        return self.stored_rows((name,), [(value,)])[0][0]
