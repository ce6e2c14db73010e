"""What a node's file has beside a replica's tables: who it is, and which tables log nothing."""

from __future__ import annotations

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
