"""What a node's file has beside a replica's tables: who it is, which tables log nothing, and which
ones the server does not track."""

from __future__ import annotations

import sqlite3

NODE_TABLES = (
    """
    create table if not exists reunite_dbsync_node (
        node_id integer primary key, registered text not null, registry_user_id integer,
        secret text not null, counter integer not null default 0,
        version integer not null default 0, seen integer not null default 0
    )
    """,
    "create table if not exists reunite_dbsync_quiet (table_name text primary key)",
    "create table if not exists reunite_dbsync_unshared (table_name text primary key)",
    """
    create trigger if not exists reunite_dbsync_quiet after insert on reunite_change
    when new.table_name in (select table_name from reunite_dbsync_quiet)
    begin delete from reunite_change where id = new.id; end
    """,
)


def unshared_tables(db: sqlite3.Connection) -> set[str]:
    """The tables of which the server has said that it does not track them."""
    is_there = "select 1 from sqlite_master where name = 'reunite_dbsync_unshared'"
    if db.execute(is_there).fetchone() is None:
        return set()
    return {name for (name,) in db.execute("select table_name from reunite_dbsync_unshared")}
