"""A pooler in front of PostgreSQL that works as PgBouncer does in transaction mode.

A client's session is the pooler's own; a connection to the server is lent to it from its first
statement to the end of the transaction. What the server says on a connection that nobody has
borrowed is thrown away.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable
from typing import BinaryIO, Self
from urllib.parse import urlsplit

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


class Pooler:
    """`url` leads to the same database as `url` of the server, through `size` connections."""

    def __init__(self, url: str, *, size: int = 4) -> None:
        parts = urlsplit(url)
        self._greeting = b""
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._free: queue.SimpleQueue[_Server] = queue.SimpleQueue()
        for _ in range(size):
            server = socket.create_connection((parts.hostname or "", parts.port or 5432))
            self._add(server)
            words = ("user", parts.username, "database", parts.path[1:])
            text = b"".join(str(word).encode() + b"\0" for word in words) + b"\0"
            server.sendall(struct.pack("!ii", len(text) + 8, 196608) + text)
            reader = server.makefile("rb")
            self._greeting = b""
            while (message := _message(reader))[:1] != b"Z":
                self._greeting += b"" if message[:1] == b"K" else message
            lender = _Server(server, reader)
            self._start(lender.answer)
            self._free.put(lender)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = parts._replace(netloc=f"postgres@127.0.0.1:{self._port}").geturl()
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _add(self, connection: socket.socket) -> None:
        # Messages are passed on one by one, and none may wait for the next.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(connection)

    @property
    def _port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._add(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as reader:
            while True:
                length, code = struct.unpack("!ii", reader.read(8))
                reader.read(length - 8)
                if code == _CANCEL:
                    return
                if code not in (_SSL, _GSS):
                    break
                client.sendall(b"N")
            number = struct.pack("!ii", 7, 7)
            client.sendall(self._greeting + b"K" + struct.pack("!i", 12) + number)
            client.sendall(b"Z" + struct.pack("!i", 5) + b"I")
            server: _Server | None = None
            while (message := _message(reader)) and message[:1] != b"X":
                if server is None or not server.is_lent_to(client):
                    server = self._free.get()
                    server.lend(client, self._free)
                server.send(message)


class _Server:
    """One connection to the server, and who has borrowed it."""

    def __init__(self, connection: socket.socket, reader: BinaryIO) -> None:
        self._connection = connection
        self._reader = reader
        self._lock = threading.Lock()
        self._client: socket.socket | None = None
        self._free: queue.SimpleQueue[_Server] | None = None
        self._owed = 0

    def is_lent_to(self, client: socket.socket) -> bool:
        return self._client is client

    def lend(self, client: socket.socket, free: queue.SimpleQueue[_Server]) -> None:
        with self._lock:
            self._client, self._free, self._owed = client, free, 0

    def send(self, message: bytes) -> None:
        with self._lock:
            self._owed += message[:1] in (b"Q", b"S")  # each is answered with ReadyForQuery
        self._connection.sendall(message)

    def answer(self) -> None:
        """Pass on what the server says, until it ends."""
        with contextlib.suppress(OSError), self._reader:
            while message := _message(self._reader):
                with self._lock:
                    client = self._client
                    self._owed -= message[:1] == b"Z"
                    is_over = message == b"Z\0\0\0\5I" and self._owed == 0
                    if is_over:
                        self._client = None
                if client is None:
                    continue
                if is_over and self._free is not None:
                    self._free.put(self)
                with contextlib.suppress(OSError):
                    client.sendall(message)


def _message(reader: BinaryIO) -> bytes:
    """The next whole message; nothing when the other side has gone."""
    head = reader.read(5)
    if len(head) < 5:
        return b""
    (length,) = struct.unpack("!i", head[1:])
    return head + reader.read(length - 4)
