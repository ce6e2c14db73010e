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
from reunite.stores.sql.ports import Session
from reunite.stores.sql.versions import set_meta

# In `reunite_meta` while a migration is under way.
MARK = "migrating"


def is_under_way(session: Session) -> bool:
    """Whether a migration has begun and not ended."""
    return bool(session.execute(f"SELECT 1 FROM reunite_meta WHERE name = '{MARK}'"))


def begin(session: Session) -> None:
    """Switch capture off. The tables must have been followed in this transaction."""
    names = [schema.name for schema in following.tracked_schemas(session)]
    known = session.dialect.trackable_tables(session)
    session.dialect.suspend_capture(session, names)
    set_meta(session, **{MARK: msgspec.json.encode(known).decode()}, ddl=-1)


def end(session: Session, *, tracks_all: bool, untracked: Collection[str]) -> list[TableMigration]:
    """Switch capture on again; what became of each table."""
    (text,) = session.execute(f"SELECT value FROM reunite_meta WHERE name = '{MARK}'")[0]
    known = set(msgspec.json.decode(text))
    before = {schema.name: schema for schema in following.tracked_schemas(session)}
    written = session.dialect.end_suspension(session, list(before))
    session.execute(f"DELETE FROM reunite_meta WHERE name = '{MARK}'")
    following.follow(session, gaps=written.__contains__, tracks_all=tracks_all, untracked=untracked)
    after = {schema.name: schema for schema in following.tracked_schemas(session)}
    found = [_became(before[name], after.get(name), name in written) for name in before]
    made = session.dialect.trackable_tables(session)
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
