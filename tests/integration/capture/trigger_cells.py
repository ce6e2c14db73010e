"""Cells with triggers of the user, which run before ours or after, and see what we see."""

from __future__ import annotations

from tests.integration.capture.cells import PLAIN, TWO_ROWS, UNIQUE, Cell, Trigger

TOUCHED = "create table t (id GENERATED, a text, b integer, updated_at integer default 0);"
TOUCHED_ROWS = "insert into t values (1, 'one', 1, 10), (2, 'two', 2, 20);"
LOGGED = PLAIN + "create table l (id GENERATED, what text);"
DELETED = "create table t (id GENERATED, a text, deleted integer not null default 0);"
DELETED_ROWS = "insert into t (id, a) values (1, 'one'), (2, 'two')"
PATHS = "create table t (id GENERATED, up integer, path text);"
TEXT_KEY = "create table t (id text primary key not null, a text, b integer);"

UPDATED_AT = Trigger(
    event="after update",
    when="new.updated_at = old.updated_at",
    body="update t set updated_at = updated_at + 100 where id = new.id;",
)
STAMP_FIRST = Trigger(
    event="before update",
    when="new.updated_at = old.updated_at",
    body="update t set updated_at = updated_at + 100 where id = old.id;",
)
UPPER = Trigger(
    event="after insert", body="update t set a = upper(a) where id = new.id and a <> upper(a);"
)
UPPER_AGAIN = Trigger(
    event="after update", body="update t set a = upper(a) where id = new.id and a <> upper(a);"
)
PATH = Trigger(
    event="after insert",
    body="update t set path = coalesce((select path from t where id = new.up), '') || '/' "
    "|| new.id where id = new.id;",
)
PATH_BELOW = Trigger(
    event="after update",
    when="old.path <> new.path",
    body="update t set path = new.path || substr(path, length(old.path) + 1) "
    "where up = new.id and path like old.path || '/%';",
)
SOFT_DELETE = Trigger(
    event="before delete", body="update t set deleted = 1 where id = old.id;", skips=True
)
KEEP_TWO = Trigger(event="before update", when="old.id = 2", skips=True)
REFUSE_NO = Trigger(event="before insert", when="new.a = 'no'", skips=True)
UNDO_NO = Trigger(
    event="after insert", when="new.a = 'no'", body="delete from t where id = new.id;"
)
LOG_INSERT = Trigger(event="after insert", body="insert into l (what) values (new.a);")
LOG_UPDATE = Trigger(event="after update", body="insert into l (what) values (old.a);")
LOG_BEFORE = Trigger(event="before update", body="insert into l (what) values (old.a);")
FORGET = Trigger(event="before delete", body="delete from l where what = old.a;")

WITH_TRIGGERS = [
    Cell(
        name="updated_at, set after",
        tables=TOUCHED,
        rows=TOUCHED_ROWS,
        triggers=(UPDATED_AT,),
        write="update t set a = 'x' where id = 1; update t set a = 'y', b = 7;"
        "insert into t (id, a) values (3, 'z')",
    ),
    Cell(
        name="updated_at, set before",
        tables=TOUCHED,
        rows=TOUCHED_ROWS,
        triggers=(STAMP_FIRST,),
        write="update t set a = 'x' where id = 1; update t set a = 'y', b = 7",
    ),
    Cell(
        name="updated_at, and a delete of the row",
        tables=TOUCHED,
        rows=TOUCHED_ROWS,
        triggers=(UPDATED_AT,),
        write="update t set a = 'x'; delete from t where id = 1",
    ),
    Cell(
        name="normaliser of inserts",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(UPPER,),
        write="insert into t (id, a) values (3, 'x'), (4, 'y');"
        "insert into t (id, a) values (5, '')",
    ),
    Cell(
        name="normaliser of inserts and updates",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(UPPER, UPPER_AGAIN),
        write="insert into t (id, a) values (3, 'x'); update t set a = 'y' where id < 3;"
        "delete from t where id = 2; insert into t (id, a) values (2, 'again')",
    ),
    Cell(
        name="normaliser of an upsert",
        tables=UNIQUE,
        rows=TWO_ROWS,
        triggers=(UPPER, UPPER_AGAIN),
        write="insert into t values (1, 'x', 5), (3, 'y', 6) "
        "on conflict (id) do update set a = excluded.a",
    ),
    Cell(
        name="normaliser of keys",
        tables=TEXT_KEY,
        rows="insert into t values ('one', 'x', 1), ('two', 'y', 2);",
        triggers=(
            Trigger(
                event="after insert",
                body="update t set id = lower(id) where id = new.id and id <> lower(id);",
            ),
        ),
        write="insert into t values ('Three', 'z', 3), ('four', 'w', 4);"
        "delete from t where id = 'one'; insert into t values ('ONE', 'again', 5)",
    ),
    Cell(
        name="tree path",
        tables=PATHS,
        triggers=(PATH,),
        write="insert into t (id, up) values (1, null), (2, 1), (3, 2)",
    ),
    Cell(
        name="tree path that moves",
        tables=PATHS,
        rows="insert into t values (1, null, '/1'), (2, 1, '/1/2'), (3, 2, '/1/2/3')",
        triggers=(PATH, PATH_BELOW),
        write="update t set path = '/9' where id = 1; insert into t (id, up) values (4, 3)",
    ),
    Cell(
        name="soft delete",
        tables=DELETED,
        rows=DELETED_ROWS,
        triggers=(SOFT_DELETE,),
        write="delete from t where id = 1",
    ),
    Cell(
        name="soft delete of all, twice",
        tables=DELETED,
        rows=DELETED_ROWS,
        triggers=(SOFT_DELETE,),
        write="delete from t; update t set a = 'x' where id = 2; delete from t",
    ),
    Cell(
        name="soft delete with updated_at",
        tables="create table t (id GENERATED, a text, deleted integer not null default 0,"
        " updated_at integer default 0);",
        rows=DELETED_ROWS,
        triggers=(SOFT_DELETE, UPDATED_AT),
        write="delete from t where id = 1; update t set a = 'x'",
    ),
    Cell(
        name="updates that a trigger skips",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(KEEP_TWO,),
        write="update t set a = 'x'; update t set id = id + 10; update t set b = 5",
    ),
    Cell(
        name="inserts that a trigger skips",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(REFUSE_NO,),
        write="insert into t (id, a) values (3, 'no'), (4, 'yes')",
    ),
    Cell(
        name="inserts that a trigger undoes",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(UNDO_NO,),
        write="insert into t (id, a) values (4, 'yes'), (3, 'no'); delete from t where id = 2;"
        "insert into t (id, a) values (2, 'no')",
    ),
    Cell(
        name="inserts that a trigger normalises and undoes",
        tables=PLAIN,
        rows=TWO_ROWS,
        triggers=(
            Trigger(
                event="after insert",
                when="new.a = 'no'",
                body="update t set b = 9 where id = new.id; delete from t where id = new.id;",
            ),
        ),
        write="insert into t (id, a) values (3, 'no'), (4, 'yes'); delete from t where id = 1;"
        "insert into t (id, a) values (1, 'no')",
    ),
    Cell(
        name="trigger that writes another tracked table",
        tables=LOGGED,
        rows=TWO_ROWS + "insert into l values (1, 'two')",
        triggers=(LOG_INSERT, LOG_UPDATE, FORGET),
        write="insert into t (id, a) values (3, 'new'); update t set a = 'x' where id = 1;"
        "delete from t where id = 2",
    ),
    Cell(
        name="trigger that writes another tracked table first",
        tables=LOGGED,
        rows=TWO_ROWS,
        triggers=(LOG_BEFORE,),
        write="update t set a = 'x', b = 5",
    ),
    Cell(
        name="trigger that makes the parent",
        tables="create table parent (id GENERATED, code text);"
        "create table t (id GENERATED, a text, p integer references parent (id));",
        rows="insert into t values (1, 'one', null)",
        triggers=(
            Trigger(
                event="before insert",
                when="not exists (select 1 from parent where id = new.p)",
                body="insert into parent values (new.p, 'made');",
            ),
            Trigger(
                event="before update",
                when="not exists (select 1 from parent where id = new.p)",
                body="insert into parent values (new.p, 'made');",
            ),
        ),
        write="insert into t values (2, 'two', 7); update t set p = 8 where id = 1",
    ),
    Cell(
        name="trigger that keeps a sum",
        tables="create table parent (id GENERATED, total integer not null default 0);"
        "create table t (id GENERATED, p integer references parent (id) on delete cascade,"
        " amount integer not null);",
        rows="insert into parent values (1, 5), (2, 0); insert into t values (1, 1, 5)",
        triggers=(
            Trigger(
                event="after insert",
                body="update parent set total = total + new.amount where id = new.p;",
            ),
            Trigger(
                event="after delete",
                body="update parent set total = total - old.amount where id = old.p;",
            ),
            Trigger(
                event="after update",
                body="update parent set total = total - old.amount where id = old.p;"
                "update parent set total = total + new.amount where id = new.p;",
            ),
        ),
        write="insert into t values (2, 1, 7), (3, 2, 9); update t set p = 2, amount = 6 "
        "where id = 1; delete from t where id = 2; delete from parent where id = 2",
    ),
]
