"""A server that answers everything with the same bytes, and keeps what it was sent."""

import socketserver
import threading
from types import TracebackType
from typing import Self


class StrangeServer:
    """Answers each request with `answer`, whatever it is; `requests` are the heads it read."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        strange = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head, length = b"", 0
                while (line := self.rfile.readline()).strip():
                    head += line
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                if head:
                    self.rfile.read(length)
                    strange.requests.append(head)
                    self.wfile.write(strange.answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def http_answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of one HTTP answer that closes its connection."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
