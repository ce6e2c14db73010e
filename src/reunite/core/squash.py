"""Squash: many changes of one row within a group become one.

    insert, update     insert with the last values, under the last key
    insert, delete     nothing
    update, update     update from the first values and key to the last; a column that came back
                       to its first value is left out, and an update without columns goes
    update, delete     delete of the first key, with the first values
    delete, insert     both stay: a reused key is another row

What it is       a function over the changes of one group, whatever tables they are of.
What it is not   a merge: nothing of the hub is known here.
The rule         carried out one after the other, the squashed changes of a group leave the tables
                 as the given ones do. Between the two a hub can see a difference only in what a
                 row was in the middle of a group: nobody else ever saw that.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reunite.core.change import Change, Op
from reunite.core.key import Key
from reunite.core.values import Value, is_written_alike


def squash(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes of one group, at most one for each row, in order of their numbers.

    A squashed change stands in the place of the last one it holds and keeps that one's id, number
    and stamp; its mark is the first one's, since so are the values it was seen with. Numbers and
    ids of the others no longer occur.

    Left alone, so that a row has several changes:
    - a delete and the insert after it, also with further changes around them;
    - changes between which another row took or left one of the row's keys, by being inserted,
      deleted or moved: put together they could not stand on either side of it;
    - what cannot follow, such as an update of a row that the group deleted.

    An update may be silent on what its columns were (`was` is empty): then so is the squashed one,
    unless the other one knows, and no column of it is left out.

    A row may then stand before the parent it points to: a group is applied as one step, foreign
    keys are checked at its end. Linear in the number of changes.
    """
    results: dict[int, Change] = {}
    open_at: dict[tuple[str, Key], int] = {}  # where the result stands that may still take more
    for index, change in enumerate(changes):
        place = open_at.get((change.table, change.old_key or change.key))
        squashed: Change | None = change
        # Nothing can be moved past a change that touches its keys.
        for key in _keys(change):
            met = open_at.get((change.table, key))
            if met is not None:
                for closed in _keys(results[met]):
                    del open_at[change.table, closed]
        if place is not None and change.op is not Op.INSERT and results[place].op is not Op.DELETE:
            squashed = _join(results.pop(place), change)
        if squashed is not None:
            results[index] = squashed
            open_at.update(((change.table, key), index) for key in _keys(squashed))
    return tuple(results.values())


def _keys(change: Change) -> set[Key]:
    return {change.key} if change.old_key is None else {change.key, change.old_key}


def _join(first: Change, then: Change) -> Change | None:
    """`then` with all that `first` did; None if together they do nothing."""
    was = _by_column(then.columns, then.was) | _by_column(first.columns, first.was)
    start = first.old_key or first.key
    if then.op is Op.DELETE:
        if first.op is Op.INSERT:
            return None
        return msgspec.structs.replace(
            then,
            key=start,
            columns=tuple(was),
            was=tuple(was.values()),
            mark=first.mark,
            covered=first.covered,
        )
    values = _by_column(first.columns, first.set) | _by_column(then.columns, then.set)
    if first.op is Op.INSERT:
        return msgspec.structs.replace(
            then,
            op=Op.INSERT,
            old_key=None,
            columns=tuple(values),
            set=tuple(values.values()),
            was=(),
            mark=first.mark,
            covered=first.covered,
        )
    names = [n for n in values if n not in was or not is_written_alike(values[n], was[n])]
    old_key = None if start == then.key else start
    if old_key is None and not names:
        return None
    return msgspec.structs.replace(
        then,
        old_key=old_key,
        columns=tuple(names),
        set=tuple(values[name] for name in names),
        was=tuple(was[name] for name in names) if was.keys() >= set(names) else (),
        mark=first.mark,
        covered=first.covered,
    )


def _by_column(columns: Sequence[str], values: Sequence[Value]) -> dict[str, Value]:
    return dict(zip(columns, values, strict=True)) if values else {}
