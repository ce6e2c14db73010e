"""Writers: eight programs write to one PostgreSQL, with capture and numbering on.

The limit is the fast but wrong way: the same transactions with a plain log that numbers at write
time and has no index but that of its numbers. Programs write it themselves beside their rows, or,
which costs them less, triggers do. `pgbench` writes on all sides, and on all a reader follows the
log while one transaction stays open until the end. What the plain log's readers never saw, because
its numbers became visible out of order, is printed beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from enum import Enum
from statistics import median

from benchmarks import standard
from benchmarks.figures import MEMORY_DISK, Figure, Pairs, Settings, Spent
from benchmarks.follower import Follower
from benchmarks.live import Scene, delivered
from benchmarks.postgresql import connect, copy_rows, new_database
from reunite import Hub
from tests.postgresql_server import PostgresServer, running_server, why_missing

WRITERS = 8
ROWS = 20_000
SECONDS = 3
SHARE_MIN = 0.85
COMMITS = 40
FOREIGN_MS_MAX, PUSHED_MS_MAX = 15.0, 10.0

# What flushes that take 2 ms do: whoever commits while others are at work waits for them so long.
SLOW_FLUSH = {
    "fsync": "on", "synchronous_commit": "on", "commit_delay": "2000", "commit_siblings": "1",
}  # fmt: skip

# Ten rows in two statements: five changed, five new ones that look like them.
_TRANSACTION = """
\\set first random(1, {last})
BEGIN;
UPDATE parcel SET quantity = quantity + 1 WHERE id BETWEEN :first AND :first + 4;
INSERT INTO parcel SELECT nextval('parcel_id'), shop, customer, email, street, city, note, quantity,
    weight, due FROM parcel WHERE id BETWEEN :first AND :first + 4;
COMMIT;
"""
# The same by programs that log what they write. Each names what it changes before it does.
_LOGGED_TRANSACTION = """
\\set first random(1, {last})
BEGIN;
INSERT INTO plain_log (table_name, key, op, old)
    SELECT 'parcel', json_build_array(o.id)::text, 'update', row_to_json(o)::text
    FROM parcel AS o WHERE id BETWEEN :first AND :first + 4;
UPDATE parcel SET quantity = quantity + 1 WHERE id BETWEEN :first AND :first + 4;
WITH new_rows AS (
    INSERT INTO parcel SELECT nextval('parcel_id'), shop, customer, email, street, city, note,
        quantity, weight, due FROM parcel WHERE id BETWEEN :first AND :first + 4 RETURNING id)
INSERT INTO plain_log (table_name, key, op)
    SELECT 'parcel', json_build_array(n.id)::text, 'insert' FROM new_rows AS n;
COMMIT;
"""
_PLAIN_LOG = """
    CREATE TABLE plain_log (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_name text NOT NULL,
        key text NOT NULL, op text NOT NULL, old text
    )
"""
_PLAIN_TRIGGERS = (
    """
    CREATE FUNCTION plain_log() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO plain_log (table_name, key, op)
            SELECT TG_TABLE_NAME, json_build_array(n.id)::text, 'insert' FROM new_rows AS n;
        ELSE
            INSERT INTO plain_log (table_name, key, op, old)
            SELECT TG_TABLE_NAME, json_build_array(o.id)::text, 'update', row_to_json(o)::text
            FROM old_rows AS o;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER plain_insert AFTER INSERT ON parcel REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION plain_log()
    """,
    """
    CREATE TRIGGER plain_update AFTER UPDATE ON parcel REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION plain_log()
    """,
)


def run(settings: Settings) -> Iterator[Figure]:
    """Throughput of the writers, without flushes and with slow ones; and how soon a replica's
    stream has what was written. Nothing where there is no server."""
    reason = why_missing()
    if reason is not None:
        print(f"NOT MEASURED: no PostgreSQL server can be started, {reason}.", file=sys.stderr)
        return
    for name, options in (("flushing nothing", {}), ("flushes of 2 ms", SLOW_FLUSH)):
        place = MEMORY_DISK if options and MEMORY_DISK.is_dir() else None
        with running_server(options, place=place) as server:
            yield from _throughput(settings, server, name)
            if not options:
                yield from _delivery(settings, server)


class _Log(Enum):
    """Who logs what the programs write, and how its line calls that."""

    HUB = "the hub"
    PROGRAMS = "a plain log of their own"
    TRIGGERS = "a plain log by triggers"


def _throughput(settings: Settings, server: PostgresServer, name: str) -> Iterator[Figure]:
    pairs = {log: Pairs() for log in (_Log.PROGRAMS, _Log.TRIGGERS)}
    missed = dict.fromkeys(_Log, 0)
    for number in range(settings.rounds):
        spent = {}
        # Who goes first changes from round to round.
        for log in list(_Log)[:: -1 if number % 2 else 1]:
            settings.wait_until_idle()
            spent[log], unseen = _write(settings, server, log)
            missed[log] += unseen
        assert missed[_Log.HUB] == 0, f"the hub's reader has missed {missed[_Log.HUB]} changes"
        for log, found in pairs.items():
            found.add(measured=spent[_Log.HUB], limit=spent[log])
    for log, found in pairs.items():
        limit = f"{log.value}, {missed[log]:,} missed"
        yield found.speed("writers", f"1,000 commits, {name}", limit=limit, aim=SHARE_MIN)
        yield found.work("writers", f"{name}, processor time", limit=log.value)


def _write(settings: Settings, server: PostgresServer, log: _Log) -> tuple[Spent, int]:
    """What a thousand transactions took, and how many changes the reader did not see."""
    url = new_database(server, with_shops=True)
    is_plain = log is not _Log.HUB
    with closing(connect(url)) as db:
        copy_rows(db, list(standard.rows(1, ROWS)))
        db.execute(f"CREATE SEQUENCE parcel_id START {ROWS + 1} CACHE 100")
        if is_plain:
            db.execute(_PLAIN_LOG)
            for statement in _PLAIN_TRIGGERS if log is _Log.TRIGGERS else ():
                db.execute(statement)
        else:
            with Hub(url) as hub:
                hub.track_all()
        db.execute("VACUUM ANALYZE")
        follower = Follower(url, is_plain=is_plain)
        with closing(connect(url)) as open_:
            open_.execute("BEGIN")
            open_.execute("UPDATE parcel SET quantity = 0 WHERE id = -1")
            open_.execute("INSERT INTO parcel SELECT -1, 1, '', '', '', '', '', 1, 1, now()")
            transaction = _LOGGED_TRANSACTION if log is _Log.PROGRAMS else _TRANSACTION
            processor_s = server.processor_s()
            count, wall_s = server.run_pgbench(
                url,
                transaction.format(last=ROWS - 4),
                clients=WRITERS,
                seconds=settings.scaled(SECONDS, 1),
            )
            processor_s = server.processor_s() - processor_s
            open_.execute("COMMIT")
        seen = follower.stop()
        table = "plain_log" if is_plain else "reunite_change"
        (logged,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    server.drop_database(url)
    return Spent(wall_s * 1_000 / count, processor_s * 1_000 / count), logged - seen


def _delivery(settings: Settings, server: PostgresServer) -> Iterator[Figure]:
    """From the beginning of a write to the page on a replica's stream."""
    commits = settings.scaled(COMMITS, 5) * settings.rounds
    with ExitStack() as stack:
        url = new_database(server, with_shops=False)
        writer = stack.enter_context(closing(connect(url)))
        copy_rows(writer, list(standard.rows(1, 1_000)))
        scene = stack.enter_context(Scene(settings.folder, "postgresql", url))
        crowd = scene.crowd([None])

        def write() -> None:
            writer.execute("UPDATE parcel SET quantity = quantity + 1 WHERE id = 1")

        for name, commit, aim_ms in (
            ("another program's write to delivered", write, FOREIGN_MS_MAX),
            ("a replica's push to delivered", scene.commit, PUSHED_MS_MAX),
        ):
            spent_ms = []
            for number in range(commits + 1):
                scene.catch_up()
                settings.wait_until_idle()
                found = delivered(crowd, commit, 1)
                if number:
                    spent_ms.append(found.wall_s * 1_000)
            yield _delay(name, spent_ms, aim_ms)


def _delay(name: str, spent_ms: list[float], aim_ms: float) -> Figure:
    return Figure(
        benchmark="writers",
        name=name,
        unit="ms",
        measured=median(spent_ms),
        limit=aim_ms,
        limit_name="the aim",
        ratio=median(spent_ms) / aim_ms,
        spread=(min(spent_ms) / aim_ms, max(spent_ms) / aim_ms),
        aim=1.0,
        is_ceiling=True,
    )
