"""The hub's side of a run: store, hub, hooks, and other programs that write to the database.

    other program ─┐                      ┌─► after each: what are the tables now?
    push ──────────┼─► WatchedStore ──────┤
    number, read ──┘                      └─► between number and read: somebody else writes

What it is       one small interface over the memory store and the SQL store.
The rule         whoever writes tables here goes through `HubSide.foreign_write` or the store's
                 `write`, so that no state of the hub goes unseen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from reunite.core.principal import Principal
from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema, Unique
from reunite.engine.ports import Head, LogEntry, Store, Transaction, WriteTransaction
from reunite.engine.tables import HookedChange
from reunite.errors import StorageUnavailableError, Veto
from reunite.hub import Hub
from reunite.stores.memory import MemoryHandle, MemoryStore
from reunite.stores.sql import SqlStore
from reunite.testing.clock import FakeClock
from reunite.testing.simulator.mortal import MortalDatabase, ProcessKilled
from reunite.testing.simulator.tables import (
    DDL,
    FACTS,
    FIRST_ROWS,
    FORBIDDEN,
    TABLES,
    Key,
    Row,
    Tables,
    read_tables,
)
from reunite.testing.simulator.writers import MemoryWriter, SqlWriter, Writer

if TYPE_CHECKING:
    from reunite.testing.simulator.postgresql import MortalPostgresDatabase, PostgresPlace


class StoreWatcher(Protocol):
    """Told of what happens to a store."""

    def numbered(self) -> None:
        """Numbering is done; no transaction is open."""
        ...

    def snapshot_begun(self) -> None:
        """A read transaction has begun."""
        ...

    def write_begun(self) -> None:
        """A write transaction has begun."""
        ...

    def write_ended(self) -> None:
        """A write transaction has committed."""
        ...


class _Watched:
    """Mixed into a store: tells a watcher, once there is one."""

    watcher: StoreWatcher | None = None
    _is_numbering = False

    def read(self) -> AbstractContextManager[Transaction]:
        return self._read_watched()

    def write(self) -> AbstractContextManager[WriteTransaction]:
        return self._write_watched()

    @contextmanager
    def _read_watched(self) -> Iterator[Transaction]:
        with self.read_unwatched() as tx:
            if self.watcher is not None:
                self.watcher.snapshot_begun()
            yield tx

    @contextmanager
    def _write_watched(self) -> Iterator[WriteTransaction]:
        store = cast(Store, super())
        watcher = None if self._is_numbering else self.watcher
        with store.write() as tx:
            if watcher is not None:
                watcher.write_begun()
            yield tx
        if watcher is not None:
            watcher.write_ended()

    def number(self, *, now_ms: int, new_nonce: Callable[[], str], has_news: bool = False) -> Head:
        store = cast(Store, super())
        # A store may number through its own `write`; that is no write of the hub's.
        self._is_numbering = True
        try:
            head = store.number(now_ms=now_ms, new_nonce=new_nonce, has_news=has_news)
        finally:
            self._is_numbering = False
        if self.watcher is not None:
            self.watcher.numbered()
        return head

    def read_unwatched(self) -> AbstractContextManager[Transaction]:
        """A snapshot that the watcher is not told of."""
        store = cast(Store, super())
        return store.read()


class WatchedMemoryStore(_Watched, MemoryStore):  # type: ignore[misc]
    """A memory store with a watcher."""


class WatchedSqlStore(_Watched, SqlStore):
    """An SQL store with a watcher."""


class HubSide:
    """A hub over the simulated shop, and direct access to its database."""

    def __init__(self, kind: str, folder: Path, *, new_id: Callable[[], str]) -> None:
        self.clock = FakeClock()
        self._new_id = new_id
        self._db: sqlite3.Connection | None = None
        self._place: PostgresPlace | None = None
        self._database: MortalDatabase | MortalPostgresDatabase | None = None
        self._seen: set[int] = set()
        store: Any
        if kind == "memory":
            store = WatchedMemoryStore(new_epoch=new_id)
            store.track(list(table_schemas().values()))
        elif kind == "postgresql":
            from reunite.testing.simulator.postgresql import MortalPostgresDatabase, PostgresPlace

            self._place = PostgresPlace()
            self._database = MortalPostgresDatabase(self._place.url)
            store = WatchedSqlStore(self._database, new_epoch=new_id)
        else:
            path = folder / "hub.db"
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.executescript("pragma journal_mode = wal; pragma synchronous = off;" + DDL)
            self._db.execute("pragma foreign_keys = on")
            self._database = MortalDatabase(path)
            store = WatchedSqlStore(self._database, new_epoch=new_id)
        self.store: WatchedMemoryStore = store
        with self.foreign_write(lambda line: None) as writer:
            for table, rows in FIRST_ROWS.items():
                for row in rows:
                    writer.insert(table, FACTS[table].as_dict(row))
        self._begin()

    def _begin(self) -> None:
        """A process of the hub begins."""
        self.hub = Hub(cast(Store, self.store), clock=self.clock, new_id=self._new_id)
        for facts in FACTS.values():
            self.hub.track(
                facts.name,
                merge=dict(facts.merge),
                rows="update_wins" if facts.update_wins else "delete_wins",
                generated_key=facts.generated,
            )
        self._add_hooks()

    def _add_hooks(self) -> None:
        @self.hub.on_insert("sale")
        def trace(change: HookedChange, db: Any) -> None:
            assert change.row is not None, "an insert has a row"
            ident = change.row["ident"]
            self._writer(db, lambda line: None).insert(
                "trace", {"code": f"trace of {ident}", "about": ident}
            )

        @self.hub.on_insert("note")
        @self.hub.on_update("note")
        def forbid(change: HookedChange, db: Any) -> None:
            if change.row is not None and change.row["body"] == FORBIDDEN:
                raise Veto("There are things that one does not write.")

    # -- its front door -----------------------------------------------------------------------

    def authenticate(self, token: str) -> Principal:
        """As `Hub`."""
        with self._dying():
            return self.hub.authenticate(token)

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        """As `Hub`; if the process dies over it, another one begins, and nothing was answered."""
        with self._dying():
            try:
                return self.hub.answer(operation, body, principal)
            finally:
                self.disarm()

    @contextmanager
    def _dying(self) -> Iterator[None]:
        try:
            yield
        except ProcessKilled as exc:
            self.restart()
            raise StorageUnavailableError("The hub died at a statement.") from exc

    def arm(self, statements: int) -> None:
        """The hub's process dies instead of its statement of this number, if it has files."""
        if self._database is not None:
            self._database.doom.arm(statements)

    def disarm(self) -> None:
        """The hub's process does not die any more."""
        if self._database is not None:
            self._database.doom.disarm()

    def restart(self) -> None:
        """The hub's process is gone; another one opens the same database."""
        if self._database is None:
            return
        watcher = self.store.watcher
        self._database.bury()
        again: Any = type(self._database)
        self._database = again(self._database.path)
        assert self._database is not None
        store: Any = WatchedSqlStore(self._database, new_epoch=self._new_id)
        self.store = store
        self._begin()
        self.store.watcher = watcher

    def _writer(self, handle: Any, log: Callable[[str], None]) -> Writer:
        if isinstance(handle, MemoryHandle):
            return MemoryWriter(handle, log)
        if self._place is not None:
            from reunite.testing.simulator.postgresql import PostgresWriter

            return PostgresWriter(handle, log)
        return SqlWriter(handle, log)

    @contextmanager
    def foreign_write(self, log: Callable[[str], None]) -> Iterator[Writer]:
        """A transaction of a program that knows nothing of reunite."""
        if self._place is not None:
            with self._place.transaction(log) as writer:
                yield writer
            return
        if self._db is None:
            with MemoryStore.write(self.store) as tx, tx.lent() as handle:
                yield MemoryWriter(handle, log)
            return
        self._db.execute("begin immediate")
        try:
            yield SqlWriter(self._db, log)
            self._db.execute("commit")
        except BaseException:
            self._db.execute("rollback")
            raise

    @property
    def place(self) -> PostgresPlace | None:
        """Where several transactions can be open at once; None where there is one writer."""
        return self._place

    def tables(self) -> Tables:
        """All rows, read past reunite where there is a database."""
        if self._place is not None:
            return read_tables(self._place.program)
        if self._db is not None:
            return read_tables(self._db)
        with self.look() as tx:
            return {
                name: {
                    FACTS[name].key_of(cast(Row, row)): cast(Row, row)
                    for row in tx.scan(name, after=None, limit=10_000)
                }
                for name in TABLES
            }

    @contextmanager
    def look(self) -> Iterator[Transaction]:
        """A snapshot for those who watch."""
        doom = None if self._database is None else self._database.doom
        with nullcontext() if doom is None else doom.paused(), self.store.read_unwatched() as tx:
            yield tx

    def last_change_id(self) -> int:
        """The largest change id in the log."""
        with self.look() as tx:
            return tx.last_change_id()

    def entries_after(self, change_id: int) -> list[LogEntry]:
        """The log's entries with a larger id; where ids are drawn side by side, those that were
        not told yet."""
        floor = change_id if self._place is None else self._place.floor(change_id)
        with self.look() as tx:
            until = tx.last_change_id()
            entries = tx.log(after_id=floor, until_id=until, limit=1_000_000)
        if self._place is None:
            return list(entries)
        fresh = [entry for entry in entries if entry.id not in self._seen]
        self._seen.update(entry.id for entry in fresh)
        return fresh

    def close(self) -> None:
        """Release the database."""
        self.hub.close()
        if self._database is not None:
            self._database.bury()
        if self._db is not None:
            self._db.close()
        if self._place is not None:
            self._place.close()


def table_schemas() -> dict[str, TableSchema]:
    """What `reflect` would make of the shop, for a store that has no SQL to reflect."""
    db = sqlite3.connect(":memory:")
    db.executescript(DDL)
    schemas = {name: _table_schema(db, name) for name in TABLES}
    db.close()
    return schemas


def _table_schema(db: sqlite3.Connection, table: str) -> TableSchema:
    columns = db.execute(
        f"select name, type, \"notnull\", dflt_value from pragma_table_info('{table}')"
    )
    keys = db.execute(
        'select "from", "table", "to", on_delete, on_update'
        f" from pragma_foreign_key_list('{table}')"
    )
    return TableSchema(
        name=table,
        columns=tuple(
            Column(
                name=name,
                type=ColumnType(kind.lower()),
                nullable=not not_null and name not in FACTS[table].key,
                default=default,
            )
            for name, kind, not_null, default in columns
        ),
        key=FACTS[table].key,
        generated_key=FACTS[table].generated,
        foreign_keys=tuple(
            ForeignKey(
                columns=(column,),
                parent=parent,
                parent_columns=(to,),
                on_delete=on_delete.lower(),
                on_update=on_update.lower(),
            )
            for column, parent, to, on_delete, on_update in keys
        ),
        uniques=tuple(Unique(columns=(column,)) for column in FACTS[table].uniques),
    )


__all__ = ["HubSide", "Key", "StoreWatcher", "WatchedMemoryStore"]
