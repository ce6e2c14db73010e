"""Cells in SQLite's own words: OR REPLACE and its like, rowids, STRICT, values of any type."""

from __future__ import annotations

from tests.integration.capture.cells import (
    FAMILY_ROWS,
    PLAIN,
    SHAPES,
    TWO_ROWS,
    UNIQUE,
    Cell,
    Shape,
    Trigger,
    family,
    shaped,
)

TEXT_KEY = "create table t (id text primary key not null, a text unique, b integer);"
CHECKED = "create table t (id integer primary key, a text not null, b integer check (b < 5));"

WITHOUT_ROWID = Shape(
    name="without rowid",
    table="create table t (id text primary key, a text unique, b integer) without rowid;",
    names="id",
    values=lambda n: f"'k{n}'",
)


def replaced(shape: Shape) -> list[Cell]:
    """What only SQLite's conflict clauses do, with every kind of key."""

    def cell(name: str, write: str, *triggers: Trigger) -> Cell:
        return Cell(
            name=f"{name}, {shape.name}",
            tables=shape.table,
            rows=f"insert into t values ({v(1)}, 'one', 1), ({v(2)}, 'two', 2);",
            write=write,
            triggers=triggers,
        )

    k, v = shape.is_key, shape.values
    return [
        cell("replace over the key", f"insert or replace into t values ({v(1)}, 'x', 5)"),
        cell("replace over a unique column", f"replace into t values ({v(3)}, 'one', 9)"),
        cell("replace over both", f"replace into t values ({v(1)}, 'two', 9)"),
        cell(
            "replace over several in one statement",
            f"replace into t values ({v(3)}, 'two', 9), ({v(4)}, 'one', 8), ({v(5)}, 'two', 7)",
        ),
        cell("replace with the same row", f"replace into t values ({v(1)}, 'one', 1)"),
        cell(
            "update or replace over a unique column",
            f"update or replace t set a = 'two' where {k(1)}",
        ),
        cell(
            "update or replace over the key",
            f"update or replace t set {shape.set_key(2)} where {k(1)}",
        ),
        cell(
            "update or replace over both",
            f"insert into t values ({v(3)}, 'three', 3); "
            f"update or replace t set {shape.set_key(2)}, a = 'three' where {k(1)}; "
            f"update t set b = 7",
        ),
        cell(
            "update or replace over the key, and a delete",
            f"update or replace t set {shape.set_key(2)} where {k(1)}; delete from t",
        ),
        cell(
            "insert or ignore",
            f"insert or ignore into t values ({v(1)}, 'x', 1), ({v(3)}, 'two', 1), "
            f"({v(4)}, 'four', 4)",
        ),
        cell("update or ignore", "update or ignore t set a = 'two', b = 7"),
        cell(
            "update or ignore of the key",
            f"update or ignore t set {shape.set_key(2)}; update t set b = b + 1",
        ),
        cell(
            "update or ignore, then a change that happens",
            f"update or ignore t set a = 'two', b = 7 where {k(1)}; "
            f"update t set b = 8 where {k(1)}; update or ignore t set a = 'two' where {k(1)}; "
            f"delete from t where {k(2)}",
        ),
    ]


SQLITE = [
    *shaped(WITHOUT_ROWID),
    *(cell for shape in (*SHAPES, WITHOUT_ROWID) for cell in replaced(shape)),
    Cell(
        name="update or ignore against NOT NULL and CHECK",
        tables=CHECKED,
        rows=TWO_ROWS,
        write="update or ignore t set a = null where id = 1; update or ignore t set b = 7",
        differs=True,
    ),
    Cell(
        name="replace with a normaliser",
        tables=UNIQUE,
        rows=TWO_ROWS,
        triggers=(
            Trigger(event="after insert", body="update t set b = b + 100 where id = new.id;"),
        ),
        write="replace into t values (1, 'two', 5), (3, 'three', 6)",
    ),
    Cell(
        name="key that a trigger changes after the insert",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(
            Trigger(
                event="after insert",
                when="new.id < 10",
                body="update t set id = id + 10 where id = new.id;",
            ),
        ),
        write="insert into t values (3, 'x', 1); delete from t where id = 1;"
        "insert into t values (1, 'again', 2)",
        moves=True,
    ),
    Cell(
        name="trigger that replaces the new row",
        tables=UNIQUE,
        rows=TWO_ROWS,
        triggers=(
            Trigger(
                event="after insert",
                when="new.b = 5",
                body="replace into t values (new.id, new.a, 6);",
            ),
        ),
        write="insert into t values (3, 'x', 5); replace into t values (1, 'y', 5)",
    ),
    Cell(
        name="updated_at beside update or replace",
        tables=UNIQUE,
        rows=TWO_ROWS,
        triggers=(
            Trigger(
                event="after update",
                when="new.b = old.b",
                body="update t set b = b + 100 where id = new.id;",
            ),
        ),
        write="update or replace t set id = 2 where id = 1; update or ignore t set a = 'z'",
    ),
    Cell(
        name="insert with key minus one",
        tables=PLAIN,
        rows="insert into t values (-1, 'x', 1)",
        write="insert or replace into t values (-1, 'y', 1); insert into t (a) values ('z')",
        moves=True,
    ),
    Cell(
        name="replace over several in one statement",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="replace into t (a, b) values ('two', 9), ('one', 8), ('two', 7)",
    ),
    Cell(
        name="replace by a conflict clause of the table",
        tables="create table t (id integer primary key, a text unique on conflict replace);",
        rows="insert into t values (1, 'one'), (2, 'two')",
        write="insert into t (a) values ('one'); update t set a = 'two' where a = 'one'",
        hub_only=True,
    ),
    Cell(
        name="replace over a rowid",
        tables=TEXT_KEY,
        rows=TWO_ROWS,
        write="replace into t (rowid, id, a) values (2, 'new', 'new')",
    ),
    Cell(
        name="replace over a composite unique index",
        tables=PLAIN,
        indexes="create unique index u on t (b, a);",
        rows=TWO_ROWS,
        write="replace into t values (3, 'one', 1)",
    ),
    Cell(
        name="replace over a partial index",
        tables=PLAIN,
        indexes="create unique index u on t (a) where b > 0;",
        rows=TWO_ROWS + "insert into t values (3, 'one', -1);",
        write="replace into t values (9, 'one', 5); replace into t values (10, 'one', -5)",
        differs=True,
    ),
    Cell(
        name="replace over an index of expressions",
        tables=PLAIN,
        indexes="create unique index u on t (lower(a) || '', b + 1 desc) where a <> 'it''s, (';",
        rows=TWO_ROWS,
        write="replace into t values (9, 'ONE', 1)",
        differs=True,
    ),
    Cell(
        name="replace over an index with a collation",
        tables=PLAIN,
        indexes="create unique index u on t (a collate nocase);",
        rows=TWO_ROWS,
        write="replace into t values (9, 'ONE', 1)",
    ),
    Cell(
        name="replace over a column with a collation",
        tables="create table t (id integer primary key, a text collate nocase unique);",
        rows="insert into t values (1, 'one'), (2, 'two')",
        write="replace into t values (9, 'ONE'); update or replace t set a = 'TWO' where id = 9",
    ),
    Cell(
        name="replace where a default stands in for null",
        tables="create table t (id integer primary key, a text not null default 'one' unique);",
        rows="insert into t values (1, 'one'), (2, 'two')",
        write="replace into t values (3, null); update or replace t set a = null where id = 2",
    ),
    Cell(
        name="replace over a computed column",
        tables="""create table t (id integer primary key, a text,
            low text as (lower(a)) stored, first text as (substr(a, 1, 1)) virtual);""",
        indexes="create unique index u on t (low); create unique index v on t (first);",
        rows="insert into t (id, a) values (1, 'One'), (2, 'Two')",
        write="replace into t (a) values ('oNE'); replace into t (a) values ('Tea')",
        differs=True,
    ),
    Cell(
        name="replace a parent whose children cascade",
        tables=family("cascade"),
        rows=FAMILY_ROWS,
        write="replace into parent values (2, 'new'), (3, 'x')",
    ),
    Cell(
        name="update or replace that eats its way",
        tables="create table t (id integer primary key, b integer unique);",
        rows="insert into t values (1, 1), (2, 2), (3, 3), (4, 4)",
        write="update or replace t set b = b + 1",
    ),
    Cell(
        name="update or replace of a rowid",
        tables=TEXT_KEY,
        rows=TWO_ROWS,
        write="update or replace t set rowid = 2 where id = '1'",
    ),
    Cell(
        name="update or replace into a partial index",
        tables=PLAIN,
        indexes="create unique index u on t (a) where b > 0;",
        rows="insert into t values (1, 'one', 1), (2, 'one', -1)",
        write="update or replace t set b = 5 where id = 2",
        differs=True,
    ),
    Cell(
        name="key spelled anew",
        tables="create table t (id text collate nocase primary key not null, a text);",
        rows="insert into t values ('One', 'x')",
        write="update t set id = 'ONE'",
    ),
    Cell(
        name="trigger that replaces in its own table",
        tables=UNIQUE,
        triggers=(
            Trigger(
                event="before insert",
                when="new.b = 5",
                body="insert or replace into t (id, a, b) values (9, 'one', 0);",
            ),
        ),
        rows=TWO_ROWS,
        write="insert or replace into t values (2, 'one', 5)",
    ),
    Cell(
        name="view with an instead-of trigger",
        tables=PLAIN,
        views="create view w as select * from t;",
        triggers=(
            Trigger(event="instead of insert", on="w", body="insert into t (a) values (new.a);"),
        ),
        rows=TWO_ROWS,
        write="insert into w (a) values ('x')",
    ),
    Cell(
        name="strict table",
        tables="create table t (id integer primary key, a any, b blob, r real) strict;",
        rows="insert into t values (1, 'x', x'00ff', 0.1), (2, 5, null, 1e300)",
        write="update t set a = x'01' where id = 1; delete from t where id = 2;"
        "replace into t values (1, 1.5, x'', -0.0)",
    ),
    Cell(
        name="values that do not fit their columns",
        tables="create table t (id integer primary key, i integer, r real, s text, b blob,"
        "d date, n numeric, o boolean, j json, u uuid, x);",
        rows="""
            insert into t values (1, 1.5, 'r', x'00', 'b', 3, 'n', 7, '[1, 2', x'ff', x'0a'),
                (2, x'01', x'02', 'a' || char(0) || 'b', 1.5, x'03', x'04', x'05', x'06', 5, 0.1),
                (3, 9223372036854775807, 9e999, '', x'', 0.1, 12345678901234567890, 'yes', 0.1,
                 1e300, 9007199254740993);
        """,
        write="update t set s = 'new'; delete from t where id > 1; insert into t (x) values (1.1)",
    ),
    Cell(
        name="keys of other types",
        tables="""
            create table b (id blob primary key not null, a text);
            create table r (id real primary key not null, a text);
            create table n (id numeric primary key not null, a text);
            create table o (x boolean not null, d date not null, a text, primary key (x, d));
        """,
        rows="""
            insert into b values (x'00ff', 'x'), (x'', 'y');
            insert into r values (0.1, 'x'), (5, 'y');
            insert into n values (1.25, 'x'), (7, 'y');
            insert into o values (true, '2024-01-01', 'x'), (false, '2024-01-02', 'y');
        """,
        write="""
            update b set a = 'z'; update r set a = 'z'; update n set a = 'z'; update o set a = 'z';
            update b set id = x'01' where id = x''; update r set id = 0.3 where id = 5;
            delete from n where id = 1.25; update o set x = true where not x;
        """,
    ),
    Cell(
        name="large integer keys",
        tables=PLAIN,
        rows="insert into t values (9007199254740993, 'x', 1), (-9223372036854775808, 'y', 2)",
        write="update t set a = 'z'; update t set id = id - 1 where id > 0;"
        "replace into t values (-9223372036854775808, 'w', 3)",
    ),
    Cell(
        name="odd names",
        tables="""
            create table "odd ""table"" of 'ours'" ("select" integer primary key, "a ""b" text,
                "größe, (m)" integer, "new" text, "t" text unique);
            create unique index "i ""x" on "odd ""table"" of 'ours'" ("größe, (m)" desc, "new");
        """,
        rows="""insert into "odd ""table"" of 'ours'" values (1, 'a', 2, 'n', 't'),
            (2, 'b', 3, 'm', 'u')""",
        write="""replace into "odd ""table"" of 'ours'" values (3, 'z', 2, 'n', 'v');
            update or replace "odd ""table"" of 'ours'" set t = 'v' where "select" = 2;""",
    ),
    Cell(
        name="two hundred columns",
        tables="create table t (id integer primary key, "
        + ", ".join(f"c{i} {'real' if i % 3 else 'text'}" for i in range(200))
        + ", u text unique);",
        rows="insert into t (id, c0, c1, c199, u) values (1, 'x', 0.1, 'y', 'u'), (2, 1, 1, 2, 5)",
        write="update t set c150 = 1.5; delete from t where id = 2;"
        "replace into t (id, u, c102) values (9, 'u', 'z')",
    ),
]
