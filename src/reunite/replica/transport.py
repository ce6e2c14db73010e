"""The port through which a replica talks to its hub.

An operation is the last part of a route of design section 13: register, push, pull, schema, query.
`http.py` is the real one; `reunite.testing.wire` drops, delays, doubles and cuts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from reunite.errors import UnknownTableError
from reunite.protocol.codec import decode
from reunite.protocol.live import LiveRequest
from reunite.protocol.push import SchemaAnswer


class Transport(Protocol):
    """Carries one request and its answer, as JSON bytes.

    `is_remote` says that the hub works in another process: then a replica asks for a page while it
    writes the one before, from another thread; never two at once.
    """

    is_remote: bool

    def call(self, operation: str, body: bytes) -> bytes:
        """The answer's body.

        Raises HubUnreachableError when it is not known whether the hub has done it (also for
        503 and 429, with `retry_after_s`), and the typed error of a problem that the hub answered.
        """
        ...

    def close(self) -> None:
        """Release connections. May be called twice."""
        ...


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream: `name` is one of `protocol.live`, `data` is JSON."""

    name: str
    data: str


class EventStream(Protocol):
    """An open stream, with the hub's first events on their way."""

    def __iter__(self) -> Iterator[LiveEvent]:
        """The events as they come; ends when the hub ends the stream.

        Raises HubUnreachableError when the line breaks, or is silent for longer than a hub is.
        """
        ...

    def close(self) -> None:
        """End the iteration, whichever thread is in it. May be called twice."""
        ...


@runtime_checkable
class LiveTransport(Transport, Protocol):
    """A transport that can also hold a stream."""

    def live(self, request: LiveRequest) -> EventStream | None:
        """Open a stream. None if this request cannot be made: pulls that wait do as well.

        Raises what `call` does.
        """
        ...


def hub_tables(transport: Transport, asked: Sequence[str] | None) -> set[str]:
    """The names of the hub's tables, of those that are asked for."""
    answer = decode(transport.call("schema", b"{}"), SchemaAnswer, bytes_max=None)
    names = {table.name for table in answer.tables}
    return names if asked is None else names & set(asked)


def check_offered(transport: Transport, names: Collection[str]) -> None:
    """Raise UnknownTableError if the hub has no table of one of these names."""
    offered = hub_tables(transport, None)
    unknown = set(names) - offered
    if unknown:
        known = ", ".join(sorted(offered)) or "no table yet"
        raise UnknownTableError(f"This hub tracks no table {min(unknown)!r}. It has {known}.")
