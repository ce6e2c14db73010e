"""WriteTransaction: a branch of the memory store's state, published whole or abandoned.

The log is written by `_capture` alone, which the table writer calls for every row that changes,
whoever changes it: `apply`, `touch`, a hook or another program through a `MemoryHandle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.values import Row, Value
from reunite.core.view import last_views
from reunite.engine.directory import RECORD_KINDS, row_of
from reunite.engine.ports import (
    AppliedInserts,
    Commit,
    Erasure,
    Head,
    Origin,
    ReplicaRecord,
    StagedPart,
    StoredOutcome,
    Touch,
    Writes,
)
from reunite.engine.records import one_by_one, without_values
from reunite.engine.remembered import troubles
from reunite.errors import ConstraintError, UnknownReplicaError
from reunite.stores.memory.journal import Journal
from reunite.stores.memory.read import MemoryTransaction, in_stretch
from reunite.stores.memory.state import (
    Entry,
    Push,
    State,
    entry_index,
    last_id_of,
    outcome_index,
)
from reunite.stores.memory.tables import Table, default_of
from reunite.stores.memory.writer import TableWriter


def _by_entry(origins: Sequence[Origin]) -> Iterator[tuple[int, Origin]]:
    for origin in origins:
        for change_id in range(origin.first_id, origin.last_id + 1):
            n = origin.first_n + change_id - origin.first_id
            yield (
                change_id,
                msgspec.structs.replace(origin, first_id=change_id, last_id=change_id, first_n=n),
            )


class MemoryWriteTransaction(MemoryTransaction):
    """WriteTransaction over a branch of the state, which the store publishes or abandons."""

    def __init__(self, state: State) -> None:
        super().__init__(state.branch())
        self.is_open = True
        self._last_id_before = self._state.log.last
        self._writer = TableWriter(self._state.tables, self._capture)
        self._start = self._mark()

    # --- Undoing --------------------------------------------------------------------------------

    def _mark(self) -> tuple[int, State, list[tuple[Journal[object], int]]]:
        state = self._state.copy()
        journals: list[Journal[object]] = [state.log, state.commits, state.pushes, state.outcomes]  # type: ignore[list-item]
        return self._writer.mark, state, [(journal, journal.last) for journal in journals]

    def _go_back(self, mark: tuple[int, State, list[tuple[Journal[object], int]]]) -> None:
        writer_mark, state, journals = mark
        self._writer.undo_to(writer_mark)
        for journal, last in journals:
            journal.truncate(last)
        self._state = state

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        mark, last_id_before = self._mark(), self._last_id_before
        try:
            yield
        except BaseException:
            self._go_back(mark)
            self._last_id_before = last_id_before
            raise

    def abandon(self) -> None:
        """For the store: nothing of this transaction has happened."""
        self._go_back(self._start)
        self.is_open = False

    def finish(self) -> State:
        """For the store: the state to publish."""
        self.is_open = False
        return self._state

    # --- Rows -----------------------------------------------------------------------------------

    def _capture(
        self, table: Table, op: Op, key: Key, old_key: Key | None, old: Row | None
    ) -> None:
        schema = table.schema
        entry = Entry(schema.name, key, old_key, op, old, schema.column_names)
        self._state.log.append(entry)

    @property
    def writer(self) -> TableWriter:
        if not self.is_open:
            raise RuntimeError("This transaction has ended: begin another one.")
        return self._writer

    def apply(self, writes: Writes, *, has_way_back: bool = True) -> bool:
        with self.savepoint() if has_way_back else nullcontext():
            self.writer.apply(writes)
        return True

    def touch(self, table: str, keys: Sequence[Key]) -> None:
        self.writer.touch(table, keys)

    def last_id_before(self) -> int:
        return self._last_id_before

    def fresh(self, *, after_id: int = 0) -> Sequence[Touch]:
        return self._touches(max(after_id, self._last_id_before), None)

    def fresh_inserts(self, table: str, *, after_id: int) -> tuple[int, int] | None:
        log = self._state.log
        first_id = max(after_id, self._last_id_before) + 1
        entries = [log[i] for i in range(first_id, log.last + 1)]
        are_inserts = all(entry.table == table and entry.op is Op.INSERT for entry in entries)
        return (first_id, log.last) if entries and are_inserts else None

    @contextmanager
    def lent(self) -> Iterator[MemoryHandle]:
        yield MemoryHandle(self)

    # --- Replicas, outcomes, tokens -------------------------------------------------------------

    def _known(self, replica_id: str) -> ReplicaRecord:
        record = self._state.replicas.get(replica_id)
        if record is None:
            raise UnknownReplicaError(f"There is no replica {replica_id!r} here.")
        return record

    def _keep(self, record: ReplicaRecord) -> None:
        self._state.replicas = {**self._state.replicas, record.id: record}

    def add_push(
        self,
        *,
        replica: str,
        principal: str,
        last_n: int,
        known_n: int,
        now_ms: int,
        origins: Sequence[Origin],
        outcomes: Sequence[StoredOutcome],
        inserts: Sequence[AppliedInserts] = (),
    ) -> None:
        record = self._known(replica)
        self._keep(
            msgspec.structs.replace(
                record,
                last_n=last_n,
                known_n=max(known_n, record.known_n),
                seen_ms=max(now_ms, record.seen_ms),
            )
        )
        if self._state.log.last > self._last_id_before:
            self._state.pushes.append(
                Push(
                    first_id=self._last_id_before + 1,
                    last_id=self._state.log.last,
                    replica=replica,
                    principal=principal,
                    origins=dict(_by_entry(origins)),
                )
            )
        answers = (*outcomes, *chain.from_iterable(map(one_by_one, inserts)))
        for outcome in sorted(answers, key=lambda outcome: outcome.n):
            self._state.outcomes.append(outcome)
        self.put_records(troubles(outcomes, principal=principal, now_ms=now_ms))
        self._last_id_before = self._state.log.last

    def attribute(self, principal: str, *, now_ms: int) -> None:
        state = self._state
        if state.log.last > self._last_id_before:
            state.pushes.append(
                Push(
                    first_id=self._last_id_before + 1,
                    last_id=state.log.last,
                    replica=None,
                    principal=principal,
                    origins={},
                )
            )
            self._last_id_before = state.log.last

    def forget_outcomes(self, replica_id: str, *, until_n: int, limit: int) -> int:
        outcomes = self._state.outcomes
        numbers = [
            number
            for number in outcomes.numbers_of(("replica", replica_id))
            if outcomes[number].n <= until_n
        ][:limit]
        if numbers:
            kept = enumerate(outcomes.after(outcomes.base), outcomes.base + 1)
            going = set(numbers)
            self._state.outcomes = Journal(
                [outcome for number, outcome in kept if number not in going],
                base=outcomes.base,
                index_keys=outcome_index,
            )
        return len(numbers)

    def erase(self, erasures: Sequence[Erasure], ids: Sequence[int]) -> int:
        state, erased = self._state, set(ids)
        log = state.log
        entries = [
            msgspec.structs.replace(entry, old=None, is_erased=True) if id_ in erased else entry
            for id_, entry in enumerate(log.after(log.base), log.base + 1)
        ]
        entries += [
            Entry(each.table, each.key, None, Op.UPDATE, None, (), True) for each in erasures
        ]
        state.log = Journal(entries, base=log.base, index_keys=entry_index)
        places = {(each.table, each.key) for each in erasures}
        outcomes, count = without_values(state.outcomes.after(state.outcomes.base), places)
        state.outcomes = Journal(outcomes, base=state.outcomes.base, index_keys=outcome_index)
        state.erasures = (*state.erasures, *erasures)
        state.staged = {}
        return count

    def stage(self, replica_id: str, part: StagedPart, body: bytes, *, now_ms: int) -> None:
        held = self._state.staged.get(replica_id, ())
        kept = [item for item in held if item[0].of == part.of and item[0].first_n < part.first_n]
        self._state.staged = {
            **self._state.staged,
            replica_id: (*kept, (part, now_ms, body)),
        }

    def staged(self, replica_id: str) -> Sequence[StagedPart]:
        return [part for part, _, _ in self._state.staged.get(replica_id, ())]

    def staged_body(self, replica_id: str, *, first_n: int) -> bytes:
        held = self._state.staged[replica_id]
        return next(body for part, _, body in held if part.first_n == first_n)

    def unstage(self, *, replica_id: str | None = None, older_than_ms: int = 0) -> None:
        self._state.staged = {
            replica: kept
            for replica, held in self._state.staged.items()
            if replica != replica_id
            and (kept := tuple(item for item in held if item[1] >= older_than_ms))
        }

    def add_replica(self, record: ReplicaRecord) -> None:
        if record.id in self._state.replicas:
            raise ConstraintError(f"There is a replica {record.id!r} already.", code="unique")
        self._keep(record)

    def keep_view(self, view_hash: str, text: str, *, views_max: int) -> None:
        views = {**self._state.views, view_hash: text}  # one that is there keeps its place
        self._state.views = dict(list(views.items())[-views_max:])

    def note_view(self, replica_id: str, view_hash: str, *, views_max: int) -> None:
        record = self._known(replica_id)
        views = last_views(record.views, view_hash, views_max=views_max)
        self._keep(msgspec.structs.replace(record, views=views))

    def confirm(self, replica_id: str, *, known_n: int, seen_seq: int, now_ms: int) -> None:
        record = self._known(replica_id)
        self._keep(
            msgspec.structs.replace(
                record,
                known_n=max(known_n, record.known_n),
                seen_seq=max(seen_seq, record.seen_seq),
                seen_ms=max(now_ms, record.seen_ms),
            )
        )

    def lease(self, table: str, replica_id: str, *, size: int) -> tuple[int, int] | None:
        self._known(replica_id)
        blocks = self._state.leased.get(table, ())
        block = self._table(table).free_keys(blocks, size)
        if block is not None:
            self._state.leased = {**self._state.leased, table: (*blocks, block)}
        return block

    def keep_rules(self, text: str) -> None:
        self._state.rules = text

    def put_record(self, record: msgspec.Struct) -> None:
        kind = type(record)
        found = self._state.records.get(kind, {})
        key = row_of(record)[: RECORD_KINDS[kind].key]
        self._state.records = {**self._state.records, kind: {**found, key: record}}

    def put_records(self, records: Iterable[msgspec.Struct]) -> None:
        for record in records:
            self.put_record(record)

    def drop_records(
        self,
        kind: type[msgspec.Struct],
        *,
        before: str | int | None = None,
        limit: int | None = None,
        **where: str | int,
    ) -> int:
        found = dict(self._state.records.get(kind, {}))
        going = in_stretch(self.records(kind, **where), None, before)[:limit]
        for record in going:
            del found[row_of(record)[: RECORD_KINDS[kind].key]]
        self._state.records = {**self._state.records, kind: found}
        return len(going)

    def keep_stamp(self, name: str, text: str) -> None:
        self._state.stamps = {**self._state.stamps, name: text}

    def add_token(self, token_hash: str, *, principal: Principal, label: str, now_ms: int) -> None:
        self._state.tokens = {**self._state.tokens, token_hash: (principal, label, now_ms)}

    def revoke_token(self, label_or_prefix: str) -> int:
        tokens = self._state.tokens
        kept = {
            token_hash: token
            for token_hash, token in tokens.items()
            if not label_or_prefix
            or (token[1] != label_or_prefix and not token_hash.startswith(label_or_prefix))
        }
        self._state.tokens = kept
        return len(tokens) - len(kept)

    def tokens(self) -> Sequence[tuple[str, Principal, str, int]]:
        return [(token_hash, *token) for token_hash, token in self._state.tokens.items()]

    def trim(self, *, until_seq: int) -> int:
        state = self._state
        commit = self.commit(min(until_seq, state.commits.last))
        if commit is None or commit.seq <= state.commits.base:
            return 0
        count = commit.last_id - state.log.base
        pushes_gone = state.pushes.first_with(commit.last_id + 1, by=last_id_of) - 1
        state.pushes = state.pushes.without_up_to(pushes_gone)
        state.log = state.log.without_up_to(commit.last_id)
        state.commits = state.commits.without_up_to(commit.seq)
        state.trimmed = commit
        return count

    def sweep(self, *, limit: int) -> int:
        return 0  # memory is given back at once

    def hold(self, replica_ids: Iterable[str]) -> None:
        """Whoever writes is alone."""

    def take_job(self, job: str, *, who: str, now_ms: int, until_ms: int) -> bool:
        until, owner = self._state.jobs.get(job, (0, ""))
        if owner != who and now_ms < until <= until_ms:
            return False
        self._state.jobs = {**self._state.jobs, job: (until_ms, who)}
        return True

    # --- For the store --------------------------------------------------------------------------

    def number(self, *, now_ms: int, new_nonce: Callable[[], str]) -> Head:
        """Close all that has no number yet into one commit."""
        head = self.head()
        if self._state.log.last > head.last_id:
            commit = Commit(
                seq=head.seq + 1,
                first_id=head.last_id + 1,
                last_id=self._state.log.last,
                changes=self._state.log.last - head.last_id,
                at_ms=max(now_ms, head.at_ms),
                nonce=new_nonce(),
            )
            self._state.commits.append(commit)
        return self.head()


class MemoryHandle:
    """What hooks and other programs write with; each call is a statement of its own.

    A call that raises ConstraintError has done nothing, and the transaction goes on.
    """

    def __init__(self, transaction: MemoryWriteTransaction) -> None:
        self._transaction = transaction

    def _row(self, table: str, values: Mapping[str, Value]) -> Row:
        found = self._transaction.writer.own(table)
        if unknown := set(values) - set(found.schema.column_names):
            raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}.")
        return tuple(
            values[name] if name in values else default_of(found, name)
            for name in found.schema.column_names
        )

    def insert(self, table: str, values: Mapping[str, Value]) -> Key:
        """Insert a row, defaults filled in; the key under which it stands."""
        row = self._row(table, values)
        with self._transaction.savepoint():
            return self._transaction.writer.insert(table, row)

    def replace(self, table: str, values: Mapping[str, Value]) -> Key:
        """INSERT OR REPLACE: rows with the same key or unique values go first."""
        row = self._row(table, values)
        with self._transaction.savepoint():
            return self._transaction.writer.replace(table, row)

    def update(self, table: str, key: Key, values: Mapping[str, Value]) -> bool:
        """Set some columns, the key's among them if you like; whether there was a row."""
        with self._transaction.savepoint():
            return self._transaction.writer.update(table, key, values)

    def delete(self, table: str, key: Key) -> bool:
        """Delete a row; whether there was one."""
        with self._transaction.savepoint():
            return self._transaction.writer.delete(table, key)

    def rows(self, table: str) -> dict[Key, Row]:
        """All rows by key, as this transaction sees them."""
        return dict(self._transaction.writer.own(table).rows)
