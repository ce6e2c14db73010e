"""Tracking what can be tracked: every table with a primary key, as the database has it now.

A table that a program tracks already keeps the policies that the program chose.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from reunite.cli.opening import Kind, kind_of, shown
from reunite.cli.screen import counted
from reunite.core.schema import ColumnMerge, TableSchema
from reunite.directory.noting import TRACKED, UNTRACKED, Act, acting_by, keep_acts
from reunite.engine.remembered import ActRecord
from reunite.errors import BadRequestError, CallerError, UntrackableTableError
from reunite.hub import Hub
from reunite.stores.sql.database import connect_to_look
from reunite.stores.sql.dialects.sqlite_reflection import all_tables, rows_without_key
from reunite.stores.sql.store import is_postgresql, open_store


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """The tables that a hub offers, and why it does not offer the others, or all of their rows."""

    tables: tuple[str, ...]
    left_out: dict[str, str]
    without_key: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


# By table: columns to track although they look like secrets.
Included: TypeAlias = Mapping[str, Sequence[str]]
_NOTHING: Included = MappingProxyType({})


def hub_over(
    path: str | Path, *, keep: timedelta | None = None, include: Included = _NOTHING
) -> tuple[Hub, Tracked]:
    """A hub over this database that tracks all it can. Raises CallerError if that is nothing."""
    if kind_of(path) is Kind.REPLICA:
        raise CallerError(
            f"{path} is a replica, and only a hub can be served: name the hub's database."
        )
    hub = Hub(path, keep=keep)
    try:
        return hub, track_file(hub, path, include)
    except BaseException:
        hub.close()
        raise


def track_file(hub: Hub, path: str | Path, include: Included = _NOTHING) -> Tracked:
    """Track every table of the database that can be tracked, with these columns, too. Raises
    BadRequestError for tables and columns that there are not."""
    is_hub = kind_of(path) is Kind.HUB
    known = {schema.name: schema for schema in hub.adopt()} if is_hub else {}
    if is_hub:
        check_policies(hub)
    tables, left_out = [], {}
    there = tables_of(path)
    if unknown := include.keys() - set(there):
        raise BadRequestError(f"There is no table {min(unknown)!r} here to include a column of.")
    for table in there:
        try:
            if table in known:
                _track_again(hub, known[table], include.get(table, ()))
            else:
                hub.track_found(table, include=include.get(table))
                _note_return(hub, table)
            tables.append(table)
        except UntrackableTableError as error:
            left_out[table] = error.message
    if not tables:
        reasons = " ".join(left_out.values()) or "It has no tables: create some first."
        raise UntrackableTableError(f"Nothing in {shown(path)} can be tracked. {reasons}")
    hub.track_newcomers()
    return Tracked(
        tables=tuple(tables),
        left_out=left_out,
        without_key=tuple(_without_key(path, [known[name] for name in tables if name in known])),
        withheld=tuple(
            f"{table}.{column}"
            for table, columns in sorted(hub.withheld().items())
            for column in columns
            if table in known  # of others the log has just told
        ),
    )


def _note_return(hub: Hub, table: str) -> None:
    """Say among what administrators did that a table is tracked again which one of them left
    out."""
    inside = hub.workings
    with inside.store.read() as tx:
        left, tracked = (
            next((one.id for one in tx.latest(ActRecord, limit=1, what=what, about=table)), "")
            for what in (UNTRACKED, TRACKED)
        )
    if left > tracked:
        with inside.store.write() as tx, acting_by("reunite serve"):
            now_ms = inside.clock.now_ms()
            keep_acts(tx, [Act(TRACKED, table)], at_ms=now_ms, new_id=inside.new_id())


def without_key_sentences(
    connection: sqlite3.Connection, schemas: Iterable[TableSchema]
) -> Iterator[str]:
    """Which rows reach no replica since there is a NULL in their key, a sentence a table."""
    for schema in schemas:
        count = rows_without_key(connection, schema)
        if count:
            rows = counted(count, "row has", "rows have")
            yield (
                f"{schema.name}: {rows} NULL in the key ({', '.join(schema.key)}) and cannot reach "
                "replicas: give each a key, or delete it. The rest of the table goes on syncing."
            )


def _without_key(path: str | Path, schemas: Sequence[TableSchema]) -> list[str]:
    if is_postgresql(path):
        return []
    with closing(connect_to_look(path)) as connection:
        return list(without_key_sentences(connection, schemas))


def tables_of(path: str | Path) -> list[str]:
    """The application's own tables in this database."""
    if is_postgresql(path):
        with open_store(path) as store:
            return store.all_tables()
    with closing(connect_to_look(path)) as connection:
        return all_tables(connection)


def check_policies(hub: Hub) -> None:
    """Raises CallerError for a hub that needs a program's code to decide."""
    for table, policy in hub.missing_policies().items():
        raise CallerError(
            f"The policy {policy} of {table} is code of a Python program: serve this hub from that "
            "program, with `hub.serve()`."
        )


def _track_again(hub: Hub, schema: TableSchema, include: Sequence[str]) -> None:
    """Renew a table's triggers, and keep its policies and its columns as they are, but for those
    to include."""
    policies = {}
    for column in schema.columns:
        if column.merge is ColumnMerge.CUSTOM:
            raise CallerError(
                f"{schema.name}.{column.name} is merged by a function of a Python program: "
                "serve this hub from that program, with `hub.serve()`."
            )
        if column.merge is not ColumnMerge.LAST_WRITER:
            policies[column.name] = column.merge
    hub.track(
        schema.name,
        merge=policies,
        rows=schema.rows,
        generated_key=schema.generated_key,
        include=[*(schema.column_names if include else ()), *include] or None,
    )
