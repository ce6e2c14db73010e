"""What the SQL store promises beyond the contract suite, on SQLite files of many kinds."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reunite.core.change import APPLIED, Op
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.values import Row
from reunite.engine.ports import (
    Position,
    ReplicaRecord,
    StoredOutcome,
    Transaction,
    Update,
    Writes,
)
from reunite.errors import (
    CallerError,
    ConstraintError,
    StorageFaultError,
    StorageFullError,
    StorageReadOnlyError,
    StorageUnavailableError,
    UnknownTableError,
    UntrackableTableError,
)
from reunite.stores.sql import SqlStore, open_store

Make = Callable[[str], SqlStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def program(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program on the same file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma synchronous = off")
        yield connection


@pytest.fixture
def hub(path: Path, program: sqlite3.Connection) -> Iterator[Make]:
    """Makes a store over the tables of a script, all of them tracked."""
    stores: list[SqlStore] = []

    def make(ddl: str) -> SqlStore:
        program.executescript(ddl)
        store = open_store(path, timeout_s=0.1, synchronous="off")
        stores.append(store)
        store.track([store.reflect(table) for table in store.trackable_tables()])
        return store

    yield make
    for store in stores:
        store.close()


def apply(
    store: SqlStore,
    *,
    inserts: Mapping[str, Sequence[Row]] | None = None,
    updates: Mapping[str, Sequence[Update]] | None = None,
    deletes: Mapping[str, Sequence[Key]] | None = None,
) -> None:
    with store.write() as transaction:
        transaction.apply(
            Writes(inserts=inserts or {}, updates=updates or {}, deletes=deletes or {})
        )


def update(key: Key, **values: Any) -> Update:
    return Update(key=key, columns=tuple(values), values=tuple(values.values()))


def rows_of(store: SqlStore, table: str) -> list[Row]:
    with store.read() as transaction:
        return list(transaction.scan(table, after=None, limit=10_000))


def number(store: SqlStore) -> int:
    return store.number(now_ms=1_000, new_nonce=lambda: "n").seq


# --- Opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_a_store_is_opened_by_path_or_url(
    path: Path, program: sqlite3.Connection, prefix: str
) -> None:
    program.execute("create table t (id integer primary key)")
    with open_store(f"{prefix}{path}") as store:
        assert store.trackable_tables() == ["t"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missing.db", "check the path"),
        ("nowhere/missing.db", "check the path"),
        ("", "folder"),
        ("text.txt", "not an SQLite database"),
        ("sqlite://host/x.db", "use sqlite:///"),
        ("mysql://localhost/x", "use sqlite:///file.db or postgresql://"),
        (":memory:", "give it a path"),
    ],
)
def test_what_cannot_be_opened_is_told_why(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "text.txt").write_text("This is no database, however long it may be. " * 50)
    target = name if ":" in name else tmp_path / name
    with pytest.raises(CallerError, match=hint):
        open_store(target)


def test_a_missing_file_is_made_on_demand_and_its_folder_is_not(tmp_path: Path) -> None:
    with open_store(tmp_path / "new.db", create=True) as store:
        store.track([])
        with store.read() as transaction:
            assert transaction.schemas() == {}
    with pytest.raises(CallerError, match="create it first"):
        open_store(tmp_path / "nowhere" / "new.db", create=True)


def test_a_database_that_is_no_hub_says_so(path: Path, program: sqlite3.Connection) -> None:
    program.execute("create table t (id integer primary key)")
    with open_store(path) as store:
        with pytest.raises(CallerError, match="track a table first"), store.read():
            pass
        with pytest.raises(CallerError, match="track a table first"):
            number(store)


def test_a_closed_store_says_so(hub: Make) -> None:
    store = hub("")
    store.close()
    with pytest.raises(CallerError, match="closed"), store.read():
        pass


def test_looking_leaves_the_file_as_it_is_and_so_does_leaving(
    path: Path, program: sqlite3.Connection
) -> None:
    program.executescript("create table t (id integer primary key); insert into t values (1)")
    before = path.read_bytes()
    with open_store(path) as store:
        store.reflect("t")
        assert path.read_bytes() == before

        store.track([store.reflect("t")])
        program.execute("insert into t values (2)")
        assert program.execute("pragma journal_mode").fetchone() == ("wal",)
        program.close()
        store.uninstall()
    with closing(sqlite3.connect(path)) as after:
        assert after.execute("pragma journal_mode").fetchone() == ("delete",)
        names = after.execute("select name from sqlite_schema").fetchall()
        assert names == [("t",)]
        assert after.execute("select id from t").fetchall() == [(1,), (2,)]


def test_a_table_with_a_null_key_is_refused(path: Path, program: sqlite3.Connection) -> None:
    program.executescript("create table t (id text primary key); insert into t values (null)")
    with open_store(path) as store:
        with pytest.raises(UntrackableTableError, match="NULL"):
            store.track([store.reflect("t")])
        with pytest.raises(CallerError, match="track a table first"), store.read():
            pass


def test_an_untracked_table_is_unknown(hub: Make) -> None:
    store = hub("create table t (id integer primary key); create table u (id integer primary key)")
    store.untrack("u")
    with store.write() as transaction:
        with pytest.raises(UnknownTableError, match="not tracked"):
            transaction.apply(Writes(inserts={"u": [(1,)]}, updates={}, deletes={}))
        with pytest.raises(UnknownTableError):
            transaction.rows("u", [(1,)])
    with pytest.raises(UnknownTableError):
        store.untrack("u")


# --- Refusals -------------------------------------------------------------------------------------

STRICT_SHOP = """
    create table t (
        id integer primary key,
        code text not null unique,
        price real check (price >= 0),
        parent integer references t (id),
        size integer
    ) strict;
    create unique index by_name on t (lower(code), size) where size > 0;
    create trigger forbid before insert on t when new.code = 'no'
    begin select raise(abort, 'There are codes that one does not use.'); end;
"""


@pytest.mark.parametrize(
    ("row", "code", "columns"),
    [
        ((1, "new", None, None, None), "unique", ("id",)),
        ((2, "old", None, None, None), "unique", ("code",)),
        ((2, "OLD", None, None, 1), "unique", ("lower(code)", "size")),
        ((2, None, None, None, None), "not-null", ("code",)),
        ((2, "new", -1.0, None, None), "check", ()),
        ((2, "new", None, 99, None), "foreign-key", ("parent",)),
        ((2, "new", None, None, "text"), "check", ()),
        ((2, "new", None, None, 2**63), "check", ()),
        ((2, "no", None, None, None), "constraint", ()),
    ],
)
def test_a_refusal_names_what_was_hurt(
    hub: Make, row: Row, code: str, columns: tuple[str, ...]
) -> None:
    store = hub(STRICT_SHOP)
    apply(store, inserts={"t": [(1, "old", 1.0, None, 1)]})
    with pytest.raises(ConstraintError) as refusal:
        apply(store, inserts={"t": [row]})
    error = refusal.value
    assert (error.code, error.table, error.columns) == (code, "t", columns)
    assert rows_of(store, "t") == [(1, "old", 1.0, None, 1)]


def test_a_writer_that_waits_too_long_is_told_to_try_later(
    hub: Make, program: sqlite3.Connection
) -> None:
    store = hub("create table t (id integer primary key)")
    program.execute("begin immediate")
    with pytest.raises(StorageUnavailableError, match="locked"), store.write():
        pass
    program.execute("insert into t values (1)")
    program.execute("commit")
    assert number(store) == 1


def test_a_full_disk_undoes_the_transaction(hub: Make, program: sqlite3.Connection) -> None:
    store = hub("create table t (id integer primary key, a text)")
    rows: list[Row] = [(n, "x" * 1_000) for n in range(100)]
    with pytest.raises(StorageFullError, match="full"):
        insert_on_a_small_disk(store, rows)
    store.close()
    assert program.execute("select count(*) from t").fetchone() == (0,)


def test_a_database_that_may_only_be_read_says_so(hub: Make) -> None:
    store = hub("create table t (id integer primary key)")

    def write() -> None:
        with store.write() as transaction:
            transaction.handle().execute("pragma query_only = on")
            principal = Principal(user="ann")
            transaction.add_token("hash", principal=principal, label="", now_ms=1)

    with pytest.raises(StorageReadOnlyError, match="cannot be written"):
        write()


def test_a_lock_that_cannot_be_made_is_not_called_taken(hub: Make, path: Path) -> None:
    store = hub("create table t (id integer primary key)")
    path.with_name("hub.db-migration").mkdir()
    with (
        pytest.raises(StorageFaultError, match=r"^hub\.db-migration cannot be locked\. A file"),
        store.migrating(),
    ):
        pass


def insert_on_a_small_disk(store: SqlStore, rows: list[Row]) -> None:
    with store.write() as transaction:
        handle = transaction.handle()
        (pages,) = handle.execute("pragma page_count").fetchone()
        handle.execute(f"pragma max_page_count = {pages + 2}")
        with transaction.savepoint():
            transaction.apply(Writes(inserts={"t": rows}, updates={}, deletes={}))


# --- Steps ----------------------------------------------------------------------------------------


def test_required_unique_values_are_swapped_past_checks_and_children_follow(hub: Make) -> None:
    """The children name the unique column, and would lose their parent if it were NULL for once."""
    store = hub("""
        create table p (id integer primary key, code text unique not null check (length(code) = 1),
            rank integer unique not null check (rank > 0));
        create table c (id integer primary key,
            code text references p (code) on delete cascade on update cascade,
            rank integer references p (rank));
    """)
    apply(store, inserts={"p": [(1, "a", 1), (2, "b", 2)], "c": [(1, "a", 1), (2, "b", 2)]})
    apply(
        store,
        updates={"p": [update((1,), code="b", rank=2), update((2,), code="a", rank=1)]},
    )
    assert rows_of(store, "p") == [(1, "b", 2), (2, "a", 1)]
    # Those that cascade follow their row; those that do not keep their value, as in any database.
    assert rows_of(store, "c") == [(1, "b", 1), (2, "a", 2)]


def test_values_of_expressions_and_partial_indexes_are_swapped(hub: Make) -> None:
    store = hub("""
        create table t (id integer primary key, a text not null, b integer not null, c blob);
        create unique index by_lower on t (lower(a));
        create unique index by_b on t (b) where b < 100;
        create unique index by_c on t (c);
    """)
    apply(store, inserts={"t": [(1, "x", 1, "AA=="), (2, "Y", 2, "AQ=="), (3, "z", 200, None)]})
    apply(
        store,
        updates={"t": [update((1,), a="y", b=2, c="AQ=="), update((2,), a="X", b=1, c="AA==")]},
        inserts={"t": [(4, "Z", 200, None)]},
        deletes={"t": [(3,)]},
    )
    assert rows_of(store, "t") == [
        (1, "y", 2, "AQ=="),
        (2, "X", 1, "AA=="),
        (4, "Z", 200, None),
    ]


def test_keys_go_round_in_a_ring_and_grandchildren_stay(hub: Make) -> None:
    store = hub("""
        create table p (id integer primary key, name text);
        create table c (p integer not null references p (id) on update cascade on delete cascade,
            n integer not null, primary key (p, n)) without rowid;
        create table g (id integer primary key, p integer, n integer,
            foreign key (p, n) references c (p, n) on update cascade on delete cascade);
    """)
    ids = range(1, 6)
    apply(
        store,
        inserts={
            "g": [(i, i, 1) for i in ids],
            "c": [(i, 1) for i in ids],
            "p": [(i, f"row {i}") for i in ids],
        },
    )
    apply(store, updates={"p": [update((i,), id=i % 5 + 1) for i in ids]})
    assert rows_of(store, "p") == [(i, f"row {(i + 3) % 5 + 1}") for i in ids]
    assert rows_of(store, "g") == [(i, i % 5 + 1, 1) for i in ids]


def test_tables_that_point_to_each_other_are_filled_and_emptied(hub: Make) -> None:
    store = hub("""
        create table a (id integer primary key, b integer not null references b (id));
        create table b (id integer primary key, a integer not null references a (id));
    """)
    apply(store, inserts={"a": [(1, 1), (2, 2)], "b": [(1, 2), (2, 1)]})
    with pytest.raises(ConstraintError) as refusal:
        apply(store, deletes={"a": [(1,)]})
    assert (refusal.value.code, refusal.value.table) == ("foreign-key", "b")
    apply(store, deletes={"a": [(1,), (2,)], "b": [(1,), (2,)]})
    assert rows_of(store, "a") == []


DEFERRED = """
    create table p (id text primary key not null, x blob unique);
    create table c (id integer primary key,
        p text references p (id) deferrable initially deferred);
    create table d (x blob references p (x) deferrable initially deferred);
"""


def test_foreign_keys_that_wait_for_commit_are_judged_with_their_group(hub: Make) -> None:
    """As Django declares them. COMMIT would not say who is to blame."""
    store = hub(DEFERRED)
    good = Writes(
        inserts={"c": [(1, "p")], "p": [("p", "AA=="), ("q", "AQ==")]}, updates={}, deletes={}
    )
    with store.write() as transaction:
        with transaction.savepoint():
            transaction.apply(good)
        for bad in (
            Writes(inserts={"c": [(2, "nobody")]}, updates={}, deletes={}),
            Writes(inserts={}, updates={"c": [update((1,), p="nobody")]}, deletes={}),
            Writes(inserts={}, updates={"p": [update(("p",), id="r")]}, deletes={}),
            Writes(inserts={}, updates={}, deletes={"p": [("p",)]}),
        ):
            with pytest.raises(ConstraintError) as refusal, transaction.savepoint():
                transaction.apply(bad)
            assert (refusal.value.code, refusal.value.table) == ("foreign-key", "c")
    assert rows_of(store, "c") == [(1, "p")]


def test_children_in_tables_without_a_key_are_seen_too(
    hub: Make, program: sqlite3.Connection
) -> None:
    store = hub(DEFERRED)
    apply(store, inserts={"p": [("p", "AA=="), ("q", "AQ==")]})
    program.execute("insert into d values (x'00')")
    with pytest.raises(ConstraintError) as refusal:
        apply(store, deletes={"p": [("p",)]})
    assert (refusal.value.table, refusal.value.columns) == ("d", ("x",))
    apply(store, deletes={"p": [("q",)]})


def test_what_a_hook_leaves_unpaid_is_refused_at_commit(hub: Make) -> None:
    store = hub(DEFERRED)
    with pytest.raises(ConstraintError) as refusal, store.write() as transaction:
        transaction.handle().execute("insert into c values (1, 'nobody')")
    assert refusal.value.code == "foreign-key"
    assert rows_of(store, "c") == []


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
