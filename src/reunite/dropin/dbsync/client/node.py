"""The client: a replica in the application's own SQLite file, which it joins where it stands.

    track ─► the first sync call: triggers, and the rows that are there are pending
    register ─► credentials of a node, kept in the file; push and pull ─► the replica's

A class that the server does not track stays the node's own: its rows are as they were before
`track`, unsynced, until a sync call finds that the server tracks it.

The rule         a push is one group: all that is unpushed takes effect at the server, or nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from reunite.contrib.sqlalchemy.engines import give_keys
from reunite.core.change import Op
from reunite.core.key import key_text, parse_key
from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.client import errors
from reunite.dropin.dbsync.client.line import Line, Telling, is_good
from reunite.dropin.dbsync.client.net import Decoder, Encoder, Headers, Monitor, options
from reunite.dropin.dbsync.client.talking import Talking
from reunite.dropin.dbsync.codec import (
    by_table,
    keys_in_tables,
    name_of,
    shown_key,
    stored,
    table_of,
)
from reunite.dropin.dbsync.extending import ExtensionError, Extensions
from reunite.dropin.dbsync.listening import watch_listening
from reunite.dropin.dbsync.node_tables import NODE_TABLES, unshared_tables
from reunite.errors import UnknownTableError
from reunite.protocol.pull import Page
from reunite.replica.colliding import CollidingError
from reunite.replica.joining import join, leave, part
from reunite.replica.regrouping import SET_ASIDE, WholeReplica
from reunite.replica.remaking import deferred
from reunite.replica.status import ConflictRecord
from reunite.replica.transport import hub_tables

Model = TypeVar("Model", bound=type)


class Node(NamedTuple):
    """Who this file is to the server."""

    node_id: int
    registered: datetime
    registry_user_id: int | None
    secret: str


class Rescued(NamedTuple):
    """An unpushed change that `repair` set aside: what it wanted, and what it replaced."""

    model: type | None
    pk: Any
    command: str
    values: dict[str, Any]
    replaced: dict[str, Any]


class Client(Talking):
    """One node: the client side of one database.

    engine    None for the one of `dbsync.set_engine`, when it is first needed; of an SQLite file
    """

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__()
        self._engine = engine
        self._models: dict[type, frozenset[str]] = {}
        self._joined: tuple[str, frozenset[str]] | None = None
        self._extensions = Extensions()

    @property
    def engine(self) -> Engine:
        """The database's. Raises ConfigurationError without one."""
        return self._engine or core.get_engine()

    @property
    def path(self) -> Path:
        """The database's file. Raises ConfigurationError for another database."""
        url = self.engine.url
        if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
            raise core.ConfigurationError(
                "A node is an SQLite file: use an engine such as sqlite:///storage.db."
            )
        return Path(str(url.database))

    def track(self, *args: Any) -> Any:
        """Track a class: `@track`, `@track()`, `@track("push")`, `@track("pull")`, or both."""
        return core.tracked(args, self._track)

    def _track(self, model: Model, directions: frozenset[str]) -> Model:
        self._models[model] = self._models.get(model, frozenset()) | directions
        self._joined = None
        return model

    def is_tracked(self, model: type) -> bool:
        """Whether a class is tracked."""
        return model in self._models

    def extend(self, *args: Any, **options: Any) -> None:
        """Have a virtual field travel with the rows of a class; see `Extensions.extend`."""
        self._extensions.extend(*args, **options)
        self._joined = None

    def extension_errors(self) -> list[ExtensionError]:
        """What functions of extensions failed at in the last sync call; the next tries again."""
        return list(self._extensions.errors)

    def save_extensions(self, obj: Any) -> None:
        """Call the save functions of an object with its fields' values."""
        self._extensions.save_extensions(obj)

    def create_all(self) -> None:
        """Make the file a node's: from here on, what is written to tracked tables is logged."""
        names = {name_of(model) for model in self._models}
        sides = {
            name for name, model in self._extensions.side_tables.items() if model in self._models
        }
        wanted = frozenset(names | sides)
        if self._joined == (str(self.path), wanted):
            return
        self._extensions.create(self.engine)
        quiet = self._quiet()
        with self._file() as db:
            unshared = unshared_tables(db)
        join(self.path, (names | sides) - unshared, silent=quiet)
        with self._file() as db:
            for statement in NODE_TABLES:
                db.execute(statement)
            db.execute("delete from reunite_dbsync_quiet")
            db.executemany("insert into reunite_dbsync_quiet values (?)", [(n,) for n in quiet])
        give_keys(self.engine)
        watch_listening(self.engine)
        self._joined = str(self.path), wanted

    def _quiet(self) -> list[str]:
        """The tables of classes that are not pushed."""
        return [name_of(model) for model, given in self._models.items() if "push" not in given]

    def _find_shared(self, line: Line) -> bool:
        """Ask the server which of the tables it tracks; whether those are others by now."""
        offered = line.carry(lambda: hub_tables(line, None))
        with self._looking() as replica:
            joined = set(replica.schemas)
        with self._file() as db:
            known = unshared_tables(db)
            unshared = (joined | known) - offered
            if unshared == known and joined <= offered:
                return False
            part(self.path, joined - offered)
            db.execute("begin immediate")
            db.execute("delete from reunite_dbsync_unshared")
            db.executemany("insert into reunite_dbsync_unshared values (?)", zip(unshared))
            db.execute("commit")
        self._joined = None
        self.create_all()
        return True

    def drop_all(self) -> None:
        """Take out what `create_all` put into the file; the application's rows stay."""
        leave(self.path)
        self._joined = None

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as db:
            yield db

    # -- who we are ---------------------------------------------------------------------------

    def register(
        self,
        registry_url: str,
        extra_data: Any = None,
        encode: Encoder = None,
        decode: Decoder = None,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Any:
        """Become a node; the server's answer. Raises RegisterRejected, NetworkError."""
        self.create_all()
        code, reason, answer = self.send(
            "POST", registry_url, extra_data or {}, options(encode, decode, headers, timeout)
        )
        if not is_good(code):
            raise errors.RegisterRejected(code, reason, answer)
        try:
            told = answer["node"]
            node = Node(
                int(told["node_id"]),
                datetime(*told["registered"]),  # noqa: DTZ001 — as it was sent
                told["registry_user_id"],
                str(told["secret"]),
            )
        except (LookupError, TypeError, ValueError) as exc:
            raise errors.RegisterRejected(code, reason, answer) from exc
        self.save_node(*node)
        return answer

    def save_node(
        self, node_id: int, registered: datetime, register_user_id: int | None, secret: str
    ) -> None:
        """Store credentials without asking for them."""
        self.create_all()
        with self._file() as db:
            db.execute(
                "insert or replace into reunite_dbsync_node values (?, ?, ?, ?, 0, 0, 0)",
                (node_id, registered.isoformat(), register_user_id, secret),
            )

    def get_node(self) -> Node | None:
        """The node with the largest id, None if there is none."""
        self.create_all()
        with self._file() as db:
            row = db.execute(
                "select node_id, registered, registry_user_id, secret from reunite_dbsync_node "
                "order by node_id desc limit 1"
            ).fetchone()
        if row is None:
            return None
        return Node(row[0], datetime.fromisoformat(row[1]), row[2], row[3])

    def isregistered(self) -> bool:
        """Whether this file is a node."""
        return self.get_node() is not None

    def get_latest_version_id(self) -> int:
        """The last version that the server told this node; 0 if none."""
        self.create_all()
        with self._file() as db:
            (version,) = db.execute("select max(version) from reunite_dbsync_node").fetchone()
        return int(version or 0)

    def _note_version(self, line: Line, *, has_seen: bool) -> int:
        """Keep what the server calls its latest version; which that is."""
        if line.version is not None:
            with self._file() as db:
                db.execute(
                    "update reunite_dbsync_node set version = max(version, ?1), "
                    "seen = iif(?2, ?1, seen)",
                    (line.version, has_seen),
                )
            return line.version
        return self.get_latest_version_id()

    # -- syncing ------------------------------------------------------------------------------

    def push(
        self,
        push_url: str,
        extra_data: Any = None,
        encode: Encoder = None,
        decode: Decoder = None,
        headers: Headers = None,
        timeout: float | None = None,
        include_extensions: bool = True,
    ) -> dict[str, int]:
        """Send all that is unpushed; `{"new_version_id": n}`. Raises PushRejected, PullSuggested,
        NetworkError: then nothing of it is stored at the server, and all of it stays here."""
        self._begin()
        extra = {"extra_data": extra_data}
        line = Line(
            self,
            push_url,
            extra=extra,
            options=options(encode, decode, headers, timeout),
            refusal=errors.PushRejected,
        )

        def work(replica: WholeReplica) -> None:
            try:
                line.carry(replica.settle)
                if include_extensions:
                    self._load_extensions()
                line.carry(lambda: replica.squash(lambda: line.taken, without=self._quiet()))
                replica.regroup()
                line.carry(replica.push)
            except CollidingError as exc:
                reason = "rows of the server have unique values of unpushed ones: pull says which"
                raise errors.PullSuggested(None, reason, None) from exc

        self._sync(line, work)
        if include_extensions:
            self._extensions.hand_over(self.engine)
        return {"new_version_id": self._note_version(line, has_seen=line.is_latest)}

    def pull(
        self,
        pull_url: str,
        extra_data: Any = None,
        encode: Encoder = None,
        decode: Decoder = None,
        headers: Headers = None,
        monitor: Monitor = None,
        timeout: float | None = None,
        include_extensions: bool = True,
    ) -> Any:
        """Merge what is new at the server; its last answer. Raises BadResponseError, ResyncNeeded,
        UniqueConstraintError, NetworkError: then nothing is applied."""
        self._begin()
        telling = Telling(monitor, "merging")
        extra = {"extra_data": extra_data, "include_extensions": include_extensions}
        line = Line(
            self,
            pull_url,
            extra=extra,
            options=options(encode, decode, headers, timeout),
            refusal=errors.BadResponseError,
            telling=telling,
        )

        def work(replica: WholeReplica) -> None:
            try:
                line.carry(replica.pull)
            except CollidingError as exc:
                raise self._unique_error(exc) from exc
            self._give_up_deletes(replica)

        with telling.errors_told():
            self._sync(line, work, arrive=include_extensions)
        self._note_version(line, has_seen=True)
        if include_extensions:
            self._extensions.hand_over(self.engine)
        telling.tell(status="done")
        return line.answer

    def repair(
        self,
        repair_url: str,
        include_extensions: bool = True,
        extra_data: Mapping[str, Any] | None = None,
        encode: Encoder = None,
        decode: Decoder = None,
        headers: Headers = None,
        timeout: float | None = None,
        monitor: Monitor = None,
        *,
        reapply: bool = False,
    ) -> Any:
        """Replace all tracked rows by the server's; its last answer. Unpushed changes are set aside
        (`rescued_changes`); with `reapply` they stay unpushed changes. Raises BadResponseError,
        NetworkError; then nothing has happened."""
        self._begin()
        telling = Telling(monitor, "repairing")
        extra = dict(extra_data or {})
        if not include_extensions:
            extra["exclude_extensions"] = "1"
        line = Line(
            self,
            repair_url,
            method="GET",
            extra=extra,
            options=options(encode, decode, headers, timeout),
            refusal=errors.BadResponseError,
            telling=telling,
        )

        def work(replica: WholeReplica) -> None:
            if include_extensions:
                self._load_extensions()  # of what is set aside, or put back
            replica.steps_aside = True
            replica.start_over()
            line.carry(replica.pull)
            if not reapply:
                replica.set_aside("repair")

        with telling.errors_told():
            self._sync(line, work, arrive=include_extensions)
        self._note_version(line, has_seen=True)
        if include_extensions:
            # A file may be lost though its row is as it was.
            unpushed = {(table, key) for table, key, _ in self._unpushed()}
            self._extensions.note_all(self.engine, besides=unpushed)
            self._extensions.hand_over(self.engine)
        telling.tell(status="done")
        return line.answer

    def _begin(self) -> None:
        self.create_all()
        self._extensions.errors.clear()

    def _sync(
        self, line: Line, work: Callable[[WholeReplica], None], *, arrive: bool = False
    ) -> None:
        """Do some work of a sync call; anew, if it finds that the server does not track all."""
        with self._file() as db:
            has_unshared = bool(unshared_tables(db))
        if has_unshared:
            self._find_shared(line)
        try:
            with self._replica(line, arrive=arrive) as replica:
                work(replica)
        except errors.AnswerError as exc:
            is_unshared = isinstance(exc.__cause__, UnknownTableError)
            if not (is_unshared and self._find_shared(line)):
                raise
            with self._replica(line, arrive=arrive) as replica:
                work(replica)

    @contextmanager
    def _replica(self, line: Line, *, arrive: bool = False) -> Iterator[WholeReplica]:
        with WholeReplica(self.path, transport=line) as replica:
            if arrive and self._extensions.models:
                replica.on_page = self._note_arrivals
            yield replica

    def _unique_error(self, error: CollidingError) -> errors.UniqueConstraintError:
        models = self._models_by_table()
        return errors.UniqueConstraintError(
            [
                (models[table], shown_key(models[table], key), columns)
                for table, key, columns in error.found
            ]
        )

    def _give_up_deletes(self, replica: WholeReplica) -> None:
        """A delete of what others need by now: the row has come back."""
        for parked in replica.parked():
            if parked.op is Op.DELETE and parked.code != SET_ASIDE:
                replica.discard(parked.id)

    # -- extensions -----------------------------------------------------------------------------

    def _load_extensions(self) -> None:
        models = by_table(self._models)
        with self._file() as db:
            unpushed = db.execute(
                "select distinct table_name, key from reunite_outbox where outcome is null"
            ).fetchall()
        self._extensions.load(
            self.engine,
            [
                (models[table], parse_key(key))
                for table, key in unpushed
                if table in models and self._extensions.of(models[table])
            ],
        )

    def _note_arrivals(self, page: Page) -> None:
        """Remember what the rows were that a page is about to change."""
        models = self._extensions.models
        with Session(self.engine) as session:
            for part in page.tables:
                model = models.get(part.table)
                if model is None:
                    continue
                places = [part.columns.index(column.name) for column in table_of(model).primary_key]
                keys = [tuple(row[place] for place in places) for row in part.puts]
                for key in (*keys, *map(tuple, part.deletes), *map(tuple, part.evicts)):
                    old = self._extensions.state_of(session, model, key)
                    self._extensions.note(session, model, key, old)
            session.commit()

    # -- messages -------------------------------------------------------------------------------

    def signed(
        self, operation: str, body: bytes, extra: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """A message of this node; none if it is no node yet."""
        node = self.get_node()
        if node is None:
            return None
        with self._file() as db:
            counter, seen = db.execute(
                "update reunite_dbsync_node set counter = max(counter + 1, ?) where node_id = ? "
                "returning counter, seen",
                (time.time_ns() // 1_000, node.node_id),
            ).fetchone()
        message = {
            **extra,
            "node_id": node.node_id,
            "operation": operation,
            "body": msgspec.json.decode(body),
            "counter": counter,
            "version": seen,
        }
        return {**message, "signature": core.signature(message, node.secret)}

    # -- looking ------------------------------------------------------------------------------

    def _models_by_table(self) -> dict[str, type]:
        return by_table(self._models) | self._extensions.side_tables

    def unsynched_objects(self) -> list[tuple[type, Any, str]]:
        """What is unpushed of classes that are tracked both ways: (class, key, command)."""
        self.create_all()
        models = by_table(
            model
            for model, directions in self._models.items()
            if len(directions) == len(core.DIRECTIONS)
        )
        ops: dict[tuple[str, str], list[str]] = {}
        for table, key, op in self._unpushed():
            if table in models:
                ops.setdefault((table, key), []).append(op[0])
        squashed = {place: core.squashed(found) for place, found in ops.items()}
        return [
            (models[table], shown_key(models[table], parse_key(key)), op)
            for (table, key), op in squashed.items()
            if op is not None
        ]

    def _unpushed(self) -> list[tuple[str, str, str]]:
        with self._file() as db:
            adopted = deferred(db)
            changes = db.execute(
                "select table_name, key, op from reunite_outbox where outcome is null order by id"
            ).fetchall()
            unshared = unshared_tables(db).difference(self._quiet())
        with Session(self.engine) as session:
            rows = [
                (table, key_text(tuple(map(stored, key_columns, key))), Op.INSERT)
                for table, model in by_table(self._models).items()
                if table in unshared
                for key_columns in [table_of(model).primary_key]
                for key in session.query(*key_columns)
            ]
        return [*adopted, *changes, *rows]

    def is_synched(self, obj: Any) -> bool:
        """Whether nothing of an object is unpushed. Raises TypeError for one of a class that is
        not tracked."""
        model = type(obj)
        if model not in self._models:
            raise TypeError(f"the given object of class {model.__name__} isn't being tracked")
        self.create_all()
        places = {(table, key_text(key)) for table, key in keys_in_tables(obj).items()}
        return places.isdisjoint((table, key) for table, key, _ in self._unpushed())

    def trim(self) -> None:
        """For programs that call it: what was pushed leaves this file's log with the next pull, so
        there is nothing to delete."""
        self.create_all()

    def rescued_changes(self) -> list[Rescued]:
        """What `repair` has set aside, oldest first."""
        self.create_all()
        models = self._models_by_table()
        with self._looking() as replica:
            return [
                Rescued(
                    (model := models.get(each.table)),
                    each.key if model is None else shown_key(model, each.key),
                    each.op.value[0],
                    each.set,
                    each.was,
                )
                for each in replica.parked()
                if each.code == SET_ASIDE
            ]

    def conflicts(self) -> list[ConflictRecord]:
        """What the server decided where this node's changes met others, newest last."""
        self.create_all()
        with self._looking() as replica:
            return replica.conflicts()

    @contextmanager
    def _looking(self) -> Iterator[WholeReplica]:
        with self._replica(Line(self, "", refusal=errors.BadResponseError)) as replica:
            yield replica
