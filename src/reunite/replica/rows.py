"""Rows of a replica's own tables: reading them in wire form, writing them, and their log images.

One mapping for hub and replica: the forms of values are those of `stores/sql/dialects/sqlite.py`.
Everything runs in the caller's transaction, with triggers suspended and foreign keys off.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.stored import SAFE_INTEGER_MAX
from reunite.core.values import Row, parse_integer
from reunite.replica.pending import Pending
from reunite.stores.sql.database import reading_loosely, translated
from reunite.stores.sql.dialects.sqlite import Storer, select_list, to_wire, unreadable_to_wire
from reunite.stores.sql.dialects.sqlite_log import (
    are_plain,
    image,
    key_image,
    key_to_log,
    log_key_to_wire,
    log_to_wire,
    logs_to_wire,
    wire_to_log,
)
from reunite.stores.sql.dialects.sqlite_tables import create_index_sql
from reunite.stores.sql.ports import UnreadableTextError
from reunite.stores.sql.quoting import quoted


class RowForms:
    """The forms of rows of a replica's tables, in every version that the outbox may hold.

    schemas      the tables in their current versions
    versions     (table, version) → schema, also of versions that are gone
    """

    def __init__(
        self,
        schemas: Mapping[str, TableSchema],
        versions: Mapping[tuple[str, int], TableSchema],
    ) -> None:
        self._schemas = schemas
        self._versions = versions
        self._readers: dict[tuple[str, int], Callable[[str], Row]] = {}
        self._many_readers: dict[tuple[str, int], Callable[[Sequence[str]], list[Row]]] = {}
        self._plain: dict[tuple[str, int], Callable[[bytes], bool]] = {}
        self._printers: dict[str, Callable[[Row], str]] = {}
        self._key_readers: dict[str, Callable[[str], Key]] = {}
        self._key_printers: dict[str, Callable[[Key], str]] = {}

    def reader(self, table: str, version: int) -> Callable[[str], Row]:
        """What reads images of this version, as rows of the current one."""
        reader = self._readers.get((table, version))
        if reader is None:
            reader = self._readers[table, version] = self._new_reader(table, version)
        return reader

    def _new_reader(self, table: str, version: int) -> Callable[[str], Row]:
        current = self._schemas[table]
        logged = self._versions.get((table, version), current)
        read = log_to_wire(logged)
        if logged.column_names == current.column_names:
            return read
        places = [logged.position.get(name) for name in current.column_names]

        def translated(text: str) -> Row:
            row = read(text)
            return tuple(None if place is None else row[place] for place in places)

        return translated

    def read_images(self, table: str, version: int, texts: Sequence[str]) -> list[Row]:
        """Images of this version, read together, as rows of the current one."""
        logged = self._versions.get((table, version), self._schemas[table])
        if logged.column_names != self._schemas[table].column_names:
            return list(map(self.reader(table, version), texts))
        many = self._many_readers.get((table, version))
        if many is None:
            many = self._many_readers[table, version] = logs_to_wire(logged)
        return many(texts)

    def are_plain(self, table: str, version: int, rows: bytes) -> bool:
        """Whether an array of images of this version is one of rows of the current one, in wire
        form, as it stands. In doubt not."""
        logged = self._versions.get((table, version), self._schemas[table])
        if logged.column_names != self._schemas[table].column_names:
            return False
        tell = self._plain.get((table, version))
        if tell is None:
            tell = self._plain[table, version] = are_plain(logged)
        return tell(rows)

    def log_text(self, table: str, row: Row | None) -> str | None:
        """A row as the log keeps it, in the current version."""
        if row is None:
            return None
        printer = self._printers.get(table)
        if printer is None:
            printer = self._printers[table] = wire_to_log(self._schemas[table])
        return printer(row)

    def read_key(self, table: str, text: str) -> Key:
        """A key as the log keeps it."""
        reader = self._key_readers.get(table)
        if reader is None:
            reader = self._key_readers[table] = log_key_to_wire(self._schemas[table])
        return reader(text)

    def key_text(self, table: str, key: Key) -> str:
        """A key as the log keeps it; the inverse of `read_key`."""
        printer = self._key_printers.get(table)
        if printer is None:
            printer = self._key_printers[table] = key_to_log(self._schemas[table])
        return printer(key)

    def exists(self, connection: sqlite3.Connection, schema: TableSchema, key: Key) -> bool:
        """Whether the table has a row of this key."""
        text = f"select exists (select 1 from {quoted(schema.name)} where {_where(schema)})"
        return bool(connection.execute(text, stored_key(schema, key)).fetchone()[0])

    def read(self, connection: sqlite3.Connection, schema: TableSchema, key: Key) -> Row | None:
        """The row of this key, in wire form."""
        text = (
            f"select {select_list(schema)} from {quoted(schema.name)} as t where {_where(schema)}"
        )
        rows = list(_read(connection, schema, text, stored_key(schema, key)))
        return rows[0] if rows else None

    def image_reader(
        self, connection: sqlite3.Connection, schema: TableSchema
    ) -> Callable[[str], str | None]:
        """What reads rows as the log would keep them now, by keys as the log keeps them; None for
        a key that no row has, to the letter."""
        text = (
            f"select {image(schema, 't')} from {quoted(schema.name)} as t where {_where(schema)} "
            f"and {key_image(schema, 't')} = ?"
        )

        def read_image(log_key: str) -> str | None:
            stored = stored_key(schema, self.read_key(schema.name, log_key))
            found = connection.execute(text, (*stored, log_key)).fetchone()
            return None if found is None else found[0]

        return read_image

    def read_all(self, connection: sqlite3.Connection, schema: TableSchema) -> Iterator[Row]:
        """Every row of the table, in wire form."""
        text = f"select {select_list(schema)} from {quoted(schema.name)} as t"
        finish, unreadable = to_wire(schema), unreadable_to_wire(schema)
        with reading_loosely(connection):
            for row in connection.execute(text):
                readable = unreadable(row) if bytes in map(type, row) else row
                yield readable if finish is None else finish(readable)

    def read_keys(self, connection: sqlite3.Connection, schema: TableSchema) -> Iterator[Key]:
        """The key of every row, in wire form."""
        columns = tuple(schema.column[name] for name in schema.key)
        yield from self.read_all(connection, msgspec.structs.replace(schema, columns=columns))

    def key_above_all(
        self, connection: sqlite3.Connection, table: str, pendings: Iterable[Pending]
    ) -> int:
        """The first generated key above all that the file and the outbox hold; very large ones,
        above which there may be none, do not count."""
        schema = self._schemas[table]
        name, top = quoted(schema.key[0]), SAFE_INTEGER_MAX
        found = connection.execute(
            f"select max({name}) from {quoted(table)} where {name} < {top}"
        ).fetchone()[0]
        keys = [
            parse_integer(key[0])
            for pending in pendings
            if pending.table == table
            for key in (pending.key, pending.source)
        ]
        return max([found or 0, *(key for key in keys if key < top)]) + 1

    def writer(self, connection: sqlite3.Connection, schema: TableSchema) -> TableWriter:
        """What writes rows of this table."""
        return TableWriter(connection, schema)

    def drop_unique_indexes(self, connection: sqlite3.Connection) -> None:
        """Drop the unique indexes that reunite made; `create_indexes` brings them back."""
        for (name,) in connection.execute(
            "select name from sqlite_master where type = 'index'"
            " and name like 'reunite\\_%' escape '\\' and sql like 'create unique%'"
        ).fetchall():
            connection.execute(f"drop index {quoted(name)}")

    def create_indexes(self, connection: sqlite3.Connection) -> None:
        """Make the indexes of all tables, where they are missing.

        A unique one that the rows do not allow is left out: a page always applies, and the next
        one that passes here tries again.
        """
        missing = (
            statement for schema in self._schemas.values() for statement in create_index_sql(schema)
        )
        for statement in missing:
            with suppress(sqlite3.IntegrityError):
                connection.execute(statement)


class TableWriter:
    """Writes the hub's rows, and rows with pending changes on top, into one table."""

    def __init__(self, connection: sqlite3.Connection, schema: TableSchema) -> None:
        self._connection = connection
        table = quoted(schema.name)
        columns = ", ".join(quoted(name) for name in schema.column_names)
        marks = ", ".join("?" * len(schema.columns))
        self._insert = f"insert into {table} ({columns}) values ({marks})"
        # The hub's rows agree on unique values: a row in the way is one that this page changes.
        self._put = f"insert or replace into {table} ({columns}) values ({marks})"
        self._delete = f"delete from {table} where {_where(schema)}"
        self._clear = f"delete from {table}"
        self._storer = Storer(schema.columns)
        self._key_storer = Storer([schema.column[name] for name in schema.key])

    def clear(self) -> None:
        """Delete every row."""
        self._connection.execute(self._clear)

    def delete(self, keys: Collection[Key]) -> None:
        """Delete the rows of these keys; a set of them in the table's order, which is faster."""
        in_order = sorted(keys, key=place_in_order) if isinstance(keys, set) else list(keys)
        self._connection.executemany(self._delete, self._key_storer.rows(in_order))

    def write(
        self, gone: Collection[Key], puts: Sequence[Row], *, is_tagged: bool | None = None
    ) -> None:
        """Deletes before puts; a put replaces what is under its key. `is_tagged` says whether
        there may be a tagged value in the rows; None: look."""
        if gone:
            self.delete(gone)
        if puts:
            rows = self._storer.rows(puts, is_tagged=is_tagged)
            self._connection.executemany(self._put, rows)

    def replace(self, keys: Collection[Key], rows: Sequence[Row]) -> bool:
        """Instead of the rows of `keys`, write these; False, with nothing done, if one fails."""
        try:
            with _savepoint(self._connection):
                self.delete(keys)
                self._connection.executemany(self._insert, self._to_stored(rows))
        except sqlite3.IntegrityError:
            return False
        return True

    def replace_one_by_one(
        self, order: Sequence[Key], rows: Mapping[Key, Row | None]
    ) -> Key | None:
        """The same; the key of the first row that is refused, with nothing done."""
        refused: Key | None = None
        try:
            with _savepoint(self._connection):
                self.delete(order)
                for key in order:
                    row = rows[key]
                    if row is not None:
                        refused = key
                        self._connection.executemany(self._insert, self._to_stored([row]))
        except sqlite3.IntegrityError:
            return refused
        return None

    def _to_stored(self, rows: Sequence[Row]) -> Iterable[Row]:
        return self._storer.rows(rows)


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("savepoint reunite_show")
    try:
        yield
    except BaseException:
        # Some errors (a full disk) have rolled everything back already.
        if connection.in_transaction:
            connection.execute("rollback to reunite_show")
            connection.execute("release reunite_show")
        raise
    connection.execute("release reunite_show")


def _where(schema: TableSchema) -> str:
    return " and ".join(f"{quoted(name)} = ?" for name in schema.key)


def place_in_order(key: Key) -> tuple[tuple[bool, Any], ...]:
    """What sorts keys nearly as their tables do. Where rows are many, their order counts: SQLite
    reads and writes each page once, or for each row another one."""
    return tuple([(isinstance(value, str), value) for value in key])


def stored_key(schema: TableSchema, key: Key) -> Row:
    """A key as SQLite is given it."""
    return Storer([schema.column[name] for name in schema.key]).row(key)


def _read(
    connection: sqlite3.Connection, schema: TableSchema, text: str, parameters: Sequence[object]
) -> Iterator[Row]:
    """Rows that `select_list` has selected, in wire form."""
    finish = to_wire(schema)
    try:
        with translated():
            rows = connection.execute(text, parameters).fetchall()
    except UnreadableTextError:
        unreadable = unreadable_to_wire(schema)
        with reading_loosely(connection):
            rows = [unreadable(row) for row in connection.execute(text, parameters)]
    return iter(rows if finish is None else map(finish, rows))
