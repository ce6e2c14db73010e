"""Engines on a replica's file: what a session commits is one group of its outbox.

    reads                 in no transaction of SQLite's, as its driver for Python has it
    the first write       BEGIN IMMEDIATE, and where the outbox stands is noted
    new rows in a flush   generated keys come from the replica's block, so that they stay
    commit                the group is marked, in the same transaction

What it is       events on an engine of SQLAlchemy, synchronous or not.
What it is not   a dialect: the file is SQLite, and `types.py` has the few forms that differ.
The rule         nothing here asks the replica's own connections, which another thread may hold
                 while it waits for this transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Mapper, Session, object_mapper

from reunite.contrib.sqlalchemy.types import POSTGRESQL_FORMS, has_postgresql_forms
from reunite.replica import Replica, groups
from reunite.stores.sql.database import connect_sqlite

# How long a session waits for another writer, as `Replica.transaction` does.
BUSY_TIMEOUT_MS = 10_000

# Where a connection keeps at which point of the outbox its transaction began to write.
_FIRST = "reunite_first"
# Where an engine's execution options keep that it is a replica's.
_IS_REPLICA = "reunite_replica"

_READS = re.compile(r"\s*(?:select|pragma|explain|values)\b", re.IGNORECASE)
_WITH = re.compile(r"\s*with\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:insert|update|delete|replace)\b", re.IGNORECASE)


def replica_engine(replica: Replica, **options: Any) -> Engine:
    """An engine on the replica's file. What one session or connection commits is one group: it
    takes effect on the hub whole or not at all.

        sessions = sessionmaker(replica_engine(replica))
        with sessions.begin() as session:
            session.add(Sale(total=12))
        replica.sync()

    options     those of `sqlalchemy.create_engine`

    Foreign keys are enforced. Rows that the ORM inserts without a generated key get one of the
    replica's block, which stays. Dispose of the engine as usual; the replica is yours to close.
    """
    engine = create_engine(_url(replica, "sqlite"), **_with_ours(options))
    _bind(engine, replica)
    return engine


def replica_async_engine(replica: Replica, **options: Any) -> AsyncEngine:
    """The same for asyncio. Needs `aiosqlite` and `greenlet`."""
    engine = create_async_engine(_url(replica, "sqlite+aiosqlite"), **_with_ours(options))
    _bind(engine.sync_engine, replica)
    return engine


def create_all(engine: Engine, metadata: MetaData) -> None:
    """Make what the file lacks of a model: tables that are not synced, and the plain indexes of
    those that are. Unique ones come from the hub. Clone first: the hub's tables are the clone's."""
    metadata.create_all(engine)
    for table in metadata.sorted_tables:
        for index in table.indexes:
            if not index.unique:
                index.create(engine, checkfirst=True)


def _url(replica: Replica, drivername: str) -> URL:
    return URL.create(drivername, database=str(replica.path))


def _with_ours(options: dict[str, Any]) -> dict[str, Any]:
    # None: no BEGIN but ours.
    arguments = {"isolation_level": None, **options.pop("connect_args", {})}
    return {**options, "connect_args": arguments}


def _bind(engine: Engine, replica: Replica) -> None:
    connection = connect_sqlite(replica.path)
    try:
        if has_postgresql_forms(connection, replica.schemas.values()):
            engine.dialect.colspecs = {**engine.dialect.colspecs, **POSTGRESQL_FORMS}
    finally:
        connection.close()
    give_keys(engine)

    @event.listens_for(engine, "connect")
    def prepare(driver: Any, record: Any) -> None:
        cursor = driver.cursor()
        for pragma in ("foreign_keys = on", "secure_delete = on"):
            cursor.execute(f"pragma {pragma}")
        cursor.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.close()

    @event.listens_for(engine, "before_cursor_execute")
    def before(
        connection: Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        many: Any,
    ) -> None:
        if not _only_reads(statement) and not _is_autocommit(connection):
            _begin(connection)

    @event.listens_for(engine, "commit")
    def mark(connection: Connection) -> None:
        first = connection.info.pop(_FIRST, None)
        if first is not None and _is_open(connection):
            groups.end(_Raw(connection), first, replica.now_ms)

    @event.listens_for(engine, "rollback")
    def forget(connection: Connection) -> None:
        connection.info.pop(_FIRST, None)


def give_keys(engine: Engine) -> None:
    """Give rows that the ORM inserts over this engine, of a replica's file, generated keys of the
    replica's block."""
    engine.update_execution_options(**{_IS_REPLICA: True})
    if not event.contains(Session, "before_flush", _give_keys):
        event.listen(Session, "before_flush", _give_keys)


class _Raw:
    """A connection as marks know it, past SQLAlchemy's own events."""

    def __init__(self, connection: Connection) -> None:
        self._driver = connection.connection

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        cursor = self._driver.cursor()
        cursor.execute(sql, parameters)
        return _Rows(cursor)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Any:
        for each in parameters:
            self.execute(sql, each)


class _Rows:
    """What a statement gave; the cursor is closed, as connections in a pool want it."""

    def __init__(self, cursor: Any) -> None:
        self._rows = list(cursor.fetchall()) if cursor.description else []
        cursor.close()

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def __iter__(self) -> Any:
        return iter(self._rows)


def _begin(connection: Connection) -> None:
    """Take the write lock if the transaction has not, and note where the outbox stands."""
    if _is_open(connection):
        return
    raw = _Raw(connection)
    raw.execute("begin immediate")
    connection.info[_FIRST] = groups.begin(raw)


def _is_open(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)


def _is_autocommit(connection: Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def _only_reads(statement: str) -> bool:
    if _WITH.match(statement):
        return _WRITES.search(statement) is None
    return _READS.match(statement) is not None


def _give_keys(session: Session, context: Any, instances: Any) -> None:
    """Generated keys for the new rows of a flush, from the block of the replica that they go to.
    Where it is used up, SQLite gives them, which the next sync may change."""
    keyless: dict[Mapper[Any], list[Any]] = {}
    for row in session.new:
        mapper = object_mapper(row)
        if len(mapper.primary_key) == 1 and getattr(row, _key_name(mapper)) is None:
            keyless.setdefault(mapper, []).append(row)
    for mapper, rows in keyless.items():
        if not session.get_bind(mapper).get_execution_options().get(_IS_REPLICA):
            continue
        connection = session.connection(bind_arguments={"mapper": mapper})
        _begin(connection)
        table: Any = mapper.primary_key[0].table
        keys = groups.draw_keys(_Raw(connection), str(table.name), len(rows))
        for row, key in zip(rows, keys, strict=False):
            setattr(row, _key_name(mapper), key)


def _key_name(mapper: Mapper[Any]) -> str:
    return mapper.get_property_by_column(mapper.primary_key[0]).key
