"""The driver: what a replica says to its hub, in which order, and what it does with each answer.

    sync = push until every change has an outcome, then pull until a checkpoint with nothing more

    push ─► renumber / another key ─► rows moved, push again
         ─► forked, restored, another epoch, unknown ─► new identity, push again
    pull ─► page ─► inbox … checkpoint ─► applied, or forked ─► new identity, push, pull again

The rule: every step is its own transaction of the file and none is open while the network is
waited for; so a crash at any point leaves a state from which the next sync goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import msgspec

from reunite.core.schema import TableSchema
from reunite.errors import (
    BadRequestError,
    HubUnreachableError,
    LimitExceededError,
    NotAuthenticatedError,
    ReuniteError,
    SchemaChangedError,
    UnknownReplicaError,
    UnknownTableError,
    ViewChangedError,
)
from reunite.protocol.limits import PUSH_BYTES_AIM, PUSH_CHANGES_AIM
from reunite.protocol.pull import Page
from reunite.protocol.push import Part, PushAnswer, PushRequest
from reunite.replica import generations
from reunite.replica.conversation import Conversation
from reunite.replica.file import ReplicaFile
from reunite.replica.identity import begin_again
from reunite.replica.inbox import Inbox
from reunite.replica.keys import KeyBlocks, keys_left_min
from reunite.replica.lost import LOST_IDENTITY, LOST_LOG
from reunite.replica.outbox import Outbox
from reunite.replica.pages import (
    InboxDamagedError,
    brings_nothing,
    is_large,
)
from reunite.replica.remaking import Remaking
from reunite.replica.repair import Repair, RepairReport
from reunite.replica.reports import Applied, SyncReport
from reunite.replica.sending import (
    NOTHING,
    Batch,
    next_batch,
    next_part,
    numbers_of_group,
    request_with,
    with_groups,
)
from reunite.replica.squashing import forget_pending, has_several
from reunite.replica.state import State

# Pushes in a row that only moved rows; more means that something else takes every key.
RENUMBER_TRIES_MAX = 1_000

_ALL_NUMBERS = 2**62

# Changes in the first push of a sync, so that the hub begins early, and how much larger the next
# one may be.
_FIRST_BATCH = 500
_GROWTH = 4

_OTHER_USER = "It was written here before another user came. Retry it to send it as this one."


_Answered: TypeAlias = tuple[PushRequest, PushAnswer]

# Called in the transaction that shows a checkpoint, before it does; what it raises undoes it.
BeforeCheckpoint: TypeAlias = Callable[[sqlite3.Connection, State, Inbox, Page], None]


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """How a hub is talked to: whether a pull begins with the push that a new identity needs, and
    whether what one user left to be sent is parked when another one comes."""

    resends_in_pull: bool = True
    minds_users: bool = True


class Driver:
    """One sync of one replica file with its hub. The caller holds the file's sync lock."""

    def __init__(
        self,
        file: ReplicaFile,
        hub: Conversation,
        *,
        now_ms: Callable[[], int],
        on_checkpoint: Callable[[set[str]], None],
        on_page: Callable[[Page], None] | None = None,
        before_checkpoint: BeforeCheckpoint | None = None,
        manners: Manners | None = None,
    ) -> None:
        self._file = file
        self._hub = hub
        self._now_ms = now_ms
        self._note_checkpoint = on_checkpoint
        self._note_page = on_page
        self._before_checkpoint = before_checkpoint
        self._manners = manners or Manners()
        self._report = SyncReport()
        self._batch_max = _FIRST_BATCH
        self._has_more = True  # behind the batch that was read last, perhaps
        # Of a group that goes in parts: the part sent last, and up to where the hub holds it.
        self._begun: tuple[Part, int] | None = None
        self._leased: set[str] = set()  # tables of which a block was asked for, by the way

    # -- use cases ----------------------------------------------------------------------------

    def sync(self) -> SyncReport:
        """Push, then pull. What the hub cannot take does not keep its rows from coming: whatever
        makes a push fail, short of the way to the hub, the pull is tried."""
        try:
            self.push()
        except NotAuthenticatedError:
            raise
        except ReuniteError as exc:
            if isinstance(exc, HubUnreachableError) and not exc.has_answered:
                raise
            self.pull()
            raise
        self.pull()
        return self.report()

    def push(self) -> None:
        """Send the outbox until every change has an outcome."""
        renumbers = 0
        self._begun = None
        ahead: Batch | None = None
        request: PushRequest | None = None
        last: _Answered | None = None  # not noted in the outbox yet
        must_pull = False
        while True:
            try:
                if must_pull:
                    # The page that brings the new schema rewrites the outbox for it.
                    self._pull_pages()
                    must_pull = False
                if ahead is None or request is None:
                    request, batch = self._next_push(last)
                    last = None
                    if request is None:
                        return
                else:
                    request, batch = with_groups(request, ahead), ahead
                before, last = last, None
                answer, ahead = self._send(request, batch, before)
                last = request, answer
                staged_n = max(answer.last_n, answer.staged or 0)
                if answer.outcomes or answer.renumber or staged_n < batch.last_n:
                    ahead = None  # keys may have moved since it was read
                if batch.part is not None and self._is_staged(batch.part, batch, answer):
                    continue
                self._begun = None
            except LOST_IDENTITY as exc:
                ahead = last = self._begun = None
                # Tables of other shapes than the outbox is written in: those come first.
                must_pull = self._take_new_identity(exc)
                continue
            except LimitExceededError as exc:
                ahead = None
                self._make_smaller(exc)
                continue
            except BadRequestError as exc:
                ahead = self._begun = None
                self._give_up_cursor(exc)
                continue
            except (SchemaChangedError, UnknownTableError) as exc:
                ahead, must_pull, self._begun = None, True, None
                self._hub.try_again(exc)
                continue
            self._batch_max = min(self._batch_max * _GROWTH, PUSH_CHANGES_AIM)
            answered = answer.last_n - answer.first_n + 1
            renumbers = 0 if answered > 0 else renumbers + 1
            self._report.pushed += max(0, answered)
            self._hub.tell("push", self._report.pushed)
            if renumbers > RENUMBER_TRIES_MAX:
                raise ReuniteError("The hub finds every generated key of this replica taken.")

    def pull(self) -> None:
        """Read pages until a checkpoint with nothing more behind it."""
        while True:
            try:
                # After a new identity the hub must say what it already has before a page that
                # includes it may be shown.
                state = self._file.state()
                if self._manners.resends_in_pull and state.resend_n > state.known_n:
                    self.push()
                page = self._pull_pages()
                if self._heal(page):
                    self._file.clear_traces()
                    return
            except LOST_IDENTITY as exc:
                self._take_new_identity(exc)

    def _heal(self, page: Page) -> bool:
        """Compare the tables whose log had a gap since this file had all of their rows; whether
        there were none, so that the checkpoint of this page is the hub's state."""
        gaps = generations.gaps(self._file.state(), page)
        if not gaps:
            return True
        report = self.gather_repairs(sorted(gaps))
        if report.is_stale:
            self._hub.try_again()
            return False
        with self._file.writing() as (_, state):
            generations.heal(state, gaps, has_rows=bool(report.found))
        return False

    def repair(self, tables: Sequence[str] | None = None) -> RepairReport:
        """Compare tables (None: all) with the hub's, and fetch the rows that differ."""
        with self._file.writing() as (connection, state):
            self._inbox(connection, state).rearrange()
        self.pull()
        report = self.gather_repairs(tables)
        self.pull()
        return report

    def gather_repairs(self, tables: Sequence[str] | None) -> RepairReport:
        """The comparing half: the rows that differ wait in the inbox, and the next checkpoint
        shows them. May be called between any two pages of a pull, with no transaction open."""
        return self._repair().gather(tables)

    def compare(self, tables: Sequence[str] | None = None) -> RepairReport:
        """What is not as the hub had it at this replica's checkpoint; nothing is changed."""
        return self._repair().compare(tables, self.pages_ahead())

    def _repair(self) -> Repair:
        return Repair(
            self._file,
            self._hub.call,
            is_remote=self._hub.transport.is_remote,
            tell=lambda rows, total: self._hub.tell("compare", rows, total),
            inbox=self._inbox,
        )

    def pages_ahead(self) -> Iterator[Page]:
        """What the hub has for this replica after what it shows."""
        state = self._file.state()
        state.cursor, state.repaired = state.checkpoint, None
        yield from self._hub.pages_after(state)

    def preview(self) -> SyncReport:
        """What a sync would do: pending changes, and the rows that wait at the hub. Nothing is
        changed here; the hub is only read."""
        with self._file.writing() as (connection, state):
            self._inbox(connection, state).rearrange()
        report = SyncReport()
        with self._file.reading() as (connection, state):
            pending, answered = self._outbox(connection, state).counts()
        report.pushed = pending - answered
        report.pending = pending
        report.cursor = state.cursor
        for page in self._hub.pages_after(state):
            report.cursor = state.cursor
            report.pulled += sum(
                len(part.puts) + len(part.deletes) + len(part.evicts) for part in page.tables
            )
        return report

    def report(self) -> SyncReport:
        """What has been done since this driver began, and what is left."""
        with self._file.reading() as (connection, state):
            pending, answered = self._outbox(connection, state).counts()
            self._report.pending = pending - answered
            self._report.cursor = state.checkpoint
        return self._report

    # -- push ---------------------------------------------------------------------------------

    def _next_push(self, last: _Answered | None) -> tuple[PushRequest | None, Batch]:
        """Note the last answer; the next request and what it carries. A single transaction."""
        with self._file.writing(keeps_ranges=True) as (connection, state):
            self._note(connection, state, last)
            if self._begun is None:
                self._inbox(connection, state).rearrange(changes=self._batch_max)
            missing = dict(state.missing_keys)
            blocks = KeyBlocks(state.blocks)
            wanted = {
                schema.name: missing.get(schema.name, 0)
                for schema in state.schemas
                if schema.generated_key
                and (schema.name in missing or schema.name not in self._leased)
                and blocks.left(schema.name) < keys_left_min(schema)
            }
            self._leased |= wanted.keys()
            # Inserts that wait for keys go out when they have them.
            part, after_n = self._begun or (None, _ALL_NUMBERS if missing else state.known_n)
            batch = self._read_batch(
                connection, state, after_n=after_n, changes=self._batch_max, begun=part
            )
            if batch.groups is None and not wanted:
                return None, batch
            is_end = batch.last_n == state.next_n - 1
            self._has_more = not is_end or self._outbox(connection, state).has_raw()
            state.sent_n = max(state.sent_n, batch.last_n)
            return request_with(batch, state, lease=wanted), batch

    def _note(self, connection: sqlite3.Connection, state: State, last: _Answered | None) -> None:
        """Keep what the hub has answered, unless the file has another identity by now."""
        if last is not None and state.replica == last[0].replica:
            self._inbox(connection, state).take_answer(last[1], asked=last[0].lease)

    def _read_batch(
        self,
        connection: sqlite3.Connection,
        state: State,
        *,
        after_n: int,
        changes: int,
        begun: Part | None = None,
    ) -> Batch:
        """The next whole groups after a number, or the next part of the one that has begun."""
        schemas, forms = self._file.schemas(state), self._file.forms
        if begun is not None:
            return next_part(connection, schemas, forms, begun, after_n=after_n)
        return next_batch(
            connection,
            schemas,
            forms,
            after_n=after_n,
            changes=changes,
            size=PUSH_BYTES_AIM,
        )

    def _is_staged(self, part: Part, batch: Batch, answer: PushAnswer) -> bool:
        """Whether the hub holds a part, and waits for the next one of its group."""
        if answer.staged is None:
            return False
        if answer.staged != batch.last_n:
            # It has lost parts that were sent before, or did not get them.
            self._hub.try_again(ReuniteError("The hub does not keep the parts of a transaction."))
        self._begun = part, answer.staged
        self._hub.tell("push", self._report.pushed + answer.staged - part.begins + 1)
        return True

    def _send(
        self, request: PushRequest, batch: Batch, last: _Answered | None
    ) -> tuple[PushAnswer, Batch | None]:
        """The answer. While a hub in another process works on it, the answer before is noted and
        the next batch is read; where there is neither, no thread is begun."""
        has_work = last is not None or self._has_more
        if not (has_work and self._hub.transport.is_remote) or batch.groups is None:
            return self._hub.call("push", request, PushAnswer), None
        with ThreadPoolExecutor(max_workers=1) as pool:
            future = pool.submit(self._hub.call, "push", request, PushAnswer)
            with self._file.writing(keeps_ranges=True) as (connection, state):
                self._note(connection, state, last)
                changes = min(self._batch_max * _GROWTH, PUSH_CHANGES_AIM)
                self._inbox(connection, state).number_more(changes)
                ahead = self._read_batch(
                    connection, state, after_n=batch.last_n, changes=changes, begun=batch.begun
                )
                state.sent_n = max(state.sent_n, ahead.last_n)
            return future.result(), None if ahead.groups is None else ahead

    # -- pull ---------------------------------------------------------------------------------

    def _pull_pages(self) -> Page:
        """Read pages until a checkpoint with nothing more behind it; that page."""
        while True:
            state = self._file.state()
            asked_from = state.cursor
            try:
                page = self._hub.ask_page(state)
                if brings_nothing(page, state):
                    return page
                has_taken = self.keep(page, asked_from, self._hub.schemas_for(page, state))
                if has_taken and page.checkpoint and not page.more:
                    return page
            except SchemaChangedError as exc:
                self._hub.try_again(exc)
            except ViewChangedError as exc:
                self._hub.try_again(exc)
                self._void_inbox()
            except InboxDamagedError:
                self._hub.try_again(
                    ReuniteError("The inbox of this replica is damaged all the time.")
                )
                self._void_inbox()
            except BadRequestError as exc:
                self._give_up_cursor(exc)

    def keep(
        self, page: Page, asked_from: str | None, schemas: tuple[TableSchema, ...] | None = None
    ) -> bool:
        """Let a page that follows the cursor `asked_from` gather, or show what gathered; False if
        another process has moved on meanwhile. `schemas` are the hub's, if they are others."""
        if self._note_page is not None:
            self._note_page(page)
        keeps_ranges = self._before_checkpoint is None
        with self._file.writing(bulk=is_large(page), keeps_ranges=keeps_ranges) as (
            connection,
            state,
        ):
            if state.cursor != asked_from:
                return False
            state.next_schemas = schemas
            state.next_revision = "" if schemas is None else page.revision
            inbox = self._inbox(connection, state)
            if not page.checkpoint:
                inbox.store(page)
                state.cursor = page.cursor
                return True
            if self._before_checkpoint is not None:
                self._before_checkpoint(connection, state, inbox, page)
            applied = inbox.apply(page)
        if state.has_traces or state.must_scrub:
            self._file.clear_traces()
        self._count(applied)
        self._note_checkpoint(applied.tables)
        return True

    def _give_up_cursor(self, error: BadRequestError) -> None:
        """The hub cannot read this file's cursor: begin at the last checkpoint, or at nothing."""
        if error.path not in ("cursor", "checkpoint"):
            raise error
        self._hub.try_again(error)
        with self._file.writing() as (connection, state):
            if state.cursor == state.checkpoint:
                state.checkpoint = None
            self._inbox(connection, state).void()

    def _void_inbox(self) -> None:
        with self._file.writing() as (connection, state):
            self._inbox(connection, state).void()

    def _count(self, applied: Applied) -> None:
        self._report.pulled += applied.rows
        self._report.rejected += applied.rejected
        self._report.conflicts += applied.conflicts
        self._hub.tell("pull", self._report.pulled)

    # -- identity -----------------------------------------------------------------------------

    def introduce(self) -> None:
        """Take an identity, if this file never had one."""
        if not self._file.state().replica:
            self._take_new_identity(UnknownReplicaError("This file is no replica of a hub yet."))

    def _take_new_identity(self, error: ReuniteError) -> bool:
        """Register anew; the whole outbox is sent again under its old ids, unless it is another
        user's by now. Whether the hub's tables have other shapes than this file's."""
        self._hub.try_again(error)
        state = self._file.state()
        answer = self._hub.register(state.tables, state.where)
        done = Applied()
        with self._file.writing() as (connection, state):
            is_others = state.whose and answer.whose and state.whose != answer.whose
            if is_others and self._manners.minds_users:
                # Nobody else is to be its author, and only who made it knows whether it holds.
                inbox = self._inbox(connection, state)
                done = inbox.set_aside(code="other-user", reason=_OTHER_USER)
            outbox = self._outbox(connection, state)
            outbox.prepare(now_ms=self._now_ms())
            is_log_lost = isinstance(error, LOST_LOG)
            has_other_shapes = begin_again(state, outbox, answer, is_log_lost=is_log_lost)
        self._count(done)
        return has_other_shapes

    def _make_smaller(self, error: LimitExceededError) -> None:
        """A push was too large. Try its first group alone, then the first change of a divisible
        one; what is too large by itself, or in parts, is parked, so that the rest goes on."""
        if self._batch_max > 1 and self._begun is None:
            self._batch_max = 1
            return
        self._begun = None
        with self._file.writing() as (connection, state):
            batch = self._read_batch(
                connection, state, after_n=state.known_n, changes=self._batch_max
            )
            numbers = range(batch.first_n, batch.last_n + 1)
            if batch.part is not None:
                numbers = numbers_of_group(connection, batch.first_n)
            self._inbox(connection, state).give_up(numbers, code=error.code, reason=error.message)
        self._batch_max = _FIRST_BATCH

    # -- squashing ----------------------------------------------------------------------------

    def taken_n(self, heard: Callable[[], int | None]) -> int:
        """The last number that the hub may have taken. It is asked, if there may be one of which
        no answer came; `heard` tells what it says."""
        state = self._file.state()
        certain = max(state.known_n, state.resend_n)
        if state.sent_n <= certain:
            return certain
        try:
            self._hub.call("push", request_with(NOTHING, state, lease={}), PushAnswer)
        except LOST_IDENTITY:
            return state.sent_n  # the push finds the same, and knows what to do
        taken = heard()
        return state.sent_n if taken is None else max(certain, taken)

    def squash(
        self,
        connection: sqlite3.Connection,
        state: State,
        *,
        after_n: int,
        without: Collection[str] = (),
    ) -> None:
        """Put changes of one row together where they are after a number, and leave out those of
        some tables."""
        self._outbox(connection, state).prepare(now_ms=self._now_ms())
        state.sent_n = min(state.sent_n, after_n)
        if without:
            forget_pending(connection, state, without, after_n=after_n)
        if has_several(connection, after_n=after_n):
            self._inbox(connection, state).squash(after_n=after_n)

    # -- beginning anew -----------------------------------------------------------------------

    def start_over(self) -> None:
        """Forget how far the hub's log was read: the next pull brings all rows. What is shown, and
        what is pending, stays until then."""
        with self._file.writing() as (connection, state):
            state.checkpoint = None
            self._inbox(connection, state).void()

    def set_aside(self, *, code: str, reason: str) -> None:
        """Park all that waits, and show the hub's rows in its place."""
        with self._file.writing() as (connection, state):
            inbox = self._inbox(connection, state)
            inbox.rearrange()
            inbox.give_up(range(state.known_n + 1, state.next_n), code=code, reason=reason)
            if state.sent_n <= state.known_n:
                state.next_n = state.known_n + 1  # nobody has heard of the numbers

    def show_made(self, connection: sqlite3.Connection, state: State, remaking: Remaking) -> None:
        """Make again what is to be made, and show it."""
        if remaking.remake(now_ms=self._now_ms()):
            self._inbox(connection, state).rearrange()

    # -- plumbing -----------------------------------------------------------------------------

    def _inbox(self, connection: sqlite3.Connection, state: State) -> Inbox:
        return Inbox(
            connection,
            state,
            self._file.schemas(state),
            self._file.forms,
            change_tables=self._file.change_tables,
            now_ms=self._now_ms(),
        )

    def _outbox(self, connection: sqlite3.Connection, state: State) -> Outbox:
        return Outbox(connection, state, self._file.schemas(state), self._file.forms)
