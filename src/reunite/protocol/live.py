"""Live: a stream of server-sent events that brings each page as it arises.

    : comment                       nothing but a sign of life
    event: answered                 data: Answered; holds for the pages that follow
    event: page      id: CURSOR     data: Page, without `answered` and `outcomes`
    event: pull                     data: Pull; the stream ends: pull, then open another one
    event: problem                  data: Problem; the stream ends with what a request would get

What it is       the form of the events, and of what a stream is asked for.
The rule         a page on a stream means what a page of a pull means, after the cursor before it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.protocol.numbers import Number

EVENT_TYPE = "text/event-stream"

# A client names the cursor of its last page here, as browsers do when they connect again.
LAST_EVENT_HEADER = "Last-Event-ID"

# What is sent where there has been nothing to send: proxies and clients see that the line works.
HEARTBEAT = b":\n\n"


class LiveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stream is asked for: `cursor` is that of the replica's last checkpoint, `tables` and
    `where` are those of its pulls."""

    protocol: int
    replica: str
    cursor: str
    tables: tuple[str, ...] | None = None
    where: dict[str, Any] = {}


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The last number of this replica whose change the following pages include."""

    answered: Number


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """Why a pull is needed, for people."""

    reason: str


def event(name: str, data: bytes, *, cursor: str = "") -> bytes:
    """An event as it travels. `data` is JSON, which has no line ends."""
    head = f"id: {cursor}\n" if cursor else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"
