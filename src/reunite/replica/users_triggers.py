"""The user's own triggers in a replica rest while reunite writes rows there.

What a page brings is what the hub has, with what its triggers made of it: a second `updated_at`
would change it again, a soft delete would keep what is gone. So the triggers are taken off and
made anew in the same transaction; no other program sees the tables without them.

The rule         a trigger that names `reunite_guard` decides for itself and is left alone: a
                 search index wants the hub's rows too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from reunite.stores.sql.quoting import quoted

_TRIGGERS = """
    select tbl_name, name, sql from sqlite_master
    where type = 'trigger' and name not like 'reunite\\_%' escape '\\'
      and sql not like '%reunite\\_guard%' escape '\\'
    order by rowid
"""
_ANY = """
    select exists (
        select 1 from sqlite_master
        where type = 'trigger' and name not like 'reunite\\_%' escape '\\'
    )
"""


class UsersTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger that is not ours, and the statement that makes it."""

    table: str
    name: str
    sql: str


def are_there(connection: sqlite3.Connection) -> bool:
    """Whether the file has any triggers but ours."""
    return bool(connection.execute(_ANY).fetchone()[0])


def rest(connection: sqlite3.Connection, tables: Collection[str]) -> list[UsersTrigger]:
    """Take the user's triggers off these tables; what `wake` needs. One read if there are none."""
    spelled = {table.lower(): table for table in tables}
    found = [
        UsersTrigger(table=spelled[table.lower()], name=name, sql=sql)
        for table, name, sql in connection.execute(_TRIGGERS).fetchall()
        if table.lower() in spelled
    ]
    for trigger in found:
        connection.execute(f"drop trigger {quoted(trigger.name)}")
    return found


def wake(connection: sqlite3.Connection, triggers: Sequence[UsersTrigger]) -> None:
    """Make them anew, in the order in which they were made."""
    for trigger in triggers:
        connection.execute(trigger.sql)
