"""Laws of undo, over random transactions: the latest commit leaves no trace, and undoing an older
one takes nothing away that was done since."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema, Unique
from reunite.engine.ports import Update, Writes
from reunite.errors import ConstraintError
from reunite.hub import Hub
from reunite.stores.memory import MemoryStore
from reunite.testing import FakeClock, SeededIds

SHELF = TableSchema(
    name="shelf",
    columns=(
        Column(name="id", type=ColumnType.TEXT, nullable=False),
        Column(name="name", type=ColumnType.TEXT),
        Column(name="place", type=ColumnType.INTEGER),
    ),
    key=("id",),
    uniques=(Unique(columns=("place",)),),
)
BOOK = TableSchema(
    name="book",
    columns=(
        Column(name="id", type=ColumnType.TEXT, nullable=False),
        Column(name="shelf_id", type=ColumnType.TEXT),
        Column(name="title", type=ColumnType.TEXT),
    ),
    key=("id",),
    foreign_keys=(
        ForeignKey(
            columns=("shelf_id",),
            parent="shelf",
            parent_columns=("id",),
            on_delete="cascade",
            on_update="cascade",
        ),
    ),
)
DDL = """
    create table shelf (id text primary key not null, name text, place integer unique);
    create table book (id text primary key not null, title text,
        shelf_id text references shelf (id) on delete cascade on update cascade);
"""
IDS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.sampled_from([None, "x", "y", "z"])
PLACES = st.sampled_from([None, 1, 2, 3])

# (table, what, id, another id, values)
STEPS = st.one_of(
    st.tuples(st.just("shelf"), st.sampled_from(["insert", "update"]), IDS, IDS, TEXTS, PLACES),
    st.tuples(st.just("book"), st.sampled_from(["insert", "update"]), IDS, IDS, TEXTS, IDS),
    st.tuples(
        st.sampled_from(["shelf", "book"]),
        st.sampled_from(["move", "delete"]),
        IDS,
        IDS,
        TEXTS,
        st.none(),
    ),
)
COMMITS = st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=5)
State = dict[str, dict[Any, tuple[Any, ...]]]


@contextmanager
def hub_over(kind: str) -> Iterator[Hub]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hub.db")
        store: Any = path
        if kind == "memory":
            store = MemoryStore()
            store.track([SHELF, BOOK])
        else:
            with sqlite3.connect(path) as db:
                db.executescript("pragma synchronous = off;" + DDL)
            db.close()
        with Hub(store, clock=FakeClock(), new_id=SeededIds(1)) as hub:
            hub.track("shelf")
            hub.track("book")
            yield hub


def state(hub: Hub) -> State:
    found: State = {}
    with hub._store.read() as tx:
        for name, schema in tx.schemas().items():
            order = sorted(schema.column_names)
            places = [schema.position[column] for column in order]
            rows = tx.scan(name, after=None, limit=100)
            found[name] = {schema.key_of(row): tuple(row[i] for i in places) for row in rows}
    return found


def commit(hub: Hub, steps: list[Any]) -> int | None:
    """One commit of those steps that the database takes; None if nothing came of it."""
    before = hub.number().seq
    with hub._store.write() as tx:
        schemas = tx.schemas()
        for table, what, id_, other, text, number in steps:
            values = {"id": id_}
            values |= (
                {"name": text, "place": number}
                if table == "shelf"
                else {"title": text, "shelf_id": number}
            )
            columns = schemas[table].column_names
            writes = Writes(inserts={}, updates={}, deletes={})
            if what == "insert":
                row = tuple(values[name] for name in columns)
                writes = Writes(inserts={table: [row]}, updates={}, deletes={})
            elif what == "update":
                changed = tuple(name for name in columns if name != "id")
                update = Update(
                    key=(id_,), columns=changed, values=tuple(values[name] for name in changed)
                )
                writes = Writes(inserts={}, updates={table: [update]}, deletes={})
            elif what == "move" and id_ != other:
                update = Update(key=(id_,), columns=("id",), values=(other,))
                writes = Writes(inserts={}, updates={table: [update]}, deletes={})
            elif what == "delete":
                writes = Writes(inserts={}, updates={}, deletes={table: [(id_,)]})
            try:
                tx.apply(writes)
            except ConstraintError:
                continue
    after = hub.number().seq
    return after if after > before else None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=60)
@given(commits=COMMITS)
def test_undoing_the_latest_commit_leaves_no_trace(kind: str, commits: list[list[Any]]) -> None:
    with hub_over(kind) as hub:
        for steps in commits[:-1]:
            commit(hub, steps)
        before = state(hub)
        seq = commit(hub, commits[-1])
        after = state(hub)
        # Undoing is a commit, which can be undone, as can that.
        for expected in (before, after, before):
            if seq is not None:
                report = hub.undo(seq)
                assert report.conflicts == ()
                seq = report.commit
            assert state(hub) == expected


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=60)
@given(first=COMMITS, later=COMMITS)
def test_undoing_an_older_commit_keeps_what_was_done_since(
    kind: str, first: list[list[Any]], later: list[list[Any]]
) -> None:
    with hub_over(kind) as hub:
        for steps in first[:-1]:
            commit(hub, steps)
        at_first = state(hub)
        seq = commit(hub, first[-1])
        if seq is None:
            return
        left = state(hub)
        for steps in later:
            # Keys that move make it another question which row is which.
            commit(hub, [step for step in steps if step[1] != "move"])
        now = state(hub)
        report = hub.undo(seq)
        result = state(hub)
        told = {(each.table, each.key) for each in report.conflicts}
        for table, rows in now.items():
            for key, row in rows.items():
                if left[table].get(key) is None:
                    came_back = result[table].get(key)
                    assert came_back == row, "a row that came since stays as it is"
            for key, row in left[table].items():
                if key not in rows and at_first[table].get(key) == row:
                    assert key not in result[table], "a row that went since stays gone"
        if any(step[1] == "move" for step in first[-1]):
            return
        for table, rows in now.items():
            for key, row in rows.items():
                before, as_left = at_first[table].get(key), left[table].get(key)
                if as_left is None:
                    continue
                found = result[table].get(key)
                if found is None:
                    assert (row, before) == (as_left, None), "only what the commit made goes"
                    continue
                for value, was, is_now, old in zip(
                    found, as_left, row, before or itertools.repeat(None), strict=False
                ):
                    if was != is_now:
                        assert value == is_now, "what changed since stays"
                    else:
                        assert value in (is_now, old)
                    if value != is_now:
                        assert before is not None
                if before is not None and found != before:
                    assert (table, key) in told or row != as_left
