"""Answering: the diffs that turn what a device has into what the server has.

A device has done its own diffs already, in full, and applies the answer after them, in order. So

    a field whose last word is the device's own   is left out of the others' diffs
    a row that both made                          comes as an update of what the device has
    a delete                                      takes the place of what the row was before it
    an update that changes nothing                is not sent
    an update of a row that is not there          is answered by a delete

What it is not   a judgement: that has been made, and stands in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reunite.dropin.mobync.diff import CREATE, DELETE, UPDATE, Diff, Entry, RowKey, json_data

# What the id of a delete that is nobody's diff ends in.
TAKEN_BACK = "-taken-back"


def answer(
    timeline: Sequence[Entry],
    *,
    sent: Mapping[str, Entry],
    rows: Mapping[RowKey, dict[str, Any] | None],
    until: int | None = None,
) -> list[Entry]:
    """The diffs for a device, in order.

    timeline     what the log has since the device's clock, this call's diffs included
    sent         by id, the call's diffs as the device made them
    rows         the rows that `sent` names, as they are now
    until        the last clock of the page, if there are more
    """
    by_row: dict[RowKey, list[int]] = {}
    for place, entry in enumerate(timeline):
        by_row.setdefault(entry.key, []).append(place)
    found: dict[int, Entry] = {}
    for key, places in by_row.items():
        history = [(place, timeline[place]) for place in places]
        if key in rows:
            found |= _of_touched(history, sent)
        else:
            found |= _since_delete(history)
    diffs = [found[place] for place in sorted(found) if not found[place].is_silent]
    if until is not None:
        diffs = [entry for entry in diffs if entry.clock <= until]
    return diffs + _taken_back(timeline, diffs, sent, rows)


def _since_delete(history: Sequence[tuple[int, Entry]]) -> dict[int, Entry]:
    """The last delete of a row and what came after it."""
    start = max((i for i, (_, entry) in enumerate(history) if entry.type == DELETE), default=0)
    return dict(history[start:])


def _of_touched(
    history: Sequence[tuple[int, Entry]], sent: Mapping[str, Entry]
) -> dict[int, Entry]:
    """The same of a row that the device has changed, too."""
    found: dict[int, Entry] = {}
    life = list(_since_delete(history).items())
    own = [sent[entry.id].type for _, entry in history if entry.id in sent]
    is_gone = [type_ for type_ in own if type_ != UPDATE][-1:] == [DELETE]
    has_made = not is_gone and any(e.id in sent and sent[e.id].type == CREATE for _, e in life)
    if life[0][1].type == DELETE:
        place, ended = life.pop(0)
        has_row = has_made
        if ended.id not in sent and not has_made:
            found[place] = ended
    else:
        is_new = any(entry.type == CREATE and entry.id not in sent for _, entry in life)
        has_row = has_made or not (is_gone or is_new)
    last = {field: entry for _, entry in life for field in entry.values}
    theirs = {field for field, entry in last.items() if entry.id not in sent}
    # What the device set in a row that it has. Before it made the row, it had nothing to set.
    ids = [entry.id for _, entry in life if entry.id in sent] if has_row else []
    made = next((i for i, known in enumerate(ids) if sent[known].type == CREATE), 0)
    absent = {
        field: entry.values[field]
        for field, entry in last.items()
        if field not in theirs and entry.id not in ids[made:]
    }
    for place, entry in life:
        if entry.id in sent:
            continue
        values = {field: value for field, value in entry.values.items() if field in theirs}
        if entry.type == CREATE:
            kind = UPDATE if has_row else CREATE
            found[place] = entry.replaced(values=values | absent, type=kind)
        else:
            found[place] = entry.replaced(values=values)
    return found


def _taken_back(
    timeline: Sequence[Entry],
    diffs: Sequence[Entry],
    sent: Mapping[str, Entry],
    rows: Mapping[RowKey, dict[str, Any] | None],
) -> list[Entry]:
    """Deletes of rows that the device still has, because it changed them, and nobody else."""
    last = {sent[entry.id].key: entry for entry in timeline if entry.id in sent}
    covered = {entry.key for entry in diffs if entry.type == DELETE}
    found = []
    for key, entry in last.items():
        has_row = sent[entry.id].type != DELETE
        if rows[key] is None and has_row and key not in covered:
            named = {Diff.TYPE: DELETE, Diff.ID: entry.id + TAKEN_BACK}
            named[Diff.JSON_DATA] = json_data(entry.row)
            found.append(Entry(diff=entry.diff | named, row=entry.row, values={}))
    return found
