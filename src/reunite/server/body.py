"""Request bodies: read from the network and unpacked, within bounds all the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from reunite.errors import BadRequestError, LimitExceededError
from reunite.protocol.depth import refuse_deep
from reunite.protocol.encoding import ENCODINGS, decompress
from reunite.protocol.routes import JSON_TYPE
from reunite.server.limits import ServerLimits

SMALL_BODY_BYTES = 16 * 1024


class Load:
    """What all requests of an application hold together. Used by one event loop only."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._requests = 0
        self._body_bytes = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Callable[[int], None]]:
        """A place for one request; gives the function that counts the bytes it holds.

        Both raise LimitExceededError when the server has too much to do.
        """
        if self._requests >= self._limits.requests_max:
            raise LimitExceededError(
                f"The hub has {self._requests} requests to answer: try again shortly.",
                limit="REQUESTS_MAX",
            )
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._body_bytes + size > self._limits.bodies_bytes_max:
                raise LimitExceededError(
                    "The hub is reading too much at a time: try again shortly.",
                    limit="BODIES_BYTES_MAX",
                )
            self._body_bytes += size
            held += size

        self._requests += 1
        try:
            yield hold
        finally:
            self._requests -= 1
            self._body_bytes -= held


def is_small(request: Request) -> bool:
    """Whether the body is declared so short that anybody may send it before saying who they are:
    most pulls then need one turn of a worker instead of two."""
    return 0 < _declared_size(request) <= SMALL_BODY_BYTES


async def read_body(request: Request, hold: Callable[[int], None], limits: ServerLimits) -> bytes:
    """The body as it was sent. Raises LimitExceededError as soon as it is known to be too long."""
    _refuse_long(_declared_size(request), limits.body_bytes_max)
    chunks: list[bytes] = []
    size = 0
    with anyio.move_on_after(limits.body_idle_s_max) as idle:
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                size += len(chunk)
                _refuse_long(size, limits.body_bytes_max)
                hold(len(chunk))
                chunks.append(chunk)
                idle.deadline = anyio.current_time() + limits.body_idle_s_max
    if idle.cancelled_caught:
        raise HTTPException(408, headers={"Connection": "close"})
    return b"".join(chunks)


def content_encoding(request: Request) -> str:
    """How the body is encoded. Raises the HTTPException 415 for types and encodings not taken."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != JSON_TYPE or encoding not in ("identity", *ENCODINGS):
        raise HTTPException(415)
    return encoding


def unpack_body(body: bytes, encoding: str, limits: ServerLimits) -> bytes:
    """The JSON in a body, not deeper than the limit. Takes time: for a worker thread."""
    if encoding != "identity":
        body = decompress(body, encoding, bytes_max=limits.body_bytes_max)
    refuse_deep(body, depth_max=limits.body_depth_max)
    return body


def _declared_size(request: Request) -> int:
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdecimal()):
        raise BadRequestError("Content-Length is no number.")
    return int(declared)


def _refuse_long(size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise LimitExceededError(
            f"The body has more than {bytes_max} bytes: send less at a time.",
            limit="BODY_BYTES_MAX",
        )
