"""Push: new rows from a replica's outbox, against `executemany` of the same batches.

Only `Replica.push()` is timed for the aims: the rows are already in the replica and in its outbox.
The hub has one foreign key to check and a hook on another table.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, numbered_folders, timed
from benchmarks.hub_process import HubProcess
from reunite import Replica

ROWS = 10_000
AIMS = {1_000: 0.25, 100: 0.15}

Batches = list[list[tuple[int | float | str, ...]]]


def run(settings: Settings) -> Iterator[Figure]:
    """For each batch size the push, and the pull after it that retires the outbox."""
    count = settings.scaled(ROWS, 2_000)
    for size, aim in AIMS.items():
        batches = [list(standard.rows(first, size)) for first in range(1, count + 1, size)]
        pushes, syncs = Pairs(), Pairs()
        folder = settings.folder / f"batches-of-{size}"
        folder.mkdir()
        for number, round_folder in numbered_folders(folder, settings.rounds):
            limit, (pushed, pulled) = in_turn(
                number,
                partial(_fill_plainly, settings, round_folder / "plain.db", batches),
                partial(_push, settings, round_folder, batches),
            )
            pushes.add(measured=pushed, limit=limit)
            syncs.add(measured=pushed + pulled, limit=limit)
        name = f"{count:,} rows in groups of {size:,}"
        yield pushes.speed("push", name, limit="executemany", aim=aim)
        yield pushes.work("push", f"{name}, processor time", limit="executemany")
        yield syncs.speed("push", f"{name}, and pull", limit="executemany", aim=None)


def _fill_plainly(settings: Settings, path: Path, batches: Batches) -> Spent:
    connection = standard.connect(path)
    standard.create_tables(connection, with_shops=True)

    def fill() -> None:
        for batch in batches:
            standard.insert(connection, batch)

    settings.wait_until_idle()
    spent = timed(fill)
    connection.close()
    return spent


def _push(settings: Settings, folder: Path, batches: Batches) -> tuple[Spent, Spent]:
    """What the push took, and of the pull after it."""
    database = folder / "hub.db"
    standard.build(database, 0, with_shops=True)
    count = sum(map(len, batches))
    with (
        HubProcess(database, hook=standard.PARENT) as hub,
        Replica.clone(folder / "replica.db", hub.url, token=hub.token) as replica,
    ):
        for batch in batches:
            with replica.transaction() as db:
                db.executemany(standard.INSERT, batch)
        settings.wait_until_idle()
        pushed = timed(replica.push, others_s=hub.processor_s)
        pulled = timed(replica.pull, others_s=hub.processor_s)
        status = replica.status()
    assert status.pending == 0, f"{status.pending} changes were not answered"
    assert status.parked == 0, f"{status.parked} changes were rejected"
    connection = standard.connect(database)
    (found,) = connection.execute("SELECT count(*) FROM parcel").fetchone()
    connection.close()
    assert found == count, f"the hub has {found} rows of {count}"
    return pushed, pulled
