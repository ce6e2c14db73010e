"""The least that sends one event to many: a bare server-sent-events broadcast on the same server.

`GET /stream` is a stream that begins with one event; the body of `POST /send` goes to all of them.
`BareServer` starts it in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Self

from benchmarks.hub_process import ROOT


class BareServer:
    """The server, until the block ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_stream"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()


class _App:
    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[bytes]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/send":
            body = (await receive())["body"]
            waiting, self._waiting = self._waiting, set()
            for each in waiting:
                each.set_result(body)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = b"event: page\ndata: {}\n\n"
        loop = asyncio.get_running_loop()
        while True:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            news: asyncio.Future[bytes] = loop.create_future()
            self._waiting.add(news)
            body = await news


def main() -> None:
    """Serve until standard input ends."""
    import uvicorn

    def end_with_input() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_input, daemon=True).start()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            port = self.servers[0].sockets[0].getsockname()[1]
            print(f"http://127.0.0.1:{port}", flush=True)

    Server(
        uvicorn.Config(
            _App(), port=0, log_config=None, access_log=False, lifespan="off", ws="none",
            backlog=2048,
        )
    ).run()  # fmt: skip


if __name__ == "__main__":
    main()
