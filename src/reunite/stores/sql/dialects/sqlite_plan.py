"""Statements about the rows of one tracked table, in SQLite's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.stored import TAG
from reunite.core.values import Row, Value
from reunite.stores.sql.dialects import sqlite, sqlite_log
from reunite.stores.sql.dialects.sqlite_capture import touch_statement
from reunite.stores.sql.dialects.sqlite_comparing import SqliteComparing
from reunite.stores.sql.dialects.sqlite_reflection import as_expression
from reunite.stores.sql.ports import Session, UnreadableTextError
from reunite.stores.sql.quoting import quoted
from reunite.stores.sql.tables import TablePlan, TupleSource
from reunite.stores.sql.where import Condition

if TYPE_CHECKING:
    from reunite.stores.sql.dialect import Dialect

# Temporary integers lie just above the least one, where no program puts its keys.
_TEMPORARY_INTEGER = -(2**63) + 1

# Keys in one statement where they cannot travel as JSON (blobs, reals, text with NUL, tagged ones).
KEYS_PER_STATEMENT = 200

# What a default is made into, so that it is what an insert would have stored.
_CAST_BY_TYPE = {
    ColumnType.INTEGER: "INTEGER", ColumnType.REAL: "REAL", ColumnType.TEXT: "TEXT",
}  # fmt: skip

_JSON_TYPES = frozenset({
    ColumnType.INTEGER, ColumnType.TEXT, ColumnType.UUID, ColumnType.BOOLEAN,
    ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME,
})  # fmt: skip
_encode = msgspec.json.Encoder().encode


def tuple_sources(
    columns: Sequence[Column], tuples: Sequence[Key], *, tuples_max: int = KEYS_PER_STATEMENT
) -> Iterator[TupleSource]:
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
    for start in range(0, len(stored), tuples_max):
        part = stored[start : start + tuples_max]
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


class SqlitePlan(TablePlan):
    """The statements of one table in one version of its schema."""

    def __init__(self, schema: TableSchema, dialect: Dialect) -> None:
        super().__init__(schema, sql_name=quoted(schema.name))
        self.dialect = dialect
        self.comparing = SqliteComparing()
        self._image_to_wire = sqlite.stored_to_wire(schema.columns)
        self.read_key = sqlite_log.log_key_to_wire(schema)
        self._plain_key_text = sqlite_log.plain_key_text(schema)
        self.reader = RowReader(schema)
        if not schema.generated_key:
            # SQLite lets NULL into most keys. Such a row has no name, so that nobody is told of it.
            self.named = " AND ".join(f"t.{quoted(name)} IS NOT NULL" for name in schema.key)
        self._key_columns = [schema.column[name] for name in schema.key]
        self._key_storer = sqlite.Storer(self._key_columns)
        self._storers: dict[tuple[str, ...], sqlite.Storer] = {}
        self._updates: dict[tuple[str, ...], str] = {}

    # --- Reading ----------------------------------------------------------------------------------

    @cached_property
    def key_reader(self) -> RowReader:  # type: ignore[override]
        return RowReader(msgspec.structs.replace(self.schema, columns=tuple(self._key_columns)))

    def equals(self, name: str, value: Value) -> Condition:
        return Condition(f"t.{quoted(name)} IS ?", (self._stored(name, value),))

    def default_sql(self, name: str) -> str:
        column = self.schema.column[name]
        if column.default is None:
            return "NULL"
        kind = _CAST_BY_TYPE.get(column.type)
        default = as_expression(column.default)
        return default if kind is None else f"CAST({default} AS {kind})"

    def lease(self, session: Session, *, above: int, size: int) -> int:
        name, top = quoted(self.schema.key[0]), self.schema.generated_key_max
        largest = session.execute(f"SELECT max({name}) FROM {self.sql_name} WHERE {name} <= {top}")[
            0
        ][0]
        remembered = sqlite.largest_rowid_given(session.execute, self.name)
        remembered = remembered if remembered <= top else 0
        return max(int(largest or 0), remembered, above, 0) + 1

    # --- The log ----------------------------------------------------------------------------------

    def read_image(self, values: Sequence[Any]) -> Row:
        # What the log has beyond the columns of this version is not of this table.
        return self._image_to_wire(values[: len(self.schema.columns)])

    def image_of(self, columns: Sequence[str]) -> tuple[str, Callable[[Sequence[Any]], Row]]:
        places = [self.schema.position[name] for name in columns]
        return (
            ", ".join(f"c.{sqlite.image_column(place)}" for place in places),
            sqlite.stored_to_wire([self.schema.column[name] for name in columns]),
        )

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

    # --- Keys -------------------------------------------------------------------------------------

    def key_sources(self, keys: Sequence[Key]) -> Iterator[TupleSource]:
        return tuple_sources(self._key_columns, keys)

    def value_sources(self, columns: Sequence[str], tuples: Sequence[Key]) -> Iterator[TupleSource]:
        # One source, or what they find would be in no common order.
        of_schema = [self.schema.column[name] for name in columns]
        return tuple_sources(of_schema, tuples, tuples_max=max(1, len(tuples)))

    def stored_key(self, key: Key) -> Sequence[Any]:
        return self._key_storer.row(key)

    # --- Writing ----------------------------------------------------------------------------------

    def insert(self, session: Session, rows: Sequence[Row], *, is_plain: bool = False) -> int:
        is_tagged = False if is_plain else None
        stored = self._storer(self.schema.column_names).rows(rows, is_tagged=is_tagged)
        return session.executemany(self._insert_sql, stored)

    def update(
        self, session: Session, columns: tuple[str, ...], values: Sequence[Row], keys: Sequence[Key]
    ) -> int:
        stored = self._storer(columns).rows(values)
        rows = [(*row, *self._key_storer.row(key)) for row, key in zip(stored, keys, strict=True)]
        return session.executemany(self._update_sql(columns), rows)

    def set_stored(
        self, session: Session, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        session.executemany(self._update_sql(columns), rows)

    def temporary(self, name: str, token: str, count: int) -> Any:
        match self.schema.column[name].type:
            case ColumnType.INTEGER | ColumnType.REAL | ColumnType.DECIMAL | ColumnType.BOOLEAN:
                return _TEMPORARY_INTEGER + count
            case ColumnType.BLOB:
                return f"reunite:{token}:{count}".encode()
            case _:
                return f"reunite:{token}:{count}"

    def delete(self, session: Session, keys: Sequence[Key]) -> int:
        return session.executemany(self._delete_sql, self._key_storer.rows(keys))

    def touch(self, session: Session, keys: Sequence[Key]) -> None:
        for source in self.key_sources(keys):
            session.execute(
                touch_statement(
                    self.schema,
                    f"{source.sql} CROSS JOIN {self.sql_name} AS t",
                    self.key_equals(source.columns),
                    outbox=False,
                ),
                source.parameters,
            )

    @cached_property
    def _insert_sql(self) -> str:
        """INSERT with a mark for each column."""
        names = ", ".join(map(quoted, self.schema.column_names))
        marks = ", ".join("?" * len(self.schema.columns))
        return f"INSERT INTO {self.sql_name} ({names}) VALUES ({marks})"

    def _update_sql(self, columns: tuple[str, ...]) -> str:
        """UPDATE of these columns, then the key."""
        if columns not in self._updates:
            sets = ", ".join(f"{quoted(name)} = ?" for name in columns)
            self._updates[columns] = f"UPDATE {self.sql_name} AS t SET {sets} WHERE {self._by_key}"
        return self._updates[columns]

    @cached_property
    def _delete_sql(self) -> str:
        """DELETE by key."""
        return f"DELETE FROM {self.sql_name} AS t WHERE {self._by_key}"

    @cached_property
    def _by_key(self) -> str:
        return self.key_equals(["?"] * len(self.schema.key))

    def _storer(self, columns: tuple[str, ...]) -> sqlite.Storer:
        storer = self._storers.get(columns)
        if storer is None:
            storer = sqlite.Storer([self.schema.column[name] for name in columns])
            self._storers[columns] = storer
        return storer

    def _stored(self, name: str, value: Any) -> Any:
        return self._storer((name,)).row((value,))[0]
