"""Following migrations: tracked tables as the database declares them now, captured again.

    shape       columns, key, foreign keys: how rows are written; another one is the next version
    the rest    policies and unique constraints: travel with the schema, rows stay as they are
    triggers    the texts that capture needs; if they were others, something may have escaped them:
                that begins another generation, and replicas compare their rows

`reunite_meta.ddl` is what the dialect's `ddl` said when all of this was last right: SQLite's
schema_version, a sum of PostgreSQL's catalogue. It moves with every CREATE, ALTER and DROP of any
program, so a transaction of ours that finds the same finds the same tables, and one that finds
another looks at them before it does anything else.

The rule         comparing, making triggers and noting happen in one write transaction: no program
                 can write a tracked table, or change it, in between.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Any, TypedDict

import msgspec

from reunite.core.schema import TYPES_BY_MERGE, Column, ColumnMerge, TableSchema
from reunite.core.withheld import check_key_tells_nothing, withheld_sentence, without_secrets
from reunite.errors import UnknownTableError, UntrackableTableError
from reunite.stores.sql.ports import Session
from reunite.stores.sql.versions import (
    bring_up_to_date,
    is_laid_out,
    new_epoch,
    parse_meta,
    read_meta,
    set_meta,
)

logger = logging.getLogger("reunite.hub")

# Random, so that a hub restored from a backup does not give one twice.
GENERATION_BYTES = 4

_encode_schema = msgspec.json.Encoder().encode
_decode_schema = msgspec.json.Decoder(TableSchema).decode


class FollowOptions(TypedDict):
    """Whether tables that come are tracked as well, and which of them are not."""

    tracks_all: bool
    untracked: Collection[str]


def look(session: Session) -> tuple[dict[str, Any], bool]:
    """What `reunite_meta` holds, and whether nothing was created, altered or dropped since
    `note_ddl` and reunite's own tables are in our version. Two small reads at most. Raises
    NewerLayoutError, and CallerError if there is no `reunite_meta`."""
    found, ddl = session.dialect.meta(session)
    meta = parse_meta(found)
    return meta, is_laid_out(meta) and meta.get("ddl") == ddl


def is_current(session: Session) -> bool:
    """The second half of `look`."""
    return look(session)[1]


def note_ddl(session: Session) -> None:
    """All tracked tables are as they should be; catalogues of what they were are out of date."""
    edition = read_meta(session)["edition"] + 1
    set_meta(session, edition=edition, ddl=session.dialect.ddl(session))


def follow(
    session: Session,
    *,
    gaps: Callable[[str], bool] | None = None,
    tracks_all: bool = False,
    untracked: Collection[str] = (),
) -> None:
    """Bring every tracked table's schema and triggers up to date; give up those that are gone, or
    can be tracked no longer. Raises NewerLayoutError.

    gaps          tells of which tables something may have escaped; by default that of those that
                  do not have the triggers which they should have
    tracks_all    track tables that have come as well, but those in `untracked`
    """
    dialect = session.dialect
    dialect.lock_layout(session)
    bring_up_to_date(session)
    _settle_in(session)
    found = []
    for before in list(tracked_schemas(session)):
        try:
            now = _offered(session, before.name, named=before.column_names)
            if gaps is None:
                gap = not dialect.is_captured(session, before)
            else:
                gap = gaps(before.name)
        except (UnknownTableError, UntrackableTableError):
            give_up(session, before.name)
        else:
            found.append((with_policies(now, before), gap))
    if tracks_all:
        found += _newcomers(session, {schema.name for schema, _ in found} | set(untracked))
    # Not before all are looked at: tables that swapped their names have each other's triggers.
    for schema, gap in found:
        kept = remember(session, schema, has_gap=gap)
        dialect.create_triggers(session, kept)
    note_ddl(session)


def _settle_in(session: Session) -> None:
    """Begin another epoch if the database was restored into another place."""
    identity = session.dialect.identity(session)
    if read_meta(session).get("identity", identity) != identity:
        session.dialect.renew(session)
        set_meta(session, epoch=new_epoch(), identity=identity)


def _newcomers(session: Session, known: set[str]) -> list[tuple[TableSchema, bool]]:
    """The tables that can be tracked and are not known, with whether they were tracked once."""
    found = []
    for name in session.dialect.trackable_tables(session):
        if name not in known:
            try:
                schema = _offered(session, name)
                check_key_tells_nothing(schema)
                session.dialect.check_trackable(session, schema)
            except UntrackableTableError as error:
                _tell_once(name, error.message)
            else:
                found.append((schema, has_gap(session, name)))
    return found


@lru_cache(maxsize=1_000)
def _tell_once(name: str, reason: str) -> None:
    """Say why a table is passed over, once in a process."""
    logger.warning("%s is left out: %s", name, reason)


def _offered(session: Session, table: str, *, named: Collection[str] = ()) -> TableSchema:
    """A table as it is now, with those columns that look like secrets which it was tracked with."""

    def key_of(parent: str) -> Collection[str]:
        try:
            return session.dialect.reflect(session, parent).key
        except (UnknownTableError, UntrackableTableError):
            return ()

    found = session.dialect.reflect(session, table)
    offered, columns = without_secrets(found, named=named, key_of=key_of)
    if columns:
        _tell_of_columns_once(read_meta(session)["epoch"], withheld_sentence(table, columns))
    return offered


@lru_cache(maxsize=1_000)
def _tell_of_columns_once(epoch: str, sentence: str) -> None:
    """Say what is withheld in a hub's database, once in a process."""
    logger.warning("%s", sentence)


def tracked_schemas(session: Session) -> Iterator[TableSchema]:
    """The tracked tables, each as it was when last looked at."""
    for (text,) in session.execute(
        "SELECT schema FROM reunite_schema WHERE is_tracked ORDER BY table_name"
    ):
        yield _decode_schema(text)


def give_up(session: Session, table: str) -> bool:
    """Stop tracking; whether the table was tracked. Its log and its versions stay."""
    was_tracked = session.execute(
        "UPDATE reunite_schema SET is_tracked = false WHERE table_name = ? AND is_tracked "
        "RETURNING 1",
        (table,),
    )
    session.dialect.drop_triggers(session, table)
    return bool(was_tracked)


def has_gap(session: Session, table: str) -> bool:
    """Whether the table was tracked once and its triggers have not been there ever since."""
    rows = session.execute(
        "SELECT schema, is_tracked FROM reunite_schema WHERE table_name = ? "
        "ORDER BY version DESC LIMIT 1",
        (table,),
    )
    if not rows:
        return False
    text, is_tracked = rows[0]
    return not (is_tracked and session.dialect.is_captured(session, _decode_schema(text)))


def remember(session: Session, schema: TableSchema, *, has_gap: bool) -> TableSchema:
    """Store a schema as the current one of its table; it comes back with its version, and after a
    gap in capture with a generation that was never there."""
    rows = session.execute(
        "SELECT schema FROM reunite_schema WHERE table_name = ? ORDER BY version DESC LIMIT 1",
        (schema.name,),
    )
    version, generation = 1, ""
    if rows:
        last = _decode_schema(rows[0][0])
        version = last.version + (last.shape != schema.shape)
        generation = secrets.token_hex(GENERATION_BYTES) if has_gap else last.generation
    schema = msgspec.structs.replace(schema, version=version, generation=generation)
    session.execute(
        "UPDATE reunite_schema SET is_tracked = false WHERE table_name = ? AND version <> ?",
        (schema.name, version),
    )
    session.execute(
        "INSERT INTO reunite_schema (table_name, version, schema, is_tracked) "
        "VALUES (?, ?, ?, true) ON CONFLICT (table_name, version) "
        "DO UPDATE SET schema = excluded.schema, is_tracked = true",
        (schema.name, version, _encode_schema(schema).decode()),
    )
    if has_gap:
        # What the log says of a table's rows counts from its last gap on; `doctor` asks.
        (last_id,) = session.execute("SELECT coalesce(max(id), 0) FROM reunite_change")[0]
        set_meta(session, **{f"gap:{schema.name}": last_id})
    return schema


def with_policies(now: TableSchema, before: TableSchema) -> TableSchema:
    """The table as it is now, with the policies that it was tracked with, where they still have a
    meaning."""

    def policy(column: Column) -> ColumnMerge:
        former = before.column.get(column.name)
        if former is None or column.name in now.key:
            return column.merge
        types = TYPES_BY_MERGE.get(former.merge)
        return former.merge if types is None or column.type in types else column.merge

    was_generated = before.generated_key or now.key != before.key
    return msgspec.structs.replace(
        now,
        version=before.version,
        rows=before.rows,
        generated_key=now.generated_key and was_generated,
        columns=tuple(
            msgspec.structs.replace(column, merge=policy(column)) for column in now.columns
        ),
    )
