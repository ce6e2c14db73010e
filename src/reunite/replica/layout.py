"""reunite's own tables in a replica file, beside the application's and the outbox's.

reunite_change    the outbox (made by `stores/sql/capture.py`, filled by triggers)
reunite_group     ranges of it that were one local transaction of reunite's own
reunite_base      the hub's image of rows with pending changes, where a page brought one
reunite_inbox     pages that wait for their checkpoint
reunite_state     identity, cursor, numbers: one row a name, JSON values
reunite_conflict  what the hub decided where two values met
reunite_parked    rejected changes, with the reason, until someone retries or discards them
"""

from __future__ import annotations

LAYOUT = (
    """
    create table if not exists reunite_state (name text primary key, value text not null)
    """,
    """
    create table if not exists reunite_schema (
        table_name text not null, version integer not null, schema text not null,
        primary key (table_name, version)
    ) without rowid
    """,
    """
    create table if not exists reunite_group (
        first_id integer primary key, last_id integer not null, at_ms integer not null
    )
    """,
    """
    create table if not exists reunite_base (
        table_name text not null, key text not null, row text,
        primary key (table_name, key)
    ) without rowid
    """,
    """
    create table if not exists reunite_inbox (id integer primary key, page blob not null)
    """,
    """
    create table if not exists reunite_conflict (
        id integer primary key, uid text not null, n integer not null, table_name text not null,
        key text not null, column_name text, base text, hub text, replica text, result text,
        rule text not null, is_open integer not null, at_ms integer not null, decided text
    )
    """,
    """
    create table if not exists reunite_parked (
        id integer primary key, uid text not null, n integer not null, table_name text not null,
        op text not null, key text not null, old_key text, old text, row text, stamp text not null,
        at_ms integer not null, code text not null, reason text not null, columns text not null
    )
    """,
)
