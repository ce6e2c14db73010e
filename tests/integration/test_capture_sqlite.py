"""The capture matrix on SQLite: whatever a program writes, the log has it (invariant I11).

Each cell is a situation and some statements of a program that knows nothing of reunite. It ends in
two checks:

- a reader that holds the tables' former state and pulls from its position ends with the tables;
- every key's history walks back to its former state without a hole.

The same cells run against a replica's outbox, whose entries, read in order, must lead from the
former state to the present one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.ports import LogEntry, Position, Transaction
from reunite.stores.sql import SqlStore, open_store
from reunite.stores.sql.capture import create_triggers, drop_triggers
from reunite.stores.sql.database import connect_sqlite
from reunite.stores.sql.dialects.sqlite import (
    log_key_to_wire,
    log_to_wire,
    quoted,
    select_list,
    to_wire,
)
from reunite.stores.sql.dialects.sqlite_reflection import reflect, trackable_tables
from reunite.stores.sql.layout import outbox_layout

LIMIT = 100_000

State = dict[tuple[str, Key], Row]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One situation.

    late           what the user does to the schema after tracking, e.g. younger triggers
    foreign_keys   the program's pragma
    says_less      SQLite tells the outbox's triggers less than happened (an update ignored, a new
                   row overwritten at once): the entries name the right keys, and what became of
                   the rows is read from the table
    """

    name: str
    tables: str
    rows: str = ""
    late: str = ""
    write: str
    foreign_keys: bool = True
    says_less: bool = False


PLAIN = "create table t (id integer primary key, a text, b integer);"
TWO_ROWS = "insert into t values (1, 'one', 1), (2, 'two', 2);"
UNIQUE = "create table t (id integer primary key, a text unique, b integer);"
TEXT_KEY = "create table t (id text primary key not null, a text unique, b integer);"
WITHOUT_ROWID = "create table t (id text primary key, a text unique, b integer) without rowid;"
PAIR = "create table t (x text not null, y integer not null, a text, primary key (x, y));"
PAIR_ROWS = "insert into t values ('p', 1, 'one'), ('p', 2, 'two');"
TREE = """
    create table t (id integer primary key, up integer references t (id) on delete cascade);
"""
TREE_ROWS = "insert into t values (1, null), (2, 1), (3, 2), (4, 2), (5, null);"


def family(on_delete: str, on_update: str = "no action") -> str:
    return f"""
        create table parent (id integer primary key, code text unique);
        create table t (id integer primary key, p integer default 1
            references parent (id) on delete {on_delete} on update {on_update});
        create table g (id integer primary key, t integer
            references t (id) on delete {on_delete} on update {on_update});
    """


FAMILY_ROWS = """
    insert into parent values (1, 'x'), (2, 'y');
    insert into t values (10, 1), (20, 2), (21, 2);
    insert into g values (100, 10), (200, 20), (201, 20);
"""

CELLS = [
    Cell(name="insert", tables=PLAIN, write="insert into t values (7, 'x', 1)"),
    Cell(name="insert without key", tables=PLAIN, write="insert into t (a) values ('x')"),
    Cell(name="insert of defaults", tables=PLAIN, write="insert into t default values"),
    Cell(
        name="multi-row insert",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="insert into t (a) values ('x'), ('y'), ('z')",
    ),
    Cell(
        name="insert from select",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="insert into t (a, b) select a, b from t",
    ),
    Cell(
        name="insert with key minus one",
        tables=PLAIN,
        rows="insert into t values (-1, 'x', 1)",
        write="insert or replace into t values (-1, 'y', 1); insert into t (a) values ('z')",
    ),
    Cell(name="update", tables=PLAIN, rows=TWO_ROWS, write="update t set a = 'x' where id = 1"),
    Cell(name="update of all", tables=PLAIN, rows=TWO_ROWS, write="update t set b = b + 1"),
    Cell(name="update of nothing", tables=PLAIN, rows=TWO_ROWS, write="update t set a = a"),
    Cell(
        name="update from",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="update t set a = u.a from t as u where u.id = 3 - t.id",
    ),
    Cell(name="delete", tables=PLAIN, rows=TWO_ROWS, write="delete from t where id = 1"),
    Cell(name="delete of all", tables=PLAIN, rows=TWO_ROWS, write="delete from t"),
    Cell(
        name="delete and insert again",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="delete from t where id = 2; insert into t (a) values ('new')",
    ),
    Cell(
        name="upsert that updates",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="insert into t values (1, 'x', 5) on conflict (id) do update set a = excluded.a",
    ),
    Cell(
        name="upsert that does nothing",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="insert into t values (1, 'x', 5) on conflict do nothing",
    ),
    Cell(
        name="upsert on a unique column",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="""insert into t (a, b) values ('one', 9), ('three', 3)
            on conflict (a) do update set b = excluded.b""",
    ),
    Cell(
        name="insert or replace over the key",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="insert or replace into t values (1, 'x', 5)",
    ),
    Cell(
        name="replace over a unique column",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="replace into t (a, b) values ('one', 9)",
    ),
    Cell(
        name="replace over key and unique column",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="replace into t values (1, 'two', 9)",
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
    ),
    Cell(
        name="replace over a text key",
        tables=TEXT_KEY,
        rows=TWO_ROWS,
        write="replace into t values ('1', 'two', 9)",
    ),
    Cell(
        name="replace over a rowid",
        tables=TEXT_KEY,
        rows=TWO_ROWS,
        write="replace into t (rowid, id, a) values (2, 'new', 'new')",
    ),
    Cell(
        name="replace without rowid",
        tables=WITHOUT_ROWID,
        rows=TWO_ROWS,
        write="replace into t values ('1', 'two', 9)",
    ),
    Cell(
        name="replace over a composite key",
        tables=PAIR,
        rows=PAIR_ROWS,
        write="replace into t values ('p', 1, 'x')",
    ),
    Cell(
        name="replace over a composite unique index",
        tables=PLAIN + "create unique index u on t (b, a);",
        rows=TWO_ROWS,
        write="replace into t values (3, 'one', 1)",
    ),
    Cell(
        name="replace over a partial index",
        tables=PLAIN + "create unique index u on t (a) where b > 0;",
        rows=TWO_ROWS + "insert into t values (3, 'one', -1);",
        write="replace into t values (9, 'one', 5); replace into t values (10, 'one', -5)",
    ),
    Cell(
        name="replace over an index of expressions",
        tables=PLAIN
        + "create unique index u on t (lower(a) || '', b + 1 desc) where a <> 'it''s, (';",
        rows=TWO_ROWS,
        write="replace into t values (9, 'ONE', 1)",
    ),
    Cell(
        name="replace over an index with a collation",
        tables=PLAIN + "create unique index u on t (a collate nocase);",
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
            low text as (lower(a)) stored, first text as (substr(a, 1, 1)) virtual);
            create unique index u on t (low); create unique index v on t (first);""",
        rows="insert into t (id, a) values (1, 'One'), (2, 'Two')",
        write="replace into t (a) values ('oNE'); replace into t (a) values ('Tea')",
    ),
    Cell(
        name="replace a parent whose children cascade",
        tables=family("cascade"),
        rows=FAMILY_ROWS,
        write="replace into parent values (2, 'new'), (3, 'x')",
    ),
    Cell(
        name="update or replace over a unique column",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="update or replace t set a = 'two' where id = 1",
    ),
    Cell(
        name="update or replace over the key",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="update or replace t set id = 2 where id = 1",
    ),
    Cell(
        name="update or replace that eats its way",
        tables="create table t (id integer primary key, b integer unique);",
        rows="insert into t values (1, 1), (2, 2), (3, 3), (4, 4)",
        write="update or replace t set b = b + 1",
    ),
    Cell(
        name="update or replace of a composite key",
        tables=PAIR,
        rows=PAIR_ROWS,
        write="update or replace t set y = 2 where y = 1",
    ),
    Cell(
        name="update or replace without rowid",
        tables=WITHOUT_ROWID,
        rows=TWO_ROWS,
        write="update or replace t set id = '2', a = 'x' where id = '1'",
    ),
    Cell(
        name="update or replace of a rowid",
        tables=TEXT_KEY,
        rows=TWO_ROWS,
        write="update or replace t set rowid = 2 where id = '1'",
    ),
    Cell(
        name="update or replace into a partial index",
        tables=PLAIN + "create unique index u on t (a) where b > 0;",
        rows="insert into t values (1, 'one', 1), (2, 'one', -1)",
        write="update or replace t set b = 5 where id = 2",
    ),
    Cell(
        name="insert or ignore",
        tables=UNIQUE,
        rows=TWO_ROWS,
        write="insert or ignore into t values (1, 'x', 1), (3, 'two', 1), (4, 'four', 4)",
    ),
    Cell(
        name="update or ignore",
        tables=UNIQUE,
        rows=TWO_ROWS,
        says_less=True,
        write="update or ignore t set a = 'two', b = 7",
    ),
    Cell(
        name="key update",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="update t set id = 5, a = 'x' where id = 1",
    ),
    Cell(
        name="key update there and back",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="update t set id = 5 where id = 1; update t set id = 1 where id = 5",
    ),
    Cell(
        name="key update onto a key just left",
        tables=PLAIN,
        rows=TWO_ROWS,
        write="update t set id = 5 where id = 1; update t set id = 1 where id = 2",
    ),
    Cell(
        name="keys all moved by one statement",
        tables=PAIR,
        rows=PAIR_ROWS,
        write="update t set y = y - 10, x = 'q'",
    ),
    Cell(
        name="key spelled anew",
        tables="create table t (id text collate nocase primary key not null, a text);",
        rows="insert into t values ('One', 'x')",
        write="update t set id = 'ONE'",
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
    ),
    Cell(
        name="updated_at of an older trigger",
        tables=PLAIN + "create trigger u after update on t when new.b = old.b begin "
        "update t set b = b + 100 where id = new.id; end;",
        rows=TWO_ROWS,
        write="update t set a = 'x' where id = 1",
    ),
    Cell(
        name="updated_at of a younger trigger",
        tables=PLAIN,
        rows=TWO_ROWS,
        late="create trigger u after update on t when new.b = old.b begin "
        "update t set b = b + 100 where id = new.id; end;",
        write="update t set a = 'x' where id = 1",
    ),
    Cell(
        name="normaliser older than us",
        tables=PLAIN + "create trigger u after insert on t begin "
        "update t set a = upper(a) where id = new.id; end;",
        rows=TWO_ROWS,
        write="insert into t (a) values ('x'), ('y')",
    ),
    Cell(
        name="normaliser younger than us",
        tables=PLAIN,
        rows=TWO_ROWS,
        late="create trigger u after insert on t begin "
        "update t set a = upper(a) where id = new.id; end;",
        write="insert into t (a) values ('x'), ('y')",
    ),
    Cell(
        name="tree path",
        tables="""create table t (id integer primary key, up integer, path text);
            create trigger u after insert on t begin
            update t set path = coalesce((select path from t where id = new.up), '') || '/'
            || new.id where id = new.id; end;""",
        write="insert into t (up) values (null), (1), (2)",
    ),
    Cell(
        name="soft delete older than us",
        tables=PLAIN + "create trigger u before delete on t begin "
        "update t set b = -1 where id = old.id; select raise(ignore); end;",
        rows=TWO_ROWS,
        write="delete from t where id = 1",
    ),
    Cell(
        name="soft delete younger than us",
        tables=PLAIN,
        rows=TWO_ROWS,
        late="create trigger u before delete on t begin "
        "update t set b = -1 where id = old.id; select raise(ignore); end;",
        write="delete from t where id = 1",
    ),
    Cell(
        name="insert that a trigger undoes",
        tables=PLAIN + "create trigger u after insert on t when new.a = 'no' begin "
        "delete from t where id = new.id; end;",
        rows=TWO_ROWS,
        write="insert into t (a) values ('no'), ('yes')",
    ),
    Cell(
        name="insert that a younger trigger undoes",
        tables=PLAIN,
        rows=TWO_ROWS,
        late="create trigger u after insert on t when new.a = 'no' begin "
        "delete from t where id = new.id; end;",
        write="insert into t (a) values ('no'), ('yes')",
    ),
    Cell(
        name="trigger that writes another table",
        tables=PLAIN + "create table l (id integer primary key, what text);"
        "create trigger u after update on t begin insert into l (what) values (old.a); end;"
        "create trigger v before delete on t begin delete from l where what = old.a; end;",
        rows=TWO_ROWS + "insert into l (what) values ('two')",
        write="update t set a = 'x' where id = 1; delete from t where id = 2",
    ),
    Cell(
        name="trigger that replaces in its own table",
        tables=UNIQUE + "create trigger u before insert on t when new.b = 5 begin "
        "insert or replace into t (a, b) values ('one', 0); end;",
        rows=TWO_ROWS,
        says_less=True,
        write="insert or replace into t values (2, 'one', 5)",
    ),
    Cell(
        name="view with an instead-of trigger",
        tables=PLAIN + "create view w as select * from t; create trigger u instead of insert on w "
        "begin insert into t (a) values (new.a); end;",
        rows=TWO_ROWS,
        write="insert into w (a) values ('x')",
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
        tables="create table t (id integer primary key, a text, up text as (upper(a)) stored,"
        "low text generated always as (lower(a)) virtual, z integer not null default 5);",
        rows="insert into t (id, a) values (1, 'One'), (2, 'Two')",
        write="update t set a = 'x' where id = 1; delete from t where id = 2;"
        "insert into t (a) values ('y')",
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
        "replace into t (id, u, c101) values (9, 'u', 'z')",
    ),
    Cell(
        name="column added meanwhile",
        tables=PLAIN,
        rows=TWO_ROWS,
        late="alter table t add column c text default 'c';",
        write="update t set c = 'd', a = 'x' where id = 1; delete from t where id = 2;"
        "insert into t values (3, 'three', 3, 'e')",
    ),
]


@pytest.fixture(params=CELLS, ids=lambda cell: cell.name)
def cell(request: pytest.FixtureRequest) -> Cell:
    assert isinstance(request.param, Cell)
    return request.param


@pytest.fixture(params=[False, True], ids=["", "recursive"])
def program(
    request: pytest.FixtureRequest, cell: Cell, tmp_path: Path
) -> Iterator[sqlite3.Connection]:
    """A program with the cell's tables and rows, as it was before reunite came."""
    with closing(sqlite3.connect(tmp_path / "hub.db", isolation_level=None)) as connection:
        connection.execute(f"pragma foreign_keys = {'on' if cell.foreign_keys else 'off'}")
        connection.execute("pragma synchronous = off")
        connection.execute(f"pragma recursive_triggers = {'on' if request.param else 'off'}")
        connection.executescript(cell.tables + cell.rows)
        yield connection


@contextmanager
def tracked(path: Path) -> Iterator[SqlStore]:
    store = open_store(path, synchronous="off")
    try:
        store.track([store.reflect(table) for table in store.trackable_tables()])
        yield store
    finally:
        store.close()


def state_of(transaction: Transaction) -> State:
    return {
        (table, key_of(schema, row)): row
        for table, schema in transaction.schemas().items()
        for row in transaction.scan(table, after=None, limit=LIMIT)
    }


def key_of(schema: TableSchema, row: Row) -> Key:
    return tuple(row[place] for place in schema.key_positions)


def test_a_reader_catches_up_and_history_has_no_hole(
    cell: Cell, program: sqlite3.Connection, tmp_path: Path
) -> None:
    with tracked(tmp_path / "hub.db") as store:
        with store.read() as transaction:
            former = state_of(transaction)
            assert transaction.last_change_id() == 0, "tracking writes no entry"
        program.executescript(cell.late)
        program.executescript(f"begin; {cell.write}; commit")
        store.number(now_ms=1_000, new_nonce=lambda: "n")

        with store.read() as transaction:
            assert pulled(transaction, former) == state_of(transaction)
            check_history(transaction, former, is_late=bool(cell.late))


def pulled(transaction: Transaction, former: State) -> State:
    """The former state, with the rows of all touched keys read anew."""
    state = dict(former)
    keys_by_table: dict[str, list[Key]] = {}
    for touch in transaction.touched(Position(seq=0, id=0), limit=LIMIT):
        keys_by_table.setdefault(touch.table, []).extend(
            key for key in (touch.key, touch.old_key) if key is not None
        )
    for table, keys in keys_by_table.items():
        rows = transaction.rows(table, keys)
        for key in keys:
            state.pop((table, key), None)
            if key in rows:
                state[table, key] = rows[key]
    return state


def check_history(transaction: Transaction, former: State, *, is_late: bool) -> None:
    """Each key's entries, from the last to the first, lead back to its former state.

    User's triggers younger than ours run before them, so what they do to a new row is logged
    before its insert.
    """
    present = state_of(transaction)
    entries = transaction.log(after_id=0, until_id=2**53, limit=LIMIT)
    places = {(entry.table, key) for entry in entries for key in (entry.key, entry.old_key) if key}
    for table, key in places:
        own = transaction.entries(table, [key], after_id=0)
        story = [e for e in entries if e.table == table and key in (e.key, e.old_key)]
        assert own == story, f"the index of {table} {key} tells another story than the log"
        before = None if is_moved_here(own[0], key) else own[0].old
        if is_late and (table, key) not in former and any(e.op is Op.INSERT for e in own):
            before = None
        assert before == former.get((table, key)), f"the history of {table} {key} has a hole"
    changed = {place for place in former | present if former.get(place) != present.get(place)}
    assert changed <= places


def is_moved_here(entry: LogEntry, key: Key) -> bool:
    return entry.old_key is not None and entry.key == key


def test_an_outbox_leads_from_the_former_state_to_the_present(
    cell: Cell, program: sqlite3.Connection, tmp_path: Path
) -> None:
    with closing(connect_sqlite(tmp_path / "hub.db")) as replica:
        tables = [reflect(replica, table) for table in trackable_tables(replica)]
        for statement in outbox_layout():
            replica.execute(statement)
        for schema in tables:
            create_triggers(replica, schema, outbox=True)
        schemas = {schema.name: schema for schema in tables}
        former = tables_of(replica, schemas)
        program.executescript(cell.late)
        program.executescript(f"begin; {cell.write}; commit")

        present = tables_of(replica, schemas)
        told = replayed(replica, schemas, former)
        if cell.says_less:
            changed = {
                place for place in former | present if former.get(place) != present.get(place)
            }
            assert changed <= places_of(replica, schemas)
        else:
            assert told == present
        for schema in tables:
            drop_triggers(replica, schema.name)
        names = replica.execute("select name from sqlite_schema where type = 'trigger'")
        assert not any(name.startswith("reunite_") for (name,) in names)


def tables_of(connection: sqlite3.Connection, schemas: dict[str, TableSchema]) -> State:
    state: State = {}
    for table, schema in schemas.items():
        finish = to_wire(schema)
        for row in connection.execute(f"select {select_list(schema)} from {quoted(table)} as t"):
            wire = finish(row) if finish else row
            state[table, key_of(schema, wire)] = wire
    return state


def replayed(
    connection: sqlite3.Connection, schemas: dict[str, TableSchema], former: State
) -> State:
    """The outbox applied to the former state, as a replica reads it.

    A touch (an update without a row) is a row that OR REPLACE may have overwritten: it is gone if
    the table does not have it. With recursive triggers its delete is logged as well, perhaps after
    the row that takes its key. A delete followed by an update was turned into it by a trigger.
    """
    present = tables_of(connection, schemas)
    state = dict(former)
    touched: dict[tuple[str, Key], str] = {}
    moved_here: set[tuple[str, Key]] = set()
    for table, op, key, old_key, old, row in connection.execute(
        "select table_name, op, key, old_key, old, row from reunite_change order by id"
    ):
        read_key, read = log_key_to_wire(schemas[table]), log_to_wire(schemas[table])
        place = (table, read_key(key))
        if op == "update" and row is None:
            touched[place] = old
        elif op == "delete":
            if not (place in moved_here and touched.get(place) == old):
                state.pop(place, None)
        else:
            if old_key is not None:
                state.pop((table, read_key(old_key)), None)
                moved_here.add(place)
            state.pop(place, None)
            if row is not None:
                state[place] = read(row)
    for place in touched:
        if place not in present:
            state.pop(place, None)
    return state


def places_of(
    connection: sqlite3.Connection, schemas: dict[str, TableSchema]
) -> set[tuple[str, Key]]:
    rows = connection.execute("select table_name, key, old_key from reunite_change")
    return {
        (table, log_key_to_wire(schemas[table])(key))
        for table, *keys in rows
        for key in keys
        if key is not None
    }


def test_a_suspended_outbox_records_nothing(tmp_path: Path) -> None:
    with closing(connect_sqlite(tmp_path / "replica.db")) as replica:
        replica.executescript(PLAIN + TWO_ROWS)
        for statement in outbox_layout():
            replica.execute(statement)
        create_triggers(replica, reflect(replica, "t"), outbox=True)
        replica.execute("begin immediate")
        replica.execute("update reunite_guard set suspended = 1")
        replica.execute("replace into t values (1, 'x', 1)")
        replica.execute("update t set id = 9 where id = 2")
        replica.execute("delete from t")
        replica.execute("update reunite_guard set suspended = 0")
        replica.execute("commit")
        assert replica.execute("select count(*) from reunite_change").fetchone() == (0,)
        replica.execute("insert into t (a) values ('y')")
        assert replica.execute("select count(*) from reunite_change").fetchone() == (1,)


def test_triggers_made_again_are_younger_than_the_users(tmp_path: Path) -> None:
    """SQLite fires the youngest first; ours must be, so that entries stand in order of events."""
    with closing(sqlite3.connect(tmp_path / "hub.db", isolation_level=None)) as program:
        program.executescript(PLAIN)
        with tracked(tmp_path / "hub.db") as store:
            program.executescript(
                "create trigger u after insert on t begin update t set b = 7 where id = new.id; end"
            )
            before = trigger_rowids(program)
            store.track([store.reflect("t")])
            store.track([store.reflect("t")])
            assert trigger_rowids(program) > before
            after = trigger_rowids(program)
            store.track([store.reflect("t")])
            assert trigger_rowids(program) == after
            program.execute("insert into t (a) values ('x')")
            with store.read() as transaction:
                log = transaction.log(after_id=0, until_id=99, limit=99)
            assert [entry.op for entry in log] == [Op.INSERT, Op.UPDATE]


def trigger_rowids(program: sqlite3.Connection) -> list[int]:
    found = program.execute("select rowid from sqlite_schema where name like 'reunite_t_%'")
    return sorted(rowid for (rowid,) in found)
