"""A proxy before a real hub that makes it a wrong one: each answer passes a function first."""

import http.client
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.patience import DEADLINE_S

# Of an operation's message and the hub's answer: what the client gets instead.
Corruption = Callable[[str, Any, Any], Any]
# Of a message: what the hub gets instead.
Rewriting = Callable[[str, Any], Any]

_DROPPED = {"connection", "content-length", "date", "transfer-encoding"}


@contextmanager
def wrong_hub(
    url: str,
    *,
    corrupt: Corruption = lambda _operation, _message, answer: answer,
    rewrite: Rewriting = lambda _operation, message: message,
    without_header: str = "",
) -> Iterator[str]:
    """The URL of a hub that is like the one at `url`, but for what the functions do."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            operation = self.path.rpartition("/")[2]
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            message = _parsed(body) if self.command == "POST" else None
            if message is not None:
                message = rewrite(operation, message)
                body = json.dumps(message).encode()
            status, headers, content = self._ask(body)
            if status == 200 and "content-encoding" not in headers and message is not None:
                answer = corrupt(operation, message, json.loads(content))
                content = json.dumps(answer).encode()
            headers.pop(without_header, None)
            self.send_response_only(status)
            for name, value in headers.items():
                if name not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE_S)
            try:
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in ("host", "content-length", "connection")
                }
                connection.request(self.command, self.path, body=body, headers=headers)
                response = connection.getresponse()
                found = {name.lower(): value for name, value in response.getheaders()}
                return response.status, found, response.read()
            finally:
                connection.close()

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what it finds."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
