"""Migrations with capture switched off, for tools that its triggers would stand in the way of.

    begin   marked, capture off, witnesses on: triggers that name no column, so that any column may
            be dropped or altered, and note that a table was written
    end     what happened is read from the witnesses, capture on again, mark gone

Between the two, `reunite_meta.ddl` is -1 and every other transaction of ours is refused. The one
who migrates holds the database's migration lock, which ends with its process: whoever finds the
mark and gets the lock ends the migration in its place.

The rule         a table whose witnesses are not there any more, or have seen something, counts as
                 written: its log has a gap.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from reunite.core.schema import TableSchema
from reunite.engine.ports import TableMigration
from reunite.stores.sql import following
from reunite.stores.sql.database import Session
from reunite.stores.sql.dialects import sqlite_reflection
from reunite.stores.sql.dialects.sqlite import literal, quoted

_EVENTS = ("INSERT", "UPDATE", "DELETE")


def is_under_way(session: Session) -> bool:
    """Whether a migration has begun and not ended."""
    return bool(session.execute("SELECT 1 FROM reunite_meta WHERE name = 'migrating'"))


def begin(session: Session) -> None:
    """Switch capture off. The tables must have been followed in this transaction."""
    names = [schema.name for schema in following.tracked_schemas(session)]
    known = sqlite_reflection.trackable_tables(session.handle)
    _drop_all_triggers(session)
    session.execute("CREATE TABLE IF NOT EXISTS reunite_written (table_name TEXT PRIMARY KEY)")
    session.execute("DELETE FROM reunite_written")
    for name in names:
        for statement in _witnesses(name):
            session.execute(statement)
    session.execute(
        "INSERT OR REPLACE INTO reunite_meta (name, value) VALUES ('migrating', ?), ('ddl', -1)",
        (msgspec.json.encode(known).decode(),),
    )


def end(session: Session, *, tracks_all: bool, untracked: Collection[str]) -> list[TableMigration]:
    """Switch capture on again; what became of each table."""
    (text,) = session.execute("SELECT value FROM reunite_meta WHERE name = 'migrating'")[0]
    known = set(msgspec.json.decode(text))
    before = {schema.name: schema for schema in following.tracked_schemas(session)}
    written = {name for name in before if not _is_untouched(session, name)}
    _drop_all_triggers(session)
    session.execute("DROP TABLE IF EXISTS reunite_written")
    session.execute("DELETE FROM reunite_meta WHERE name = 'migrating'")
    following.follow(session, gaps=written.__contains__, tracks_all=tracks_all, untracked=untracked)
    after = {schema.name: schema for schema in following.tracked_schemas(session)}
    found = [_became(before[name], after.get(name), name in written) for name in before]
    made = sqlite_reflection.trackable_tables(session.handle)
    found += [
        TableMigration(table=name, what="new")
        for name in made
        if name not in known and name not in before
    ]
    return found


def _became(before: TableSchema, after: TableSchema | None, is_written: bool) -> TableMigration:
    if after is None:
        return TableMigration(table=before.name, what="gone")
    if after.shape == before.shape:
        return TableMigration(table=before.name, what="written" if is_written else "unchanged")
    return TableMigration(
        table=before.name,
        what="changed",
        version=after.version,
        added=tuple(name for name in after.column_names if name not in before.position),
        removed=tuple(name for name in before.column_names if name not in after.position),
    )


def _witnesses(table: str) -> list[str]:
    """The triggers that note that a table was written, whatever its columns are called."""
    return [
        f"CREATE TRIGGER {quoted(f'reunite_{table}_written_{event.lower()}')} "
        f"BEFORE {event} ON {quoted(table)} BEGIN "
        f"INSERT OR IGNORE INTO reunite_written (table_name) VALUES ({literal(table)}); END"
        for event in _EVENTS
    ]


def _is_untouched(session: Session, table: str) -> bool:
    """Whether a table's witnesses have been there all the time and have seen nothing."""
    if session.execute("SELECT 1 FROM reunite_written WHERE table_name = ?", (table,)):
        return False
    there = session.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", (table,)
    )
    return {sql for (sql,) in there}.issuperset(_witnesses(table))


def _drop_all_triggers(session: Session) -> None:
    for (name,) in session.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' "
        "AND name LIKE 'reunite\\_%' ESCAPE '\\'"
    ):
        session.execute(f"DROP TRIGGER {quoted(name)}")
