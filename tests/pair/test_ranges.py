"""Long groups of inserts are numbered and answered by ranges; whoever looks at rows finds them."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reunite import HubUnreachableError, Replica
from reunite.replica import ranges
from reunite.replica.joining import leave, part
from reunite.replica.layout import LAYOUT_STEPS
from reunite.replica.outbox import LONG_GROUP, Outbox
from reunite.replica.reports import SyncProgress
from tests.pair.conftest import Pair

INSERT = "insert into note (id, title) values (?, ?)"


def write_group(replica: Replica, first: int, count: int = LONG_GROUP) -> None:
    with replica.transaction() as db:
        db.executemany(INSERT, [(f"n{number}", "a") for number in range(first, first + count)])


def ranges_of(pair: Pair) -> list[tuple[Any, ...]]:
    return pair.in_file(
        pair.replica, "select n, last_id - first_id + 1, is_applied from reunite_range order by n"
    )


def numbered_rows(pair: Pair) -> int:
    return int(
        pair.in_file(pair.replica, "select count(*) from reunite_change where n is not null")[0][0]
    )


def test_a_long_push_writes_nothing_into_its_rows(pair: Pair) -> None:
    write_group(pair.replica, 0)
    write_group(pair.replica, 100)
    pair.replica.push()
    assert ranges_of(pair) == [(1, LONG_GROUP, 1), (1 + LONG_GROUP, LONG_GROUP, 1)]
    assert numbered_rows(pair) == 0
    status = pair.replica.status()
    assert (status.pending, status.answered) == (0, 2 * LONG_GROUP)
    pair.replica.pull()
    assert ranges_of(pair) == []
    assert pair.replica.status().answered == 0
    pair.assert_agreed()


def test_short_groups_are_numbered_in_their_rows(pair: Pair) -> None:
    write_group(pair.replica, 0, 1)
    pair.replica.push()
    assert ranges_of(pair) == []
    assert numbered_rows(pair) == 1
    pair.assert_agreed()


@pytest.mark.parametrize("operation", ["push", "pull"])
def test_what_had_no_answer_is_sent_again_under_its_numbers(pair: Pair, operation: str) -> None:
    write_group(pair.replica, 0)
    pair.wire.lose_next_answer(operation)
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    assert len(ranges_of(pair)) == 1
    write_group(pair.replica, 100)
    pair.write(pair.replica, "update note set title = 'b' where id in ('n0', 'n100')")
    pair.replica.sync()
    assert len(pair.hub.history("note", ("n0",))) == 2
    pair.assert_agreed()


def test_only_ranges_that_were_sent_have_an_answer(pair: Pair) -> None:
    """A push goes in several requests, and the second one never arrives."""
    groups = 40
    for number in range(groups):
        write_group(pair.replica, number * 100)
    file = pair.replica._file
    with file.writing(keeps_ranges=True) as (connection, state):
        # As while the hub works on a request.
        Outbox(connection, state, file.schemas(state), file.forms).number_plain(
            now_ms=1, changes=groups * LONG_GROUP
        )
    assert len(ranges_of(pair)) == groups
    answered = []

    def drop_the_next_one(progress: SyncProgress) -> None:
        answered.append(progress.rows)
        pair.wire.drop_next_request("push")

    with pytest.raises(HubUnreachableError):
        pair.replica.push(on_progress=drop_the_next_one)
    status = pair.replica.status()
    assert 0 < status.answered == answered[0] < groups * LONG_GROUP
    assert status.pending == groups * LONG_GROUP - status.answered
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from note") == [(groups * LONG_GROUP,)]


def test_a_rejected_group_between_long_ones_is_parked_alone(pair: Pair) -> None:
    pair.at_hub("insert into note (id, title) values ('n100', 'of the hub')")
    write_group(pair.replica, 0)
    write_group(pair.replica, 90)
    write_group(pair.replica, 200)
    pair.replica.sync()
    assert len(pair.replica.parked()) in (0, LONG_GROUP)
    pair.assert_agreed()
    assert pair.rows(pair.replica, "note")[0] == ("n0", "a")


def test_an_application_goes_on_while_ranges_wait(pair: Pair) -> None:
    """Each order of writing, syncing by halves and lost answers ends with everybody agreed."""
    for seed in range(8):
        rng = random.Random(seed)
        for step in range(12):
            at = seed * 10_000 + step * 100
            match rng.randrange(6):
                case 0 | 1:
                    write_group(pair.replica, at, rng.choice([1, 20, 45]))
                case 2:
                    pair.write(
                        pair.replica,
                        f"update note set title = 'b{at}' where id like 'n%{rng.randrange(10)}'",
                    )
                case 3:
                    pair.write(
                        pair.replica, f"delete from note where id like 'n%{rng.randrange(100)}'"
                    )
                case 4:
                    is_pending = pair.replica.status().pending > 0
                    lost = rng.choice(["push", "pull"]) if is_pending else "pull"
                    pair.wire.lose_next_answer(lost)
                    with pytest.raises(HubUnreachableError):
                        pair.replica.sync()
                case _:
                    pair.replica.push()
            shown = pair.in_file(
                pair.replica,
                "select count(*), count(distinct coalesce(n, -id)) from reunite_outbox",
            )[0]
            assert shown[0] == shown[1]
        pair.assert_agreed()


def in_rows_and_view(db: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
    """The outbox as its rows have it, and as the view shows it."""
    names = "id, uid, n, grp, stamp, mark, covered, outcome"
    rows, shown = (
        db.execute(f"select {names} from {table} order by id").fetchall()
        for table in ("reunite_change", "reunite_outbox")
    )
    return rows, shown


def some_numbers(db: sqlite3.Connection, next_n: int, rng: random.Random) -> tuple[int, int]:
    """The first and the last of some numbers, often those of whole ranges."""
    whole = db.execute("select n, n + last_id - first_id from reunite_range order by n").fetchall()
    if whole and rng.random() < 0.7:
        first, last = sorted(rng.choices(range(len(whole)), k=2))
        return whole[first][0], whole[last][1]
    last_n = rng.randint(0, next_n - 1)
    return rng.randint(1, last_n + 1), last_n


@pytest.mark.hubs("memory")
@pytest.mark.parametrize("seed", range(20))
def test_the_view_shows_what_spreading_writes(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    file = pair.replica._file
    for step in range(6):
        write_group(pair.replica, step * 100, rng.choice([1, 25, 40]))
        with file.writing(keeps_ranges=True) as (connection, state):
            outbox = Outbox(connection, state, file.schemas(state), file.forms)
            if rng.random() < 0.7:
                outbox.number_plain(now_ms=step, changes=rng.choice([10, 100]))
            if rng.random() < 0.5:
                outbox.set_applied(*some_numbers(connection, state.next_n, rng))
            counts = outbox.counts()
            numbers = {n: uid for _, uid, n, *_ in in_rows_and_view(connection)[1] if n}
            assert {n: outbox.id_of(n) for n in numbers} == numbers
            assert ranges.has_unsent(connection) == (counts[1] < counts[0])
            _, before = in_rows_and_view(connection)
            if rng.random() < 0.5:
                ranges.spread(connection)
                rows, after = in_rows_and_view(connection)
                assert rows == after == before
                assert outbox.counts() == counts


def test_a_part_of_a_range_may_be_answered(pair: Pair) -> None:
    write_group(pair.replica, 0)
    file = pair.replica._file
    with file.writing(keeps_ranges=True) as (connection, state):
        outbox = Outbox(connection, state, file.schemas(state), file.forms)
        assert outbox.number_plain(now_ms=1, changes=100)
        outbox.set_applied(1, 5)
        assert outbox.counts() == (LONG_GROUP, 5)
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_file_without_ranges_gets_them(pair: Pair) -> None:
    path: Path = pair.replica.path
    write_group(pair.replica, 0)
    pair.wire.lose_next_answer("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.in_file(pair.replica, "select 1")
    with pair.replica._file.writing():
        pass  # spreads them: as a file of the first layout has its numbers
    pair.replicas.pop("laptop").close()
    db = sqlite3.connect(path)
    db.executescript(
        "drop view reunite_outbox; drop table reunite_range;"
        "update reunite_state set value = '1' where name = 'layout'"
    )
    db.close()
    assert 1 in LAYOUT_STEPS
    with Replica(path, transport=pair.wire.transport(pair.token), clock=pair.clock) as replica:
        pair.replicas["laptop"] = replica
        write_group(replica, 100)
        replica.push()
        assert len(ranges_of(pair)) == 1
        pair.assert_agreed()
        del pair.replicas["laptop"]


def names_of_ours(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute(
            "select name from sqlite_schema where name like 'reunite%' and type <> 'index'"
        )
        return [name for (name,) in found]


def test_what_leaves_reunite_keeps_nothing_of_it(pair: Pair) -> None:
    write_group(pair.replica, 0)
    pair.replica.push()
    pair.replicas.pop("laptop").close()
    path = pair.folder / "laptop.db"
    leave(path)
    assert names_of_ours(path) == []
    with closing(sqlite3.connect(path)) as db:
        db.execute("alter table note rename to memo")  # which reads every view


@pytest.mark.parametrize("parted", ["product", "note"])
def test_numbers_close_up_behind_a_table_that_leaves(pair: Pair, parted: str) -> None:
    write_group(pair.replica, 0)
    pair.replica.push()
    write_group(pair.replica, 50)
    pair.wire.drop_next_request("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    assert len(ranges_of(pair)) == 2
    pair.write(pair.replica, "insert into product (id, name, code) values (7, 'x', 'x')")
    path: Path = pair.replica.path
    pair.replicas.pop("laptop").close()
    part(path, {parted})
    with Replica(path, transport=pair.wire.transport(pair.token), clock=pair.clock) as replica:
        pair.replicas["laptop"] = replica
        if parted == "product":
            write_group(replica, 100)
        replica.sync()
        status = replica.status()
        assert (status.pending, status.answered) == (0, 0)
        found = pair.in_file(replica, "select count(*) from note")
        del pair.replicas["laptop"]
    expected = 3 if parted == "product" else 1
    assert pair.at_hub("select count(*) from note") == [(expected * LONG_GROUP,)]
    assert found == [((3 if parted == "product" else 2) * LONG_GROUP,)]
