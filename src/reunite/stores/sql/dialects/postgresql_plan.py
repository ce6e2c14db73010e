"""Statements about the rows of one tracked table, in PostgreSQL's words.

Rows come as psycopg reads them, and go as one JSON text a statement, which PostgreSQL takes apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.stored import TAG
from reunite.core.values import Row, Value
from reunite.stores.sql.dialects.postgresql_capture import key_sql
from reunite.stores.sql.dialects.postgresql_comparing import PostgresComparing
from reunite.stores.sql.dialects.postgresql_reflection import PgColumn, PgTable
from reunite.stores.sql.dialects.postgresql_values import (
    ROW_UNNEEDED,
    copied,
    image_reader,
    possible_keys,
    records,
    recordset,
    row_sql,
    row_step,
    stored_value,
    utc_text,
)
from reunite.stores.sql.dialects.sqlite import PatternReader
from reunite.stores.sql.ports import Session
from reunite.stores.sql.quoting import literal, quoted
from reunite.stores.sql.tables import TablePlan, TupleSource
from reunite.stores.sql.where import Condition

if TYPE_CHECKING:
    from reunite.stores.sql.dialect import Dialect

# Keys that a lease passes over, so that what other programs draw meanwhile lies before the block.
LEASE_MARGIN = 20

# Fewer rows go as JSON: COPY takes a turn more.
COPY_ROWS_MIN = 20

# Key columns whose wire form is what the log has, with the values that need nothing done to them:
# keys are read by the thousand, and one that is none of these (an integer that JSON cannot carry is
# a text) is read step by step. A text that needs something has TAG.
_PLAIN_KEYS: Mapping[ColumnType, type] = MappingProxyType(
    {
        ColumnType.INTEGER: int,
        ColumnType.TEXT: str,
        ColumnType.BOOLEAN: bool,
        ColumnType.UUID: str,
    }
)


class RowReader:
    """Reads rows in wire form: some columns of a table that is called t."""

    def __init__(self, columns: Sequence[tuple[PgColumn, Column]]) -> None:
        values = [
            row_sql(column, of_schema.type, f"t.{quoted(column.name)}")
            for column, of_schema in columns
        ]
        # The types are named so that altered ones make another statement: what a prepared one
        # gives cannot change its type.
        types_sql = ", ".join(column.sql.replace("*/", "") for column, _ in columns)
        self._select = f"SELECT /* {types_sql} */ {', '.join(values)} FROM"
        types = [of_schema.type for _, of_schema in columns]
        self._reader = PatternReader(types, row_step, ROW_UNNEEDED)

    def read(self, session: Session, source: str, parameters: Sequence[Any]) -> list[Row]:
        """The rows of a FROM clause and what follows it."""
        return self._reader.read_all(session.execute(f"{self._select} {source}", parameters))


class FormerPlan(TablePlan):
    """A table in a former version: only what was logged of it can be read."""

    def __init__(self, schema: TableSchema, dialect: Dialect, *, sql_name: str = "") -> None:
        super().__init__(schema, sql_name=sql_name or quoted(schema.name))
        self.dialect = dialect
        self._key_columns = [schema.column[name] for name in schema.key]
        self._key_decoder = _key_decoder(self._key_columns)
        self._read_image = image_reader(schema.columns)

    def read_key(self, text: str) -> Key:
        """A key as a trigger has written it."""
        if self._key_decoder is None or TAG in text:
            return self._read_key_in_steps(text)
        try:
            return self._key_decoder.decode(text)
        except msgspec.ValidationError:
            return self._read_key_in_steps(text)

    def _read_key_in_steps(self, text: str) -> Key:
        values = zip(self._key_columns, json.loads(text), strict=True)
        return tuple(_key_value(column, value) for column, value in values)

    def read_image(self, values: Sequence[Any]) -> Row:
        return self._read_image(values[0])

    def image_of(self, columns: Sequence[str]) -> tuple[str, Callable[[Sequence[Any]], Row]]:
        read = image_reader([self.schema.column[name] for name in columns])
        return "c.old", lambda values: read(values[0])

    def _is_former(self) -> TypeError:
        return TypeError(f"{self.name!r} is here as it was once: it has no rows.")

    def key_sources(self, keys: Sequence[Key]) -> Iterator[TupleSource]:
        raise self._is_former()

    def value_sources(self, columns: Sequence[str], tuples: Sequence[Key]) -> Iterator[TupleSource]:
        raise self._is_former()

    def stored_key(self, key: Key) -> Sequence[Any]:
        raise self._is_former()

    def equals(self, name: str, value: Value) -> Condition:
        raise self._is_former()

    def log_keys(self, session: Session, keys: Iterable[Key]) -> list[str]:
        """Keys as the triggers write them, of types for which the database need not be asked; of
        others what JSON has of them, which may be another text than the trigger's."""
        return [
            json.dumps(list(map(_lower, self._key_columns, key)), ensure_ascii=False)
            for key in dict.fromkeys(keys)
        ]

    def default_sql(self, name: str) -> str:
        raise self._is_former()

    def lease(self, session: Session, *, above: int, size: int) -> int:
        raise self._is_former()

    def insert(self, session: Session, rows: Sequence[Row], *, is_plain: bool = False) -> int:
        raise self._is_former()

    def update(
        self, session: Session, columns: tuple[str, ...], values: Sequence[Row], keys: Sequence[Key]
    ) -> int:
        raise self._is_former()

    def set_stored(
        self, session: Session, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        raise self._is_former()

    def temporary(self, name: str, token: str, count: int) -> Any:
        raise self._is_former()

    def delete(self, session: Session, keys: Sequence[Key]) -> int:
        raise self._is_former()

    def touch(self, session: Session, keys: Sequence[Key]) -> None:
        raise self._is_former()


def _key_decoder(columns: Sequence[Column]) -> msgspec.json.Decoder[Key] | None:
    types = tuple(_PLAIN_KEYS.get(column.type) for column in columns)
    return None if None in types else msgspec.json.Decoder(tuple[types])  # type: ignore[valid-type]


def _key_value(column: Column, value: Any) -> Any:
    if column.type is ColumnType.DATETIME and isinstance(value, str):
        return utc_text(value)
    step = row_step(column.type, type(value))
    try:
        return value if step is None else step(value)
    except (TypeError, ValueError):
        return value  # written between an ALTER TYPE and the first look of ours that follows it


class PostgresPlan(FormerPlan):
    """The statements of one table as it is now."""

    def __init__(self, schema: TableSchema, dialect: Dialect, details: PgTable) -> None:
        super().__init__(schema, dialect, sql_name=details.relation.sql)
        self._details = details
        self._columns = [
            (details.columns[column.name], column)
            for column in schema.columns
            if column.name in details.columns
        ]
        self._keys = [(details.columns[name], schema.column[name]) for name in schema.key]
        self.comparing = PostgresComparing(details.columns)
        self.reader = RowReader(self._columns)
        # NOWAIT is not needed: locks are taken in order of the key.
        self.locking = f"ORDER BY {self.keys_sql} FOR UPDATE OF t"

    @cached_property
    def key_reader(self) -> RowReader:  # type: ignore[override]
        return RowReader(self._keys)

    # --- Keys -------------------------------------------------------------------------------------

    def key_sources(self, keys: Sequence[Key]) -> Iterator[TupleSource]:
        # The log also has keys of before a migration: one that is none of today's names no row,
        # and PostgreSQL would refuse all of them.
        return self.value_sources(self.schema.key, possible_keys(self._keys, keys))

    def value_sources(self, columns: Sequence[str], tuples: Sequence[Key]) -> Iterator[TupleSource]:
        if tuples:
            of_schema = [self.schema.column[name] for name in columns]
            known = [(self._details.columns[column.name], column) for column in of_schema]
            source, values = recordset(known, "g")
            given = ", ".join(f"{x} AS k{place}" for place, x in enumerate(values))
            yield TupleSource(
                sql=f"(SELECT {given} FROM {source}) AS given",
                columns=tuple(f"given.k{place}" for place in range(len(values))),
                parameters=(records(of_schema, tuples),),
            )

    def stored_key(self, key: Key) -> Sequence[Any]:
        return [
            stored_value(column, value)
            for column, value in zip(self._key_columns, key, strict=True)
        ]

    def equals(self, name: str, value: Value) -> Condition:
        x, column = f"t.{quoted(name)}", self.schema.column[name]
        if value is None:
            return Condition(f"{x} IS NULL")
        if column.type is ColumnType.JSON or column.type is ColumnType.ANY:
            return Condition(f"to_jsonb({x}) = ?::jsonb", (stored_value(column, value),))
        mark = f"?::{self._details.columns[name].sql}"
        return Condition(f"{x} = {mark}", (stored_value(column, value),))

    def log_keys(self, session: Session, keys: Iterable[Key]) -> list[str]:
        if all(column.type in _PLAIN_KEYS for column in self._key_columns):
            return super().log_keys(session, keys)
        keys = list(dict.fromkeys(keys))
        return [
            text
            for source in self.key_sources(keys)
            for (text,) in session.execute(
                f"SELECT {key_sql(self.schema, self._details, source.columns)} FROM {source.sql}",
                source.parameters,
            )
        ]

    def default_sql(self, name: str) -> str:
        default = self.schema.column[name].default or "NULL"
        return f"CAST({default} AS {self._details.columns[name].sql})"

    def lease(self, session: Session, *, above: int, size: int) -> int:
        name, top = quoted(self.schema.key[0]), self.schema.generated_key_max
        # One at a time: drawing and setting the sequence are two steps.
        session.execute("SELECT pg_advisory_xact_lock(x'6b657973'::int, hashtext(?))", (self.name,))
        (largest,) = session.execute(
            f"SELECT max({name}) FROM {self.sql_name} WHERE {name} <= {top}"
        )[0]
        first = max(largest or 0, above, 0) + 1
        (sequence,) = session.execute(
            "SELECT pg_get_serial_sequence(?, ?)", (self.sql_name, self.schema.key[0])
        )[0]
        if sequence is None:
            return first
        (given,) = session.execute(
            "SELECT coalesce(pg_sequence_last_value(?::text::regclass), 0)", (sequence,)
        )[0]
        if given > above:  # other programs draw from it
            first = max(first, given + 1 + LEASE_MARGIN)
        if first + size - 1 <= top:
            session.execute("SELECT setval(?::text::regclass, ?)", (sequence, first + size - 1))
        return int(first)

    # --- Writing ----------------------------------------------------------------------------------

    @cached_property
    def _insert_sql(self) -> str:
        names = ", ".join(quoted(column.name) for column, _ in self._columns)
        source, values = recordset(self._columns, "g")
        return (
            f"INSERT INTO {self.sql_name} ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {', '.join(values)} FROM {source}"
        )

    @cached_property
    def _copy_sql(self) -> str | None:
        """A fifth faster than JSON, where values are printed alike for both."""
        json_types = (ColumnType.JSON, ColumnType.ANY)
        if not self._details.takes_copy or any(
            of_schema.type in json_types and column.base not in ("json", "jsonb")
            for column, of_schema in self._columns
        ):
            return None
        names = ", ".join(quoted(column.name) for column, _ in self._columns)
        return f"COPY {self.sql_name} ({names}) FROM STDIN"

    def insert(self, session: Session, rows: Sequence[Row], *, is_plain: bool = False) -> int:
        given = None
        if self._copy_sql is not None and len(rows) >= COPY_ROWS_MIN:
            given = copied(self.schema.columns, rows)
        if self._copy_sql is None or given is None:
            return session.execute_counted(self._insert_sql, (records(self.schema.columns, rows),))
        return session.executemany(self._copy_sql, given)

    def update(
        self, session: Session, columns: tuple[str, ...], values: Sequence[Row], keys: Sequence[Key]
    ) -> int:
        given = [(self._details.columns[name], self.schema.column[name]) for name in columns]
        source, stored = recordset([*given, *self._keys], "g")
        sets = ", ".join(f"{quoted(name)} = {x}" for name, x in zip(columns, stored, strict=False))
        rows = [(*row, *key) for row, key in zip(values, keys, strict=True)]
        return session.execute_counted(
            f"UPDATE {self.sql_name} AS t SET {sets} FROM {source} "
            f"WHERE {self.key_equals(stored[len(columns) :])}",
            (records([column for _, column in [*given, *self._keys]], rows),),
        )

    def set_stored(
        self, session: Session, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        sets = ", ".join(f"{quoted(name)} = ?" for name in columns)
        keys = self.key_equals(["?"] * len(self.schema.key))
        session.executemany(f"UPDATE {self.sql_name} AS t SET {sets} WHERE {keys}", rows)

    def delete(self, session: Session, keys: Sequence[Key]) -> int:
        return sum(
            session.execute_counted(
                f"DELETE FROM {self.sql_name} AS t USING {source.sql} "
                f"WHERE {self.key_equals(source.columns)}",
                source.parameters,
            )
            for source in self.key_sources(keys)
        )

    def touch(self, session: Session, keys: Sequence[Key]) -> None:
        own = [f"t.{quoted(name)}" for name in self.schema.key]
        for source in self.key_sources(keys):
            session.execute(
                "INSERT INTO reunite_change (txid, table_name, schema, op, key, old) "
                f"SELECT pg_current_xact_id()::text::bigint, {literal(self.name)}, "
                f"{self.schema.version}, '{Op.UPDATE}', "
                f"{key_sql(self.schema, self._details, own)}, row_to_json(t)::text "
                f"FROM {source.sql} JOIN {self.sql_name} AS t "
                f"ON {self.key_equals(source.columns)}",
                source.parameters,
            )

    def temporary(self, name: str, token: str, count: int) -> Any:
        match self.schema.column[name].type:
            case ColumnType.INTEGER | ColumnType.REAL | ColumnType.DECIMAL:
                bits = 15 if self._details.columns[name].base == "int2" else 31
                return -(2**bits) + count
            case ColumnType.BLOB:
                return f"{token}:{count}".encode()
            case ColumnType.UUID:
                return f"{token[:8]}-{token[8:12]}-{token[12:16]}-0000-{count:012x}"
            case _:
                return f"{token}:{count}"


def _lower(column: Column, value: Any) -> Any:
    """A value of a key as the log spells it."""
    if column.type is ColumnType.UUID and isinstance(value, str):
        return value.lower()
    return value
