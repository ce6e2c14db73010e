"""What DDL does to rows of a PostgreSQL hub past all triggers, and to keys; names and encodings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reunite import Hub, Replica
from reunite.errors import UntrackableTableError
from reunite.stores.sql import open_store
from reunite.testing import FakeClock, FakeWire
from tests.integration.live_helpers import query
from tests.postgresql_server import PostgresServer, connected

PARTITIONED = """
create table sale (id int, day int, primary key (id, day)) partition by range (day);
create table sale_1 partition of sale for values from (0) to (10);
create table sale_2 partition of sale for values from (10) to (20) partition by list (id);
create table sale_2a partition of sale_2 for values in (11);
create table sale_2b partition of sale_2 default;
insert into sale select i, i from generate_series(1, 12) as i;
"""
TYPED = """
create type mood as enum ('sad', 'well');
create domain humour as mood;
create type place as (x int, felt mood);
create table item (
    id int primary key, mood mood, moods mood[], humour humour, place place, price numeric(9, 2)
);
create table by_mood (mood mood primary key, n int);
insert into item values (1, 'sad', '{sad,well}', 'sad', '(1,sad)', 1.25);
insert into by_mood values ('sad', 1), ('well', 2);
"""


class World:
    """A hub that tracks what `ddl` makes, a replica, and a program that alters tables."""

    def __init__(self, stack: ExitStack, url: str, folder: Path, ddl: str) -> None:
        self.url = url
        self.db = stack.enter_context(connected(url))
        self.db.execute(ddl)
        self.hub = stack.enter_context(Hub(url, clock=FakeClock()))
        self.hub.track_all()
        transport = FakeWire(self.hub).transport(self.hub.create_token("ann"))
        self.replica = stack.enter_context(Replica.clone(folder / "r.db", transport=transport))

    def altered(self, sql: str) -> list[Any]:
        """Run DDL, then sync: all rows of the table on the replica."""
        self.db.execute(sql)
        self.replica.sync()
        return self.rows("item")

    def rows(self, table: str) -> list[Any]:
        return query(self.replica.path, f"select * from {table} order by 1")

    def generation(self, table: str) -> str:
        with open_store(self.url) as store, store.read() as transaction:
            return transaction.schemas()[table].generation


@pytest.fixture
def world(postgresql: str, tmp_path: Path) -> Iterator[Callable[[str], World]]:
    with ExitStack() as stack:
        yield lambda ddl: World(stack, postgresql, tmp_path, ddl)


# --- Rows that change without a trigger -----------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "drop table sale_1",
        "alter table sale detach partition sale_1",
        "alter table sale detach partition sale_2 concurrently",
        "drop table sale_2b",
    ],
)
def test_rows_of_a_partition_that_goes_leave_the_replicas(
    world: Callable[[str], World], sql: str
) -> None:
    it = world(PARTITIONED)
    it.db.execute(sql)
    it.replica.sync()
    left = it.db.execute("select * from sale order by id").fetchall()
    assert it.rows("sale") == left
    assert 0 < len(left) < 12


def test_rows_of_a_partition_that_comes_or_goes_in_a_migration_are_right(
    world: Callable[[str], World],
) -> None:
    it = world(PARTITIONED)
    with it.hub.migrating():
        it.db.execute(
            "alter table sale detach partition sale_2; create table sale_3 (id int, day int, "
            "primary key (id, day)); insert into sale_3 values (31, 31); "
            "alter table sale attach partition sale_3 for values from (30) to (40)"
        )
    it.replica.sync()
    assert it.rows("sale") == [*((i, i) for i in range(1, 10)), (31, 31)]


ALTERED = {
    "alter type mood rename value 'sad' to 'blue'": (
        (1, "blue", '["blue","well"]', "blue", '{"x":1,"felt":"blue"}', "1.25"),
    ),
    "alter type place rename attribute x to y": (
        (1, "sad", '["sad","well"]', "sad", '{"y":1,"felt":"sad"}', "1.25"),
    ),
    "alter type place add attribute z int": (
        (1, "sad", '["sad","well"]', "sad", '{"x":1,"felt":"sad","z":null}', "1.25"),
    ),
    "alter table item alter price type numeric(9, 1)": (
        (1, "sad", '["sad","well"]', "sad", '{"x":1,"felt":"sad"}', "1.3"),
    ),
    "alter table item alter price type numeric(9, 2) using price * 2": (
        (1, "sad", '["sad","well"]', "sad", '{"x":1,"felt":"sad"}', "2.50"),
    ),
}


@pytest.mark.parametrize("sql", ALTERED)
@pytest.mark.parametrize("is_migration", [False, True])
def test_rows_that_a_migration_alters_reach_the_replicas(
    world: Callable[[str], World], sql: str, is_migration: bool
) -> None:
    it = world(TYPED)
    if is_migration:
        with it.hub.migrating():
            it.db.execute(sql)
        it.replica.sync()
    else:
        it.altered(sql)
    assert it.rows("item")[:1] == list(ALTERED[sql])


@pytest.mark.parametrize(
    "sql",
    [
        "alter type mood add value 'tired'",
        "alter table item alter price set not null",
        "alter table item add note text default 'n'",
        "vacuum full item",
        "truncate item; create table other (id int)",
        "create type unrelated as enum ('a'); alter type unrelated rename value 'a' to 'b'",
    ],
)
def test_what_alters_no_row_has_no_replica_compare_its_tables(
    world: Callable[[str], World], sql: str
) -> None:
    it = world(TYPED)
    before = it.generation("item")
    for statement in sql.split("; "):
        it.db.execute(statement)
    it.replica.sync()
    assert it.generation("item") == before


# --- Keys of before a migration -------------------------------------------------------------------


def test_a_key_whose_label_has_another_name_stops_no_sync(world: Callable[[str], World]) -> None:
    it = world(TYPED)
    it.altered("update by_mood set n = 5; alter type mood rename value 'sad' to 'blue'")
    assert it.rows("by_mood") == [("blue", 5), ("well", 5)]


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        ("text", "integer", "'x'", "4"),
        ("text", "uuid", "'x'", "'5833fcb6-aa2b-436c-b31f-2c95741f994a'"),
        ("integer", "uuid", "1", "'5833fcb6-aa2b-436c-b31f-2c95741f994a'"),
        ("text", "date", "'x'", "'2026-01-01'"),
        ("text", "boolean", "'x'", "true"),
        ("text", "float8", "'x'", "4.5"),
        ("text", "numeric", "'x'", "4.5"),
        ("bigint", "smallint", "99999", "7"),
        ("text", "mood", "'x'", "'sad'"),
    ],
)
def test_keys_of_a_type_of_before_stop_no_sync(
    world: Callable[[str], World], before: str, after: str, old: str, new: str
) -> None:
    """One that no row could have today was written, and not pulled, before the type changed; and
    one of today's before the hub has seen the new type."""
    it = world(
        f"create type mood as enum ('sad'); create table item (id {before} primary key, n int); "
        f"insert into item values ({old}, 1)"
    )
    it.altered(
        f"update item set n = 2; delete from item; alter table item alter id type {after} "
        f"using null::{after}; insert into item values ({new}, 3)"
    )
    assert query(it.replica.path, "select n from item") == [(3,)]
    with it.replica.transaction() as file:
        file.execute("update item set n = 4")
    it.replica.sync()
    assert it.db.execute("select n from item").fetchall() == [(4,)]


def test_keys_of_fewer_columns_stop_no_sync(world: Callable[[str], World]) -> None:
    it = world(
        "create table item (a int primary key, b int); insert into item values (1, 1), (2, 2)"
    )
    it.altered(
        "delete from item where a = 1; alter table item drop constraint item_pkey; "
        "alter table item add primary key (a, b)"
    )
    assert it.rows("item") == [(2, 2)]


# --- Names, inheritance, encodings ----------------------------------------------------------------


def test_a_name_may_hold_any_sign(world: Callable[[str], World]) -> None:
    table = '"it\'s ? a ""tab\\le"" ñ"'
    it = world(
        f'create table {table} (id int primary key, "a?b" text, "it\'s" text, "?" int, "$1" int)'
    )
    it.db.execute(f"insert into {table} values (1, 'a', 'b', 3, 4), (2, '?', '?', 0, 0)".encode())
    it.replica.sync()
    with it.replica.transaction() as file:
        file.execute(f'update {table} set "a?b" = \'c?\', "?" = 5 where id = 1')
    it.replica.sync()
    it.db.execute(f"delete from {table} where id = 2".encode())
    it.replica.sync()
    assert it.rows(table) == [(1, "c?", "b", 5, 4)]
    assert it.db.execute(f"select * from {table}".encode()).fetchall() == it.rows(table)


def test_a_column_may_be_called_like_what_the_trigger_names(world: Callable[[str], World]) -> None:
    there = world(
        "create table item (id int primary key, reunite_txid int, tg_op text);"
        "insert into item values (1, 2, 'three')"
    )
    assert there.altered("update item set reunite_txid = 4; insert into item values (2, 5)") == [
        (1, 4, "three"),
        (2, 5, None),
    ]


def test_tables_that_inherit_are_left_out(world: Callable[[str], World]) -> None:
    """A statement that names the parent changes rows of the heir, and sets off the parent's
    triggers."""
    it = world(
        "create table item (id int primary key); create table base (id int primary key);"
        "create table heir (more int, primary key (id)) inherits (base)"
    )
    assert it.hub.track_all() == ["item"]
    for table in ("base", "heir"):
        with pytest.raises(UntrackableTableError, match="inherits"):
            it.hub.track(table)
    it.db.execute("create table child (primary key (id)) inherits (item)")
    it.replica.sync()
    assert it.hub.track_all() == []


@pytest.mark.parametrize("set_by", ["environment", "role"])
def test_the_encoding_that_is_set_for_programs_is_none_of_the_hubs(
    postgresql: str,
    postgresql_server: PostgresServer,
    world: Callable[[str], World],
    monkeypatch: pytest.MonkeyPatch,
    set_by: str,
) -> None:
    if set_by == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    else:
        name = postgresql.rpartition("/")[2]
        postgresql_server.execute(f"alter database {name} set client_encoding = 'latin1'")
    it = world("create table item (id int primary key, name text)")
    it.db.execute("set client_encoding = 'utf8'")
    it.db.execute("insert into item values (1, 'ñ €😀')")
    it.replica.sync()
    assert it.rows("item") == [(1, "ñ €😀")]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_refuses_what_it_cannot_hold(
    postgresql_server: PostgresServer, tmp_path: Path, encoding: str
) -> None:
    name = f"other_{encoding.lower()}"
    postgresql_server.execute(
        f"create database {name} encoding '{encoding}' locale 'C' template template0"
    )
    url = postgresql_server.url(name)
    try:
        with ExitStack() as stack:
            it = World(stack, url, tmp_path, "create table item (id int primary key, name text)")
            for id_, text in enumerate(("ñ", "€😀")):
                with it.replica.transaction() as file:
                    file.execute("insert into item values (?, ?)", (id_, text))
            report = it.replica.sync()
            assert report.rejected == (encoding == "LATIN1")
            it.db.execute("insert into item values (7, 'e')")
            it.replica.sync()
            kept = [(0, "ñ"), (1, "€😀"), (7, "e")]
            del kept[1 : 1 + report.rejected]
            assert it.rows("item") == kept
    finally:
        postgresql_server.drop_database(url)


# --- TRUNCATE -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_a_truncate_takes_rows_along_that_its_transaction_does_not_see(
    world: Callable[[str], World], postgresql: str, level: str
) -> None:
    it = world(f"{PARTITIONED} create table item (id int primary key); insert into item values (1)")
    with connected(postgresql) as other:
        other.execute(f"begin isolation level {level}")
        other.execute("select from item")
        it.altered("insert into item values (2); insert into sale values (15, 15)")
        other.execute("truncate item, sale; insert into item values (3); commit")
    it.replica.sync()
    assert it.rows("item") == [(3,)]
    assert it.rows("sale") == []
    before = it.generation("item")
    it.altered("create table other (id int)")
    assert it.generation("item") == before
