"""A scene: what is pending, and the hub's rows below it, while one transaction changes both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from reunite.core.change import Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.replica.pending import Pending, Place, Schemas, dependencies, places


class Scene:
    """One transaction's view of what is pending: `images` are the hub's rows of touched keys,
    `evicted` those of them that it no longer sends, `erased` rows of which nothing is to stay,
    `changed` the positions to save, `to_move` the numbers of inserts that need another key."""

    def __init__(
        self,
        *,
        pendings: list[Pending],
        images: dict[Place, Row | None],
        evicted: set[Place],
        touched: set[Place],
        to_move: set[int],
    ) -> None:
        self.pendings = pendings
        self.images = images
        self.evicted = evicted
        self.touched = touched
        self.to_move = to_move
        self.changed: set[int] = set()
        self.erased: set[Place] = set()
        self.blocked = 0

    def forget(self, tables: Collection[str]) -> None:
        """These tables are made anew: nothing is known of their rows."""
        self.touched = {place for place in self.touched if place[0] not in tables}
        self.touched |= places([pending for pending in self.pendings if pending.table in tables])
        self.images = {
            place: image for place, image in self.images.items() if place[0] not in tables
        } | {place: None for place in self.touched if place[0] in tables}

    def touched_by_table(self) -> dict[str, set[Key]]:
        found: dict[str, set[Key]] = {}
        for table, key in self.touched:
            found.setdefault(table, set()).add(key)
        return found

    def close_gaps(self, gone: Collection[int], *, next_n: int) -> None:
        """Numbers without gaps, after changes among them went. If the hub has taken one of the old
        numbers after all, it finds a fork, and everything is sent again under its old ids."""
        new_of: dict[int, int] = {}
        shift = 0
        for n in range(min(gone), next_n):
            if n in gone:
                shift += 1
            else:
                new_of[n] = n - shift
        for index, pending in enumerate(self.pendings):
            first = abs(pending.group)
            if pending.n in new_of:
                pending.n = new_of[pending.n]
                self.changed.add(index)
            pending.group = new_of.get(first, first) * (1 if pending.group > 0 else -1)
        self.to_move = {new_of.get(n, n) for n in self.to_move if n not in gone}


def units(pendings: Sequence[Pending]) -> Iterator[list[Pending]]:
    """What the hub takes whole or not at all: groups, and single changes of divisible ones."""
    for number, group in groupby(pendings, key=attrgetter("group")):
        if number > 0:
            yield list(group)
        else:
            for pending in group:
                yield [pending]


def dependents(
    schemas: Schemas, pendings: Sequence[Pending], rejected: Sequence[Pending]
) -> list[Pending]:
    """Changes without an answer that hang on a rejected one, as the hub would find: sent or
    not, it has rejected them or will. And those of tables that the hub no longer has."""
    tainted: dict[Place, int] = {}
    for pending in rejected:
        for place in places([pending]):
            tainted[place] = max(pending.n, tainted.get(place, 0))
    found: list[Pending] = []
    waiting = [pending for pending in pendings if pending.outcome is None]
    for unit in units(waiting):
        if any(pending.table not in schemas for pending in unit):
            code, reason = "unknown-table", "The hub no longer has this table for you."
        elif tainted and any(
            tainted.get(place, 0) > pending.covered
            for pending in unit
            for place in dependencies(schemas, pending)
        ):
            code = "depends-on-rejected"
            reason = "It touches or points to a row of a change that was rejected."
        else:
            continue
        for pending in unit:
            pending.outcome = Outcome(kind=OutcomeKind.REJECTED, code=code, reason=reason)
            for place in places([pending]):
                tainted[place] = max(pending.n, tainted.get(place, 0))
        found.extend(unit)
    return found


def no_keys_left(schema: TableSchema) -> Outcome:
    """What becomes of inserts for which the hub has no key."""
    return Outcome(
        kind=OutcomeKind.REJECTED,
        code="no-keys-left",
        reason=f"The hub has no keys left for new rows of {schema.name!r}: its key column holds "
        f"whole numbers of {schema.key_bits} bits. Make it wider there, then retry.",
    )
