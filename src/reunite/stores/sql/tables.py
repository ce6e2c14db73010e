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
from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.stored import TAG
from reunite.core.values import Row
from reunite.stores.sql.database import Session, UnreadableTextError
from reunite.stores.sql.dialects import sqlite, sqlite_log
from reunite.stores.sql.where import Condition, condition_of

# Keys in one statement where they cannot travel as JSON (blobs, reals, text with NUL, tagged ones).
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


def tuple_sources(columns: Sequence[Column], tuples: Sequence[Key]) -> Iterator[TupleSource]:
    """Tuples of values of these columns, in wire form; almost always a single source."""
    if not tuples:
        return
    count = len(columns)
    if _JSON_TYPES.issuperset([column.type for column in columns]):
        # One text whatever the number of tuples, so that the statement is prepared once.
        is_single = count == 1
        text = _encode([values[0] for values in tuples] if is_single else tuples).decode()
        # SQLite before 3.43 ends a JSON string at its NUL.
        if "\\u0000" not in text and TAG not in text:
            values = (
                ("given.value",)
                if is_single
                else tuple(f"json_extract(given.value, '$[{i}]')" for i in range(count))
            )
            yield TupleSource(sql="json_each(?) AS given", columns=values, parameters=(text,))
            return
    marks = f"({', '.join('?' * count)})"
    stored = list(sqlite.Storer(columns).rows(tuples))
    for start in range(0, len(stored), KEYS_PER_STATEMENT):
        part = stored[start : start + KEYS_PER_STATEMENT]
        yield TupleSource(
            sql=f"(VALUES {', '.join([marks] * len(part))}) AS given",
            columns=tuple(f"given.column{i + 1}" for i in range(count)),
            parameters=tuple(value for values in part for value in values),
        )


class RowReader:
    """Reads rows in wire form: all columns of a schema, of a table that is called t."""

    def __init__(self, schema: TableSchema) -> None:
        self._select = f"SELECT {sqlite.select_list(schema)} FROM"
        self._finish = sqlite.to_wire(schema)
        self._unreadable = sqlite.unreadable_to_wire(schema)

    def read(self, session: Session, source: str, parameters: Sequence[Any]) -> list[Row]:
        """The rows of a FROM clause and what follows it."""
        sql = f"{self._select} {source}"
        try:
            rows = session.execute(sql, parameters)
        except UnreadableTextError:
            # Text that is no text comes as bytes: everybody else's rows must still be readable.
            rows = list(map(self._unreadable, session.execute_loosely(sql, parameters)))
        finish = self._finish
        return rows if finish is None else [finish(row) for row in rows]


class TablePlan:
    """The statements of one table in one version of its schema."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.name = schema.name
        self.sql_name = sqlite.quoted(schema.name)
        self._image_to_wire = sqlite.stored_to_wire(schema.columns)
        self.read_key = sqlite_log.log_key_to_wire(schema)
        self._plain_key_text = sqlite_log.plain_key_text(schema)
        self._reader = RowReader(schema)
        self._key_columns = [schema.column[name] for name in schema.key]
        self._key_storer = sqlite.Storer(self._key_columns)
        self._storers: dict[tuple[str, ...], sqlite.Storer] = {}
        self._keys_sql = ", ".join(f"t.{sqlite.quoted(name)}" for name in schema.key)
        self._updates: dict[tuple[str, ...], str] = {}

    # --- Reading ----------------------------------------------------------------------------------

    def rows(self, session: Session, keys: Iterable[Key]) -> list[Row]:
        """The rows of these keys that exist."""
        found: list[Row] = []
        for source in self.key_sources(list(dict.fromkeys(keys))):
            found += self._reader.read(
                session,
                f"{source.sql} CROSS JOIN {self.sql_name} AS t "
                f"ON {self.key_equals(source.columns)}",
                source.parameters,
            )
        return found

    def scan(
        self, session: Session, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> list[Row]:
        """Rows in order of the key, of those that an expression means."""
        return self._in_order(session, self._reader, self._condition(where), after, limit)

    def scan_keys(
        self, session: Session, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> list[Key]:
        """Keys in order, of the rows that an expression means."""
        return self._in_order(session, self._key_reader, self._condition(where), after, limit)

    def find(
        self, session: Session, where: dict[str, Any], *, after: Key | None, limit: int
    ) -> list[Row]:
        """Rows in order of the key whose columns equal `where`."""
        condition = Condition(
            " AND ".join(f"t.{sqlite.quoted(name)} IS ?" for name in where),
            tuple(self._stored(name, value) for name, value in where.items()),
        )
        return self._in_order(session, self._reader, condition, after, limit)

    def _condition(self, where: Expression | None) -> Condition:
        return Condition("") if where is None else condition_of(where, self.schema)

    def _in_order(
        self,
        session: Session,
        reader: RowReader,
        condition: Condition,
        after: Key | None,
        limit: int,
    ) -> list[Row]:
        conditions = [condition.sql] if condition.sql else []
        parameters = [*condition.parameters]
        if after is not None:
            marks = ", ".join("?" * len(after))
            conditions.append(f"({self._keys_sql}) > ({marks})")
            parameters += self.stored_key(after)
        where_sql = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return reader.read(
            session,
            f"{self.sql_name} AS t {where_sql} ORDER BY {self._keys_sql} LIMIT ?",
            (*parameters, limit),
        )

    @cached_property
    def _key_reader(self) -> RowReader:
        return RowReader(msgspec.structs.replace(self.schema, columns=tuple(self._key_columns)))

    def count(self, session: Session, where: Expression | None = None) -> int:
        """How many rows there are, or how many an expression means."""
        condition = self._condition(where)
        where_sql = f"WHERE {condition.sql}" if condition.sql else ""
        text = f"SELECT count(*) FROM {self.sql_name} AS t {where_sql}"
        return int(session.execute(text, condition.parameters)[0][0])

    def largest_key(self, session: Session) -> int:
        """The largest generated key that is, or that SQLite remembers having been. Those which
        reunite would not give do not count."""
        name, top = sqlite.quoted(self.schema.key[0]), self.schema.generated_key_max
        largest = session.execute(f"SELECT max({name}) FROM {self.sql_name} WHERE {name} <= {top}")[
            0
        ][0]
        remembered = sqlite.largest_rowid_given(session.execute, self.name)
        return max(int(largest or 0), remembered if remembered <= top else 0)

    def widest_gap(self, session: Session) -> tuple[int, int] | None:
        """First and last of the most keys in a row that neither the table nor a block holds."""
        name, top = sqlite.quoted(self.schema.key[0]), self.schema.generated_key_max
        found = session.execute(
            f"""
            WITH taken (first, last) AS (
                SELECT {name}, {name} FROM {self.sql_name} WHERE {name} BETWEEN 1 AND {top}
                UNION ALL SELECT first, last FROM reunite_block WHERE table_name = ?
                UNION ALL SELECT {top + 1}, {top + 1}
            ), gap (first, last) AS (
                SELECT 1 + coalesce(max(last) OVER (
                    ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), 0), first - 1 FROM taken
            )
            SELECT first, last FROM gap WHERE first <= last ORDER BY last - first DESC LIMIT 1
            """,
            (self.name,),
        )
        return (int(found[0][0]), int(found[0][1])) if found else None

    def read_image(self, values: Sequence[Any]) -> Row:
        """A row of this version as the log kept it; what the log has beyond its columns is not
        of this table."""
        return self._image_to_wire(values[: len(self.schema.columns)])

    # --- Keys -------------------------------------------------------------------------------------

    def key_equals(self, expressions: Sequence[str]) -> str:
        """The condition that t has this key."""
        return " AND ".join(
            f"t.{sqlite.quoted(name)} = {expression}"
            for name, expression in zip(self.schema.key, expressions, strict=True)
        )

    def key_sources(self, keys: Sequence[Key]) -> Iterator[TupleSource]:
        """Keys as something to select from."""
        return tuple_sources(self._key_columns, keys)

    def stored_key(self, key: Key) -> Key:
        """A key as the database is given it."""
        return self._key_storer.row(key)

    def stored_keys(self, keys: Sequence[Key]) -> Iterable[Key]:
        """Keys as the database is given them."""
        return self._key_storer.rows(keys)

    def log_keys(self, session: Session, keys: Iterable[Key]) -> list[str]:
        """Keys as the triggers write them."""
        keys = list(dict.fromkeys(keys))
        plain = [self._plain_key_text(key) for key in keys]
        texts = [text for text in plain if text is not None]
        odd = [key for key, text in zip(keys, plain, strict=True) if text is None]
        for source in self.key_sources(odd):
            text = sqlite_log.key_image_of_given(self.schema, source.columns)
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

    def stored_rows(self, columns: tuple[str, ...], rows: Sequence[Row]) -> Iterable[Row]:
        """Values of these columns as the database is given them."""
        return self._storer(columns).rows(rows)

    def _storer(self, columns: tuple[str, ...]) -> sqlite.Storer:
        storer = self._storers.get(columns)
        if storer is None:
            storer = sqlite.Storer([self.schema.column[name] for name in columns])
            self._storers[columns] = storer
        return storer

    def _stored(self, name: str, value: Any) -> Any:
        return self._storer((name,)).row((value,))[0]
