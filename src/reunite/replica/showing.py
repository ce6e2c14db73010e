"""Showing: writing rows with pending changes on top, where unique values may stand in the way.

The rule         the hub's rows always go in; a pending row that cannot be written beside them steps
                 aside, and the hub's row is shown in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reunite.core.key import Key
from reunite.core.values import Row
from reunite.replica.pending import Pending
from reunite.replica.rows import TableWriter, place_in_order


def order_of(remaining: Sequence[Pending], table: str, keys: Iterable[Key]) -> list[Key]:
    """The keys in the order of their first pending change; those without one first, as the table
    has them."""
    rank: dict[Key, int] = {}
    for pending in remaining:
        if pending.table == table:
            rank.setdefault(pending.source, pending.n)
            rank.setdefault(pending.key, pending.n)
    return sorted(keys, key=lambda key: (rank.get(key, 0), place_in_order(key)))


def show_table(
    writer: TableWriter,
    order: Sequence[Key],
    hub: dict[Key, Row | None],
    wanted: dict[Key, Row | None],
) -> set[Key]:
    """Write the wanted rows; keys whose pending row had to step aside.

    The hub's own rows agree among themselves, so each pass that finds a row in the way sets one
    more pending key aside, and the last possible pass writes nothing but the hub's.
    """
    if writer.replace(order, [row for key in order if (row := wanted[key]) is not None]):
        return set()
    blocked: set[Key] = set()
    while True:
        culprit = writer.replace_one_by_one(
            order, {key: hub[key] if key in blocked else wanted[key] for key in order}
        )
        if culprit is None:
            return blocked
        # The hub's row must go in; if it is the one refused, a pending row holds its value.
        offender = culprit
        if culprit in blocked or hub[culprit] == wanted[culprit]:
            offender = next(
                key
                for key in reversed(order)
                if key not in blocked and wanted[key] is not None and wanted[key] != hub[key]
            )
        blocked.add(offender)
