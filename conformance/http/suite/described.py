"""Cases of one request: read from requests.json, where other languages can read them too.

A text that is wholly `$name` stands for something that only the run knows:

    $replica $epoch     an identity that was registered for this case
    $id, $id2           32 fresh hexadecimal digits; $name a fresh text; $stamp a stamp of now
    $mark               the mark of the registration; $cursor the one of a checkpoint
    $versions           the versions of the tables, as `schemas` of a push has them

A case has a `body` (JSON), or `text` or `base64` (bytes as they are), and `expect`: the status,
and what of the answer's members must be so.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from suite.cases import CASES, Case, CaseFunction, same
from suite.peer import Peer, new_id, new_name
from suite.wire import Hub, encode

FILE = Path(__file__).parent.parent / "requests.json"


def add_described_cases() -> None:
    """Register the cases of requests.json."""
    for section in json.loads(FILE.read_text(encoding="utf-8"))["sections"]:
        for described in section["cases"]:
            CASES.append(
                Case(
                    section=section["section"],
                    name=described["name"],
                    says=described["says"],
                    function=_function_of(described),
                )
            )


def _function_of(described: dict[str, Any]) -> CaseFunction:
    def function(hub: Hub) -> None:
        answer = hub.send(
            described.get("method", "POST"),
            described["path"],
            content=_content(hub, described),
            headers=described.get("headers", {}),
        )
        for name, expected in described["expect"].items():
            same(answer.body.get(name) if name != "status" else answer.status, expected, name)

    return function


def _content(hub: Hub, described: dict[str, Any]) -> bytes | None:
    if "text" in described:
        return str(described["text"]).encode()
    if "base64" in described:
        return base64.b64decode(described["base64"])
    if "body" not in described:
        return None
    return encode(_filled(described["body"], _Names(hub)))


class _Names:
    """What the names in a message stand for; a replica is registered when it is needed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._peer: Peer | None = None
        self._made: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Any:
        if name in ("id", "id2"):
            return new_id()
        if name == "name":
            return new_name()
        if self._peer is None:
            self._peer = Peer(self._hub, pulls=False)
        peer = self._peer
        if name == "cursor":
            peer.pull()
            return peer.cursor
        if name == "stamp":
            return peer.next_stamp()
        if name == "versions":
            return {table: schema.get("version", 1) for table, schema in peer.schemas.items()}
        return {"replica": peer.replica, "epoch": peer.epoch, "mark": peer.mark}[name]


def _filled(value: Any, names: _Names) -> Any:
    if isinstance(value, dict):
        return {name: _filled(member, names) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, names) for member in value]
    if isinstance(value, str) and value.startswith("$"):
        return names(value[1:])
    return value
