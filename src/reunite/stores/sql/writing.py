"""Transactions that write: steps of net writes, pushes, replicas, key blocks, tokens, trims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec

from reunite.core.key import Key
from reunite.core.principal import Principal, principal_of_text, principal_text
from reunite.core.values import INTEGER_MAX
from reunite.core.view import last_views
from reunite.engine.ports import (
    AppliedInserts,
    Erasure,
    LogEntry,
    Origin,
    ReplicaRecord,
    StagedPart,
    StoredOutcome,
    Touch,
    Writes,
)
from reunite.engine.remembered import troubles
from reunite.errors import BadRequestError, UnknownReplicaError
from reunite.stores.sql.acting import attribute
from reunite.stores.sql.applying import Step
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.directory import drop_records, put_record, put_records
from reunite.stores.sql.erasing import erase
from reunite.stores.sql.outcomes import PushRecord, forget_outcomes, insert_parts, outcome_parts
from reunite.stores.sql.ports import Session
from reunite.stores.sql.reading import REPLICA, SqlTransaction, replica_record
from reunite.stores.sql.versions import set_meta


class SqlWriteTransaction(SqlTransaction):
    """The port `WriteTransaction` over a session."""

    _locks_rows = True

    def __init__(self, session: Session, catalogue: Catalogue, meta: Mapping[str, Any]) -> None:
        super().__init__(session, catalogue, meta)
        self._last_id_before: int | None = None
        self._has_pushed = False

    def last_id_before(self) -> int:
        if self._last_id_before is None:
            fresh = self.last_change_id() if self._has_pushed else self._state().last_change_id
            self._last_id_before = max(fresh, self._trimmed_id)
        return self._last_id_before

    def last_change_id(self) -> int:
        (last_id,) = self._session.execute("SELECT max(id) FROM reunite_change")[0]
        return max(last_id or 0, self._trimmed_id)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        last_id_before = self.last_id_before()
        try:
            with self._session.savepoint():
                yield
        except BaseException:
            self._last_id_before = last_id_before
            self._replicas.clear()
            raise

    def apply(self, writes: Writes, *, has_way_back: bool = True) -> bool:
        self.last_id_before()  # asked before anything is written
        step = Step(self._session, self._catalogue, writes)
        if has_way_back:
            step.apply()
        else:
            step.apply_plainly()
        return step.missed <= 0

    def touch(self, table: str, keys: Sequence[Key]) -> None:
        # In the words of the trigger, but straight into the log: an UPDATE would set off the
        # user's triggers, which may change the row.
        self.last_id_before()
        self._catalogue.plan(table).touch(self._session, list(dict.fromkeys(keys)))

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        # A push looks into the log again and again, and each time what it wrote itself is new.
        self._log.index(self._session)
        return super().entries(table, keys, after_id=after_id)

    def fresh(self, *, after_id: int = 0) -> Sequence[Touch]:
        after_id = max(after_id, self.last_id_before())
        return self._touches(self._log.fresh(self._session, after_id=after_id))

    def fresh_inserts(self, table: str, *, after_id: int) -> tuple[int, int] | None:
        after_id = max(after_id, self.last_id_before())
        count, first_id, last_id = self._log.fresh_run(
            self._session, table=table, after_id=after_id
        )
        return (first_id, last_id) if count and last_id - first_id + 1 == count else None

    def lent(self) -> AbstractContextManager[Any]:
        self.last_id_before()
        return self._session.lent()

    # --- Pushes and replicas ----------------------------------------------------------------------

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
        push = PushRecord(
            replica=self._replica_number(replica),
            principal=principal,
            last_n=last_n,
            known_n=known_n,
            at_ms=now_ms,
            origins=origins,
            outcomes=[*outcome_parts(outcomes), *insert_parts(inserts)],
        )
        self._log.add_push(self._session, push, after_id=self.last_id_before())
        self.put_records(troubles(outcomes, principal=principal, now_ms=now_ms))
        self._forget_replica(replica)
        self._last_id_before, self._has_pushed = None, True

    def forget_outcomes(self, replica_id: str, *, until_n: int, limit: int) -> int:
        found = self._numbered_replica(replica_id)
        if found is None:
            return 0
        return forget_outcomes(self._session, found[0], until_n=until_n, limit=limit)

    def attribute(self, principal: str, *, now_ms: int) -> None:
        attribute(self._session, principal, now_ms=now_ms, after_id=self.last_id_before())

    def erase(self, erasures: Sequence[Erasure], ids: Sequence[int]) -> int:
        self.unstage(older_than_ms=INTEGER_MAX)
        return erase(self._session, self._catalogue, erasures, ids)

    def stage(self, replica_id: str, part: StagedPart, body: bytes, *, now_ms: int) -> None:
        self._session.execute(
            "DELETE FROM reunite_staged WHERE replica = ? AND (first_n >= ? OR of <> ?)",
            (replica_id, part.first_n, part.of),
        )
        self._session.execute(
            "INSERT INTO reunite_staged (replica, first_n, last_n, begins_n, of, size, at_ms, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                replica_id,
                part.first_n,
                part.last_n,
                part.begins_n,
                part.of,
                part.size,
                now_ms,
                body,
            ),
        )

    def staged(self, replica_id: str) -> Sequence[StagedPart]:
        return [
            StagedPart(of=of, begins_n=begins_n, first_n=first_n, last_n=last_n, size=size)
            for of, begins_n, first_n, last_n, size in self._session.execute(
                "SELECT of, begins_n, first_n, last_n, size FROM reunite_staged "
                "WHERE replica = ? ORDER BY first_n",
                (replica_id,),
            )
        ]

    def staged_body(self, replica_id: str, *, first_n: int) -> bytes:
        (body,) = self._session.execute(
            "SELECT body FROM reunite_staged WHERE replica = ? AND first_n = ?",
            (replica_id, first_n),
        )[0]
        return bytes(body)

    def unstage(self, *, replica_id: str | None = None, older_than_ms: int = 0) -> None:
        self._session.execute(
            "DELETE FROM reunite_staged WHERE replica = ? OR at_ms < ?",
            (replica_id, older_than_ms),
        )

    def _replica_number(self, replica_id: str) -> int:
        found = self._numbered_replica(replica_id)
        if found is None:
            raise UnknownReplicaError(f"There is no replica {replica_id!r} here.")
        return found[0]

    def _forget_replica(self, replica_id: str) -> None:
        """It is not as it was read any more."""
        self._replicas.pop(replica_id, None)

    def add_replica(self, record: ReplicaRecord) -> None:
        self._forget_replica(record.id)
        self._session.execute(
            "INSERT INTO reunite_replica "
            "(id, principal, name, last_n, known_n, created_ms, seen_ms, seen_seq, tenant, "
            "views) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*msgspec.structs.astuple(record)[:-1], " ".join(record.views)),
        )

    def keep_view(self, view_hash: str, text: str, *, views_max: int) -> None:
        self._session.execute(
            "INSERT INTO reunite_view (hash, text) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (view_hash, text),
        )
        self._session.execute(
            "DELETE FROM reunite_view WHERE id <= "
            "(SELECT id FROM reunite_view ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (views_max,),
        )

    def note_view(self, replica_id: str, view_hash: str, *, views_max: int) -> None:
        record = self.replica(replica_id)
        views = last_views(record.views if record else (), view_hash, views_max=views_max)
        self._session.execute(
            "UPDATE reunite_replica SET views = ? WHERE number = ?",
            (" ".join(views), self._replica_number(replica_id)),
        )
        self._forget_replica(replica_id)

    def confirm(self, replica_id: str, *, known_n: int, seen_seq: int, now_ms: int) -> None:
        greatest = self._session.dialect.greatest
        self._session.execute(
            f"UPDATE reunite_replica SET known_n = {greatest}(known_n, ?), "
            f"seen_seq = {greatest}(seen_seq, ?), seen_ms = {greatest}(seen_ms, ?) "
            "WHERE number = ?",
            (known_n, seen_seq, now_ms, self._replica_number(replica_id)),
        )
        self._forget_replica(replica_id)

    def lease(self, table: str, replica_id: str, *, size: int) -> tuple[int, int] | None:
        self._replica_number(replica_id)
        plan = self._catalogue.plan(table)
        if not plan.schema.generated_key:
            raise BadRequestError(f"The keys of {table!r} are not generated.")
        (leased,) = self._session.execute(
            "SELECT max(last) FROM reunite_block WHERE table_name = ?", (table,)
        )[0]
        first = plan.lease(self._session, above=leased or 0, size=size)
        last = first + size - 1
        if last > plan.schema.generated_key_max:
            gap = plan.widest_gap(self._session)
            if gap is None:
                return None
            first, last = gap[0], min(gap[1], gap[0] + size - 1)
        self._session.execute(
            "INSERT INTO reunite_block (table_name, first, last, replica) VALUES (?, ?, ?, ?)",
            (table, first, last, replica_id),
        )
        return first, last

    # --- Rules and tokens -------------------------------------------------------------------------

    def keep_rules(self, text: str) -> None:
        set_meta(self._session, rules=text)
        self._rules = text

    def put_record(self, record: msgspec.Struct) -> None:
        put_record(self._session, record)

    def put_records(self, records: Iterable[msgspec.Struct]) -> None:
        put_records(self._session, records)

    def drop_records(
        self,
        kind: type[msgspec.Struct],
        *,
        before: str | int | None = None,
        limit: int | None = None,
        **where: str | int,
    ) -> int:
        return drop_records(self._session, kind, where, before=before, limit=limit)

    def keep_stamp(self, name: str, text: str) -> None:
        set_meta(self._session, **{f"stamp:{name}": text})
        self._stamps[name] = text

    def add_token(self, token_hash: str, *, principal: Principal, label: str, now_ms: int) -> None:
        self._session.execute(
            "INSERT INTO reunite_token (hash, principal, rights, label, created_ms) "
            "VALUES (?, ?, ?, ?, ?)",
            (token_hash, principal.user, principal_text(principal), label, now_ms),
        )

    def revoke_token(self, label_or_prefix: str) -> int:
        if not label_or_prefix:
            return 0
        return len(
            self._session.execute(
                "DELETE FROM reunite_token WHERE label = ?1 OR substr(hash, 1, length(?1)) = ?1 "
                "RETURNING 1",
                (label_or_prefix,),
            )
        )

    def tokens(self) -> Sequence[tuple[str, Principal, str, int]]:
        return [
            (token_hash, principal_of_text(user, rights), label, created_ms)
            for token_hash, user, rights, label, created_ms in self._session.execute(
                "SELECT hash, principal, rights, label, created_ms FROM reunite_token "
                "ORDER BY created_ms, hash"
            )
        ]

    def hold(self, replica_ids: Iterable[str]) -> None:
        ids = list(replica_ids)
        dialect = self._session.dialect
        # In one order, so that nobody waits for each other.
        rows = self._session.execute(
            f"{REPLICA} WHERE id IN (SELECT k.value FROM {dialect.numbers}) "
            f"ORDER BY id {dialect.locking}",
            (msgspec.json.encode(ids).decode(),),
        )
        self._replicas = dict.fromkeys(ids)
        for row in rows:
            number, record = replica_record(row)
            self._replicas[record.id] = number, record

    # --- Retention --------------------------------------------------------------------------------

    def trim(self, *, until_seq: int) -> int:
        commit = self.commit(min(until_seq, self.head().seq))
        if commit is None or commit.seq <= self._trimmed_seq:
            return 0
        count, trimmed_id = self._log.trimmed_by(
            self._session, after_seq=self._trimmed_seq, until_seq=commit.seq
        )
        set_meta(self._session, trimmed_seq=commit.seq, trimmed_id=trimmed_id)
        self._trimmed_seq, self._trimmed_id = commit.seq, trimmed_id
        return count

    def sweep(self, *, limit: int) -> int:
        return self._log.sweep(self._session, limit=limit, **self._trimmed())

    def take_job(self, job: str, *, who: str, now_ms: int, until_ms: int) -> bool:
        self._log.lock_numbering(self._session)  # alone, and before it is looked who has the job
        name = f"job {job}"
        found = self._session.execute("SELECT value FROM reunite_meta WHERE name = ?", (name,))
        until, _, owner = str(found[0][0]).partition(" ") if found else ("0", "", "")
        if owner != who and now_ms < int(until) <= until_ms:
            return False
        set_meta(self._session, **{name: f"{until_ms} {who}"})
        return True
