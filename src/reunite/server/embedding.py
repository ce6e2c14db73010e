"""A web server inside the process: `serve` for the foreground, `ServerThread` for beside it.

The socket is opened here rather than by uvicorn, so that a port in use is an error with a sentence
and port 0 has a number before anyone is told the URL. Logging stays as the host set it up.
"""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp

from reunite.errors import CallerError
from reunite.server.app import create_app
from reunite.server.collecting import collecting_rarely
from reunite.server.connection import BoundedProtocol
from reunite.server.door import HubDoor
from reunite.server.live import Streams

# Longer than clients keep an idle connection, so that none is closed while a request travels.
KEEP_ALIVE_S = 65

# How long requests under way may take to end when the server stops.
DRAIN_S = 10


def serve(
    hub: HubDoor,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    on_listening: Callable[[str], None] | None = None,
    drain_s: int = DRAIN_S,
    proxies: Sequence[str] = (),
    **options: Any,
) -> None:
    """Serve `hub` until Ctrl-C or SIGTERM, then finish what is under way and return.

    port           0 takes a free one
    on_listening   called once with the URL, when connections are accepted; what it raises ends the
                   server and is raised here
    drain_s        how long requests under way may take after the signal; a second Ctrl-C ends it
    proxies        addresses or networks of proxies in front, such as "127.0.0.1": what they say in
                   X-Forwarded-For is where a request comes from. Of nobody else it is believed.
    options        those of `create_app`: fields of `ServerLimits`, and `authenticate`

    Raises CallerError if it cannot listen there, or for what is no address. Signals are handled in
    the main thread only; the hub stays the caller's to close.
    """

    def note_start() -> None:
        if on_listening is not None:
            on_listening(url_of(listener))

    server = Server(hub, drain_s, options, on_started=note_start, proxies=proxies)
    with listen(host, port) as listener, collecting_rarely():
        server.run(sockets=[listener])
    if server.start_failure is not None:
        raise server.start_failure


class ServerThread:
    """A hub's server in a thread of its own: for tests, examples and applications without one.

        with ServerThread(hub) as server:
            Replica("till.db", url=server.url, token=token)

    around         what the application is put behind, such as a sealed door
    certificate    the files of a certificate and its key, in PEM; HTTPS then
    proxies        as for `serve`

    `url` is reachable when the block begins. On leaving, requests under way end first; `close()`
    may be called twice. The hub stays the caller's to close.
    """

    def __init__(
        self,
        hub: HubDoor,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        drain_s: int = DRAIN_S,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        certificate: tuple[Path, Path] | None = None,
        proxies: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self._has_started = False
        self._failure: BaseException | None = None  # set by the thread
        self._news = threading.Event()
        self._server = Server(
            hub,
            drain_s,
            options,
            on_started=self._note_start,
            around=around,
            certificate=certificate,
            proxies=proxies,
        )
        self._listener = listen(host, port)
        self.url = url_of(self._listener, scheme="http" if certificate is None else "https")
        self._thread = threading.Thread(target=self._run, name="reunite-server", daemon=True)
        self._thread.start()
        self._news.wait()
        if not self._has_started:
            self.close()
            raise RuntimeError("The server did not start.") from self._failure

    def _note_start(self) -> None:
        self._has_started = True
        self._news.set()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
            self._failure = self._server.start_failure
        except BaseException as exc:
            self._failure = exc
        finally:
            self._news.set()

    def close(self) -> None:
        """Stop accepting, let requests under way end, and return when the thread has ended."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        thread = getattr(self, "_thread", None)
        if thread is not None and thread.is_alive():
            warnings.warn(f"{self!r} was dropped while it serves", ResourceWarning, stacklevel=2)
            self._server.should_exit = True


class Server(uvicorn.Server):
    """uvicorn, with a call when it listens and signals that end `run` instead of the process."""

    def __init__(
        self,
        hub: HubDoor,
        drain_s: int,
        options: dict[str, Any],
        *,
        on_started: Callable[[], None],
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        certificate: tuple[Path, Path] | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        check_proxies(proxies)
        app = create_app(hub, **options)
        self._streams: Streams = app.state.streams
        certificate_file, key_file = certificate or (None, None)
        config = uvicorn.Config(
            around(app) if around is not None else app,
            ssl_certfile=certificate_file,
            ssl_keyfile=key_file,
            http=BoundedProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            # Anybody can write X-Forwarded-For; uvicorn would believe it of this machine.
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            access_log=False,  # a query's URL holds values of rows
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=drain_s,
        )
        super().__init__(config)
        self._hub = hub
        self._on_started = on_started
        self.start_failure: Exception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            try:
                self._hub.start_jobs()
                self._on_started()
            except Exception as exc:
                # Raised from here, it would leave the sockets open and `run` waiting for them.
                self.start_failure = exc
                self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.drain()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with ExitStack() as undo:
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(number, self.handle_exit)
                undo.callback(signal.signal, number, before or signal.SIG_DFL)
            yield


def check_proxies(proxies: Sequence[str]) -> None:
    """Raise CallerError for the first that is no address and no network."""
    for proxy in proxies:
        try:
            is_anybody = ipaddress.ip_network(proxy).prefixlen == 0
        except ValueError:
            is_anybody = True
        if is_anybody:
            raise CallerError(
                f"{proxy!r} is no address of a proxy: give one such as 127.0.0.1, or a network "
                "such as 10.0.0.0/8."
            )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CallerError with what to do about it."""
    if not 0 <= port <= 65_535:
        raise CallerError(f"There is no port {port}: ports go from 0 (any free one) to 65535.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Where a name has addresses of both kinds, more clients try the IPv4 one.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as exc:
        raise CallerError(_cannot_listen(host, port, exc)) from exc


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    number = error.errno
    if number == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use: stop the program that has it, choose another one "
            "with --port, or take any free one with --port 0."
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"This user may not open port {port}: choose one above 1023 with --port."
    if isinstance(error, socket.gaierror) or number == errno.EADDRNOTAVAIL:
        return (
            f"{host} is no address of this machine: use --host 127.0.0.1 for programs here, or "
            "--host 0.0.0.0 for other machines as well."
        )
    return f"Cannot listen on {host} port {port}: {error}"


def url_of(listener: socket.socket, *, scheme: str = "http") -> str:
    """The URL under which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
