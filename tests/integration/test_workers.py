"""`reunite serve --workers`: several processes behind one port."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import httpx2
import psycopg
import pytest

from reunite import Replica
from reunite.errors import CallerError
from reunite.server import serve_in_workers
from tests.integration.fake_hub import FakeHub
from tests.integration.http_helpers import client_of
from tests.integration.live_helpers import LiveReplica, query
from tests.integration.processes import ServeProcess, is_running, wait_until

NOTES = "select id, title from note order by id"
DDL = "create table note (id varchar(9) primary key not null, title text)"

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql")
        with psycopg.connect(url, autocommit=True) as program:
            program.execute(DDL)
        return url
    with closing(sqlite3.connect(tmp_path / "hub.db")) as program:
        program.execute(DDL)
    return str(tmp_path / "hub.db")


@pytest.fixture
def file(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "hub.db")) as program:
        program.execute(DDL)
    return str(tmp_path / "hub.db")


def troubles(served: ServeProcess) -> list[str]:
    """What it said of workers that died, or of errors."""
    return [note for note in served.notes if "worker" in note or "Traceback" in note]


def test_what_one_worker_is_pushed_reaches_the_streams_of_all(
    database: str, tmp_path: Path
) -> None:
    with ServeProcess(database, "--workers", 2) as served, ExitStack() as stack:
        assert len(served.workers) == 2
        replicas = [
            Replica.clone(tmp_path / f"{name}.db", served.url, token=served.token)
            for name in "abcd"
        ]
        lives = [stack.enter_context(LiveReplica(replica, "note")) for replica in replicas]
        for live in lives:
            live.seen.until_phase("live")
        expected = []
        for number, replica in enumerate(replicas):
            query(replica.path, "insert into note values (?, 'pushed')", f"n{number}")
            expected.append((f"n{number}", "pushed"))
            for live in lives:
                live.until_rows(NOTES, expected)
    assert served.notes[-1] == "Stopped."
    assert not troubles(served)


def test_a_worker_that_is_killed_is_replaced(file: str, tmp_path: Path) -> None:
    with ServeProcess(file, "--workers", 2) as served:
        replica = Replica.clone(tmp_path / "a.db", served.url, token=served.token)
        with LiveReplica(replica, "note") as live:
            live.seen.until_phase("live")
            before = served.workers
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(set(served.workers) - set(before)) == 2)
            query(replica.path, "insert into note values ('a', 'x')")
            assert replica.wait_until_synced(60)
        assert query(Path(file), NOTES) == [("a", "x")]
        told = "A worker ended by signal 9: another one takes its place."
        assert served.notes.count(told) == 2


def test_workers_end_when_their_supervisor_is_killed(file: str) -> None:
    served = ServeProcess(file, "--workers", 2)
    with served.killed():
        workers = served.workers
        os.kill(served.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, workers)))
    assert not troubles(served)


# --- The supervisor alone -------------------------------------------------------------------------


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    yield FakeHub()


@contextmanager
def hub_behind(folder: Path) -> Iterator[FakeHub]:
    """A hub that cannot be opened before there is a file."""
    if not (folder / "open").exists():
        raise CallerError("The door is shut.")
    yield FakeHub()


def test_a_worker_that_cannot_start_says_why_and_is_tried_again(tmp_path: Path) -> None:
    told: list[str] = []
    urls: list[str] = []

    def lost(sentence: str) -> None:
        told.append(sentence)
        (tmp_path / "open").touch()

    def listening(url: str) -> None:
        with client_of(url) as client:
            assert client.get("livez").status_code == 200
        urls.append(url)
        raise LookupError("that is all")

    with pytest.raises(LookupError):
        serve_in_workers(
            partial(hub_behind, tmp_path), port=0, workers=1, on_lost=lost, on_listening=listening
        )
    assert told == ["A worker could not start, another one tries: The door is shut."]
    with client_of(urls[0]) as client, pytest.raises(httpx2.ConnectError):
        client.get("livez")


def test_what_keeps_a_worker_from_being_replaced_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_worker(task: object) -> None:
        raise BlockingIOError("no more processes")

    def lost(sentence: str) -> None:
        monkeypatch.setattr("reunite.server.workers._Worker", no_worker)

    with pytest.raises(BlockingIOError):
        serve_in_workers(partial(hub_behind, tmp_path), port=0, workers=1, on_lost=lost)


@pytest.mark.parametrize("workers", [0, 65])
def test_a_number_of_workers_that_cannot_be_is_refused(workers: int) -> None:
    with pytest.raises(CallerError, match="1 to 64 workers"):
        serve_in_workers(fake_hub, workers=workers)
