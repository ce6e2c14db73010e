"""Incremental pull at logs of different lengths, against a trivial HTTP round trip.

Three hubs run at once and are asked in turn, each by its own replica. The log of a hub is made by
real writes that its triggers capture; only the numbers of the commits are given in bulk.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx2

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, timed
from benchmarks.hub_process import HubProcess
from reunite import Hub, Replica

COMMITS = (1_000, 100_000, 1_000_000)
ROWS = 1_000
CHANGES = 100
SAMPLES = 40
ROUND_TRIPS_MAX = 3.0
GROWTH_MAX = 1.3

_COMMITS_SQL = """
    INSERT INTO reunite_commit (seq, first_id, last_id, at_ms, nonce)
    SELECT row_number() OVER (ORDER BY id), id, id, ? + id, lower(hex(randomblob(16)))
    FROM reunite_change
"""


def run(settings: Settings) -> Iterator[Figure]:
    """Pulls with nothing new and of a hundred changes, at each length of the log."""
    lengths = tuple(settings.scaled(n, n // 100) for n in COMMITS)
    samples = settings.scaled(SAMPLES, 5)
    with ExitStack() as stack:
        scenes = [stack.enter_context(_Scene(settings.folder, commits)) for commits in lengths]
        nothing = {scene: Pairs() for scene in scenes}
        changed = {scene: Pairs() for scene in scenes}
        for sample in range(samples + 1):
            settings.wait_until_idle()
            for scene in scenes:
                trip = timed(scene.make_round_trip)
                without = scene.pull(0)
                scene.change(CHANGES)
                with_changes = scene.pull(CHANGES)
                if sample:  # the first one warms the caches
                    nothing[scene].add(measured=without, limit=trip)
                    changed[scene].add(measured=with_changes, limit=trip)
    for kind, pairs_by_scene, aim in (
        ("nothing new", nothing, ROUND_TRIPS_MAX),
        (f"{CHANGES} changes", changed, None),
    ):
        for scene, pairs in pairs_by_scene.items():
            name = f"{kind}, log of {scene.commits:,}"
            yield pairs.times("pull", name, limit="round trip", aim=aim)
        shortest, *_, longest = scenes
        growth = Pairs()
        for measured, limit in zip(
            pairs_by_scene[longest].measured, pairs_by_scene[shortest].measured, strict=True
        ):
            growth.add(measured=measured, limit=limit)
        name = f"{kind}, log of {longest.commits:,}"
        beside = f"log of {shortest.commits:,}"
        yield growth.times("pull", name, limit=beside, aim=GROWTH_MAX)


class _Scene(ExitStack):
    """A hub whose log has so many commits, a replica that has read it, and a plain client."""

    def __init__(self, folder: Path, commits: int) -> None:
        super().__init__()
        self.commits = commits
        database = folder / f"hub-{commits}.db"
        _build_log(database, commits)
        hub = self.enter_context(HubProcess(database))
        self._replica = self.enter_context(
            Replica.clone(folder / f"replica-{commits}.db", hub.url, token=hub.token)
        )
        self._client = self.enter_context(httpx2.Client(base_url=hub.url, trust_env=False))
        self._writer = self.enter_context(closing(standard.connect(database)))

    def make_round_trip(self) -> None:
        """The least that this server and this client do, on a connection that is open."""
        self._client.get("/livez").raise_for_status()

    def change(self, count: int) -> None:
        """Some other program changes rows of the hub's database, in one transaction."""
        self._writer.execute("UPDATE parcel SET quantity = quantity + 1 WHERE id <= ?", (count,))

    def pull(self, expected: int) -> Spent:
        """What one pull takes, which must bring so many rows."""
        pulled = []
        spent = timed(lambda: pulled.append(self._replica.pull().pulled))
        assert pulled == [expected], f"the pull brought {pulled[0]} rows, not {expected}"
        return spent

    __hash__ = object.__hash__


def _build_log(path: Path, commits: int) -> None:
    """A hub's database that has seen this many transactions, each with one update."""
    standard.build(path, ROWS)
    with Hub(path) as hub:
        hub.track(standard.TABLE, generated_key=False)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.executemany(
        "UPDATE parcel SET quantity = quantity + 1 WHERE id = ?",
        ((1 + number % ROWS,) for number in range(commits)),
    )
    an_hour_ago_ms = time.time_ns() // 1_000_000 - 3_600_000
    connection.execute(_COMMITS_SQL, (an_hour_ago_ms - commits,))
    connection.execute("COMMIT")
    (numbered,) = connection.execute("SELECT max(seq) FROM reunite_commit").fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    assert numbered == commits, f"the log has {numbered} commits, not {commits}"
