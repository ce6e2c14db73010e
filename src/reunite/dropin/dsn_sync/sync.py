"""`DSNSync`: what a backend calls.

What it is       dsn-sync's class, over a hub, a sealed door and an embedded server.
The rule         each call does what it says before it returns True, or says why not.
"""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from reunite.core.change import Op
from reunite.dropin.dsn_sync.entrance import Entrance, open_keys, page
from reunite.dropin.dsn_sync.handlers import Handler, Handlers, logger
from reunite.dropin.dsn_sync.options import (
    Tls,
    checked_folder,
    checked_host,
    checked_life,
    checked_place,
    checked_port,
    checked_requests,
    checked_tls,
    private_folder,
)
from reunite.dropin.dsn_sync.records import (
    checked_key,
    checked_name,
    checked_schema,
    texts_of,
)
from reunite.dropin.dsn_sync.storage import Storage
from reunite.errors import CallerError, ReuniteError
from reunite.server.certificates import self_signed
from reunite.server.embedding import ServerThread
from reunite.server.sealed import DoorKeys

SomeHandler = TypeVar("SomeHandler", bound=Handler)
SomeWork = TypeVar("SomeWork", bound=Callable[[], object])

REQUESTS_PER_ENDPOINT = 100
TOKEN_S = 24 * 3600.0


class DSNSync:
    """A backend that keeps tables of records in its users' pages up to date, and hears what they
    write, without a route for either.

        sync = DSNSync(port=3000)
        sync.start()
        print(sync.get_url(), sync.get_token())
        sync.define_table("users", {"key": "user_id", "fields": ["name", "email"]})
        sync.sync("users", "user_1", {"name": "Ada"})

    port                   0 takes a free one, which `port` says after `start`
    db_connection_string   the path of an SQLite file, `sqlite:///…` or `postgresql://…`; by default
                           `data.db` in `data_dir`
    host                   the address to listen on: this machine's only, unless told otherwise
    tls                    "auto" or "self-signed": a certificate of its own in `data_dir`; "off";
                           or the files of a certificate and its key
    data_dir               where certificate, secret and default database are
    requests_per_endpoint  after so many requests the URL's end changes; connected pages follow
    token_life_s           seconds that a token is valid; connected pages are given the next one

    The environment's DSN_SYNC_SECRET, or else a file that only its owner may read, is what tokens
    are encrypted under in the database. Threads may share an object, also with handlers that call
    `sync`. One object, in one process, serves a database.

    Raises BadRequestError for an argument that can never be right; what else keeps it from serving
    is said by `start`.
    """

    def __init__(
        self,
        port: int = 3000,
        db_connection_string: str | Path | None = None,
        *,
        host: str = "127.0.0.1",
        tls: Tls = "auto",
        data_dir: str | Path = ".dsn_sync",
        requests_per_endpoint: int = REQUESTS_PER_ENDPOINT,
        token_life_s: float = TOKEN_S,
    ) -> None:
        self.port = checked_port(port)
        self.last_error: str | None = None
        self._host, self._tls = checked_host(host), checked_tls(tls)
        self._folder = checked_folder(data_dir)
        self._place = checked_place(db_connection_string)
        self._requests_per_endpoint = checked_requests(requests_per_endpoint)
        self._token_life_s = checked_life(token_life_s)
        self._handlers = Handlers()
        self._jobs: list[Callable[[Storage], object]] = []
        self._lock = threading.RLock()
        self._opened: Storage | None = None
        self._door_keys: DoorKeys | None = None
        self._server: ServerThread | None = None
        self._entrance: Entrance | None = None

    # -- serving ------------------------------------------------------------------------------

    def start(self) -> bool:
        """Open the database and listen. True when the server listens; False when it does already,
        or cannot: `last_error` and the log say why."""
        with self._lock:
            if self._server is not None:
                return self._failed("It has started already.")
            try:
                self._server = self._listen()
            except (ReuniteError, OSError, ValueError, RuntimeError) as error:
                return self._failed(_words(error))
            self.port = int(self._server.url.rpartition(":")[2])
            self.last_error = None
            return True

    def _listen(self) -> ServerThread:
        storage, keys = self._storage(), self._keys()
        certificate = self._certificate()

        def around(app: Any) -> Entrance:
            self._entrance = Entrance(app, keys, requests_per_door=self._requests_per_endpoint)
            return self._entrance

        return ServerThread(
            storage.hub,
            self._host,
            self.port,
            around=around,
            certificate=certificate,
            authenticate=page,
            # All pages are one principal here.
            principal_rate_max=10_000,
            principal_burst_max=10_000,
            principal_requests_max=512,
            principal_streams_max=5_000,
        )

    def stop(self) -> bool:
        """Let requests under way end, and close the port. True when it was running; then the port
        is free, and `start` works again."""
        with self._lock:
            server, self._server = self._server, None
            self._entrance = None
        if server is None:
            return False
        server.close()
        with self._lock:
            opened = self._opened
        if opened is not None:
            # Not under the lock, which a job that runs may be waiting for.
            opened.hub.stop_jobs()
        return True

    def close(self) -> None:
        """Stop, and let go of the database; the next call opens it again. May be called twice."""
        self.stop()
        with self._lock:
            opened, self._opened, self._door_keys = self._opened, None, None
        if opened is not None:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def get_url(self) -> str:
        """The URL for pages. It changes while the server is used; older ones lead to it."""
        scheme = "http" if self._tls == "off" else "https"
        entrance = self._entrance
        path = "/sync/001" if entrance is None else entrance.door.path
        return f"{scheme}://localhost:{self.port}{path}"

    def get_token(self) -> str:
        """A token for a page, valid for half of `token_life_s` at least. It outlives restarts."""
        with self._lock:
            return self._keys().token()

    def rotate_token(self) -> str:
        """Make the next token now. Those given out before go on until their ends, and connected
        pages are told the new one."""
        with self._lock:
            return self._keys().rotate()

    def revoke_token(self, token: str) -> None:
        """End a token, and what is connected by it. Raises ReuniteError for what is no token."""
        with self._lock:
            if self._entrance is not None:
                self._entrance.door.revoke(token)
            else:
                self._keys().revoke(token)

    # -- tables and records -------------------------------------------------------------------

    def define_table(self, table_name: str, schema: dict[str, Any]) -> bool:
        """Declare a table: `{"key": "user_id", "fields": ["name", …]}`. Pages may write to it from
        now on. Declaring it again adds fields, and takes none away. True, or ValueError."""
        table_name = checked_name(table_name, "A table")
        key_field, fields = checked_schema(schema)
        with self._lock:
            self._storage().declare(table_name, key_field, fields)
        return True

    def sync(
        self, table_name: str, key: str, data: dict[str, Any], *, replace: bool = False
    ) -> bool:
        """Store a record, and send it to pages. Fields that are not named keep their values, unless
        `replace` is true. True when it is stored.

        Raises ValueError for what JSON cannot hold, and fields that a declared table does not have.
        A table that was never declared takes every field, and pages cannot write to it.
        """
        table_name, key = checked_name(table_name, "A table"), checked_key(key)
        if self._handlers.connection is not None:
            # In the middle of a page's write: whoever holds the lock may wait for its end.
            storage, table = self._storage_in_use(), None
            known = storage.tables.get(table_name)
            if known is not None:
                texts = texts_of(known, key, data)
                table = storage.known(known, list(texts))
            if table is None:
                raise ValueError(
                    f"A handler cannot make the table {table_name!r}, or fields of it: declare "
                    "them with define_table before."
                )
        else:
            with self._lock:
                storage = self._storage()
                texts = texts_of(storage.open(table_name, []), key, data)
                table = storage.open(table_name, list(texts))
        storage.put(table, key, texts, replace=replace)
        return True

    def on_create(self, table_name: str) -> Callable[[SomeHandler], SomeHandler]:
        """Decorate what runs when a page creates a record: it gets one dictionary of the key field
        and all fields. Returning False, or raising, refuses the record. ValueError for what is no
        name of a table, and no function."""
        return self._handler(table_name, Op.INSERT)

    def on_update(self, table_name: str) -> Callable[[SomeHandler], SomeHandler]:
        """The same for an update: the key field, and the fields that changed."""
        return self._handler(table_name, Op.UPDATE)

    def on_delete(self, table_name: str) -> Callable[[SomeHandler], SomeHandler]:
        """The same for a delete: the key field alone."""
        return self._handler(table_name, Op.DELETE)

    def _handler(self, table_name: str, op: Op) -> Callable[[SomeHandler], SomeHandler]:
        if callable(table_name):
            raise ValueError('A handler is of one table: name it, as in @sync.on_create("users").')
        name = checked_name(table_name, "A table")

        def keep(handler: SomeHandler) -> SomeHandler:
            self._handlers.set(name, op, handler)
            return handler

        return keep

    def every(self, *, seconds: float, name: str | None = None) -> Callable[[SomeWork], SomeWork]:
        """Do something again and again while the server runs, as `Hub.every` does: in a thread, in
        one process of several, and what it raises is logged. Raises ReuniteError for a period that
        is none."""

        def add(work: SomeWork) -> SomeWork:
            def job(storage: Storage) -> object:
                return storage.hub.every(seconds=seconds, name=name)(work)

            with self._lock:
                job(self._storage())
                self._jobs.append(job)
            return work

        return add

    # -- the database -------------------------------------------------------------------------

    def connect_database(self, connection_string: str | Path) -> bool:
        """Use this database from now on. True when it is connected and everything in it is there;
        False, and `last_error` says why, when it cannot be: then all stays as it was.

        Handlers and jobs go on with it, and tokens that were given out stay valid. Declared tables
        are declared there too; records stay in the database that they were written to.
        """
        place = checked_place(connection_string)
        with self._lock:
            try:
                new = Storage(place, self._handlers)
            except (ReuniteError, OSError, ValueError) as error:
                return self._failed(_words(error))
            former, keys = self._opened, self._door_keys
            was_running = self.stop()
            try:
                for table in former.tables.values() if former is not None else ():
                    if table.is_declared:
                        new.declare(table.name, table.key_field, table.fields)
                self._opened, self._door_keys, self._place = new, None, place
                if keys is not None:
                    self._keys().adopt(keys)
            except (ReuniteError, ValueError) as error:
                self._opened, self._door_keys = former, keys
                new.close()
                if was_running:
                    self.start()
                return self._failed(_words(error))
            for job in self._jobs:
                job(new)
            if former is not None:
                former.close()
            self.last_error = None
            return self.start() if was_running else True

    def _storage(self) -> Storage:
        with self._lock:
            if self._opened is None:
                place = self._place
                if place is None:
                    place = str(private_folder(self._folder) / "data.db")
                self._opened = Storage(place, self._handlers)
                for job in self._jobs:
                    job(self._opened)
            return self._opened

    def _storage_in_use(self) -> Storage:
        assert self._opened is not None, "a handler runs"
        return self._opened

    def _keys(self) -> DoorKeys:
        if self._door_keys is None:
            folder = private_folder(self._folder)
            self._door_keys = open_keys(folder, self._storage(), self._token_life_s)
        return self._door_keys

    def _certificate(self) -> tuple[Path, Path] | None:
        if self._tls == "off":
            return None
        if isinstance(self._tls, str):
            now = datetime.datetime.now(datetime.UTC)
            return self_signed(self._folder, host=self._host, now=now)
        certificate, key = map(Path, self._tls)
        for file in (certificate, key):
            if not file.exists():
                raise CallerError(f"There is no {file}: give the files of a certificate and key.")
        return certificate, key

    def _failed(self, why: str) -> bool:
        self.last_error = why
        logger.log(logging.WARNING, "%s", why)
        return False


def _words(error: BaseException) -> str:
    return str(error.__cause__ or error) if isinstance(error, RuntimeError) else str(error)
