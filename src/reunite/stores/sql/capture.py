"""Capture: triggers that log every write of a tracked table, whoever makes it.

Used by the hub for its log and by a replica for its outbox; the same triggers, but an outbox also
gets the row after, and its triggers rest while `reunite_guard.suspended` is not 0.

The rule         triggers are made and removed inside the caller's transaction, so no write of
                 another program falls between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from reunite.core.schema import TableSchema
from reunite.stores.sql.dialects import sqlite_capture
from reunite.stores.sql.dialects.sqlite import widen_log
from reunite.stores.sql.dialects.sqlite_reflection import table_details
from reunite.stores.sql.quoting import quoted


def trigger_statements(
    connection: sqlite3.Connection, schema: TableSchema, *, outbox: bool
) -> list[str]:
    """The statements that make the triggers of a table, which must exist in the database."""
    details = table_details(connection, schema.name)
    return sqlite_capture.trigger_statements(schema, details, outbox=outbox)


def drop_statements(connection: sqlite3.Connection, table: str) -> list[str]:
    """The statements that remove our triggers from a table, whatever it was called before."""
    return [f"DROP TRIGGER {quoted(name)}" for name, _ in _triggers(connection, table)]


def is_captured(connection: sqlite3.Connection, schema: TableSchema) -> bool:
    """Whether a hub's table has the triggers it should have: then nothing has escaped them."""
    texts = {sql for _, sql in _triggers(connection, schema.name)}
    return texts == set(trigger_statements(connection, schema, outbox=False))


def create_triggers(connection: sqlite3.Connection, schema: TableSchema, *, outbox: bool) -> None:
    """Make the triggers of a table, in place of those of ours it has. Nothing if they are right:
    the same texts, and younger than the user's own, for SQLite fires the youngest first."""
    wanted = trigger_statements(connection, schema, outbox=outbox)
    texts = {sql for _, sql in _triggers(connection, schema.name)}
    if texts == set(wanted) and _are_youngest(connection, schema.name):
        return
    drop_triggers(connection, schema.name)
    if not outbox:
        widen_log(connection, len(schema.columns))
    for statement in wanted:
        connection.execute(statement)


def renew_outbox_triggers(connection: sqlite3.Connection, schemas: Iterable[TableSchema]) -> None:
    """Make the triggers of a replica's tables as they should be now. After its unique indexes have
    changed, too: the triggers look there for the rows that a statement overwrites."""
    for schema in schemas:
        create_triggers(connection, schema, outbox=True)


def drop_triggers(connection: sqlite3.Connection, table: str) -> None:
    """Take our triggers off a table, and off one that has taken them along under another name."""
    for statement in drop_statements(connection, table):
        connection.execute(statement)
    for name in sqlite_capture.trigger_names(table):
        connection.execute(f"DROP TRIGGER IF EXISTS {quoted(name)}")


def _are_youngest(connection: sqlite3.Connection, table: str) -> bool:
    oldest_of_ours, youngest_of_others = connection.execute(
        "SELECT min(rowid) FILTER (WHERE name LIKE 'reunite\\_%' ESCAPE '\\'), "
        "max(rowid) FILTER (WHERE name NOT LIKE 'reunite\\_%' ESCAPE '\\') "
        "FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?",
        (table,),
    ).fetchone()
    return youngest_of_others is None or oldest_of_ours > youngest_of_others


def _triggers(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    """Name and text of our triggers on a table."""
    return connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? "
        "AND name LIKE 'reunite\\_%' ESCAPE '\\'",
        (table,),
    ).fetchall()
