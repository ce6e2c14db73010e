"""First clone: a table of standard rows over HTTP, against `executemany` of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, numbered_folders, timed
from benchmarks.hub_process import HubProcess
from benchmarks.memory import peak_mb, peak_mb_of_clone
from reunite import Replica

ROWS = 100_000
ROWS_LARGE = 1_000_000
MEMORY_MB_MAX = 150


def run(settings: Settings) -> Iterator[Figure]:
    """Speed of the whole of `Replica.clone`, and the peak memory of both processes."""
    count = settings.scaled(ROWS, 5_000)
    database = settings.folder / "hub.db"
    standard.build(database, count)
    batch = list(standard.rows(1, count))
    pairs = Pairs()
    with HubProcess(database) as hub:
        for number, folder in numbered_folders(settings.folder, settings.rounds):
            settings.wait_until_idle()
            limit, measured = in_turn(
                number,
                partial(fill_plainly, folder / "plain.db", batch),
                partial(clone, folder / "replica.db", hub, count),
            )
            pairs.add(measured=measured, limit=limit)
    name = f"{count:,} rows"
    yield pairs.speed("clone", name, limit="executemany", aim=0.50)
    yield pairs.work("clone", f"{name}, processor time", limit="executemany")
    for rows in [count] + ([ROWS_LARGE] if settings.is_large else []):
        yield from _memory(settings.folder / f"memory-{rows}", rows)


def fill_plainly(path: Path, batch: list[tuple[int | float | str, ...]]) -> Spent:
    """What `executemany` takes, into a fresh file."""
    connection = standard.connect(path)
    standard.create_tables(connection)
    spent = timed(lambda: standard.insert(connection, batch))
    connection.close()
    return spent


def clone(
    path: Path, hub: HubProcess, count: int, *, others_s: Callable[[], float] = lambda: 0.0
) -> Spent:
    """What a first clone takes; `others_s` is the processor time of the hub's database."""
    made: list[Replica] = []
    spent = timed(
        lambda: made.append(Replica.clone(path, hub.url, token=hub.token)),
        others_s=lambda: hub.processor_s() + others_s(),
    )
    made[0].close()
    connection = standard.connect(path)
    (found,) = connection.execute("SELECT count(*) FROM parcel").fetchone()
    connection.close()
    assert found == count, f"the replica has {found} rows of {count}"
    return spent


def _memory(folder: Path, rows: int) -> Iterator[Figure]:
    """A fresh hub and a fresh replica, each in a process of its own."""
    folder.mkdir()
    database = folder / "hub.db"
    standard.build(database, rows)
    with HubProcess(database) as hub:
        replica_mb = peak_mb_of_clone(folder / "replica.db", hub.url, hub.token)
        hub_mb = peak_mb(hub.pid)
    for path in folder.iterdir():
        path.unlink()
    for side, held_mb in (("hub", hub_mb), ("replica", replica_mb)):
        if held_mb is not None:
            yield Figure(
                benchmark="clone",
                name=f"memory of the {side}, {rows:,} rows",
                unit="MB",
                measured=held_mb,
                limit=MEMORY_MB_MAX,
                limit_name="bound",
                ratio=held_mb / MEMORY_MB_MAX,
                spread=(held_mb / MEMORY_MB_MAX, held_mb / MEMORY_MB_MAX),
                aim=1.0,
                is_ceiling=True,
            )
