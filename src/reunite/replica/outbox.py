"""The outbox: raw captured changes become numbered pending ones, and groups to push.

    triggers ─► raw rows (n is null) ─► prepare: fold, number, stamp, group ─► pending ─► push

What it is       the only reader and writer of `reunite_change` in a replica, besides triggers and
                 `captured.py`, which makes of the raw rows what happened.
The rule         every function runs in the caller's transaction; a raw row gets its random id from
                 the trigger, so copies of a file send the same change under the same id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from reunite.core.change import Op, Outcome
from reunite.core.key import Key, key_text, parse_key
from reunite.core.stamp import Stamp, next_stamp, parse_stamp
from reunite.core.stored import wire_integer
from reunite.core.values import Row, parse_integer
from reunite.replica import ranges
from reunite.replica.captured import Raw, Settling
from reunite.replica.keys import KeyBlocks
from reunite.replica.pending import Pending, Place, Schemas, places
from reunite.replica.rows import RowForms
from reunite.replica.state import State
from reunite.replica.unreadable import make_readable

# How far a stamp of ours may be ahead of the clock: clocks are set back a little now and then.
CLOCK_AHEAD_MS_MAX = 60_000

_RAW = """
    select id, table_name, op, key, old_key, row is null, at_ms
    from reunite_change where n is null order by id
"""
_RAW_SUMMARY = """
    select count(*), coalesce(sum(op <> 'insert' or row is null or n is not null), 0),
           min(table_name), max(table_name)
    from reunite_change where id between ? and ?
"""
_RAW_TABLES = "select distinct table_name from reunite_change where id between ? and ?"
_GROUPS = "select first_id, last_id, at_ms from reunite_group order by first_id"

# Changes in a group, on average, from which on what is done once for each group costs nothing.
LONG_GROUP = 20

# Changes and groups that are numbered together.
PLAIN_AT_ONCE = 100_000
_GROUPS_AT_ONCE = 1_000
_NUMBER = """
    update reunite_change set op = ?, n = ?, grp = ?, stamp = ?, mark = ?, covered = ? where id = ?
"""
# The columns in the order in which `read_pending` takes them.
PENDING = """
    select id, uid, n, grp, table_name, op, key, old_key, old, row, schema, stamp, mark,
           covered, at_ms, outcome
    from reunite_change where n is not null {where} order by n
"""
_IMAGES = """
    select table_name, op, key, old_key, old, schema from reunite_change order by n is null, n, id
"""
_SAVE = """
    update reunite_change set op = ?, key = ?, old_key = ?, old = ?, row = ?, schema = ?, n = ?,
           grp = ?, mark = ?, covered = ?, outcome = ? where id = ?
"""


class Made(NamedTuple):
    """A change that no trigger has captured; `old` and `row` as in a pending one."""

    table: str
    op: Op
    key: Key
    old: Row | None
    row: Row | None


class Outbox:
    """The outbox of one replica file, inside one transaction."""

    def __init__(
        self, connection: sqlite3.Connection, state: State, schemas: Schemas, forms: RowForms
    ) -> None:
        self._connection = connection
        self._state = state
        self._schemas = schemas
        self._forms = forms

    # -- raw → pending ------------------------------------------------------------------------

    def prepare(self, *, now_ms: int) -> list[int]:
        """Number what the triggers captured since last time.

        Changes the state's next_n, stamp and blocks; the caller saves it. Returns the numbers of
        inserts whose generated key is not this replica's to give: they must move.
        """
        while self.number_plain(now_ms=now_ms, changes=PLAIN_AT_ONCE):
            pass
        ranges.spread(self._connection)
        make_readable(self._connection, self._schemas)
        raws = [Raw(values) for values in self._connection.execute(_RAW)]
        if not raws:
            return []
        Settling(self._connection, self._schemas, self._forms).settle(raws)
        kept = [raw for raw in raws if not raw.is_dropped]
        dropped = [(raw.id,) for raw in raws if raw.is_dropped]
        self._connection.executemany("delete from reunite_change where id = ?", dropped)
        to_move = self._number(kept, now_ms)
        self._connection.execute("delete from reunite_group")
        return to_move

    def number_plain(self, *, now_ms: int, changes: int) -> bool:
        """Number by ranges the next groups that need no second look: inserts of reunite's own
        transactions into tables without generated keys. Whole groups, until there are so many
        changes; whether there was any."""
        connection, state = self._connection, self._state
        first_raw = ranges.first_raw(connection)
        if first_raw is None:
            return False
        groups: list[tuple[int, int, int]] = []
        for first, last, at_ms in connection.execute(f"{_GROUPS} limit {_GROUPS_AT_ONCE}"):
            follows = groups[-1][1] + 1 if groups else first_raw
            if first != follows or (groups and last - groups[0][0] >= changes):
                break
            groups.append((first, last, at_ms))
        if not groups:
            return False
        whole = groups[0][0], groups[-1][1]
        count, others, *names = connection.execute(_RAW_SUMMARY, whole).fetchone()
        if others or count != whole[1] - whole[0] + 1:
            return False
        tables = set(names)
        if len(tables) > 1:  # and perhaps others between them
            tables = {name for (name,) in connection.execute(_RAW_TABLES, whole)}
        if any(name not in self._schemas or self._schemas[name].generated_key for name in tables):
            return False
        make_readable(connection, self._schemas, ids=whole, has_inserts_only=True)
        stamp = self._last_stamp(now_ms)
        for first, last, at_ms in groups:
            stamp = next_stamp(stamp, now_ms=min(at_ms, now_ms))
            n = state.next_n + first - whole[0]
            ranges.add(
                connection,
                ranges.Range(n, first, last, str(stamp), state.mark, state.covered_n),
            )
        if count < LONG_GROUP * len(groups):
            ranges.spread(connection)
        state.next_n += count
        state.stamp = str(stamp)
        connection.execute("delete from reunite_group where last_id <= ?", (whole[1],))
        return True

    def has_raw(self) -> bool:
        """Whether something was captured that is not numbered yet."""
        return ranges.first_raw(self._connection) is not None

    def add(self, first: Sequence[Made], last: Sequence[Made], *, now_ms: int) -> None:
        """Take in changes that no trigger has captured: before all that was never sent, and after
        it. What was captured must be numbered. The rows that they mean are the caller's to show.
        """
        connection, state = self._connection, self._state
        stamp = next_stamp(self._last_stamp(now_ms), now_ms=now_ms)
        ids: list[list[int]] = []
        for part in (first, last):
            connection.executemany(
                "insert into reunite_change (table_name, op, key, old, row, schema) "
                "values (?, ?, ?, ?, ?, ?)",
                [
                    (
                        made.table,
                        made.op,
                        self._forms.key_text(made.table, made.key),
                        self._forms.log_text(made.table, made.old),
                        self._forms.log_text(made.table, made.row),
                        self._schemas[made.table].version,
                    )
                    for made in part
                ],
            )
            known = {change_id for each in ids for change_id in each}
            found = connection.execute("select id from reunite_change where n is null order by id")
            ids.append([change_id for (change_id,) in found if change_id not in known])
        begin = max(state.sent_n, state.known_n) + 1
        connection.execute(
            "update reunite_change set n = n + ?1, grp = grp + iif(grp > 0, ?1, -?1) where n >= ?2",
            (len(ids[0]), begin),
        )
        end = state.next_n + len(ids[0])
        for number, part_ids in ((begin, ids[0]), (end, ids[1])):
            connection.executemany(
                "update reunite_change set n = ?, grp = ?, stamp = ?, mark = ?, covered = ? "
                "where id = ?",
                [
                    (n, -number, str(stamp), state.mark, state.covered_n, change_id)
                    for n, change_id in enumerate(part_ids, number)
                ],
            )
        state.next_n = end + len(ids[1])
        state.stamp = str(stamp)

    def _last_stamp(self, now_ms: int) -> Stamp:
        """The newest stamp this replica issued or has heard of, as one of its own.

        One that it issued while its clock stood ahead is forgotten when the clock is right again:
        else all its changes would for as long count as made when they are pushed.
        """
        state = self._state
        issued, heard = (
            parse_stamp(text) if text else Stamp(wall_ms=0)
            for text in (state.stamp, state.heard_stamp)
        )
        is_believed = issued.wall_ms <= now_ms + CLOCK_AHEAD_MS_MAX
        last = max(issued, heard) if is_believed else heard
        return Stamp(wall_ms=last.wall_ms, counter=last.counter, replica=state.replica)

    def _number(self, kept: Sequence[Raw], now_ms: int) -> list[int]:
        state = self._state
        blocks = KeyBlocks(state.blocks)
        groups = self._connection.execute(_GROUPS).fetchall()
        last = self._last_stamp(now_ms)
        updates, to_move = [], []
        group, group_range, at_ms = 0, None, -1
        vacated: set[tuple[str, str]] = set()  # by this group: INSERT OR REPLACE keeps its key
        moving: set[tuple[str, str]] = set()  # rows of keys that were never theirs to leave free
        stamp_text = ""
        position = 0
        n = state.next_n
        is_first = True
        for raw in kept:
            while position < len(groups) and groups[position][1] < raw.id:
                position += 1
            inside = position < len(groups) and groups[position][0] <= raw.id
            own = groups[position] if inside else None
            if is_first or own != group_range:
                group_range, group = own, (n if own else -n)
                vacated.clear()
                at_ms = -1
            is_first = False
            # A device's clock may run ahead of the one that is asked now: such times are now.
            raw_ms = min(raw.at_ms if own is None else own[2], now_ms)
            if at_ms < 0 or (own is None and raw_ms != at_ms):
                at_ms = raw_ms
                last = next_stamp(last, now_ms=at_ms)
                stamp_text = str(last)
            if raw.op == Op.DELETE or raw.old_key is not None:
                place = (raw.table, raw.source)
                if place in moving:
                    moving.discard(place)
                else:
                    vacated.add(place)
            if raw.op == Op.INSERT and self._schemas[raw.table].generated_key:
                key = parse_integer(self._forms.read_key(raw.table, raw.key)[0])
                is_given = (raw.table, key) in state.reserved
                if is_given:
                    state.reserved = tuple(p for p in state.reserved if p != (raw.table, key))
                elif not blocks.note(raw.table, key) and (raw.table, raw.key) not in vacated:
                    to_move.append(n)
                    moving.add((raw.table, raw.key))
            updates.append((raw.op, n, group, stamp_text, state.mark, state.covered_n, raw.id))
            n += 1
        self._connection.executemany(_NUMBER, updates)
        state.next_n = n
        state.stamp = str(last)
        state.blocks = blocks.value()
        return to_move

    # -- pending ------------------------------------------------------------------------------

    def load(self) -> list[Pending]:
        """All pending changes in order of n."""
        rows = self._connection.execute(PENDING.format(where=""))
        return [
            pending for row in rows if (pending := read_pending(self._schemas, self._forms, row))
        ]

    def stored_bases(self) -> dict[Place, Row | None]:
        """The images of touched rows that pages have brought."""
        found: dict[Place, Row | None] = {}
        for table, key, row in self._connection.execute(
            "select table_name, key, row from reunite_base"
        ):
            if table in self._schemas:
                read = self._forms.reader(table, self._schemas[table].version)
                found[table, parse_key(key)] = None if row is None else read(row)
        return found

    def images(self) -> dict[Place, Row | None]:
        """The hub's image of every row that a change touches, numbered or only captured."""
        found = self.stored_bases()
        for table, op, key, old_key, old, version in self._connection.execute(_IMAGES):
            if table not in self._schemas:
                continue
            target = table, self._forms.read_key(table, key)
            source = target if old_key is None else (table, self._forms.read_key(table, old_key))
            if source not in found:
                is_new = op == Op.INSERT or old is None
                found[source] = None if is_new else self._forms.reader(table, version)(old)
            found.setdefault(target, None)
        return found

    def evicted(self) -> set[Place]:
        """The touched rows of which a page said that they are no longer this replica's to see."""
        return {
            (table, parse_key(key))
            for table, key in self._connection.execute(
                "select table_name, key from reunite_base where is_evicted"
            )
        }

    def store_bases(
        self,
        pendings: Sequence[Pending],
        images: Mapping[Place, Row | None],
        evicted: Collection[Place],
    ) -> None:
        """Keep the hub's images of rows that still have pending changes."""
        self._connection.execute("delete from reunite_base")
        self._connection.executemany(
            "insert into reunite_base (table_name, key, row, is_evicted) values (?, ?, ?, ?)",
            [
                (
                    table,
                    key_text(key),
                    self._forms.log_text(table, images.get((table, key))),
                    (table, key) in evicted,
                )
                for table, key in places(pendings)
                if table in self._schemas
            ],
        )

    def renumber_all(self) -> int:
        """Give every change a new number from 1 on and forget its outcome; how many there are."""
        pendings = self.load()
        new_of = {pending.n: n for n, pending in enumerate(pendings, 1)}
        for pending in pendings:
            first = new_of.get(abs(pending.group), new_of[pending.n])
            pending.group = first if pending.group > 0 else -first
            pending.n = new_of[pending.n]
            pending.outcome, pending.covered = None, 0
        self.save(pendings)
        return len(pendings)

    def set_marks(self, mark: int) -> None:
        """The log that the marks belonged to is gone; another one has come to `mark`."""
        self._connection.execute("update reunite_change set mark = ? where n is not null", (mark,))

    def save(self, pendings: Iterable[Pending]) -> None:
        """Write back what moved keys, numbers, outcomes or squashing changed."""
        self._connection.executemany(
            _SAVE,
            [
                (
                    pending.op,
                    self._forms.key_text(pending.table, pending.key),
                    None
                    if pending.old_key is None
                    else self._forms.key_text(pending.table, pending.old_key),
                    self._forms.log_text(pending.table, pending.old),
                    self._forms.log_text(pending.table, pending.row),
                    self._schemas[pending.table].version,
                    pending.n,
                    pending.group,
                    pending.mark,
                    pending.covered,
                    None if pending.outcome is None else _encode_outcome(pending.outcome),
                    pending.id,
                )
                for pending in pendings
            ],
        )

    def remove(self, pendings: Iterable[Pending]) -> None:
        """Take these changes out of the outbox."""
        self._connection.executemany(
            "delete from reunite_change where id = ?", [(pending.id,) for pending in pendings]
        )

    def set_applied(self, first_n: int, last_n: int) -> None:
        """Note the plain outcome `applied` for these numbers."""
        ranges.set_applied(self._connection, first_n, last_n)
        self._connection.execute(
            "update reunite_change set outcome = 'applied' where n between ? and ?",
            (first_n, last_n),
        )

    def tables(self) -> set[str]:
        """The tables of which changes are in the outbox."""
        return {
            name
            for (name,) in self._connection.execute(
                "select distinct table_name from reunite_change"
            )
        }

    def id_of(self, n: int) -> str:
        """The random id of the change of this number, "" if it is not here."""
        found = self._connection.execute(
            "select uid from reunite_change where n = ?", (n,)
        ).fetchone()
        return (ranges.uid_of(self._connection, n) or "") if found is None else str(found[0])

    def counts(self) -> tuple[int, int]:
        """(changes in the outbox, those of them that the hub has answered)."""
        row = self._connection.execute(
            "select count(*), count(outcome) from reunite_change"
        ).fetchone()
        _, applied, _ = ranges.counts(self._connection)
        return int(row[0]), int(row[1]) + applied

    def new_keys(
        self, pendings: Sequence[Pending], positions: Iterable[int]
    ) -> tuple[dict[int, Key], dict[str, int]]:
        """A free key of the blocks for each of these inserts; how many more each table needs."""
        blocks = KeyBlocks(self._state.blocks)
        taken = places(pendings)
        found: dict[int, Key] = {}
        missing: dict[str, int] = {}
        for position in positions:
            table = pendings[position].table
            key = None if table in missing else self._free_key(table, blocks, taken)
            if key is None:
                missing[table] = missing.get(table, 0) + 1
            else:
                found[position] = key
        self._state.blocks = blocks.value()
        return found, missing

    def _free_key(self, table: str, blocks: KeyBlocks, taken: set[Place]) -> Key | None:
        """The next key of the blocks that neither the file nor the outbox holds."""
        while (value := blocks.take(table)) is not None:
            key = (wire_integer(value),)
            is_there = self._forms.exists(self._connection, self._schemas[table], key)
            if (table, key) not in taken and not is_there:
                return key
        return None


_OPS = {op.value: op for op in Op}


def _decode_outcome(text: str) -> Outcome:
    if text == "applied":
        return _APPLIED
    return msgspec.json.decode(text, type=Outcome)


def _encode_outcome(outcome: Outcome) -> str:
    return "applied" if outcome == _APPLIED else msgspec.json.encode(outcome).decode()


_APPLIED = msgspec.json.decode(b'{"kind":"applied"}', type=Outcome)


def read_pending(
    schemas: Schemas,
    forms: RowForms,
    values: tuple,  # type: ignore[type-arg]
) -> Pending | None:
    """A row of `PENDING`; None if its table is none of these any more."""
    (
        change_id, uid, n, group, table, op, key, old_key, old, row, version, stamp, mark,
        covered, at_ms, outcome,
    ) = values  # fmt: skip
    if table not in schemas:
        return None
    read = forms.reader(table, version)
    return Pending(
        id=change_id,
        uid=uid,
        n=n,
        group=group,
        table=table,
        op=_OPS[op],
        key=forms.read_key(table, key),
        old_key=None if old_key is None else forms.read_key(table, old_key),
        old=None if old is None else read(old),
        row=None if row is None else read(row),
        stamp=stamp,
        mark=mark,
        covered=covered,
        at_ms=at_ms,
        outcome=None if outcome is None else _decode_outcome(outcome),
    )


def bases(
    pendings: Iterable[Pending], stored: Mapping[Place, Row | None]
) -> dict[Place, Row | None]:
    """The hub's image of every touched row: what a page brought, else what the first pending
    change of the row replaced."""
    found: dict[Place, Row | None] = dict(stored)
    for pending in pendings:
        source = (pending.table, pending.source)
        if source not in found:
            found[source] = None if pending.op is Op.INSERT else pending.old
        found.setdefault((pending.table, pending.key), None)
    return found
