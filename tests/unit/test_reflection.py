"""What an SQLite table looks like to the hub: types, keys, foreign keys, unique indexes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema, Unique
from reunite.errors import UnknownTableError, UntrackableTableError
from reunite.stores.sql.dialects.sqlite_reflection import (
    check_keys_have_no_null,
    index_parts,
    references,
    reflect,
    table_details,
    trackable_tables,
)
from reunite.stores.sql.dialects.sqlite_tables import create_index_sql, create_table_sql

# The tables of a replica's file, which has whatever is referred to.
ALL = ("parent", "t")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("INTEGER", ColumnType.INTEGER),
        ("bigint unsigned", ColumnType.INTEGER),
        ("REAL", ColumnType.REAL),
        ("double precision", ColumnType.REAL),
        ("float", ColumnType.REAL),
        ("TEXT", ColumnType.TEXT),
        ("varchar(20)", ColumnType.TEXT),
        ("clob", ColumnType.TEXT),
        ("BLOB", ColumnType.BLOB),
        ("varbinary(16)", ColumnType.BLOB),
        ("boolean", ColumnType.BOOLEAN),
        ("bool", ColumnType.BOOLEAN),
        ("decimal(10, 2)", ColumnType.DECIMAL),
        ("NUMERIC", ColumnType.DECIMAL),
        ("number", ColumnType.DECIMAL),
        ("money", ColumnType.DECIMAL),
        ("date", ColumnType.DATE),
        ("time", ColumnType.TIME),
        ("datetime", ColumnType.DATETIME),
        ("timestamp with time zone", ColumnType.DATETIME),
        ("uuid", ColumnType.UUID),
        ("json", ColumnType.JSON),
        ("JSONB", ColumnType.JSON),
        ("enumeration", ColumnType.ANY),
        ("string", ColumnType.ANY),
        ("", ColumnType.ANY),
    ],
)
def test_a_declared_type_says_what_values_mean(
    db: sqlite3.Connection, declared: str, expected: ColumnType
) -> None:
    db.execute(f"create table t (id integer primary key, x {declared})")
    assert reflect(db, "t").column["x"].type is expected


DECLARED_TYPES = [
    "integer", "real", "text", "blob", "boolean", "decimal(9, 2)", "date", "time", "datetime",
    "uuid", "json", "", "any", "string", "enumeration", "binary(16)", "bytea", "json_text",
    "date_text", "floating point", "datetime_int", "uuid_blob", "charint", "money_blob",
]  # fmt: skip


@pytest.mark.parametrize("declared", DECLARED_TYPES)
@pytest.mark.parametrize("value", [5, 2.5, "5", "5.0", "x", b"x", None])
def test_a_replicas_column_makes_of_values_what_the_hubs_makes_of_them(
    db: sqlite3.Connection, declared: str, value: object
) -> None:
    """First what comes in at the hub, then the result of that at the replica."""
    db.execute(f"create table t (id text primary key, x {declared})")
    db.execute("insert into t values ('a', ?)", (value,))
    with closing(sqlite3.connect(":memory:")) as replica:
        replica.execute(create_table_sql(reflect(db, "t"), ALL))
        stored = db.execute("select x from t").fetchone()
        for given in (value, *stored):
            replica.execute("insert or replace into t values ('a', ?)", (given,))
            told = "select typeof(x), x from t"
            assert replica.execute(told).fetchone() == db.execute(told).fetchone()


def test_the_columns_of_a_strict_table_are_what_they_say(db: sqlite3.Connection) -> None:
    db.execute("create table t (id integer primary key, x any, y int) strict")
    db.execute("insert into t values (1, '5', 5)")
    schema = reflect(db, "t")
    assert (schema.column["x"].type, schema.column["x"].affinity) == (ColumnType.ANY, None)
    with closing(sqlite3.connect(":memory:")) as replica:
        replica.execute(create_table_sql(schema, ALL))
        replica.execute("insert into t values (1, '5', 5)")
        assert replica.execute("select typeof(x) from t").fetchone() == ("text",)


def test_a_key_that_is_not_generated_takes_what_the_hubs_takes(db: sqlite3.Connection) -> None:
    """INTEGER alone would make it the rowid of the replica's table, which refuses text."""
    db.execute("create table t (id integer primary key) without rowid")
    db.execute("insert into t values ('x')")
    with closing(sqlite3.connect(":memory:")) as replica:
        replica.execute(create_table_sql(reflect(db, "t"), ALL))
        replica.execute("insert into t values ('x')")


def test_a_table_is_described_as_declared(db: sqlite3.Connection) -> None:
    db.executescript("""
        create table parent (id integer primary key, code text unique);
        create table t (
            id integer primary key,
            name text not null default 'it''s',
            at datetime default current_timestamp,
            parent integer references parent on delete cascade,
            code text references Parent (code) on update set null,
            up text as (upper(name)) stored,
            low text generated always as (lower(name)) virtual,
            unique (name, code)
        );
        create unique index plain on t (at collate NoCase);
        create unique index partial on t (name) where at is not null;
        create unique index of_expression on t (lower(name));
        create index ordinary on t (parent);
    """)
    assert reflect(db, "t") == TableSchema(
        name="t",
        columns=(
            Column(name="id", type=ColumnType.INTEGER, nullable=False),
            Column(name="name", type=ColumnType.TEXT, nullable=False, default="'it''s'"),
            Column(name="at", type=ColumnType.DATETIME, default="current_timestamp"),
            Column(name="parent", type=ColumnType.INTEGER),
            Column(name="code", type=ColumnType.TEXT),
        ),
        key=("id",),
        generated_key=True,
        foreign_keys=(
            ForeignKey(
                columns=("parent",), parent="parent", parent_columns=("id",), on_delete="cascade"
            ),
            ForeignKey(
                columns=("code",), parent="parent", parent_columns=("code",), on_update="set null"
            ),
        ),
        uniques=(
            Unique(columns=("at",), collations=("NOCASE",), name="plain"),
            Unique(
                columns=("name", "code"),
                collations=("BINARY", "BINARY"),
                name="sqlite_autoindex_t_1",
            ),
        ),
    )


@pytest.mark.parametrize(
    ("ddl", "key", "is_generated"),
    [
        ("create table t (id integer primary key)", ("id",), True),
        ("create table t (id integer primary key autoincrement)", ("id",), True),
        ("create table t (a, id INTEGER, primary key (id))", ("id",), True),
        ("create table t (id integer primary key desc)", ("id",), False),
        ("create table t (id int primary key)", ("id",), False),
        ("create table t (id integer primary key) without rowid", ("id",), False),
        ("create table t (id text primary key)", ("id",), False),
        ("create table t (b text, a integer, primary key (a, b))", ("a", "b"), False),
    ],
)
def test_keys_are_generated_where_sqlite_makes_them(
    db: sqlite3.Connection, ddl: str, key: tuple[str, ...], is_generated: bool
) -> None:
    db.execute(ddl)
    schema = reflect(db, "t")
    assert (schema.key, schema.generated_key) == (key, is_generated)


def test_tables_that_can_be_tracked(db: sqlite3.Connection) -> None:
    db.executescript("""
        create table kept (id integer primary key autoincrement);
        create table "odd 'name'" (x text primary key);
        create table without_key (a, b);
        create table reunite_meta (name text primary key);
        create view seen as select * from kept;
        create virtual table words using fts5 (word);
        create temp table passing (id integer primary key);
    """)
    assert trackable_tables(db) == ["kept", "odd 'name'"]


@pytest.mark.parametrize(
    ("ddl", "name", "hint"),
    [
        ("create table t (a, b)", "t", "add one"),
        ("create table t (id primary key)", "t", "declare one"),
        ("create table t (id any primary key) strict", "t", "declare one"),
        ("create table t (id json primary key)", "t", "Make it TEXT"),
        ("create view t as select 1 as id", "t", "view"),
        ("create virtual table t using fts5 (x)", "t", "virtual"),
        ("create table reunite_meta (name text primary key)", "reunite_meta", "own"),
    ],
)
def test_what_cannot_be_tracked_is_told_why(
    db: sqlite3.Connection, ddl: str, name: str, hint: str
) -> None:
    db.execute(ddl)
    with pytest.raises(UntrackableTableError, match=hint):
        reflect(db, name)


def test_a_table_that_is_not_there_is_unknown(db: sqlite3.Connection) -> None:
    db.execute("create table t (id integer primary key)")
    with pytest.raises(UnknownTableError, match="T"):
        reflect(db, "T")


def test_a_row_without_a_key_is_found(db: sqlite3.Connection) -> None:
    db.execute("create table t (a text, b integer, primary key (a, b))")
    db.execute("insert into t values ('x', 1)")
    schema = reflect(db, "t")
    check_keys_have_no_null(db, schema)
    db.execute("insert into t values ('x', null)")
    with pytest.raises(UntrackableTableError, match=r"\(a, b\) is NULL"):
        check_keys_have_no_null(db, schema)


def test_a_foreign_key_without_a_parent_is_left_out(db: sqlite3.Connection) -> None:
    """SQLite accepts such a declaration, and refuses the first write."""
    db.execute("create table t (id integer primary key, x integer references nobody)")
    assert reflect(db, "t").foreign_keys == ()


def test_parents_know_who_points_to_them(db: sqlite3.Connection) -> None:
    db.executescript("""
        create table p (id integer primary key);
        create table c (id integer primary key, p integer references p);
        create table d (a integer, b integer references p (id) on delete set null);
    """)
    found = {child: key.columns for child, key in references(db)["p"]}
    assert found == {"c": ("p",), "d": ("b",)}


def test_details_say_what_replace_may_overwrite(db: sqlite3.Connection) -> None:
    db.executescript("""
        create table t (id text primary key, a text not null default "x", rowid text,
            b text references t deferrable initially  deferred) ;
        create unique index u on t (a collate nocase desc, lower(b) || ',' asc) where a <> ')';
    """)
    details = table_details(db, "t")
    assert details.rowid_alias is None
    assert details.rowid_name == "_rowid_"
    assert details.required_defaults == {"a": "'x'"}
    assert details.has_deferred_keys
    index, key = details.uniques
    assert [(term.column, term.collation) for term in index.terms] == [
        ("a", "NOCASE"),
        (None, "BINARY"),
    ]
    assert index.terms[1].sql == "lower(b) || ','"
    assert index.predicate == "a <> ')'"
    assert [term.column for term in key.terms] == ["id"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("create index i on t (a)", (["a"], None)),
        ('create unique index "i (x" on [t (y] (a desc, b)', (["a", "b"], None)),
        ("create index i on t(f(a, b), c collate rtrim asc)", (["f(a, b)", "c"], None)),
        ("create index i on t(a) where b in (1, 2) -- why", (["a"], "b in (1, 2)")),
        ("create index i on t(a /* ) */, 'x)y' || b)", (["a", "'x)y' || b"], None)),
        ("create index i on t(a||b collate nocase desc, [desc])", (["a||b", "[desc]"], None)),
    ],
)
def test_the_terms_of_an_index_are_read_from_its_text(
    sql: str, expected: tuple[list[str], str | None]
) -> None:
    assert index_parts(sql) == expected


def test_a_replicas_table_names_no_table_that_is_not_there(db: sqlite3.Connection) -> None:
    """SQLite would refuse each write, whatever it says."""
    db.executescript("""
        create table parent (id integer primary key);
        create table t (id integer primary key, parent integer references parent);
    """)
    with closing(sqlite3.connect(":memory:")) as replica:
        replica.execute("pragma foreign_keys = on")
        replica.execute(create_table_sql(reflect(db, "t"), ["t"]))
        replica.execute("insert into t values (1, 7)")
        assert reflect(replica, "t").foreign_keys == ()


def test_a_replicas_table_is_made_from_the_schema(db: sqlite3.Connection) -> None:
    """No unique constraint inside, defaults where they are plain."""
    db.executescript("""
        create table parent (id integer primary key);
        create table t (id integer primary key, price decimal(9, 2) not null default 0,
            code text unique collate nocase, token text default (hex(randomblob(4))),
            parent integer references parent on delete cascade on update set null);
    """)
    schema = reflect(db, "t")
    with closing(sqlite3.connect(":memory:")) as replica:
        replica.execute("create table parent (id integer primary key)")
        replica.execute(create_table_sql(schema, ALL))
        for statement in create_index_sql(schema):
            replica.execute(statement)
        made = reflect(replica, "t")
    assert made.key == schema.key
    assert made.generated_key
    assert made.foreign_keys == schema.foreign_keys
    assert [unique.columns for unique in made.uniques] == [("code",)]
    assert [unique.collations for unique in made.uniques] == [("NOCASE",)]
    for name in ("price", "code", "token", "parent"):
        assert made.column[name].type is schema.column[name].type
        assert made.column[name].affinity is schema.column[name].affinity
    assert (made.column["price"].default, made.column["token"].default) == ("0", None)
