"""What the SQL store promises beyond the contract suite, on SQLite files: values, log, threads."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from reunite.core.change import APPLIED, Op
from reunite.core.key import Key
from reunite.engine.ports import (
    Position,
    ReplicaRecord,
    StoredOutcome,
    Transaction,
    Writes,
)
from reunite.errors import (
    StorageUnavailableError,
)
from tests.integration.sqlite_store.helpers import Make, apply, number, rows_of, update

# --- Keys and values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "keys"),
    [
        ("blob", ["AAD/", "", "AQ==", "/////w=="]),
        ("real", [0.1, -1e300, 5.0, 1 / 3, 123456789.123]),
        ("decimal", ["0.1", "12345.678", "7", "-3"]),
        ("text", ["", "a\x00b", "a", 'it\'s "it"', "\\u0000", "ä\U0001f600\n", "[1]"]),
        ("integer", [0, -5, "9007199254740993", "-9223372036854775808", 9007199254740991]),
        ("boolean", [True, False]),
        ("date", ["2024-02-29", "", "now"]),
    ],
)
def test_keys_of_every_type_lead_to_their_rows_and_entries(
    hub: Make, declared: str, keys: list[Any]
) -> None:
    store = hub(f"create table t (id {declared} not null, n integer, a text, primary key (id, n))")
    wanted: list[Key] = [(key, n) for n, key in enumerate(keys)]
    apply(store, inserts={"t": [(*key, "x") for key in wanted]})
    for is_numbered in (False, True):
        with store.read() as transaction:
            assert transaction.rows("t", wanted) == {key: (*key, "x") for key in wanted}
            for key in wanted:
                (entry,) = transaction.entries("t", [key], after_id=0)
                assert (entry.key, entry.op) == (key, Op.INSERT)
            scanned = transaction.scan("t", after=None, limit=99)
            assert sorted(map(repr, scanned)) == sorted(repr((*key, "x")) for key in wanted)
            for row, following in itertools.pairwise(scanned):
                assert transaction.scan("t", after=row[:2], limit=1) == [following]
            assert transaction.find("t", {"id": keys[0]}, after=None, limit=9) == [
                (*wanted[0], "x")
            ]
        if not is_numbered:
            number(store)
    with store.write() as transaction:
        transaction.touch("t", wanted)
        assert [touch.key for touch in transaction.fresh()] == wanted
    apply(store, updates={"t": [update(key, a="y") for key in wanted]})
    assert {row[2] for row in rows_of(store, "t")} == {"y"}
    apply(store, deletes={"t": wanted})
    assert rows_of(store, "t") == []


def test_json_is_kept_by_value(hub: Make) -> None:
    store = hub("create table t (id integer primary key, j json)")
    values: list[Any] = [
        {"b": 1, "a": [1.5, {"c": None}]},
        [],
        "text",
        "",
        "7",
        True,
        False,
        7,
        9007199254740993,
        1.5,
        None,
    ]
    apply(store, inserts={"t": list(enumerate(values))})
    assert [row[1] for row in rows_of(store, "t")] == values
    apply(store, deletes={"t": [(n,) for n in range(len(values))]})
    with store.read() as transaction:
        log = transaction.log(after_id=len(values), until_id=99, limit=99)
    assert [entry.old and entry.old[1] for entry in log] == values


def test_reals_and_numbers_in_odd_places_are_logged_as_they_are_read(
    hub: Make, program: sqlite3.Connection
) -> None:
    """Rows from the table and images from triggers are one: else every edit would conflict."""
    store = hub("create table t (id integer primary key, r real, i integer, s text, n numeric, x)")
    reals = [0.1, 1 / 3, 1e300, -1e-300, 5e-324, 1.7976931348623157e308, float("inf"), -0.0, 2.5]
    reals += [12.345678, 99999999.999999, 4.35, -4.35, 0.000001, 123456.7890123]
    program.executemany(
        "insert into t (r, i, s, n, x) values (?1, ?1, cast(?1 as blob), ?1, ?1)",
        [(real,) for real in reals],
    )
    before = rows_of(store, "t")
    assert [row[1] for row in before[:6]] == reals[:6]
    assert before[6][1] == "reunite:real:7ff0000000000000"
    program.execute("delete from t")
    with store.read() as transaction:
        log = transaction.log(after_id=len(reals), until_id=99, limit=99)
    assert [entry.old for entry in log] == before


def test_a_block_lies_above_keys_that_sqlite_remembers(
    hub: Make, program: sqlite3.Connection
) -> None:
    store = hub("create table t (id integer primary key autoincrement)")
    program.executescript("insert into t values (500); delete from t")
    with store.write() as transaction:
        transaction.add_replica(replica("r"))
        assert transaction.lease("t", "r", size=10) == (501, 510)
        assert transaction.lease("t", "r", size=10) == (511, 520)


# --- The log's index and the outcomes -------------------------------------------------------------


def test_entries_are_found_before_and_after_they_are_indexed(
    hub: Make, program: sqlite3.Connection
) -> None:
    store = hub("create table t (id integer primary key, a text)")
    ids = []
    for value in ("x", "y", "z"):
        program.execute("insert or replace into t values (1, ?)", (value,))
        program.execute("update t set id = id + 10")
        program.execute("update t set id = id - 10")
        with store.read() as transaction:
            before = found(transaction, [(1,), (11,)], 0)
            later = found(transaction, [(11,)], before[-2][0])
        number(store)
        with store.read() as transaction:
            assert found(transaction, [(1,), (11,)], 0) == before
            assert found(transaction, [(11,)], before[-2][0]) == later
            assert len(later) == 1
        ids = [id_ for id_, *_ in before]
    assert ids == list(range(1, ids[-1] + 1))


def found(transaction: Transaction, keys: list[Key], after_id: int) -> list[tuple[Any, ...]]:
    entries = transaction.entries("t", keys, after_id=after_id)
    return [(entry.id, entry.key, entry.old_key, entry.old) for entry in entries]


def test_a_writer_finds_what_it_wrote_itself_after_a_savepoint_was_undone(hub: Make) -> None:
    store = hub("create table t (id integer primary key, a text)")
    with store.write() as transaction:
        for attempt in ("first", "second"):
            with pytest.raises(KeyError), transaction.savepoint():  # noqa: PT012
                transaction.apply(Writes(inserts={"t": [(1, attempt)]}, updates={}, deletes={}))
                assert len(transaction.entries("t", [(1,)], after_id=0)) == 1
                raise KeyError
            assert transaction.entries("t", [(1,)], after_id=0) == []
        transaction.apply(Writes(inserts={"t": [(1, "third")]}, updates={}, deletes={}))
        assert len(transaction.entries("t", [(1,)], after_id=0)) == 1
    number(store)
    with store.read() as transaction:
        assert len(transaction.entries("t", [(1,)], after_id=0)) == 1


def test_ids_that_begin_alike_are_told_apart(hub: Make) -> None:
    store = hub("create table t (id integer primary key)")
    ids = ["f" * 16 + f"{n:016x}" for n in range(600)]
    outcomes = [
        StoredOutcome(
            replica="r", n=n, id=id_, table="t", op=Op.INSERT, key=(n,), old_key=None,
            outcome=APPLIED,
        )
        for n, id_ in enumerate(ids, start=1)
    ]  # fmt: skip
    with store.write() as transaction:
        transaction.add_replica(replica("r"))
        transaction.add_push(
            replica="r", principal="p", last_n=600, known_n=0, now_ms=1, origins=(),
            outcomes=outcomes,
        )  # fmt: skip
    with store.read() as transaction:
        assert transaction.outcomes("r", after_n=0) == outcomes
        assert transaction.outcomes("r", after_n=555) == outcomes[555:]
        assert transaction.outcomes_by_id([ids[7], ids[300]]) == {
            ids[7]: outcomes[7],
            ids[300]: outcomes[300],
        }
        assert transaction.outcomes_by_id(["f" * 32]) == {}


def replica(id_: str) -> ReplicaRecord:
    return ReplicaRecord(
        id=id_, principal="p", name="", last_n=0, known_n=0, created_ms=1, seen_ms=1, seen_seq=0
    )


# --- Several at once ------------------------------------------------------------------------------


def test_a_store_learns_what_another_process_tracks(hub: Make, path: Path) -> None:
    first = hub("create table t (id integer primary key)")
    second = hub("create table u (id integer primary key)")
    with first.read() as transaction:
        assert set(transaction.schemas()) == {"t", "u"}
    apply(first, inserts={"u": [(1,)]})
    second.untrack("t")
    with first.read() as transaction:
        assert set(transaction.schemas()) == {"u"}


def test_threads_share_a_store(hub: Make) -> None:
    store = hub("create table t (id integer primary key, a text)")
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for n in range(first, first + 20):
                while True:
                    try:
                        apply(store, inserts={"t": [(n, "x")]})
                        break
                    except StorageUnavailableError:
                        continue
                with store.read() as transaction:
                    assert transaction.rows("t", [(n,)])
        except BaseException as exc:  # reported below, in the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(first,)) for first in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows_of(store, "t")) == 80


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=180)
for n in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
    db.execute("begin immediate")
    db.execute("insert into t values (?, 'x')", (n,))
    db.execute("update t set a = 'y' where id = ?", (n,))
    db.execute("commit")
"""


def test_numbering_beside_other_processes_skips_nothing(hub: Make, path: Path) -> None:
    """Whoever reads from its position sees each change once, and never one below it (I3)."""
    store = hub("create table t (id integer primary key, a text)")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first)])
        for first in (1_000, 2_000)
    ]
    seen: list[int] = []
    seq = 0
    is_over = False
    while not is_over:
        is_over = all(writer.poll() is not None for writer in writers)
        try:
            head = store.number(now_ms=1, new_nonce=lambda: "n")
        except StorageUnavailableError:
            is_over = False
            continue
        with store.read() as transaction:
            touches = transaction.touched(Position(seq=seq, id=0), limit=100_000)
            seen += [touch.id for touch in touches if touch.seq and touch.seq <= head.seq]
        seq = head.seq
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen == list(range(1, 801))
