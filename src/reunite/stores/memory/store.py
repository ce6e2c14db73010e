"""The memory store itself: who may write, and what is published when."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from reunite.core.schema import TableSchema
from reunite.engine.ports import Head, Store
from reunite.errors import StorageUnavailableError, UnknownTableError, UntrackableTableError
from reunite.stores.memory.read import MemoryTransaction
from reunite.stores.memory.state import State
from reunite.stores.memory.tables import Table, default_of, linked
from reunite.stores.memory.write import MemoryHandle, MemoryWriteTransaction

_epoch_numbers = itertools.count(1)


def _new_epoch() -> str:
    return f"memory-{next(_epoch_numbers)}"


class MemoryStore:
    """A hub's store that lives as long as this object.

    new_epoch        the identity of the log, asked when the store is made and after `uninstall`
    lock_timeout_s   how long a writer waits for another thread's; for its own it never waits

    Tables come into being by `track`; an untracked one stays, without capture.
    """

    lines = None  # one process has it

    def __init__(
        self, *, new_epoch: Callable[[], str] = _new_epoch, lock_timeout_s: float = 5.0
    ) -> None:
        self._new_epoch = new_epoch
        self._lock_timeout_s = lock_timeout_s
        self._lock = threading.Lock()
        self._writing_thread: int | None = None
        self._is_closed = False
        self._state = State(epoch=new_epoch())

    # --- The port -------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[MemoryTransaction]:
        self._check_open()
        yield MemoryTransaction(self._state)

    @contextmanager
    def write(self) -> Iterator[MemoryWriteTransaction]:
        with self._alone():
            transaction = MemoryWriteTransaction(self._state)
            try:
                yield transaction
            except BaseException:
                transaction.abandon()
                raise
            self._state = transaction.finish()

    def number(self, *, now_ms: int, new_nonce: Callable[[], str], has_news: bool = False) -> Head:
        self._check_open()
        state = self._state
        head = state.head()
        if state.log.last == head.last_id:
            return head
        with self.write() as transaction:
            return transaction.number(now_ms=now_ms, new_nonce=new_nonce)

    def track(self, schemas: Sequence[TableSchema]) -> None:
        with self._alone():
            tables = dict(self._state.tables)
            for schema in schemas:
                if not schema.key:
                    raise UntrackableTableError(f"{schema.name} has no key: give it one.")
                tables[schema.name] = _tracked(tables.get(schema.name), schema)
            state = self._state.copy()
            state.tables = linked(tables.values())
            self._state = state

    def resend(self, table: str) -> None:
        with self._alone():
            found = self._state.tables.get(table)
            if found is None or not found.captured:
                raise UnknownTableError(f"There is no tracked table {table!r} here.")
            renewed = found.copy()
            renewed.schema = msgspec.structs.replace(
                found.schema, generation=_next_generation(found.schema)
            )
            state = self._state.copy()
            state.tables = linked([renewed, *(t for t in state.tables.values() if t is not found)])
            self._state = state

    def untrack(self, table: str) -> None:
        with self._alone():
            if table not in self._state.tables:
                raise UnknownTableError(f"There is no table {table!r} here.")
            state = self._state.copy()
            state.tables = dict(state.tables)
            state.tables[table] = state.tables[table].copy()
            state.tables[table].captured = False
            self._state = state

    def uninstall(self) -> None:
        with self._alone():
            tables = {name: table.copy() for name, table in self._state.tables.items()}
            for table in tables.values():
                table.captured = False
            self._state = State(epoch=self._new_epoch(), tables=tables)

    def close(self) -> None:
        self._is_closed = True

    def look(self) -> object:
        return self._state

    # --- Beyond the port ------------------------------------------------------------------------

    @contextmanager
    def foreign_write(self) -> Iterator[MemoryHandle]:
        """A transaction of another program: captured like everything else."""
        with self.write() as transaction, transaction.lent() as handle:
            yield handle

    def backup(self) -> object:
        """The store as it is now, for `restore` of this store or another one. Costs nothing."""
        return self._state

    def restore(self, backup: object) -> None:
        """Be again what `backup` was, epoch included, as a database file copied back would be."""
        assert isinstance(backup, State)
        with self._alone():
            self._state = backup

    # --- Locking --------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise StorageUnavailableError("This store is closed.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._check_open()
        thread = threading.get_ident()
        # Nobody could end a transaction of this thread while it waits for itself.
        if self._writing_thread == thread or not self._lock.acquire(timeout=self._lock_timeout_s):
            raise StorageUnavailableError("Another transaction is writing: try again later.")
        self._writing_thread = thread
        try:
            yield
        finally:
            self._writing_thread = None
            self._lock.release()


def _tracked(old: Table | None, schema: TableSchema) -> Table:
    """The table in its new shape, with the rows it has; a new shape gets the next version."""
    table = Table(schema, captured=True)
    if old is None:
        return table
    # What was written while it was untracked is in no log.
    generation = old.schema.generation if old.captured else _next_generation(old.schema)
    schema = msgspec.structs.replace(schema, generation=generation)
    if schema.shape == old.schema.shape:
        table.schema = msgspec.structs.replace(schema, version=old.schema.version)
        table.rows = old.rows
        return table
    table.schema = msgspec.structs.replace(schema, version=old.schema.version + 1)
    position = old.schema.position
    for row in old.rows.values():
        new_row = tuple(
            row[position[name]] if name in position else default_of(table, name)
            for name in schema.column_names
        )
        table.rows[table.key_of(new_row)] = new_row
    return table


def _next_generation(schema: TableSchema) -> str:
    return str(1 + int(schema.generation or 0))


if TYPE_CHECKING:

    def _as_port(store: MemoryStore) -> Store:
        return store
