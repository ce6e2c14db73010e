"""News: which parts of the hub have changed, as a stream of server-sent events.

    registry.pulse ──► {"topics": {"replicas": "…", …}} ──► each stream, where a text has changed

The rule         one look a second for all streams of an application, and none without streams.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import anyio
import msgspec
from starlette.responses import Response, StreamingResponse

from reunite.errors import LimitExceededError, ReuniteError
from reunite.protocol.codec import encode
from reunite.protocol.live import EVENT_TYPE

# Seconds between looks, between signs of life, and after which a visitor is looked at again.
LOOK_S = 1.0
HEARTBEAT_S = 15.0
WELCOME_S = 5.0

# Streams of one application.
STREAMS_MAX = 100

_BYE = b'event: bye\ndata: {"code":"not-authenticated"}\n\n'


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """A text for each part of the hub, which is another one whenever the part has changed."""

    at_ms: int
    topics: dict[str, str]


class Newsroom:
    """The streams of one application. Used by one event loop."""

    def __init__(
        self, look: Callable[[], Awaitable[Pulse]], *, is_over: Callable[[], bool]
    ) -> None:
        self._look = look
        self._is_over = is_over
        self._count = 0
        self._looking = anyio.Lock()
        self._looked_at = 0.0
        self._pulse: Pulse | None = None

    def stream(self, is_welcome: Callable[[], Awaitable[bool]]) -> Response:
        """A stream for a visitor. Raises LimitExceededError."""
        if self._count >= STREAMS_MAX:
            raise LimitExceededError(
                "So many consoles are open: this one asks now and then.", limit="STREAMS_MAX"
            )
        return StreamingResponse(
            self._events(is_welcome),
            media_type=EVENT_TYPE,
            # For proxies that would wait for more.
            headers={"X-Accel-Buffering": "no"},
        )

    async def _events(self, is_welcome: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        self._count += 1
        try:
            told: Pulse | None = None
            spoke_at = welcomed_at = time.monotonic()
            while not self._is_over():
                now = time.monotonic()
                if now - welcomed_at >= WELCOME_S:
                    if not await is_welcome():
                        yield _BYE
                        return
                    welcomed_at = now
                pulse = await self._current()
                if pulse is not None and (told is None or pulse.topics != told.topics):
                    told, spoke_at = pulse, now
                    yield b"event: pulse\ndata: " + encode(pulse) + b"\n\n"
                elif now - spoke_at >= HEARTBEAT_S:
                    spoke_at = now
                    yield b":\n\n"
                await anyio.sleep(LOOK_S)
        finally:
            self._count -= 1

    async def _current(self) -> Pulse | None:
        """The pulse as it was a moment ago; the last one while the database does not answer."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_S / 2:
                with suppress(ReuniteError):  # it is asked again in a moment
                    self._pulse = await self._look()
                self._looked_at = time.monotonic()
            return self._pulse
