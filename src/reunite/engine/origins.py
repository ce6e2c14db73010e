"""Which log entries of a push go back to which pushed changes: noted after each group.

The rule: an entry goes back to a change that names its key. What cascades, triggers and hooks did
to other rows was made at the hub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from reunite.core.change import Change, Op
from reunite.core.key import Key
from reunite.engine.parse import PushedGroup
from reunite.engine.ports import Origin, WriteTransaction


class Origins:
    """The origins of one push, neighbours joined; `last_id` is how far the log is looked at."""

    def __init__(self, tx: WriteTransaction) -> None:
        self._tx = tx
        self.found: list[Origin] = []
        self.last_id = tx.last_id_before()

    def mark(self) -> tuple[int, int]:
        """Where `undo_to` goes back to."""
        return len(self.found), self.last_id

    def undo_to(self, mark: tuple[int, int]) -> None:
        """What was noted since then was undone in the database too."""
        count, self.last_id = mark
        del self.found[count:]

    def note_inserts(self, group: PushedGroup) -> bool:
        """A group of new rows was applied; whether nothing else was done with it for certain."""
        run = group.runs[0]
        is_single = len(group.runs) == len(run.stamps) == 1
        found = self._tx.fresh_inserts(run.run.table, after_id=self.last_id) if is_single else None
        if found is not None and found[1] - found[0] + 1 == len(run.keys):
            # An entry for each row, in their order: no trigger wrote along the way.
            self._add(*found, run.first_n, Op.INSERT, run.stamps[0])
            self.last_id = found[1]
            return True
        made = {(change.table, change.key): change for change in group.changes}
        self.note(group.changes, made)
        return False

    def note(self, changes: Sequence[Change], made: Mapping[tuple[str, Key], Change]) -> None:
        """These changes were applied; `made` are the rows that came with them, each with the
        change that made it."""
        last_of = dict(made)
        for change in changes:
            last_of[change.table, change.key] = change
            if change.old_key is not None:
                last_of[change.table, change.old_key] = change
        for touch in self._tx.fresh(after_id=self.last_id):
            self.last_id = touch.id
            named = last_of.get((touch.table, touch.key))
            if named is None and touch.old_key is not None:
                named = last_of.get((touch.table, touch.old_key))
            if named is None:
                continue
            # A row that was made and changed in one step is one entry: it has the number of
            # the change that made it, and the stamp of its last value.
            maker = made.get((touch.table, touch.key))
            n, op = (named.n, named.op) if maker is None else (maker.n, Op.INSERT)
            self._add(touch.id, touch.id, n, op, named.stamp)

    def _add(self, first_id: int, last_id: int, first_n: int, op: Op, stamp: str) -> None:
        """Add to the last one if ids and numbers go on side by side."""
        if self.found:
            last = self.found[-1]
            goes_on = first_id == last.last_id + 1
            is_beside = first_n - last.first_n == first_id - last.first_id
            if goes_on and is_beside and (op, stamp) == (last.op, last.stamp):
                self.found[-1] = msgspec.structs.replace(last, last_id=last_id)
                return
        self.found.append(
            Origin(first_id=first_id, last_id=last_id, first_n=first_n, op=op, stamp=stamp)
        )
