"""Merge: what the replica saw, what it wants and what the hub has, column by column.

    counter, union             always applied: hub + mine - base, and the like for arrays
    hub still has base         mine
    base is mine               theirs: the replica changed nothing
    hub already has mine       theirs
    else a conflict            the column's policy decides, and the conflict records all values

What it is       pure decisions over the values of one row that both sides have.
What it is not   the judgement of whole rows (deleted, moved, reused keys): the engine's, which
                 has the log.
The rule         no value is lost without a record of it. Values are compared as `values.same`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from reunite.core.change import Conflict
from reunite.core.checks import value_faults
from reunite.core.schema import Column, ColumnMerge, ColumnType, TableSchema
from reunite.core.values import Row, Value, add, canonical, is_written_alike, larger, same


class MergeContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge function may look at beside the three values.

    `row` is the hub's whole row by column name; `stamp` the replica's, `hub_stamp` that of the
    hub's last change of the column, "" where the log does not know.
    """

    table: str
    column: str
    row: Mapping[str, Value]
    stamp: str
    hub_stamp: str


# (base, theirs, mine, context) -> the column's value, in wire form. `theirs` is the hub's value,
# `mine` the replica's. It must be pure: a push that is tried again asks it again.
MergeFunction: TypeAlias = Callable[[Value, Value, Value, MergeContext], Value]


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The whole merged row, and of it the `columns` and `values` that the hub must write."""

    row: Row
    columns: tuple[str, ...]
    values: tuple[Value, ...]
    conflicts: tuple[Conflict, ...] = ()


def merge_row(
    table: TableSchema,
    *,
    columns: Sequence[str],
    base: Sequence[Value],
    mine: Sequence[Value],
    theirs: Row,
    stamp: str,
    hub_stamps: Mapping[str, str],
    functions: Mapping[str, MergeFunction] | None = None,
) -> Merged:
    """Merge an update into the hub's row.

    columns        what the update names; `base` and `mine` stand in their order
    base           what the replica saw; `mine`, what it wants
    theirs         the hub's row, in the schema's order
    stamp          the change's
    hub_stamps     by column, of those `conflicting_columns` names; one that is missing counts as
                   older than any
    functions      by column, for the policy `custom`; a column without its function is merged
                   like `ask`

    Stamps are compared as text and end in the replica's id, which so decides ties. Equal ones are
    of one replica, whose later change is the one that is merged: it wins.

    A counter that overflows or meets what is no number, and a union of what is no array, cannot
    be applied: the hub's value stays and the conflict is open, as with `ask`.

    Raises what a function raises, and ValueError if its result does not fit the column.
    """
    context = _Context(table, theirs, stamp, hub_stamps, functions or {})
    return _merge(context, columns, base, mine)


def merge_insert(
    table: TableSchema,
    *,
    columns: Sequence[str],
    mine: Sequence[Value],
    theirs: Row,
    stamp: str,
    hub_stamps: Mapping[str, str],
    functions: Mapping[str, MergeFunction] | None = None,
) -> Merged:
    """Merge an insert into the hub's row of the same chosen key; both sides made it.

    As `merge_row` without a base: equal values are no conflict, others are decided by the policy.
    Counters add (from 0), also equal ones; arrays of a union unite.
    """
    context = _Context(table, theirs, stamp, hub_stamps, functions or {})
    return _merge(context, columns, None, mine)


def conflicting_columns(
    table: TableSchema,
    *,
    columns: Sequence[str],
    base: Sequence[Value] | None,
    mine: Sequence[Value],
    theirs: Row,
) -> tuple[str, ...]:
    """The columns in conflict whose policy asks for the hub's stamp: last_writer and custom.

    Only for these the log has to be read. `base` None is for an insert.
    """
    found = []
    for index, name in enumerate(columns):
        column = table.column[name]
        if column.merge in _NEEDS_STAMP:
            seen = _NOTHING if base is None else base[index]
            if _is_contested(column.type, seen, mine[index], theirs[table.position[name]]):
                found.append(name)
    return tuple(found)


def overlay(
    table: TableSchema,
    *,
    columns: Sequence[str],
    was: Sequence[Value] | None,
    set: Sequence[Value],  # noqa: A002 — the change's own word
    hub: Row,
    functions: Mapping[str, MergeFunction] | None = None,
) -> Row:
    """The row a replica shows: its pending change merged onto the hub's row.

    The same merge as the hub's, with one difference: only the hub has the stamps, so a pending
    value of a last_writer column, or of a custom one without its function, is shown on top.
    `was` None is for a pending insert whose key the hub has, too.
    """
    known = functions or {}
    shown = {
        column.name: known.get(column.name, _take_mine)
        for column in table.columns
        if column.merge is ColumnMerge.CUSTOM
    }
    return _merge(_Context(table, hub, "", {}, shown), columns, was, set).row


_NEEDS_STAMP = frozenset({ColumnMerge.LAST_WRITER, ColumnMerge.CUSTOM})
_DELTAS = frozenset({ColumnMerge.COUNTER, ColumnMerge.UNION})


class _Nothing(enum.Enum):
    """The base of an insert: the replica saw no row, which is not the same as NULL in one."""

    NOTHING = enum.auto()


_NOTHING = _Nothing.NOTHING


class _Context(msgspec.Struct, frozen=True):
    table: TableSchema
    theirs: Row
    stamp: str
    hub_stamps: Mapping[str, str]
    functions: Mapping[str, MergeFunction]


def _merge(
    context: _Context,
    columns: Sequence[str],
    base: Sequence[Value] | None,
    mine: Sequence[Value],
) -> Merged:
    table = context.table
    row = list(context.theirs)
    names: list[str] = []
    values: list[Value] = []
    conflicts: list[Conflict] = []
    for index, name in enumerate(columns):
        position = table.position[name]
        hub = row[position]
        seen = _NOTHING if base is None else base[index]
        result = _merge_value(context, table.column[name], seen, mine[index], hub)
        if isinstance(result, Conflict):
            conflicts.append(result)
            result = result.result
        if not is_written_alike(result, hub):
            row[position] = result
            names.append(name)
            values.append(result)
    return Merged(
        row=tuple(row), columns=tuple(names), values=tuple(values), conflicts=tuple(conflicts)
    )


def _merge_value(
    context: _Context, column: Column, seen: Value | _Nothing, mine: Value, hub: Value
) -> Value | Conflict:
    if not isinstance(seen, _Nothing):
        if same(column.type, hub, seen):
            return mine
        if same(column.type, mine, seen):
            return hub
    base = None if isinstance(seen, _Nothing) else seen
    if column.merge in _DELTAS:
        try:
            if column.merge is ColumnMerge.COUNTER:
                return add(column.type, hub, base, mine)
            return _unite(hub, base, mine)
        except ValueError:
            return _conflict(column, base, hub, mine, hub, is_open=True)
    if same(column.type, hub, mine):
        return hub
    return _decide(context, column, base, mine, hub)


def _is_contested(column_type: ColumnType, seen: Value | _Nothing, mine: Value, hub: Value) -> bool:
    """Whether `_merge_value` would come to `_decide`."""
    if not isinstance(seen, _Nothing) and (
        same(column_type, hub, seen) or same(column_type, mine, seen)
    ):
        return False
    return not same(column_type, hub, mine)


def _decide(context: _Context, column: Column, base: Value, mine: Value, hub: Value) -> Conflict:
    """Both sides changed the column, to different values: what its policy says."""
    match column.merge:
        case ColumnMerge.LAST_WRITER:
            wins = context.stamp >= context.hub_stamps.get(column.name, "")
        case ColumnMerge.REPLICA_WINS:
            wins = True
        case ColumnMerge.MAXIMUM:
            wins = larger(column.type, mine, hub)
        case ColumnMerge.MINIMUM:
            wins = larger(column.type, hub, mine)
        case ColumnMerge.CUSTOM if column.name in context.functions:
            result = _call(context, column, base, mine, hub)
            return _conflict(column, base, hub, mine, result)
        case _:
            wins = False
    is_open = column.merge in {ColumnMerge.ASK, ColumnMerge.CUSTOM}
    return _conflict(column, base, hub, mine, mine if wins else hub, is_open=is_open)


def _conflict(
    column: Column, base: Value, hub: Value, mine: Value, result: Value, *, is_open: bool = False
) -> Conflict:
    return Conflict(
        column=column.name,
        base=base,
        hub=hub,
        replica=mine,
        result=result,
        policy=column.merge,
        is_open=is_open,
    )


def _call(context: _Context, column: Column, base: Value, mine: Value, hub: Value) -> Value:
    table = context.table
    merge_context = MergeContext(
        table=table.name,
        column=column.name,
        row=dict(zip(table.column_names, context.theirs, strict=True)),
        stamp=context.stamp,
        hub_stamp=context.hub_stamps.get(column.name, ""),
    )
    result = context.functions[column.name](base, hub, mine, merge_context)
    for fault in value_faults((column,), ((result,),)):
        raise ValueError(
            f"The merge function of {table.name}.{column.name} answered {result!r}: {fault.reason}"
        )
    return result


def _take_mine(_base: Value, _theirs: Value, mine: Value, _context: MergeContext) -> Value:
    return mine


def _unite(hub: Value, base: Value, mine: Value) -> Value:
    """The hub's array without what the replica removed and with what it added, at the end.

    None counts as an empty array. Elements are compared as JSON values. Raises ValueError for
    what is no array.
    """
    elements = _elements(hub)
    here, before, after = (
        {canonical(ColumnType.JSON, element): element for element in array}
        for array in (elements, _elements(base), _elements(mine))
    )
    removed = before.keys() - after.keys()
    added = [element for text, element in after.items() if text not in before.keys() | here.keys()]
    if not added and removed.isdisjoint(here):
        return hub
    kept = [item for item in elements if canonical(ColumnType.JSON, item) not in removed]
    return kept + added


def _elements(value: Value) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ValueError("A union is of arrays.")
    return value or []
