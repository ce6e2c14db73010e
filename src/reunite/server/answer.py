"""Answers: encoded as the client wants them, and written as fast as the client reads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reunite.protocol.encoding import accepted, compress
from reunite.protocol.pack import PACK_TYPE, is_packed
from reunite.protocol.routes import JSON_TYPE
from reunite.server.load import Place

# Answers that are shorter travel as they are.
COMPRESS_BYTES_MIN = 1024

# Bytes that are handed to the connection at a time; the next ones when it has passed these on.
PART_BYTES = 256 * 1024


class Answer(Response):
    """A JSON answer, and the place that it keeps until it has left."""

    def __init__(self, request: Request, answer: bytes, place: Place) -> None:
        """Compress an answer, which takes time: for a worker thread. Raises LimitExceededError
        if there is no room for it."""
        media_type = PACK_TYPE if is_packed(answer) else JSON_TYPE
        headers = {"Vary": "Accept-Encoding"}
        if len(answer) > COMPRESS_BYTES_MIN:
            encoding = accepted(request.headers.get("accept-encoding"))
            if encoding is not None:
                answer = compress(answer, encoding)
                headers["Content-Encoding"] = encoding
        place.hold(len(answer))
        self._place = place
        super().__init__(answer, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(self.body)
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            for start in range(0, len(body), PART_BYTES):
                part = body[start : start + PART_BYTES]
                more = start + PART_BYTES < len(body)
                await send({"type": "http.response.body", "body": part, "more_body": more})
        finally:
            self._place.close()
