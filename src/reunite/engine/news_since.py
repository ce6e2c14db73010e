"""What came into the log after a place: for programs at the hub that follow it.

The rule         a place is never passed before everything up to it is visible, so none is
                 missed.
"""

from __future__ import annotations

from reunite.core.key import Key
from reunite.engine.ports import LogEntry, Position, Store

# Changes that are read at a time.
CHANGES_MAX = 1_000


def changes_after(store: Store, place: Position) -> tuple[list[LogEntry], Position]:
    """The next changes of numbered commits, in their order, with what the rows were, and the place
    after them. The same place if nothing is new. Two indexed reads, and one for each table."""
    with store.read() as tx:
        touches = [touch for touch in tx.touched(place, limit=CHANGES_MAX) if touch.seq is not None]
        if not touches:
            return [], place
        before = min(touch.id for touch in touches) - 1
        keys: dict[str, dict[Key, None]] = {}
        for touch in touches:
            keys.setdefault(touch.table, {})[touch.key] = None
        known = tx.schemas()
        found = {
            entry.id: entry
            for table, wanted in keys.items()
            if table in known
            for entry in tx.entries(table, wanted, after_id=before)
        }
        last = touches[-1]
        assert last.seq is not None
        entries = [found[touch.id] for touch in touches if touch.id in found]
        return entries, Position(seq=last.seq - 1, id=last.id)
