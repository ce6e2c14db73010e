"""One transaction of very many rows, from a replica through its hub to another replica.

    till ──push in parts──► hub ──pages──► other        readers of all three files, all the while

The rule         whoever reads sees all of it or nothing (I5), and the hub's memory is bounded by a
                 part, not by the transaction (I13).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from reunite import Hub, HubUnreachableError, Replica
from tests.crash.edges import in_child
from tests.crash.processes import Child, run_command
from tests.crash.world import TOKEN

DDL = """
create table entry (id text primary key not null, note text, amount integer not null);
create table total (id integer primary key, entries integer not null, amount integer not null);
insert into total values (1, 0, 0);
"""
# What every reader must see: the total is that of the entries.
AGREES = """
select (select count(*) from entry) = entries
   and (select coalesce(sum(amount), 0) from entry) = amount from total
"""

DEADLINE_S = 1_800
READ_EVERY_S = 0.1

# Mebibytes that the hub's process may have in memory at its peak.
HUB_MEMORY_MIB = 250


def move(folder: Path, *, rows: int) -> None:
    """Write it, push it, pull it; prints how long each took. Raises AssertionError."""
    in_child(lambda: _prepare(folder), folder)
    hub = _command("serve", str(folder / "hub.db"), "--json", "--port", "0", "--token", TOKEN)
    hub_child = Child(hub, folder / "hub.txt")
    url = json.loads(hub_child.first_line())["url"]
    for name in ("till", "other"):
        in_child(lambda file=folder / f"{name}.db": _clone(file, url), folder)  # type: ignore[misc]
    readers = [
        Child(lambda file=folder / f"{name}.db": _read(file), folder / f"{name}.txt")  # type: ignore[misc]
        for name in ("hub", "till", "other")
    ]
    try:
        _timed("write", folder, lambda: _write(folder / "till.db", rows))
        _timed("push", folder, lambda: _sync(folder / "till.db", "push"))
        _timed("pull", folder, lambda: _sync(folder / "till.db", "pull"))
        _timed("pull elsewhere", folder, lambda: _sync(folder / "other.db", "pull"))
        peak = hub_child.peak_mib()
    finally:
        for child in (*readers, hub_child):
            child.kill()
    for reader in readers:
        assert reader.status == -9, reader.stderr
    print(f"the hub's peak: {peak} MiB", flush=True)
    assert peak < HUB_MEMORY_MIB, f"the hub took {peak} MiB"
    for name in ("hub", "till", "other"):
        in_child(lambda file=folder / f"{name}.db": _check(file, rows), folder)  # type: ignore[misc]


def _command(*arguments: str) -> Callable[[], None]:
    return run_command(arguments)


def _timed(what: str, folder: Path, work: Callable[[], None]) -> None:
    begun = time.monotonic()
    child = Child(work, folder / "step.txt")
    assert child.ended_within(DEADLINE_S), f"{what} hangs: {child.where()}"
    assert child.status == 0, child.stderr
    print(f"{what}: {time.monotonic() - begun:.1f} s", flush=True)


def _prepare(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "hub.db")) as db:
        db.executescript("pragma journal_mode = wal;" + DDL)
    with Hub(folder / "hub.db") as hub:
        hub.track("entry")
        hub.track("total", merge={"entries": "counter", "amount": "counter"})
        hub.create_token(token=TOKEN)


def _clone(path: Path, url: str) -> None:
    Replica.clone(path, url, token=TOKEN).close()


def _write(path: Path, rows: int) -> None:
    with Replica(path, token=TOKEN) as replica, replica.transaction() as db:
        db.executemany(
            "insert into entry values (?, 'a note that is not long', ?)",
            ((f"entry {i:09}", i % 100) for i in range(rows)),
        )
        db.execute(
            "update total set entries = entries + ?, amount = amount + ?",
            (rows, sum(i % 100 for i in range(rows))),
        )


def _sync(path: Path, half: str) -> None:
    """A hub on a busy machine may need longer than a replica waits for an answer: then the answer
    comes with the next try."""
    until = time.monotonic() + DEADLINE_S
    with Replica(path, token=TOKEN) as replica:
        while True:
            try:
                getattr(replica, half)()
            except HubUnreachableError:
                assert time.monotonic() < until, "the hub never answers"
                print("(no answer in time)", flush=True)
            else:
                return


def _read(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        while True:
            assert db.execute(AGREES).fetchall() == [(1,)], f"{path.name} shows a part of it"
            time.sleep(READ_EVERY_S)


def _check(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("select count(*) from entry").fetchone() == (rows,)
        assert db.execute(AGREES).fetchall() == [(1,)]
