"""sb-sync's API as it is used: gunicorn with two workers, HTTP, on SQLite and on PostgreSQL.

What is pushed comes from two devices of two users at once, a thousand items a request, each answer
awaited before the next one; and from one alone, which keeps one worker busy. A device that pulls
searches the answer for the next place and decodes nothing, so that what is measured is the server.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, timed
from benchmarks.hub_process import ROOT
from benchmarks.parcels.project import LABEL, PASSWORD, environment
from tests.postgresql_server import connected, processor_s, running_server, why_missing

WORKERS = 2
USERS = ("ann", "bob")
BATCH = 1_000
STOP_S = 20.0

NAMES = ("shop_id", "customer", "email", "street", "city", "note", "quantity", "weight", "due")

_LISTENING = re.compile(rb"Listening at: http://127\.0\.0\.1:(\d+)")
_LAST_SYNC = re.compile(rb'"last_sync":"([^"]+)"')
_COUNT = re.compile(rb'"total_records":(\d+)')


def bodies(first: int, rows: int) -> list[bytes]:
    """Requests that push standard rows."""
    items = [
        {"_model": LABEL, **dict(zip(NAMES, row[1:], strict=True))}
        for row in standard.rows(first, rows)
    ]
    return [
        json.dumps({"data": items[start : start + BATCH]}).encode()
        for start in range(0, rows, BATCH)
    ]


class _Database(NamedTuple):
    """A database as Django's settings have it."""

    name: str
    settings: Mapping[str, Any]
    processor_s: Callable[[], float]  # of its server
    analyze: Callable[[], None]  # what PostgreSQL does by itself a minute later


def run(
    settings: Settings, *, pushed: int, pulled: int, aim_pushed: int, aim_pulled: int
) -> Iterator[Figure]:
    """Pushes and pulls of so many rows, with aims in rows a second."""
    for database in _databases(settings):
        folder = settings.folder / database.name
        folder.mkdir()
        with _served(database.settings, folder) as (port, served_s):

            def others_s(served_s: Any = served_s, database: _Database = database) -> float:
                return float(served_s() + database.processor_s())

            server = _Served(settings, database, port, others_s)
            yield from server.pushes(pushed, aim_pushed)
            yield from server.pulls(pulled, aim_pulled)


class _Served:
    """What is measured of one server: the rows go on where the last push ended."""

    def __init__(
        self, settings: Settings, database: _Database, port: int, others_s: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._database = database
        self._others_s = others_s
        self._name = f"{database.name}, {WORKERS} workers"
        self._rows = 0
        self._devices = [_Device(port, user) for user in USERS]
        for device in self._devices:
            device.push(self._fresh(BATCH))  # and each worker has served something

    def _fresh(self, rows: int) -> list[bytes]:
        self._rows += rows
        return bodies(self._rows - rows + 1, rows)

    def _timed(self, works: Sequence[Callable[[], object]]) -> Spent:
        self._settings.wait_until_idle()
        return timed(partial(_at_once, works), others_s=self._others_s)

    def pushes(self, rows: int, aim: int) -> Iterator[Figure]:
        for count in (1, len(self._devices)):
            pushes = Pairs()
            for _ in range(self._settings.rounds):
                works = [
                    partial(device.push, self._fresh(rows // count))
                    for device in self._devices[:count]
                ]
                pushes.add(measured=self._timed(works), limit=_at(rows, aim))
            name = f"{self._name}: push of {rows:,} rows, {count} at once"
            is_full = count == len(self._devices)
            yield pushes.times(
                "sb_sync", name, limit=f"{aim:,} rows/s", aim=1.0 if is_full else None
            )
            # What processors that do nothing else would need for it.
            yield pushes.work("sb_sync", f"{name}, processor time", limit=f"{WORKERS} processors")

    def pulls(self, rows: int, aim: int) -> Iterator[Figure]:
        while self._rows < rows:
            self._devices[0].push(self._fresh(BATCH))
        self._database.analyze()
        pulls = Pairs()
        count = len(self._devices)
        for _ in range(self._settings.rounds):
            works = [partial(device.pull_all, self._rows) for device in self._devices]
            pulls.add(measured=self._timed(works), limit=_at(self._rows * count, aim))
        name = f"{self._name}: pull of {self._rows:,} rows, {count} at once"
        yield pulls.times("sb_sync", name, limit=f"{aim:,} rows/s", aim=1.0)
        yield pulls.work("sb_sync", f"{name}, processor time", limit=f"{WORKERS} processors")


def _at(rows: int, rows_per_s: int) -> Spent:
    wall_s = rows / rows_per_s
    return Spent(wall_s, WORKERS * wall_s)


def _at_once(works: Sequence[Callable[[], object]]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class _Device:
    """What sends requests in the name of one user."""

    def __init__(self, port: int, user: str) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json"}
        body = json.dumps({"username": user, "password": PASSWORD}).encode()
        token = json.loads(self._ask("auth/token/", body))["token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def _ask(self, path: str, body: bytes) -> bytes:
        # gunicorn's workers close each connection, so that whichever is free takes the next.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("POST", f"/{path}", body, self._headers)
            answer = connection.getresponse()
            found = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, found[:500]
        return found

    def push(self, requests: Sequence[bytes]) -> None:
        for body in requests:
            answer = self._ask("push/", body)
            assert b'"status":"success"' in answer[:100], answer[:500]

    def pull_all(self, rows: int) -> None:
        place, has_more, count = None, True, 0
        while has_more:
            body = json.dumps({"models": {LABEL: place}, "batch_size": BATCH}).encode()
            answer = self._ask("pull/", body)
            found, total = _LAST_SYNC.search(answer, len(answer) - 2_000), _COUNT.search(answer)
            assert found is not None, answer[-500:]
            assert total is not None, answer[-500:]
            place, count = found[1].decode(), count + int(total[1])
            has_more = b'"has_more":true' in answer[-500:]
        assert count == rows, (count, rows)


def _databases(settings: Settings) -> Iterator[_Database]:
    file = settings.folder / "served.db"
    options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    common = {"CONN_MAX_AGE": None}
    engine = "django.db.backends.sqlite3"
    yield _Database(
        "SQLite",
        {"ENGINE": engine, "NAME": str(file), "OPTIONS": options, **common},
        processor_s=lambda: 0.0,
        analyze=lambda: None,
    )
    if (reason := why_missing()) is not None:
        print(f"NOT MEASURED on PostgreSQL: {reason}.", file=sys.stderr)
        return
    with running_server() as server:
        address = server.new_database()
        url = urlsplit(address)
        place = {"NAME": url.path.lstrip("/"), "HOST": url.hostname, "PORT": url.port}

        def analyze() -> None:
            with connected(address) as connection:
                connection.execute("ANALYZE")

        yield _Database(
            "PostgreSQL",
            {"ENGINE": "django.db.backends.postgresql", "USER": url.username, **place, **common},
            processor_s=server.processor_s,
            analyze=analyze,
        )


@contextmanager
def _served(database: Mapping[str, Any], folder: Path) -> Iterator[tuple[int, Callable[[], float]]]:
    """gunicorn: the port on which it listens, and the processor time of its workers."""
    surroundings = environment(database, folder)
    python = [sys.executable, "-m"]
    subprocess.run(
        [*python, "benchmarks.parcels.wsgi", *USERS],
        cwd=ROOT,
        env=surroundings,
        check=True,
    )
    log = folder / "gunicorn.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*python, "gunicorn", "benchmarks.parcels.wsgi", "--bind", "127.0.0.1:0",
             "--workers", str(WORKERS)],
            cwd=ROOT, env=surroundings, stderr=written,
        )  # fmt: skip
    try:
        yield _port(process, log), partial(processor_s, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    while (found := _LISTENING.search(log.read_bytes())) is None:
        if process.poll() is not None:
            raise RuntimeError(log.read_text(errors="replace"))
    return int(found[1])
