"""The database of a DSNSync: a hub over it, the tables of records that it has, and its tokens.

    dsn_sync_tables    one row for each table of records: its key field, whether it is declared;
                       pages have it, too
    dsn_sync_door      the tokens that open the door, encrypted
    users, …           the records themselves, tracked by the hub

The rule           whoever opens the database again has all of it: tables, records and tokens.
"""

from __future__ import annotations

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from reunite.core.change import Op
from reunite.core.policy import Named, Policy
from reunite.core.principal import Principal
from reunite.dropin.dsn_sync.handlers import Handlers
from reunite.dropin.dsn_sync.records import (
    KEY,
    MADE,
    OPEN_KEY_FIELD,
    TABLES,
    RecordTable,
    add_field,
    check_fields,
    create_table,
    quoted,
    upsert,
    value_of,
)
from reunite.errors import CallerError, StorageUnavailableError
from reunite.hub import Hub, random_id

_DOOR = "dsn_sync_door"
_OWN_TABLES = (
    f"create table if not exists {TABLES} (name varchar(63) not null primary key, "  # noqa: ISC004
    "key_field text not null, is_declared integer not null)",
    f"create table if not exists {_DOOR} (id integer not null primary key, sealed text not null)",
)

# Seconds that a database may take to answer, before it counts as one that is not there.
CONNECT_S_MAX = 10

# Who wrote, in the history, when it was the backend.
BACKEND = "backend"


class _Declared(Policy):
    """Pages may do everything with the records of a declared table but make one that is there:
    then its maker would be another one; or give one another key, of which no handler is told."""

    def read(self, principal: Principal) -> bool:
        return True

    def insert(self, principal: Principal, row: Named) -> bool:
        return True

    def update(self, principal: Principal, old: Named, new: Named) -> bool:
        return bool(old[MADE] == new[MADE] and old[KEY] == new[KEY])

    def delete(self, principal: Principal, row: Named) -> bool:
        return True


class _Open(Policy):
    """Pages only read what was never declared."""

    def read(self, principal: Principal) -> bool:
        return True


class Storage:
    """One database, opened. Raises ReuniteError if it cannot be. `close` may be called twice.

    place    the path of an SQLite file, `sqlite:///…` or `postgresql://…`
    """

    def __init__(self, place: str, handlers: Handlers) -> None:
        self.place = place
        self._handlers = handlers
        self._hooked: set[str] = set()
        self._is_postgresql = _is_postgresql(place)
        for statement in _OWN_TABLES:
            self.define(statement)  # makes the file of a new SQLite database
        self.hub = Hub(place)
        try:
            # Pages read what tables there are; and a database that tracks something is a hub.
            self.hub.track(TABLES, policy=_Open())
            self.tables = self._load()
            for table in self.tables.values():
                self._track(table)
        except BaseException:
            self.hub.close()
            raise

    def close(self) -> None:
        self.hub.close()

    # -- tables -------------------------------------------------------------------------------

    def declare(self, name: str, key_field: str, fields: Sequence[str]) -> None:
        """Have this table with these fields, for pages to write to. Raises ValueError."""
        table = self.tables.get(name)
        if table is None:
            self._make(RecordTable(name, key_field, [], is_declared=True))
            table = self.tables[name]
        elif not table.is_declared:
            extra = [field for field in table.fields if field not in (key_field, *fields)]
            if extra:
                raise ValueError(
                    f"Data was synced to {name!r} before it was declared, with fields that the "
                    f"schema does not have: {', '.join(map(repr, extra))}. Add them to its fields."
                )
        if key_field in table.fields:
            self._empty_key_field(table, key_field)
        self._extend(table, fields)
        if not table.is_declared or table.key_field != key_field:
            table.key_field, table.is_declared = key_field, True
            self._write_down(table)
            self._track(table)

    def _empty_key_field(self, table: RecordTable, field: str) -> None:
        """What was a field becomes the key field: records synced before have their key in it, or
        nothing. Raises ValueError if one has something else."""
        for key, text in self.define(f"select {KEY}, {quoted(field)} from {quoted(table.name)}"):
            if text is not None and value_of(field, text) != key:
                raise ValueError(
                    f"The field {field!r} of the record {key!r} in {table.name!r} is not its key. "
                    "Choose another key field."
                )
        with self.hub.acting_as(BACKEND) as connection:
            connection.execute(f"update {quoted(table.name)} set {quoted(field)} = null")

    def open(self, name: str, fields: Sequence[str]) -> RecordTable:
        """The table for a record of the backend with these fields. One that was never declared is
        open: it is made, and takes every field. Raises ValueError for fields that a declared one
        does not have."""
        table = self.tables.get(name)
        if table is None:
            self._make(RecordTable(name, OPEN_KEY_FIELD, [], is_declared=False))
            table = self.tables[name]
        self._extend(table, [] if self.known(table, fields) else table.missing(fields))
        return table

    @staticmethod
    def known(table: RecordTable, fields: Sequence[str]) -> RecordTable | None:
        """The table if it has these fields, None if it is an open one that does not have them yet.
        Raises ValueError for fields that a declared one does not have."""
        unknown = table.missing(fields)
        if unknown and table.is_declared:
            raise ValueError(
                f"The table {table.name!r} has no field {unknown[0]!r}, but "
                f"{', '.join(table.fields)}: declare it with define_table first."
            )
        return None if unknown else table

    def _make(self, table: RecordTable) -> None:
        try:
            self.define(create_table(table.name))
        except StorageUnavailableError as error:
            raise ValueError(
                f"The database cannot make a table {table.name!r}: {error}. If it has one of its "
                "own, choose another name."
            ) from error
        self.tables[table.name] = table
        self._write_down(table)
        self._track(table)

    def _extend(self, table: RecordTable, fields: Sequence[str]) -> None:
        new = table.missing(fields)
        if not new:
            return
        check_fields([*table.fields, *new])
        for field in new:
            self.define(add_field(table.name, field))
            table.fields.append(field)
        self._track(table)

    def _track(self, table: RecordTable) -> None:
        policy = _Declared() if table.is_declared else _Open()
        # A second create must not find a record that took over its maker.
        # Fields are declared one by one: whatever they look like, they were named.
        schema = self.hub.track(
            table.name, policy=policy, merge={MADE: "replica_wins"}, include=table.fields or None
        )
        table.fields = [name for name in schema.column_names if name not in (KEY, MADE)]
        if table.name not in self._hooked:
            self._hooked.add(table.name)
            for op, add in (
                (Op.INSERT, self.hub.on_insert),
                (Op.UPDATE, self.hub.on_update),
                (Op.DELETE, self.hub.on_delete),
            ):
                add(table.name)(self._handlers.hook(table, op))

    def _load(self) -> dict[str, RecordTable]:
        found = self.define(f"select name, key_field, is_declared from {TABLES} order by name")
        return {
            name: RecordTable(name, key_field, [], is_declared=bool(is_declared))
            for name, key_field, is_declared in found
        }

    def _write_down(self, table: RecordTable) -> None:
        self.define(
            f"insert into {TABLES} (name, key_field, is_declared) values (?, ?, ?) on conflict "
            "(name) do update set key_field = excluded.key_field, "
            "is_declared = excluded.is_declared",
            (table.name, table.key_field, int(table.is_declared)),
        )

    # -- records ------------------------------------------------------------------------------

    def put(self, table: RecordTable, key: str, texts: Mapping[str, str], *, replace: bool) -> None:
        """Write a record, in the transaction of the handler that runs in this thread, or in one of
        its own."""
        emptied = [field for field in table.fields if field not in texts] if replace else []
        mark = "%s" if self._is_postgresql else "?"
        statement = upsert(table, list(texts), emptied, mark)
        values = (key, random_id(), *texts.values())
        connection = self._handlers.connection
        if connection is not None:
            connection.execute(statement, values)
            return
        with self.hub.acting_as(BACKEND) as connection:
            connection.execute(statement, values)

    # -- tokens -------------------------------------------------------------------------------

    def read(self) -> bytes | None:
        """The tokens as they were written last."""
        found = self.define(f"select sealed from {_DOOR} where id = 1")
        return b64decode(found[0][0]) if found else None

    def replace(self, known: bytes | None, data: bytes) -> bool:
        """Keep the tokens, if they still stand as they are `known`; whether they did. Another
        object over this database may have written them meanwhile."""
        text = b64encode(data).decode()
        if known is None:
            insert = f"insert into {_DOOR} (id, sealed) values (1, ?) on conflict do nothing"
            return bool(self.define(f"{insert} returning id", (text,)))
        update = f"update {_DOOR} set sealed = ? where id = 1 and sealed = ? returning id"
        return bool(self.define(update, (text, b64encode(known).decode())))

    # -- connections --------------------------------------------------------------------------

    def define(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement on a connection of its own; its rows. Raises CallerError in a handler
        that runs in this thread: it would wait for its own transaction."""
        if self._handlers.connection is not None:
            raise CallerError(
                "A handler cannot make tables or fields: declare them with define_table before."
            )
        if self._is_postgresql:
            statement = statement.replace("?", "%s")
        with self._connected() as execute:
            cursor = execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def _connected(self) -> Iterator[Callable[[str, Sequence[Any]], Any]]:
        if self._is_postgresql:
            import psycopg

            url = self.place.replace("postgresql+psycopg:", "postgresql:", 1)
            with (
                _translated(psycopg.Error),
                psycopg.connect(url, connect_timeout=CONNECT_S_MAX) as connection,
            ):
                yield connection.execute
            return
        path = self.place.removeprefix("sqlite:///")
        with _translated(sqlite3.Error), closing(sqlite3.connect(path, timeout=60)) as db, db:
            yield db.execute


def _is_postgresql(place: Any) -> bool:
    """Raises CallerError for what is neither an SQLite file nor PostgreSQL."""
    if not isinstance(place, str) or not place:
        raise CallerError("A database is the path of an SQLite file, or a URL of PostgreSQL.")
    scheme = place.partition("://")[0] if "://" in place else "sqlite"
    if scheme == "sqlite":
        return False
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return True
    raise CallerError(
        f"{scheme}:// is no database that this knows: give the path of an SQLite file, "
        "sqlite:///… or postgresql://…."
    )


@contextmanager
def _translated(driver_error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except driver_error as error:
        raise StorageUnavailableError(f"The database says: {str(error).strip()}") from error
