"""reunite's own tables in a replica file, beside the application's and the outbox's.

reunite_change    the outbox (made by `stores/sql/capture.py`, filled by triggers)
reunite_group     which of it was one local transaction of reunite's own
reunite_range     groups that are numbered, and perhaps answered, without a word in their rows; the
                  view `reunite_outbox` shows the outbox with both
reunite_base      the hub's image of rows with pending changes, where a page brought one; none
                  for a row that is gone, or evicted
reunite_inbox     pages that wait for their checkpoint; with a negative id those of a table that a
                  repair is still fetching whole, which are nothing before it has all of them
reunite_state     identity, cursor, numbers: one row a name, JSON values
reunite_conflict  what the hub decided where two values met
reunite_parked    rejected changes, with the reason, until someone retries or discards them
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from reunite.errors import NewerLayoutError
from reunite.replica import ranges

# Raised when a table below, the outbox or the text of a trigger changes. A file's version is in
# `reunite_state`, as `layout`.
LAYOUT_VERSION = 2

# What leads from a version to the next; every version but the first has an entry. A file is one
# program's at a time, so an older release need not work on a newer file, and refuses it.
LAYOUT_STEPS: Mapping[int, tuple[str, ...]] = MappingProxyType({1: ranges.LAYOUT})

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
        is_evicted integer not null default 0, primary key (table_name, key)
    ) without rowid
    """,
    """
    create table if not exists reunite_inbox (id integer primary key, page blob not null)
    """,
    """
    create table if not exists reunite_conflict (
        id integer primary key autoincrement, uid text not null, n integer not null,
        table_name text not null, key text not null, column_name text, base text, hub text,
        replica text, result text, policy text not null, is_open integer not null,
        at_ms integer not null, decided text
    )
    """,
    """
    create table if not exists reunite_parked (
        id integer primary key autoincrement, uid text not null, n integer not null,
        table_name text not null, op text not null, key text not null, old_key text, old text,
        row text, stamp text not null, at_ms integer not null, code text not null,
        reason text not null, columns text not null
    )
    """,
    *ranges.LAYOUT,
)


def note_layout(connection: sqlite3.Connection) -> None:
    """Say in which version a new file's tables are. In the caller's transaction."""
    connection.execute(
        "insert or ignore into reunite_state (name, value) values ('layout', ?)",
        (str(LAYOUT_VERSION),),
    )


def has_older_layout(connection: sqlite3.Connection) -> bool:
    """Whether the file's tables are as an older release made them. Raises NewerLayoutError."""
    return _version_of(connection) < LAYOUT_VERSION


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Run the steps that lead from the file's version to ours, in a transaction of their own.

    Raises NewerLayoutError if a newer reunite made the tables.
    """
    if not has_older_layout(connection):
        return
    connection.execute("begin immediate")
    try:
        for version in range(_version_of(connection), LAYOUT_VERSION):
            for statement in LAYOUT_STEPS[version]:
                connection.execute(statement)
        connection.execute(
            "insert or replace into reunite_state (name, value) values ('layout', ?)",
            (str(LAYOUT_VERSION),),
        )
        connection.execute("commit")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _version_of(connection: sqlite3.Connection) -> int:
    row = connection.execute("select value from reunite_state where name = 'layout'").fetchone()
    found = 1 if row is None else int(row[0])
    if found > LAYOUT_VERSION:
        raise NewerLayoutError(
            f"reunite's tables in this file have layout {found}, which a newer release made; this "
            f"one knows {LAYOUT_VERSION}. Upgrade reunite here."
        )
    return found
