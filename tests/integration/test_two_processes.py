"""Two processes sync one replica file while a third writes to it, and the hub is written to."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from reunite import Hub, Replica
from reunite.server import ServerThread
from tests.patience import DEADLINE_S

SYNC = """
import sys
from reunite import Replica, ReplicaBusyError
path, url, token, rounds = sys.argv[1:]
done = busy = 0
while done < int(rounds):
    try:
        with Replica(path, url=url, token=token) as replica:
            replica.sync()
        done += 1
    except ReplicaBusyError:
        busy += 1
print(done, busy)
"""
WRITE = """
import sqlite3, sys
path, count = sys.argv[1:]
for i in range(int(count)):
    db = sqlite3.connect(path, timeout=180)
    with db:
        db.execute("insert into sale (product_id, note) values (1, ?)", (f"written {i}",))
        db.execute("update product set stock = stock - 1 where id = 1")
    db.close()
"""
WRITES = 60
ROUNDS = 12


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path, timeout=DEADLINE_S)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_two_processes_sync_one_file_while_a_third_writes_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    """One syncs, the other waits; each write takes effect once (I1, I2)."""
    shop, till = tmp_path / "shop.db", tmp_path / "till.db"
    db = sqlite3.connect(shop)
    db.executescript("""
        create table product (id integer primary key, stock integer not null);
        create table sale (
            id integer primary key, product_id integer references product (id), note text
        );
        insert into product values (1, 1000);
    """)
    db.close()
    with Hub(shop) as hub:
        hub.track("product", merge={"stock": "counter"})
        hub.track("sale")
        token = hub.create_token()
        with ServerThread(hub) as server:
            Replica.clone(till, server.url, token=token).close()
            processes = [
                start(SYNC, till, server.url, token, ROUNDS),
                start(SYNC, till, server.url, token, ROUNDS),
                start(WRITE, till, WRITES),
            ]
            errors = [process.communicate(timeout=5 * DEADLINE_S)[1] for process in processes]
            assert [process.returncode for process in processes] == [0, 0, 0], errors
            with Replica(till, url=server.url, token=token) as replica:
                replica.sync()
                assert replica.status().pending == 0
                assert replica.status().parked == 0

    assert rows(shop, "select stock from product") == [(1000 - WRITES,)]
    notes = rows(shop, "select note from sale order by note")
    assert notes == sorted((f"written {i}",) for i in range(WRITES))
    for query in ("select * from sale order by id", "select * from product"):
        assert rows(till, query) == rows(shop, query)
