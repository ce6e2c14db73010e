"""Repair: one row differs, against reading the table plainly; and what travels for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, timed
from benchmarks.hub_process import HubProcess
from reunite import Replica, SyncProgress

ROWS = 100_000
ROWS_LARGE = 1_000_000
TIMES_MAX = 12.0
SHARE_MAX = 0.01

# As a program writes that knows how to get past capture.
_DAMAGE = """
    UPDATE reunite_guard SET suspended = 1;
    UPDATE parcel SET quantity = quantity + 1 WHERE id = {id};
    UPDATE reunite_guard SET suspended = 0;
"""


def run(settings: Settings) -> Iterator[Figure]:
    """A repair of one wrong row, at one or two sizes of the table."""
    for rows in [settings.scaled(ROWS, 5_000)] + ([ROWS_LARGE] if settings.is_large else []):
        yield from _measure(settings, rows)


def _measure(settings: Settings, rows: int) -> Iterator[Figure]:
    folder = settings.folder / f"{rows}"
    folder.mkdir()
    database, file = folder / "hub.db", folder / "replica.db"
    standard.build(database, rows)
    pairs = Pairs()
    bytes_read: list[int] = []
    with HubProcess(database) as hub, Replica.clone(file, hub.url, token=hub.token) as replica:
        for number in range(settings.rounds):
            settings.wait_until_idle()
            _damage(file, 1 + number * 997 % rows)
            limit, measured = in_turn(
                number,
                partial(_read_plainly, file, rows),
                partial(_repair, replica, hub, bytes_read),
            )
            pairs.add(measured=measured, limit=limit)
    name = f"1 wrong row of {rows:,}"
    yield pairs.times("repair", name, limit="SELECT of all", aim=TIMES_MAX)
    size_kb = sum(len(repr(row)) for row in standard.rows(1, rows)) / 1e3
    share = max(bytes_read) / 1e3 / size_kb
    yield Figure(
        benchmark="repair",
        name=f"{name}, what travels",
        unit="kB",
        measured=max(bytes_read) / 1e3,
        limit=size_kb,
        limit_name="all rows",
        ratio=share,
        spread=(min(bytes_read) / 1e3 / size_kb, share),
        aim=SHARE_MAX,
        is_ceiling=True,
    )


def _damage(file: Path, key: int) -> None:
    with closing(standard.connect(file)) as connection:
        connection.executescript(_DAMAGE.format(id=key))


def _read_plainly(file: Path, rows: int) -> Spent:
    found: list[int] = []
    with closing(standard.connect(file)) as connection:
        spent = timed(
            lambda: found.append(sum(1 for _ in connection.execute("SELECT * FROM parcel")))
        )
    assert found == [rows]
    return spent


def _repair(replica: Replica, hub: HubProcess, bytes_read: list[int]) -> Spent:
    found: list[int] = []
    news: list[SyncProgress] = []
    spent = timed(
        lambda: found.append(replica.repair(on_progress=news.append).found),
        others_s=hub.processor_s,
    )
    assert found == [1], f"the repair found {found[0]} rows, not 1"
    bytes_read.append(news[-1].bytes)
    return spent
