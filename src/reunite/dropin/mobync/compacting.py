"""Compacting: many diffs of a row become one; what is deleted keeps its deletion.

The rule         whoever reads the folded diffs has the same rows as whoever read all of them. The
                 one that stays has the clock and the id of the last that changed the row, so that
                 a device that has read that far gets nothing again; and it names those that went,
                 so that a device that did not hear of its own may send it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from reunite.dropin.mobync.diff import CREATE, DELETE, UPDATE, Diff, Entry, RowKey

# How many diffs of a row are recognised after they were folded away, the newest ones.
FOLDED_MAX = 100


class Fold(msgspec.Struct, kw_only=True):
    """Which diffs go, and which become others."""

    gone: list[Entry] = msgspec.field(default_factory=list)
    changed: list[tuple[Entry, Entry]] = msgspec.field(default_factory=list)


def fold(entries: Iterable[Entry]) -> Fold:
    """What to do with an owner's diffs, given in order."""
    by_row: dict[RowKey, list[Entry]] = {}
    final = None
    for entry in entries:
        by_row.setdefault(entry.key, []).append(entry)
        final = entry
    plan = Fold()
    for history in by_row.values():
        _fold_row(history, plan)
    # It has the highest clock, from which the next one is counted.
    plan.gone = [entry for entry in plan.gone if entry is not final]
    return plan


def _fold_row(history: list[Entry], plan: Fold) -> None:
    deleted = max((i for i, entry in enumerate(history) if entry.type == DELETE), default=-1)
    life = history[deleted + 1 :]
    last = next((entry for entry in reversed(life) if not entry.is_silent), None)
    if deleted >= 0:
        before = history[:deleted] + (life if last is None else [])
        _put_into(history[deleted], before, history[deleted].values, plan)
    if last is None:
        plan.gone += life if deleted < 0 else ()
        return
    values: dict[str, object] = {}
    for entry in life:
        values |= entry.values
    type_ = CREATE if any(entry.type == CREATE for entry in life) else UPDATE
    others = [entry for entry in life if entry is not last]
    _put_into(last, others, values, plan, **{Diff.TYPE: type_})


def _put_into(
    kept: Entry, others: list[Entry], values: Mapping[str, object], plan: Fold, **fields: str
) -> None:
    """Let other diffs of a row go, in favour of one with these values."""
    plan.gone += others
    ids = [known for entry in others for known in (*entry.folded, entry.id)]
    folded = kept.replaced(values=values, **fields)
    folded.folded = (*ids, *kept.folded)[-FOLDED_MAX:]
    if folded.logged != kept.logged:
        plan.changed.append((kept, folded))
