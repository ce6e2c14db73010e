"""A hub on PostgreSQL: push against `COPY` of the same batches, clone against `executemany`.

The server is the one of the tests, from a wheel, started here; where the wheel is missing, nothing
is measured, and a sentence says so. It flushes nothing, on either side of a ratio.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import standard
from benchmarks.clone import clone, fill_plainly
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, numbered_folders, timed
from benchmarks.hub_process import HubProcess
from benchmarks.push import Batches
from reunite import Replica
from tests.postgresql_server import PostgresServer, running_server, why_missing

ROWS_PUSHED = 10_000
GROUP = 1_000
ROWS_CLONED = 100_000
PUSH_AIM, CLONE_AIM = 0.25, 0.30


def run(settings: Settings) -> Iterator[Figure]:
    """Push and first clone, each against its limit; nothing where there is no server."""
    reason = why_missing()
    if reason is not None:
        print(f"NOT MEASURED: no PostgreSQL server can be started, {reason}.", file=sys.stderr)
        return
    with running_server() as server:
        yield from _pushes(settings, server)
        yield from _clones(settings, server)


def _pushes(settings: Settings, server: PostgresServer) -> Iterator[Figure]:
    count = settings.scaled(ROWS_PUSHED, 2_000)
    batches = [list(standard.rows(first, GROUP)) for first in range(1, count + 1, GROUP)]
    pushes, syncs = Pairs(), Pairs()
    folder = settings.folder / "push"
    folder.mkdir()
    for number, round_folder in numbered_folders(folder, settings.rounds):
        limit, (pushed, pulled) = in_turn(
            number,
            partial(_copy_plainly, settings, server, batches),
            partial(_push, settings, server, round_folder, batches),
        )
        pushes.add(measured=pushed, limit=limit)
        syncs.add(measured=pushed + pulled, limit=limit)
    name = f"push {count:,} rows in groups of {GROUP:,}"
    yield pushes.speed("postgresql", name, limit="COPY", aim=PUSH_AIM)
    yield pushes.work("postgresql", f"{name}, processor time", limit="COPY")
    yield syncs.speed("postgresql", f"{name}, and pull", limit="COPY", aim=None)


def _copy_plainly(settings: Settings, server: PostgresServer, batches: Batches) -> Spent:
    url = new_database(server, with_shops=True)
    with connect(url) as connection:

        def fill() -> None:
            for batch in batches:
                copy_rows(connection, batch)

        settings.wait_until_idle()
        spent = timed(fill, others_s=server.processor_s)
    server.drop_database(url)
    return spent


def _push(
    settings: Settings, server: PostgresServer, folder: Path, batches: Batches
) -> tuple[Spent, Spent]:
    """What the push took, and of the pull after it."""
    url = new_database(server, with_shops=True)
    with (
        HubProcess(url, hook=standard.PARENT) as hub,
        Replica.clone(folder / "replica.db", hub.url, token=hub.token) as replica,
    ):
        for batch in batches:
            with replica.transaction() as db:
                db.executemany(standard.INSERT, batch)
        settings.wait_until_idle()

        def others_s() -> float:
            return hub.processor_s() + server.processor_s()

        pushed = timed(replica.push, others_s=others_s)
        pulled = timed(replica.pull, others_s=others_s)
        status = replica.status()
    assert (status.pending, status.parked) == (0, 0), status
    with connect(url) as connection:
        (found,) = connection.execute("SELECT count(*) FROM parcel").fetchone()
    assert found == sum(map(len, batches)), f"the hub has {found} rows"
    server.drop_database(url)
    return pushed, pulled


def _clones(settings: Settings, server: PostgresServer) -> Iterator[Figure]:
    count = settings.scaled(ROWS_CLONED, 5_000)
    batch = list(standard.rows(1, count))
    url = new_database(server, with_shops=False)
    with connect(url) as connection:
        copy_rows(connection, batch)
    pairs = Pairs()
    folder = settings.folder / "clone"
    folder.mkdir()
    with HubProcess(url) as hub:
        for number, round_folder in numbered_folders(folder, settings.rounds):
            settings.wait_until_idle()
            limit, measured = in_turn(
                number,
                partial(fill_plainly, round_folder / "plain.db", batch),
                partial(
                    clone, round_folder / "replica.db", hub, count, others_s=server.processor_s
                ),
            )
            pairs.add(measured=measured, limit=limit)
    name = f"clone {count:,} rows"
    yield pairs.speed("postgresql", name, limit="executemany", aim=CLONE_AIM)
    yield pairs.work("postgresql", f"{name}, processor time", limit="executemany")


def new_database(server: PostgresServer, *, with_shops: bool) -> str:
    url = server.new_database()
    with connect(url) as connection:
        for statement in standard.table_statements(with_shops=with_shops):
            connection.execute(statement)
        if with_shops:
            connection.cursor().executemany(
                "INSERT INTO shop VALUES (%s, %s)", standard.shop_rows()
            )
    return url


def copy_rows(connection: Any, batch: list[tuple[int | float | str, ...]]) -> None:
    """Insert rows in one transaction, as fast as a Python program can."""
    with connection.cursor().copy("COPY parcel FROM STDIN") as copy:
        for row in batch:
            copy.write_row(row)


def connect(url: str) -> Any:
    import psycopg

    return psycopg.connect(url, autocommit=True)
