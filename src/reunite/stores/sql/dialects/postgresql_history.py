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

from reunite.engine.ports import Head
from reunite.stores.sql.dialect import LogWords, TouchRecord
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
_HAS_NEWS = f"""
    SELECT coalesce((SELECT max(txid) FROM reunite_change) >= {_XMAX}, false) OR EXISTS (
        SELECT FROM unnest({_XIP}) AS x (txid)
        CROSS JOIN LATERAL (SELECT FROM reunite_change WHERE txid = x.txid LIMIT 1) AS n)
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
               {_MARK} AS former
        FROM pg_current_snapshot() AS s
    ), marked AS MATERIALIZED (
        SELECT CASE WHEN min(f.min) <= max(n.former)
               THEN nextval(pg_get_serial_sequence('reunite_change', 'id')) ELSE max(f.max) END
               AS mark
        FROM found AS f, now AS n
    )
    INSERT INTO reunite_commit (seq, at_ms, nonce, txid, first_id, last_id, changes, mark, former,
        next_txid, open_txids)
    SELECT ?1::bigint + f.place, ?2::bigint, concat_ws('.', ?3::text, nullif(f.place, 1)), f.txid,
        f.min, f.max, f.count, marked.mark, now.former, now.next_txid, now.open_txids
    FROM found AS f, now, marked
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
_OWN = "txid = pg_current_xact_id()::text::bigint"

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
        in_range="WHERE c.id > ?1 AND c.id <= ?2 AND (m.seq IS NULL OR m.seq > ?4)"
        "{more} ORDER BY c.id LIMIT ?3",
    )

    def has_news(self, session: Session) -> bool:
        return bool(session.execute(_HAS_NEWS)[0][0])

    def lock_numbering(self, session: Session) -> None:
        session.execute(_LOCK)

    def hold(self, session: Session, replica_ids: Sequence[str]) -> None:
        # In one order, so that nobody waits for each other.
        session.execute(
            "SELECT FROM reunite_replica WHERE id = ANY (?) ORDER BY id FOR NO KEY UPDATE",
            (list(replica_ids),),
        )

    def number(
        self, session: Session, head: Head, *, now_ms: int, new_nonce: Callable[[], str]
    ) -> None:
        session.execute(_NUMBER, (head.seq, max(now_ms, head.at_ms), new_nonce()))

    def touched(
        self,
        session: Session,
        *,
        seq: int,
        after_id: int,
        trimmed_seq: int,
        trimmed_id: int,
        limit: int,
    ) -> list[TouchRecord]:
        numbered: list[Any] = session.execute(_TOUCHED, (seq, after_id, limit, trimmed_seq))
        room = limit - len(numbered)
        if room > 0:
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

    def add_push(self, session: Session, record: tuple[Any, ...], *, after_id: int) -> None:
        session.execute(
            "INSERT INTO reunite_push (replica, principal, last_n, at_ms, txid, first_id, last_id) "
            "SELECT ?, ?, ?, ?, pg_current_xact_id()::text::bigint, min(id), max(id) "
            f"FROM reunite_change WHERE {_OWN} AND id > ?",
            (*record, after_id),
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
        # The oldest transaction that this snapshot does not see: whatever comes is not below it.
        (mark,) = session.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")[0]
        if after is None:
            return mark, {}
        found = session.execute(
            "SELECT DISTINCT r.id, r.last_n FROM reunite_push AS p "
            "JOIN reunite_replica AS r ON r.number = p.replica "
            f"WHERE p.txid BETWEEN ? AND {_LARGEST}",
            (after,),
        )
        return mark, dict(found)

    def keys_parameters(
        self, keys: str, table: str, *, after_id: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        return keys, table, after_id, trimmed_seq

    def range_parameters(
        self, *, after_id: int, until_id: int, limit: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        return after_id, until_id, limit, trimmed_seq

    def mark(self, session: Session) -> int:
        (mark,) = session.execute(
            f"SELECT greatest({_MARK}, (SELECT max(id) FROM reunite_change))"
        )[0]
        return mark or 0

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
