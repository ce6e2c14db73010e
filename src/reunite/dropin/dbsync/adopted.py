"""What a node that dbsync wrote had not pushed, and can only be made again on the server's rows.

dbsync's log has no values: of an update it says that there was one, of a delete the key. What was
replaced is known when the server's rows are here. So the first sync call

    keeps the values that updated rows have ─► pulls ─► writes and deletes again, as a program does

The rule         an entry goes in the transaction that makes it again, so a crash loses none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, Table, text
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import Session

from reunite.core.key import parse_key
from reunite.dropin.dbsync.codec import key_of, object_of, row_of

# What a node's file has beside a replica's tables: who it is, and which tables log nothing.
NODE_TABLES = (
    """
    create table if not exists reunite_dbsync_node (
        node_id integer primary key, registered text not null, registry_user_id integer,
        secret text not null, counter integer not null default 0,
        version integer not null default 0, seen integer not null default 0
    )
    """,
    "create table if not exists reunite_dbsync_quiet (table_name text primary key)",
    """
    create trigger if not exists reunite_dbsync_quiet after insert on reunite_change
    when new.table_name in (select table_name from reunite_dbsync_quiet)
    begin delete from reunite_change where id = new.id; end
    """,
)

_LAYOUT = """
    create table if not exists reunite_dbsync_deferred (
        table_name text not null, key text not null, op text not null, row text,
        primary key (table_name, key)
    )
"""


def defer(connection: sqlite3.Connection, entries: Iterable[tuple[str, str, str]]) -> None:
    """Note updates and deletes, as (table, key, op), to be made again."""
    connection.execute(_LAYOUT)
    connection.executemany(
        "insert or replace into reunite_dbsync_deferred values (?, ?, ?, null)", entries
    )


class Deferred:
    """The entries of one file. `models` are those of its tables; entries of others wait, and so do
    those of tables that no class is mapped to."""

    def __init__(self, engine: Engine, models: Mapping[str, Any]) -> None:
        self._engine = engine
        self._models = {
            name: model for name, model in models.items() if not isinstance(model, Table)
        }

    @staticmethod
    def places(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
        """Table, key and operation of each."""
        is_there = "select 1 from sqlite_master where name = 'reunite_dbsync_deferred'"
        if db.execute(is_there).fetchone() is None:
            return []
        return db.execute("select table_name, key, op from reunite_dbsync_deferred").fetchall()

    def _read(self, session: Session) -> list[Any]:
        connection: Any = session.connection().connection.driver_connection
        if not self.places(connection):
            return []
        question = text("select table_name, key, op, row from reunite_dbsync_deferred")
        return [row for row in session.execute(question) if row.table_name in self._models]

    def is_any(self) -> bool:
        """Whether something is to be made again."""
        with Session(self._engine) as session:
            return bool(self._read(session))

    def keep_values(self) -> None:
        """Write down what updated rows are, before a pull shows the server's; a row that is gone
        by now has a change of its own."""
        with Session(self._engine) as session:
            for entry in self._read(session):
                if entry.op != "update" or entry.row is not None:
                    continue
                model = self._models[entry.table_name]
                obj: Any = session.get(model, key_of(model, parse_key(entry.key)))
                if obj is None:
                    self._forget(session, entry)
                    continue
                session.execute(
                    text(
                        "update reunite_dbsync_deferred set row = :row "
                        "where table_name = :table and key = :key"
                    ),
                    {"row": json.dumps(row_of(obj)), "table": entry.table_name, "key": entry.key},
                )
            session.commit()

    def make_again(self) -> None:
        """Write updated rows over the server's, and delete again."""
        with Session(self._engine) as session:
            for entry in self._read(session):
                model = self._models[entry.table_name]
                obj: Any = session.get(model, key_of(model, parse_key(entry.key)))
                if entry.op == "delete":
                    if obj is not None:
                        session.delete(obj)
                elif entry.row is not None:
                    attributes: Any = inspect(model).column_attrs
                    wanted = object_of(model, json.loads(entry.row))
                    if obj is None:
                        session.add(wanted)
                    else:
                        for attribute in attributes:
                            setattr(obj, attribute.key, getattr(wanted, attribute.key))
                self._forget(session, entry)
            session.commit()

    def _forget(self, session: Session, entry: Any) -> None:
        session.execute(
            text("delete from reunite_dbsync_deferred where table_name = :table and key = :key"),
            {"table": entry.table_name, "key": entry.key},
        )
