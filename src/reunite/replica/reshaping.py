"""Reshaping: what becomes of pending changes when the hub's table gets other columns.

    column is there in both    its value stays
    column is new              its default, if that is a plain value, else NULL
    column is gone             its value leaves the change; the caller keeps it for a person
    the key is another one     taken from the row, which must have a value for it

What it is       pure: it says what a change becomes, or why it cannot go on.
What it is not   a lens: a renamed column is one that is gone and one that is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reunite.core.change import Op, Outcome, OutcomeKind
from reunite.core.checks import value_faults
from reunite.core.schema import Column, TableSchema
from reunite.core.values import Row, Value
from reunite.replica.pending import Pending, changed_columns
from reunite.replica.scene import units


class Reshaping:
    """From one version of a table to the next. `defaults` are those of columns that are not in
    both."""

    def __init__(
        self, before: TableSchema, after: TableSchema, defaults: Mapping[str, Value]
    ) -> None:
        self._before, self._after = before, after
        self._places = [before.position.get(name) for name in after.column_names]
        self._lost_defaults = defaults
        self._defaults = [defaults.get(name) for name in after.column_names]
        self._lost = [name for name in before.column_names if name not in after.position]
        self._has_other_key = _key_columns(before) != _key_columns(after)

    def apply(self, pending: Pending) -> None:
        """Rewrite a change; where its key cannot be told, NULL stands in it."""
        old, row = self._row(pending.old), self._row(pending.row)
        if self._has_other_key:
            target = self._after.key_of(row or old or ())
            source = target if old is None else self._after.key_of(old)
            pending.key, pending.old_key = target, None if source == target else source
        pending.old, pending.row = old, row

    def fault(self, pending: Pending) -> str | None:
        """Why this change cannot become one of the new table, if so."""
        old, row = self._row(pending.old), self._row(pending.row)
        if self._has_other_key:
            keys = [self._after.key_of(image) for image in (old, row) if image is not None]
            if any(value is None for key in keys for value in key):
                names = ", ".join(self._after.key)
                return f"Its key is {names} now, which this change has no value for."
        wanted = list(range(len(self._after.columns)))
        if pending.op is Op.UPDATE:
            changed = {self._before.column_names[i] for i in changed_columns(self._before, pending)}
            if changed and changed.issubset(self._lost):
                return f"It has no {_listed(sorted(changed))} any more."
            wanted = [i for i in wanted if self._after.column_names[i] in changed]
        if row is None:
            return None
        columns = [self._after.columns[i] for i in wanted]
        faults = value_faults(columns, [tuple(row[i] for i in wanted)])
        if not faults:
            return None
        return f"Column {columns[faults[0].column].name!r}: {faults[0].reason}"

    def lost_values(self, pending: Pending) -> tuple[dict[str, Value], dict[str, Value]]:
        """What the change replaced and set, by name, in columns that are gone, where it set
        something: not those that it left alone or to their default."""
        if pending.row is None or not self._lost:
            return {}, {}
        was = _named(self._before, pending.old) if pending.old else self._lost_defaults
        wanted = _named(self._before, pending.row)
        names = [name for name in self._lost if was.get(name) != wanted[name]]
        return {name: was.get(name) for name in names}, {name: wanted[name] for name in names}

    def _row(self, row: Row | None) -> Row | None:
        if row is None:
            return None
        return tuple(
            default if place is None else row[place]
            for place, default in zip(self._places, self._defaults, strict=True)
        )


def _key_columns(schema: TableSchema) -> list[tuple[str, str]]:
    return [(name, schema.column[name].type) for name in schema.key]


def _named(schema: TableSchema, row: Row | None) -> dict[str, Value]:
    return {} if row is None else dict(zip(schema.column_names, row, strict=True))


def _listed(names: list[str]) -> str:
    return f"column {names[0]!r}" if len(names) == 1 else f"columns {', '.join(names)}"


def refuse_misfits(
    reshapings: Mapping[str, Reshaping], pendings: Sequence[Pending]
) -> list[Pending]:
    """Give the groups in which a change cannot become one of the new table an outcome that says
    so; all changes of them."""
    refused = []
    for unit in units(pendings):
        faults = [
            None if pending.table not in reshapings else reshapings[pending.table].fault(pending)
            for pending in unit
        ]
        if not any(faults):
            continue
        for pending, fault in zip(unit, faults, strict=True):
            reason = (
                f"The hub's table {pending.table} is another one now. {fault}"
                if fault
                else "Another change of its transaction does not fit the hub's tables any more."
            )
            pending.outcome = Outcome(
                kind=OutcomeKind.REJECTED, code="schema-changed", reason=reason
            )
        refused += unit
    return refused


def unshared_columns(before: TableSchema, after: TableSchema) -> list[Column]:
    """The columns that only one of the two has."""
    return [
        column
        for one, other in ((before, after), (after, before))
        for column in one.columns
        if column.name not in other.position
    ]


def is_kept(before: TableSchema, after: TableSchema | None) -> bool:
    """Whether a replica's table stays as it is, with its rows, when its schema changes so."""
    return after is not None and (before.version, before.shape) == (after.version, after.shape)
