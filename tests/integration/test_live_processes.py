"""Live across processes: the command line, a host's own server, and replicas that are killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from reunite import Hub, Replica
from tests.integration.live_helpers import LiveReplica, query
from tests.integration.processes import COMMAND, ServeProcess, wait_until
from tests.patience import DEADLINE_S

NOTES = "select id, title from note order by id"

HOST = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from reunite import Hub

with Hub(sys.argv[1]) as hub:
    hub.track("note")
    app = Starlette(routes=[Mount("/sync", hub.asgi())])

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets=sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    Server(uvicorn.Config(app, port=0, log_level="critical")).run()
"""


class Process:
    """A program whose lines are read; it is killed if the test leaves it."""

    def __init__(self, *command: object) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
        self._alarm = threading.Timer(DEADLINE_S, self.process.kill)
        self._alarm.start()

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        return line

    def until(self, **fields: Any) -> None:
        """Read lines of JSON until one has these fields."""
        while not fields.items() <= json.loads(self.line()).items():
            pass

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "pragma journal_mode = wal; create table note (id text primary key not null, title text)"
    )
    connection.close()
    return path


@pytest.fixture
def served(database: Path) -> Iterator[ServeProcess]:
    with ServeProcess(database) as served:
        yield served


@pytest.fixture
def file(tmp_path: Path, served: ServeProcess) -> Path:
    path = tmp_path / "till.db"
    Replica.clone(path, served.url, token=served.token).close()
    return path


def watching(file: Path, served: ServeProcess, *options: str) -> Process:
    return Process(*COMMAND, "sync", file, "--watch", "--token", served.token, *options)


def test_watching_tells_each_thing_that_happens_on_a_line(
    database: Path, file: Path, served: ServeProcess
) -> None:
    with watching(file, served, "--json") as watch:
        watch.until(phase="live")
        query(database, "insert into note values ('a', 'x')")
        watch.until(pulled=1)
        query(file, "insert into note values ('b', 'y')")
        watch.until(pushed=1)
        wait_until(lambda: query(database, "select count(*) from note") == [(2,)])
        assert watch.end(signal.SIGTERM) == 0


def test_watching_tells_people_in_sentences(
    database: Path, file: Path, served: ServeProcess
) -> None:
    with watching(file, served) as watch:
        assert "live." in watch.line()
        query(database, "insert into note values ('a', 'x')")
        assert "pulled 1 row." in watch.line()
        assert watch.end(signal.SIGINT) == 0


def test_a_killed_replica_goes_on_where_it_was(
    database: Path, file: Path, served: ServeProcess
) -> None:
    for number in range(3):
        with watching(file, served, "--json") as watch:
            watch.until(phase="live")
            query(database, "insert into note values (?, 'hub')", f"hub {number}")
            query(file, "insert into note values (?, 'till')", f"till {number}")
            assert watch.end(signal.SIGKILL) == -signal.SIGKILL
    with Replica(file, token=served.token) as replica:
        replica.sync()
        assert replica.status().pending == 0
    assert query(file, NOTES) == query(database, NOTES)
    assert query(file, "select count(*) from note") == [(6,)]


def test_a_server_of_the_host_does_not_wait_for_streams(database: Path, tmp_path: Path) -> None:
    with Hub(database) as hub:
        hub.track("note")
        token = hub.create_token()
    with Process(sys.executable, "-c", HOST, database) as host:
        url = f"http://127.0.0.1:{host.line().strip()}/sync"
        replica = Replica.clone(tmp_path / "till.db", url, token=token)
        with LiveReplica(replica, "note") as live:
            live.seen.until_phase("live")
            query(database, "insert into note values ('a', 'x')")
            live.until_rows(NOTES, [("a", "x")])
            assert host.end(signal.SIGTERM) in (0, -signal.SIGTERM)
            live.seen.until_phase("offline")
