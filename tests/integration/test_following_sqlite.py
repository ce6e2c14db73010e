"""Other programs migrate a hub's SQLite database while it is open: what follows in transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reunite.core.schema import ColumnMerge
from reunite.stores.sql import open_store
from reunite.stores.sql.store import SqlStore


class Database:
    """A hub's store, and a program beside it."""

    def __init__(self, path: Path, store: SqlStore, program: sqlite3.Connection) -> None:
        self.path, self.store, self.program = path, store, program

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.program.execute(statement)

    def logged(self) -> list[tuple[str, str, str]]:
        """Table, operation and key of every entry so far."""
        return self.program.execute(
            "select table_name, op, key from reunite_change order by id"
        ).fetchall()

    def triggers(self) -> set[tuple[str, str]]:
        """Table and name of each of reunite's triggers."""
        return set(
            self.program.execute(
                "select tbl_name, name from sqlite_schema where type = 'trigger'"
                " and name like 'reunite\\_%' escape '\\'"
            )
        )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("create table note (id text primary key not null, title text)")
        program.execute("create table word (id text primary key not null, title text)")
        with open_store(path) as store:
            store.track([store.reflect("note"), store.reflect("word")])
            yield Database(path, store, program)


def test_a_read_sees_rows_and_schema_of_one_moment(database: Database) -> None:
    """No numbering lies between the migration and the read."""
    database.run("insert into note values ('n', 'x')", "alter table note add column more text")
    with database.store.read() as tx:
        assert tx.schemas()["note"].version == 2
        assert tx.rows("note", [("n",)]) == {("n",): ("n", "x", None)}
        assert tx.schemas()["word"].version == 1


def test_a_write_captures_a_table_that_was_made_anew(database: Database) -> None:
    database.run(
        "create table copy (id text primary key not null, title text)",
        "drop table note",
        "alter table copy rename to note",
    )
    with database.store.write() as tx, tx.lent() as handle:
        handle.execute("insert into note values ('n', 'x')")
    assert database.logged() == [("note", "insert", '["n"]')]


def test_a_write_that_fails_leaves_what_it_followed(database: Database) -> None:
    """The catalogue in memory and the one in the file stay the same."""
    database.run("alter table note add column more text")
    with pytest.raises(ZeroDivisionError), database.store.write():
        raise ZeroDivisionError
    with closing(open_store(database.path)) as other, other.read() as tx:
        assert tx.schemas()["note"].column_names == ("id", "title", "more")
    database.run("alter table word add column more text")
    with database.store.read() as tx:
        assert tx.schemas()["word"].column_names == ("id", "title", "more")


def test_a_renamed_table_is_given_up_and_leaves_no_triggers(database: Database) -> None:
    database.run("alter table note rename to memo")
    with database.store.read() as tx:
        assert set(tx.schemas()) == {"word"}
    assert {table for table, _ in database.triggers()} == {"word"}
    database.run("insert into memo values ('m', 'x')")
    assert database.logged() == []
    database.store.track([database.store.reflect("memo")])
    database.run("insert into memo values ('o', 'x')")
    assert database.logged() == [("memo", "insert", '["o"]')]


def test_tables_that_swapped_their_names_are_each_captured_under_their_own(
    database: Database,
) -> None:
    before = database.triggers()
    database.run(
        "alter table note rename to other",
        "alter table word rename to note",
        "alter table other rename to word",
    )
    with database.store.read() as tx:
        assert all(table.generation for table in tx.schemas().values())
    assert database.triggers() == before
    database.run("insert into note values ('n', 'x')", "insert into word values ('w', 'x')")
    assert [(table, key) for table, _, key in database.logged()] == [
        ("note", '["n"]'),
        ("word", '["w"]'),
    ]


def test_a_renamed_column_is_captured_all_the_while(database: Database) -> None:
    """SQLite rewrites the triggers; entries of before and after are read under their own names."""
    database.run("insert into note values ('n', 'a')", "update note set title = 'b'")
    database.run("alter table note rename column title to label", "update note set label = 'c'")
    with database.store.read() as tx:
        database.run("update note set label = 'd'")
    with database.store.read() as tx:
        entries = tx.entries("note", [("n",)], after_id=0)
    images = [dict(zip(e.old_columns, e.old, strict=True)) for e in entries if e.old is not None]
    assert images == [
        {"id": "n", "title": "a"},
        {"id": "n", "title": "b"},
        {"id": "n", "label": "c"},
    ]


def test_a_policy_ends_with_the_type_that_it_could_merge(database: Database) -> None:
    database.run("create table stock (id text primary key not null, amount integer, level integer)")
    schema = database.store.reflect("stock")
    merged = {"amount": ColumnMerge.COUNTER, "level": ColumnMerge.COUNTER}
    columns = [
        type(column)(
            name=column.name,
            type=column.type,
            nullable=column.nullable,
            merge=merged.get(column.name, column.merge),
        )
        for column in schema.columns
    ]
    database.store.track([type(schema)(name="stock", columns=tuple(columns), key=schema.key)])
    database.run(
        "drop table stock",
        "create table stock (id text primary key not null, amount text, level integer)",
    )
    with database.store.read() as tx:
        column = tx.schemas()["stock"].column
    assert (column["amount"].merge, column["level"].merge) == ("last_writer", "counter")


def test_a_table_whose_keys_may_be_null_now_stays_without_the_rows_that_have_none(
    database: Database,
) -> None:
    database.run(
        "drop table note",
        "create table note (id text primary key, title text)",
        "insert into note values (null, 'x')",
    )
    with database.store.read() as tx:
        assert set(tx.schemas()) == {"note", "word"}
        assert tx.scan("note", after=None, limit=10) == []
        assert tx.row_count("note") == 0


@pytest.mark.parametrize(
    ("statement", "has_gap"),
    [
        ("drop trigger reunite_note_before_update", True),
        ("drop table note; create table note (id text primary key not null, title text)", True),
        ("create unique index note_title on note (title)", True),
        ("create index note_title on note (title)", False),
        ("alter table note add column more text", False),
        ("create trigger mine after insert on note begin select 1; end", False),
        ("create table another (id text primary key not null)", False),
        ("vacuum", False),
    ],
)
def test_a_generation_begins_when_something_may_have_escaped(
    database: Database, statement: str, has_gap: bool
) -> None:
    """Through a new unique index, OR REPLACE may overwrite rows that no trigger looks for."""
    database.program.executescript(statement)
    with database.store.read() as tx:
        assert bool(tx.schemas()["note"].generation) == has_gap
        assert tx.schemas()["word"].generation == ""
