"""Capture on SQLite beside the matrix: what reunite does with triggers, its own and the user's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from reunite.core.change import Op
from reunite.stores.sql import open_store
from reunite.stores.sql.capture import create_triggers
from reunite.stores.sql.database import connect_sqlite
from reunite.stores.sql.dialects.sqlite_reflection import reflect
from reunite.stores.sql.layout import outbox_layout

PLAIN = "create table t (id integer primary key, a text, b integer);"
TWO_ROWS = "insert into t values (1, 'one', 1), (2, 'two', 2);"


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
        with closing(open_store(tmp_path / "hub.db")) as store:
            store.track([store.reflect("t")])
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
