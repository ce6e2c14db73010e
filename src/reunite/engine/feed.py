"""Feed: a table's rows in the order of the log, for programs that keep a place and no inbox.

    nowhere yet ──► the rows by key, but those that changed since the first page ──► the log
    a time      ──► the commits since then, if the log still has them; else from the beginning
    a place     ──► what `pull` would send: commits, or the difference that another view makes

What it is       the pages of `pull` for readers that apply each page as it comes: rows, and the
                 keys of those that are gone or not theirs to see any more.
What it is not   a checkpoint: between two pages such a reader may show what the hub never had.
The rule         a row that does not change is given once, however many pages there are and whatever
                 is written between them; no change is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.cursor import Cursor, SnapshotPosition
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.rules import Access
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.core.view import View
from reunite.engine.numbered import NumberedStore
from reunite.engine.ports import Head, Position, ReplicaRecord, Touch, Transaction
from reunite.engine.pull import PageBuilder
from reunite.engine.reading_on import place_for
from reunite.engine.tables import Tables
from reunite.engine.view import VIEWS_MAX, generation_of, view_of
from reunite.errors import ViewChangedError
from reunite.protocol.pull import Page, TablePage

# Changes that are looked at in one step; those of other tables are passed over.
_TOUCHES_PER_STEP = 2_000

# How often a reader that begins waits for what has no number yet.
_BEGINNINGS_MAX = 10


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader of one table is. It comes back from the reader: whoever hands it out must
    see to it that only that reader can hand it in, and nobody can make one.

    mark          the snapshot in which the rows by key began
    generation    that of the table: another one means that something may have escaped the log
    """

    cursor: Cursor
    mark: int = 0
    generation: str = ""


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """What comes next. `rows` is a JSON array of arrays in the order of `schema`'s columns.

    gone      keys of rows that are deleted, or no longer the reader's
    is_reset  the place could not be read on from: these are the rows from the beginning
    mark      the snapshot that the page was read in
    at_ms     a time from which on a reader that has lost the place misses nothing
    """

    schema: TableSchema
    rows: bytes
    gone: Sequence[Key]
    place: Place
    has_more: bool
    is_reset: bool
    mark: int
    at_ms: int


def feed(
    store: NumberedStore,
    tables: Tables,
    principal: Principal,
    table: str,
    place: Place | int | None,
    *,
    limit: int,
) -> FeedPage:
    """The next `limit` rows at most of a table, for a principal.

    place   None for the beginning, or a time in milliseconds since the Unix epoch

    Raises UnknownTableError, StorageUnavailableError. Costs follow the page and the changes since
    the place, never the table.
    """
    for attempt in range(_BEGINNINGS_MAX):
        with store.read() as tx:
            if place is None and attempt + 1 < _BEGINNINGS_MAX and tx.has_news():
                continue  # what begins now would see it here, and in the log again
            reader = _Reader(tx, tables, principal, table, now_ms=store.clock.now_ms())
            found = reader.read(place, limit)
            is_kept = tx.view(reader.view.hash) is not None
            break
    if not is_kept:
        with store.plain.write() as writing:
            # Before any place of this view is given out: when it changes, the old one is asked.
            writing.keep_view(reader.view.hash, reader.view.text, views_max=VIEWS_MAX)
    return found


class _Reader:
    """One page of one table in one snapshot."""

    def __init__(
        self, tx: Transaction, tables: Tables, principal: Principal, table: str, *, now_ms: int
    ) -> None:
        self._tx = tx
        self._table = table
        self._now_ms = now_ms
        tables = tables.at(tx)
        self._schemas = tables.asked([table])
        self._access = tables.access(principal)
        self.view = view_of(self._schemas, [table], {}, self._access)
        known = tx.schemas() if self.view.reaches else self._schemas
        self._generation = generation_of(self._schemas[table], self.view, known)
        self._head = tx.head()
        self._old: View | None = None

    def read(self, place: Place | int | None, limit: int) -> FeedPage:
        found = self._begin(place)
        is_reset = place is not None and found is None
        if found is None:
            found = self._beginning()
        cursor, mark = found.cursor, found.mark
        rows: list[bytes] = []
        gone: list[Key] = []
        left = limit
        has_more = True
        while has_more and left > 0:
            builder = self._builder(cursor, mark, left)
            page = builder.next(cursor)
            for part in page.tables:
                gone += [*part.deletes, *part.evicts, *part.erases]
                if text := _raw(part):
                    rows.append(text[1:-1])
            left -= sum(builder.rows_put.values())
            cursor, has_more = builder.ended_at, not page.checkpoint
        return FeedPage(
            schema=self.view.shown[self._table],
            rows=b"[" + b",".join(rows) + b"]",
            gone=list(dict.fromkeys(gone)),
            place=Place(cursor=cursor, mark=mark, generation=self._generation),
            has_more=has_more,
            is_reset=is_reset,
            mark=self._tx.mark(),
            at_ms=self._safe_ms(cursor),
        )

    def _builder(self, cursor: Cursor, mark: int, limit: int) -> _FeedBuilder:
        return _FeedBuilder(
            self._tx,
            self._schemas,
            self.view,
            self._old,
            self._head,
            checkpoint=cursor.checkpoint,
            rows_max=limit,
            now_ms=self._now_ms,
            access=self._access,
            mark=mark,
        )

    # -- where to begin -----------------------------------------------------------------------

    def _beginning(self) -> Place:
        start = self._cursor_at(self._head.seq, checkpoint=0)
        position = SnapshotPosition(table=self._table, after=None, rows_total=0)
        return Place(cursor=msgspec.structs.replace(start, snapshot=position), mark=self._tx.mark())

    def _begin(self, place: Place | int | None) -> Place | None:
        """Where to read on; None for the beginning."""
        if place is None:
            return None
        if isinstance(place, int):
            seq = self._seq_before(place)
            return None if seq is None else Place(cursor=self._cursor_at(seq, checkpoint=seq))
        if place.generation != self._generation:
            return None
        cursor = place.cursor
        views = tuple(view for view in (cursor.old_view, cursor.view) if view is not None)
        record = ReplicaRecord(
            id="", principal="", name="", last_n=0, known_n=0, created_ms=0, seen_ms=0,
            seen_seq=0, views=views,
        )  # fmt: skip
        try:
            found = place_for(self._tx, self._head, cursor, None, self.view, record, self._schemas)
        except ViewChangedError:
            return None  # there is no checkpoint to go back to
        if found is None:
            return None
        cursor, self._old = found
        return msgspec.structs.replace(place, cursor=cursor)

    def _cursor_at(self, seq: int, *, checkpoint: int) -> Cursor:
        commit = self._tx.commit(seq) if seq else None
        return Cursor(
            epoch=self._head.epoch,
            seq=seq,
            nonce="" if commit is None else commit.nonce,
            id=0,
            checkpoint=checkpoint,
            view=self.view.hash,
        )

    def _seq_before(self, at_ms: int) -> int | None:
        """The last commit before a time; None where the log does not go back so far."""
        low, high = self._tx.trimmed_seq(), self._head.seq
        first = self._tx.commits(after=low, limit=1)
        if not first or first[0].at_ms >= at_ms:
            return None
        low += 1
        while low < high:
            middle = (low + high + 1) // 2
            commit = self._tx.commit(middle)
            if commit is not None and commit.at_ms < at_ms:
                low = middle
            else:
                high = middle - 1
        return low

    def _safe_ms(self, cursor: Cursor) -> int:
        """Of a reader in the middle of something, a time before the log."""
        commit = None
        if cursor.snapshot is None and cursor.old_view is None and cursor.seq:
            commit = self._tx.commit(cursor.seq)
        if commit is not None:
            return commit.at_ms
        first = self._tx.commits(after=self._tx.trimmed_seq(), limit=1)
        return first[0].at_ms - 1 if first else self._now_ms


class _FeedBuilder(PageBuilder):
    """A page for a reader without an inbox: rows that the log will give are not given twice."""

    def __init__(
        self,
        tx: Transaction,
        schemas: Mapping[str, TableSchema],
        view: View,
        old: View | None,
        head: Head,
        *,
        checkpoint: int,
        rows_max: int,
        now_ms: int,
        access: Access,
        mark: int,
    ) -> None:
        super().__init__(
            tx,
            schemas,
            view,
            old,
            head,
            checkpoint=checkpoint,
            rows_max=rows_max,
            now_ms=now_ms,
            access=access,
        )
        self._mark = mark
        self._is_first = checkpoint == 0

    def next(self, cursor: Cursor) -> Page:
        """The page that follows."""
        if cursor.snapshot is None:
            return self._commits(cursor)
        if cursor.old_view is None:
            return self.snapshot_page(cursor)
        return self.difference_page(cursor, cursor.snapshot)

    def _put_entering(self, table: str, rows: Sequence[Row]) -> None:
        if self._is_first and self._mark != self._tx.mark():
            key_of = self._schemas[table].key_of
            later: set[Key | None] = set()
            for entry in self._tx.entries(table, list(map(key_of, rows)), after_id=self._mark):
                later.update((entry.key, entry.old_key))
            rows = [row for row in rows if key_of(row) not in later]
        self._put(table, rows)

    def _commits(self, cursor: Cursor) -> Page:
        """What numbered changes have touched, up to the page's end or the log's."""
        size = max(self._rows_max, _TOUCHES_PER_STEP)
        position = Position(seq=cursor.seq, id=cursor.id)
        found = self._tx.touched(position, limit=size + 1)
        # What has no number yet is given when it has one, and not now as well.
        touches = [touch for touch in found[:size] if touch.seq is not None]
        is_all = len(found) <= size or len(touches) < size
        kept = touches[: self._fitting(touches)]
        taken, expansion = self._fill_from_touches(kept, cursor.expansion)
        if is_all and taken == len(touches):
            return self._checkpoint(None)
        after = self._cursor_after(cursor, touches, taken)
        return self._page(msgspec.structs.replace(after, expansion=expansion), more=True)

    def _fitting(self, touches: Sequence[Touch]) -> int:
        """How many touches come before there are more keys than the page has room for."""
        seen: set[Key] = set()
        for index, touch in enumerate(touches):
            if touch.table in self._schemas:
                seen.update(key for key in (touch.key, touch.old_key) if key is not None)
                if len(seen) > self._rows_max and index:
                    return index
        return len(touches)


def _raw(part: TablePage) -> bytes:
    """The rows of a part, which `PageBuilder` leaves encoded."""
    puts: Any = part.puts
    return bytes(puts) if isinstance(puts, msgspec.Raw) else b""
