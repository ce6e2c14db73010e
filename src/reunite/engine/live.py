"""Live: what streams are sent. The pages are those of `pull.py`, built once for all of a view.

    open     a replica's cursor at its checkpoint ──► the pages up to now
    round    something is new ──► for each view that it concerns, the pages since the last round
    catch_up a stream that was busy ──► the pages since its own last one

A stream is at the head or busy. Those at the head get what a round gives; one that is still writing
when the next round comes is not waited for and nothing is kept for it: it catches up by itself.
When rules or stored permissions change, those streams end whose view becomes another one.
Where a stream cannot be served (a snapshot, another view, tables that changed, too much at a time)
the answer is None: the replica pulls, and opens another one.

What it is not   thread-safe: one call at a time. It keeps which views are watched, no rows.
The rule         all of a round is read in one snapshot, `answered` too: what a replica is told of
                 its own changes is never ahead of the page that shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from reunite.core.cursor import Cursor, decode_cursor
from reunite.core.principal import Principal, principal_text
from reunite.core.schema import TableSchema
from reunite.core.view import View
from reunite.engine.numbered import NumberedStore
from reunite.engine.offering import Offers
from reunite.engine.ports import Head, Position, Transaction
from reunite.engine.pull import PageBuilder
from reunite.engine.reading_on import is_of_log
from reunite.engine.register import check_protocol, own_replica
from reunite.engine.tables import Tables
from reunite.engine.view import view_of
from reunite.errors import CallerError
from reunite.protocol.codec import encode
from reunite.protocol.limits import LIVE_BYTES_MAX, LIVE_PAGE_BYTES, PAGE_ROWS_MAX
from reunite.protocol.live import LiveRequest, event


class Watch(msgspec.Struct, kw_only=True, eq=False):
    """A replica on a stream: its view, the cursor that it was sent last, and up to which of its
    own numbers it was told (-1: nothing yet). The caller moves the two when it sends something.
    `request` and `principal` are what the view was made of."""

    replica: str
    request: LiveRequest
    principal: Principal
    view: View
    cursor: Cursor
    answered: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Page events of one view, in order, up to the head at which `cursor` stands."""

    events: tuple[bytes, ...]
    cursor: Cursor
    is_empty: bool


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A watch that has begun; `delivery` is for it alone."""

    watch: Watch
    delivery: Delivery
    answered: int


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What a round gives: pages by the hash of their view, None for a view that must pull; and the
    last number answered of replicas that pushed. `ended` are watches that must pull because of
    other rights; with `is_over`, all must."""

    deliveries: Mapping[str, Delivery | None]
    answered: Mapping[str, int]
    ended: frozenset[Watch] = frozenset()
    is_over: bool = False


class LiveDesk:
    """The streams of one hub in one server process."""

    def __init__(self, store: NumberedStore, tables: Tables) -> None:
        self._store = store
        self._tables = tables
        self._rights = ("", "")
        self._known: Mapping[str, TableSchema] = {}
        self._ended: set[Watch] = set()  # and nobody was told yet
        self._forget({})

    def _forget(self, schemas: Mapping[str, TableSchema]) -> None:
        """Begin anew with these tables and no watches."""
        self._schemas = dict(schemas)
        self._views: dict[str, View] = {}
        self._watches: dict[str, set[Watch]] = {}
        self._by_replica: dict[str, set[Watch]] = {}
        self._offers = Offers(self._schemas)
        self._head: Head | None = None
        self._push_mark = 0

    @property
    def seq(self) -> int:
        """The commit up to which the last round went; 0 before the first. From any thread."""
        return 0 if self._head is None else self._head.seq

    def open(self, request: LiveRequest, principal: Principal) -> Opened | None:
        """Begin a watch, if the replica is where a stream can go on.

        Raises UnknownReplicaError, BadRequestError, UnknownTableError, UpgradeRequiredError,
        StorageUnavailableError.
        """
        check_protocol(request.protocol)
        cursor = decode_cursor(request.cursor)
        with self._store.read() as tx:
            record = own_replica(tx, principal, request.replica)
            tables = self._tables.at(tx)
            view = _view_of(tables, request, principal)
            if not self._knows(tx, tables):
                return None
            is_whole = cursor.snapshot is None and cursor.expansion is None and not cursor.id
            if cursor.view != view.hash or cursor.old_view or not is_whole:
                return None
            delivery = self._pages(tx, view, cursor)
            if delivery is None:
                return None
        watch = Watch(
            replica=request.replica,
            request=request,
            principal=principal,
            view=view,
            cursor=delivery.cursor,
            answered=-1,
        )
        if view.hash not in self._views:
            self._views[view.hash] = view
            self._offers.add(view.hash, view)
        self._watches.setdefault(view.hash, set()).add(watch)
        self._by_replica.setdefault(watch.replica, set()).add(watch)
        return Opened(watch=watch, delivery=delivery, answered=record.last_n)

    def close(self, watches: Iterable[Watch]) -> None:
        """End watches; those that have ended already are passed over."""
        for watch in watches:
            self._ended.discard(watch)
            name = watch.view.hash
            if watch not in self._watches.get(name, ()):
                continue
            self._watches[name].remove(watch)
            if not self._watches[name]:
                del self._watches[name]
                self._offers.remove(name, self._views.pop(name))
            self._by_replica[watch.replica].remove(watch)
            if not self._by_replica[watch.replica]:
                del self._by_replica[watch.replica]

    def catch_up(self, watch: Watch) -> Opened | None:
        """The pages since this watch's own last one; None too for a watch that has ended, as all
        do when tables change: its view is one of before."""
        with self._store.read() as tx:
            record = tx.replica(watch.replica)
            if not self._is_watched(watch) or record is None:
                return None
            if not self._knows(tx, self._tables.at(tx)) or not self._is_watched(watch):
                return None
            delivery = self._pages(tx, watch.view, watch.cursor)
        if delivery is None:
            return None
        return Opened(watch=watch, delivery=delivery, answered=record.last_n)

    def round(self) -> Round:
        """What is new for streams that have everything of the rounds before. Costs a few reads,
        and a page for each view that is concerned."""
        with self._store.read() as tx:
            if not self._knows(tx, self._tables.at(tx)):
                self._forget({})
                return Round(deliveries={}, answered={}, is_over=True)
            before, head = self._head, tx.head()
            assert before is not None, "set by the first use"
            pushes = tx.pushes(self._push_mark)
            # As the pages ask for them, so that they are read once.
            touches = tx.touched(Position(seq=before.seq, id=0), limit=PAGE_ROWS_MAX + 1)
            if len(touches) <= PAGE_ROWS_MAX:
                concerned = self._offers.concerned(tx, touches)
            else:
                concerned = set(self._views)
            # Whoever pushed learns of it with a page, be it an empty one.
            concerned |= {
                watch.view.hash
                for replica, last_n in pushes.last_n.items()
                for watch in self._by_replica.get(replica, ())
                if watch.answered < last_n
            }
            deliveries = {
                name: self._pages(tx, self._views[name], _cursor_at(before, self._views[name]))
                for name in concerned
            }
        self._head, self._push_mark = head, pushes.mark
        ended, self._ended = frozenset(self._ended), set()
        return Round(deliveries=deliveries, answered=pushes.last_n, ended=ended)

    def _is_watched(self, watch: Watch) -> bool:
        return watch in self._watches.get(watch.view.hash, ())

    def _knows(self, tx: Transaction, tables: Tables) -> bool:
        """Whether the tables are still those that the watched views were made of; with no watches,
        they are from now on. Watches whose views other rights make other ones end."""
        if self._head is None or not self._watches:
            self._forget(tables.schemas)
            self._known = dict(tables.known)
            self._rights = _rights_of(tables)
            self._head, self._push_mark = tx.head(), tx.pushes(None).mark
        if self._schemas != tables.schemas or self._known != tables.known:
            return False
        if self._rights != _rights_of(tables):
            self._end_changed(tables)
            self._rights = _rights_of(tables)
        return True

    def _end_changed(self, tables: Tables) -> None:
        """End the watches whose view is another one by these rights. Views are made again once for
        each principal and what it asks for."""
        now: dict[bytes, str] = {}
        changed: list[Watch] = []
        for watch in [each for of_view in self._watches.values() for each in of_view]:
            request, principal = watch.request, watch.principal
            who = principal.user, principal_text(principal)
            asked = encode([who, request.tables, request.where])
            if asked not in now:
                try:
                    now[asked] = _view_of(tables, request, principal).hash
                except CallerError:
                    now[asked] = ""  # the replica learns of it when it asks again
            if now[asked] != watch.view.hash:
                changed.append(watch)
        self.close(changed)
        self._ended.update(changed)

    def _pages(self, tx: Transaction, view: View, cursor: Cursor) -> Delivery | None:
        """The pages from a cursor to the end of this snapshot; None if it is not of this log, or
        if they are too much for a stream."""
        head = tx.head()
        if not is_of_log(tx, head, cursor):
            return None
        schemas = {name: self._schemas[name] for name in view.tables}
        now_ms = self._store.clock.now_ms()
        events: list[bytes] = []
        size = 0
        while True:
            builder = PageBuilder(
                tx,
                schemas,
                view,
                None,
                head,
                checkpoint=cursor.checkpoint,
                rows_max=PAGE_ROWS_MAX,
                now_ms=now_ms,
                bytes_max=LIVE_PAGE_BYTES,
            )
            page = builder.commit_page(cursor, None)
            body = encode(page)
            events.append(event("page", body, cursor=page.cursor))
            size += len(body)
            if size > LIVE_BYTES_MAX:
                return None
            cursor = builder.ended_at
            if page.checkpoint:
                is_empty = len(events) == 1 and not page.tables
                return Delivery(events=tuple(events), cursor=cursor, is_empty=is_empty)


def _view_of(tables: Tables, request: LiveRequest, principal: Principal) -> View:
    """The view that a request means. Raises CallerError."""
    return view_of(
        tables.readable(request.tables),
        request.tables,
        request.where,
        tables.access(principal),
    )


def _rights_of(tables: Tables) -> tuple[str, str]:
    """What stands for all rules and stored permissions."""
    return tables.rules_text, tables.grants_stamp


def _cursor_at(head: Head, view: View) -> Cursor:
    return Cursor(
        epoch=head.epoch,
        seq=head.seq,
        nonce=head.nonce,
        id=0,
        checkpoint=head.seq,
        view=view.hash,
    )
