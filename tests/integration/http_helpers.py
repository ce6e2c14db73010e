"""Raw HTTP for tests: clients, requests that wait in a thread, and requests never finished."""

import socket
import threading

import httpx2

from reunite.server import ServerThread
from tests.integration.fake_hub import TOKEN
from tests.patience import DEADLINE_S

JSON = {"Content-Type": "application/json"}


def client_of(url: str, token: str | None = TOKEN) -> httpx2.Client:
    headers = {"Accept-Encoding": "identity"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx2.Client(
        base_url=url + "/", headers=headers, verify=False, trust_env=False, timeout=DEADLINE_S
    )


class Asking:
    """A request in a thread of its own."""

    def __init__(self, url: str, path: str, body: bytes | None = None) -> None:
        self._statuses: list[int] = []

        def ask() -> None:
            with client_of(url) as client:
                method = "GET" if body is None else "POST"
                response = client.request(method, path, content=body, headers=JSON)
                self._statuses.append(response.status_code)

        self._thread = threading.Thread(target=ask)
        self._thread.start()

    def status(self) -> int:
        self._thread.join(timeout=DEADLINE_S)
        (status,) = self._statuses
        return status


def connection_to(server: ServerThread) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE_S)


def raw_request(server: ServerThread, head: str) -> bytes:
    """Send a request that is never finished; the answer, as far as the problem's end."""
    with connection_to(server) as connection:
        connection.sendall(head.encode())
        answer = b""
        while not answer.endswith(b"}"):
            part = connection.recv(65_536)
            if not part:
                break
            answer += part
    return answer
