"""A second, naive opinion on merging: what the hub's tables may look like after a push.

    tables before ─► one accepted change after the other ─► for each column, the values it may have

What it is       design section 10 over sets of values, without stamps: where the later stamp
                 decides, either value will do.
What it is not   an engine: it does not judge groups, it follows those that the hub accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TypeAlias

from reunite.testing.simulator.book import PushedChange
from reunite.testing.simulator.tables import CHILDREN, FACTS, TABLES, Facts, Key, Scalar, Tables

Place: TypeAlias = tuple[str, Key]
Values: TypeAlias = dict[str, set[Scalar]]

# Values that a column has where an insert does not say.
_DEFAULTS: Mapping[str, Scalar] = {"stock": 0, "visits": 0}


def merged(policy: str, hub: Scalar, was: Scalar, wanted: Scalar) -> set[Scalar]:
    """The values a column may have after a merge."""
    if policy == "counter":
        return {_number(hub) + _number(wanted) - _number(was)}
    if was == wanted or hub == wanted:
        return {hub}
    if hub == was:
        return {wanted}
    return _contested(policy, hub, wanted)


def _contested(policy: str, hub: Scalar, wanted: Scalar) -> set[Scalar]:
    match policy:
        case "hub_wins":
            return {hub}
        case "replica_wins":
            return {wanted}
        case "maximum":
            return {max(hub, wanted, key=lambda value: (value is not None, value or 0))}
        case _:
            return {hub, wanted}


def is_contested(policy: str, hub: Scalar, was: Scalar, wanted: Scalar) -> bool:
    """Whether a conflict must be recorded."""
    return policy != "counter" and len({hub, was, wanted}) == 3


def _number(value: Scalar) -> int:
    return value if isinstance(value, int) else 0


class Model:
    """Rows whose columns are sets of possible values.

    `unsure` are places where even this is not known.
    """

    def __init__(self, tables: Tables) -> None:
        self._rows: dict[str, dict[Key, Values]] = {
            name: {key: _values(FACTS[name], row) for key, row in tables[name].items()}
            for name in TABLES
        }
        self.unsure: set[Place] = set()

    def row(self, table: str, key: Key) -> Values | None:
        """The row as it may be."""
        return self._rows[table].get(key)

    def ident(self, table: str, key: Key) -> set[Scalar]:
        """Who may be living under the key."""
        row = self.row(table, key)
        return set() if row is None else row["ident"]

    def has(self, table: str, column: str, value: Scalar) -> bool:
        """Whether some row may have this value."""
        return any(value in row[column] for row in self._rows[table].values())

    def insert(self, change: PushedChange, key: Key) -> bool:
        """An accepted insert; False if it met a row that it must not meet."""
        facts = FACTS[change.table]
        rows = self._rows[change.table]
        if key not in rows:
            values = {**_DEFAULTS, **change.set, **dict(zip(facts.key, key, strict=True))}
            rows[key] = {column: {values.get(column)} for column in facts.columns}
            return True
        if facts.generated:
            return False
        for column, wanted in change.set.items():
            if column not in facts.key:
                policy = facts.merge.get(column, "last_writer")
                rows[key][column] = set().union(
                    *(
                        {hub} if hub == wanted else _contested(policy, hub, wanted)
                        for hub in rows[key][column]
                    )
                )
        return True

    def update(self, change: PushedChange, key: Key) -> None:
        """An accepted update of a row that is there."""
        facts = FACTS[change.table]
        row = self._rows[change.table][key]
        for column, wanted in change.set.items():
            if column not in facts.key:
                policy = facts.merge.get(column, "last_writer")
                was = change.was.get(column)
                row[column] = set().union(
                    *(merged(policy, hub, was, wanted) for hub in row[column])
                )
        if change.old_key is not None and change.key != key:
            del self._rows[change.table][key]
            row.update({c: {v} for c, v in zip(facts.key, change.key, strict=True)})
            self._rows[change.table][change.key] = row
            self._take_along(change.table, key, change.key)

    def delete(self, table: str, key: Key) -> None:
        """The row goes, and takes its children along or leaves them."""
        self._rows[table].pop(key, None)
        for facts in CHILDREN[table]:
            parent = facts.parent
            assert parent is not None, "a child has a parent"
            for child_key, row in list(self._rows[facts.name].items()):
                if key[0] not in row[parent.column]:
                    continue
                if len(row[parent.column]) > 1:
                    # It may point elsewhere: nobody knows whether it goes.
                    self.doubt(facts.name, child_key)
                elif parent.cascade:
                    self.delete(facts.name, child_key)
                else:
                    row[parent.column] = {None}

    def _take_along(self, table: str, old_key: Key, new_key: Key) -> None:
        """A row has moved: its children follow."""
        for facts in CHILDREN[table]:
            assert facts.parent is not None, "a child has a parent"
            for row in self._rows[facts.name].values():
                column = row[facts.parent.column]
                if old_key[0] in column:
                    row[facts.parent.column] = column - {old_key[0]} | {new_key[0]}

    def doubt(self, table: str, key: Key) -> None:
        """What is under this key, and under those that point to it, is not known any more."""
        self.unsure.add((table, key))
        for facts in CHILDREN[table]:
            assert facts.parent is not None, "a child has a parent"
            for child_key, row in self._rows[facts.name].items():
                if key[0] in row[facts.parent.column]:
                    self.doubt(facts.name, child_key)

    def expect(self, table: str, values: Mapping[str, Scalar]) -> None:
        """A row that a hook writes."""
        facts = FACTS[table]
        self._rows[table][facts.key_in(values)] = {c: {values[c]} for c in facts.columns}

    def copy_of(self, places: Iterable[Place]) -> dict[Place, Values | None]:
        """These rows as they may be now, to be changed elsewhere."""
        return {place: deepcopy(self.row(*place)) for place in places}

    def allow(self, place: Place, alternative: Values | None) -> None:
        """The row may also look like this."""
        row = self.row(*place)
        if (row is None) != (alternative is None):
            self.unsure.add(place)
        elif row is not None and alternative is not None:
            for column, values in alternative.items():
                row[column] |= values

    def differences(self, tables: Tables) -> Iterator[str]:
        """Where the tables are not what they may be, a line each."""
        for name in TABLES:
            facts = FACTS[name]
            expected, found = self._rows[name], tables[name]
            for key in sorted(expected.keys() | found.keys(), key=repr):
                if (name, key) in self.unsure:
                    continue
                row, may = found.get(key), expected.get(key)
                if row is None:
                    if may is not None:
                        yield f"{name}{list(key)} is gone; it should be {may}"
                elif may is None:
                    yield f"{name}{list(key)} should not be there: {row}"
                else:
                    for column, value in facts.as_dict(row).items():
                        if value not in may[column]:
                            yield f"{name}{list(key)}.{column} is {value!r}, not {may[column]}"


def _values(facts: Facts, row: tuple[Scalar, ...]) -> Values:
    return {column: {value} for column, value in zip(facts.columns, row, strict=True)}
