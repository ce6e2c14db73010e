"""What the SQL store promises beyond the contract suite, on SQLite files: steps that take care."""

from __future__ import annotations

import sqlite3

import pytest

from reunite.engine.ports import (
    Writes,
)
from reunite.errors import (
    ConstraintError,
)
from tests.integration.sqlite_store.helpers import Make, apply, rows_of, update


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
    with (
        pytest.raises(ConstraintError) as refusal,
        store.write() as transaction,
        transaction.lent() as handle,
    ):
        handle.execute("insert into c values (1, 'nobody')")
    assert refusal.value.code == "foreign-key"
    assert rows_of(store, "c") == []
