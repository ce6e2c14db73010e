"""A crowd of clients that hold streams and count what comes: in a process of its own.

It reads lines of JSON: `{"heads": [...]}` opens a connection for each request head, and is answered
when each has its first page; `{"events": n}` is answered with the moment (monotonic seconds) at
which n more page events had arrived in all. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from benchmarks.hub_process import ROOT

PAGE = b"event: page"

# Streams that are opened at the same time; a hub refuses hundreds.
OPENING_MAX = 100


class Crowd:
    """Clients of a hub at `url`, in a process of their own."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crowd", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def open(self, heads: list[str]) -> None:
        """Hold a stream for each request head."""
        self._say({"heads": heads})
        self._hear()

    def expect(self, events: int) -> None:
        """Begin to count; `moment` waits for so many."""
        self._say({"events": events})
        self._hear()

    def moment(self) -> float:
        """When the last of the expected events had come."""
        return float(self._hear()["at_s"])

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The crowd has ended; its error stands above.")
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Counter:
    """Counts page events of all lines."""

    def __init__(self) -> None:
        self.missing = 0
        self.is_complete = asyncio.Event()
        self.is_complete.set()

    def expect(self, events: int) -> None:
        self.missing += events
        self.is_complete.clear()

    def count(self, events: int) -> None:
        self.missing -= events
        if self.missing <= 0:
            self.is_complete.set()


class _Line(asyncio.Protocol):
    def __init__(self, head: str, counter: _Counter) -> None:
        self._head = head
        self._counter = counter
        self._tail = b""  # shorter than what is counted, so nothing counts twice

    def connection_made(self, transport: Any) -> None:
        transport.write(self._head.encode())

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self._tail = data[1 - len(PAGE) :]
        self._counter.count(data.count(PAGE))

    def connection_lost(self, exc: Exception | None) -> None:
        print("a line was lost", exc, file=sys.stderr)


async def _run(url: str) -> None:
    loop = asyncio.get_running_loop()
    address = urlsplit(url)
    counter = _Counter()
    lines = []

    def say(message: dict[str, Any]) -> None:
        print(msgspec.json.encode(message).decode(), flush=True)

    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        message = msgspec.json.decode(line)
        if "heads" in message:
            for number, head in enumerate(message["heads"]):
                if number % OPENING_MAX == 0:
                    await counter.is_complete.wait()
                counter.expect(1)
                made = await loop.create_connection(
                    lambda head=head: _Line(head, counter), address.hostname, address.port
                )
                lines.append(made)
            await counter.is_complete.wait()
            say({"open": len(lines)})
        else:
            counter.expect(message["events"])
            say({"ready": True})
            await counter.is_complete.wait()
            say({"at_s": time.monotonic()})


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
