"""What the hub's tables pass over without a word: `RAISE(IGNORE)`, `ON CONFLICT IGNORE`, a
trigger on PostgreSQL that returns NULL.

A database does not call that an error, so the change would be called applied, and the next page
would take it away from its replica.

The rule         what a trigger does in a change's place is the hub's own way to take it: a row that
                 it changed instead, or another tracked row that it wrote. Only what left nothing at
                 all is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reunite.core.key import Key
from reunite.core.values import Row
from reunite.engine.ports import WriteTransaction
from reunite.engine.workspace import Slot

IGNORED = (
    "The hub's table passed over this change without an error: a trigger or an ON CONFLICT IGNORE "
    "of the hub refuses it."
)


def ignored(tx: WriteTransaction, slots: Sequence[Slot], *, after_id: int) -> Slot | None:
    """The first of the slots of a step that is in the database as if nobody had written it.

    Asked where a step wrote fewer rows than it was to; `after_id` is the log's end before its
    group. A statement for the log, and one for each table.
    """
    own = {(slot.schema.name, key) for slot in slots for key in (slot.before_key, slot.after_key)}
    others = {(touch.table, touch.key) for touch in tx.fresh(after_id=after_id)} - own
    if any(
        _was_changed(tx, table, keys, after_id=after_id)
        for table, keys in _by_table(others).items()
    ):
        return None
    rows = {table: tx.rows(table, keys) for table, keys in _by_table(own).items()}
    for slot in slots:
        found = rows[slot.schema.name]
        if slot.before is None:
            is_there = slot.after_key in found
        else:
            is_there = _is_other(found.get(slot.before_key), slot.before)
        if not is_there:
            return slot
    return None


def _was_changed(tx: WriteTransaction, table: str, keys: Sequence[Key], *, after_id: int) -> bool:
    """Whether one of these rows is not what it was. SQLite's triggers also log the row that has a
    unique value, as if it were to be replaced."""
    rows = tx.rows(table, keys)
    return any(
        entry.old is None or _is_other(rows.get(entry.key), entry.old)
        for entry in tx.entries(table, keys, after_id=after_id)
    )


def _is_other(row: Row | None, before: Row) -> bool:
    return row is None or tuple(row) != tuple(before)


def _by_table(places: Iterable[tuple[str, Key]]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for table, key in places:
        found.setdefault(table, []).append(key)
    return found
