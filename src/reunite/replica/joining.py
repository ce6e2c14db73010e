"""Joining: a file that has tables and rows already becomes a replica of a hub with such tables.

    file with tables ─► reunite's tables, triggers, every row as a pending insert
    first push       ─► the hub does not know the replica: it gets an identity, and the inserts go
    first pull       ─► all rows of the hub; what was pending is merged on top

What it is       for files that were there before the hub: a database of another sync, or a program
                 that is offered sync after years.
What it is not   a clone: nothing is fetched here, and nothing that the file holds is lost.
The rule         one transaction; a row is pending from the moment on in which it is captured.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from reunite.core.key import Key, key_text
from reunite.core.schema import TableSchema
from reunite.errors import CallerError
from reunite.replica import ranges
from reunite.replica.file import refuse_hub, transaction
from reunite.replica.layout import LAYOUT, note_layout
from reunite.replica.rows import RowForms
from reunite.replica.squashing import forget_pending
from reunite.replica.state import State, load_state, save_changes
from reunite.stores.sql.capture import drop_triggers, renew_outbox_triggers
from reunite.stores.sql.database import connect_sqlite, translated
from reunite.stores.sql.dialects.sqlite_reflection import check_keys_have_no_null, reflect
from reunite.stores.sql.layout import outbox_layout
from reunite.stores.sql.quoting import quoted

_PENDING = """
    insert into reunite_change (table_name, op, key, row, schema) values (?, 'insert', ?, ?, ?)
"""


def join(
    path: Path,
    tables: Iterable[str],
    *,
    silent: Collection[str] = (),
    pending: Mapping[str, Collection[Key]] | None = None,
    then: Callable[[sqlite3.Connection], None] | None = None,
) -> list[TableSchema]:
    """Make a file a replica of these tables, which must be in it, with their rows as pending
    inserts; nothing for those that it is a replica of already. The schemas of all.

    silent      tables whose rows are not the hub's business
    pending     the keys of the rows that the hub does not know, where it knows the others
    then        done in the same transaction

    Raises UnknownTableError, UntrackableTableError, and CallerError for a hub's database.
    """
    with translated(), closing(connect_sqlite(path)) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master")}
        refuse_hub(path, names)
        connection.execute("pragma journal_mode = wal").fetchall()
        with transaction(connection):
            for statement in (*outbox_layout(), *LAYOUT):
                connection.execute(statement)
            note_layout(connection)
            state = load_state(connection)
            before = msgspec.structs.replace(state)
            for schema in _join(connection, state, sorted(set(tables))):
                if schema.name not in silent:
                    keys = None if pending is None else pending.get(schema.name, ())
                    _make_pending(connection, schema, keys)
            save_changes(connection, before, state)
            if then is not None:
                then(connection)
        return list(state.schemas)


def part(path: Path, tables: Collection[str]) -> None:
    """Make some of a replica's tables ordinary ones, which its hub has not: their rows stay, what
    is pending of them goes. To `join` them later makes all of their rows pending."""
    with translated(), closing(connect_sqlite(path)) as connection, transaction(connection):
        state = load_state(connection)
        before = msgspec.structs.replace(state)
        ranges.spread(connection)
        for name in tables:
            drop_triggers(connection, name)
            connection.execute("delete from reunite_base where table_name = ?", (name,))
            connection.execute(
                "delete from reunite_change where table_name = ? and n <= ?", (name, state.known_n)
            )
        forget_pending(connection, state, tables, after_n=state.known_n)
        state.schemas = tuple(each for each in state.schemas if each.name not in tables)
        state.tables = tuple(schema.name for schema in state.schemas)
        save_changes(connection, before, state)


def leave(path: Path) -> None:
    """Make a replica's file an ordinary one: its rows stay, what is pending goes."""
    with translated(), closing(connect_sqlite(path)) as connection, transaction(connection):
        ours = connection.execute(
            "select type, name from sqlite_schema where type in ('view', 'trigger', 'table') "
            "and name like 'reunite\\_%' escape '\\' order by type desc"
        ).fetchall()
        for kind, name in ours:
            connection.execute(f"drop {kind} if exists {quoted(name)}")


def _join(connection: sqlite3.Connection, state: State, tables: Sequence[str]) -> list[TableSchema]:
    """Note the tables that are new, which are given."""
    if state.tables is None and state.is_ready:
        raise CallerError("This replica has all tables of its hub already.")
    known = {schema.name for schema in state.schemas}
    new = [reflect(connection, name) for name in tables if name not in known]
    for schema in new:
        check_keys_have_no_null(connection, schema)
        connection.execute(
            "insert or replace into reunite_schema (table_name, version, schema) values (?, ?, ?)",
            (schema.name, schema.version, msgspec.json.encode(schema).decode()),
        )
    state.schemas = tuple(sorted((*state.schemas, *new), key=lambda schema: schema.name))
    state.tables = tuple(schema.name for schema in state.schemas)
    state.is_ready = True
    renew_outbox_triggers(connection, new)
    return new


def _make_pending(
    connection: sqlite3.Connection, schema: TableSchema, keys: Collection[Key] | None
) -> None:
    """Note rows as inserts: all, or those with these keys."""
    forms = RowForms({schema.name: schema}, {})
    connection.executemany(
        _PENDING,
        (
            (
                schema.name,
                key_text(schema.key_of(row)),
                msgspec.json.encode(row).decode(),
                schema.version,
            )
            for row in forms.read_all(connection, schema)
            if keys is None or schema.key_of(row) in keys
        ),
    )
