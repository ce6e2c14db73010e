"""The log on PostgreSQL: many writers at once, so a number is given after a transaction is visible.

A numbering takes an advisory lock and then looks at one snapshot. What it numbers are the changes
of transactions that this snapshot sees and the one of the numbering before did not: they are not
below that one's `next_txid`, or were in progress then (`open_txids`). Each transaction becomes one
commit; they are ordered by the *largest* change id of each, because a transaction that overwrote
another's row waited for it, and so drew its last id later.

Ids do not tell what a snapshot saw, since a transaction may draw its ids first and become visible
last. A *mark* is the largest id that a snapshot sees. A commit with ids that are not above the mark
of the numbering before came late: the place of these entries is the mark of its own numbering, for
which an id of its own is drawn, so that it is larger than all marks before.

The rule         the lock comes first, in READ COMMITTED: a snapshot that is older than the lock
                 would number what somebody else has numbered meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from reunite.engine.ports import Head
from reunite.stores.sql.dialect import LogState, LogWords, TouchRecord
from reunite.stores.sql.outcomes import PushRecord
from reunite.stores.sql.ports import Session

# The lock of those who number, by database and the place of reunite's tables in it.
_LOCK = "SELECT pg_advisory_xact_lock(x'7265756e'::int, 'reunite_commit'::regclass::oid::int)"

# The state that the last numbering left behind.
_XMAX = "coalesce((SELECT next_txid FROM reunite_commit ORDER BY seq DESC LIMIT 1), 0)"
_XIP = "coalesce((SELECT open_txids FROM reunite_commit ORDER BY seq DESC LIMIT 1), '{}')"
_MARK = "coalesce((SELECT mark FROM reunite_commit ORDER BY seq DESC LIMIT 1), 0)"

# What the snapshot of the last numbering did not see, by two ways into the index by transaction:
# cost follows what is new, not the log nor how long the oldest transaction has been open. BETWEEN,
# because PostgreSQL takes an open range for a third of the table, and a closed one for little.
_LARGEST = 2**62
_NEW = f"""(
    SELECT n.* FROM reunite_change AS n WHERE n.txid BETWEEN {_XMAX} AND {_LARGEST}
    UNION ALL
    SELECT n.* FROM unnest({_XIP}) AS x (txid)
    CROSS JOIN LATERAL (SELECT * FROM reunite_change WHERE txid = x.txid OFFSET 0) AS n
) AS c"""
_STATE = """
    WITH h AS MATERIALIZED (SELECT * FROM reunite_commit ORDER BY seq DESC LIMIT 1)
    SELECT coalesce(h.seq, 0), coalesce(h.nonce, ''), coalesce(h.last_id, 0), coalesce(h.at_ms, 0),
        coalesce(c.id, 0), coalesce(greatest(h.mark, c.id), 0),
        coalesce(c.txid >= coalesce(h.next_txid, 0), false) OR EXISTS (
            SELECT FROM unnest(h.open_txids) AS x (txid)
            CROSS JOIN LATERAL (SELECT FROM reunite_change WHERE txid = x.txid LIMIT 1) AS n),
        c.epoch
    FROM (SELECT (SELECT max(id) FROM reunite_change) AS id,
                 (SELECT max(txid) FROM reunite_change) AS txid,
                 (SELECT value FROM reunite_meta WHERE name = 'epoch') AS epoch) AS c
    LEFT JOIN h ON true
"""
_FIND = f"""
    SELECT c.txid, min(c.id), max(c.id), count(*), row_number() OVER (ORDER BY max(c.id)) AS place
    FROM {_NEW} GROUP BY c.txid
"""
# One statement, so one snapshot: what it sees is what it says that it saw.
_NUMBER = f"""
    WITH found AS MATERIALIZED ({_FIND}), now AS MATERIALIZED (
        SELECT pg_snapshot_xmax(s)::text::bigint AS next_txid,
               ARRAY (SELECT x::text::bigint FROM pg_snapshot_xip(s) AS x) AS open_txids,
               coalesce(h.mark, 0) AS former, coalesce(h.seq, 0) AS seq,
               greatest(h.at_ms, ?1::bigint) AS at_ms
        FROM pg_current_snapshot() AS s
        LEFT JOIN (SELECT * FROM reunite_commit ORDER BY seq DESC LIMIT 1) AS h ON true
    ), marked AS MATERIALIZED (
        SELECT CASE WHEN min(f.min) <= max(n.former)
               THEN nextval(pg_get_serial_sequence('reunite_change', 'id')) ELSE max(f.max) END
               AS mark
        FROM found AS f, now AS n
    ), numbered AS (
        INSERT INTO reunite_commit (seq, at_ms, nonce, txid, first_id, last_id, changes, mark,
            former, next_txid, open_txids)
        SELECT now.seq + f.place, now.at_ms, concat_ws('.', ?2::text, nullif(f.place, 1)), f.txid,
            f.min, f.max, f.count, marked.mark, now.former, now.next_txid, now.open_txids
        FROM found AS f, now, marked RETURNING seq, nonce, last_id, at_ms
    )
    SELECT seq, nonce, last_id, at_ms, (SELECT value FROM reunite_meta WHERE name = 'epoch')
    FROM numbered ORDER BY seq DESC LIMIT 1
"""
_TOUCHED = """
    SELECT m.seq, c.id, c.table_name, c.key, c.old_key, c.schema
    FROM (SELECT seq, txid, first_id, last_id FROM reunite_commit WHERE seq > ?1 AND seq > ?4
          ORDER BY seq LIMIT ?3 + 1) AS m
    CROSS JOIN LATERAL (
        SELECT * FROM reunite_change AS c
        WHERE c.txid = m.txid AND c.id >= m.first_id AND c.id <= m.last_id
        AND (m.seq > ?1 + 1 OR c.id > ?2)
        ORDER BY c.id LIMIT ?3) AS c
    ORDER BY m.seq, c.id LIMIT ?3
"""
_UNNUMBERED = f"""
    SELECT NULL, c.id, c.table_name, c.key, c.old_key, c.schema FROM {_NEW}
    WHERE ?1::bigint IS NULL OR c.id > ?1 ORDER BY c.id LIMIT ?2
"""
# Beside the oldest transaction that this snapshot does not see: whatever comes is not below it.
_PUSHES = f"""
    SELECT DISTINCT pg_snapshot_xmin(s.snapshot)::text::bigint, r.id, r.last_n
    FROM (SELECT pg_current_snapshot() AS snapshot) AS s
    LEFT JOIN reunite_push AS p ON p.txid BETWEEN ?1 AND {_LARGEST}
    LEFT JOIN reunite_replica AS r ON r.number = p.replica
"""
_OWN = "txid = pg_current_xact_id()::text::bigint"
# One statement, since each costs a round trip: a push of one change has little else to do.
_ADD_PUSH = f"""
    WITH replica AS (
        UPDATE reunite_replica SET last_n = greatest(last_n, ?3), known_n = greatest(known_n, ?4),
            seen_ms = greatest(seen_ms, ?5) WHERE number = ?1
    ), push AS (
        INSERT INTO reunite_push (replica, principal, last_n, at_ms, txid, first_id, last_id)
        SELECT ?1, ?2, ?3, ?5, pg_current_xact_id()::text::bigint, min(id), max(id)
        FROM reunite_change WHERE {_OWN} AND id > ?6
    ), origin AS (
        INSERT INTO reunite_origin (first_id, last_id, first_n, op, stamp)
        SELECT * FROM json_to_recordset(?7::json)
            AS o (first_id bigint, last_id bigint, first_n bigint, op text, stamp text)
    ), part AS MATERIALIZED (
        SELECT nextval(pg_get_serial_sequence('reunite_outcome', 'id')) AS id, p.*
        FROM json_to_recordset(?8::json) AS p (last_n bigint, text text, slots json)
    ), outcome AS (
        INSERT INTO reunite_outcome (id, replica, last_n, outcomes)
        SELECT id, ?1, last_n, text FROM part
    )
    INSERT INTO reunite_outcome_slot (slot, outcome)
    SELECT s.value::bigint, part.id FROM part
    CROSS JOIN json_array_elements_text(part.slots) AS s (value) ON CONFLICT DO NOTHING
"""
_encode = msgspec.json.Encoder().encode

# More transactions than a database ever has.
_ERA = 2**50


class PostgresLog:
    """Changes and commits by transaction."""

    words = LogWords(
        entry="c.id, c.table_name, c.key, c.old_key, c.op, c.schema, c.old",
        place=f"""CASE
            WHEN m.seq IS NOT NULL THEN CASE WHEN c.id <= m.former THEN m.mark ELSE c.id END
            WHEN c.id > {_MARK}
                OR c.txid = coalesce(pg_current_xact_id_if_assigned()::text::bigint, 0) THEN c.id
            ELSE {_LARGEST} END""",
        in_commit="m.txid = c.txid AND c.id >= m.first_id AND c.id <= m.last_id",
        in_push="p.txid = c.txid AND c.id >= p.first_id AND c.id <= p.last_id",
        changes="changes",
        after_keys=(
            """(
            SELECT i.id FROM json_array_elements_text(?1::json) AS k(value) CROSS JOIN LATERAL (
                SELECT id FROM reunite_change
                WHERE key = k.value AND table_name = ?2 OFFSET 0) AS i
            UNION
            SELECT i.id FROM json_array_elements_text(?1::json) AS k(value) CROSS JOIN LATERAL (
                SELECT id FROM reunite_change
                WHERE old_key = k.value AND table_name = ?2 OFFSET 0) AS i
            ) AS found JOIN reunite_change AS c ON c.id = found.id""",
            f"""WHERE (m.seq IS NULL OR m.seq > ?4) AND (c.id > ?3
                OR (m.seq IS NOT NULL AND c.id <= m.former AND m.mark > ?3)
                OR (m.seq IS NULL AND c.id <= {_MARK}))""",
        ),
        in_range="WHERE c.id > ?1 AND c.id <= ?2 AND (m.seq IS NULL OR m.seq > ?4)",
    )

    def state(self, session: Session) -> LogState:
        found = session.execute_again(_STATE)[0]
        seq, nonce, last_id, at_ms, last_change_id, mark, has_news, epoch = found
        return LogState(
            head=Head(epoch=epoch, seq=seq, nonce=nonce, last_id=last_id, at_ms=at_ms),
            last_change_id=last_change_id,
            mark=mark,
            has_news=has_news,
        )

    def lock_numbering(self, session: Session) -> None:
        session.execute(_LOCK)

    def number(self, session: Session, *, now_ms: int, new_nonce: Callable[[], str]) -> Head | None:
        found = session.execute(_NUMBER, (now_ms, new_nonce()))
        if not found:
            return None
        seq, nonce, last_id, at_ms, epoch = found[0]
        return Head(epoch=epoch, seq=seq, nonce=nonce, last_id=last_id, at_ms=at_ms)

    def touched(
        self,
        session: Session,
        *,
        seq: int,
        after_id: int,
        trimmed_seq: int,
        trimmed_id: int,
        limit: int,
        has_news: bool,
    ) -> list[TouchRecord]:
        numbered: list[Any] = session.execute(_TOUCHED, (seq, after_id, limit, trimmed_seq))
        room = limit - len(numbered)
        if room > 0 and has_news:
            # A position may also stand among these.
            at_head = not numbered and not session.execute(
                "SELECT 1 FROM reunite_commit WHERE seq > ? LIMIT 1", (seq,)
            )
            numbered += session.execute(_UNNUMBERED, (after_id if at_head else None, room))
        return numbered

    def fresh(self, session: Session, *, after_id: int) -> list[TouchRecord]:
        found: list[Any] = session.execute(
            "SELECT NULL, id, table_name, key, old_key, schema FROM reunite_change "
            f"WHERE {_OWN} AND id > ? ORDER BY id",
            (after_id,),
        )
        return found

    def fresh_run(self, session: Session, *, table: str, after_id: int) -> tuple[int, int, int]:
        count, first_id, last_id = session.execute(
            "SELECT count(*) FILTER (WHERE table_name = ? AND op = 'insert'), "
            f"coalesce(min(id), 0), coalesce(max(id), 0) FROM reunite_change "
            f"WHERE {_OWN} AND id > ?",
            (table, after_id),
        )[0]
        return count, first_id, last_id

    def add_push(self, session: Session, push: PushRecord, *, after_id: int) -> None:
        origins, outcomes = _encode(push.origins).decode(), _encode(push.outcomes).decode()
        session.execute(
            _ADD_PUSH,
            (
                push.replica,
                push.principal,
                push.last_n,
                push.known_n,
                push.at_ms,
                after_id,
                origins,
                outcomes,
            ),
        )

    def add_runs(
        self, session: Session, record: tuple[Any, ...], runs: Sequence[tuple[int, int]]
    ) -> None:
        session.executemany(
            "INSERT INTO reunite_push (replica, principal, last_n, at_ms, txid, first_id, last_id) "
            "VALUES (?, ?, ?, ?, pg_current_xact_id()::text::bigint, ?, ?)",
            [(*record, *run) for run in runs],
        )

    def runs(self, session: Session, *, after_id: int) -> list[tuple[int, int]]:
        found: list[Any] = session.execute(
            f"SELECT first_id, last_id FROM reunite_push WHERE {_OWN} AND first_id > ? "
            "ORDER BY first_id",
            (after_id,),
        )
        return found

    def blank(self, session: Session, ids: Sequence[int]) -> None:
        session.execute(
            "UPDATE reunite_change SET schema = -abs(schema), old = NULL WHERE id = ANY (?)",
            (list(ids),),
        )

    def add_erased(self, session: Session, rows: Sequence[tuple[str, str, int]]) -> None:
        session.executemany(
            "INSERT INTO reunite_change (txid, table_name, key, op, schema) "
            "VALUES (pg_current_xact_id()::text::bigint, ?, ?, 'update', -abs(?::integer))",
            rows,
        )

    def pushes(self, session: Session, after: int | None) -> tuple[int, dict[str, int]]:
        found = session.execute(_PUSHES, (_LARGEST if after is None else after,))
        return found[0][0], {id_: last_n for _, id_, last_n in found if id_ is not None}

    def keys_parameters(
        self, keys: str, table: str, *, after_id: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        return keys, table, after_id, trimmed_seq

    def range_parameters(
        self, *, after_id: int, until_id: int, limit: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        return after_id, until_id, limit, trimmed_seq

    def renew(self, session: Session) -> None:
        """Transaction ids begin again in a restored database: those of before become negative, so
        that they meet no new one, and what had no number gets one."""
        session.execute(_LOCK)
        session.execute(
            "INSERT INTO reunite_commit (seq, txid, first_id, last_id, at_ms, nonce, changes, "
            "mark, former, next_txid, open_txids) "
            "SELECT h.seq + row_number() OVER (ORDER BY max(c.id)), c.txid, min(c.id), max(c.id), "
            "h.at_ms, gen_random_uuid()::text, count(*), greatest(h.mark, h.last_id), 0, 0, '{}' "
            "FROM reunite_change AS c CROSS JOIN (SELECT coalesce(max(seq), 0) AS seq, "
            "coalesce(max(at_ms), 0) AS at_ms, coalesce(max(mark), 0) AS mark, "
            "(SELECT max(id) FROM reunite_change) AS last_id FROM reunite_commit) AS h "
            f"LEFT JOIN reunite_commit AS m ON {self.words.in_commit} WHERE m.seq IS NULL "
            "GROUP BY c.txid, h.seq, h.at_ms, h.mark, h.last_id"
        )
        for table in ("reunite_change", "reunite_commit", "reunite_push"):
            session.execute(f"UPDATE {table} SET txid = txid - {_ERA}")
        session.execute(
            "UPDATE reunite_commit SET next_txid = pg_snapshot_xmax(s)::text::bigint, "
            "open_txids = ARRAY (SELECT x::text::bigint FROM pg_snapshot_xip(s) AS x) "
            "FROM pg_current_snapshot() AS s WHERE seq = (SELECT max(seq) FROM reunite_commit)"
        )

    def index(self, session: Session) -> None:
        """PostgreSQL's own indexes are always up to date."""

    def changes_by_table(
        self, session: Session, *, trimmed_seq: int, trimmed_id: int
    ) -> Mapping[str, int]:
        rows = session.execute(
            "SELECT c.table_name, count(*) FROM reunite_change AS c LEFT JOIN reunite_commit AS m "
            f"ON {self.words.in_commit} WHERE m.seq IS NULL OR m.seq > ? GROUP BY c.table_name",
            (trimmed_seq,),
        )
        return dict(rows)

    def trimmed_by(self, session: Session, *, after_seq: int, until_seq: int) -> tuple[int, int]:
        count, place = session.execute(
            "SELECT coalesce(sum(changes), 0)::bigint, "
            "max(CASE WHEN first_id <= former THEN mark ELSE last_id END) "
            "FROM reunite_commit WHERE seq > ? AND seq <= ?",
            (after_seq, until_seq),
        )[0]
        return count, place

    def sweep(self, session: Session, *, trimmed_seq: int, trimmed_id: int, limit: int) -> int:
        execute = session.execute
        ids = [
            id_
            for (id_,) in execute(
                "SELECT c.id FROM (SELECT * FROM reunite_commit WHERE seq <= ?1 ORDER BY seq "
                "LIMIT ?2) AS m JOIN reunite_change AS c "
                f"ON {self.words.in_commit} ORDER BY m.seq, c.id LIMIT ?2",
                (trimmed_seq, limit),
            )
        ]
        execute("DELETE FROM reunite_change WHERE id = ANY (?)", (ids,))
        # Commits whose last change has gone, of those before the one whose nonce stays.
        execute(
            "DELETE FROM reunite_commit WHERE seq IN (SELECT m.seq FROM (SELECT * FROM "
            "reunite_commit WHERE seq < ?1 ORDER BY seq LIMIT ?2) AS m WHERE NOT EXISTS ("
            f"SELECT FROM reunite_change AS c WHERE {self.words.in_commit}))",
            (trimmed_seq, limit + 1),
        )
        if ids:
            execute(
                "DELETE FROM reunite_origin AS o WHERE o.last_id = ANY (?1) AND NOT EXISTS "
                "(SELECT FROM reunite_change AS c WHERE c.id BETWEEN o.first_id AND o.last_id)",
                (ids,),
            )
            # Pushes that changed nothing go with their neighbours.
            execute(
                "DELETE FROM reunite_push WHERE id < (SELECT max(id) FROM reunite_push) AND "
                "id <= (SELECT max(id) FROM reunite_push WHERE last_id = ANY (?1)) AND "
                "NOT EXISTS (SELECT FROM reunite_change AS c WHERE c.txid = reunite_push.txid)",
                (ids,),
            )
        return len(ids)
