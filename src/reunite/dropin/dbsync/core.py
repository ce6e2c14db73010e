"""What both sides of dbsync share: the default engine, tracked classes, and signed messages.

    message     {"node_id", "operation", "body", "counter", "extra_data", "signature"}
    body        a message of reunite's own protocol
    signature   HMAC-SHA-512 with the node's secret over all the rest, written canonically

The rule         state belongs to an object (`Client`, `Server`); the functions of the modules are
                 those of a default one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TextIO

from sqlalchemy import Engine
from sqlalchemy.orm import declarative_base

from reunite.dropin.dbsync.codec import table_of
from reunite.dropin.dbsync.listening import listening, toggle_listening, with_listening
from reunite.errors import UntrackableTableError

__all__ = [
    "DIRECTIONS",
    "Base",
    "ConfigurationError",
    "create_all",
    "drop_all",
    "generate_content_types",
    "get_engine",
    "get_latest_version_id",
    "is_synched",
    "listening",
    "mode",
    "save_extensions",
    "set_engine",
    "set_listening_mutex",
    "set_log_target",
    "toggle_listening",
    "with_listening",
]

logger = logging.getLogger("dbsync")

# The side that was imported last: "modeless", "client" or "server".
mode = "modeless"

DIRECTIONS = ("push", "pull")

Base = declarative_base()

_LOG_FORM = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

_default: dict[str, Engine] = {}


class Side(Protocol):
    """What both sides can do for the functions at the top."""

    def create_all(self) -> None: ...
    def drop_all(self) -> None: ...
    def is_synched(self, obj: Any) -> bool: ...
    def is_tracked(self, model: type) -> bool: ...
    def save_extensions(self, obj: Any) -> None: ...
    def get_latest_version_id(self) -> int: ...


# The default client and server, of those that were imported.
sides: dict[str, Side] = {}


class ConfigurationError(Exception):
    """No engine was set: call `dbsync.set_engine` first."""


def set_engine(engine: Engine) -> None:
    """Set the engine of the default client and server. Raises AssertionError for anything else."""
    assert isinstance(engine, Engine), "expected sqlalchemy.engine.Engine object"
    _default["engine"] = engine


def get_engine() -> Engine:
    """The engine that was set. Raises ConfigurationError without one."""
    try:
        return _default["engine"]
    except KeyError:
        raise ConfigurationError("database engine hasn't been set yet") from None


def set_mode(side: str, default: Side) -> None:
    """Note which side was imported last, and warn if the other one was before."""
    sides[side] = default
    global mode  # noqa: PLW0603 — a name of the original's
    if mode not in ("modeless", side):
        logger.warning("both sides of dbsync are imported in one process; the last is %s", side)
    mode = side


def side() -> Side:
    """The default object of the side that was imported last. Raises ConfigurationError without an
    engine, or before either was imported."""
    get_engine()
    try:
        return sides[mode]
    except KeyError:
        raise ConfigurationError("import dbsync.client or dbsync.server first") from None


def create_all() -> None:
    """Make the tables that syncing needs, and log what is written from here on; may be called
    again. Raises ConfigurationError without an engine."""
    side().create_all()


def drop_all() -> None:
    """Take out what `create_all` made; the application's rows stay, what is unpushed goes."""
    side().drop_all()


def generate_content_types() -> None:
    """Take up the classes that were tracked since; `create_all` and every sync call do it too."""
    side().create_all()


def is_synched(obj: Any) -> bool:
    """Whether nothing of an object is unpushed. Raises TypeError for one of a class that is not
    tracked."""
    return side().is_synched(obj)


def save_extensions(obj: Any) -> None:
    """Call the save function of each extension of an object, with its field's value."""
    side().save_extensions(obj)


def get_latest_version_id() -> int:
    """The last version, as far as this side knows."""
    return side().get_latest_version_id()


def set_log_target(fo: str | TextIO) -> None:
    """Have warnings written to a stream, or to a file of this path."""
    handler = logging.FileHandler(fo) if isinstance(fo, str) else logging.StreamHandler(fo)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter(_LOG_FORM))
    for former in list(logger.handlers):
        logger.removeHandler(former)
        former.close()
    logger.addHandler(handler)


def set_listening_mutex(_: Any) -> None:
    """For programs that call it: there is no mutex."""


# -- tracking and messages ------------------------------------------------------------------------


def tracked(args: tuple[Any, ...], track: Callable[[Any, frozenset[str]], Any]) -> Any:
    """What `@track`, `@track()` and `@track("push")` do with a class, or give to decorate one.
    Raises TypeError for what is neither mapped nor a table, UntrackableTableError for a table
    without a primary key."""
    if len(args) == 1 and not isinstance(args[0], str):
        _check_trackable(args[0])
        return track(args[0], directions_of(()))
    directions = directions_of(args)

    def decorate(model: Any) -> Any:
        _check_trackable(model)
        return track(model, directions)

    return decorate


def _check_trackable(model: Any) -> None:
    table = table_of(model)
    if not table.primary_key.columns:
        raise UntrackableTableError(
            f"The table {table.name!r} has no primary key: add one, so that its rows can be told "
            "apart."
        )


def directions_of(given: tuple[str, ...]) -> frozenset[str]:
    """The directions that were asked for; both for none. Raises AssertionError for others."""
    assert all(each in DIRECTIONS for each in given), "track only accepts the arguments: push, pull"
    return frozenset(given or DIRECTIONS)


def squashed(commands: Sequence[str]) -> str | None:
    """What a node's commands on one row, `i`, `u` and `d` in order, come to; None for nothing."""
    first, last = commands[0], commands[-1]
    if last == "d":
        return None if first == "i" else "d"
    return "i" if first == "i" else "u"


def signature(message: Mapping[str, Any], secret: str) -> str:
    """What proves that the owner of the secret wrote this message, as hexadecimal digits."""
    signed = {name: value for name, value in message.items() if name != "signature"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha512).hexdigest()


def is_signed(message: Mapping[str, Any], secret: str) -> bool:
    """Whether the owner of the secret wrote this message. Takes the same time for any."""
    return hmac.compare_digest(signature(message, secret), str(message.get("signature", "")))
