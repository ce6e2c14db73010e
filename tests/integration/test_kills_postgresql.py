"""PostgreSQL, workers and replicas are killed while eight writers run; nobody loses anything."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reunite import Replica
from tests.integration.live_helpers import query
from tests.integration.processes import COMMAND, ServeProcess, wait_until
from tests.patience import DEADLINE_S
from tests.postgresql_server import PostgresServer, running_server, why_missing

ACCOUNTS = 6
# Between transactions of a writer; the machine has other things to do.
PAUSE_S = 0.02

DDL = f"""
create table account (id int primary key, balance int not null);
create table entry (id text primary key, account_id int references account (id), amount int);
insert into account select id, 0 from generate_series(1, {ACCOUNTS}) as id;
"""
TABLES = (
    "select id, balance from account order by id",
    "select id, account_id, amount from entry order by id",
)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own, which keeps what it has said was committed."""
    reason = why_missing()
    if reason is not None:
        pytest.skip(f"PostgreSQL is not tested: {reason}")
    with running_server({"synchronous_commit": "on"}) as server:
        yield server


class Writers:
    """Eight programs that write to the database and go on whatever happens to it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self.committed: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in "abcdefgh"]
        for thread in self._threads:
            thread.start()

    def _write(self, name: str) -> None:
        chance = random.Random(name)
        number = 0
        while not self._is_over.is_set():
            with suppress(psycopg.Error), psycopg.connect(self._url) as db:
                while not self._is_over.wait(PAUSE_S):
                    number += 1
                    with db.transaction():
                        self._move(db, chance, f"{name}{number}")
                    self.committed.append(f"{name}{number}")
            self._is_over.wait(PAUSE_S)

    def _move(self, db: psycopg.Connection[Any], chance: random.Random, entry: str) -> None:
        """Something from one account to another: hot rows, in an order without deadlocks."""
        giver, taker = sorted(chance.sample(range(1, ACCOUNTS + 1), 2))
        amount = chance.randint(1, 9)
        db.execute("insert into entry values (%s, %s, %s)", (entry, taker, amount))
        db.execute("update account set balance = balance - %s where id = %s", (amount, giver))
        db.execute("update account set balance = balance + %s where id = %s", (amount, taker))

    def until_more(self, count: int) -> None:
        """Wait until this many transactions more were committed."""
        before = len(self.committed)
        wait_until(lambda: len(self.committed) >= before + count)

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)


class WatchedReplica:
    """A replica that `reunite sync --watch` keeps live, and a program that writes to it."""

    def __init__(self, path: Path, served: ServeProcess) -> None:
        self.path = path
        self._token = served.token
        self.written: set[str] = set()
        Replica.clone(path, served.url, token=served.token).close()
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "sync", str(self.path), "--watch", "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "REUNITE_TOKEN": self._token},
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def write(self, count: int) -> None:
        """Rows that a program on the device adds."""
        for _ in range(count):
            name = f"{self.path.stem} {len(self.written)}"
            query(self.path, "insert into entry values (?, 1, 0)", name)
            self.written.add(name)

    def until_it_has(self, names: set[str]) -> None:
        wait_until(lambda: names <= {name for (name,) in query(self.path, "select id from entry")})

    def until_equal(self, url: str) -> None:
        wait_until(lambda: [query(self.path, each) for each in TABLES] == rows_at_hub(url))

    @contextmanager
    def running(self) -> Iterator[WatchedReplica]:
        try:
            yield self
        finally:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(DEADLINE_S)


def rows_at_hub(url: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url) as db:
        return [db.execute(statement).fetchall() for statement in TABLES]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_nothing_is_lost_when_the_database_a_worker_and_a_replica_are_killed_under_eight_writers(
    server: PostgresServer, tmp_path: Path
) -> None:
    """Tables end equal, with all that was committed and all that devices wrote (I1, I2, I4)."""
    url = server.new_database()
    with psycopg.connect(url) as db:
        db.execute(DDL)
    with ServeProcess(url, "--workers", 2) as served, ExitStack() as stack:
        till, office = replicas = [
            stack.enter_context(WatchedReplica(tmp_path / f"{name}.db", served).running())
            for name in ("till", "office")
        ]
        with Writers(url) as writers:
            for victims in ({"worker", "replica"}, {"database"}, {"all"}):
                for replica in replicas:
                    replica.write(3)
                writers.until_more(40)
                if victims & {"worker", "all"}:
                    os.kill(served.workers[0], signal.SIGKILL)
                if victims & {"replica", "all"}:
                    till.kill()
                    till.write(2)
                if victims & {"database", "all"}:
                    server.stop(kill=True)
                    office.write(2)
                    server.start_again()
                if victims & {"replica", "all"}:
                    till.start()
                writers.until_more(40)
                # All are at work again before the next blow.
                known = set(writers.committed)
                for replica in replicas:
                    replica.until_it_has(known)
        expected = set(writers.committed) | till.written | office.written
        for replica in replicas:
            replica.until_it_has(expected)
            replica.until_equal(url)
            with Replica(replica.path) as opened:
                status = opened.status()
            assert (status.parked, status.conflicts) == (0, 0)
    assert sum(balance for _, balance in rows_at_hub(url)[0]) == 0
    assert not [note for note in served.notes if "Traceback" in note], served.notes
