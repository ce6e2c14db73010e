"""The server: a hub whose routes are the application's own, and whose messages are dictionaries.

    register    a node: an id, and a secret of its own; no replica yet
    push, pull  signed messages: {"operation", "body"} of reunite's protocol, answered by the hub

What it is not   a log or a merge: both are the hub's. Columns are `replica_wins` and rows
                 `update_wins`, as the original prefers.
The rule         a push is taken whole or not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.inspection import inspect

from reunite.core.merge import MergeFunction
from reunite.core.principal import Principal
from reunite.core.schema import ColumnMerge, RowMerge
from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.server.handlers import PullRejected, PullSuggested, PushRejected
from reunite.engine.whole import RefusedError
from reunite.errors import ReuniteError
from reunite.hub import Hub
from reunite.protocol.codec import decode, encode
from reunite.protocol.problem import problem_from
from reunite.protocol.push import PushRequest

Model = TypeVar("Model", bound=type)

SECRET_BYTES = 64
MERGE = "merge"
STRICT = "strict"

# Types whose values a query's text is turned into.
_SIMPLE = frozenset({int, float, str})

metadata = MetaData()
nodes = Table(
    "reunite_dbsync_node",
    metadata,
    Column("node_id", Integer, primary_key=True),
    Column("registered", DateTime, nullable=False),
    Column("registry_user_id", Integer),
    Column("secret", String(2 * SECRET_BYTES), nullable=False),
    Column("counter", BigInteger, nullable=False, default=0),
)


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
        self._policy = MERGE
        self.before_push = Event()
        self.after_push = Event()

    @property
    def engine(self) -> Engine:
        """The database's. Raises ConfigurationError without one."""
        return self._engine or core.get_engine()

    def track(self, *args: Any) -> Any:
        """Track a class: `@track`, `@track()`, `@track("push")`, `@track("pull")`, or both."""
        if len(args) == 1 and isinstance(args[0], type):
            return self._track(args[0], core.directions_of(()))
        directions = core.directions_of(args)
        return lambda model: self._track(model, directions)

    def _track(self, model: Model, directions: frozenset[str]) -> Model:
        self._models[model] = self._models.get(model, frozenset()) | directions
        if self._hub is not None:
            self._offer(self._hub, model)
        return model

    def _offer(self, hub: Hub, model: type) -> None:
        table: Any = inspect(model).local_table
        key = {column.name for column in table.primary_key}
        wins: dict[str, str | ColumnMerge | MergeFunction] = {
            column.name: ColumnMerge.REPLICA_WINS
            for column in table.columns
            if column.name not in key
        }
        hub.track(model, merge=wins, rows=RowMerge.UPDATE_WINS)

    @property
    def hub(self) -> Hub:
        """The hub over the engine's database, with the tracked classes."""
        if self._hub is None:
            metadata.create_all(self.engine)
            hub = Hub(self.engine)
            for model in self._models:
                self._offer(hub, model)
            self._hub = hub
        return self._hub

    def close(self) -> None:
        """Release the database. May be called twice."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def set_push_policy(self, policy: str) -> str:
        """`merge`: a push based on an older version is merged; `strict`: it is refused."""
        assert policy in (MERGE, STRICT), "push policy must be 'merge' or 'strict'"
        self._policy = policy
        return policy

    def trim(self, *, forget_nodes_idle_for: timedelta = timedelta(0)) -> int:
        """Remove log that every node has read, but for nodes that were not seen for so long, which
        must `repair` then (0: all nodes count that were ever seen); how much."""
        idle_s = forget_nodes_idle_for.total_seconds()
        return self.hub.trim(older_than_s=idle_s)

    # -- handlers -----------------------------------------------------------------------------

    def handle_register(
        self, user_id: int | None = None, node_id: int | None = None, *, resend_secret: bool = False
    ) -> dict[str, Any]:
        """Make a node, or send a known one's credentials again if `resend_secret` says so."""
        assert self.hub is not None
        with self.engine.begin() as db:
            if node_id is not None and resend_secret:
                row = db.execute(select(nodes).where(nodes.c.node_id == node_id)).one()
            else:
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
        principal = self._owner(data)
        if principal is None:
            raise PushRejected("message isn't properly signed")
        if data["operation"] != "push":
            return self._answer(data, principal)
        if self._policy == STRICT and data.get("version", 0) < self.hub.number().seq:
            raise PullSuggested(
                f"version identifier isn't the latest one; given: {data.get('version')}"
            )
        return self._answer(data, principal)

    def handle_pull(
        self, data: Any, swell: bool = False, include_extensions: bool = True
    ) -> dict[str, Any]:
        """The next page of a node. Raises PullRejected for what is no pull request."""
        if not isinstance(data, Mapping) or not {"operation", "body"} <= set(data):
            raise PullRejected("request object isn't a valid PullRequest")
        principal = self._owner(data)
        if principal is None:
            raise PullRejected("message isn't properly signed")
        return self._answer(data, principal)

    def handle_query(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Rows of a class: of `{"model": "City", "City_name": "x"}`, `{"payload": {"City": […]}}`;
        None as the payload where there is no such class or column."""
        name = str(data.get("model", ""))
        models = {model.__name__: model for model in self._models}
        if name not in models:
            core.logger.warning("query for a class that is not tracked: %r", name)
            return {"payload": None}
        table: Any = inspect(models[name]).local_table
        question = select(table)
        for field, value in data.items():
            if field == "model":
                continue
            column = table.columns.get(field.removeprefix(f"{name}_"))
            if column is None or not field.startswith(f"{name}_"):
                core.logger.warning("query for a column that there is not: %r", field)
                return {"payload": None}
            kind = column.type.python_type
            try:
                question = question.where(column == (kind(value) if kind in _SIMPLE else value))
            except ValueError:
                return {"payload": {name: []}}
        with self.engine.connect() as db:
            found = [
                {key: _plain(value) for key, value in row._mapping.items()}
                for row in db.execute(question)
            ]
        return {"payload": {name: found}}

    def _answer(self, data: Mapping[str, Any], principal: Principal) -> dict[str, Any]:
        body = encode(data["body"])
        hub = self.hub
        try:
            if data["operation"] == "push":
                request = decode(body, PushRequest)
                self._check_directions(request)
                answer = encode(hub.push(request, principal, whole=True))
            else:
                answer = hub.answer(str(data["operation"]), body, principal)
        except RefusedError as exc:
            raise PushRejected(str(exc)) from exc
        except ReuniteError as exc:
            return {"problem": msgspec.to_builtins(problem_from(exc))}
        return {"new_version_id": hub.number().seq, "answer": msgspec.json.decode(answer)}

    def _check_directions(self, request: PushRequest) -> None:
        """Refuse changes of classes that are tracked only to be pulled. Raises PushRejected."""
        taken: set[str] = {
            inspect(model).local_table.name
            for model, directions in self._models.items()
            if "push" in directions
        }
        for group in request.groups:
            for run in group.runs:
                if run.table not in taken:
                    raise PushRejected(f"the table {run.table!r} isn't to be pushed")

    def _owner(self, data: Mapping[str, Any]) -> Principal | None:
        """Whose message this is; None if nobody's, or one that came before."""
        node_id, counter = data.get("node_id"), data.get("counter")
        if not isinstance(node_id, int) or not isinstance(counter, int):
            return None
        assert self.hub is not None
        with self.engine.begin() as db:
            row = db.execute(select(nodes).where(nodes.c.node_id == node_id)).one_or_none()
            if row is None or not core.is_signed(data, row.secret):
                return None
            later = nodes.c.counter < counter
            moved = db.execute(
                update(nodes).where(nodes.c.node_id == node_id, later).values(counter=counter)
            )
            return Principal(user=f"node-{node_id}") if moved.rowcount else None


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    return value if isinstance(value, int | float | str | bool | None) else str(value)
