"""Erasure: what the hub knows of a row goes, from the table, the log and the outcomes.

    the row, if it is there ──► deleted, as any program would; cascades go with it
    what the log has of it, and of rows that the cascade took ──► entries without images
    outcomes with conflicts about it ──► outcomes without values
    which views had shown it ──► kept, because nobody could tell any more whom to tell

What it is not   a way to hide that something was done: keys, times and who did it stay, and the
                 erasure is an entry of the log itself.
The rule         what comes later about an erased row, a late push or an undo, finds no values and
                 leaves none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from reunite.core.asked import fields_of, reached_tables
from reunite.core.change import Op
from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.matching import judge_of
from reunite.core.schema import TableSchema
from reunite.core.values import Value
from reunite.core.view import parse_view
from reunite.engine.history import check_key, lineage_of, schema_of
from reunite.engine.ports import (
    Erasure,
    Store,
    StoredOutcome,
    Transaction,
    Writes,
    WriteTransaction,
)
from reunite.engine.records import without_values
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError

Image = Mapping[str, Value]


class ErasureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased: rows (the one that was named, those that its deletion took along, and the
    keys that they had before), and of how many changes and outcomes. `left` says what is still to
    be done until no file holds it, "" if nothing is."""

    erased: tuple[Erasure, ...]
    changes: int
    outcomes: int
    left: str = ""


def erase(
    store: Store, tables: Tables, table: str, key: Key, *, actor: str | None, now_ms: int
) -> ErasureReport:
    """Erase what the hub knows of the row under `key`, and of those that were there before.

    A table that is not tracked any more is erased from the log; its own row, if it is there, is
    left alone. Raises UnknownTableError, BadRequestError (also: nothing is known of such a row),
    and ConstraintError if the row cannot be deleted; then nothing has happened. Cost: the rows'
    entries, every kept view, and a walk through all outcomes of the table.
    """
    with store.write() as tx:
        check_key(schema_of(tx, tables, table), key)
        tables = tables.at(tx)
        if table in tables.schemas and tx.rows(table, [key]):
            tx.apply(Writes(inserts={}, updates={}, deletes={table: [key]}))
        places = {(table, key): None} | dict.fromkeys(_taken_along(tx, tables))
        views = {hash_: parse_view(text).tables for hash_, text in tx.views().items()}
        last_id = tx.last_change_id()
        erasures: list[Erasure] = []
        ids: set[int] = set()
        for name, each in places:
            schema = schema_of(tx, tables, name)
            wheres = {hash_: view[name].where for hash_, view in views.items() if name in view}
            entries, keys = lineage_of(tx, name, each)
            fresh = [entry for entry in entries if entry.id not in ids]
            ids.update(entry.id for entry in fresh)
            images = [image for entry in entries if (image := entry.image) is not None]
            seen_by, unseen_by = _judged(schema, wheres, images)
            erasures += [
                Erasure(
                    table=name,
                    key=former,
                    change_id=last_id,
                    changes=len(fresh),
                    at_ms=now_ms,
                    principal=actor,
                    seen_by=seen_by,
                    unseen_by=unseen_by,
                )
                for former in keys
            ]
        is_known = bool(ids or tx.erasures(table, [key]))
        outcomes = tx.erase(erasures, sorted(ids))
        if not (is_known or outcomes):
            raise BadRequestError(
                f"Nothing is known of a row of {table!r} with this key: neither the table nor the "
                "log nor an answer to a push has one.",
                path="key",
            )
        if actor is not None:
            tx.attribute(actor, now_ms=now_ms)
    return ErasureReport(erased=tuple(erasures), changes=len(ids), outcomes=outcomes)


def _taken_along(tx: WriteTransaction, tables: Tables) -> list[tuple[str, Key]]:
    """The rows that this transaction has deleted."""
    fresh = tx.fresh()
    by_table: dict[str, dict[Key, None]] = {}
    for touch in fresh:
        if touch.table in tables.schemas:
            by_table.setdefault(touch.table, {})[touch.key] = None
    ids = {touch.id for touch in fresh}
    return [
        (table, entry.key)
        for table, keys in by_table.items()
        for entry in tx.entries(table, keys, after_id=min(ids) - 1)
        if entry.id in ids and entry.op is Op.DELETE
    ]


def _judged(
    schema: TableSchema, wheres: Mapping[str, Expression | None], images: Sequence[Image]
) -> tuple[frozenset[str], frozenset[str]]:
    """The hashes of the views that had shown one of the images, and of those that had not. A view
    that has all rows of the table is in neither."""
    seen: set[str] = set()
    unseen: set[str] = set()
    for hash_, where in wheres.items():
        if where is not None:
            (seen if any(_shows(schema, where, image) for image in images) else unseen).add(hash_)
    return frozenset(seen), frozenset(unseen)


def _shows(schema: TableSchema, where: Expression, image: Image) -> bool:
    """Whether a view had a row; one of which nobody can tell counts as seen, as where a rule asks
    other rows: those may be gone by now, some with this one."""
    if reached_tables(where):
        return True
    fields = sorted(fields_of(where))
    if not all(name in image and name in schema.column for name in fields):
        return True
    judge = judge_of(where, [(name, schema.column[name].type) for name in fields])
    return judge([image[name] for name in fields]) is True


def blanked(
    tx: Transaction, outcomes: list[StoredOutcome], views: Sequence[str]
) -> list[StoredOutcome]:
    """These outcomes, without the values of rows that were erased, which this replica, that was
    sent these views, may have had: a late push brings none back."""
    asked: dict[str, set[Key]] = {}
    for stored in outcomes:
        if stored.outcome.conflicts:
            keys = {key for key in (stored.key, stored.old_key) if key is not None}
            asked.setdefault(stored.table, set()).update(keys)
    places = {
        (table, each.key)
        for table, keys in asked.items()
        for each in tx.erasures(table, keys)
        if not each.unseen_by.issuperset(views) or not views
    }
    return without_values(outcomes, places)[0] if places else outcomes
