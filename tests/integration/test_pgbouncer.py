"""A hub behind PgBouncer in transaction mode, with fewer connections than there are clients: each
transaction of anybody may be another session's, or the same session anybody's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from reunite import Hub, Replica
from reunite.server import ServerThread
from tests.integration.live_helpers import query
from tests.pgbouncer import SIZE

DDL = """
create table account (id text primary key, owner text, balance integer not null default 0);
insert into account select 'a' || i, 'nobody', 0 from generate_series(1, 4) as i;
"""
PROGRAMS = 2 * SIZE
ROUNDS = 12


def test_replicas_and_programs_that_share_a_few_sessions_lose_nothing(
    postgresql: str, pgbouncer_of: Callable[[str], str], tmp_path: Path
) -> None:
    url = pgbouncer_of(postgresql)
    with psycopg.connect(postgresql, autocommit=True) as program:
        program.execute(DDL)
    with ExitStack() as stack:
        # Two processes, as it were; what one has prepared, the other must not stumble over.
        hubs = [stack.enter_context(Hub(url)) for _ in range(2)]
        for hub in hubs:
            hub.track("account", merge={"balance": "counter"})
        token = hubs[0].create_token()
        servers = [stack.enter_context(ServerThread(hub)) for hub in hubs]
        replicas = [
            stack.enter_context(
                Replica.clone(tmp_path / f"{number}.db", servers[number % 2].url, token=token)
            )
            for number in range(3)
        ]
        together = threading.Barrier(PROGRAMS + len(replicas))

        def write_at_the_hub(number: int) -> None:
            with psycopg.connect(url, prepare_threshold=None) as program:
                together.wait()
                for round_ in range(ROUNDS):
                    with program.transaction():
                        # What a session has set must not show in anybody's rows.
                        program.execute("set local timezone = 'Asia/Tokyo'")
                        program.execute(
                            "update account set balance = balance + 1, owner = %s where id = %s",
                            (f"program {number}", f"a{1 + (number + round_) % 4}"),
                        )

        def write_on_a_replica(replica: Replica) -> None:
            together.wait()
            for round_ in range(ROUNDS):
                with replica.transaction() as db:
                    db.execute(
                        "update account set balance = balance + 1 where id = ?",
                        (f"a{1 + round_ % 4}",),
                    )
                replica.sync()

        with ThreadPoolExecutor(PROGRAMS + len(replicas)) as pool:
            work = [pool.submit(write_at_the_hub, number) for number in range(PROGRAMS)]
            work += [pool.submit(write_on_a_replica, replica) for replica in replicas]
            for each in work:
                each.result()
        for replica in replicas:
            replica.sync()
            status = replica.status()
            assert (status.pending, status.parked) == (0, 0)
        question = "select id, owner, balance from account order by id"
        with psycopg.connect(postgresql) as program:
            there = program.execute(question).fetchall()
        assert sum(balance for _, _, balance in there) == ROUNDS * (PROGRAMS + len(replicas))
        for replica in replicas:
            assert query(replica.path, question) == there
