"""Request bodies: read from the network and unpacked, within bounds all the way."""

from __future__ import annotations

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from reunite.errors import BadRequestError, LimitExceededError
from reunite.protocol.depth import refuse_deep, refuse_many
from reunite.protocol.encoding import ENCODINGS, decompress
from reunite.protocol.routes import JSON_TYPE
from reunite.server.limits import ServerLimits
from reunite.server.load import Place

SMALL_BODY_BYTES = 16 * 1024

# For so long a stranger's body is waited for who wants to log in.
STRANGER_BODY_S = 5

# A body that is not there so soon is not waited for until it is known who sends it.
AT_ONCE_S = 0.1


def is_small(request: Request) -> bool:
    """Whether the body is declared so short that anybody may send it before saying who they are:
    most pulls then need one turn of a worker instead of two."""
    return 0 < _declared_size(request) <= SMALL_BODY_BYTES


class BodyReader:
    """Reads one request's body, and counts it in the request's place."""

    def __init__(self, request: Request, place: Place, limits: ServerLimits) -> None:
        """Raises LimitExceededError if the body is declared too long."""
        _refuse_long(_declared_size(request), limits.body_bytes_max)
        self._request = request
        self._place = place
        self._limits = limits
        self._chunks: list[bytes] = []
        self._size = 0
        self._is_whole = False

    async def read_at_once(self) -> bool:
        """Read what is there or comes at once; whether that is all of it."""
        with anyio.move_on_after(AT_ONCE_S):
            while not self._is_whole:
                await self._read_chunk()
        return self._is_whole

    async def read(self) -> bytes:
        """The body as it was sent. Raises LimitExceededError as soon as it is known to be too
        long, and the HTTPException 408 when it stops coming or comes too slowly."""
        limits, began_at = self._limits, anyio.current_time()
        with anyio.move_on_after(limits.body_idle_s_max) as idle:
            while not self._is_whole:
                await self._read_chunk()
                slowest = began_at + self._size / limits.body_rate_min
                idle.deadline = min(anyio.current_time(), slowest) + limits.body_idle_s_max
        if not self._is_whole:
            raise HTTPException(408, headers={"Connection": "close"})
        return b"".join(self._chunks)

    async def _read_chunk(self) -> None:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        _refuse_long(self._size + len(chunk), self._limits.body_bytes_max)
        self._place.hold(len(chunk))
        self._size += len(chunk)
        self._chunks.append(chunk)
        self._is_whole = not message.get("more_body", False)


def content_encoding(request: Request) -> str:
    """How the body is encoded. Raises the HTTPException 415 for types and encodings not taken."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != JSON_TYPE or encoding not in ("identity", *ENCODINGS):
        raise HTTPException(415)
    return encoding


def unpack_body(body: bytes, encoding: str, limits: ServerLimits) -> bytes:
    """The JSON in a body, neither deeper than the limit nor of more values. Takes time: for a
    worker thread."""
    if encoding != "identity":
        body = decompress(body, encoding, bytes_max=limits.body_bytes_max)
    refuse_many(body, values_max=limits.body_values_max)
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
