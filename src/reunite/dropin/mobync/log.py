"""The log of diffs, as it is read through the synchronizer, and what is remembered of it.

What is remembered   for each owner the highest clock, and which rows their diffs made. Only for
                     synchronizers that cannot tell: `last_clock`, `row_owner`.
The rule             what is remembered only says from where to read on. Each call reads what the
                     log has from there, so other processes may write to it meanwhile.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.lens import Lens
from reunite.dropin.mobync.diff import CREATE, Diff, Entry, RowKey, parse_logged
from reunite.dropin.mobync.synchronizer import FilterType, ReadFilter, Synchronizer, offered

# Owners that are remembered; of those seen longest ago, the log is read again.
OWNERS_REMEMBERED_MAX = 1_000

NO_CLOCK = -1


class _Known(msgspec.Struct, kw_only=True):
    """All of an owner's log up to and with `clock` was read; `made` are the rows it made."""

    clock: int = NO_CLOCK
    made: set[RowKey] = msgspec.field(default_factory=set)


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What a call needs of an owner's log: `entries` from the device's clock on, in order."""

    highest: int
    entries: list[Entry]


class Log:
    """Reads one table of diffs. May be used from several threads."""

    def __init__(
        self, synchronizer: Synchronizer, name: str, lenses: Mapping[str, Sequence[Lens]]
    ) -> None:
        self._synchronizer = synchronizer
        self._name = name
        self._lenses = lenses
        self._mutex = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def past(self, owner: str, clock: int, *, limit: int | None = None) -> Past:
        """The owner's highest clock, and the diffs from `clock` on.

        limit      as many and one more are enough, if the synchronizer has pages

        Costs what these diffs cost to read; without `last_clock`, also what was logged since the
        owner's call before, and the whole log the first time.
        """
        last_clock = offered(self._synchronizer, "last_clock")
        if last_clock is not None:
            told = last_clock(owner)
            highest = NO_CLOCK if told is None else int(told)
            entries = self._page(owner, clock, limit) if clock <= highest else []
            return Past(highest=highest, entries=entries)
        known = self._recalled(owner)
        start = min(clock, known.clock + 1)
        entries = self.since(owner, start)
        if not entries and start <= known.clock:  # somebody cut the log
            known = self._recalled(owner, is_afresh=True)
            entries = self.since(owner, 0)
        _learn(known, entries[-1].clock if entries else NO_CLOCK, entries)
        entries = [entry for entry in entries if entry.clock >= clock]
        return Past(highest=known.clock, entries=entries)

    def since(self, owner: str, clock: int) -> list[Entry]:
        """The owner's entries from a clock on, in order."""
        filters = [ReadFilter(Diff.OWNER, FilterType.equal, owner)]
        filters.append(ReadFilter(Diff.LOGICAL_CLOCK, FilterType.majorOrEqual, clock))
        return parse_logged(self.read(filters), self._lenses)

    def _page(self, owner: str, clock: int, limit: int | None) -> list[Entry]:
        page = offered(self._synchronizer, "page")
        if limit is None or page is None:
            return self.since(owner, clock)
        return parse_logged(rows_of(page(owner, clock, limit)), self._lenses)

    def with_id(self, diff_id: str) -> dict[str, Any] | None:
        """The logged diff of this id, whoever made it."""
        found = self.read([ReadFilter(Diff.ID, FilterType.equal, diff_id)])
        return found[0] if found else None

    def row_owner(self, owner: str, key: RowKey, past: Past) -> str | None:
        """Who made a row that exists; None if no diff did.

        owner      who is asking: their own rows are found at once
        past       of the owner's log
        """
        if any(entry.key == key and entry.type == CREATE for entry in past.entries):
            return owner
        row_owner = offered(self._synchronizer, "row_owner")
        if row_owner is not None:
            told: str | None = row_owner(*key)
            return told
        if key in self._made_by(owner, past.highest):
            return owner
        model, row = key
        creates = self._creates(ReadFilter(Diff.MODEL, FilterType.equal, model))
        return next((e.diff[Diff.OWNER] for e in reversed(creates) if e.row == row), None)

    def note(self, owner: str, past: Past, clock: int, entries: Iterable[Entry]) -> None:
        """Remember what a call has committed after it read `past`."""
        known = self._recalled(owner)
        if known.clock == past.highest:
            _learn(known, clock, entries)

    def read(self, filters: list[ReadFilter]) -> list[dict[str, Any]]:
        """Diffs as the synchronizer has them."""
        return rows_of(self._synchronizer.read(self._name, filters))

    def _creates(self, chosen: ReadFilter) -> list[Entry]:
        by_type = ReadFilter(Diff.TYPE, FilterType.equal, CREATE)
        return parse_logged(self.read([chosen, by_type]), self._lenses)

    def _made_by(self, owner: str, highest: int) -> set[RowKey]:
        """Rows that the owner's diffs made; what was read before is remembered."""
        known = self._recalled(owner)
        if known.clock == NO_CLOCK:
            entries = self._creates(ReadFilter(Diff.OWNER, FilterType.equal, owner))
        else:
            entries = self.since(owner, known.clock + 1) if known.clock < highest else []
        _learn(known, highest, entries)
        return known.made

    def _recalled(self, owner: str, *, is_afresh: bool = False) -> _Known:
        with self._mutex:
            known = None if is_afresh else self._known.get(owner)
            if known is None:
                known = self._known[owner] = _Known()
            self._known.move_to_end(owner)
            while len(self._known) > OWNERS_REMEMBERED_MAX:
                self._known.popitem(last=False)
            return known


def _learn(known: _Known, clock: int, entries: Iterable[Entry]) -> None:
    """Calls of one owner take turns, so nobody else learns the same meanwhile."""
    known.made.update(entry.key for entry in entries if entry.type == CREATE)
    known.clock = max(known.clock, clock)


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """What `read` gave: JSON text, or the list itself."""
    rows = json.loads(answer) if isinstance(answer, str | bytes) else answer
    return [] if rows is None else list(rows)
