"""Replica: the public object of the client side, and its composition root."""

from __future__ import annotations

import logging
import random
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.mapped import check_mapped
from reunite.core.schema import TableSchema
from reunite.errors import (
    BadRequestError,
    CallerError,
    KeysUsedUpError,
    NotAReplicaError,
    ReuniteError,
    StorageUnavailableError,
)
from reunite.protocol.limits import NAME_LENGTH_MAX
from reunite.protocol.pull import Page
from reunite.replica.asked import AskedTables, asked_tables, check_choice
from reunite.replica.cloning import Cloning
from reunite.replica.conversation import Conversation
from reunite.replica.driver import BeforeCheckpoint, Driver, Manners
from reunite.replica.file import ReplicaFile
from reunite.replica.groups import take_key
from reunite.replica.live import LiveLink, LiveThread
from reunite.replica.login import hub_at, kept_login, log_in, token_file
from reunite.replica.repair import RepairReport
from reunite.replica.reports import LiveReport, OnProgress, SyncReport
from reunite.replica.state import State, void_inbox
from reunite.replica.status import ConflictRecord, ParkedChange, ReplicaStatus, status_of
from reunite.replica.transport import Transport, check_offered, hub_tables
from reunite.stores.sql.database import translated

Report = TypeVar("Report")
Model = TypeVar("Model")

logger = logging.getLogger("reunite.replica")


class Clock(Protocol):
    """The wall time; injected, so that tests own it."""

    def now_ms(self) -> int: ...


class Replica:
    """A device's copy of what its principal may read, with an outbox for what it writes.

    Reading and writing touch only the SQLite file: they work offline and never wait for the hub.

        with Replica("till.db", url="https://shop.example/sync", token=token) as replica:
            with replica.transaction() as db:
                db.execute("insert into sale (id, total) values ('s1', 12)")
            replica.sync()

    You can rely on this; the numbers are the invariants the simulator checks:
    - A committed transaction survives a crash, together with its outbox entries (I1).
    - A change takes effect on the hub once, however often it is sent (I2).
    - Transactions of the hub appear whole or not at all (I5).
    - A rejected change is undone here and parked with its reason; none is dropped silently (I10).

    Any program may read and write the same file meanwhile. `close()` may be called twice.

    path           an SQLite file that `Replica.clone` made
    url, token     the hub; the url defaults to the one that was cloned from, the token to the
                   log-in that is kept beside the file
    transport      instead of url and token: how to reach the hub
    page_rows      rows to ask for in a page; the hub's own limit by default
    on_checkpoint  called after each checkpoint has been committed
    """

    # Called with each page of the hub before it is kept, outside of transactions; a page that
    # another process keeps in its place is told of all the same.
    on_page: Callable[[Page], None] | None = None

    # See `Driver`.
    _before_checkpoint: BeforeCheckpoint | None = None
    _manners = Manners()

    def __init__(
        self,
        path: str | Path,
        *,
        url: str | None = None,
        token: str | Callable[[], str] | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        page_rows: int | None = None,
        on_checkpoint: Callable[[Replica], None] | None = None,
    ) -> None:
        self._file = ReplicaFile(Path(path))
        self._url = url or self._file.state().url
        self._token = token
        self._transport = transport
        self._now_ms = (clock or _SystemClock()).now_ms
        self._page_rows = page_rows
        self._on_checkpoint = on_checkpoint
        self._watchers: dict[object, tuple[str, Callable[[str], None]]] = {}
        self._live: LiveThread | None = None
        self._is_closed = False

    @classmethod
    def clone(
        cls,
        path: str | Path,
        url: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        username: str | None = None,
        password: str | None = None,
        tenant: str | None = None,
        tables: AskedTables = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        page_rows: int | None = None,
        on_checkpoint: Callable[[Replica], None] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Replica:
        """Make `path` a replica of the hub at `url`, and fill it. Resumes where it broke off.

        username       with `password` instead of a token; what refreshes this log-in is kept in
                       `FILE-token`, its owner's alone. `tenant`: for members of several
        tables         names of the tables to have, all that the token may read by default; as a
                       mapping, each with an expression for the rows to have, or None for all of
                       them: `{"sale": row.store == 7, "product": None}`. The name "*" stands for
                       all other tables: `{"sale": row.store == 7, "*": None}`

        Raises CallerError if the file has tables of these names that are no replica's, or a clone
        of other tables broke off here; BadRequestError for an expression that does not fit its
        table; HubUnreachableError, NotAuthenticatedError.
        """
        names, where = asked_tables(tables)
        existed = Path(path).exists()
        if username is not None:
            token = log_in(Path(path), url, username, password or "", tenant=tenant)
        if existed:
            # Before the file is touched: a refused clone leaves it as it was.
            with ExitStack() as closing_ours:
                asked_hub = transport or closing_ours.enter_context(closing(hub_at(url, token)))
                ReplicaFile.check_free(Path(path), lambda: hub_tables(asked_hub, names))
        ReplicaFile.create(Path(path))
        replica = cls(
            path,
            url=url,
            token=token,
            transport=transport,
            clock=clock,
            page_rows=page_rows,
            on_checkpoint=on_checkpoint,
        )
        try:
            with replica._file.sync_lock():
                cloning = Cloning(replica._file, replica._conversation(on_progress))
                state = replica._file.state()
                if not state.replica:
                    cloning.register(replica._url or "", names, where)
                elif (state.tables, state.where) != (names, where):
                    raise CallerError(
                        f"{path} was cloned with other tables: give the same ones again. Change "
                        "them with `set_tables` (`reunite sync --where`) when the clone is whole."
                    )
                cloning.fill()
                if on_checkpoint is not None:
                    on_checkpoint(replica)
        except BaseException:
            has_identity = bool(replica._file.state().replica)
            replica.close()
            if not has_identity and not existed:
                ReplicaFile.remove(Path(path))
                if username is not None:
                    token_file(Path(path)).unlink(missing_ok=True)
            raise
        return replica

    # -- writing ------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A local transaction: a group that takes effect on the hub whole or not at all.

        Commits when the block ends, rolls back when it raises. The connection is this block's
        only; foreign keys are enforced on it. What the block itself commits stays, and goes to the
        hub as what other programs write. Other threads wait for their turn, as SQLite has one
        writer at a time; nobody waits for the network. Raises CallerError inside another one.
        """
        self._check_ready()
        with self._file.group(self._now_ms) as connection:
            yield connection
        if self._live is not None:
            self._live.nudge()

    def new_key(self, table: str) -> int:
        """A generated key of this replica's block, for an insert that needs to know it.

        Works inside and outside of `transaction()`.

        Raises BadRequestError for a table whose keys are not generated, KeysUsedUpError when the
        block is used up (sync brings another).
        """
        with self._file.keeping() as (connection, state):
            key = take_key(connection, state, table)
        if key is None:
            raise KeysUsedUpError(
                f"The block of keys of {table!r} is used up: sync to get another, or insert "
                "without a key; the next sync may then change the one that the row got."
            )
        return key

    # -- syncing ------------------------------------------------------------------------------

    def set_tables(self, tables: AskedTables) -> None:
        """Choose other tables, or other rows of them, as `clone` does. The next pull brings what
        came into the view and takes away what left it, and nothing else.

        Pending changes stay and are pushed, also of rows that leave; of a table that leaves, push
        them first, or they are parked. The hub is asked only about names that are new here.

        Raises BadRequestError for an expression that does not fit a table of this replica (the
        next pull says so of tables that it does not have yet); UnknownTableError for a new name
        that the hub does not offer, and HubUnreachableError if it cannot be asked. Nothing is
        changed then.
        """
        self._check_ready()
        names, where = asked_tables(tables)
        with ExitStack() as stack:
            stack.enter_context(self._file.sync_lock())
            new_names = {*(names or ()), *where} - _known_names(self._file.state())
            if new_names:
                check_offered(self._reach_hub(), new_names)
            connection, state = stack.enter_context(self._file.writing())
            schemas = self._file.schemas(state)
            check_choice(where, schemas, path="tables")
            if (state.tables, state.where) != (names, where):
                state.tables, state.where = names, where
                # Pages of the view before, on their way to a checkpoint that nobody asks for now.
                void_inbox(connection, state)

    def sync(self, *, dry_run: bool = False, on_progress: OnProgress | None = None) -> SyncReport:
        """Push, pull and merge. With `dry_run`, only say what a sync would push and pull.

        Raises HubUnreachableError (nothing is lost: sync again later), NotAuthenticatedError,
        ReplicaBusyError (another process syncs this file), NotAReplicaError; and, when all is
        done, BadRequestError if the rows that were chosen are told by a column that the hub does
        not show any more: it takes that for no row, until `set_tables` chooses anew.
        """
        if dry_run:
            return self._run(lambda driver: driver.preview(), on_progress)
        report = self._run(lambda driver: driver.sync(), on_progress)
        self._check_choice()
        return report

    def push(self, *, on_progress: OnProgress | None = None) -> SyncReport:
        """Send the outbox. Raises as `sync` does."""

        def run(driver: Driver) -> SyncReport:
            driver.push()
            return driver.report()

        return self._run(run, on_progress)

    def pull(self, *, on_progress: OnProgress | None = None) -> SyncReport:
        """Read what is new. Raises as `sync` does."""

        def run(driver: Driver) -> SyncReport:
            driver.pull()
            return driver.report()

        report = self._run(run, on_progress)
        self._check_choice()
        return report

    def _check_choice(self) -> None:
        state = self._file.state()
        if state.where:
            check_choice(state.where, self._file.schemas(state))

    def repair(
        self, tables: Sequence[str] | None = None, *, on_progress: OnProgress | None = None
    ) -> RepairReport:
        """Compare this replica's rows with the hub's, and fetch those that differ; what was found.

        tables         names of tables; all by default

        Pulls first. What waits in the outbox stays there and is shown on top, as ever. Both sides
        read the tables through once; what travels follows the differences. Raises as `sync` does,
        and BadRequestError for a table that this replica does not have.
        """
        self._check_tables(tables)
        return self._run(lambda driver: driver.repair(tables), on_progress)

    def compare(
        self, tables: Sequence[str] | None = None, *, on_progress: OnProgress | None = None
    ) -> RepairReport:
        """What a repair would find. Nothing is changed.

        What others changed at the hub since the last sync is no finding; the next one brings it.
        Costs and errors are those of `repair`.
        """
        self._check_tables(tables)
        self._check_ready()
        with self._file.sync_lock():
            return self._driver(on_progress).compare(tables)

    def renew_capture(self) -> None:
        """Make the triggers of all tables anew, as they should be. What was written without them
        is in no outbox; `repair` finds it."""
        self._check_ready()
        with self._file.sync_lock(), self._file.writing(bulk=True):
            pass

    def _check_tables(self, tables: Sequence[str] | None) -> None:
        unknown = set(tables or ()) - set(self.schemas)
        if unknown:
            raise BadRequestError(f"This replica has no table {min(unknown)!r}.")

    def _run(self, use_case: Callable[[Driver], Report], on_progress: OnProgress | None) -> Report:
        self._check_ready()
        with self._file.sync_lock():
            try:
                report = use_case(self._driver(on_progress))
            except ReuniteError as exc:
                # A file that cannot be written must not hide why the sync ended.
                with (
                    suppress(StorageUnavailableError),
                    self._file.writing(keeps_ranges=True) as (_, state),
                ):
                    state.last_error = f"{exc.code}: {exc.message}"
                raise
            with self._file.writing(keeps_ranges=True) as (_, state):
                state.last_error = ""
                state.synced_ms = self._now_ms()
            return report

    def _driver(self, on_progress: OnProgress | None) -> Driver:
        def on_checkpoint(tables: set[str]) -> None:
            if self._on_checkpoint is not None:
                self._on_checkpoint(self)
            self._note_changed(tables)

        return Driver(
            self._file,
            self._conversation(on_progress),
            now_ms=self._now_ms,
            on_checkpoint=on_checkpoint,
            on_page=self.on_page,
            before_checkpoint=self._before_checkpoint,
            manners=self._manners,
        )

    def _conversation(self, on_progress: OnProgress | None) -> Conversation:
        return Conversation(
            self._reach_hub(),
            name=_printable(self._file.path.name),
            page_rows=self._page_rows,
            on_progress=on_progress,
        )

    def _reach_hub(self) -> Transport:
        if self._transport is None:
            token = self._token or kept_login(self._file.path, self._url)
            self._transport = hub_at(self._url, token)
        return self._transport

    def log_in(self, username: str, password: str, *, tenant: str | None = None) -> None:
        """Log in again, when a log-in has ended. Raises as `clone` does."""
        log_in(self._file.path, self._url, username, password, tenant=tenant)

    def _check_ready(self) -> None:
        if not self._file.state().is_ready:
            raise NotAReplicaError(
                f"The first clone of {self._file.path} has not finished: run `reunite clone` again."
            )

    # -- live ---------------------------------------------------------------------------------

    def start(
        self,
        *,
        on_event: Callable[[LiveReport], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Keep the file and the hub together from now on, in a thread, until `stop` or `close`.

        Others' commits arrive as they happen, over a stream; what is written here, by this or any
        other program, is pushed soon after. Whatever breaks (the network, the hub, a token that is
        refused) is tried again, after pauses that grow to half a minute.

        on_event    called in that thread whenever something happened or the line changed
        chance      draws the pauses, in [0, 1)

        Nothing if it is live already.
        """
        self._check_ready()
        if self._live is not None:
            return
        self._live = LiveThread(self._live_link(), on_event=on_event, chance=chance)
        self._live.start()

    def _live_link(self) -> LiveLink:
        return LiveLink(
            file=self._file,
            transport=self._reach_hub,
            conversation=lambda: self._conversation(None),
            driver=lambda: self._driver(None),
            run=lambda use_case: self._run(use_case, None),
            note_local=self._note_changed,
            now_ms=self._now_ms,
        )

    def stop(self) -> None:
        """End what `start` began; returns when the step under way is done. May be called twice."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    @property
    def live(self) -> LiveReport:
        """How the live line stands; `stopped` without one."""
        return LiveReport(phase="stopped") if self._live is None else self._live.report

    def wait_until_synced(self, timeout_s: float) -> bool:
        """Wait until the hub has all that was written here before the call, and this file shows
        what the hub had at some moment after it; False if that takes longer than `timeout_s`.

        Raises CallerError if the replica is not live: call `start` before.
        """
        if self._live is None:
            raise CallerError("The replica is not live: call start() first, or sync().")
        return self._live.wait_until_synced(timeout_s)

    def watch(self, table: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have `callback(table)` called after rows of the table may have changed; what is returned
        ends that.

        It is told of everything that comes from the hub, whoever syncs with this object, and, while
        the replica is live, of what any program writes to the file; perhaps also of changes
        that change nothing. It is called in the thread that syncs, outside of transactions, and
        keeps it waiting. Raises BadRequestError for a table that this replica does not have.
        """
        self._check_tables([table])
        place = object()
        self._watchers = {**self._watchers, place: (table, callback)}

        def end() -> None:
            self._watchers = {key: each for key, each in self._watchers.items() if key != place}

        return end

    def _note_changed(self, tables: set[str]) -> None:
        for table, callback in self._watchers.values():
            if table in tables:
                try:
                    callback(table)
                except Exception:
                    logger.exception("a function that watches %r failed", table)

    # -- looking ------------------------------------------------------------------------------

    def status(self) -> ReplicaStatus:
        """How this replica stands: pending, parked, conflicts, age, last error."""
        with self._file.reading() as (connection, state):
            return status_of(connection, state, self._file, now_ms=self._now_ms())

    def conflicts(self, *, open_only: bool = False) -> list[ConflictRecord]:
        """What the hub decided where this replica's changes met others, newest last."""
        with self._file.reading() as (connection, _):
            return ConflictRecord.all(connection, open_only=open_only)

    def decide(self, conflict_id: int, value: Any) -> None:
        """Settle a conflict of one column with a value: an ordinary local change.

        Raises BadRequestError if there is no such conflict, or if it is about a whole row.
        """
        with self._file.reading() as (connection, _):
            found = [item for item in ConflictRecord.all(connection) if item.id == conflict_id]
        column = found[0].column if found else None
        if column is None:
            raise BadRequestError(f"There is no conflict {conflict_id} of a single column.")
        conflict = found[0]
        with self._file.group(self._now_ms) as connection, translated():
            self._file.update_row(connection, conflict.table, conflict.key, {column: value})
            connection.execute(
                "update reunite_conflict set is_open = 0, decided = ? where id = ?",
                (msgspec.json.encode(value).decode(), conflict_id),
            )

    def parked(self) -> list[ParkedChange]:
        """The changes that the hub rejected, with its reasons, oldest first."""
        with self._file.reading() as (connection, _):
            return ParkedChange.all(connection)

    def retry(self, parked_id: int, values: Mapping[str, Any] | None = None) -> None:
        """Make a parked change again, as a new local one; `values` replaces some of its columns.

        Raises BadRequestError if it or its row is not there, ConstraintError if the file refuses.
        """
        change = self._parked(parked_id)
        with self._file.group(self._now_ms) as connection, translated():
            if change.op is Op.DELETE:
                self._file.delete_row(connection, change.table, change.key)
            elif change.op is Op.INSERT:
                self._file.insert_row(connection, change.table, {**change.set, **(values or {})})
            else:
                self._file.update_row(
                    connection, change.table, change.source, {**change.set, **(values or {})}
                )
            connection.execute("delete from reunite_parked where id = ?", (parked_id,))

    def discard(self, parked_id: int) -> None:
        """Give a parked change up. Raises BadRequestError if it is not there."""
        self._parked(parked_id)
        with self._file.writing() as (connection, _):
            connection.execute("delete from reunite_parked where id = ?", (parked_id,))

    def _parked(self, parked_id: int) -> ParkedChange:
        for change in self.parked():
            if change.id == parked_id:
                return change
        raise BadRequestError(f"There is no parked change {parked_id}.")

    def track(self, model: Model) -> Model:
        """Check that this replica has what a mapped class, a Table or metadata of SQLAlchemy maps;
        the model comes back, so this decorates a class.

        Raises BadRequestError for a table, a column or a key that the hub's tables do not have.
        """
        check_mapped(model, self.schemas.values())
        return model

    def now_ms(self) -> int:
        """The time of this replica's clock."""
        return self._now_ms()

    def base_rows(self, table: str) -> dict[Key, tuple[Any, ...]]:
        """The hub's image of every row, pending changes left out. For tests and `doctor`."""
        return self._file.base_rows(table, now_ms=self._now_ms())

    @property
    def schemas(self) -> Mapping[str, TableSchema]:
        """The replica's tables by name."""
        return self._file.schemas(self._file.state())

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._file.path

    # -- end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the file and the connection to the hub. May be called twice."""
        self._is_closed = True
        self.stop()
        if self._transport is not None:
            self._transport.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self!r} was dropped without close().", ResourceWarning, stacklevel=2)


def _known_names(state: State) -> set[str]:
    """The tables that this replica has or has asked for: such a one may have gone at the hub."""
    return {schema.name for schema in state.schemas} | {*(state.tables or ()), *state.where}


def _printable(name: str) -> str:
    """A file's name as the hub may show it."""
    return "".join(letter for letter in name if letter.isprintable())[:NAME_LENGTH_MAX]


class _SystemClock:
    def now_ms(self) -> int:
        import time

        return time.time_ns() // 1_000_000
