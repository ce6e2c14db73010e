"""How long the console's pages take on a large hub: `python -m benchmarks.console`.

The hub has 1,000 replicas, 200 tables, 50 roles with permissions for all of them, and a million
commits; its log, and what is remembered of its life, are written straight into its tables.
The aim is 300 ms for each page, on SQLite.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from reunite import Hub
from reunite.console.operations import OPERATIONS, Desk
from reunite.console.registry import OPERATIONS as DECLARED
from reunite.console.visitors import RIGHTS, Visitor
from reunite.core.grants import TEMPLATES
from reunite.protocol.codec import encode

AIM_MS = 300.0

PAGES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "overview", {}),
    ("GET", "pulse", {}),
    ("GET", "replicas", {}),
    ("GET", "replicas", {"sort": "behind", "state": "behind"}),
    ("GET", "tables", {"limit": "200"}),
    ("GET", "permissions", {}),
    ("GET", "users", {}),
    ("GET", "roles", {}),
    ("GET", "tenants", {}),
    ("GET", "tokens", {}),
    ("GET", "log-ins", {}),
    ("GET", "filters", {}),
    ("GET", "discovery", {}),
    ("GET", "row", {"table": "table_7", "key": "[1]"}),
    ("GET", "history", {"table": "table_7", "key": "[7]"}),
    ("GET", "commits", {}),
    ("GET", "commits", {"after": "500000"}),
    ("GET", "commits", {"actor": "user7"}),
    ("GET", "commits", {"table": "table_7"}),
    ("GET", "changes", {}),
    ("GET", "changes", {"after": "500000"}),
    ("GET", "changes", {"actor": "nobody"}),
    ("GET", "changes", {"table": "table_7"}),
    ("GET", "changes", {"replica": "replica7"}),
    ("GET", "changes", {"since_ms": "1700000400000", "until_ms": "1700000500000"}),
    ("GET", "conflicts", {}),
    ("GET", "conflicts", {"state": "open"}),
    ("GET", "parked", {"code": "unique"}),
    ("GET", "acts", {}),
    ("GET", "sync", {}),
    ("GET", "sync", {"replica": "replica7"}),
    ("GET", "sync", {"status": "error"}),
    ("GET", "performance", {"range": "1h"}),
    ("GET", "performance", {"range": "14d"}),
    ("GET", "performance", {"range": "1y"}),
)


def fill(path: Path, *, commits: int, tables: int, replicas: int, roles: int, kept: int) -> None:
    """Make a hub of this size. `kept` is how many entries its lists of troubles and syncs have."""
    with closing(sqlite3.connect(path)) as db:
        for n in range(tables):
            db.execute(f"create table table_{n} (id integer primary key, name text, price integer)")
        db.execute("insert into table_7 values (1, 'Tea', 3)")
        db.commit()
    with Hub(path) as hub:
        hub.track_all()
        directory = hub.directory
        for n in range(roles):
            directory.add_role(f"role{n}", template="read_write")
        directory.permit_all(
            [
                (f"role{n}", f"table_{m}", "", TEMPLATES["read_write"])
                for n in range(roles)
                for m in range(tables)
            ]
        )
    with closing(sqlite3.connect(path)) as db:
        for statement, parameters in _statements(commits, tables, replicas, kept):
            db.execute(statement, parameters)
        db.commit()
        db.execute("analyze")


_NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n where i < {0})"


def _statements(
    commits: int, tables: int, replicas: int, kept: int
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    def of(count: int, rest: str, *more: Any) -> tuple[str, tuple[Any, ...]]:
        return f"{_NUMBERS.format(int(count))} {rest}", more

    yield of(
        commits,
        "insert into reunite_change (id, table_name, key, op, schema, c0, c1, c2) "
        "select i, 'table_' || (i % ?), '[' || (i % 5000) || ']', 'update', 1, i % 5000, 'x', i "
        "from n",
        tables,
    )
    yield of(
        commits,
        "insert into reunite_commit (seq, first_id, last_id, at_ms, nonce) "
        "select i, i, i, 1700000000000 + i, 'n' from n",
    )
    keys = (
        "insert into reunite_change_key (key, table_name, id) "
        "select key, table_name, id from reunite_change order by 1, 2, 3"
    )
    yield keys, ()
    yield "update reunite_meta set value = ? where name = 'indexed_id'", (commits,)
    yield of(
        replicas,
        "insert into reunite_replica (number, id, principal, name, last_n, known_n, created_ms, "
        "seen_ms, seen_seq) select i, 'replica' || i, 'user' || (i % 100), 'till ' || i, 9, 9, "
        "1700000000000, 1700000000000 + i, ? - (i % 7) * 10 from n",
        commits,
    )
    yield of(
        commits // 2,
        "insert into reunite_push (replica, principal, last_n, at_ms, first_id, last_id) "
        "select 1 + i % ?, 'user' || (i % 100), i, 1700000000000 + 2 * i, 2 * i, 2 * i from n",
        replicas,
    )
    stamp = "printf('%012x', 1700000000000 + i * 10) || printf('%08x', i)"
    yield of(
        kept,
        "insert into reunite_sync select "
        f"{stamp}, 1700000000000 + i * 10, "
        "case i % 3 when 0 then 'push' else 'pull' end, case i % 50 when 0 then 'error' else 'ok' "
        "end, '', 'user' || (i % 100), '', 'replica' || (1 + i % ?), "
        """'{"ms":1.5,"changes":2,"rows":3,"tables":{"table_1":2}}' from n""",
        replicas,
    )
    yield of(
        kept,
        f"insert into reunite_refusal select {stamp}, 1700000000000 + i * 10, "
        "'replica' || (1 + i % ?), i, 'change' || i, 'table_' || (i % 9), '[1]', 'insert', "
        "case i % 4 when 0 then 'unique' else 'vetoed' end, "
        "case i % 10 when 0 then 'open' else 'settled' end, 'user1', '', 0 from n",
        replicas,
    )
    yield of(
        kept,
        f"insert into reunite_hub_conflict select {stamp}, 1700000000000 + i * 10, "
        "'replica' || (1 + i % ?), i, 'change' || i, 0, 'table_' || (i % 9), '[1]', 'name', "
        "'last_writer', case i % 10 when 0 then 'open' else 'merged' end, 'user1', '', 0, '' "
        "from n",
        replicas,
    )
    yield of(
        kept,
        f"insert into reunite_act select {stamp}, 1700000000000 + i * 10, 'ann', "
        "'permission.changed', 'x', '', '{}' from n",
    )
    for grain, count in ((10, 720), (300, 4_320), (3_600, 17_568)):
        yield of(
            count,
            "insert into reunite_series select ?, (? - i * ?) / ? * ?, 'p', "
            """'{"operations":{"push":{"count":3,"changes":9,"seconds":0.1,"classes":{"9":3}},"""
            """"pull":{"count":9,"rows":5,"seconds":0.1,"classes":{"5":9}}}}' from n""",
            grain,
            int(time.time()),
            grain,
            grain,
            grain,
        )


def asked(hub: Hub, method: str, path: str, given: dict[str, str]) -> bytes:
    """What a page is answered."""
    one = DECLARED[method, path]
    visitor = Visitor(user="owner", can=RIGHTS, via="code")
    desk = Desk(hub, visitor, if_match=None, base="/console/")
    found = one.run(desk, one.read({}, given, b""))
    return encode(getattr(found, "value", found))


def main(arguments: list[str]) -> int:
    """Measure, and print a table and a line of JSON."""
    scale = float(arguments[0]) if arguments else 1.0
    assert OPERATIONS is DECLARED
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        began = time.perf_counter()
        fill(
            path,
            commits=int(1_000_000 * scale),
            tables=200,
            replicas=1_000,
            roles=50,
            kept=int(100_000 * scale),
        )
        print(f"made in {time.perf_counter() - began:.0f} s")
        times: dict[str, float] = {}
        with Hub(path) as hub:
            hub.adopt()
            for method, page, given in PAGES:
                asked(hub, method, page, given)
                best = 1e9
                for _ in range(3):
                    began = time.perf_counter()
                    asked(hub, method, page, given)
                    best = min(best, (time.perf_counter() - began) * 1_000)
                name = page + "".join(f" {key}={value}" for key, value in given.items())
                times[name] = round(best, 1)
                print(f"{name:60} {best:8.1f} ms{'  TOO SLOW' if best > AIM_MS else ''}")
    print(json.dumps(times))
    return int(max(times.values()) > AIM_MS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
