"""Transactions that write: steps of net writes, pushes, replicas, key blocks, tokens, trims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from reunite.core.key import Key
from reunite.core.values import Row
from reunite.engine.ports import (
    AppliedInserts,
    LogEntry,
    Origin,
    ReplicaRecord,
    StagedPart,
    StoredOutcome,
    Touch,
    Writes,
)
from reunite.errors import BadRequestError, UnknownReplicaError
from reunite.stores.sql.applying import Step
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.database import Session
from reunite.stores.sql.dialects.sqlite_capture import touch_statement
from reunite.stores.sql.outcomes import insert_parts, outcome_parts
from reunite.stores.sql.reading import SqlTransaction, head_of, index_log


class SqlWriteTransaction(SqlTransaction):
    """The port `WriteTransaction` over a session."""

    def __init__(self, session: Session, catalogue: Catalogue, meta: Mapping[str, Any]) -> None:
        super().__init__(session, catalogue, meta)
        self._last_id_before = self.last_change_id()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        last_id_before = self._last_id_before
        try:
            with self._session.savepoint():
                yield
        except BaseException:
            self._last_id_before = last_id_before
            raise

    def apply(self, writes: Writes) -> None:
        Step(self._session, self._catalogue, writes).apply()

    def insert(self, rows: Mapping[str, Sequence[Row]]) -> None:
        Step(self._session, self._catalogue, Writes(inserts=rows, updates={}, deletes={})).insert()

    def touch(self, table: str, keys: Sequence[Key]) -> None:
        # In the words of the trigger, but straight into the log: an UPDATE would set off the
        # user's triggers, which may change the row.
        plan = self._catalogue.plan(table)
        for source in plan.key_sources(list(dict.fromkeys(keys))):
            self._session.execute(
                touch_statement(
                    plan.schema,
                    f"{source.sql} CROSS JOIN {plan.sql_name} AS t",
                    plan.key_equals(source.columns),
                    outbox=False,
                ),
                source.parameters,
            )

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        # A push looks into the log again and again, and each time what it wrote itself is new.
        index_log(self._session)
        return super().entries(table, keys, after_id=after_id)

    def fresh(self, *, after_id: int = 0) -> Sequence[Touch]:
        return self._touches(max(after_id, self._last_id_before), limit=-1)

    def fresh_inserts(self, table: str, *, after_id: int) -> int:
        (count,) = self._session.execute(
            "SELECT count(*) FROM reunite_change "
            "WHERE id > ? AND table_name = ? AND op = 'insert' AND old_key IS NULL",
            (max(after_id, self._last_id_before), table),
        )[0]
        return int(count)

    def handle(self) -> Any:
        return self._session.handle

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
        execute = self._session.execute
        number = self._replica_number(replica)
        execute(
            "UPDATE reunite_replica SET last_n = max(last_n, ?), known_n = max(known_n, ?), "
            "seen_ms = max(seen_ms, ?) WHERE number = ?",
            (last_n, known_n, now_ms, number),
        )
        execute(
            "INSERT INTO reunite_push (replica, principal, last_n, at_ms, first_id, last_id) "
            "SELECT ?, ?, ?, ?, min(id), max(id) FROM reunite_change WHERE id > ?",
            (number, principal, last_n, now_ms, self._last_id_before),
        )
        self._session.executemany(
            "INSERT INTO reunite_origin (first_id, last_id, first_n, op, stamp) "
            "VALUES (?, ?, ?, ?, ?)",
            map(msgspec.structs.astuple, origins),
        )
        (last,) = execute("SELECT coalesce(max(id), 0) FROM reunite_outcome")[0]
        parts = [*outcome_parts(outcomes), *insert_parts(inserts)]
        self._session.executemany(
            "INSERT INTO reunite_outcome (id, replica, last_n, outcomes) VALUES (?, ?, ?, ?)",
            [(id_, number, part.last_n, part.text) for id_, part in enumerate(parts, last + 1)],
        )
        self._session.executemany(
            "INSERT OR IGNORE INTO reunite_outcome_slot (slot, outcome) VALUES (?, ?)",
            sorted((slot, id_) for id_, part in enumerate(parts, last + 1) for slot in part.slots),
        )
        self._last_id_before = self.last_change_id()

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
        rows = self._session.execute(
            "SELECT number FROM reunite_replica WHERE id = ?", (replica_id,)
        )
        if not rows:
            raise UnknownReplicaError(f"There is no replica {replica_id!r} here.")
        return int(rows[0][0])

    def add_replica(self, record: ReplicaRecord) -> None:
        self._session.execute(
            "INSERT INTO reunite_replica "
            "(id, principal, name, last_n, known_n, created_ms, seen_ms, seen_seq) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            msgspec.structs.astuple(record),
        )

    def keep_view(self, view_hash: str, text: str, *, views_max: int) -> None:
        self._session.execute(
            "INSERT OR IGNORE INTO reunite_view (hash, text) VALUES (?, ?)", (view_hash, text)
        )
        self._session.execute(
            "DELETE FROM reunite_view WHERE id <= "
            "(SELECT id FROM reunite_view ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (views_max,),
        )

    def confirm(self, replica_id: str, *, known_n: int, seen_seq: int, now_ms: int) -> None:
        self._session.execute(
            "UPDATE reunite_replica SET known_n = max(known_n, ?), seen_seq = max(seen_seq, ?), "
            "seen_ms = max(seen_ms, ?) WHERE number = ?",
            (known_n, seen_seq, now_ms, self._replica_number(replica_id)),
        )

    def lease(self, table: str, replica_id: str, *, size: int) -> tuple[int, int] | None:
        self._replica_number(replica_id)
        plan = self._catalogue.plan(table)
        if not plan.schema.generated_key:
            raise BadRequestError(f"The keys of {table!r} are not generated.")
        (leased,) = self._session.execute(
            "SELECT max(last) FROM reunite_block WHERE table_name = ?", (table,)
        )[0]
        first = max(plan.largest_key(self._session), leased or 0, 0) + 1
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

    # --- Tokens -----------------------------------------------------------------------------------

    def add_token(self, token_hash: str, *, principal: str, label: str, now_ms: int) -> None:
        self._session.execute(
            "INSERT INTO reunite_token (hash, principal, label, created_ms) VALUES (?, ?, ?, ?)",
            (token_hash, principal, label, now_ms),
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

    def tokens(self) -> Sequence[tuple[str, str, str, int]]:
        return self._session.execute(
            "SELECT hash, principal, label, created_ms FROM reunite_token ORDER BY created_ms, hash"
        )

    # --- Retention --------------------------------------------------------------------------------

    def trim(self, *, until_seq: int) -> int:
        head = head_of(self._session, self._epoch)
        commit = self.commit(min(until_seq, head.seq))
        if commit is None or commit.seq <= self._trimmed_seq:
            return 0
        # Ids have no gaps: SQLite gives the largest plus one, and nothing but a sweep deletes.
        count = commit.last_id - self._trimmed_id
        for name, value in (("trimmed_seq", commit.seq), ("trimmed_id", commit.last_id)):
            self._session.execute("UPDATE reunite_meta SET value = ? WHERE name = ?", (value, name))
        self._trimmed_seq, self._trimmed_id = commit.seq, commit.last_id
        return count

    def sweep(self, *, limit: int) -> int:
        execute = self._session.execute
        count, last_id = execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM reunite_change WHERE id <= ?1 "
            # The mark that an earlier sweep has left, while nothing came after it.
            "AND NOT (table_name = '' AND id = (SELECT max(id) FROM reunite_change)) "
            "ORDER BY id LIMIT ?2)",
            (self._trimmed_id, limit),
        )[0]
        if last_id is None:
            return 0
        index_log(self._session)
        execute(
            "DELETE FROM reunite_change_key WHERE (key, table_name, id) IN ("
            "SELECT key, table_name, id FROM reunite_change WHERE id <= ?1 UNION ALL "
            "SELECT old_key, table_name, id FROM reunite_change "
            "WHERE id <= ?1 AND old_key IS NOT NULL)",
            (last_id,),
        )
        execute("DELETE FROM reunite_change WHERE id <= ?", (last_id,))
        # The largest id stays, as a mark without content: SQLite gives the next one after it.
        execute(
            "INSERT INTO reunite_change (id, table_name, key, op, schema) "
            "SELECT ?, '', '', 'update', 0 WHERE NOT EXISTS (SELECT 1 FROM reunite_change)",
            (last_id,),
        )
        execute("DELETE FROM reunite_origin WHERE first_id <= ?1 AND last_id <= ?1", (last_id,))
        execute(
            "DELETE FROM reunite_commit WHERE seq < ?2 AND first_id <= ?1 AND last_id <= ?1",
            (last_id, self._trimmed_seq),
        )
        # Pushes that changed nothing go with their neighbours.
        execute(
            "DELETE FROM reunite_push WHERE id <= (SELECT id FROM reunite_push "
            "WHERE first_id <= ?1 AND last_id <= ?1 ORDER BY first_id DESC LIMIT 1) "
            "AND id < (SELECT max(id) FROM reunite_push)",
            (last_id,),
        )
        return int(count)
