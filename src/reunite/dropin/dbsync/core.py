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
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

logger = logging.getLogger("dbsync")

# The side that was imported last: "modeless", "client" or "server".
mode = "modeless"

DIRECTIONS = ("push", "pull")

_default: dict[str, Engine] = {}


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


def set_mode(side: str) -> None:
    """Note which side was imported last, and warn if the other one was before."""
    global mode  # noqa: PLW0603 — a name of the original's
    if mode not in ("modeless", side):
        logger.warning("both sides of dbsync are imported in one process; the last is %s", side)
    mode = side


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
