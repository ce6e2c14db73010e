"""Erasing values that the log and the outcomes hold of a row, and the record that it was done.

The rule         entries and outcomes stay, in their places and with their keys: who reads on from
                 a cursor, or asks what came of a change, finds the same as ever, without values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from reunite.core.key import Key, key_text, parse_key
from reunite.engine.records import Erasure, without_values
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.outcomes import outcome_parts, read_outcomes
from reunite.stores.sql.ports import Session

_COLUMNS = "table_name, key, change_id, changes, at_ms, principal, seen_by, unseen_by"
_SELECT = "SELECT " + ", ".join(f"e.{name}" for name in _COLUMNS.split(", "))


def erase(
    session: Session, catalogue: Catalogue, erasures: Sequence[Erasure], ids: Sequence[int]
) -> int:
    """See `WriteTransaction.erase`."""
    log = session.dialect.log
    log.blank(session, ids)
    for table in dict.fromkeys(each.table for each in erasures):
        plan = catalogue.last(session, table)
        assert plan is not None, "it has entries"
        keys = plan.log_keys(session, [each.key for each in erasures if each.table == table])
        log.add_erased(session, [(table, key, plan.schema.version) for key in keys])
    session.executemany(
        f"INSERT INTO reunite_erased ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.table,
                key_text(each.key),
                each.change_id,
                each.changes,
                each.at_ms,
                each.principal,
                " ".join(sorted(each.seen_by)),
                " ".join(sorted(each.unseen_by)),
            )
            for each in erasures
        ],
    )
    places = {(each.table, each.key) for each in erasures}
    return sum(
        _blank_outcomes(session, table, places) for table in {each.table for each in erasures}
    )


def _blank_outcomes(session: Session, table: str, places: set[tuple[str, Key]]) -> int:
    """Take values out of the outcomes of a table; how many had some. Rows of plain inserts have
    none, and say so by how they begin."""
    name = msgspec.json.encode(table).decode()
    found = session.execute(
        "SELECT id, outcomes FROM reunite_outcome "
        f"WHERE {session.dialect.position}(outcomes, ?) > 0 AND substr(outcomes, 1, 1) = '['",
        (name,),
    )
    changed, total = [], 0
    for id_, text in found:
        outcomes, count = without_values(read_outcomes("", text), places)
        if count:
            total += count
            (part,) = outcome_parts(outcomes)
            changed.append((part.text, id_))
    session.executemany("UPDATE reunite_outcome SET outcomes = ? WHERE id = ?", changed)
    return total


def read_erasures(session: Session, table: str | None, keys: Iterable[Key]) -> list[Erasure]:
    """See `Transaction.erasures`."""
    if table is None:
        rows = session.execute(f"{_SELECT} FROM reunite_erased AS e ORDER BY e.id")
    else:
        texts = msgspec.json.encode([key_text(key) for key in dict.fromkeys(keys)]).decode()
        rows = session.execute(
            f"{_SELECT} FROM {session.dialect.numbers} {session.dialect.joined} "
            "reunite_erased AS e ON e.key = k.value AND e.table_name = ?2 ORDER BY e.id",
            (texts, table),
        )
    return _erasures(rows)


def read_last_erasures(session: Session, limit: int) -> list[Erasure]:
    """See `Transaction.last_erasures`."""
    rows = session.execute(
        f"{_SELECT} FROM reunite_erased AS e ORDER BY e.id DESC LIMIT ?", (limit,)
    )
    return _erasures(rows[::-1])


def _erasures(rows: Iterable[Sequence[Any]]) -> list[Erasure]:
    return [
        Erasure(
            table=table_name,
            key=parse_key(key),
            change_id=change_id,
            changes=changes,
            at_ms=at_ms,
            principal=principal,
            seen_by=frozenset(seen_by.split()),
            unseen_by=frozenset(unseen_by.split()),
        )
        for table_name, key, change_id, changes, at_ms, principal, seen_by, unseen_by in rows
    ]
