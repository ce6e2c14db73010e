"""Several processes on one port: a supervisor and its workers.

    supervisor   has the socket, starts workers, replaces those that die, ends them all
    worker       a hub of its own over the same database, and the embedded server on that socket

Connections wait in the socket, not in a worker: what a dying one had not accepted another takes.

What it is not   a load balancer, nor a place for periodic work: that is the caller's.
The rule         workers share nothing but the database. They end when the supervisor does, however
                 that ends: a signal to it is a signal to all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from reunite.errors import CallerError, ReuniteError
from reunite.server.collecting import collecting_rarely
from reunite.server.door import HubDoor
from reunite.server.embedding import DRAIN_S, Server, check_proxies, listen, url_of

# More would only wait for the database.
WORKERS_MAX = 64

# A worker that dies at once is not started more often than this.
RESTART_EVERY_S = 1.0

# Beyond the time that requests under way may take, before a worker is killed.
_END_GRACE_S = 5.0

_spawn = multiprocessing.get_context("spawn")


def serve_in_workers(
    open_hub: Callable[[], AbstractContextManager[HubDoor]],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    workers: int,
    on_listening: Callable[[str], None] | None = None,
    on_lost: Callable[[str], None] | None = None,
    drain_s: int = DRAIN_S,
    proxies: Sequence[str] = (),
    **options: Any,
) -> None:
    """Serve from `workers` processes until Ctrl-C or SIGTERM, let each finish what is under way,
    and return.

    open_hub       called in every worker; it travels there by pickling, so it is a function of a
                   module, or a partial of one
    options        those of `create_app`, which travel there as well
    on_listening   called once with the URL, when all workers accept connections
    on_lost        called with a sentence whenever a worker died and another takes its place

    The rest is that of `serve`. A second signal kills the workers. Raises CallerError if it cannot
    listen there, for a number of workers that cannot be, and on Windows, where workers could not be
    told to finish.
    """
    if os.name != "posix":
        raise CallerError("Workers need a POSIX system: serve from one process here.")
    if not 1 <= workers <= WORKERS_MAX:
        raise CallerError(f"There can be 1 to {WORKERS_MAX} workers, not {workers}.")
    check_proxies(proxies)
    with listen(host, port) as listener:
        supervisor = _Supervisor(
            workers,
            (open_hub, listener, drain_s, tuple(proxies), options),
            on_lost or _say_nothing,
        )
        try:
            with supervisor.signals():
                supervisor.start()
                if supervisor.run(until_ready=True) and on_listening is not None:
                    on_listening(url_of(listener))
                supervisor.run()
                supervisor.end(drain_s + _END_GRACE_S)
        finally:
            supervisor.kill()


def _say_nothing(sentence: str) -> None:
    """Nobody asked."""


class _Worker:
    """One process, and the pipe over which it says that it serves, or why it cannot."""

    def __init__(self, task: tuple[Any, ...]) -> None:
        self.started_at = time.monotonic()
        self.is_ready = False
        self.failure: str | None = None
        self.pipe, theirs = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=_work, args=(*task, theirs), name="reunite-worker")
        with _without_interrupts():
            self.process.start()
        theirs.close()

    def take_news(self) -> None:
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                self.failure = self.pipe.recv()
                self.is_ready = self.failure is None

    def close(self) -> None:
        self.process.join()
        self.process.close()
        self.pipe.close()


class _Supervisor:
    """The workers, in places that are filled again when one dies."""

    def __init__(self, count: int, task: tuple[Any, ...], on_lost: Callable[[str], None]) -> None:
        self._task = task
        self._on_lost = on_lost
        self._workers: list[_Worker] = []
        self._count = count
        self._signals = 0
        self._bell, self._button = socket.socketpair()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Inside the block, Ctrl-C and SIGTERM end `run`; in the main thread, that is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with ExitStack() as undo:
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(number, self._note_signal)
                undo.callback(signal.signal, number, before or signal.SIG_DFL)
            yield

    def _note_signal(self, number: int, frame: object) -> None:
        self._signals += 1
        with suppress(OSError):
            self._button.send(b".")

    def start(self) -> None:
        # It changes which signals are blocked, so it is there before the first worker.
        resource_tracker.ensure_running()
        for _ in range(self._count):
            self._workers.append(_Worker(self._task))

    def run(self, *, until_ready: bool = False) -> bool:
        """Keep all places filled until a signal comes, or until all workers serve; whether they
        do."""
        while not self._signals:
            if until_ready and all(worker.is_ready for worker in self._workers):
                return True
            self._wait(RESTART_EVERY_S)
            for place, worker in enumerate(self._workers):
                worker.take_news()
                if not worker.process.is_alive() and not self._signals:
                    self._replace(place, worker)
        return False

    def _wait(self, timeout_s: float) -> None:
        """Until something happens."""
        living = [worker for worker in self._workers if worker.process.is_alive()]
        waited: list[Any] = [self._bell, *(worker.process.sentinel for worker in living)]
        waited += [worker.pipe for worker in living if not worker.is_ready]
        connection.wait(waited, timeout_s)

    def _replace(self, place: int, worker: _Worker) -> None:
        early = worker.started_at + RESTART_EVERY_S - time.monotonic()
        if early > 0 and connection.wait([self._bell], early):
            return
        self._on_lost(_loss(worker))
        # If none can be started, this one is still there to be closed with the others.
        self._workers[place] = _Worker(self._task)
        worker.close()

    def end(self, timeout_s: float) -> None:
        """Have the workers finish; a second signal, or the time, ends the waiting."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + timeout_s
        while any(worker.process.is_alive() for worker in self._workers):
            if self._signals > 1 or time.monotonic() > deadline:
                return
            while self._bell in connection.wait([self._bell], 0):
                self._bell.recv(1)
            self._wait(0.5)

    def kill(self) -> None:
        """End whoever is left, and release everything."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.close()
        self._workers = []
        self._bell.close()
        self._button.close()


def _loss(worker: _Worker) -> str:
    code = worker.process.exitcode
    if worker.failure is not None:
        return f"A worker could not start, another one tries: {worker.failure}"
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return f"A worker ended {how}: another one takes its place."


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C, which the terminal sends to all: they are
    told to end by their supervisor, from their first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    open_hub: Callable[[], AbstractContextManager[HubDoor]],
    listener: socket.socket,
    drain_s: int,
    proxies: tuple[str, ...],
    options: dict[str, Any],
    pipe: Connection[str | None, str | None],
) -> None:
    """What a worker does."""
    try:
        with listener, open_hub() as hub:
            server = Server(
                hub, drain_s, options, on_started=lambda: pipe.send(None), proxies=proxies
            )
            threading.Thread(target=_end_with_supervisor, args=(server,), daemon=True).start()
            with collecting_rarely():
                server.run(sockets=[listener])
    except ReuniteError as exc:
        with suppress(OSError):
            pipe.send(exc.message)
        os._exit(1)  # it is told, and needs no traceback


def _end_with_supervisor(server: Server) -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
    server.should_exit = True
