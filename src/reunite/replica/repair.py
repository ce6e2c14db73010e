"""Repair: find the rows of a replica that are not the hub's, and fetch just those.

    own sums ─┐
              ├─► ranges that differ ─► lists of both sides ─► keys ─► rows ─► inbox
    hub's sums┘                                └─► most differ: the whole table ─► inbox

What it is       the comparing half, and the pages that it puts into the inbox. The pull that
                 follows, from the unchanged cursor, shows them: nothing else is locked, shown early
                 or pushed, and the outbox is not touched.
The rule         the hub's images are compared: of a row with pending changes the base, not what is
                 shown. What the hub says of a key is kept as it says it, and a difference that is
                 none by the time of the checkpoint costs a row on the wire and nothing else.

`engine/repair.py` says why answers of different moments are right together. Both sides keep sums
and the keys of some ranges, never a table: memory is bounded, and what travels follows the
differences. A repair that breaks off leaves rows in the inbox that are right at the next
checkpoint; of a table that is fetched whole, nothing counts before all of it is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from reunite.core.digest import (
    Digests,
    RangeSum,
    SumsByRange,
    differing_ranges,
    digests_of,
    key_getter,
    key_hashes,
    prefixes_of,
)
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.steps import Steps
from reunite.errors import StorageUnavailableError
from reunite.protocol.limits import REPAIR_DIGITS_MAX, REPAIR_KEYS_MAX
from reunite.protocol.pull import Page, TablePage
from reunite.protocol.repair import Ask, RepairAnswer, RepairRequest
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.replica.file import ReplicaFile
from reunite.replica.inbox import Inbox
from reunite.replica.outbox import Outbox
from reunite.replica.pending import Place
from reunite.replica.rows import RowForms
from reunite.replica.state import State
from reunite.stores.sql.quoting import quoted

# Rows that a range should have: a range that differs is listed, so smaller ones list less, and
# more of them make the sums longer.
RANGE_ROWS_AIM = 256

# Rows of ranges that differ which are compared at a time; their keys and hashes are in memory.
LISTED_ROWS_MAX = 50_000

# A table of fewer rows is compared row by row, however many differ.
WHOLE_ROWS_MIN = 1_000

# Own keys that are read and hashed at a time; rows come in steps that their size decides.
_STEP_KEYS = 1_000


# How a row differs: the name of the field that counts it.
How: TypeAlias = Literal["differing", "missing", "extra"]


class TableRepair(msgspec.Struct, kw_only=True):
    """What a comparison found in one table.

    rows          the replica's rows, pending changes left out
    differing     rows that both have, with other values
    missing       rows that the hub has and the replica does not
    extra         rows that the replica has and the hub does not
    is_whole      most rows differed, so that all of the table was fetched; the counts are then
                  what was known by that time
    """

    table: str
    rows: int = 0
    differing: int = 0
    missing: int = 0
    extra: int = 0
    is_whole: bool = False

    @property
    def found(self) -> int:
        """How many rows were not as the hub has them."""
        return self.differing + self.missing + self.extra

    def count(self, how: How, rows: int) -> None:
        """Add to one of the three."""
        setattr(self, how, getattr(self, how) + rows)


class RepairReport(msgspec.Struct, kw_only=True):
    """What a comparison found, table by table. `is_stale`: the hub's log does not reach back to
    this replica's cursor, so nothing can be said; the next pull brings every row anew."""

    tables: list[TableRepair]
    is_stale: bool = False

    @property
    def found(self) -> int:
        """How many rows were not as the hub has them."""
        return sum(table.found for table in self.tables)


Take: TypeAlias = Callable[[TableSchema, dict[Key, How]], None]


Result = TypeVar("Result")


class Asking(Protocol):
    """How to reach the hub."""

    def __call__(
        self, operation: str, request: object, answer_type: type[RepairAnswer]
    ) -> RepairAnswer: ...


class _StaleError(Exception):
    """The cursor is not of the hub's log any more."""


Digested: TypeAlias = tuple[list[Row], Digests]

# Any number that is larger than a step.
_ROWS_EXPECTED = 1_000_000


class OwnRows:
    """One table of the file in a snapshot, as the hub's images, read in batches."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        forms: RowForms,
        schema: TableSchema,
        images: Mapping[Place, Row | None],
    ) -> None:
        self._connection = connection
        self._forms = forms
        self._schema = schema
        self._images = {key: row for (table, key), row in images.items() if table == schema.name}

    def batches(self) -> Iterator[Digested]:
        """Every row."""
        key_of = key_getter(self._schema)
        rows = self._forms.read_all(self._connection, self._schema)
        if self._images:
            rows = (row for row in rows if key_of(row) not in self._images)
        yield from self._digested(rows)
        yield from self._digested(iter(self._present_images()))

    def batches_in(self, prefixes: set[str]) -> Iterator[Digested]:
        """The rows of these ranges."""
        yield from self._digested(self._rows_in(prefixes))
        yield from self._digested(
            row
            for row, digest in self._with_key_hash(self._present_images())
            if digest[: len(next(iter(prefixes)))] in prefixes
        )

    def _rows_in(self, prefixes: set[str]) -> Iterator[Row]:
        schema, length = self._schema, len(next(iter(prefixes)))
        keys = self._forms.read_keys(self._connection, schema)
        while batch := list(islice(keys, _STEP_KEYS)):
            for key, digest in zip(batch, key_hashes(schema, batch), strict=True):
                if digest.hex()[:length] in prefixes and key not in self._images:
                    row = self._forms.read(self._connection, schema, key)
                    if row is not None:
                        yield row

    def _present_images(self) -> list[Row]:
        return [row for row in self._images.values() if row is not None]

    def _with_key_hash(self, rows: list[Row]) -> Iterator[tuple[Row, str]]:
        hashes = key_hashes(self._schema, list(map(key_getter(self._schema), rows)))
        return zip(rows, (digest.hex() for digest in hashes), strict=True)

    def _digested(self, rows: Iterator[Row]) -> Iterator[Digested]:
        steps = Steps(_ROWS_EXPECTED)
        while batch := list(islice(rows, steps.next(_ROWS_EXPECTED))):
            digests = digests_of(self._schema, batch)
            steps.took(digests.size)
            yield batch, digests


class Repair:
    """Compares tables of one file with the hub's. The caller holds the file's sync lock."""

    def __init__(
        self,
        file: ReplicaFile,
        call: Asking,
        *,
        is_remote: bool,
        tell: Callable[[int, int], None],
        inbox: Callable[[sqlite3.Connection, State], Inbox],
    ) -> None:
        self._file = file
        self._call = call
        self._is_remote = is_remote
        self._tell = tell
        self._inbox = inbox
        self._cursor = self._replica = ""
        self._view: tuple[str, ...] | None = None
        self._where: dict[str, Any] = {}
        self._compared = self._total = 0

    def compare(self, tables: Sequence[str] | None, ahead: Iterator[Page]) -> RepairReport:
        """What is not as the hub had it at this replica's checkpoint.

        ahead    the pages from there on, which are read only if something differs: the rows in
                 them differ because the hub has moved on, and are no findings
        """
        found: dict[Place, How] = {}

        def take(schema: TableSchema, keys: dict[Key, How]) -> None:
            found.update({(schema.name, key): how for key, how in keys.items()})

        report = self._find(tables, take)
        by_table = {table.table: table for table in report.tables}
        keys_of = {schema.name: schema.key for schema in self._file.state().schemas}
        for page in ahead if found else ():
            report.is_stale |= page.reset
            for part in page.tables:
                places = [part.columns.index(name) for name in keys_of.get(part.table, ())]
                keys = [tuple(row[place] for place in places) for row in part.puts]
                for key in (*keys, *part.deletes, *part.evicts):
                    how = found.pop((part.table, key), None)
                    if how is not None:
                        by_table[part.table].count(how, -1)
        return report

    def gather(self, tables: Sequence[str] | None) -> RepairReport:
        """Compare these tables (None: all) and put the rows that differ into the inbox, for the
        next checkpoint to show. Pull before, so that fewer differ, and pull after."""
        return self._find(tables, self._fetch, self._fetch_whole)

    # -- comparing ----------------------------------------------------------------------------

    def _find(
        self,
        tables: Sequence[str] | None,
        take: Take,
        take_whole: Callable[[TableSchema], None] | None = None,
    ) -> RepairReport:
        """Find the rows that differ, and give their keys to `take`, some at a time.

        take_whole    called instead where most rows of a table differ
        """
        state = self._file.state()
        if state.cursor is None:  # a snapshot is to come, and brings every row
            return RepairReport(tables=[], is_stale=True)
        self._cursor = state.repaired or state.cursor
        self._replica, self._view, self._where = state.replica, state.tables, state.where
        schemas = {schema.name: schema for schema in state.schemas}
        chosen = [schemas[name] for name in sorted(tables or schemas) if name in schemas]
        with self._file.looking() as (connection, _, _):
            counts = {schema.name: _count(connection, schema) for schema in chosen}
        self._total = sum(counts.values())
        report = RepairReport(tables=[TableRepair(table=schema.name) for schema in chosen])
        try:
            for schema, found in zip(chosen, report.tables, strict=True):
                self._compare(schema, counts[schema.name], found, take, take_whole)
        except _StaleError:
            report.is_stale = True
        return report

    def _compare(
        self,
        schema: TableSchema,
        count: int,
        found: TableRepair,
        take: Take,
        take_whole: Callable[[TableSchema], None] | None,
    ) -> None:
        digits = _digits_for(count)
        ours, theirs = self._both_sums(schema, digits)
        found.rows = sum(part.rows for part in ours)
        hub_rows = sum(part.rows for part in theirs)
        total = max(found.rows, hub_rows)
        if total < WHOLE_ROWS_MIN:
            take_whole = None
        pairs = list(zip(ours, theirs, strict=True))
        if take_whole and sum(abs(a.rows - b.rows) for a, b in pairs) > total / 2:
            found.missing = max(0, hub_rows - found.rows)
            found.extra = max(0, found.rows - hub_rows)
            found.is_whole = True
            take_whole(schema)
            return
        sizes = {a.prefix: max(a.rows, b.rows) for a, b in pairs}
        prefixes = differing_ranges(ours, theirs)
        is_wide = sum(sizes[prefix] for prefix in prefixes) > total / 2
        listed = 0
        for batch in _batches(prefixes, sizes):
            keys = self._differing(schema, batch, found)
            listed += sum(sizes[prefix] for prefix in batch)
            if take_whole and is_wide and found.found > listed / 2:
                found.is_whole = True
                take_whole(schema)
                return
            if keys:
                take(schema, keys)

    def _both_sums(self, schema: TableSchema, digits: int) -> tuple[list[RangeSum], list[RangeSum]]:
        """Own sums and the hub's; both sides count at once, if the hub is another process."""
        if not self._is_remote:
            return self._own_sums(schema, digits), self._hub_sums(schema, digits)
        with ThreadPoolExecutor(max_workers=1) as pool:
            theirs = pool.submit(self._hub_sums, schema, digits)
            ours = self._own_sums(schema, digits)
            return ours, theirs.result()

    def _own_sums(self, schema: TableSchema, digits: int) -> list[RangeSum]:
        before = self._compared

        def read(own: OwnRows) -> SumsByRange:
            sums = SumsByRange(digits)
            self._compared = before
            for rows, digests in own.batches():
                sums.add(digests)
                self._compared += len(rows)
                self._tell(self._compared, self._total)
            return sums

        return _as_sent(self._with_own(schema, read).ranges())

    def _hub_sums(self, schema: TableSchema, digits: int) -> list[RangeSum]:
        rows = [0] * 16**digits
        sums = [0] * 16**digits
        for answer in self._ask_through(schema, Ask.SUMS, digits=digits):
            rows = [a + b for a, b in zip(rows, answer.rows, strict=True)]
            sums = [a + int(b, 16) for a, b in zip(sums, answer.sums, strict=True)]
        return _as_sent(
            [
                RangeSum(prefix=prefix, rows=count, sum=f"{total:x}")
                for prefix, count, total in zip(prefixes_of(digits), rows, sums, strict=True)
            ]
        )

    def _differing(
        self, schema: TableSchema, prefixes: list[str], found: TableRepair
    ) -> dict[Key, How]:
        """The keys in these ranges whose rows are not alike, each as the side spells it that has
        it."""
        keys: dict[Key, How] = {}
        own_rows = self._with_own(schema, lambda own: _listed(schema, own, prefixes, keys))
        for answer in self._ask_through(schema, Ask.LIST, prefixes=tuple(prefixes)):
            hashes = key_hashes(schema, answer.keys)
            for key, key_hash, sent in zip(answer.keys, hashes, answer.hashes, strict=True):
                mine = own_rows.pop(key_hash, None)
                if mine is None:
                    keys[key] = "missing"
                elif not mine[1].startswith(sent):
                    keys[key] = "differing"
                    if mine[0] != key:
                        keys[mine[0]] = "extra"
        keys |= {key: "extra" for key, _ in own_rows.values()}
        for how in keys.values():
            found.count(how, 1)
        return keys

    # -- fetching -----------------------------------------------------------------------------

    def _fetch(self, schema: TableSchema, found: dict[Key, How]) -> None:
        """What the hub has under these keys, into the inbox."""
        keys = list(found)
        while keys:
            answer = self._ask(schema, Ask.ROWS, keys=keys[:REPAIR_KEYS_MAX])
            assert answer.page is not None, "an answer about rows has a page"
            with self._file.writing() as (connection, state):
                self._inbox(connection, state).store(self._page(state, answer, answer.page))
                state.repaired = answer.cursor
            keys = keys[max(1, answer.taken) :]

    def _fetch_whole(self, schema: TableSchema) -> None:
        """All rows of the table, into the inbox; the first page empties the table."""
        with self._file.writing() as (connection, state):
            self._inbox(connection, state).forget_unfinished()
        is_first = True
        for answer in self._ask_through(schema, Ask.ALL):
            assert answer.page is not None, "an answer about all rows has a page"
            part = msgspec.structs.replace(answer.page, reset=is_first)
            with self._file.writing() as (connection, state):
                inbox = self._inbox(connection, state)
                inbox.store_unfinished(self._page(state, answer, part))
                if answer.next is None:
                    inbox.finish()
                    state.repaired = answer.cursor
            is_first = False

    @staticmethod
    def _page(state: State, answer: RepairAnswer, part: TablePage) -> Page:
        assert state.cursor is not None, "checked when the comparison began"
        return Page(
            cursor=state.cursor,
            stamp=answer.stamp,
            schemas={schema.name: schema.version for schema in state.schemas},
            tables=(part,),
        )

    # -- asking -------------------------------------------------------------------------------

    def _ask_through(
        self, schema: TableSchema, ask: Ask, *, digits: int = 0, prefixes: tuple[str, ...] = ()
    ) -> Iterator[RepairAnswer]:
        """Ask on until there is no more."""
        after: Key | None = None
        while True:
            answer = self._ask(schema, ask, digits=digits, prefixes=prefixes, after=after)
            yield answer
            after = answer.next
            if after is None:
                return

    def _ask(
        self,
        schema: TableSchema,
        ask: Ask,
        *,
        digits: int = 0,
        prefixes: tuple[str, ...] = (),
        keys: Sequence[Key] = (),
        after: Key | None = None,
    ) -> RepairAnswer:
        answer = self._call(
            "repair",
            RepairRequest(
                protocol=PROTOCOL_VERSION,
                replica=self._replica,
                cursor=self._cursor,
                tables=self._view,
                where=self._where,
                table=schema.name,
                ask=ask,
                after=after,
                digits=digits,
                prefixes=prefixes,
                keys=list(keys),
            ),
            RepairAnswer,
        )
        if answer.is_stale:
            raise _StaleError
        self._cursor = answer.cursor
        return answer

    def _with_own(self, schema: TableSchema, read: Callable[[OwnRows], Result]) -> Result:
        """What `read` makes of the table as it is now. If a text in it turns out to be none, it
        reads once more, in a way that is slower and finds the row to differ."""
        try:
            with self._own(schema, None) as own:
                return read(own)
        except StorageUnavailableError as exc:
            if _NO_TEXT not in str(exc.__cause__):
                raise
        with self._own(schema, _any_text) as own:
            return read(own)

    @contextmanager
    def _own(
        self, schema: TableSchema, text_factory: Callable[[bytes], str] | None
    ) -> Iterator[OwnRows]:
        """The table's rows; no snapshot stays open while the hub is asked."""
        with self._file.looking(text_factory) as (connection, state, forms):
            images = Outbox(connection, state, self._file.schemas(state), forms).images()
            yield OwnRows(connection, forms, schema, images)


def _listed(
    schema: TableSchema, own: OwnRows, prefixes: list[str], keys: dict[Key, How]
) -> dict[bytes, tuple[Key, str]]:
    """The rows of these ranges by the hash of their key, each with its key and hash. Of two whose
    keys mean the same, the second goes to `keys`."""
    listed: dict[bytes, tuple[Key, str]] = {}
    for rows, digests in own.batches_in(set(prefixes)):
        for row, key_hash, row_hash in zip(rows, digests.keys, digests.rows, strict=True):
            if key_hash in listed:
                keys[schema.key_of(row)] = "extra"
            else:
                listed[key_hash] = schema.key_of(row), row_hash.hex()
    return listed


def _any_text(stored: bytes) -> str:
    """A text, or for bytes that are none one that no hub has."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return f"\0no text: {stored.hex()}"


# What sqlite3 says of text that is not UTF-8.
_NO_TEXT = "decode to UTF-8"


def _count(connection: sqlite3.Connection, schema: TableSchema) -> int:
    text = f"select count(*) from {quoted(schema.name)}"
    return int(connection.execute(text).fetchone()[0])


def _digits_for(rows: int) -> int:
    """Digits of the prefixes of ranges of about RANGE_ROWS_AIM rows, where that can be."""
    digits = 0
    while digits < REPAIR_DIGITS_MAX and rows > RANGE_ROWS_AIM * 16**digits:
        digits += 1
    return digits


def _as_sent(ranges: Sequence[RangeSum]) -> list[RangeSum]:
    """Sums cut to the digits that travel."""
    return [
        msgspec.structs.replace(part, sum=f"{int(part.sum, 16) % 2**64:016x}") for part in ranges
    ]


def _batches(prefixes: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Ranges that together have about LISTED_ROWS_MAX rows."""
    batch: list[str] = []
    rows = 0
    for prefix in prefixes:
        batch.append(prefix)
        rows += sizes[prefix]
        if rows >= LISTED_ROWS_MAX:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch
