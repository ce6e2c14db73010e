"""The server: a hub whose routes are the application's own, and whose messages are dictionaries.

    register    a node: an id, and a secret of its own; no replica yet
    push, pull  signed messages: {"operation", "body"} of reunite's protocol, answered by the hub

What it is not   a log or a merge: both are the hub's. Columns are `replica_wins` and rows
                 `update_wins`, as the original prefers.
The rule         a push is taken whole or not at all.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Engine, insert, select, update

from reunite.core.cursor import decode_cursor
from reunite.core.key import Key, key_text
from reunite.core.principal import Principal
from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.codec import table_of
from reunite.dropin.dbsync.extending import ExtensionError, Extensions
from reunite.dropin.dbsync.server import tables
from reunite.dropin.dbsync.server.arriving import Arriving
from reunite.dropin.dbsync.server.handlers import PullRejected, PullSuggested, PushRejected
from reunite.dropin.dbsync.server.offering import offer
from reunite.dropin.dbsync.server.own_rows import (
    Names,
    note_pushed,
    repaired_only,
    without_others,
)
from reunite.dropin.dbsync.server.querying import everything, queried
from reunite.dropin.dbsync.server.sessions import session_over
from reunite.engine.ports import WriteTransaction
from reunite.engine.whole import RefusedError, Whole
from reunite.errors import ReuniteError
from reunite.hub import Hub
from reunite.protocol.codec import decode, encode
from reunite.protocol.problem import problem_from
from reunite.protocol.pull import Page
from reunite.protocol.push import OutcomeMessage, PushAnswer, PushRequest
from reunite.protocol.repair import RepairAnswer

Model = TypeVar("Model", bound=type)

SECRET_BYTES = 64
MERGE = "merge"
STRICT = "strict"

# What a node asks besides pushing.
READING = frozenset({"register", "pull", "repair", "schema"})


class Event:
    """Functions that are called with `(session, message)`; a decorator adds one."""

    def __init__(self) -> None:
        self.listeners: list[Callable[..., Any]] = []

    def listen(self, listener: Callable[..., Any]) -> Callable[..., Any]:
        """Call a function each time; it comes back."""
        self.listeners.append(listener)
        return listener


class Server:
    """The server side of one database.

    engine    None for the one of `dbsync.set_engine`, when it is first needed
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine
        self._models: dict[type, frozenset[str]] = {}
        self._hub: Hub | None = None
        self._lock = threading.RLock()
        self._policy = MERGE
        self._version_offset = 0
        self._extensions = Extensions()
        self._arriving = Arriving(self._extensions)
        self.before_push = Event()
        self.after_push = Event()

    @property
    def engine(self) -> Engine:
        """The database's. Raises ConfigurationError without one."""
        return self._engine or core.get_engine()

    def track(self, *args: Any) -> Any:
        """Track a class: `@track`, `@track()`, `@track("push")`, `@track("pull")`, or both."""
        return core.tracked(args, self._track)

    def _track(self, model: Model, directions: frozenset[str]) -> Model:
        self._models[model] = self._models.get(model, frozenset()) | directions
        if self._hub is not None:
            offer(self._hub, table_of(model))
        return model

    def is_tracked(self, model: type) -> bool:
        """Whether a class is tracked."""
        return model in self._models

    def extend(self, *args: Any, **options: Any) -> None:
        """Have a virtual field travel with the rows of a class; see `Extensions.extend`."""
        self._extensions.extend(*args, **options)
        if self._hub is not None:
            self._offer_extensions(self._hub)

    def extension_errors(self) -> list[ExtensionError]:
        """What functions of extensions failed at in the last call; the next tries again."""
        return list(self._extensions.errors)

    def save_extensions(self, obj: Any) -> None:
        """Call the save functions of an object with its fields' values."""
        self._extensions.save_extensions(obj)

    def is_synched(self, obj: Any) -> bool:
        """True: what a server has is what there is. Raises TypeError for an object of a class that
        is not tracked."""
        if type(obj) not in self._models:
            name = type(obj).__name__
            raise TypeError(f"the given object of class {name} isn't being tracked")
        return True

    @property
    def hub(self) -> Hub:
        """The hub over the engine's database, with the tracked classes."""
        with self._lock:
            if self._hub is None:
                tables.metadata.create_all(self.engine)
                self._version_offset = int(tables.read_state(self.engine, "version_offset") or 0)
                hub = Hub(self.engine)
                try:
                    for model in self._models:
                        offer(hub, table_of(model))
                    self._offer_extensions(hub)
                except BaseException:
                    hub.close()
                    raise
                self._hub = hub
            return self._hub

    def _offer_extensions(self, hub: Hub) -> None:
        self._extensions.create(self.engine)
        for name, model in self._extensions.side_tables.items():
            if model in self._models:
                offer(hub, self._extensions.table(name))
        self._arriving.begin(hub, self.engine)

    def create_all(self) -> None:
        """Make the hub's tables, and log from here on what is written to tracked ones."""
        assert self.hub is not None

    def drop_all(self) -> None:
        """Take out what `create_all` put into the database; the application's rows stay."""
        self.hub.uninstall()
        self.close()
        tables.metadata.drop_all(self.engine)

    def close(self) -> None:
        """Release the database. May be called twice."""
        with self._lock:
            if self._hub is not None:
                self._hub.close()
                self._hub = None

    def set_push_policy(self, policy: str) -> str:
        """`merge`: a push based on an older version is merged; `strict`: it is refused."""
        assert policy in (MERGE, STRICT), "push policy must be 'merge' or 'strict'"
        self._policy = policy
        return policy

    def get_latest_version_id(self) -> int:
        """The number of the last version."""
        return self.hub.number().seq + self._version_offset

    def trim(self, *, forget_nodes_idle_for: timedelta | None = None) -> int:
        """Remove log that every node has read; how much. Nodes that were not seen for so long do
        not count, and must `repair` then; None: all count that were ever seen."""
        idle = forget_nodes_idle_for
        return self.hub.trim(
            older_than_s=0, seen_within_s=math.inf if idle is None else idle.total_seconds()
        )

    # -- handlers -----------------------------------------------------------------------------

    def handle_register(
        self, user_id: int | None = None, node_id: int | None = None, *, resend_secret: bool = False
    ) -> dict[str, Any]:
        """Make a node, or send a known one's credentials again if `resend_secret` says so."""
        assert self.hub is not None
        nodes = tables.nodes
        with self.engine.begin() as db:
            row = None
            if node_id is not None and resend_secret:
                row = db.execute(select(nodes).where(nodes.c.node_id == node_id)).one_or_none()
            if row is None:
                values = {
                    "registered": datetime.now(UTC).replace(tzinfo=None),
                    "registry_user_id": user_id,
                    "secret": secrets.token_hex(SECRET_BYTES),
                }
                row = db.execute(insert(nodes).values(values).returning(nodes)).one()
        at = row.registered
        return {
            "node": {
                "node_id": row.node_id,
                "registered": [
                    at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond
                ],
                "registry_user_id": row.registry_user_id,
                "secret": row.secret,
            }
        }  # fmt: skip

    def handle_push(self, data: Any) -> dict[str, Any]:
        """Take a push whole, or refuse it: raises PushRejected, and nothing is stored."""
        if not isinstance(data, Mapping) or "operation" not in data:
            raise PushRejected("request object isn't a valid PushMessage")
        if "body" not in data:
            raise PushRejected("message doesn't contain operations")
        node_id = self._owner(data)
        if node_id is None:
            raise PushRejected("message isn't properly signed")
        if data["operation"] != "push":
            if data["operation"] not in READING:
                raise PushRejected("request object isn't a valid PushMessage")
            return self._answer(data, node_id)
        try:
            answer = self._push(data, node_id)
        except ReuniteError as exc:
            return _problem(exc)
        self._settle_extensions()
        return answer

    def handle_pull(
        self, data: Any, swell: bool = False, include_extensions: bool = True
    ) -> dict[str, Any]:
        """The next page of a node. Raises PullRejected for what is no pull request."""
        _check_reads(data)
        node_id = self._owner(data)
        if node_id is None:
            raise PullRejected("message isn't properly signed")
        if include_extensions and data.get("include_extensions", True):
            self._settle_extensions()
        answer = self._answer(data, node_id)
        page = answer.get("answer", {})
        has_lost_its_place = page.get("reset") is True and data["body"].get("cursor") is not None
        if data["operation"] == "pull" and has_lost_its_place:
            return {"resync_needed": True, "operations": []}
        return answer

    def handle_repair(self, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The next page of a node that begins anew; without a node's message, all rows by class,
        and `latest_version_id`. Raises PullRejected for a message that is none."""
        data = data or {}
        if "exclude_extensions" not in data:
            self._settle_extensions()
        if "message" not in data:
            latest = self.get_latest_version_id()
            shown = [model for model, given in self._models.items() if "pull" in given]
            return {**everything(self.engine, shown), "latest_version_id": latest}
        try:
            message = json.loads(str(data["message"]))
        except ValueError as exc:
            raise PullRejected("request object isn't a valid PullRequest") from exc
        _check_reads(message)
        node_id = self._owner(message)
        if node_id is None:
            raise PullRejected("message isn't properly signed")
        return self._answer(message, node_id)

    def handle_query(self, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Rows of a class: of `{"model": "City", "City_name": "x"}`, `{"payload": {"City": […]}}`;
        None as the payload where there is no such class or column."""
        return queried(self.engine, self._models, data)

    # -- what the hub says ----------------------------------------------------------------------

    def _push(self, data: Mapping[str, Any], node_id: int) -> dict[str, Any]:
        request = decode(encode(data["body"]), PushRequest)
        self._check_directions(request)
        taking = _Taking(self, data, request)
        try:
            answer = self.hub.push(request, _principal(node_id), whole=taking)
        except RefusedError as exc:
            raise PushRejected(f"{exc}{self._to_blame(request, exc.outcome)}") from exc
        version = self._version_of_push(node_id, request, answer)
        return {
            "new_version_id": version,
            "is_latest": taking.was_latest,
            "taken": taking.taken,
            "answer": msgspec.to_builtins(answer),
        }

    def _to_blame(self, request: PushRequest, outcome: OutcomeMessage | None) -> str:
        """Which row of a push is to be mended, in words; nothing where it is none alone."""
        for run in chain.from_iterable(group.runs for group in request.groups):
            if outcome is None or outcome.id not in run.ids:
                continue
            place = run.ids.index(outcome.id)
            names = self._tables()[run.table][1]
            key: Key = run.keys[place] if run.keys else ()
            if not key and set(names) <= set(run.columns):
                key = tuple(run.set[place][run.columns.index(name)] for name in names)
            return f" (to be mended: the {run.op} of {run.table} {key_text(key)})"
        return ""

    def _version_of_push(self, node_id: int, request: PushRequest, answer: PushAnswer) -> int:
        """The version that a push made; of one that came before, the one it made then."""
        version, nodes = self.get_latest_version_id(), tables.nodes
        if not request.groups:
            return version
        push = f"{request.replica} {answer.last_n}"
        with self.engine.begin() as db:
            row = db.execute(select(nodes).where(nodes.c.node_id == node_id)).one()
            if row.last_push == push:
                return int(row.last_version)
            values = {"last_push": push, "last_version": version}
            db.execute(update(nodes).where(nodes.c.node_id == node_id).values(values))
        return version

    def check_version(self, data: Mapping[str, Any], seq: int, *, must_be_latest: bool) -> bool:
        """Whether a push is based on the latest version. Raises PullSuggested if it is not and the
        policy says that it must be; one that is repeated was judged before, one that holds nothing
        changes nothing."""
        given, latest = data.get("version"), seq + self._version_offset
        if given == latest:
            return True
        if self._policy == STRICT and must_be_latest:
            raise PullSuggested(f"version identifier isn't the latest one; given: {given}")
        return False

    def _answer(self, data: Mapping[str, Any], node_id: int) -> dict[str, Any]:
        hub, operation = self.hub, str(data["operation"])
        try:
            body = hub.answer(operation, encode(data["body"]), _principal(node_id))
        except ReuniteError as exc:
            return _problem(exc)
        version = self.get_latest_version_id()
        if operation == "pull":
            page = decode(body, Page, bytes_max=None)
            version = decode_cursor(page.cursor).seq + self._version_offset
            with self.engine.connect() as db:
                body = encode(without_others(db, tables.own, node_id, page, self.only_pushed()))
        elif operation == "repair" and (names := self.only_pushed()):
            found = decode(body, RepairAnswer, bytes_max=None)
            with self.engine.connect() as db:
                table = str(data["body"]["table"])
                body = encode(repaired_only(db, tables.own, node_id, table, found, names))
        return {"new_version_id": version, "answer": msgspec.json.decode(body)}

    def _tables(self) -> dict[str, tuple[frozenset[str], Names]]:
        """Directions and key columns of each table."""
        found = {}
        for model, directions in self._models.items():
            sides = [each.table for each in self._extensions.of(model)]
            for table in (table_of(model), *sides):
                names = tuple(str(column.name) for column in table.primary_key)
                found[str(table.name)] = directions, names
        return found

    def only_pushed(self) -> dict[str, Names]:
        """Key columns of the tables that are pushed and not pulled."""
        return {name: keys for name, (given, keys) in self._tables().items() if "pull" not in given}

    def _check_directions(self, request: PushRequest) -> None:
        """Refuse changes of classes that are tracked only to be pulled. Raises PushRejected."""
        found = self._tables()
        for group in request.groups:
            for run in group.runs:
                if "push" not in found.get(run.table, (frozenset(), ()))[0]:
                    raise PushRejected(f"the table {run.table!r} isn't to be pushed")

    def _settle_extensions(self) -> None:
        """Load what the server's own programs wrote, hand over what nodes did."""
        if self._extensions.models:
            with self._lock:
                self._arriving.settle(self.hub, self.engine)

    def _owner(self, data: Mapping[str, Any]) -> int | None:
        """Whose message this is; None if nobody's, or one that came before."""
        node_id, counter = data.get("node_id"), data.get("counter")
        if not isinstance(node_id, int) or not isinstance(counter, int):
            return None
        assert self.hub is not None
        nodes = tables.nodes
        with self.engine.begin() as db:
            row = db.execute(select(nodes).where(nodes.c.node_id == node_id)).one_or_none()
            if row is None or not core.is_signed(data, row.secret):
                return None
            later = nodes.c.counter < counter
            moved = db.execute(
                update(nodes).where(nodes.c.node_id == node_id, later).values(counter=counter)
            )
            return node_id if moved.rowcount else None


class _Taking(Whole):
    """What happens in the transaction of a push: its version is looked at, programs are told."""

    def __init__(self, server: Server, data: Mapping[str, Any], request: PushRequest) -> None:
        self._server = server
        self._data = data
        self._request = request
        self._is_told = bool(request.groups)
        self.has_way_back = bool(server.before_push.listeners or server.after_push.listeners)
        self.was_latest = False
        self.taken = 0  # of the node's numbers, up to which one

    def before(self, tx: WriteTransaction) -> None:
        self._refuse_overtaken(tx)
        known = tx.replica(self._request.replica)
        is_repeated = known is not None and self._repeats(known.last_n)
        self.was_latest = self._server.check_version(
            self._data, tx.head().seq, must_be_latest=bool(self._request.groups) and not is_repeated
        )
        self._is_told = bool(self._request.groups) and tx.replica(self._request.replica) is not None
        self._tell(tx, self._server.before_push)

    def _refuse_overtaken(self, tx: WriteTransaction) -> None:
        """Refuse a push after which its node has said something else: it has given this one up, and
        may have been told that nothing of it was taken."""
        nodes = tables.nodes
        is_it = nodes.c.node_id == self._data["node_id"]
        with tx.lent() as connection, session_over(self._server.engine, connection) as session:
            counter = session.scalar(select(nodes.c.counter).where(is_it).with_for_update())
        if counter != self._data["counter"]:
            raise PushRejected("a later message of this node was answered before")

    def _repeats(self, last_n: int) -> bool:
        """Whether all of this push was taken before, and its answer lost."""
        count = sum(len(run.ids) for group in self._request.groups for run in group.runs)
        return 0 < count <= last_n - self._request.first_n + 1

    def after(self, tx: WriteTransaction, answer: PushAnswer) -> None:
        known = tx.replica(self._request.replica)
        self.taken = max(answer.last_n, 0 if known is None else known.last_n)
        only_pushed = self._server.only_pushed()
        if only_pushed:
            with tx.lent() as connection, session_over(self._server.engine, connection) as session:
                node_id = self._data["node_id"]
                db = session.connection()
                note_pushed(db, tables.own, node_id, self._request, answer, only_pushed)
        self._tell(tx, self._server.after_push)

    def _tell(self, tx: WriteTransaction, event: Event) -> None:
        for listener in event.listeners if self._is_told else ():
            with tx.lent() as connection, session_over(self._server.engine, connection) as session:
                try:
                    listener(session, self._data)
                except PushRejected:
                    raise
                except Exception as exc:
                    raise PushRejected(f"vetoed: {exc}") from exc


def _principal(node_id: int) -> Principal:
    return Principal(user=f"node-{node_id}")


def _check_reads(data: Any) -> None:
    """Raises PullRejected for what is no question of a node that only reads."""
    if not isinstance(data, Mapping) or not {"operation", "body"} <= set(data):
        raise PullRejected("request object isn't a valid PullRequest")
    if data["operation"] not in READING:
        raise PullRejected("a pull request doesn't push")


def _problem(exc: ReuniteError) -> dict[str, Any]:
    return {"problem": msgspec.to_builtins(problem_from(exc))}
