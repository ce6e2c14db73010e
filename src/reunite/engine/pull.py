"""Pull: from a cursor to a page. Every row that reaches a replica comes through here.

    no cursor, or one that is not of this log ──► snapshot pages ──────► commit pages
    a checkpoint of this log, of another view ──► difference pages ────► commit pages
    a cursor of this log and view             ─────────────────────────► commit pages
    the page that reaches the end of its snapshot is the checkpoint

The rule: all of a page is read in one database snapshot, begun after numbering. A transaction may
become visible in between; so a page that reaches the end covers every change of its snapshot,
numbered or not, while its cursor moves only over numbered ones. Such a page is exactly a state
that the hub had; the next one repeats a few keys, which is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from reunite.core.cursor import (
    Cursor,
    Expansion,
    Seen,
    SnapshotPosition,
    decode_cursor,
    encode_cursor,
)
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.rules import OPEN, Access
from reunite.core.schema import TableSchema, projected, revision_of
from reunite.core.stamp import commit_stamp
from reunite.core.values import Row
from reunite.core.view import Difference, View, difference
from reunite.engine.expansion import Expander
from reunite.engine.numbered import NumberedStore
from reunite.engine.outcomes import checkpoint_outcome, shown_outcome
from reunite.engine.pack import Pack
from reunite.engine.ports import Head, Position, ReplicaRecord, Touch, Transaction, WriteTransaction
from reunite.engine.reading_on import check_key, place_for
from reunite.engine.register import check_known, check_protocol, own_replica
from reunite.engine.steps import Steps
from reunite.engine.tables import Tables
from reunite.engine.view import (
    REPLICA_VIEWS_MAX,
    VIEWS_MAX,
    Sight,
    generation_of,
    view_of,
)
from reunite.protocol.limits import PAGE_BYTES_MAX, PAGE_ROWS_MAX
from reunite.protocol.pack import table_name
from reunite.protocol.pull import Page, Progress, PullRequest, TablePage

# How stale the hub's note of a replica's last visit may be before a pull writes a new one: a pull
# with nothing new should not write.
SEEN_STALE_MS = 10 * 60 * 1000

_encode = msgspec.json.Encoder().encode


def pull(
    store: NumberedStore,
    tables: Tables,
    principal: Principal,
    request: PullRequest,
    *,
    note: Callable[[Page, Mapping[str, int], int], None] = lambda page, rows_put, seq: None,
) -> Page:
    """The next page for this replica.

    note    is told the page, how many rows it puts of each table outside of a pack, and the
            commit up to which its cursor goes

    Raises UnknownReplicaError, HubRestoredError, UnknownTableError, BadRequestError,
    UpgradeRequiredError, ViewChangedError. Costs follow the page, never the table or the log; rows
    that an expression leaves out are passed over in a snapshot and in a change of view.
    """
    check_protocol(request.protocol)
    cursor = None if request.cursor is None else decode_cursor(request.cursor)
    repaired = None if request.repaired is None else decode_cursor(request.repaired)
    rows_max = max(1, min(request.limit or PAGE_ROWS_MAX, PAGE_ROWS_MAX))
    with store.read() as tx:
        now_ms = store.clock.now_ms()
        record = own_replica(tx, principal, request.replica)
        answered = tx.outcomes_by_id([request.known_id]) if request.known_id else ()
        check_known(record, known=request.known, known_id=request.known_id, answered=answered)
        head = tx.head()
        tables = tables.at(tx)
        schemas = tables.readable(request.tables)
        access = tables.access(principal)
        view = view_of(schemas, request.tables, request.where, access)
        is_kept = tx.view(view.hash) is not None and record.views[-1:] == (view.hash,)
        place = None
        if cursor is not None:
            place = place_for(tx, head, cursor, repaired, view, record, schemas)
        cursor, old = (None, None) if place is None else place
        builder = PageBuilder(
            tx,
            schemas,
            view,
            old,
            head,
            checkpoint=0 if cursor is None else cursor.checkpoint,
            rows_max=rows_max,
            now_ms=now_ms,
            access=access,
            packed=request.packed,
        )
        page = builder.page(cursor, request)
    is_visit = _is_visit(record, request, now_ms=now_ms)
    if is_visit or not is_kept:
        with store.plain.write() as writing:
            if is_visit:
                writing.confirm(
                    record.id,
                    known_n=min(request.known, record.last_n),
                    seen_seq=0 if cursor is None else cursor.checkpoint,
                    now_ms=now_ms,
                )
            if not is_kept:
                _keep(writing, view, record)
    note(page, builder.rows_put, builder.ended_at.seq)
    return page


def _keep(tx: WriteTransaction, view: View, record: ReplicaRecord) -> None:
    """Keep a view, before any cursor of it is given out: when it changes, the old one is asked."""
    tx.keep_view(view.hash, view.text, views_max=VIEWS_MAX)
    tx.note_view(record.id, view.hash, views_max=REPLICA_VIEWS_MAX)


def _is_visit(record: ReplicaRecord, request: PullRequest, *, now_ms: int) -> bool:
    """Whether this pull says something of the replica that is worth a write."""
    return request.known > record.known_n or now_ms - record.seen_ms > SEEN_STALE_MS


class PageBuilder:
    """One page under construction, over one snapshot.

    rows_put    how many rows it puts, by table; those in a pack are not counted
    ended_at    its cursor, once it is built
    """

    ended_at: Cursor

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
        bytes_max: int = PAGE_BYTES_MAX,
        access: Access = OPEN,
        packed: bool = False,
    ) -> None:
        self._tx = tx
        self._is_packed = packed
        self._pack: Pack | None = None
        self._packed: dict[str, str] = {}  # the pack's table of a table
        self._schemas = schemas
        self._view = view
        self._shown = {name: view.shown.get(name, schema) for name, schema in schemas.items()}
        self._old = old
        known = tx.commit(checkpoint) if view.reaches or (old and old.reaches) else None
        after_id = tx.trimmed_id() if known is None else known.last_id
        after = Position(seq=tx.trimmed_seq() if known is None else checkpoint, id=0)
        self._sight = Sight(tx, schemas, view, old, after_id=after_id, after=after)
        self._expander = Expander(tx, schemas, [view] if old is None else [view, old])
        self._head = head
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._now_ms = now_ms
        self._access = access
        self.rows_put: dict[str, int] = {}
        self._puts: dict[str, list[bytes]] = {}
        self._deletes: dict[str, list[Key]] = {}
        self._evicts: dict[str, list[Key]] = {}
        self._erases: dict[str, dict[Key, None]] = {}
        self._hidden: dict[str, dict[Key, bool]] = {}
        self._bytes = 0
        self._rows_expanded = 0

    def page(self, cursor: Cursor | None, request: PullRequest) -> Page:
        """The page that follows this cursor."""
        if cursor is None:
            if request.cursor is not None:
                # What it missed of the log is not told; what it must forget is.
                record = self._tx.replica(request.replica)
                for table, key in self._sight.erased_ever(record.views if record else ()):
                    self._erases.setdefault(table, {})[key] = None
            return self.snapshot_page(None)
        if cursor.snapshot is None:
            return self.commit_page(cursor, request)
        if cursor.old_view is None:
            return self.snapshot_page(cursor)
        return self.difference_page(cursor, cursor.snapshot)

    # -- snapshot -----------------------------------------------------------------------------

    def snapshot_page(self, cursor: Cursor | None) -> Page:
        """The next rows by table and key; without a cursor the first ones, with `reset`."""
        views = self._view.tables
        names = list(views)
        if cursor is None or cursor.snapshot is None:
            total = sum(self._tx.row_count(name, where=views[name].where) for name in names)
            start = Cursor(
                epoch=self._head.epoch,
                seq=self._head.seq,
                nonce=self._head.nonce,
                id=0,
                checkpoint=0,
                view=self._view.hash,
                snapshot=None,
            )
            table, after = (names[0] if names else ""), None
        else:
            start, total = cursor, cursor.snapshot.rows_total
            table, after = cursor.snapshot.table, cursor.snapshot.after
        entering = [(name, Difference(where=views[name].where, enters=True)) for name in names]
        if self._is_packed:
            self._pack = self._tx.pack()
        position = self._fill_from_tables(entering, table, after)
        pack = b"" if self._pack is None else self._pack.read()
        if pack is None:
            self._pack, self._packed, self._bytes = None, {}, 0
            position = self._fill_from_tables(entering, table, after)
        snapshot = None
        if position is not None:
            snapshot = SnapshotPosition(table=position[0], after=position[1], rows_total=total)
        return self._page(
            msgspec.structs.replace(start, snapshot=snapshot),
            more=True,
            reset=cursor is None,
            progress=Progress(rows_total=total),
            pack=pack or b"",
        )

    def difference_page(self, cursor: Cursor, position: SnapshotPosition) -> Page:
        """The next rows that are in one of the old and the new view, by table and key."""
        differences = [
            (name, difference(self._old.tables.get(name) if self._old else None, table))
            for name, table in self._view.tables.items()
        ]
        found = self._fill_from_tables(differences, position.table, position.after)
        snapshot = None
        if found is not None:
            snapshot = SnapshotPosition(table=found[0], after=found[1], rows_total=0)
        return self._page(msgspec.structs.replace(cursor, snapshot=snapshot), more=True)

    def _fill_from_tables(
        self,
        differences: Sequence[tuple[str, Difference | None]],
        table: str,
        after: Key | None,
    ) -> tuple[str, Key | None] | None:
        """Read on from (table, after); the position where the page is full, None at the end."""
        budget = self._rows_max
        for name, differing in differences:
            if name < table or differing is None:
                continue
            after = after if name == table else None
            step = Steps(budget)
            while True:
                size = step.next(budget)
                before = self._bytes
                count, after = self._take(name, differing, after, size)
                step.took(self._bytes - before)
                budget -= count
                if count < size:
                    break
                if budget <= 0 or self._bytes >= self._bytes_max:
                    return name, after
        return None

    def _take(
        self, name: str, differing: Difference, after: Key | None, limit: int
    ) -> tuple[int, Key | None]:
        """Add the next rows of a table; how many there were, and the last one's key."""
        if self._pack is not None:
            place = self._packed.setdefault(name, table_name(len(self._packed)))
            columns = self._shown[name].column_names
            found = self._pack.add(
                place, name, columns, after=after, limit=limit, where=differing.where
            )
            self._bytes = self._pack.size_bytes
            return found
        rows = self._tx.scan(name, after=after, limit=limit, where=differing.where)
        if not rows:
            return 0, after
        if differing.enters:
            self._put_entering(name, rows)
        else:
            self._put_or_evict(name, rows)
        return len(rows), self._schemas[name].key_of(rows[-1])

    def _put_entering(self, table: str, rows: Sequence[Row]) -> None:
        """Add rows that a snapshot brings."""
        self._put(table, rows)

    # -- commits ------------------------------------------------------------------------------

    def commit_page(self, cursor: Cursor, request: PullRequest | None) -> Page:
        """The rows touched after the cursor, as they are now; a checkpoint if it is all. Without a
        request it is anybody's: what is one replica's own is left out."""
        tx = self._tx
        touches = tx.touched(Position(seq=cursor.seq, id=cursor.id), limit=self._rows_max + 1)
        has_all = len(touches) <= self._rows_max
        if not has_all:
            touches = [touch for touch in touches[:-1] if touch.seq is not None]
        taken, expansion = self._fill_from_touches(touches, cursor.expansion)
        if has_all and taken == len(touches):
            return self._checkpoint(request)
        if expansion is not None and touches[taken].seq is None:
            expansion = None  # the change has no number, so the cursor cannot stand before it
        after = self._cursor_after(cursor, touches, taken)
        return self._page(msgspec.structs.replace(after, expansion=expansion), more=True)

    def _fill_from_touches(
        self, touches: Sequence[Touch], begun: Expansion | None
    ) -> tuple[int, Expansion | None]:
        """Put the rows of the touched keys, and those that reach them, in steps; how many touches
        the page took, and how far it came with the next one.

        begun    how far the page before came with the first touch
        """
        seen: set[tuple[str, Key]] = set()
        taken = 0
        step = Steps(len(touches))
        while taken < len(touches) and self._bytes < self._bytes_max:
            part = touches[taken : taken + (1 if begun else step.next(len(touches) - taken))]
            size = 0
            for table, of_table in _by_table(part).items():
                if table not in self._schemas:
                    continue
                width = len(self._schemas[table].key)
                keys = [key for key in _keys_of(of_table, width) if (table, key) not in seen]
                seen.update((table, key) for key in keys)
                size += self._fill_from_keys(table, keys, of_table)
            step.took(size)
            if self._expander.paths:
                expanded, expansion = self._expand(part, begun, seen)
                taken += expanded
                if expanded < len(part):
                    return taken, expansion
                begun = None
            else:
                taken += len(part)
        return taken, None

    def _expand(
        self, part: Sequence[Touch], begun: Expansion | None, seen: set[tuple[str, Key]]
    ) -> tuple[int, Expansion | None]:
        """Look at the rows that reach those of these touches; of how many touches that was done,
        and how far it came with the next one."""
        expansion = self._expand_all(part, begun, seen)
        if expansion is None:
            return len(part), None
        if len(part) == 1:
            return 0, expansion
        # Too much for a page: one, then twice as many, to know where it stopped. What a stretch
        # that is too long has put comes again with the next page.
        self._rows_expanded = 0
        taken, size = 0, 1
        while taken < len(part):
            expansion = self._expand_all(part[taken : taken + size], None, seen)
            if expansion is not None:
                return taken, expansion if size == 1 else None
            taken += size
            size *= 2
        return len(part), None

    def _expand_all(
        self, touches: Sequence[Touch], begun: Expansion | None, seen: set[tuple[str, Key]]
    ) -> Expansion | None:
        """Look at the rows that reach those of these touches; how far the page came, None if that
        was all."""
        for reached in self._expander.reached(touches):
            if begun is not None and reached.path < begun.step:
                continue
            table = self._expander.paths[reached.path].table
            after = None
            if begun is not None and reached.path == begun.step:
                after = begun.after
                check_key(self._schemas[table], after)
            steps = Steps(self._rows_max)
            while True:
                size = steps.next(self._rows_max)
                is_full = self._rows_expanded >= self._rows_max or self._bytes >= self._bytes_max
                if is_full and self._rows_expanded:
                    return Expansion(step=reached.path, after=after)
                rows = self._expander.rows(reached, after=after, limit=size)
                steps.took(self._look_at(table, rows, seen))
                self._rows_expanded += len(rows)
                if len(rows) < size:
                    break
                after = self._schemas[table].key_of(rows[-1])
        return None

    def _look_at(self, table: str, rows: Sequence[Row], seen: set[tuple[str, Key]]) -> int:
        """Put or take back rows of which others decide, which have changed; the size of the puts
        in bytes. An earlier page may have sent a row before the turn of its own touch, which tells
        nothing of that: so those of this page's touches are looked at as well."""
        key_of, sight = self._schemas[table].key_of, self._sight
        sight.prepare(table, rows)
        shown = [row for row in rows if sight.shows(table, row)]
        if len(shown) < len(rows):
            hidden = [row for row in rows if not sight.shows(table, row)]
            gone = dict.fromkeys(self._evicts.get(table, ()))
            gone.update((key_of(row), None) for row in sight.formerly_among(table, hidden))
            self._evicts[table] = list(gone)
            for key in gone:
                self._hidden.get(table, {}).pop(key, None)
        shown = [row for row in shown if (table, key_of(row)) not in seen]
        seen.update((table, key_of(row)) for row in shown)
        return self._put(table, shown)

    def _fill_from_keys(self, table: str, keys: Sequence[Key], touches: Sequence[Touch]) -> int:
        """Put the rows of these keys, and take back those that the replica may have had before
        the touches; the size of the puts in bytes."""
        sight, schema = self._sight, self._schemas[table]
        rows = self._tx.rows(table, keys)
        sight.prepare(table, list(rows.values()))
        shown = [row for row in rows.values() if sight.shows(table, row)]
        # A key stays here, as gone or as hidden, until one of its old images was visible.
        hidden = self._hidden.setdefault(table, {})
        if len(shown) < len(keys):
            visible = set(map(schema.key_of, shown))
            hidden.update((key, key not in rows) for key in keys if key not in visible)
        if erased := dict.fromkeys(sight.erased(table, touches)):
            self._erases.setdefault(table, {}).update(erased)
        if hidden:
            told = [touch for touch in touches if not touch.is_erased]
            for key in (*erased, *sight.formerly(table, told)):
                is_gone = hidden.pop(key, None)
                if is_gone is not None:
                    (self._deletes if is_gone else self._evicts).setdefault(table, []).append(key)
        return self._put(table, shown)

    def _cursor_after(self, cursor: Cursor, touches: Sequence[Touch], taken: int) -> Cursor:
        # Rows read early because of a change without a number do no harm; they come again.
        while taken and touches[taken - 1].seq is None:
            taken -= 1
        if taken == 0:
            return cursor
        last = touches[taken - 1]
        seq = last.seq
        assert seq is not None, "a page that is cut ends with a numbered change"
        following = touches[taken] if taken < len(touches) else None
        commit = self._tx.commit(seq)
        assert commit is not None, "a change's commit is in the log"
        is_whole = following is not None and following.seq != seq
        if is_whole or last.id == commit.last_id:
            return msgspec.structs.replace(cursor, seq=seq, nonce=commit.nonce, id=0)
        before = self._tx.commit(seq - 1)
        return msgspec.structs.replace(
            cursor, seq=seq - 1, nonce=before.nonce if before else "", id=last.id
        )

    def _checkpoint(self, request: PullRequest | None) -> Page:
        tx, head = self._tx, self._head
        own: dict[str, Any] = {}
        if request is not None:
            record = tx.replica(request.replica)
            assert record is not None, "looked up in this snapshot"
            outcomes = tx.outcomes(request.replica, after_n=request.known)
            own = {
                "answered": record.last_n,
                "outcomes": tuple(
                    checkpoint_outcome(shown_outcome(each, self._access)) for each in outcomes
                ),
            }
        return self._page(
            Cursor(
                epoch=head.epoch,
                seq=head.seq,
                nonce=head.nonce,
                id=0,
                checkpoint=head.seq,
                view=self._view.hash,
                snapshot=None,
            ),
            checkpoint=True,
            mark=tx.mark(),
            **own,
        )

    # -- both ---------------------------------------------------------------------------------

    def _put_or_evict(self, table: str, rows: Sequence[Row]) -> int:
        """Add rows that are in one of two views; the size in bytes of those in the new one."""
        self._sight.prepare(table, rows)
        shown = [row for row in rows if self._sight.shows(table, row)]
        if len(shown) < len(rows):
            key_of = self._schemas[table].key_of
            evicts = self._evicts.setdefault(table, [])
            evicts += [key_of(row) for row in rows if not self._sight.shows(table, row)]
        return self._put(table, shown)

    def _put(self, table: str, rows: Sequence[Row]) -> int:
        """Add rows, encoded once, in the columns that are shown; their size in bytes."""
        if not rows:
            return 0
        text = _encode(projected(rows, self._schemas[table], self._shown[table]))
        self._puts.setdefault(table, []).append(text[1:-1])
        self.rows_put[table] = self.rows_put.get(table, 0) + len(rows)
        self._bytes += len(text)
        return len(text)

    def _page(self, cursor: Cursor, **fields: Any) -> Page:
        head = self._head
        is_behind = cursor.seq < head.seq or cursor.id > 0
        seen = Seen(seq=head.seq, nonce=head.nonce) if is_behind else None
        self.ended_at = msgspec.structs.replace(cursor, seen=seen)
        return Page(
            cursor=encode_cursor(self.ended_at),
            stamp=commit_stamp(max(self._now_ms, self._head.at_ms)),
            schemas={name: schema.version for name, schema in self._shown.items()},
            revision=revision_of(self._shown.values()),
            generations=self._generations(),
            tables=tuple(self._table_pages()),
            **fields,
        )

    def _generations(self) -> dict[str, str]:
        known = self._tx.schemas() if self._view.reaches else self._schemas
        found = {
            name: generation_of(schema, self._view, known) for name, schema in self._schemas.items()
        }
        return {name: generation for name, generation in found.items() if generation}

    def _table_pages(self) -> Iterator[TablePage]:
        for name, schema in self._shown.items():
            puts, deletes = self._puts.get(name), self._deletes.get(name)
            evicts, erases = self._evicts.get(name), self._erases.get(name)
            packed = self._packed.get(name, "")
            if puts or deletes or evicts or erases or packed:
                joined = msgspec.Raw(b"[" + b",".join(puts or ()) + b"]")
                yield TablePage(
                    table=name,
                    columns=schema.column_names,
                    puts=cast(list[tuple[Any, ...]], joined) if puts else [],
                    deletes=deletes or [],
                    evicts=evicts or [],
                    erases=list(erases or ()),
                    packed=packed,
                )


def _by_table(touches: Sequence[Touch]) -> dict[str, list[Touch]]:
    found: dict[str, list[Touch]] = {}
    for touch in touches:
        found.setdefault(touch.table, []).append(touch)
    return found


def _keys_of(touches: Sequence[Touch], width: int) -> dict[Key, None]:
    """The keys before and after these changes of one table, each once. One with a NULL in it, which
    SQLite lets into its log, is no key: no row of a replica has it. Nor is one of another width,
    of a version whose rows no replica of this one keeps."""
    keys: dict[Key, None] = {}
    for touch in touches:
        keys[touch.key] = None
        if touch.old_key is not None:
            keys[touch.old_key] = None
    return {key: None for key in keys if None not in key and len(key) == width}
