"""The cells of the capture matrix: situations, and what a program does in them.

A cell is written in SQL that every database of ours speaks, save two words that a database
spells in its own way: GENERATED (a key that it makes) and the user's triggers. Cells that only one
database can run stand in a module of its name.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger of the user: `skips` says that the row's own operation does not happen."""

    event: str
    on: str = "t"
    when: str = ""
    body: str = ""
    skips: bool = False


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One situation.

    triggers       the user's own; the cell runs with them made before reunite's and after
    indexes        beside those of the tables; a replica has none of these but gets its own
    foreign_keys   whether the program checks them
    moves          rows come to keys that are not the replica's to give, so they get others when
                   they are pushed: the tables agree but for these keys
    differs        a hub decides otherwise than the replica did, e.g. by an index that only it has:
                   everybody agrees, but not on what the program saw
    hub_only       what a replica's tables do not have
    """

    name: str
    tables: str
    rows: str = ""
    indexes: str = ""
    views: str = ""
    triggers: tuple[Trigger, ...] = ()
    write: str
    foreign_keys: bool = True
    moves: bool = False
    differs: bool = False
    hub_only: bool = False

    @property
    def fires_differently(self) -> bool:
        """Whether SQLite's `recursive_triggers` may matter."""
        return bool(self.triggers) or "replace" in self.tables + self.write


PLAIN = "create table t (id GENERATED, a text, b integer);"
TWO_ROWS = "insert into t values (1, 'one', 1), (2, 'two', 2);"
UNIQUE = "create table t (id GENERATED, a text unique, b integer);"
TREE = """
    create table t (id GENERATED, up integer references t (id) on delete cascade);
"""
TREE_ROWS = "insert into t values (1, null), (2, 1), (3, 2), (4, 2), (5, null);"


def family(on_delete: str, on_update: str = "no action") -> str:
    """A parent, its children t, and their children g."""
    return f"""
        create table parent (id GENERATED, code text unique);
        create table t (id GENERATED, p integer default 1
            references parent (id) on delete {on_delete} on update {on_update});
        create table g (id GENERATED, t integer
            references t (id) on delete {on_delete} on update {on_update});
    """


FAMILY_ROWS = """
    insert into parent values (1, 'x'), (2, 'y');
    insert into t values (10, 1), (20, 2), (21, 2);
    insert into g values (100, 10), (200, 20), (201, 20);
"""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of key: its columns, a key's values, and the name of the nth key in a WHERE."""

    name: str
    table: str
    names: str
    values: Callable[[int], str]

    def is_key(self, n: int) -> str:
        return f"({self.names}) = ({self.values(n)})"

    def set_key(self, n: int) -> str:
        pairs = zip(self.names.split(", "), self.values(n).split(", "), strict=True)
        return ", ".join(f"{name} = {value}" for name, value in pairs)


SHAPES = (
    Shape(name="a generated key", table=UNIQUE, names="id", values=str),
    Shape(
        name="a text key",
        table="create table t (id text primary key not null, a text unique, b integer);",
        names="id",
        values=lambda n: f"'k{n}'",
    ),
    Shape(
        name="a composite key",
        table="""create table t (x text not null, y integer not null, a text unique, b integer,
            primary key (x, y));""",
        names="x, y",
        values=lambda n: f"'p', {n}",
    ),
)


def shaped(shape: Shape) -> list[Cell]:
    """What every kind of key goes through."""

    def cell(name: str, write: str) -> Cell:
        v = shape.values
        return Cell(
            name=f"{name}, {shape.name}",
            tables=shape.table,
            rows=f"insert into t values ({v(1)}, 'one', 1), ({v(2)}, 'two', 2);",
            write=write,
        )

    k, v = shape.is_key, shape.values
    return [
        cell("insert", f"insert into t values ({v(7)}, 'x', 1)"),
        cell("multi-row insert", f"insert into t values ({v(3)}, 'x', 1), ({v(4)}, null, 2)"),
        cell("update", f"update t set a = 'x' where {k(1)}"),
        cell("update of all", "update t set b = b + 1"),
        cell("update of nothing", "update t set a = a"),
        cell("delete", f"delete from t where {k(1)}"),
        cell("delete of all", "delete from t"),
        cell(
            "delete and insert again",
            f"delete from t where {k(2)}; insert into t values ({v(2)}, 'new', 5)",
        ),
        cell(
            "upsert that updates",
            f"insert into t values ({v(1)}, 'x', 5), ({v(3)}, 'y', 6) "
            f"on conflict ({shape.names}) do update set a = excluded.a",
        ),
        cell(
            "upsert that does nothing",
            f"insert into t values ({v(1)}, 'x', 5) on conflict do nothing",
        ),
        cell(
            "upsert on a unique column",
            f"insert into t values ({v(8)}, 'one', 9), ({v(9)}, 'three', 3) "
            "on conflict (a) do update set b = excluded.b",
        ),
        cell("key update", f"update t set {shape.set_key(5)}, a = 'x' where {k(1)}"),
        cell(
            "key update there and back",
            f"update t set {shape.set_key(5)} where {k(1)}; "
            f"update t set {shape.set_key(1)} where {k(5)}",
        ),
        cell(
            "key update onto a key just left",
            f"update t set {shape.set_key(5)} where {k(1)}; "
            f"update t set {shape.set_key(1)} where {k(2)}",
        ),
    ]


PORTABLE = [
    *(cell for shape in SHAPES for cell in shaped(shape)),
    Cell(
        name="insert without key",
        tables=PLAIN,
        write="insert into t (a) values ('x'); insert into t default values",
    ),
    Cell(
        name="insert from select",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="insert into t (id, a, b) select id + 2, a, b from t",
    ),
    Cell(
        name="update from",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="update t set a = u.a from t as u where u.id = 3 - t.id",
    ),
    Cell(
        name="keys all moved by one statement",
        tables=SHAPES[2].table,
        rows="insert into t values ('p', 1, 'one', 1), ('p', 2, 'two', 2)",
        write="update t set y = y - 10, x = 'q'",
    ),
    Cell(
        name="cascade",
        tables=family("cascade"),
        rows=FAMILY_ROWS,
        write="delete from parent where id = 2",
    ),
    Cell(
        name="set null",
        tables=family("set null"),
        rows=FAMILY_ROWS,
        write="delete from parent where id = 2; delete from t where id = 10",
    ),
    Cell(
        name="set default",
        tables=family("set default"),
        rows=FAMILY_ROWS,
        write="delete from parent where id = 2",
    ),
    Cell(
        name="key update with children",
        tables=family("cascade", "cascade"),
        rows=FAMILY_ROWS,
        write="update parent set id = 7 where id = 2; update t set id = id + 1000",
    ),
    Cell(
        name="tree deleted from its root",
        tables=TREE,
        rows=TREE_ROWS,
        write="delete from t where id = 1",
    ),
    Cell(
        name="tree without foreign keys",
        tables=TREE,
        rows=TREE_ROWS,
        foreign_keys=False,
        write="delete from t where id = 1",
        differs=True,
    ),
    Cell(
        name="savepoint rolled back",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="savepoint s; delete from t; rollback to s; update t set a = 'x' where id = 2;"
        "release s",
    ),
    Cell(
        name="computed columns",
        tables="create table t (id GENERATED, a text,"
        " up text generated always as (upper(a)) stored, z integer not null default 5);",
        rows="insert into t (id, a) values (1, 'One'), (2, 'Two')",
        write="update t set a = 'x' where id = 1; delete from t where id = 2;"
        "insert into t (id, a) values (3, 'y')",
    ),
]
