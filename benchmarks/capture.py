"""Capture: what the hub's triggers cost a program that writes in bulk.

The same statements on the same rows in two files, one with triggers and one without.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, numbered_folders, timed
from reunite import Hub

ROWS = 100_000
AIMS = {"insert": 0.50, "update": 0.28, "delete": 0.28}


def run(settings: Settings) -> Iterator[Figure]:
    """Bulk insert, update and delete, each in one transaction."""
    count = settings.scaled(ROWS, 5_000)
    batch = list(standard.rows(1, count))
    pairs = {name: Pairs() for name in AIMS}
    for number, folder in numbered_folders(settings.folder, settings.rounds):
        plain, tracked = _Writer(folder / "plain.db"), _Writer(folder / "hub.db", is_tracked=True)
        for name in AIMS:
            settings.wait_until_idle()
            limit, measured = in_turn(number, plain.timer(name, batch), tracked.timer(name, batch))
            pairs[name].add(measured=measured, limit=limit)
        assert tracked.captured() == len(AIMS) * count, "the log misses changes"
        plain.close()
        tracked.close()
    for name, aim in AIMS.items():
        yield pairs[name].speed("capture", f"{name} {count:,} rows", limit="no triggers", aim=aim)


class _Writer:
    """Any program that writes to the table."""

    def __init__(self, path: Path, *, is_tracked: bool = False) -> None:
        standard.build(path, 0)
        if is_tracked:
            with Hub(path) as hub:
                hub.track(standard.TABLE, generated_key=False)
        self._connection = standard.connect(path)

    def timer(self, name: str, batch: list[tuple[int | float | str, ...]]) -> Callable[[], Spent]:
        """What runs one of the bulk writes, and says how long it took."""
        work: dict[str, Callable[[sqlite3.Connection], object]] = {
            "insert": lambda db: db.executemany(standard.INSERT, batch),
            "update": lambda db: db.execute("UPDATE parcel SET quantity = quantity + 1"),
            # Without a condition SQLite would empty the table at once where it has no triggers.
            "delete": lambda db: db.execute("DELETE FROM parcel WHERE id > 0"),
        }

        def write() -> None:
            self._connection.execute("BEGIN IMMEDIATE")
            work[name](self._connection)
            self._connection.execute("COMMIT")

        return lambda: timed(write)

    def captured(self) -> int:
        """How many changes the log has."""
        (count,) = self._connection.execute("SELECT count(*) FROM reunite_change").fetchone()
        return int(count)

    def close(self) -> None:
        self._connection.close()
