"""What to push next: whole groups of the outbox, or a part of a large one, as runs of a message.

    long groups of inserts     ──► put together by SQLite, image beside image
    other inserts              ──► from their images, read together
    updates and deletes        ──► one by one, since an update sends only the columns it changes

The rule: nothing is read or decoded that the message does not need.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from reunite.core.change import Op
from reunite.core.schema import TableSchema
from reunite.protocol.codec import encode
from reunite.protocol.limits import (
    BODY_BYTES_MAX,
    PART_CHANGES_AIM,
    PUSH_BYTES_AIM,
    PUSH_CHANGES_AIM,
    PUSH_CHANGES_MAX,
)
from reunite.protocol.push import GroupMessage, Part, PushRequest, Run
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.replica import ranges
from reunite.replica.outbox import LONG_GROUP, PENDING, read_pending
from reunite.replica.pending import Pending, Schemas, changed_columns
from reunite.replica.ranges import Range
from reunite.replica.rows import RowForms
from reunite.replica.state import State

# The largest group that travels whole: half of what a hub takes. A run of other programs' changes
# is cut there; a transaction that is larger goes in parts.
WHOLE_MAX = PUSH_CHANGES_MAX // 2
WHOLE_BYTES_MAX = BODY_BYTES_MAX // 4

# The size of parts.
PART_MAX = PART_CHANGES_AIM
PART_BYTES_MAX = PUSH_BYTES_AIM

_OUTLINE = """
    select grp, n, id, stamp, mark, covered from reunite_change
    where n > ? and outcome is null order by n limit ?
"""
_FIRST_OF_GROUP = "select table_name, schema from reunite_change where id = ?"
# Rows that are not as the first one count for nothing; the images follow each other as the ids do.
_INSERTS = """
    select coalesce(sum(op = 'insert' and old is null and row is not null and
               table_name = ? and schema = ?), 0),
           group_concat(uid), cast('[' || group_concat(row) || ']' as blob)
    from reunite_change where id between ? and ?
"""

# A row of `PENDING`, and places in it.
_Row: TypeAlias = tuple[Any, ...]
_N, _GROUP, _TABLE, _OLD, _ROW = 2, 3, 4, 8, 9
_uid, _table, _stamp = itemgetter(1), itemgetter(_TABLE), itemgetter(11)
_old_image, _row_image = itemgetter(_OLD), itemgetter(_ROW)
# Neighbours that have table, op, version, mark and what was covered alike may be one run.
_likeness = itemgetter(_TABLE, 5, 10, 12, 13)


class Batch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Groups read from the outbox, encoded and ready to send; None if there are none. With `part`
    it is a part of a single group."""

    first_n: int
    last_n: int
    groups: msgspec.Raw | None
    schemas: dict[str, int]
    part: Part | None = None

    @property
    def begun(self) -> Part | None:
        """The part, if the next batch goes on with its group."""
        return self.part if self.part is not None and self.part.continues else None


class _Group(NamedTuple):
    """A group whose rows follow each other; its number is negative if it may be divided."""

    number: int
    range: Range


NOTHING = Batch(first_n=0, last_n=0, groups=None, schemas={})


def next_batch(
    connection: sqlite3.Connection,
    schemas: Schemas,
    forms: RowForms,
    *,
    after_n: int,
    changes: int,
    size: int,
) -> Batch:
    """The whole groups to push next: changes after `after_n` that have no answer.

    Groups are taken while their changes, and the bytes of their rows, stay below the two aims;
    the first one always, but a run of other programs' changes no further than WHOLE_MAX: its
    borders are unknown anyway. Of a larger transaction only the first part is read, for a
    new attempt to push it.
    """
    groups = _long_groups(connection, after_n=after_n, changes=changes)
    if groups and (batch := _plain_batch(connection, schemas, forms, groups, size=size)):
        return batch
    if ranges.unanswered(connection, after_n=after_n):
        ranges.spread(connection)
    rows, is_large = _next_rows(connection, schemas, after_n=after_n, changes=changes, size=size)
    if not rows:
        return NOTHING
    part = Part(of=secrets.token_hex(16), begins=rows[0][_N], continues=True) if is_large else None
    return _batch(schemas, forms, rows, part)


def next_part(
    connection: sqlite3.Connection, schemas: Schemas, forms: RowForms, begun: Part, *, after_n: int
) -> Batch:
    """The part after `after_n` of a group of which earlier parts were sent."""
    rows: list[_Row] = []
    size = 0
    continues = False
    found = connection.execute(PENDING.format(where="and n > ? and outcome is null"), (after_n,))
    for row in found:
        if row[_TABLE] not in schemas:
            continue
        if rows and row[_GROUP] != rows[0][_GROUP]:
            break
        if len(rows) >= PART_MAX or size >= PART_BYTES_MAX:
            continues = True
            break
        rows.append(row)
        size += _size(row)
    found.close()
    part = Part(of=begun.of, begins=begun.begins, continues=continues)
    return _batch(schemas, forms, rows, part)


def request_with(batch: Batch, state: State, *, lease: dict[str, int]) -> PushRequest:
    """The push that carries a batch, and asks for blocks of keys."""
    return PushRequest(
        protocol=PROTOCOL_VERSION,
        epoch=state.epoch,
        replica=state.replica,
        known=state.known_n,
        known_id=state.known_id,
        first_n=state.known_n + 1 if batch.groups is None else batch.first_n,
        schemas=batch.schemas,
        groups=() if batch.groups is None else cast(tuple[GroupMessage, ...], batch.groups),
        lease=lease,
        formers=state.formers,
        checkpoint=state.checkpoint,
    )


def numbers_of_group(connection: sqlite3.Connection, n: int) -> range:
    """The numbers from `n` to the last one of its group."""
    (last_n,) = connection.execute(
        "select max(n) from reunite_change"
        " where grp = (select grp from reunite_change where n = ?)",
        (n,),
    ).fetchone()
    return range(n, last_n + 1)


def _long_groups(connection: sqlite3.Connection, *, after_n: int, changes: int) -> list[_Group]:
    """The next whole groups of up to so many changes in all, if they are long and each one's rows
    follow each other; the first one may have more."""
    outline = connection.execute(_OUTLINE, (after_n, changes + 1)).fetchall()
    if not outline:
        return _first(ranges.unanswered(connection, after_n=after_n), changes=changes)
    is_cut, is_one = len(outline) > changes, outline[0][0] == outline[-1][0]
    if is_cut and is_one:
        if changes == 1 and outline[0][0] < 0:
            return []  # its first change goes alone
        outline = connection.execute(_OUTLINE, (after_n, PUSH_CHANGES_AIM + 1)).fetchall()
        is_cut = len(outline) > PUSH_CHANGES_AIM
    found = [list(alike) for _, alike in groupby(outline, key=itemgetter(0))]
    if is_cut:
        found.pop()  # there may be more of it
    if is_one:
        del found[1:]
    groups = [_group_of_rows(rows) for rows in found]
    is_long = sum(map(len, found)) >= LONG_GROUP * len(found)
    return [each for each in groups if each] if is_long and all(groups) else []


def _first(found: Sequence[Range], *, changes: int) -> list[_Group]:
    """The first one, and those after it that have no more than so many changes with it."""
    sizes = accumulate(each.size for each in found)
    count = max(1, sum(size <= changes for size in sizes))
    return [_Group(each.n, each) for each in found[:count]]


def _group_of_rows(rows: Sequence[_Row]) -> _Group | None:
    """The group that these rows of an outline are, if they follow each other and are all alike."""
    (number, n, first_id, *alike), (_, _, last_id, *_) = rows[0], rows[-1]
    follow = [(n + i, first_id + i) for i in range(len(rows))]
    if [row[1:3] for row in rows] != follow or any(row[3:] != (*alike,) for row in rows):
        return None
    return _Group(number, Range(n, first_id, last_id, *alike))


def _plain_batch(
    connection: sqlite3.Connection,
    schemas: Schemas,
    forms: RowForms,
    groups: Sequence[_Group],
    *,
    size: int,
) -> Batch | None:
    """Groups of which each is a run of inserts, all in wire form as they stand; None if something
    among them needs a look at its rows, or they are too large to go together."""
    if sum(group.range.size for group in groups) >= min(WHOLE_MAX, PART_MAX):
        return None
    messages = []
    tables = set()
    for group in groups:
        run = _plain_run(connection, schemas, forms, group.range)
        if run is None:
            return None
        tables.add(run.table)
        messages.append(GroupMessage(runs=(run,), divisible=group.number < 0))
    encoded = msgspec.Raw(encode(messages))
    if len(encoded) >= min(size, PART_BYTES_MAX, WHOLE_BYTES_MAX):
        return None
    return Batch(
        first_n=groups[0].range.n,
        last_n=groups[-1].range.last_n,
        groups=encoded,
        schemas={table: schemas[table].version for table in tables},
    )


def _plain_run(
    connection: sqlite3.Connection, schemas: Schemas, forms: RowForms, found: Range
) -> Run | None:
    first = connection.execute(_FIRST_OF_GROUP, (found.first_id,)).fetchone()
    if first is None or first[0] not in schemas:
        return None
    table, version = first
    ends = found.first_id, found.last_id
    count, uids, rows = connection.execute(_INSERTS, (table, version, *ends)).fetchone()
    ids = tuple(uids.split(","))
    if not count == len(ids) == found.size:
        return None
    if not forms.are_plain(table, version, rows):
        return None
    return Run(
        table=table,
        op=Op.INSERT,
        columns=schemas[table].column_names,
        mark=found.mark,
        covered=found.covered,
        stamps=(found.stamp,),
        ids=ids,
        set=cast(tuple[tuple[Any, ...], ...], msgspec.Raw(rows)),
    )


def _batch(schemas: Schemas, forms: RowForms, rows: Sequence[_Row], part: Part | None) -> Batch:
    groups = [
        GroupMessage(runs=tuple(_runs(schemas, forms, group)), divisible=number < 0, part=part)
        for number, group in groupby(rows, key=itemgetter(_GROUP))
    ]
    return Batch(
        part=part,
        first_n=rows[0][_N],
        last_n=rows[-1][_N],
        groups=msgspec.Raw(encode(groups)),
        schemas={table: schemas[table].version for table in {row[_TABLE] for row in rows}},
    )


def _next_rows(
    connection: sqlite3.Connection, schemas: Schemas, *, after_n: int, changes: int, size: int
) -> tuple[list[_Row], bool]:
    """Rows of whole groups; or those of the first part of one that is too large, and True."""
    found = connection.execute(PENDING.format(where="and n > ? and outcome is null"), (after_n,))
    rows = found.fetchmany(changes + 1)
    if len(rows) > changes and 0 < rows[0][_GROUP] == rows[-1][_GROUP]:
        # The first transaction goes whole, however many changes it has.
        more = found.fetchmany(PUSH_CHANGES_AIM)
        rows += more
        if len(more) < PUSH_CHANGES_AIM or rows[-1][_GROUP] != rows[0][_GROUP]:
            changes = sum(1 for row in rows if row[_GROUP] == rows[0][_GROUP])
    if taken := _plain_groups(rows[: changes + 1], schemas, changes=changes, size=size):
        found.close()
        return taken, False
    whole = part = taken_size = 0
    is_large = False
    group = 0
    for row in chain(rows, found):
        if row[_TABLE] not in schemas:
            continue
        if row[_GROUP] != group:
            group, whole = row[_GROUP], len(taken)
        taken.append(row)
        taken_size += _size(row)
        if whole and (len(taken) > changes or taken_size > size):
            del taken[whole:]
            break
        is_long = len(taken) >= WHOLE_MAX or taken_size >= WHOLE_BYTES_MAX
        if group < 0 and (is_long or changes == 1):
            break
        if group > 0 and not whole:
            if part and is_long:
                del taken[part:]
                is_large = True
                break
            if not part and (len(taken) >= PART_MAX or taken_size >= PART_BYTES_MAX):
                part = len(taken)
    found.close()
    return taken, is_large


def _plain_groups(rows: list[_Row], schemas: Schemas, *, changes: int, size: int) -> list[_Row]:
    """The whole groups among the next rows, judged together, which is three times as fast as one
    by one; none if something among them needs that."""
    images = chain(map(_row_image, rows), map(_old_image, rows))
    is_plain = (
        len(rows) < min(WHOLE_MAX, PART_MAX)
        and sum(map(len, filter(None, images))) < min(size, PART_BYTES_MAX, WHOLE_BYTES_MAX)
        and set(map(_table, rows)) <= schemas.keys()
    )
    if not is_plain:
        return []
    whole = len(rows)
    if whole > changes:
        # There may be more of the last one.
        while whole and rows[whole - 1][_GROUP] == rows[-1][_GROUP]:
            whole -= 1
    return rows[:whole]


def _size(row: _Row) -> int:
    return len(row[_OLD] or "") + len(row[_ROW] or "")


def _runs(schemas: Schemas, forms: RowForms, group: Iterator[_Row]) -> Iterator[Run]:
    for (table, op, version, mark, covered), alike in groupby(group, key=_likeness):
        rows, schema = list(alike), schemas[table]
        if op == Op.INSERT:
            yield Run(
                table=table,
                op=Op.INSERT,
                columns=schema.column_names,
                mark=mark,
                covered=covered,
                stamps=_stamps(list(map(_stamp, rows))),
                ids=tuple(map(_uid, rows)),
                set=tuple(forms.read_images(table, version, list(map(_row_image, rows)))),
            )
        else:
            pendings = [pending for row in rows if (pending := read_pending(schemas, forms, row))]
            for places, part in _parts(schema, pendings):
                yield _run(schema, part, places)


def _parts(
    schema: TableSchema, pendings: Sequence[Pending]
) -> Iterator[tuple[tuple[int, ...], list[Pending]]]:
    """Updates that change the same places, and all or none of which move their rows; deletes."""

    def shape(pending: Pending) -> tuple[tuple[int, ...], bool]:
        is_update = pending.op is Op.UPDATE
        places = changed_columns(schema, pending) if is_update else ()
        return places, pending.old_key is not None

    for (places, _), part in groupby(pendings, key=shape):
        yield places, list(part)


def _run(schema: TableSchema, pendings: Sequence[Pending], places: tuple[int, ...]) -> Run:
    names, first = schema.column_names, pendings[0]
    common: dict[str, Any] = {
        "table": schema.name,
        "op": first.op,
        "mark": first.mark,
        "covered": first.covered,
        "stamps": _stamps([pending.stamp for pending in pendings]),
        "ids": tuple(pending.uid for pending in pendings),
        "keys": tuple(pending.key for pending in pendings),
    }
    if first.op is Op.DELETE:
        return Run(columns=names, was=tuple(p.old for p in pendings if p.old is not None), **common)
    return Run(
        columns=tuple(names[i] for i in places),
        old_keys=tuple(p.old_key for p in pendings if p.old_key is not None),
        set=tuple(tuple(p.row[i] for i in places) for p in pendings if p.row is not None),
        was=tuple(tuple(p.old[i] for i in places) for p in pendings if p.old is not None),
        **common,
    )


def _stamps(stamps: list[str]) -> tuple[str, ...]:
    """One for all, or one for each."""
    return tuple(stamps[:1] if len(set(stamps)) == 1 else stamps)


def with_groups(request: PushRequest, batch: Batch) -> PushRequest:
    """The request that follows one which the hub has taken as it was. Less is confirmed than
    could be; the next one makes up for it."""
    return msgspec.structs.replace(
        request,
        first_n=batch.first_n,
        schemas=batch.schemas,
        groups=cast(tuple[GroupMessage, ...], batch.groups),
        lease={},
    )
