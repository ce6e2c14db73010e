"""The hub: a database and the engine that serves it. Composition root of the server side.

    Hub ──► engine (push, pull, register, repair, query, history) ──► Store ──► the database
     └────► server (asgi, serve), when the extra is there

What it is       the public object: tables, hooks, tokens, and one door for messages, `answer`.
What it is not   a place for decisions; those are in `core` and `engine`.
The rule         nothing here keeps the state of a request; a Hub is safe to share by threads.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from reunite.admission import Admission
from reunite.auditing import Auditing
from reunite.core.change import Op
from reunite.core.principal import Principal
from reunite.core.schema import RowMerge, TableSchema
from reunite.core.sizes import UNSEEN, Look, looked_through
from reunite.directory import Attempts, Sessions, StoredDirectory
from reunite.engine.declaring import declared
from reunite.engine.directory import Directory
from reunite.engine.live import LiveDesk
from reunite.engine.news import Feed, Watchable
from reunite.engine.numbered import NumberedStore
from reunite.engine.ports import Catalogue, Clock, HasUrl, Head, Store, TableMigration
from reunite.engine.pull import pull
from reunite.engine.push import push
from reunite.engine.query import query
from reunite.engine.register import register
from reunite.engine.repair import repair
from reunite.engine.retention import Keeper, trim
from reunite.engine.status import HubLogStatistics, HubStatus, log_statistics
from reunite.engine.tables import Hook, Tables
from reunite.engine.whole import Whole
from reunite.errors import BadRequestError, UnknownTableError
from reunite.feeds import ListeningFeed, LocalFeed, LookingFeed
from reunite.jobs import Jobs, Working
from reunite.metering import Meter
from reunite.protocol.codec import decode, encode
from reunite.protocol.pack import encode_page
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.push import PushAnswer, PushRequest, SchemaAnswer
from reunite.protocol.query import QueryAnswer, QueryRequest
from reunite.protocol.register import RegisterAnswer, RegisterRequest
from reunite.protocol.repair import RepairAnswer, RepairRequest
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.ruling import Ruling
from reunite.tracking import Tracking, TrackOptions
from reunite.workings import Workings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from reunite.server.wsgi import WsgiApp

logger = logging.getLogger("reunite.hub")

# Between transactions of a trim, so that programs that wait to write get their turn.
TRIM_PAUSE_S = 0.02


class SystemClock:
    """The wall time of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def random_id() -> str:
    """128 random bits, in hexadecimal digits."""
    return secrets.token_hex(16)


class Hub(Tracking, Ruling, Auditing, Admission, Working):
    """The authority over a database: tracks its tables and answers its replicas.

        hub = Hub("shop.db")
        hub.track("product", merge={"stock": "counter"})
        token = hub.create_token()
        hub.serve(port=8000)

    `database` is the path of an SQLite file, an `sqlite:///` or `postgresql://` URL, an engine of
    SQLAlchemy, whose URL is taken, or any `Store`. With `keep`, such as `timedelta(days=30)`, the
    hub trims its log as `trim` does, bit by bit while it is used; without, the log is kept until
    you trim it. `feed` tells live streams of news; by default what this process and, over a
    database, any other program commits.

    You can rely on this; the numbers are the invariants the simulator checks:
    - Whoever writes to a tracked table, with whatever program, is captured (I11).
    - A replica's change takes effect once, however often it is sent (I2).
    - What is answered `applied` or `merged` is durable (I1).

    Threads may share a hub; several processes may have hubs on one database. `close()` may be
    called twice.
    """

    def __init__(
        self,
        database: str | Path | Store | HasUrl,
        *,
        keep: timedelta | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] | None = None,
        feed: Feed | None = None,
        directory: Directory | None = None,
    ) -> None:
        super().__init__()
        _check_age(keep)
        if isinstance(database, str | Path | HasUrl):
            from reunite.stores.sql import open_store

            database = open_store(database)
        self._store = database
        self._clock = clock or SystemClock()
        self._numbered = NumberedStore(database, number=self._number_news, clock=self._clock)
        self._new_id = new_id or random_id
        self._keeper = (
            keep
            if keep is None
            else Keeper(database, keep_ms=keep // timedelta(milliseconds=1), who=random_id())
        )
        self._trimming = threading.Lock()
        self._feed = feed or _feed_of(database)
        self._directory = directory or StoredDirectory(
            database, clock=self._clock, new_id=self._new_id, wake=self._feed.wake
        )
        self._sessions = Sessions(
            database,
            self._directory,
            clock=self._clock,
            new_id=self._new_id,
            wake=self._feed.wake,
            attempts=Attempts(now_s=time.monotonic),
        )
        self._declared = Tables(on_failure=_log_failure, directory=self._directory)
        self._jobs = Jobs(database, who=random_id(), clock=self._clock)
        self._meter = Meter(database, who=random_id(), clock=self._clock)

    # -- tables -------------------------------------------------------------------------------

    def _track_table(self, table: str, **options: Unpack[TrackOptions]) -> TableSchema:
        schema, functions = declared(
            self._offered(self._reflect(table), options),
            merge=options.get("merge") or {},
            rows=options.get("rows", RowMerge.DELETE_WINS),
            generated_key=options.get("generated_key"),
        )
        self._track(schema, options.get("rules"), options.get("tenant"), options.get("policy"))
        with self._store.read() as tx:
            self._declared.schemas[table] = tx.schemas()[table]
        self._declared.functions[table] = functions
        return self._declared.schemas[table]

    def track_all(self) -> list[str]:
        """Track every table that has a primary key, and from now on every one that comes, under
        whatever name; the names of those that there are. One whose key looks like a secret is
        left out, with a line in the log: `track` it by its name.

        Raises UntrackableTableError for one with a NULL in its key that is not tracked yet.
        """
        if not isinstance(self._store, Catalogue):
            raise BadRequestError("Only a hub over a database can find its tables by itself.")
        tracked = self._tracked()
        names = [
            name
            for name in self._store.trackable_tables()
            if name in tracked or self._tells_nothing(name)
        ]
        for name in names:
            if name not in tracked:
                self.track(name)
        self.track_newcomers()
        return names

    def track_newcomers(self) -> None:
        """Track every table that comes from now on, such as one that was renamed; those that
        cannot be tracked are passed over."""
        if not isinstance(self._store, Catalogue):
            raise BadRequestError("Only a hub over a database can find its tables by itself.")
        self._store.track_newcomers()
        self._tables.has_all = True

    @contextmanager
    def migrating(self) -> Iterator[Sequence[TableMigration]]:
        """Change tracked tables in the block with any tool; capture is off meanwhile.

            with hub.migrating() as tables:
                subprocess.run(["alembic", "upgrade", "head"], check=True)
            for table in tables:
                print(table.table, table.what)

        For what the triggers stand in the way of, such as DROP COLUMN, and for tools that build
        tables anew; ALTER TABLE ADD and RENAME need nothing. Capture is on again after the block,
        also if it raised; if the process dies in it, the next transaction of any hub sees to it.
        Tables that were written meanwhile count as having a gap in their log, which replicas heal.

        Pushes and pulls in the block, in whatever process, are answered `storage-unavailable`, and
        replicas try later. Raises StorageUnavailableError if somebody is migrating already.
        """
        if not isinstance(self._store, Catalogue):
            raise BadRequestError("Only a hub over a database can be migrated.")
        self.number()
        with self._store.migrating() as tables:
            yield tables

    def _tracked(self) -> Mapping[str, TableSchema]:
        """The tables that this object tracks, as they are now."""
        if not (self._tables.schemas or self._tables.has_all):
            return {}
        with self._store.read() as tx:
            return self._tables.at(tx).schemas

    def adopt(self) -> list[TableSchema]:
        """Offer the tables that the database tracks already, with the policies they have; which.

        Merge functions are not kept in a database: give them again with `track`. Raises
        CallerError if the database is no hub's.
        """
        with self._store.read() as tx:
            found = tx.schemas()
        self._tables.schemas.update(found)
        return list(found.values())

    def resend(self, table: str) -> None:
        """Have every replica compare a table with the hub's, as after a gap in capture, and send
        the rows that differ: for rows that were changed past the triggers. What replicas have
        pending stays."""
        self._tables.schema(table)
        self._store.resend(table)
        with self._store.read() as tx:
            self._tables.schemas[table] = tx.schemas()[table]

    def untrack(self, table: str) -> None:
        """Take the triggers off the table and stop offering it; its log stays."""
        self._store.untrack(table)
        self._tables.schemas.pop(table, None)
        self._tables.functions.pop(table, None)

    def uninstall(self) -> None:
        """Leave the database as it was before reunite came: triggers, log and tokens go."""
        self._store.uninstall()
        self._declared = Tables(on_failure=_log_failure, directory=self._directory)

    def on_insert(self, table: str) -> Callable[[Hook], Hook]:
        """Decorate a function `hook(change, db)` to run, inside the push's transaction, for each
        row that a replica's push inserts. It may write with `db`, and raise `Veto(reason)`."""
        return self._hook(table, Op.INSERT)

    def on_update(self, table: str) -> Callable[[Hook], Hook]:
        """Like `on_insert`, for rows that a push updates."""
        return self._hook(table, Op.UPDATE)

    def on_delete(self, table: str) -> Callable[[Hook], Hook]:
        """Like `on_insert`, for rows that a push deletes."""
        return self._hook(table, Op.DELETE)

    def _hook(self, table: str, op: Op) -> Callable[[Hook], Hook]:
        self._tables.schema(table)

        def add(hook: Hook) -> Hook:
            if not callable(hook):
                raise BadRequestError(f"A hook is a function; {hook!r} is none.")
            self._tables.hooks.setdefault((table, op), []).append(hook)
            return hook

        return add

    def _reflect(self, table: str) -> TableSchema:
        if isinstance(self._store, Catalogue):
            return self._store.reflect(table)
        with self._store.read() as tx:
            try:
                return tx.schemas()[table]
            except KeyError:
                raise UnknownTableError(f"The store has no table {table!r}.") from None

    # -- messages -----------------------------------------------------------------------------

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        """The one door for messages: JSON bytes in, JSON bytes out, one transaction.

        Raises ReuniteError; nothing has happened then.
        """
        match operation:
            case "register":
                return encode(self.register(decode(body, RegisterRequest), principal))
            case "push":
                request = decode(body, PushRequest)
                return encode(self.push(request, principal, look=looked_through(body)))
            case "pull":
                return encode_page(self.pull(decode(body, PullRequest), principal))
            case "repair":
                return encode(self.repair(decode(body, RepairRequest), principal))
            case "query":
                return encode(self.query(decode(body, QueryRequest), principal))
            case "schema":
                return encode(self.schema(principal))
            case _:
                raise BadRequestError(f"There is no operation {operation!r}.")

    def register(self, request: RegisterRequest, principal: Principal) -> RegisterAnswer:
        """Make a new identity for a replica of this principal."""
        with self._meter.use("register", principal) as use:
            answer = register(
                self._store,
                self._tables,
                principal,
                request,
                now_ms=self._clock.now_ms(),
                new_id=self._new_id(),
            )
            use.replica = answer.replica
        return answer

    def push(
        self,
        request: PushRequest,
        principal: Principal,
        *,
        whole: Whole | None = None,
        look: Look = UNSEEN,
    ) -> PushAnswer:
        """Judge and apply a replica's changes; with `whole`, all of the request or, raising
        RefusedError, nothing, and what `whole` does is done in the same transaction. `look` is
        what its message showed of all rows."""
        with self._feed.waking():
            with self._meter.use("push", principal, request.replica) as use:
                answer = push(
                    self._numbered, self._tables, principal, request, whole=whole, look=look
                )
                use.note_push(request, answer)
            if not self._number_news():
                # Nothing took effect, or another process was quicker: streams are told what was
                # answered all the same.
                self._feed.wake()
        self.keep_up()
        return answer

    def pull(self, request: PullRequest, principal: Principal) -> Page:
        """The next page for a replica."""
        with self._meter.use("pull", principal, request.replica) as use:
            page = pull(self._numbered, self._tables, principal, request, note=use.note_page)
        self.keep_up()
        return page

    def repair(self, request: RepairRequest, principal: Principal) -> RepairAnswer:
        """Where a replica's table differs from the hub's, and what the hub has there."""
        with self._meter.use("repair", principal, request.replica):
            return repair(self._numbered, self._tables, principal, request)

    def live(self) -> LiveDesk:
        """What decides for the live streams of one server."""
        return LiveDesk(self._numbered, self._tables)

    @property
    def feed(self) -> Feed:
        """What tells of news."""
        return self._feed

    def query(self, request: QueryRequest, principal: Principal) -> QueryAnswer:
        """The rows of one table that the principal may read and the request means."""
        return query(self._store, self._tables, principal, request)

    def schema(self, principal: Principal) -> SchemaAnswer:
        """The tables that this hub offers, with the columns that the principal may read."""
        tables = self._tables
        with self._store.read() as tx:
            now = tables.at(tx)
            found = now.shown_by(now.access(principal))
            return SchemaAnswer(
                protocol=PROTOCOL_VERSION,
                epoch=tx.head().epoch,
                tables=tuple(found.asked(None).values()),
            )

    def number(self) -> Head:
        """Number what other programs have committed; the log's head. One read if nothing is new.

        Wakes live streams if there was something, of all processes. Notices migrations: tables that
        changed are tracked anew, those that are gone are given up, and mapped ones that were
        awaited are tracked as soon as they are there.
        """
        if self._awaited:
            self._catch_up()
        return self._number(has_news=False)[0]

    def _number_news(self) -> bool:
        """Number what is known to wait for it; whether this call has moved the log's head."""
        return self._number(has_news=True)[1]

    def _number(self, *, has_news: bool) -> tuple[Head, bool]:
        nonces: list[str] = []

        def new_nonce() -> str:
            nonces.append(self._new_id())
            return nonces[-1]

        now_ms = self._clock.now_ms()
        head = self._store.number(now_ms=now_ms, new_nonce=new_nonce, has_news=has_news)
        if nonces:
            self._feed.wake()
        return head, bool(nonces)

    # -- the log's age ------------------------------------------------------------------------

    def trim(self, *, older_than_s: float, seen_within_s: float | None = None) -> int:
        """Remove log older than this that every replica seen since then has read; how much. With
        it go records of conflicts and refusals that wait for nobody; open ones stay.

        seen_within_s   replicas count that were seen within so long, all for `math.inf`; as long
                        as the log is kept by default

        Raises BadRequestError for an age that is negative or not finite.
        """
        if not (math.isfinite(older_than_s) and older_than_s >= 0):
            raise BadRequestError(
                f"{older_than_s} is no age: give the seconds, 0 or more, that the log is kept."
            )
        return trim(
            self._store,
            older_than_ms=self._clock.now_ms() - int(older_than_s * 1000),
            seen_since_ms=_since(self._clock.now_ms(), seen_within_s),
            pause=lambda: time.sleep(TRIM_PAUSE_S),
        )

    def keep_up(self) -> None:
        """Do a small step of the trimming that `keep` asks for, if one is due.

        Pushes and pulls do this by themselves; a program that has neither for long may call it.
        A database that is not available for the moment is trimmed later. Of several hubs of one
        database one trims at a time.
        """
        if self._keeper is not None and self._trimming.acquire(blocking=False):
            try:
                self._keeper.step(self._clock.now_ms())
            finally:
                self._trimming.release()

    # -- looking ------------------------------------------------------------------------------

    def log_statistics(self) -> HubLogStatistics:
        """How large the log is, and how far replicas have read it. Walks through all of it."""
        return log_statistics(self._store, self.number())

    def status(self) -> HubStatus:
        """How the hub stands."""
        tables, head = self._tables, self.number()
        with self._store.read() as tx:
            return HubStatus(
                epoch=head.epoch,
                seq=head.seq,
                changes=tx.last_change_id() - tx.trimmed_id(),
                tables=tuple(sorted(tables.at(tx).schemas)),
                replicas=tuple(tx.replicas()),
            )

    @property
    def workings(self) -> Workings:
        """What this hub is made of, for what is built on top of it."""
        return Workings(
            store=self._store,
            tables=self._tables,
            clock=self._clock,
            directory=self._directory,
            sessions=self._sessions,
            jobs=self._jobs,
            meter=self._meter,
            new_id=self._new_id,
            wake=self._feed.wake,
        )

    def is_ready(self) -> bool:
        """Whether the database answers. Raises StorageUnavailableError when it does not."""
        with self._store.read() as tx:
            tx.head()
        return True

    # -- serving ------------------------------------------------------------------------------

    def asgi(self, *, console: bool = False, **options: Any) -> Starlette:
        """An ASGI application to mount: FastAPI, Starlette, Litestar … Needs `reunite[server]`.

        console   whether the console is at `console/` under the mount point
        options   those of `reunite.server.create_app`: limits, and `authenticate`
        """
        from reunite.server import create_app

        return create_app(self, **with_console(options) if console else options)

    def wsgi(self, *, console: bool = False, **options: Any) -> WsgiApp:
        """A WSGI application to mount: Flask, Django, Bottle … Live replicas ask it once a second,
        for it has no streams. Needs `reunite[server]`.

        console   whether the console is at `console/` under the mount point
        options   those of `reunite.server.create_wsgi_app`: limits, and `authenticate`
        """
        from reunite.server import create_wsgi_app

        return create_wsgi_app(self, **with_console(options) if console else options)

    def serve(self, host: str = "127.0.0.1", port: int = 8000, **options: Any) -> None:
        """Serve until interrupted. Needs `reunite[server]`."""
        from reunite.server import serve

        if options.pop("console", False):
            options = with_console(options)
        serve(self, host, port, **options)

    def close(self) -> None:
        """Stop the jobs and release the database. May be called twice."""
        self._jobs.stop()
        self._meter.stop()
        self._feed.close()
        self._store.close()

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _since(now_ms: int, within_s: float | None) -> int | None:
    """The time so long ago; 0 for longer than there are times."""
    if within_s is None:
        return None
    if not within_s >= 0:
        raise BadRequestError(
            f"{within_s} is no age: give the seconds, 0 or more, or math.inf for all replicas."
        )
    return 0 if within_s * 1000 >= now_ms else now_ms - int(within_s * 1000)


def _check_age(keep: Any) -> None:
    is_age = isinstance(keep, timedelta) and keep >= timedelta(0)
    if keep is not None and not is_age:
        raise BadRequestError(f"{keep!r} is no age: give a timedelta of 0 or more.")


def _feed_of(store: Store) -> Feed:
    if not isinstance(store, Watchable):
        return LocalFeed()
    if store.lines is None:
        return LookingFeed(store.look)
    return ListeningFeed(store.look, store.lines)


def _log_failure(what: str, failure: Exception) -> None:
    logger.error("%s failed", what, exc_info=failure)


def with_console(options: dict[str, Any]) -> dict[str, Any]:
    """The options of an application that has the console."""
    from reunite.console import console_routes

    return {**options, "routes": console_routes}
