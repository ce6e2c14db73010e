"""The client: a replica in the application's own SQLite file, which it joins where it stands.

    track ─► the first sync call: triggers, and the rows that are there are pending
    register ─► credentials of a node, kept in the file; push and pull ─► the replica's

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
from sqlalchemy.inspection import inspect

from reunite.contrib.sqlalchemy.engines import give_keys
from reunite.core.change import Op
from reunite.core.key import parse_key
from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.client import errors
from reunite.dropin.dbsync.client.net import Monitor, Net, NetworkError
from reunite.errors import HubUnreachableError
from reunite.protocol.problem import Problem, error_from
from reunite.replica.colliding import Collision
from reunite.replica.joining import join
from reunite.replica.regrouping import WholeReplica
from reunite.replica.status import ConflictRecord

Model = TypeVar("Model", bound=type)

_NODES = """
    create table if not exists reunite_dbsync_node (
        node_id integer primary key, registered text not null, registry_user_id integer,
        secret text not null, counter integer not null default 0
    )
"""


class Node(NamedTuple):
    """Who this file is to the server."""

    node_id: int
    registered: datetime
    registry_user_id: int | None
    secret: str


class Client:
    """One node: the client side of one database.

    engine    None for the one of `dbsync.set_engine`, when it is first needed; of an SQLite file
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine
        self._models: dict[type, frozenset[str]] = {}
        self._joined: tuple[str, frozenset[str]] | None = None
        self._suggests: Callable[[int | None, str, Any], bool] = lambda code, reason, answer: False
        self.net = Net()

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
        if len(args) == 1 and isinstance(args[0], type):
            return self._track(args[0], core.directions_of(()))
        directions = core.directions_of(args)
        return lambda model: self._track(model, directions)

    def _track(self, model: Model, directions: frozenset[str]) -> Model:
        self._models[model] = self._models.get(model, frozenset()) | directions
        return model

    def create_all(self) -> None:
        """Make the file a node's: from here on, what is written to tracked tables is logged."""
        names = frozenset(_table_of(model) for model in self._models)
        if self._joined == (str(self.path), names):
            return
        join(self.path, names)
        with self._file() as db:
            db.execute(_NODES)
        give_keys(self.engine)
        self._joined = str(self.path), names

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as db:
            yield db

    # -- who we are ---------------------------------------------------------------------------

    def register(self, registry_url: str, extra_data: Any = None, **options: Any) -> Any:
        """Become a node; the server's answer. Raises RegisterRejected, NetworkError."""
        self.create_all()
        code, reason, answer = self.net.ask("POST", registry_url, extra_data or {}, **options)
        if not _is_good(code) or not isinstance(answer, Mapping) or "node" not in answer:
            raise errors.RegisterRejected(code, reason, answer)
        node = answer["node"]
        self.save_node(
            node["node_id"], datetime(*node["registered"]),  # noqa: DTZ001 — as it was sent
            node["registry_user_id"], node["secret"],
        )  # fmt: skip
        return answer

    def save_node(
        self, node_id: int, registered: datetime, register_user_id: int | None, secret: str
    ) -> None:
        """Store credentials without asking for them."""
        self.create_all()
        with self._file() as db:
            db.execute(
                "insert or replace into reunite_dbsync_node values (?, ?, ?, ?, 0)",
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

    # -- syncing ------------------------------------------------------------------------------

    def push(self, push_url: str, extra_data: Any = None, **options: Any) -> dict[str, int]:
        """Send all that is unpushed; `{"new_version_id": n}`. Raises PushRejected, PullSuggested,
        NetworkError: then nothing of it is stored at the server, and all of it stays here."""
        self.create_all()
        options.pop("include_extensions", None)
        line = _Line(self, push_url, extra_data, options, errors.PushRejected)
        with self._replica(line) as replica:
            replica.regroup()
            line.carry(replica.push)
        return {"new_version_id": line.version}

    def pull(
        self, pull_url: str, extra_data: Any = None, monitor: Monitor = None, **options: Any
    ) -> Any:
        """Merge what is new at the server; its last answer. Raises BadResponseError,
        NetworkError."""
        self.create_all()
        options.pop("include_extensions", None)
        line = _Line(
            self, pull_url, extra_data, {**options, "monitor": monitor}, errors.BadResponseError
        )
        with self._replica(line) as replica:
            found: list[Collision] = []
            line.carry(lambda: found.extend(replica.collisions()))
            if found:
                models = {_table_of(model): model for model in self._models}
                raise errors.UniqueConstraintError(
                    [
                        (models[table], key[0] if len(key) == 1 else key, columns)
                        for table, key, columns in found
                    ]
                )
            line.carry(replica.pull)
            # A delete of what others need by now: the row has come back.
            for parked in replica.parked():
                if parked.op is Op.DELETE:
                    replica.discard(parked.id)
        if monitor is not None:
            monitor({"status": "done"})
        return line.answer

    @contextmanager
    def _replica(self, line: _Line) -> Iterator[WholeReplica]:
        with WholeReplica(self.path, transport=line) as replica:
            yield replica

    def signed(self, operation: str, body: bytes, extra_data: Any) -> dict[str, Any]:
        """A message of this node. Raises PushRejected if it is none yet."""
        node = self.get_node()
        if node is None:
            raise errors.PushRejected(None, "this node is not registered", None)
        with self._file() as db:
            (counter,) = db.execute(
                "update reunite_dbsync_node set counter = max(counter + 1, ?) where node_id = ? "
                "returning counter",
                (time.time_ns() // 1_000, node.node_id),
            ).fetchone()
        message = {
            "node_id": node.node_id,
            "operation": operation,
            "body": msgspec.json.decode(body),
            "counter": counter,
            "extra_data": extra_data,
        }
        return {**message, "signature": core.signature(message, node.secret)}

    def rejected(self, code: int, reason: str, answer: Any) -> errors.PushRejected:
        """What a refusal of a push is."""
        suggests = isinstance(answer, Mapping) and answer.get("suggest_pull") is True
        if suggests or self._suggests(code, reason, answer):
            return errors.PullSuggested(code, reason, answer)
        return errors.PushRejected(code, reason, answer)

    # -- looking ------------------------------------------------------------------------------

    def unsynched_objects(self) -> list[tuple[type, Any, str]]:
        """What is unpushed of classes that are tracked both ways: (class, key, command)."""
        self.create_all()
        models = {
            _table_of(model): model
            for model, directions in self._models.items()
            if len(directions) == len(core.DIRECTIONS)
        }
        with self._file() as db:
            rows = db.execute(
                "select table_name, key, op from reunite_change where outcome is null order by id"
            ).fetchall()
        ops: dict[tuple[str, str], list[str]] = {}
        for table, key, op in rows:
            if table in models:
                ops.setdefault((table, key), []).append(op[0])
        squashed = {place: core.squashed(found) for place, found in ops.items()}
        return [
            (models[table], parsed[0] if len(parsed := parse_key(key)) == 1 else parsed, op)
            for (table, key), op in squashed.items()
            if op is not None
        ]

    def conflicts(self) -> list[ConflictRecord]:
        """What the server decided where this node's changes met others, newest last."""
        self.create_all()
        with WholeReplica(
            self.path, transport=_Line(self, "", None, {}, errors.PushRejected)
        ) as it:
            return it.conflicts()

    def isready(self, ping_url: str) -> bool:
        """Whether the server answers there with success."""
        try:
            code, _, _ = self.net.ask("HEAD", ping_url)
        except NetworkError:
            return False
        return _is_good(code)

    # -- what the original lets programs set --------------------------------------------------

    def set_pull_suggestion_criterion(self, predicate: Any) -> Any:
        """`predicate(code, reason, response)` says whether a refusal means: pull first."""
        assert callable(predicate), "criterion must be a function"
        self._suggests = predicate
        return predicate

    def set_default_encoder(self, encode: Any) -> Any:
        """What makes a body of a dictionary; `json.dumps` at first."""
        assert callable(encode), "encoder must be a function"
        self.net.encode = encode
        return encode

    def set_default_decoder(self, decode: Any) -> Any:
        """What reads an answer's body; `json.loads` at first."""
        assert callable(decode), "decoder must be a function"
        self.net.decode = decode
        return decode

    def set_default_headers(self, headers: Any) -> Any:
        """The headers of every request."""
        assert isinstance(headers, dict), "headers must be a dictionary"
        self.net.headers = headers
        return headers

    def set_default_timeout(self, timeout: Any) -> Any:
        """Seconds that an answer may take; 0 or less for ever."""
        assert isinstance(timeout, int | float), "timeout must be a number"
        self.net.timeout_s = timeout
        return timeout

    def set_authentication_callback(self, authenticate: Any) -> Any:
        """`authenticate(url)` gives an authentication object as `requests` has them, or None."""
        assert callable(authenticate), "authentication callback must be a function"
        self.net.authenticate = authenticate
        return authenticate

    def isconnected(self, ping_url: str) -> bool:
        """Whether anything answers there."""
        try:
            self.net.ask("HEAD", ping_url)
        except NetworkError:
            return False
        return True


class _Line:
    """A transport whose every message is a signed one, POSTed to one URL of the application's."""

    is_remote = False  # one message at a time: their counters rise

    def __init__(
        self,
        client: Client,
        url: str,
        extra_data: Any,
        options: Mapping[str, Any],
        refusal: type[errors.AnswerError],
    ) -> None:
        self._client = client
        self._url = url
        self._extra_data = extra_data
        self._options = options
        self._refusal = refusal
        self.version = 0
        self.answer: Any = None

    def carry(self, use_case: Callable[[], Any]) -> None:
        """Run a use case of the replica over this line."""
        try:
            use_case()
        except HubUnreachableError as exc:
            raise self._refusal(None, str(exc), None) from exc

    def call(self, operation: str, body: bytes) -> bytes:
        message = self._client.signed(operation, body, self._extra_data)
        code, reason, answer = self._client.net.ask("POST", self._url, message, **self._options)
        self.answer = answer
        if not _is_good(code) or not isinstance(answer, Mapping):
            if self._refusal is errors.PushRejected:
                raise self._client.rejected(code, reason, answer)
            raise self._refusal(code, reason, answer)
        if "problem" in answer:
            raise error_from(msgspec.convert(answer["problem"], Problem))
        if "answer" not in answer or "new_version_id" not in answer:
            raise self._refusal(code, "the answer has no version", answer)
        self.version = answer["new_version_id"]
        return msgspec.json.encode(answer["answer"])

    def close(self) -> None:
        """Nothing is held between two messages."""


def _is_good(code: int) -> bool:
    return 200 <= code < 300


def _table_of(model: type) -> str:
    return str(inspect(model).local_table.name)
