"""The replica's SQLite file: connections, transactions, tables, and the lock of who syncs it.

    reading    a snapshot                                 writing    alone; triggers suspended
    group      alone; the application's own transaction   sync_lock  one process syncs at a time

The rule: foreign keys are off on the connection that writes pages (deferring them would not stop
ON DELETE CASCADE) and on for the application's transactions.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from reunite.core.checks import check_columns
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.errors import (
    BadRequestError,
    CallerError,
    NotAReplicaError,
    ReplicaBusyError,
)
from reunite.replica import generations, groups, ranges
from reunite.replica.layout import LAYOUT, bring_up_to_date, note_layout
from reunite.replica.outbox import Outbox, bases
from reunite.replica.pages import LatePage, aligned
from reunite.replica.reshaping import is_kept
from reunite.replica.rows import RowForms, TableWriter, stored_key
from reunite.replica.state import State, load_state, save_changes
from reunite.stores.sql.capture import drop_triggers, renew_outbox_triggers
from reunite.stores.sql.database import (
    connect_sqlite,
    connect_to_look,
    file_lock,
    scrub,
    translated,
)
from reunite.stores.sql.dialects.sqlite import Storer
from reunite.stores.sql.dialects.sqlite_pack import check_pack, unpack_sql, unpacking
from reunite.stores.sql.dialects.sqlite_tables import (
    create_table_sql,
    unique_index_names,
)
from reunite.stores.sql.layout import outbox_layout
from reunite.stores.sql.quoting import quoted

# How long a sync waits for another process that syncs the same file.
SYNC_LOCK_TIMEOUT_S = 30.0

# How long writing the file anew waits for other programs that use it; the next sync tries again.
SCRUB_PATIENCE_MS = 200


class ReplicaFile:
    """One replica file in this process. Threads take turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._sync_turn = threading.Lock()
        self._inner: sqlite3.Connection | None = None
        self._outer: sqlite3.Connection | None = None
        self._forms_key: object = None
        if not path.exists():
            raise NotAReplicaError(f"There is no file {path}: make it with `reunite clone`.")
        with translated():
            # A power cut may take the last pages and answers back, never a part of one: they come
            # again. What the application commits is synchronous, and takes all before along.
            self._inner = connect_sqlite(path, synchronous="NORMAL")
            self._inner.execute("pragma foreign_keys = off")
            # Rows that the hub takes away leave no trace in pages that SQLite keeps for later.
            self._inner.execute("pragma secure_delete = on").fetchall()
            found = self._inner.execute(
                "select count(*) from sqlite_master where name = 'reunite_state'"
            ).fetchone()[0]
            if not found:
                self._inner.close()
                self._inner = None
                raise NotAReplicaError(
                    f"{path} is no replica: name another file, or make one with `reunite clone`."
                )
            self._inner.execute("pragma journal_mode = wal").fetchall()
            try:
                bring_up_to_date(self._inner)
            except BaseException:
                self._inner.close()
                self._inner = None
                raise
        self.forms = self._new_forms({}, {})

    @staticmethod
    def create(path: Path) -> None:
        """Give the file reunite's tables; nothing if it has them. Raises CallerError for a hub's
        database, and for a folder that is not there."""
        if not path.parent.is_dir():
            raise CallerError(f"There is no folder {path.parent}: make it first.")
        with translated():
            connection = connect_sqlite(path)
            try:
                connection.execute("pragma journal_mode = wal").fetchall()
                connection.execute("begin immediate")
                names = {name for (name,) in connection.execute("select name from sqlite_master")}
                refuse_hub(path, names)
                for statement in (*outbox_layout(), *LAYOUT):
                    connection.execute(statement)
                note_layout(connection)
                connection.execute("commit")
            finally:
                connection.close()

    @staticmethod
    def check_free(path: Path, wanted: Callable[[], set[str]]) -> None:
        """Raise CallerError if the file is no replica and has a table of one of these names. Reads
        only."""
        with (
            translated(),
            closing(connect_to_look(path)) as db,
        ):
            names = {name for (name,) in db.execute("select name from sqlite_master")}
        refuse_hub(path, names)
        if "reunite_state" not in names:
            _refuse_taken(path, names & wanted())

    @staticmethod
    def remove(path: Path) -> None:
        """Undo `create`, for a new file whose clone was refused before it had an identity."""
        for suffix in ("", "-wal", "-shm", "-sync"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    # -- transactions -------------------------------------------------------------------------

    def state(self) -> State:
        """The state as it is now."""
        with self.reading() as (_, state):
            return state

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, State]]:
        """A snapshot of the file."""
        with self._lock, translated():
            connection = self._connection()
            if connection.in_transaction:
                yield connection, load_state(connection)
                return
            connection.execute("begin")
            try:
                state = load_state(connection)
                self._renew_forms(connection, state)
                yield connection, state
            finally:
                connection.execute("rollback")

    @contextmanager
    def looking(
        self, text_factory: Callable[[bytes], str] | None = None
    ) -> Iterator[tuple[sqlite3.Connection, State, RowForms]]:
        """A snapshot on a connection of its own, for long reads: nobody here waits for it.

        text_factory    makes texts of bytes that may be no UTF-8, which otherwise cannot be read
        """
        with translated(), closing(connect_sqlite(self.path)) as connection:
            if text_factory is not None:
                connection.text_factory = text_factory
            connection.execute("begin")
            state = load_state(connection)
            yield connection, state, self._new_forms(self.schemas(state), _versions(connection))

    @contextmanager
    def writing(
        self, *, bulk: bool = False, pack: bytes = b"", keeps_ranges: bool = False
    ) -> Iterator[tuple[sqlite3.Connection, State]]:
        """A transaction of reunite's own: nothing in it is captured. The state is saved at its end.

        With `bulk`, triggers are dropped and made anew instead of guarded, which is cheaper for
        large pages; other programs never see the file without them. `pack` is that of a page, for
        `write_clone_page`. Numbers of the outbox are in its rows, unless the caller
        `keeps_ranges`.
        """
        with self._lock, translated():
            connection = self._connection()
            if self._outer is not None and _is_open(self._outer):
                raise CallerError("Finish this replica's open transaction first.")
            with unpacking(connection, pack), transaction(connection):
                state = load_state(connection)
                before = msgspec.structs.replace(state)
                self._renew_forms(connection, state)
                connection.execute("update reunite_guard set suspended = 1")
                if not keeps_ranges:
                    ranges.spread(connection)
                if bulk and state.is_ready:
                    self._drop_triggers(connection, state.schemas)
                yield connection, state
                if bulk and state.is_ready:
                    renew_outbox_triggers(connection, state.schemas)
                connection.execute("update reunite_guard set suspended = 0")
                save_changes(connection, before, state)

    @contextmanager
    def keeping(self) -> Iterator[tuple[sqlite3.Connection, State]]:
        """The state, to change it: inside the application's open transaction if there is one."""
        with self._lock:
            outer = self._outer
            if outer is None or not _is_open(outer):
                with self.writing() as found:
                    yield found
                return
            with translated():
                state = load_state(outer)
                before = msgspec.structs.replace(state)
                yield outer, state
                save_changes(outer, before, state)

    @contextmanager
    def group(self, now_ms: Callable[[], int]) -> Iterator[sqlite3.Connection]:
        """A transaction of the application: captured, and pushed as one group of its own time."""
        with self._lock:
            if self._outer is None:
                with translated():
                    self._outer = connect_sqlite(self.path)
                    self._outer.execute("pragma secure_delete = on").fetchall()
            connection = self._outer
            if _is_open(connection):
                raise CallerError("A transaction of this replica is open already: use that one.")
            with translated():
                connection.execute("begin immediate")
            try:
                first = groups.begin(connection)
                yield connection
                with translated():
                    if _is_open(connection):
                        groups.end(connection, first, now_ms)
                    # A block that committed by itself has written like other programs do.
                    if _is_open(connection):
                        connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    @contextmanager
    def sync_lock(self, *, timeout_s: float = SYNC_LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the right to sync this file; other processes wait. It ends with the process.

        Raises ReplicaBusyError after `timeout_s`, and StorageUnavailableError where the file
        beside the replica that stands for the lock cannot be made.
        """
        busy = ReplicaBusyError(f"Somebody else is syncing {self.path}: wait for it, or try again.")
        if not self._sync_turn.acquire(timeout=timeout_s):
            raise busy
        try:
            path = self.path.with_name(self.path.name + "-sync")
            with file_lock(path, busy=busy, timeout_s=timeout_s):
                yield
        finally:
            self._sync_turn.release()

    def clear_traces(self) -> None:
        """Take out of the file what was taken away from this replica, where SQLite keeps it: in the
        log, and for what was erased also in free pages."""
        if self.state().must_scrub:
            self._scrub()
        self._clear_log()

    def _clear_log(self) -> None:
        """Empty the `-wal` file if it may hold rows that were taken away. While another program
        reads the file that cannot be done: then the next call does it."""
        with self._lock:
            if not self.state().has_traces:
                return
            with translated():
                connection = self._connection()
                (timeout_ms,) = connection.execute("pragma busy_timeout").fetchone()
                connection.execute("pragma busy_timeout = 0").fetchall()
                try:
                    found = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
                finally:
                    connection.execute(f"pragma busy_timeout = {timeout_ms}").fetchall()
            if not found[0]:
                with self.writing(keeps_ranges=True) as (_, state):
                    state.has_traces = False

    def close(self) -> None:
        """Release the connections. May be called twice."""
        with self._lock:
            for connection in (self._inner, self._outer):
                if connection is not None:
                    connection.close()
            self._inner = self._outer = None

    def _scrub(self) -> None:
        """Write the file anew; at another time if other programs are using it."""
        with self._lock, translated():
            connection = self._connection()
            if connection.in_transaction or (self._outer is not None and _is_open(self._outer)):
                return
            (timeout_ms,) = connection.execute("pragma busy_timeout").fetchone()
            connection.execute(f"pragma busy_timeout = {SCRUB_PATIENCE_MS}")
            try:
                is_clean = scrub(connection)
            finally:
                connection.execute(f"pragma busy_timeout = {timeout_ms}")
        if is_clean:
            with self.writing(keeps_ranges=True) as (_, state):
                state.must_scrub = False

    def _connection(self) -> sqlite3.Connection:
        if self._inner is None:
            raise CallerError("The replica is closed: open it again before using it.")
        return self._inner

    # -- tables -------------------------------------------------------------------------------

    def schemas(self, state: State) -> Mapping[str, TableSchema]:
        """The replica's tables by name."""
        return {schema.name: schema for schema in state.schemas}

    def create_tables(self, connection: sqlite3.Connection, schemas: Sequence[TableSchema]) -> None:
        """Make the application's tables. Raises CallerError for names that are taken."""
        names = {name for (name,) in connection.execute("select name from sqlite_master")}
        wanted = {schema.name for schema in schemas}
        _refuse_taken(self.path, names & wanted)
        for schema in schemas:
            connection.execute(create_table_sql(schema, wanted))
        self._remember(connection, schemas)

    def change_tables(
        self,
        connection: sqlite3.Connection,
        before: Sequence[TableSchema],
        after: Sequence[TableSchema],
    ) -> None:
        """Make tables anew whose shape changed and drop those that are gone; the pages that come
        with it fill them. Others keep their rows. Indexes and triggers are left to the caller, for
        when the rows are in: `RowForms.create_indexes`, and then `renew_outbox_triggers`."""
        self._drop_triggers(connection, before)
        self.remake_tables(connection, before, after)

    def remake_tables(
        self,
        connection: sqlite3.Connection,
        before: Sequence[TableSchema],
        after: Sequence[TableSchema],
    ) -> list[str]:
        """The same for tables without triggers, before the first clone has finished; the names of
        those made anew."""
        made_anew = []
        _refuse_own(connection, {each.name for each in after} - {each.name for each in before})
        wanted = {schema.name: schema for schema in after}
        for schema in before:
            changed = wanted.get(schema.name)
            if not is_kept(schema, changed):
                connection.execute(f"drop table if exists {quoted(schema.name)}")
                made_anew.append(schema.name)
            elif changed is not None and changed.uniques != schema.uniques:
                for name in unique_index_names(schema):
                    connection.execute(f"drop index if exists {quoted(name)}")
        self._remember(connection, after)
        for schema in after:
            connection.execute(create_table_sql(schema, wanted))
        known = {schema.name for schema in before}
        return [*made_anew, *(schema.name for schema in after if schema.name not in known)]

    def _remember(self, connection: sqlite3.Connection, schemas: Iterable[TableSchema]) -> None:
        connection.executemany(
            "insert or replace into reunite_schema (table_name, version, schema) values (?, ?, ?)",
            [
                (schema.name, schema.version, msgspec.json.encode(schema).decode())
                for schema in schemas
            ],
        )

    def write_clone_page(
        self,
        connection: sqlite3.Connection,
        state: State,
        page: LatePage,
        changed: Sequence[TableSchema] | None = None,
    ) -> int:
        """Write a page of the first clone straight into the tables; how many rows.

        changed    the hub's schemas, if they are others than before
        """
        if changed is not None:
            made_anew = self.remake_tables(connection, state.schemas, changed)
            state.schemas, state.revision = tuple(changed), page.revision
            now = {name: page.generations.get(name, "") for name in made_anew}
            state.generations = state.generations | now
        if page.reset:
            state.generations = generations.said(page)
        schemas = self.schemas(state)
        count = 0
        if page.reset:
            for schema in schemas.values():
                self.forms.writer(connection, schema).clear()
        writers: dict[str, TableWriter] = {}
        if page.pack:
            check_pack(connection, [part for part in page.tables if part.packed])
        for late in page.tables:
            part, is_tagged = late.read()
            schema = schemas[part.table]
            writer = writers.get(part.table)
            if writer is None:
                writer = writers[part.table] = self.forms.writer(connection, schema)
            rows = aligned(schema, part)
            writer.write([*part.deletes, *part.evicts], rows, is_tagged=is_tagged)
            count += len(rows)
            if part.packed:
                found = connection.execute(unpack_sql(schema.name, schema.column_names, part))
                count += found.rowcount
        return count

    def finish_clone(self, connection: sqlite3.Connection, state: State) -> None:
        """The first checkpoint is in: make indexes and triggers, and be ready."""
        self._new_forms(self.schemas(state), {}).create_indexes(connection)
        renew_outbox_triggers(connection, state.schemas)
        state.is_ready = True

    def _drop_triggers(
        self, connection: sqlite3.Connection, schemas: Iterable[TableSchema]
    ) -> None:
        for schema in schemas:
            drop_triggers(connection, schema.name)

    # -- single rows, for retry and decide ----------------------------------------------------

    def insert_row(
        self, connection: sqlite3.Connection, table: str, values: Mapping[str, Any]
    ) -> None:
        """Insert a row of wire values. Raises BadRequestError."""
        schema, names, stored = self._stored(table, values)
        columns = ", ".join(quoted(name) for name in names)
        marks = ", ".join("?" * len(names))
        connection.execute(
            f"insert into {quoted(schema.name)} ({columns}) values ({marks})",
            stored,
        )

    def update_row(
        self, connection: sqlite3.Connection, table: str, key: Key, values: Mapping[str, Any]
    ) -> None:
        """Set columns of a row to wire values. Raises BadRequestError if the row is not there."""
        schema, names, stored = self._stored(table, values)
        sets = ", ".join(f"{quoted(name)} = ?" for name in names)
        self._one_row(
            connection,
            f"update {quoted(schema.name)} set {sets} where {self._key_where(schema)}",
            (*stored, *stored_key(schema, key)),
            schema,
            key,
        )

    def delete_row(self, connection: sqlite3.Connection, table: str, key: Key) -> None:
        """Delete a row. Raises BadRequestError if it is not there."""
        schema = self._schema(table)
        self._one_row(
            connection,
            f"delete from {quoted(schema.name)} where {self._key_where(schema)}",
            stored_key(schema, key),
            schema,
            key,
        )

    @staticmethod
    def _one_row(
        connection: sqlite3.Connection,
        statement: str,
        parameters: Sequence[Any],
        schema: TableSchema,
        key: Key,
    ) -> None:
        if connection.execute(statement, parameters).rowcount == 0:
            raise BadRequestError(f"{schema.name} has no row {list(key)} any more.")

    def _schema(self, table: str) -> TableSchema:
        schema = self.schemas(self.state()).get(table)
        if schema is None:
            raise BadRequestError(f"This replica has no table {table!r}.")
        return schema

    def _stored(
        self, table: str, values: Mapping[str, Any]
    ) -> tuple[TableSchema, list[str], Sequence[Any]]:
        schema = self._schema(table)
        names = list(values)
        unknown = [name for name in names if name not in schema.column]
        if unknown or not names:
            raise BadRequestError(f"{table} has no column {(unknown or ['?'])[0]!r}.")
        columns = [schema.column[name] for name in names]
        row = tuple(values[name] for name in names)
        # What the file held already may be written again, whether it fits or not: the hub judges.
        check_columns(columns, [row], path=table, is_loose=True)
        return schema, names, Storer(columns).row(row)

    @staticmethod
    def _key_where(schema: TableSchema) -> str:
        return " and ".join(f"{quoted(name)} = ?" for name in schema.key)

    # -- looking ------------------------------------------------------------------------------

    def base_rows(self, table: str, *, now_ms: int) -> dict[Key, Row]:
        """The hub's image of every row as this replica knows it."""
        with self.writing() as (connection, state):
            schemas = self.schemas(state)
            outbox = Outbox(connection, state, schemas, self.forms)
            outbox.prepare(now_ms=now_ms)
            stored = outbox.stored_bases()
            images = bases(outbox.load(), stored)
            rows: dict[Key, Row] = {
                schemas[table].key_of(row): row
                for row in self.forms.read_all(connection, schemas[table])
            }
            for (name, key), image in images.items():
                if name == table:
                    rows.pop(key, None)
                    if image is not None:
                        rows[key] = image
            return rows

    def _renew_forms(self, connection: sqlite3.Connection, state: State) -> None:
        if self._forms_key != state.schemas:
            self.forms = self._new_forms(self.schemas(state), _versions(connection))
            self._forms_key = state.schemas

    @staticmethod
    def _new_forms(
        schemas: Mapping[str, TableSchema], versions: Mapping[tuple[str, int], TableSchema]
    ) -> RowForms:
        return RowForms(schemas, versions)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that writes, undone if the block raises."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _versions(connection: sqlite3.Connection) -> dict[tuple[str, int], TableSchema]:
    """The tables in every version that the file knows."""
    return {
        (table, version): msgspec.json.decode(text, type=TableSchema)
        for table, version, text in connection.execute(
            "select table_name, version, schema from reunite_schema"
        )
    }


def refuse_hub(path: Path, names: set[str]) -> None:
    """Raise CallerError if these are the tables of a hub's database."""
    if "reunite_commit" in names:
        raise CallerError(f"{path} is a hub's database: clone into another file.")


def _refuse_taken(path: Path, taken: set[str]) -> None:
    if taken:
        raise CallerError(f"{path} already has a table {min(taken)!r}: clone into a new file.")


def _refuse_own(connection: sqlite3.Connection, coming: set[str]) -> None:
    """Raise CallerError if a table that comes from the hub has the name of one of the device's own,
    or of a view; nothing was done."""
    found = connection.execute("select name from sqlite_master where type in ('table', 'view')")
    own = {name.lower() for (name,) in found}
    taken = sorted(name for name in coming if name.lower() in own)
    if taken:
        raise CallerError(
            f"The hub has a new table {taken[0]!r}, and this file has one of its own of that name. "
            "Rename this file's own, then sync again: until then nothing is pulled."
        )


def _is_open(connection: sqlite3.Connection) -> bool:
    """Whether a transaction is open; asked anew each time, since blocks of others run between."""
    return connection.in_transaction
