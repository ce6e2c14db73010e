"""sb-sync's API: what pushes and pulls of the standard row cost, through all of Django.

Requests go through Django's handler in this process, as one worker of a server would answer them:
JSON, token, organization, flags, fields, foreign keys, log, counters. The client's own work is a
body that was made before, and one search in each answer. `sb_sync_served` has the same over HTTP,
from a server with two workers.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import sb_sync_served, standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, timed
from benchmarks.parcels.project import LABEL, PASSWORD, configure, prepare

ROWS_PUSHED = 10_000
ROWS_PULLED = 100_000
BATCH = sb_sync_served.BATCH
# Rows a second; the original, with everything patched until it ran, reached 1,600 and 33,000.
AIM_PUSHED = 10_000
AIM_SERVED_PUSHED = 13_000
AIM_PULLED = 40_000
# A batch of a table ten times as large.
AIM_GROWTH = 1.3

_LAST_SYNC = re.compile(rb'"last_sync":"([^"]+)"')


def run(settings: Settings) -> Iterator[Figure]:
    """Pushes, then pulls of a table that is ten times as large the second time."""
    project = _Project(settings.folder / "project.db")
    rows = settings.scaled(ROWS_PUSHED, 2_000)
    against_time, against_plain = Pairs(), Pairs()
    for number in range(settings.rounds):
        settings.wait_until_idle()
        bodies = project.bodies(rows)
        plain = _Plain(settings.folder / f"plain{number}.db", rows)
        limit, measured = in_turn(
            number, lambda p=plain: timed(p.insert), lambda b=bodies: timed(lambda: project.push(b))
        )
        against_plain.add(measured=measured, limit=limit)
        against_time.add(measured=measured, limit=_at(rows, AIM_PUSHED))
    name = f"push of {rows:,} rows, {BATCH:,} at a time"
    yield against_time.times("sb_sync", name, limit=f"{AIM_PUSHED:,} rows/s", aim=1.0)
    yield against_plain.speed("sb_sync", name, limit="executemany", aim=None)
    many = settings.scaled(ROWS_PULLED, 4_000)
    project.fill(many // 10)
    small = [project.batch() for _ in range(settings.rounds)]
    project.fill(many)
    against_time, against_plain, growth = Pairs(), Pairs(), Pairs()
    for number in range(settings.rounds):
        settings.wait_until_idle()
        limit, measured = in_turn(
            number, lambda: timed(lambda: project.select(many)), lambda: timed(project.pull_all)
        )
        against_plain.add(measured=measured, limit=limit)
        against_time.add(measured=measured, limit=_at(many, AIM_PULLED))
        growth.add(measured=project.batch(), limit=small[number])
    name = f"pull of {many:,} rows, {BATCH:,} at a time"
    yield against_time.times("sb_sync", name, limit=f"{AIM_PULLED:,} rows/s", aim=1.0)
    yield against_plain.speed("sb_sync", name, limit="select and json.dumps", aim=None)
    yield growth.times(
        "sb_sync", f"a batch of {many:,} rows", limit=f"of {many // 10:,}", aim=AIM_GROWTH
    )
    project.close()
    yield from sb_sync_served.run(
        settings,
        pushed=rows,
        pulled=many,
        aim_pushed=AIM_SERVED_PUSHED,
        aim_pulled=AIM_PULLED,
    )


def _at(rows: int, rows_per_s: int) -> Spent:
    return Spent(rows / rows_per_s, rows / rows_per_s)


class _Project:
    """A Django project in a file, with one user of one organization."""

    def __init__(self, path: Path) -> None:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
        configure(database, path.parent)
        from django.test import Client

        prepare("ann")
        from benchmarks.parcels.models import Parcel

        self._parcels: Any = Parcel
        self._path = path
        self._client = Client()
        login = {"username": "ann", "password": PASSWORD}
        answer = self._ask("auth/token/", json.dumps(login).encode())
        self._headers = {"Authorization": f"Bearer {json.loads(answer)['token']}"}
        self._first = 1

    _headers: dict[str, str] | None = None

    def _ask(self, path: str, body: bytes) -> bytes:
        answer = self._client.post(
            f"/{path}", body, content_type="application/json", headers=self._headers
        )
        assert answer.status_code == 200, answer.content[:500]
        return bytes(answer.content)

    def bodies(self, rows: int) -> list[bytes]:
        """Requests with rows that no request had before."""
        first, self._first = self._first, self._first + rows
        return sb_sync_served.bodies(first, rows)

    def push(self, bodies: list[bytes]) -> None:
        for body in bodies:
            answer = self._ask("push/", body)
            assert b'"status":"success"' in answer[:100], answer[:500]

    def fill(self, rows: int) -> None:
        """So many rows are there."""
        there = self._parcels.objects.count()
        if there > rows:
            keys = self._parcels.objects.order_by("pk").values_list("pk", flat=True)[rows:]
            self._parcels.objects.filter(pk__gte=keys[0]).delete()
        for body in self.bodies(max(0, rows - there)):
            self._ask("push/", body)

    def batch(self) -> Spent:
        """One batch from the middle of the table; its best of five."""
        place = self._pull(None)[0]
        spent = [timed(lambda: self._pull(place)) for _ in range(5)]
        return min(spent, key=lambda one: one.wall_s)

    def pull_all(self) -> None:
        place, has_more, count = None, True, 0
        while has_more:
            place, has_more = self._pull(place)
            count += 1
        assert count >= self._parcels.objects.count() // BATCH

    def _pull(self, place: str | None) -> tuple[str, bool]:
        body = json.dumps({"models": {LABEL: place}, "batch_size": BATCH}).encode()
        answer = self._ask("pull/", body)
        found = _LAST_SYNC.search(answer, len(answer) - 2_000)
        assert found is not None, answer[-500:]
        return found[1].decode(), b'"has_more":true' in answer[-500:]

    def select(self, rows: int) -> None:
        """What the database and JSON take for the same rows."""
        connection = sqlite3.connect(self._path)
        cursor = connection.execute("SELECT * FROM parcels_parcel")
        names = [column[0] for column in cursor.description]
        while found := cursor.fetchmany(BATCH):
            json.dumps([dict(zip(names, row, strict=True)) for row in found])
        connection.close()

    def close(self) -> None:
        from django.apps import apps
        from django.db import connections

        apps.get_app_config("reunite").forget()  # type: ignore[attr-defined]
        connections.close_all()


class _Plain:
    """The same rows without anything else."""

    def __init__(self, path: Path, rows: int) -> None:
        self._connection = standard.connect(path)
        standard.create_tables(self._connection)
        found = list(standard.rows(1, rows))
        self._batches = [found[start : start + BATCH] for start in range(0, rows, BATCH)]

    def insert(self) -> None:
        for batch in self._batches:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(standard.INSERT, batch)
            self._connection.execute("COMMIT")
        self._connection.close()
