"""Many connections write to a PostgreSQL hub at once, and no reader misses anything.

The traps by hand first, then random transactions on a few hot rows: two numberers, a reader that
follows the log all the while, and one transaction that stays open until the end.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from reunite.core.values import Row
from reunite.engine.ports import Position, Store, Touch
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts.asking import LIMIT, all_touched, log_of, number
from tests.patience import DEADLINE_S
from tests.postgresql_server import connected

HOT_ROWS = 8
WRITERS = 8
TRANSACTIONS_EACH = 60


@pytest.fixture
def store(postgresql: str) -> Iterator[SqlStore]:
    with connected(postgresql) as db:
        db.execute("create table hot (id integer primary key, value text)")
        db.execute(f"insert into hot select i, '' from generate_series(1, {HOT_ROWS}) as i")
    with open_store(postgresql, timeout_s=DEADLINE_S) as store:
        store.track([store.reflect("hot")])
        yield store


def seqs_of(store: Store) -> dict[int, int | None]:
    """By change id, the commit it is in."""
    with store.read() as transaction:
        return {touch.id: touch.seq for touch in all_touched(transaction)}


# --- Traps ----------------------------------------------------------------------------------------


def test_a_transaction_that_starts_first_and_commits_last_is_numbered_last(
    store: SqlStore, postgresql: str
) -> None:
    with connected(postgresql, autocommit=False) as early, connected(postgresql) as late:
        early.execute("update hot set value = 'early' where id = 1")
        late.execute("update hot set value = 'late' where id = 2")
        assert number(store).seq == 1
        with store.read() as transaction:
            mark = transaction.mark()
        early.commit()
    assert number(store).seq == 2
    assert list(seqs_of(store).values()) == [1, 2]
    (first, second) = log_of(store)
    assert (first.key, first.seq, second.key, second.seq) == ((1,), 2, (2,), 1)
    # Its id is lower than what the mark saw, and yet the mark did not see it.
    assert first.id < second.id <= mark < first.place
    with store.read() as transaction:
        assert [e.key for e in transaction.entries("hot", [(1,), (2,)], after_id=mark)] == [(1,)]


def test_who_overwrites_a_row_is_numbered_after_whom_it_waited_for(
    store: SqlStore, postgresql: str
) -> None:
    """An early transaction overwrites a later one's row while a third one stays open."""
    with (
        connected(postgresql, autocommit=False) as third,
        connected(postgresql, autocommit=False) as early,
        connected(postgresql) as later,
    ):
        third.execute("update hot set value = 'third' where id = 3")
        early.execute("update hot set value = 'early' where id = 1")
        later.execute("update hot set value = 'later' where id = 2")
        early.execute("update hot set value = 'early' where id = 2")
        early.commit()
        assert number(store).seq == 2
        by_key = {entry.key: entry for entry in log_of(store)}
        assert by_key[(2,)].old == (2, "later"), "the last change of the row is the early one's"
        assert by_key[(2,)].seq == 2
        third.commit()
    assert number(store).seq == 3


def test_a_numberer_in_repeatable_read_gives_no_number_twice(
    store: SqlStore, postgresql: str, postgresql_server: Any
) -> None:
    """The database's own default must not become the numberer's."""
    name = postgresql.rpartition("/")[2]
    postgresql_server.execute(
        f"alter database {name} set default_transaction_isolation = 'repeatable read'"
    )
    with open_store(postgresql, timeout_s=DEADLINE_S) as other:
        together = threading.Barrier(4, timeout=DEADLINE_S)
        with connected(postgresql) as db:
            for round_ in range(5):
                db.execute("update hot set value = %s", [str(round_)])

                def race(numberer: SqlStore) -> None:
                    together.wait()
                    number(numberer)

                racers = [
                    threading.Thread(target=race, args=(chosen,))
                    for chosen in (store, other, store, other)
                ]
                for racer in racers:
                    racer.start()
                for racer in racers:
                    racer.join()
        assert number(store).seq == 5
    assert sorted(seqs_of(store).values(), key=str) == sorted([1, 2, 3, 4, 5] * HOT_ROWS)


def test_savepoints_rollbacks_and_prepared_transactions_disturb_nothing(
    store: SqlStore, postgresql: str
) -> None:
    with connected(postgresql) as prepared, connected(postgresql) as db:
        prepared.execute("begin")
        prepared.execute("update hot set value = 'prepared' where id = 1")
        prepared.execute("prepare transaction 'waiting'")
        db.execute("begin; update hot set value = 'undone' where id = 2; rollback")
        db.execute(
            "begin; savepoint a; update hot set value = 'undone' where id = 3; rollback to a;"
            "savepoint b; update hot set value = 'kept' where id = 4; release b; commit"
        )
        assert number(store).seq == 1
        assert [(e.key, e.seq) for e in log_of(store)] == [((4,), 1)]
        db.execute("commit prepared 'waiting'")
        assert number(store).seq == 2
        assert [(e.key, e.seq) for e in log_of(store)] == [((1,), 2), ((4,), 1)]


def test_looking_for_news_and_numbering_them_reads_what_is_new_and_not_the_log(
    store: SqlStore, postgresql: str
) -> None:
    """Without statistics too, as in a database that was just filled."""
    from reunite.stores.sql.postgresql import PostgresDatabase

    with connected(postgresql) as db:
        db.execute("insert into hot select i, '' from generate_series(100, 9999) as i")
        number(store)
        db.execute("update hot set value = 'news' where id in (200, 400)")
    with closing(PostgresDatabase(postgresql)) as database, database.write() as session:
        log = session.dialect.log
        assert log.state(session).has_news
        assert len(log.touched(
            session, seq=1, after_id=0, trimmed_seq=0, trimmed_id=0, limit=10, has_news=True
        )) == 2  # fmt: skip
        log.number(session, now_ms=0, new_nonce=lambda: "nonce")
        assert not log.state(session).has_news
        ((rows_read,),) = session.execute(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) "
            "FROM pg_stat_xact_user_tables WHERE relname = 'reunite_change'"
        )
        assert rows_read < 50


def test_a_transaction_that_stays_open_costs_the_others_nothing(
    store: SqlStore, postgresql: str
) -> None:
    """What it holds back is only itself; finding what is new reads what is new."""
    with connected(postgresql, autocommit=False) as open_, connected(postgresql) as db:
        open_.execute("update hot set value = 'open' where id = 1")
        for round_ in range(20):
            db.execute("update hot set value = %s where id = 2", [str(round_)])
            assert number(store).seq == round_ + 1
        open_.commit()
    assert number(store).seq == 21
    assert log_of(store)[0].seq == 21


# --- All at once ----------------------------------------------------------------------------------


class Follower:
    """Reads the log as a replica does: from its cursor, and the rows as they are in each page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seq = 0
        self.touches: list[Touch] = []
        self.rows: dict[Any, Row] = {}

    def read(self) -> None:
        with self._store.read() as transaction:
            head = transaction.head()
            found = transaction.touched(Position(seq=self.seq, id=0), limit=LIMIT)
            numbered = [touch for touch in found if touch.seq is not None]
            self.touches += numbered
            keys = {touch.key for touch in found}
            rows = transaction.rows("hot", keys)
            for key in keys:
                if key in rows:
                    self.rows[key] = rows[key]
                else:
                    self.rows.pop(key, None)
            assert head.seq == max([self.seq, *(touch.seq or 0 for touch in numbered)])
            self.seq = head.seq


def write_randomly(url: str, seed: int) -> None:
    """Transactions on hot rows, in the order of their keys as a careful program does it."""
    draw = random.Random(seed)
    with connected(url) as db:
        for turn in range(TRANSACTIONS_EACH):
            db.execute("begin")
            for key in sorted(draw.sample(range(1, HOT_ROWS + 1), draw.randint(1, 3))):
                match draw.randrange(6):
                    case 0:
                        db.execute("delete from hot where id = %s", [key])
                    case 1:
                        db.execute("savepoint s")
                        db.execute("update hot set value = 'undone' where id = %s", [key])
                        db.execute("rollback to s")
                    case _:
                        db.execute(
                            "insert into hot values (%s, %s) "
                            "on conflict (id) do update set value = excluded.value",
                            [key, f"{seed} {turn}"],
                        )
            time.sleep(draw.choice([0, 0, 0.001, 0.004]))
            db.execute("rollback" if draw.randrange(8) == 0 else "commit")


def test_tailing_readers_see_each_change_once_and_end_with_the_table(
    store: SqlStore, postgresql: str
) -> None:
    """8 writers, 2 numberers, 2 readers, and a transaction open all the while (I3, I4)."""
    is_over = threading.Event()
    failures: list[BaseException] = []

    def until_over(step: Any) -> Any:
        def run() -> None:
            try:
                while not is_over.is_set():
                    step()
            except BaseException as exc:
                failures.append(exc)

        return threading.Thread(target=run)

    def write(seed: int) -> None:
        try:
            write_randomly(postgresql, seed)
        except BaseException as exc:
            failures.append(exc)

    with (
        open_store(postgresql, timeout_s=DEADLINE_S) as second,
        connected(postgresql, autocommit=False) as open_,
    ):
        open_.execute("insert into hot values (1000, 'open all the while')")
        followers = [Follower(store), Follower(second)]
        readers = [until_over(follower.read) for follower in followers]
        numberers = [until_over(lambda s=s: number(s)) for s in (store, second)]
        writers = [threading.Thread(target=write, args=(seed,)) for seed in range(WRITERS)]
        for thread in (*readers, *numberers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        open_.commit()
        is_over.set()
        for thread in (*readers, *numberers):
            thread.join()
        assert failures == []
        head = number(store)
        for follower in followers:
            follower.read()
    with connected(postgresql) as db:
        logged = {id_ for (id_,) in db.execute("select id from reunite_change")}
        rows = {(row[0],): row for row in db.execute("select id, value from hot")}
        orders = db.execute("select last_id from reunite_commit order by seq").fetchall()
    assert len(orders) == head.seq
    for follower in followers:
        ids = [touch.id for touch in follower.touches]
        assert len(ids) == len(set(ids)), "no change is seen twice"
        assert set(ids) == logged, "and none is missed"
        assert follower.rows == rows
        seqs = [touch.seq for touch in follower.touches]
        assert seqs == sorted(seqs, key=lambda seq: seq or 0)
    assert_history_is_whole(store, rows)


def assert_history_is_whole(store: Store, rows: dict[Any, Row]) -> None:
    """In the order of commits, an insert meets no row, an update and a delete meet one."""
    entries = sorted(log_of(store), key=lambda entry: (entry.seq or 0, entry.id))
    exists = {(i,): True for i in range(1, HOT_ROWS + 1)}
    for entry in entries:
        match entry.op.value:
            case "insert":
                assert not exists.get(entry.key, False), "an insert meets no row"
                exists[entry.key] = True
            case "delete":
                assert exists[entry.key], "a delete meets a row"
                exists[entry.key] = False
            case _:
                assert exists[entry.key], "an update meets a row"
    assert {key for key, there in exists.items() if there} == set(rows)
