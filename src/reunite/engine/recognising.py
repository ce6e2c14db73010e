"""Recognising: changes that come again under another identity of the file that made them.

The rule         who names the change of somebody else learns nothing that its rows do not tell. A
                 file that changed hands still finds what took effect on rows that its new owner
                 sees; everything else of others is judged as if it had never come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from reunite.core.change import OutcomeKind
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.rules import Access
from reunite.engine.ports import StoredOutcome, Transaction
from reunite.engine.register import is_owner
from reunite.engine.rights import Rights
from reunite.engine.tables import Tables


def recognisable(
    tx: Transaction, tables: Tables, principal: Principal, known: Mapping[str, StoredOutcome]
) -> Mapping[str, StoredOutcome]:
    """Of what the hub answered for some changes, by id, what this principal may be told. One
    statement for each replica, and for each table that has rules."""
    if not known:
        return known
    records = {name: tx.replica(name) for name in {stored.replica for stored in known.values()}}
    own = {name for name, record in records.items() if record and is_owner(principal, record)}
    access = tables.access(principal)
    others = [stored for stored in known.values() if stored.replica not in own]
    names = {stored.table for stored in others}
    limited = {table for table in names if access.limits("read", table)}
    asked = [stored for stored in others if stored.table in limited]
    seen = _seen(tx, tables, access, asked) if asked else {}
    kept = {id_: stored for id_, stored in known.items() if stored.replica in own}
    for stored in others:
        if stored.table not in limited or _effective(stored) in seen.get(stored.table, ()):
            # Also of rows that everybody may read: what they held may be from before that was so.
            outcome = msgspec.structs.replace(stored.outcome, conflicts=())
            kept[stored.id] = msgspec.structs.replace(stored, outcome=outcome)
    return kept


def _seen(
    tx: Transaction, tables: Tables, access: Access, others: Sequence[StoredOutcome]
) -> Mapping[str, set[Key]]:
    """By table, those keys under which such changes took effect on rows that may be seen."""
    keys: dict[str, set[Key]] = {}
    for stored in others:
        schema, key = tables.schemas.get(stored.table), _effective(stored)
        has_row = stored.outcome.kind is not OutcomeKind.REJECTED
        if has_row and schema is not None and len(schema.key) == len(key):
            keys.setdefault(stored.table, set()).add(key)
    rights = Rights(tx, access)
    return {table: rights.seen(table, wanted) for table, wanted in keys.items()}


def _effective(stored: StoredOutcome) -> Key:
    return stored.outcome.key or stored.key
