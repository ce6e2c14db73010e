"""Push: groups of changes from a replica's outbox become outcomes. One hub transaction.

    answered before? ──yes──► the stored outcome, nothing done again
          │ no
    known under another identity? ──yes──► `duplicate` (or rejected again), nothing done again
          │ no
    only new rows that meet nothing? ──yes──► applied, by the run
          │ no
    group by group (`engine/group.py`); once something must be undone, each in a savepoint
          ├── applied or merged
          ├── rejected: undone; a divisible group is halved until the poison is alone
          └── renumber: the push ends before this group; its number does not move

A group that comes in parts is held until its last one is here (`engine/parts.py`).

The rules: a rejection commits too, so the replica's number moves on and it is never stuck. A group
that touches or points to a row of a rejected group that its replica still showed when the group was
made is rejected with it. Outcomes are stored with the change's id in the same
transaction as its effect; idempotence lies in the ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import msgspec

from reunite.core.change import APPLIED, Change, Op, Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.pointers import pointed_parents
from reunite.core.principal import Principal
from reunite.core.rules import Access
from reunite.core.sizes import UNSEEN, Look
from reunite.core.stamp import commit_stamp
from reunite.engine.blaming import rejected
from reunite.engine.changed import inserts_of, inserts_of_runs, places_of
from reunite.engine.erase import blanked
from reunite.engine.group import HOOK_TRIES_MAX, GroupJudge, RenumberNeededError
from reunite.engine.halving import settle_in_halves
from reunite.engine.identity import check_log, check_past, formers
from reunite.engine.lineage import is_gone, lost_for_good
from reunite.engine.numbered import NumberedStore
from reunite.engine.origins import Origins
from reunite.engine.outcomes import outcome_message, shown_outcome, with_hidden
from reunite.engine.parse import ParsedPush, PushedGroup, parse_push
from reunite.engine.parts import Settling, take_part
from reunite.engine.ports import (
    AppliedInserts,
    LogEntry,
    ReplicaRecord,
    StoredOutcome,
    UndoneError,
    WriteTransaction,
)
from reunite.engine.recognising import recognisable
from reunite.engine.register import check_protocol, lease_blocks, own_replica
from reunite.engine.rights import MISSING_PARENT, GroupRejectedError, Rights
from reunite.engine.tables import Tables
from reunite.engine.whole import Whole, begin_whole, end_whole, settle_whole
from reunite.errors import (
    ConstraintError,
    SchemaChangedError,
)
from reunite.protocol.push import PushAnswer, PushRequest, Renumber

_DEPENDS = "It touches or points to a row of a change that was rejected."

# Above every number that a replica can give.
MAX_NUMBER = 2**63 - 1


def push(
    store: NumberedStore,
    tables: Tables,
    principal: Principal,
    request: PushRequest,
    *,
    whole: Whole | None = None,
    look: Look = UNSEEN,
) -> PushAnswer:
    """Judge and apply what a replica sends; the outcomes of all of it. With `whole`, nothing of a
    request takes effect of which a change is rejected: raises RefusedError. `look` is what its
    message showed of all rows.

    Raises the errors of `parse_push`, and UnknownReplicaError, EpochChangedError,
    HubRestoredError, IdentityForkedError, NumberGapError, UpgradeRequiredError,
    StorageUnavailableError; then nothing has happened. A constant number of statements for each
    group, besides the row writes themselves.
    """
    check_protocol(request.protocol)

    def work(
        request: PushRequest, refusal: UndoneError | None, *, has_way_back: bool
    ) -> PushAnswer:
        with store.write() as tx:
            request = begin_whole(tx, whole, request)
            answer = _push(
                tx,
                tables,
                principal,
                request,
                now_ms=store.clock.now_ms(),
                has_way_back=has_way_back,
                refusal=refusal,
                look=look if whole is None else UNSEEN,
            )
            end_whole(tx, whole, request, answer)
            return answer

    def settle(request: PushRequest, refusal: UndoneError | None) -> PushAnswer:
        try:
            return work(request, refusal, has_way_back=bool(whole and whole.has_way_back))
        except UndoneError:
            raise
        except (ConstraintError, _NoWayBackError):
            # Rarely a group is refused after it has written something, mostly by a constraint of
            # the hub. Nothing has happened; once more, so that only the group to blame is undone.
            return work(request, refusal, has_way_back=True)

    if whole is None:
        return settle_in_halves(request, settle)
    return settle_whole(request, settle) if whole.takes_all else settle(request, None)


def _push(
    tx: WriteTransaction,
    tables: Tables,
    principal: Principal,
    request: PushRequest,
    *,
    now_ms: int,
    has_way_back: bool,
    refusal: UndoneError | None,
    look: Look,
) -> PushAnswer:
    # The same changes may be under way already, perhaps through another process.
    tx.hold({request.replica, *(former.replica for former in request.formers)})
    tables = tables.at(tx)
    access = tables.access(principal)
    shown = tables.shown_by(access)
    for name in request.lease:
        if not tables.schema(name, path="lease").generated_key:
            raise SchemaChangedError(
                f"The keys of {name!r} are not generated any more: pull first.", path="lease"
            )
    own_replica(tx, principal, request.replica)
    check_log(tx, request)

    def settle(request: PushRequest, how: Settling) -> PushAnswer:
        record = own_replica(tx, principal, request.replica)
        parsed = parse_push(request, shown, now_ms=now_ms, look=how.look)
        session = _Session(
            tx,
            tables,
            principal,
            access,
            record,
            request,
            parsed,
            now_ms=now_ms,
            has_way_back=has_way_back,
            is_slice=how.is_slice,
            refusal=refusal,
        )
        if how.rejection is None:
            session.run()
        else:
            session.reject(how.rejection)
        return session.finish()

    if any(group.part is not None for group in request.groups):
        parse_push(request, shown, now_ms=now_ms)
        return take_part(tx, request, settle, now_ms=now_ms)
    return settle(request, Settling(look=look))


class _NoWayBackError(Exception):
    """What was done without a savepoint must be undone."""


class _Stop(Exception):  # noqa: N818 — ends a push early; not an error
    """The push ends here; what was settled before stays."""


class _Session:
    """One push in one transaction."""

    def __init__(
        self,
        tx: WriteTransaction,
        tables: Tables,
        principal: Principal,
        access: Access,
        record: ReplicaRecord,
        request: PushRequest,
        parsed: ParsedPush,
        *,
        now_ms: int,
        has_way_back: bool,
        is_slice: bool,
        refusal: UndoneError | None,
    ) -> None:
        self._is_slice = is_slice
        self._refusal = refusal  # what became of its group, alone in a transaction
        self._parsed = parsed
        self._faults = parsed.faults
        self._has_way_back = has_way_back
        self._has_written = False  # since the group began
        self._tx = tx
        self._tables = tables
        self._principal = principal
        self._access = access
        self._rights = Rights(tx, self._access)
        self._record = record
        self._request = request
        self._now_ms = now_ms
        self._head = tx.head()
        self._own = {record.id: MAX_NUMBER, **formers(tx, principal, request)}
        past = check_past(tx, record, request, parsed)
        self._answered, self._known = past.answered, past.known
        self._settled: list[StoredOutcome] = []  # stored before, and new
        self._new: list[StoredOutcome] = []
        self._inserts: list[AppliedInserts] = []  # new, and settled by the run
        self._renumber: Renumber | None = None
        # The rows of rejected changes, with the largest number that was rejected there.
        self._tainted: dict[tuple[str, Key], int] = {}
        # By table: rows that this push made, and the log's end after that.
        self._known_until: dict[str, dict[Key, int]] = {}
        # Rows to which new ones point that are not gone since a mark, as long as this push only
        # inserts: many groups point to the same ones.
        self._standing: dict[tuple[str, Key], int] = {}
        self._origins = Origins(tx)
        for stored in past.rejected:
            self._taint(stored.n, stored.table, stored.key, stored.old_key)

    # -- group by group -----------------------------------------------------------------------

    def run(self) -> None:
        """Settle the groups in order, until the end or until the push must stop."""
        known = recognisable(self._tx, self._tables, self._principal, self._known)
        try:
            for group in self._parsed.groups:
                if not (known or self._answered) and self._settle_inserts(group):
                    continue
                self._standing.clear()
                self._settle_group(group, known)
        except RenumberNeededError as exc:
            change = exc.change
            self._renumber = Renumber(n=change.n, table=change.table, key=change.key)
        except _Stop:
            pass

    def reject(self, error: GroupRejectedError) -> None:
        """Reject all of it: slices of a group of which one was rejected."""
        for group in self._parsed.groups:
            self._reject(group.changes, error)

    def _settle_group(self, group: PushedGroup, known: Mapping[str, StoredOutcome]) -> None:
        """Repeat what was answered, recognise what is known, settle the rest in between."""
        fresh: list[Change] = []
        for change in group.changes:
            if change.n in self._answered or change.id in known:
                self._settle_fresh(fresh, is_divisible=group.is_divisible)
                fresh = []
                if change.n in self._answered:
                    self._repeat(change, self._answered[change.n])
                else:
                    self._recognise(change, known[change.id])
            else:
                fresh.append(change)
        self._settle_fresh(fresh, is_divisible=group.is_divisible)

    def _settle_inserts(self, group: PushedGroup) -> bool:
        """Settle a group that only brings new rows by its runs; whether that was possible."""
        if self._refusal or self._faults or self._tainted or not group.inserts_only:
            return False
        inserts = inserts_of_runs(group.runs, self._tables, self._rights.default)
        mark = min(run.run.mark for run in group.runs)
        judge = self._new_judge(standing=self._standing)
        if not judge.apply_inserts(inserts, mark=mark, has_way_back=self._has_way_back):
            return False
        if not self._origins.note_inserts(group):
            self._standing.clear()
        for run in group.runs:
            self._inserts.append(
                AppliedInserts(
                    replica=self._record.id,
                    first_n=run.first_n,
                    table=run.run.table,
                    ids=run.run.ids,
                    keys=run.keys,
                )
            )
        for table, given in inserts.items():
            self._note_made(table, given.keys)
        return True

    def _settle_fresh(self, changes: Sequence[Change], *, is_divisible: bool) -> None:
        """Settle what no push has answered yet, as one group; nothing of it before a renumber."""
        if not changes:
            return
        kept = len(self._settled), len(self._new), self._origins.mark()
        self._has_written = False
        try:
            with self._tx.savepoint() if self._has_way_back else nullcontext():
                self._settle(changes, is_divisible=is_divisible)
        except RenumberNeededError as exc:
            if self._has_written and not self._has_way_back:
                raise _NoWayBackError from exc
            settled, new, origins = kept
            del self._settled[settled:], self._new[new:]
            self._origins.undo_to(origins)
            raise

    def _repeat(self, change: Change, stored: StoredOutcome) -> None:
        """Answered before: the same outcome again. If the replica has moved the row since then,
        it must first learn under which key the change took effect."""
        if stored.outcome.kind is OutcomeKind.REJECTED:
            self._taint(change.n, change.table, change.key, change.old_key)
        self._take_over(change, stored, is_new=False)

    def _recognise(self, change: Change, stored: StoredOutcome) -> None:
        """Took effect (or was rejected) under another identity of this file."""
        is_rejected = stored.outcome.kind is OutcomeKind.REJECTED
        kind = OutcomeKind.REJECTED if is_rejected else OutcomeKind.DUPLICATE
        again = StoredOutcome(
            replica=self._record.id,
            n=change.n,
            id=change.id,
            table=stored.table,
            op=stored.op,
            # What was rejected took effect under no key; what hangs on it names today's.
            key=change.key if is_rejected else stored.key,
            old_key=change.old_key if is_rejected else stored.old_key,
            outcome=msgspec.structs.replace(stored.outcome, kind=kind),
        )
        if is_rejected:
            self._taint(change.n, change.table, change.key, change.old_key)
        elif stored.op is Op.INSERT or stored.old_key is not None:
            self._establish(change, stored)
        self._take_over(change, again, is_new=True)

    def _take_over(self, change: Change, stored: StoredOutcome, *, is_new: bool) -> None:
        """Answer with an outcome of before; stop where the row has another key there than here."""
        effective = stored.outcome.key or stored.key
        has_moved = effective != change.key
        if has_moved:
            outcome = msgspec.structs.replace(stored.outcome, key=effective)
            stored = msgspec.structs.replace(stored, outcome=outcome)
        self._settled.append(stored)
        if is_new:
            self._new.append(stored)
        if has_moved:
            raise _Stop

    def _establish(self, change: Change, stored: StoredOutcome) -> None:
        """The row that the other identity made is this replica's own: say so in the log, unless
        it is gone since."""
        key = stored.outcome.key or stored.key

        def is_its(entry: LogEntry) -> bool:
            return entry.replica == stored.replica and entry.n == stored.n

        entries = self._tx.entries(stored.table, [key], after_id=change.mark)
        if not is_gone(entries, key, mark=change.mark, is_mine=is_its):
            self._tx.touch(stored.table, [key])
            self._origins.note([], {(stored.table, key): change})
            self._note_made(stored.table, [key])

    def _settle(self, changes: Sequence[Change], *, is_divisible: bool) -> None:
        """Apply the changes as one group, or reject them; halve a divisible group first."""
        try:
            self._apply(changes)
        except GroupRejectedError as exc:
            if self._is_slice:
                raise  # what came before must go as well
            if is_divisible and len(changes) > 1:
                if exc.code == "foreign-key":
                    kept = self._reject_orphans(changes)
                    if len(kept) < len(changes):
                        if kept:
                            self._settle(kept, is_divisible=True)
                        return
                middle = len(changes) // 2
                self._settle(changes[:middle], is_divisible=True)
                self._settle(changes[middle:], is_divisible=True)
            else:
                self._reject(changes, exc)

    def _reject_orphans(self, changes: Sequence[Change]) -> list[Change]:
        """Reject each change that points to a parent that is nowhere, and what hangs on it; the
        rest. Thousands of orphans (programs write with foreign keys off) would else be found by
        halving, with the hub's database locked all the while."""
        schemas = self._tables.schemas
        parents = {
            change.id: list(pointed_parents(schemas, change.table, change.columns, change.set))
            for change in changes
            if change.op is not Op.DELETE
        }
        self._rights.begin()
        made = {(change.table, change.key) for change in changes if change.op is not Op.DELETE}
        wanted: dict[str, set[Key]] = {}
        for pointed in parents.values():
            for parent, key in pointed:
                if (parent, key) not in made:
                    wanted.setdefault(parent, set()).add(key)
        try:
            with self._tx.savepoint():
                missing = {
                    (parent, key)
                    for parent, keys in wanted.items()
                    for key in lost_for_good(
                        self._tx, schemas[parent], keys - self._rights.seen(parent, keys), changes
                    )
                }
        except ConstraintError:
            return list(changes)  # a key that the database cannot hold: halving finds it
        kept = []
        for change in changes:
            if not missing.isdisjoint(parents.get(change.id, ())):
                code, reason = "foreign-key", MISSING_PARENT
            elif self._hangs_on_rejected(change):
                code, reason = "depends-on-rejected", _DEPENDS
            else:
                kept.append(change)
                continue
            self._reject([change], GroupRejectedError(change, code, reason))
        return kept

    def _hangs_on_rejected(self, change: Change) -> bool:
        return any(
            self._tainted.get(place, 0) > change.covered
            for place in places_of(change, self._tables)
        )

    def _apply(self, changes: Sequence[Change]) -> None:
        if self._faults:
            for change in changes:
                if fault := self._faults.get(change.id):
                    raise GroupRejectedError(change, fault.code, fault.reason)
        if self._tainted:
            for change in changes:
                if self._hangs_on_rejected(change):
                    raise GroupRejectedError(change, "depends-on-rejected", _DEPENDS)
        if self._refusal is not None:
            raise rejected(changes, self._refusal) from self._refusal
        outcomes, made = self._judge(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            self._add(change, outcome)
        self._origins.note(changes, made)
        for table, key in made:
            self._note_made(table, [key])

    def _judge(
        self, changes: Sequence[Change]
    ) -> tuple[Sequence[Outcome], Mapping[tuple[str, Key], Change]]:
        """What becomes of the changes, and which of them made rows."""
        if all(change.op is Op.INSERT for change in changes):
            mark = min(change.mark for change in changes)
            inserts = inserts_of(changes, self._tables, self._rights.default)
            judge = self._new_judge()
            if judge.apply_inserts(inserts, mark=mark, has_way_back=self._has_way_back):
                self._has_written = True
                made = {(change.table, change.key): change for change in changes}
                return [APPLIED] * len(changes), made
        if not (self._has_way_back or self._meets_hook(changes)):
            return self._judge_plainly(changes)
        attempt = 1
        while True:
            judge = self._new_judge()
            try:
                with self._tx.savepoint():
                    outcomes = judge.apply(changes)
                self._has_written = True
                return outcomes, judge.established
            except GroupRejectedError as exc:
                if not exc.is_temporary or attempt == HOOK_TRIES_MAX:
                    raise
                attempt += 1

    def _meets_hook(self, changes: Sequence[Change]) -> bool:
        """Whether there is a hook for a table of these changes: it may well refuse them."""
        hooked = {table for table, _ in self._tables.hooks}
        return any(change.table in hooked for change in changes)

    def _judge_plainly(
        self, changes: Sequence[Change]
    ) -> tuple[Sequence[Outcome], Mapping[tuple[str, Key], Change]]:
        """The same without a savepoint."""
        judge = self._new_judge(has_way_back=False)
        try:
            return judge.apply(changes), judge.established
        except GroupRejectedError as exc:
            if judge.has_written:
                raise _NoWayBackError from exc
            raise
        finally:
            self._has_written = self._has_written or judge.has_written

    def _new_judge(
        self, *, has_way_back: bool = True, standing: dict[tuple[str, Key], int] | None = None
    ) -> GroupJudge:
        return GroupJudge(
            self._tx,
            self._tables,
            self._principal,
            self._rights,
            is_mine=self._is_mine,
            known_until=self._known_until,
            standing={} if standing is None else standing,
            now_ms=self._now_ms,
            has_way_back=has_way_back,
            after_id=self._origins.last_id,
        )

    def _note_made(self, table: str, keys: Sequence[Key]) -> None:
        """This push made the rows of these keys: from here on the replica knows them."""
        self._known_until.setdefault(table, {}).update(dict.fromkeys(keys, self._origins.last_id))

    def _is_mine(self, entry: LogEntry) -> bool:
        return entry.n is not None and entry.n <= self._own.get(entry.replica or "", 0)

    def _reject(self, changes: Sequence[Change], error: GroupRejectedError) -> None:
        blamed = error.change
        if error.code in ("write-failed", "unknown-table"):
            self._tables.on_failure(f"a write of {blamed.table!r}", error)
        for change in changes:
            self._taint(change.n, change.table, change.key, change.old_key)
            if change.id == blamed.id or len(changes) == 1:
                reason, columns = error.reason, error.columns
            else:
                reason = f"Another change of the same transaction was rejected: {error.reason}"
                columns = ()
            self._add(
                change,
                Outcome(kind=OutcomeKind.REJECTED, code=error.code, reason=reason, columns=columns),
            )

    def _taint(self, n: int, table: str, key: Key, old_key: Key | None) -> None:
        """What was made on a replica that still showed this rejected change hangs on it."""
        for place in (key, old_key):
            if place is not None:
                self._tainted[table, place] = max(n, self._tainted.get((table, place), 0))

    def _add(self, change: Change, outcome: Outcome) -> None:
        stored = StoredOutcome(
            replica=self._record.id,
            n=change.n,
            id=change.id,
            table=change.table,
            op=change.op,
            key=change.key,
            old_key=change.old_key,
            outcome=outcome,
        )
        self._settled.append(stored)
        self._new.append(stored)

    # -- the answer ---------------------------------------------------------------------------

    def finish(self) -> PushAnswer:
        """Record the push, and say what came of it."""
        request, record, tx = self._request, self._record, self._tx
        for stored_list in (self._settled, self._new):
            stored_list.sort(key=lambda stored: stored.n)
        self._new = with_hidden(blanked(tx, self._new, record.views), self._access)
        news = {stored.n: stored for stored in self._new}
        self._settled = [news.get(stored.n, stored) for stored in self._settled]
        inserted = sum(len(run.ids) for run in self._inserts)
        last_n = request.first_n - 1 + len(self._settled) + inserted
        if self._new or self._inserts:
            tx.add_push(
                replica=record.id,
                principal=self._principal.user,
                last_n=max(last_n, record.last_n),
                known_n=max(request.known, record.known_n),
                now_ms=self._now_ms,
                origins=self._origins.found,
                outcomes=self._new,
                inserts=self._inserts,
            )
        wanted = dict(request.lease)
        if self._renumber is not None:
            wanted.setdefault(self._renumber.table, 0)
        blocks = lease_blocks(tx, self._tables, wanted, record.id)
        return PushAnswer(
            first_n=request.first_n,
            last_n=last_n,
            outcomes=tuple(
                outcome_message(shown_outcome(stored, self._access))
                for stored in self._settled
                if stored.outcome.kind is not OutcomeKind.APPLIED or stored.outcome.key is not None
            ),
            stamp=commit_stamp(max(self._now_ms, self._head.at_ms)),
            renumber=self._renumber,
            blocks=blocks,
        )
