"""The capture matrix, its migrations: the tables change their shape under a hub, a replica and
programs that write before, during and after (I11, I4).

Each cell ends in two checks, as those of `test_capture_matrix.py` do: a replica that holds the
former state, with changes of its own, pulls from its cursor and ends with the tables; and the
history of every key leads back to its former state, where the table was captured all the while, or
to the state that the migration left, where it was not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from reunite.core.change import Op
from reunite.hub import Hub
from reunite.replica import Replica
from reunite.testing import FakeClock, FakeWire, SeededIds

DDL = """
    create table parent (id integer primary key, name text);
    create table t (id integer primary key, a text unique, b integer,
        p integer references parent (id) on delete cascade);
    create index t_b on t (b);
    insert into parent values (1, 'mother'), (2, 'father');
    insert into t values (1, 'one', 1, 1), (2, 'two', 2, 1), (3, 'three', 3, 2), (4, 'four', 4, 2);
"""
NEW = "(id integer primary key, a text unique, b integer, p integer references parent (id)"
ALEMBIC = (
    "begin",
    f"create table _alembic_tmp_t {NEW} on delete cascade, c text default 'c')",
    "insert into _alembic_tmp_t (id, a, b, p) select id, a, b, p from t",
    "drop table t",
    "alter table _alembic_tmp_t rename to t",
    "create index t_b on t (b)",
    "commit",
)
DJANGO = (
    "pragma foreign_keys = off",
    "begin",
    f'create table "new__t" {NEW} deferrable initially deferred)',
    'insert into "new__t" ("id", "a", "b", "p") select "id", "a", "b", "p" from "t"',
    'drop table "t"',
    'alter table "new__t" rename to "t"',
    'create index "t_b" on "t" ("b")',
    "commit",
    "pragma foreign_keys = on",
)
# SQLite's own twelve steps for a table that others point to.
PARENT_ANEW = (
    "pragma foreign_keys = off",
    "begin",
    "create table new_parent (id integer primary key, name text not null default '')",
    "insert into new_parent select id, name from parent",
    "drop table parent",
    "alter table new_parent rename to parent",
    "pragma foreign_key_check",
    "commit",
    "pragma foreign_keys = on",
)


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One cell. `has_gap` says that SQLite drops our triggers on the way; `needs_rest` that it
    refuses while they are there; `parks` with which code changes that wait in a replica, and no
    longer have a place for what they say, are parked."""

    name: str
    steps: tuple[str, ...]
    table: str = "t"
    a: str = "a"
    has_gap: bool = False
    needs_rest: bool = False
    parks: str = ""


MIGRATIONS = [
    Migration(name="add column", steps=("alter table t add column c text default 'c'",)),
    Migration(
        name="add computed column",
        steps=("alter table t add column c text generated always as (upper(a)) virtual",),
    ),
    Migration(
        name="rename column",
        steps=("alter table t rename column a to label",),
        a="label",
        parks="schema-changed",
    ),
    Migration(
        name="rename key column",
        steps=("alter table t rename column id to number",),
        parks="schema-changed",
    ),
    Migration(
        name="drop column",
        steps=("alter table t drop column p",),
        needs_rest=True,
        parks="schema-changed",
    ),
    Migration(
        name="rename table there and back",
        steps=("alter table t rename to u", "alter table u rename to t"),
    ),
    Migration(
        name="rename parent there and back",
        steps=("alter table parent rename to u", "alter table u rename to parent"),
    ),
    Migration(
        name="rename table",
        steps=("alter table t rename to u",),
        table="u",
        has_gap=True,
        parks="unknown-table",
    ),
    Migration(name="rebuild by Alembic", steps=ALEMBIC, has_gap=True),
    Migration(name="rebuild by Django", steps=DJANGO, has_gap=True),
    Migration(name="rebuild of the parent", steps=PARENT_ANEW, has_gap=True),
    Migration(
        name="rebuild with the same columns",
        steps=(
            "begin",
            f"create table new {NEW} on delete cascade)",
            "insert into new select * from t",
            "drop table t",
            "alter table new rename to t",
            "commit",
        ),
        has_gap=True,
    ),
    Migration(name="unique index added", steps=("create unique index t_b_p on t (b, p)",)),
    Migration(name="index dropped", steps=("drop index t_b",)),
    Migration(name="rolled back", steps=("begin", "alter table t add column c text", "rollback")),
]


class World(msgspec.Struct):
    """A hub, a program beside it, and a replica."""

    hub: Hub
    program: sqlite3.Connection
    replica: Replica
    folder: Path

    def in_replica(self, *statements: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.replica.path, isolation_level=None)) as program:
            program.execute("pragma foreign_keys = on")
            return [row for text in statements for row in program.execute(text).fetchall()]

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.program.execute(statement)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(sqlite3.connect(tmp_path / "hub.db", isolation_level=None)) as program:
        program.executescript("pragma journal_mode = wal; pragma synchronous = off;" + DDL)
        program.execute("pragma foreign_keys = on")
        with Hub(tmp_path / "hub.db", clock=FakeClock(), new_id=SeededIds(1)) as hub:
            hub.track_all()
            transport = FakeWire(hub).transport(hub.create_token("owner"))
            with Replica.clone(tmp_path / "replica.db", transport=transport) as replica:
                yield World(hub, program, replica, tmp_path)


@pytest.mark.parametrize("is_pending", [False, True], ids=["", "with an outbox"])
@pytest.mark.parametrize("cell", MIGRATIONS, ids=lambda cell: cell.name)
def test_a_reader_catches_up_and_history_has_no_hole(
    world: World, cell: Migration, is_pending: bool
) -> None:
    hub, t, key = world.hub, cell.table, "number" if "key" in cell.name else "id"
    world.run("update t set b = 10 where id = 1", "delete from t where id = 4")
    if is_pending:
        world.in_replica(
            "update t set a = 'mine' where id = 2",
            "insert into t (a, b, p) values ('new', 50, 2)",
            "insert into parent (id, name) values (3, 'aunt')",
        )
    if cell.needs_rest:
        hub.untrack("t")
    world.run(*cell.steps)
    world.run(f"update {t} set b = 30 where {key} = 3", f"insert into {t} ({key}) values (70)")
    if t != "t" or cell.needs_rest:
        hub.track(t)
    hub.number()
    middle, last_id = (
        named_rows(world.program, t, key),
        world.program.execute("select max(id) from reunite_change").fetchone()[0],
    )
    world.run(
        f"update {t} set b = 100, {cell.a} = 'once more' where {key} = 1",
        f"delete from {t} where {key} = 3",
        f"insert into {t} ({key}, {cell.a}) values (80, 'late')",
    )

    world.replica.sync()
    world.replica.sync()

    check_tables(world)
    check_outbox(world, cell, is_pending)
    check_history(world, cell, middle, last_id)


def named_rows(
    program: sqlite3.Connection, table: str, key: str
) -> dict[object, dict[str, object]]:
    cursor = program.execute(f"select * from {table}")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return {row[key]: row for row in rows}


def check_tables(world: World) -> None:
    schemas = world.replica.schemas
    assert sorted(schemas) == sorted(world.hub.status().tables)
    for table, schema in schemas.items():
        columns = ", ".join(schema.column_names)
        text = f"select {columns} from {table} order by 1"
        assert world.in_replica(text) == world.program.execute(text).fetchall()
    assert world.replica.status().pending == 0


def check_outbox(world: World, cell: Migration, is_pending: bool) -> None:
    """What the replica wrote in the former shape is at the hub, or parked with the reason."""
    parked = world.replica.parked()
    assert {change.code for change in parked} == (
        {cell.parks} if is_pending and cell.parks else set()
    )
    if is_pending and not cell.parks:
        found = {value for (value,) in world.program.execute("select a from t")}
        assert {"mine", "new"} <= found
    aunts = world.program.execute("select 1 from parent where name = 'aunt'").fetchall()
    assert len(aunts) == is_pending


def check_history(
    world: World, cell: Migration, middle: dict[object, dict[str, object]], last_id: int
) -> None:
    """Of what was written since the hub has noticed; and of all, where nothing was missed."""
    t = cell.table
    first = {
        entry.key[0]: entry
        for entry in reversed(world.hub.log(after_id=last_id))
        if entry.table == t
    }
    assert {1, 3, 80} <= set(first)
    for key, entry in first.items():
        before = (
            None
            if entry.op is Op.INSERT
            else dict(zip(entry.old_columns, entry.old or (), strict=True))
        )
        known = middle.get(key)
        assert before == (known and {name: known[name] for name in entry.old_columns})
    if not (cell.has_gap or cell.needs_rest):
        story = [(e.table, e.op, e.key) for e in world.hub.log() if e.replica is None]
        assert story == [
            (t, Op.UPDATE, (1,)),
            (t, Op.DELETE, (4,)),
            (t, Op.UPDATE, (3,)),
            (t, Op.INSERT, (70,)),
            (t, Op.UPDATE, (1,)),
            (t, Op.DELETE, (3,)),
            (t, Op.INSERT, (80,)),
        ]
