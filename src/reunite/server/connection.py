"""Connections: what bytes may do to a server before there is a request, and after its answer.

    made ──► head, within HEAD_S_MAX and HEAD_BYTES_MAX ──► the application ──► answer, taken within
      ▲                                                                         ANSWER_IDLE_S_MAX
      └───────────────────── kept alive, as uvicorn does ◄──────────────────────────┘

What it is       uvicorn's protocol with bounds that it does not have: on heads that never end and
                 on readers that never read.
The rule         whoever is cut off is cut off without a traceback, and without what they sent.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from reunite.errors import BadRequestError, LimitExceededError, ReuniteError
from reunite.server.limits import ANSWER_IDLE_S_MAX, HEAD_BYTES_MAX, HEAD_S_MAX
from reunite.server.problems import refusal_on_the_line

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Protocol
else:
    # Whichever of its parsers uvicorn has found. The other one, h11, bounds heads by itself.
    _Protocol = AutoHTTPProtocol


class BoundedProtocol(_Protocol):
    """One connection."""

    head_bytes_max = HEAD_BYTES_MAX
    head_s_max: float = HEAD_S_MAX
    answer_idle_s_max: float = ANSWER_IDLE_S_MAX

    _head_bytes: int | None = 0  # None between a head and the next request
    _head_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None
    _unread = 0
    _is_refused = False

    # -- heads --------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            if self._head_bytes > self.head_bytes_max:
                self._refuse(_too_large_head())
            self._head_bytes += len(data)
        if not self._is_refused:
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._stop_head_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.head_bytes_max:
            self._refuse(_too_large_head())
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_refused:
            super().on_message_complete()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self.head_s_max, self._give_up_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up_head(self) -> None:
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._expect_head()  # it is we who do not read: an answer is under way
        else:
            self._head_timer = None
            self.transport.abort()

    # -- answers ------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_answer_timer()

    def _watch_reader(self) -> None:
        self._unread = _unread_bytes(self.transport)
        self._answer_timer = self.loop.call_later(self.answer_idle_s_max, self._look_at_reader)

    def _look_at_reader(self) -> None:
        self._answer_timer = None
        if _unread_bytes(self.transport) >= self._unread:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more has come; who has not read the last answer in this time never will."""
        if _unread_bytes(self.transport):
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    # -- ends ---------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to bytes that are no HTTP, as a problem instead of plain text."""
        self._refuse(BadRequestError("This is no HTTP request that can be read."))

    def _refuse(self, error: ReuniteError) -> None:
        self._stop_head_timer()
        if not (self._is_refused or self.transport.is_closing()):
            self.transport.write(refusal_on_the_line(error))
            self.transport.close()
        self._is_refused = True

    def _unsupported_upgrade_warning(self) -> None:
        """Anybody may ask for another protocol; that is nothing to warn of."""


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What was written and has not arrived; where the system tells, with what it has taken over:
    that may be megabytes, and a slow reader takes minutes for them."""
    size = transport.get_write_buffer_size()
    try:
        import fcntl
        import termios

        descriptor = transport.get_extra_info("socket").fileno()
        taken = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except (ImportError, AttributeError, OSError, ValueError):
        return size  # ValueError: the socket is closed already, and its descriptor is -1
    return size + int.from_bytes(taken, sys.byteorder)


def _too_large_head() -> LimitExceededError:
    return LimitExceededError(
        f"A request's line and headers have at most {HEAD_BYTES_MAX} bytes.",
        limit="HEAD_BYTES_MAX",
    )
