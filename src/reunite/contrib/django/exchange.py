"""One request of Django's, carried through an ASGI application and back as Django's answer.

    receive ◄── request.read()              the body, in pieces
    send    ──► HttpResponse                an answer that is whole
            ──► StreamingHttpResponse       one that goes on: a live stream

The rule         when the client goes, the application hears of it and its task ends; nothing is
                 left running behind an answer that is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from starlette.types import ASGIApp, Message, Scope

from reunite.protocol.live import EVENT_TYPE
from reunite.server.wsgi import READ_BYTES

# Pieces of a stream that wait for a slow reader; the application waits then.
_PIECES_MAX = 4

# What stays if the application gave none.
_NO_ANSWER: Message = {"status": 500, "headers": ()}


class Exchange:
    """One request and its answer."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._is_read = False
        self._gone = asyncio.Event()
        self._sent: asyncio.Queue[Message | None] = asyncio.Queue(_PIECES_MAX)

    async def carry(self, app: ASGIApp, scope: Scope) -> HttpResponseBase:
        """Django's answer. Raises what the application raises before it has begun to answer."""
        task = asyncio.ensure_future(self._run(app, scope))
        try:
            start = await self._sent.get()
            if start is None or not _is_stream(start):
                body = b"" if start is None else await self._whole()
                await task
                return _with_headers(HttpResponse(body), start or _NO_ANSWER)
        except BaseException:
            self._gone.set()
            task.cancel()
            raise
        return _with_headers(StreamingHttpResponse(self._pieces(task)), start)

    async def _whole(self) -> bytes:
        """The body, until nothing more is sent."""
        pieces = []
        while (message := await self._sent.get()) is not None:
            pieces.append(message.get("body", b""))
        return b"".join(pieces)

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._sent.put)
        finally:
            if not self._gone.is_set():
                await self._sent.put(None)

    async def _pieces(self, task: asyncio.Future[None]) -> AsyncIterator[bytes]:
        try:
            while (message := await self._sent.get()) is not None:
                yield message.get("body", b"")
            await task
        finally:
            self._gone.set()
            task.cancel()

    async def _receive(self) -> Message:
        if self._is_read:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        try:
            chunk = self._request.read(READ_BYTES)
        except OSError:
            self._is_read = True
            return {"type": "http.disconnect"}
        self._is_read = not chunk
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}


def _is_stream(start: Message) -> bool:
    """Whether an answer goes on until somebody ends it."""
    return any(
        name.lower() == b"content-type" and value.startswith(EVENT_TYPE.encode())
        for name, value in start["headers"]
    )


def _with_headers(answer: HttpResponseBase, start: Message) -> HttpResponseBase:
    answer.status_code = start["status"]
    del answer["Content-Type"]
    for name, value in start["headers"]:
        if name.lower() != b"content-length":
            answer[name.decode("latin-1")] = value.decode("latin-1")
    return answer
