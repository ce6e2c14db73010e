"""The SQL store: the engine's `Store` over any `Database`.

SqlStore ─► Database ─► SqlTransaction, SqlWriteTransaction
    └─────► capture, layout (track, untrack, uninstall)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from reunite.core.schema import TableSchema
from reunite.engine.news import Lines
from reunite.engine.ports import HasUrl, Head, TableMigration, Transaction, WriteTransaction
from reunite.errors import CallerError, StorageUnavailableError, UnknownTableError
from reunite.stores.sql import following, layout, migrating
from reunite.stores.sql.acting import acting
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.database import SqliteDatabase
from reunite.stores.sql.following import FollowOptions
from reunite.stores.sql.ports import LOCK_TIMEOUT_S, Database, Session
from reunite.stores.sql.reading import SqlTransaction
from reunite.stores.sql.versions import has_tables, is_laid_out, make_missing, new_epoch, read_meta
from reunite.stores.sql.writing import SqlWriteTransaction

# Reads begun again because the tables changed under them, before one gives up.
FOLLOW_TRIES_MAX = 5


def open_store(
    url_or_path: str | Path | HasUrl,
    *,
    create: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
    synchronous: str | None = None,
) -> SqlStore:
    """The store of a PostgreSQL database, given by its `postgresql://` URL, or of an SQLite file,
    given by path or as `sqlite:///relative` or `sqlite:////absolute`; or of what an engine of
    SQLAlchemy, synchronous or not, connects to by its URL, with connections of the store's own.

    create         make the file if it is missing
    timeout_s      how long to wait for another writer before StorageUnavailableError
    synchronous    SQLite's pragma; None leaves what SQLite was built with (usually `full`)

    Raises CallerError if there is no such file, or it is no SQLite database.
    """
    if isinstance(url_or_path, HasUrl):
        url_or_path, create = _url_of(url_or_path), True  # as the engine itself would
    if is_postgresql(url_or_path):
        from reunite.stores.sql.postgresql import PostgresDatabase

        return SqlStore(PostgresDatabase(str(url_or_path), timeout_s=timeout_s))
    path = _path_of(url_or_path)
    if not create and not path.exists():
        raise CallerError(
            f"There is no database {str(path)!r}: check the path, or create it first, "
            f"for instance with your application or `sqlite3 {path.name}`."
        )
    if not path.parent.is_dir():
        raise CallerError(f"There is no folder {str(path.parent)!r}: create it first.")
    if path.is_dir():
        raise CallerError(f"{str(path)!r} is a folder: name the database file in it.")
    return SqlStore(SqliteDatabase(path, timeout_s=timeout_s, synchronous=synchronous))


def _url_of(engine: HasUrl) -> str:
    """An engine's URL, without the name of its driver."""
    url = engine.url
    backend = str(url.get_backend_name())
    return str(url.set(drivername=backend).render_as_string(hide_password=False))


_POSTGRESQL = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def is_postgresql(url_or_path: str | Path) -> bool:
    """Whether this is the URL of a PostgreSQL database."""
    scheme, separator, _ = str(url_or_path).partition("://")
    return bool(separator) and scheme in _POSTGRESQL


def _path_of(url_or_path: str | Path) -> Path:
    text = str(url_or_path)
    if "://" not in text:
        if text in ("", ":memory:"):
            raise CallerError("A hub needs a database file: give it a path.")
        return Path(text)
    url = urlsplit(text)
    if url.scheme != "sqlite" or url.netloc:
        scheme = url.scheme or "This"
        raise CallerError(
            f"{scheme}:// and what follows is no database that reunite can open: "
            "use sqlite:///file.db or postgresql://host/database."
        )
    if url.path[1:] in ("", ":memory:"):
        raise CallerError("A hub needs a database file: one in memory is one connection's alone.")
    return Path(unquote(url.path[1:]))


class SqlStore:
    """A hub's database. Threads may share it; processes may have one each on the same file."""

    def __init__(self, database: Database, *, new_epoch: Callable[[], str] = new_epoch) -> None:
        self._database = database
        # What makes the port's transactions; hosts have some of their own.
        self.write_transaction: Callable[
            [Session, Catalogue, Mapping[str, Any]], SqlWriteTransaction
        ] = SqlWriteTransaction
        self._new_epoch = new_epoch
        self._catalogue = Catalogue(-1, {})
        self._tracks_all = False
        self._untracked: set[str] = set()
        # What `ddl` said when this store, if it tracks what comes, had last looked what has come.
        self._looked_at: int | str | None = None

    # --- Transactions -----------------------------------------------------------------------------

    def read(self) -> AbstractContextManager[Transaction]:
        return self._reading()

    def write(self) -> AbstractContextManager[WriteTransaction]:
        return self._writing()

    @contextmanager
    def _reading(self) -> Iterator[SqlTransaction]:
        for _ in range(FOLLOW_TRIES_MAX):
            with self._database.read() as session:
                meta, is_current = self._look(session)
                if is_current:
                    yield SqlTransaction(session, self._known(session, meta), meta)
                    return
                self._wait_for_nobody(meta)
            # A migration: what this snapshot would read is not what the catalogue says.
            with self._writing():
                pass
        raise _restless()

    @contextmanager
    def _writing(self) -> Iterator[SqlWriteTransaction]:
        for _ in range(FOLLOW_TRIES_MAX):
            with self._database.write() as session:
                meta, is_current = self._look(session)
                if is_current:
                    yield self.write_transaction(session, self._known(session, meta), meta)
                    return
                # Committed before anything else, so that no catalogue outlives a rollback.
                self._follow(session)
        raise _restless()

    def _look(self, session: Session) -> tuple[Mapping[str, Any], bool]:
        """`following.look`; and whether no table has come that this store would track. Others,
        which do not track what comes, may have followed since it came."""
        meta, is_current = following.look(session)
        if is_current and self._tracks_all and self._looked_at != meta["ddl"]:
            tracked = {schema.name for schema in following.tracked_schemas(session)}
            is_current = tracked.union(self._untracked).issuperset(
                session.dialect.trackable_tables(session)
            )
            if is_current:
                self._looked_at = meta["ddl"]
        return meta, is_current

    def _follow(self, session: Session) -> None:
        """Bring what is known of the tables up to date. Raises StorageUnavailableError while
        somebody migrates them."""
        if migrating.is_under_way(session):
            with self._database.migration_lock():
                migrating.end(session, **self._options())
        else:
            following.follow(session, **self._options())
        self._looked_at = read_meta(session)["ddl"]

    def _options(self) -> FollowOptions:
        return {"tracks_all": self._tracks_all, "untracked": self._untracked}

    def _wait_for_nobody(self, meta: Mapping[str, Any]) -> None:
        """Raise StorageUnavailableError while somebody migrates the tables, before a writer's lock
        is taken that would stand in their way."""
        if migrating.MARK in meta:
            with self._database.migration_lock():
                pass

    def _known(self, session: Session, meta: Mapping[str, Any]) -> Catalogue:
        """The catalogue of a transaction's edition."""
        catalogue = self._catalogue
        if catalogue.edition != meta["edition"]:
            catalogue = self._catalogue = Catalogue.load(session, meta["edition"])
        return catalogue

    def number(self, *, now_ms: int, new_nonce: Callable[[], str], has_news: bool = False) -> Head:
        is_current = has_news
        if not has_news:
            with self._database.read() as session:
                meta, is_current = self._look(session)
                if is_current:
                    state = session.dialect.log.state(session)
                    if not state.has_news:
                        return state.head
                self._wait_for_nobody(meta)
        with self._database.write() as session:
            # Numbers do not depend on what the tables are like: who comes next looks after what
            # has changed since.
            if not is_current and not self._look(session)[1]:
                self._follow(session)
            log = session.dialect.log
            log.lock_numbering(session)
            head = log.number(session, now_ms=now_ms, new_nonce=new_nonce)
            return head or log.state(session).head

    # --- Tables -----------------------------------------------------------------------------------

    def track(self, schemas: Sequence[TableSchema]) -> None:
        former = self._database.prepare()
        with self._database.write() as session:
            self._lay_out(session, former)
            tracked = {schema.name for schema in following.tracked_schemas(session)}
            for schema in schemas:
                self._untracked.discard(schema.name)
                if schema.name not in tracked:
                    session.dialect.check_trackable(session, schema)
                gap = following.has_gap(session, schema.name)
                schema = following.remember(session, schema, has_gap=gap)
                if not session.dialect.is_captured(session, schema):
                    session.dialect.create_triggers(session, schema)
            following.note_ddl(session)

    def _lay_out(self, session: Session, former: str) -> None:
        dialect = session.dialect
        dialect.lock_layout(session)
        if has_tables(session):
            if not following.is_current(session):
                self._follow(session)
            return
        make_missing(session)
        values: list[tuple[str, Any]] = [
            ("layout", layout.LAYOUT_VERSION),
            ("layout_min", layout.LAYOUT_VERSION_MIN),
            ("epoch", self._new_epoch()),
            ("edition", 0),
            ("trimmed_seq", 0),
            ("trimmed_id", 0),
            ("indexed_id", 0),
            ("former", former),
            ("identity", dialect.identity(session)),
        ]
        session.executemany(
            "INSERT INTO reunite_meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(name, dialect.meta_value(value)) for name, value in values],
        )

    def resend(self, table: str) -> None:
        with self._database.write() as session:
            if not following.is_current(session):
                self._follow(session)
            schemas = {schema.name: schema for schema in following.tracked_schemas(session)}
            if table not in schemas:
                raise UnknownTableError(f"The table {table!r} is not tracked.")
            schema = following.remember(session, schemas[table], has_gap=True)
            session.dialect.create_triggers(session, schema)
            following.note_ddl(session)

    def untrack(self, table: str) -> None:
        with self._database.write() as session:
            if not following.is_current(session):
                self._follow(session)
            if not following.give_up(session, table):
                raise UnknownTableError(f"The table {table!r} is not tracked.")
            following.note_ddl(session)
            self._untracked.add(table)

    @contextmanager
    def migrating(self) -> Iterator[list[TableMigration]]:
        found: list[TableMigration] = []
        with self._database.migration_lock():
            with self._database.write() as session:
                if migrating.is_under_way(session):  # of a process that died
                    migrating.end(session, **self._options())
                elif not following.is_current(session):
                    following.follow(session, **self._options())
                migrating.begin(session)
            try:
                yield found
            finally:
                with self._database.write() as session:
                    if migrating.is_under_way(session):
                        found += migrating.end(session, **self._options())

    def uninstall(self) -> None:
        with self._database.write() as session:
            meta = read_meta(session)
            is_laid_out(meta)  # raises where a newer release made the tables
            self._wait_for_nobody(meta)
            session.dialect.remove_all(session)
        self._catalogue, self._looked_at = Catalogue(-1, {}), None
        self._database.restore(meta["former"])

    def reflect(self, table: str) -> TableSchema:
        with self._database.read() as session:
            return session.dialect.reflect(session, table)

    def acting(
        self, connection: Any, principal: str, *, now_ms: int
    ) -> AbstractContextManager[None]:
        return acting(connection, principal, now_ms=now_ms)

    def scrub(self) -> str:
        return self._database.scrub()

    def look(self) -> object:
        return self._database.look()

    def measure(self) -> tuple[str, int | None]:
        with self._database.read() as session:
            return session.dialect.name, session.dialect.size(session)

    @property
    def lines(self) -> Lines | None:
        return self._database.lines

    def track_newcomers(self) -> None:
        self._tracks_all, self._looked_at = True, None

    def is_hub(self) -> bool:
        """Whether reunite's tables are there."""
        with self._database.read() as session:
            return has_tables(session)

    def all_tables(self) -> list[str]:
        with self._database.read() as session:
            return session.dialect.all_tables(session)

    def trackable_tables(self) -> list[str]:
        with self._database.read() as session:
            return session.dialect.trackable_tables(session)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _restless() -> StorageUnavailableError:
    return StorageUnavailableError("The database's tables change all the time: try again later.")
