"""A proxy between a replica and its hub that does to lines what networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class LineProxy:
    """Passes bytes on, unless told otherwise.

    gathers_streams    answers to `GET …/v1/live` are kept back, as some proxies do
    is_silent          nothing passes in either direction, and nobody is told
    """

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._hub = host, int(port)
        self.gathers_streams = False
        self.is_silent = False
        self.streams_seen = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def cut(self) -> None:
        """End all lines that there are."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for each in self._sockets:
            each.close()

    def _start(self, work: object, *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            hub = socket.create_connection(self._hub)
            self._sockets += [client, hub]
            line = {"is_stream": False}
            self._start(self._pass_on, client, hub, line, True)
            self._start(self._pass_on, hub, client, line, False)

    def _pass_on(
        self, source: socket.socket, target: socket.socket, line: dict[str, bool], is_up: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65_536):
                if is_up and b"/v1/live" in part.partition(b"\r\n")[0]:
                    line["is_stream"] = True
                    self.streams_seen += 1
                if self.is_silent or (not is_up and line["is_stream"] and self.gathers_streams):
                    continue
                target.sendall(part)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
