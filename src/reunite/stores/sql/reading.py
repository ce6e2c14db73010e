"""Transactions that read: one snapshot of rows and log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from reunite.core.change import Op, OutcomeKind
from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.engine.ports import (
    Commit,
    Head,
    LogEntry,
    LogStatistics,
    Position,
    Pushes,
    ReplicaRecord,
    StoredOutcome,
    Touch,
)
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.database import Session, UnreadableTextError
from reunite.stores.sql.dialects import sqlite
from reunite.stores.sql.outcomes import outcome_slots, read_outcomes

# A change belongs to the commit, the push and the origin with the largest first id that is not
# above its own, if that one reaches so far.
_ENTRY = """
    SELECT m.seq, m.at_ms, r.id, p.principal, o.first_n + c.id - o.first_id, o.op, o.stamp, c.*
    FROM {source} reunite_change AS c {condition}
    LEFT JOIN reunite_commit AS m ON m.last_id >= c.id AND m.seq = (
        SELECT seq FROM reunite_commit WHERE first_id <= c.id ORDER BY first_id DESC LIMIT 1)
    LEFT JOIN reunite_push AS p ON p.last_id >= c.id AND p.id = (
        SELECT id FROM reunite_push WHERE first_id <= c.id ORDER BY first_id DESC LIMIT 1)
    LEFT JOIN reunite_replica AS r ON r.number = p.replica
    LEFT JOIN reunite_origin AS o ON o.last_id >= c.id AND o.first_id = (
        SELECT first_id FROM reunite_origin WHERE first_id <= c.id ORDER BY first_id DESC LIMIT 1)
"""
_LOG = _ENTRY.format(source="", condition="") + "WHERE c.id > ? AND c.id <= ? ORDER BY c.id LIMIT ?"
_ENTRIES = (
    _ENTRY.format(
        source="""(
            SELECT i.id AS id FROM json_each(?1) AS k CROSS JOIN reunite_change_key AS i
            ON i.key = k.value AND i.table_name = ?2 AND i.id > ?3
            UNION
            SELECT id FROM reunite_change
            WHERE id > max(?3, (SELECT value FROM reunite_meta WHERE name = 'indexed_id'))
            AND table_name = ?2
            AND (key IN (SELECT value FROM json_each(?1))
                 OR old_key IN (SELECT value FROM json_each(?1)))
        ) AS found CROSS JOIN""",
        condition="ON c.id = found.id",
    )
    + "ORDER BY c.id"
)
_REPLICA = """
    SELECT id, principal, name, last_n, known_n, created_ms, seen_ms, seen_seq
    FROM reunite_replica
"""
_PUSHES = """
    SELECT max(p.id), r.id, r.last_n FROM reunite_push AS p
    JOIN reunite_replica AS r ON r.number = p.replica
    WHERE p.id > ? GROUP BY r.number, r.id, r.last_n
"""
_OUTCOMES = """
    SELECT r.id, o.outcomes FROM reunite_replica AS r
    JOIN reunite_outcome AS o ON o.replica = r.number AND o.last_n > ?2
    WHERE r.id = ?1 ORDER BY o.last_n
"""
_REJECTIONS = """
    SELECT r.id, o.outcomes FROM reunite_replica AS r
    JOIN reunite_outcome AS o ON o.replica = r.number AND o.last_n > ?2
    WHERE r.id = ?1 AND instr(outcomes, '"rejected"') > 0 ORDER BY o.last_n
"""
_OUTCOMES_BY_SLOT = """
    SELECT r.id, o.outcomes FROM reunite_outcome AS o
    JOIN reunite_replica AS r ON r.number = o.replica
    WHERE o.id IN (SELECT s.outcome FROM json_each(?) AS k
                   CROSS JOIN reunite_outcome_slot AS s ON s.slot = k.value)
    ORDER BY o.id DESC
"""

_OPS = {op.value: op for op in Op}
_encode = msgspec.json.Encoder().encode


def index_log(session: Session) -> None:
    """Bring the log's index by key up to date."""
    indexed_id, last_id = session.execute(
        "SELECT value, (SELECT max(id) FROM reunite_change) FROM reunite_meta "
        "WHERE name = 'indexed_id'"
    )[0]
    if last_id is None or last_id <= indexed_id:
        return
    session.execute(
        "INSERT INTO reunite_change_key (key, table_name, id) "
        "SELECT key, table_name, id FROM reunite_change WHERE id > ?1 UNION ALL "
        "SELECT old_key, table_name, id FROM reunite_change WHERE id > ?1 AND old_key IS NOT NULL "
        "ORDER BY 1, 2, 3",
        (indexed_id,),
    )
    session.execute("UPDATE reunite_meta SET value = ? WHERE name = 'indexed_id'", (last_id,))


def head_of(session: Session, epoch: str) -> Head:
    """The newest commit."""
    rows = session.execute(
        "SELECT seq, nonce, last_id, at_ms FROM reunite_commit ORDER BY seq DESC LIMIT 1"
    )
    seq, nonce, last_id, at_ms = rows[0] if rows else (0, "", 0, 0)
    return Head(epoch=epoch, seq=seq, nonce=nonce, last_id=last_id, at_ms=at_ms)


class SqlTransaction:
    """The port `Transaction` over a session. `meta` is what `reunite_meta` holds in it."""

    def __init__(self, session: Session, catalogue: Catalogue, meta: Mapping[str, Any]) -> None:
        self._session = session
        self._catalogue = catalogue
        self._epoch: str = meta["epoch"]
        self._trimmed_seq: int = meta["trimmed_seq"]
        self._trimmed_id: int = meta["trimmed_id"]

    # --- Commits ----------------------------------------------------------------------------------

    def head(self) -> Head:
        return head_of(self._session, self._epoch)

    def commit(self, seq: int) -> Commit | None:
        if seq < self._trimmed_seq:
            return None  # it may wait to be swept
        found = self._commits("seq = ?", seq, 1)
        return found[0] if found else None

    def commits(self, *, after: int, limit: int) -> Sequence[Commit]:
        return self._commits("seq > ?", max(after, self._trimmed_seq), limit)

    def _commits(self, condition: str, seq: int, limit: int) -> list[Commit]:
        rows = self._session.execute(
            "SELECT seq, first_id, last_id, at_ms, nonce FROM reunite_commit "
            f"WHERE {condition} ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [
            Commit(seq=seq, first_id=first_id, last_id=last_id, at_ms=at_ms, nonce=nonce)
            for seq, first_id, last_id, at_ms, nonce in rows
        ]

    def trimmed_seq(self) -> int:
        return self._trimmed_seq

    def trimmed_id(self) -> int:
        return self._trimmed_id

    def last_change_id(self) -> int:
        (last_id,) = self._session.execute("SELECT max(id) FROM reunite_change")[0]
        return max(last_id or 0, self._trimmed_id)

    # --- Log --------------------------------------------------------------------------------------

    def touched(self, after: Position, *, limit: int) -> Sequence[Touch]:
        commit = self.commit(after.seq)
        after_id = max(after.id, commit.last_id if commit else 0)
        touches = self._touches(after_id, limit=limit)
        # Each commit has a change, so this many reach as far as the changes do; one more, because
        # the position may stand at the end of the first.
        commits = iter(self.commits(after=after.seq, limit=len(touches) + 1))
        commit = next(commits, None)
        numbered = []
        for touch in touches:
            while commit is not None and commit.last_id < touch.id:
                commit = next(commits, None)
            if commit is None:
                break
            numbered.append(msgspec.structs.replace(touch, seq=commit.seq))
        return numbered + touches[len(numbered) :]

    def _touches(self, after_id: int, *, limit: int) -> list[Touch]:
        rows = self._session.execute(
            "SELECT id, table_name, key, old_key, schema FROM reunite_change "
            "WHERE id > ? ORDER BY id LIMIT ?",
            (max(after_id, self._trimmed_id), limit),
        )
        readers = {
            (table, version): self._catalogue.key_reader(self._session, table, version)
            for table, version in {(row[1], row[4]) for row in rows}
        }
        touches = []
        for id_, table, key, old_key, version in rows:
            read = readers[table, version]
            touches.append(
                Touch(
                    id=id_,
                    seq=None,
                    table=table,
                    key=read(key),
                    old_key=None if old_key is None else read(old_key),
                )
            )
        return touches

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        texts = self._catalogue.plan(table).log_keys(self._session, keys)
        after_id = max(after_id, self._trimmed_id)
        return self._entries(_ENTRIES, (_encode(texts).decode(), table, after_id))

    def log(self, *, after_id: int, until_id: int, limit: int) -> Sequence[LogEntry]:
        return self._entries(_LOG, (max(after_id, self._trimmed_id), until_id, limit))

    def _entries(self, sql: str, parameters: Sequence[Any]) -> list[LogEntry]:
        entries = []
        for (
            seq, at_ms, replica, principal, n, pushed_op, stamp,
            id_, table, key, old_key, op, version, *image,
        ) in self._read(sql, parameters):  # fmt: skip
            plan = self._catalogue.version(self._session, table, version)
            entries.append(
                LogEntry(
                    id=id_,
                    seq=seq,
                    at_ms=at_ms,
                    table=table,
                    key=plan.read_key(key),
                    old_key=None if old_key is None else plan.read_key(old_key),
                    op=_OPS[op],
                    old=None if op == Op.INSERT else plan.read_image(image),
                    old_columns=plan.schema.column_names,
                    replica=replica,
                    principal=principal,
                    n=n,
                    pushed_op=None if pushed_op is None else _OPS[pushed_op],
                    stamp=stamp,
                )
            )
        return entries

    def _read(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """Rows of the log, which may hold what a program called a text and is none."""
        try:
            return self._session.execute(sql, parameters)
        except UnreadableTextError:
            return self._session.execute_loosely(sql, parameters)

    def statistics(self) -> LogStatistics:
        changes = self._session.execute(
            "SELECT table_name, count(*) FROM reunite_change WHERE id > ? GROUP BY table_name",
            (self._trimmed_id,),
        )
        oldest = self.commits(after=self._trimmed_seq, limit=1)
        bytes_total, bytes_log = sqlite.sizes(self._session)
        return LogStatistics(
            changes=dict(changes),
            oldest=oldest[0] if oldest else None,
            bytes_total=bytes_total,
            bytes_log=bytes_log,
        )

    # --- Rows -------------------------------------------------------------------------------------

    def schemas(self) -> Mapping[str, TableSchema]:
        return dict(self._catalogue.schemas)

    def rows(self, table: str, keys: Iterable[Key]) -> Mapping[Key, Row]:
        plan = self._catalogue.plan(table)
        found = plan.rows(self._session, keys)
        places = plan.schema.key_positions
        if len(places) == 1:
            (place,) = places
            return {(row[place],): row for row in found}
        return {tuple([row[place] for place in places]): row for row in found}

    def scan(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Row]:
        plan = self._catalogue.plan(table)
        return plan.scan(self._session, after=after, limit=limit, where=where)

    def scan_keys(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Key]:
        plan = self._catalogue.plan(table)
        return plan.scan_keys(self._session, after=after, limit=limit, where=where)

    def find(
        self, table: str, where: Mapping[str, Value], *, after: Key | None, limit: int
    ) -> Sequence[Row]:
        plan = self._catalogue.plan(table)
        return plan.find(self._session, dict(where), after=after, limit=limit)

    def row_count(self, table: str, *, where: Expression | None = None) -> int:
        return self._catalogue.plan(table).count(self._session, where)

    # --- Views ------------------------------------------------------------------------------------

    def old_values(
        self, table: str, ids: Sequence[int], columns: Sequence[str]
    ) -> Mapping[int, Row | None]:
        wanted = [self._catalogue.plan(table).schema.column[name].type for name in columns]
        ids_by_version: dict[int, list[int]] = {}
        found: dict[int, Row | None] = {}
        for id_, op, version in self._session.execute(
            "SELECT c.id, c.op, c.schema FROM json_each(?) AS k CROSS JOIN reunite_change AS c "
            "ON c.id = k.value WHERE c.table_name = ?",
            (_encode(ids).decode(), table),
        ):
            if op == Op.INSERT:
                found[id_] = None
            else:
                ids_by_version.setdefault(version, []).append(id_)
        for version, of_version in ids_by_version.items():
            schema = self._catalogue.version(self._session, table, version).schema
            known = [schema.column.get(name) for name in columns]
            if [column and column.type for column in known] != wanted:
                continue
            read = sqlite.stored_to_wire([column for column in known if column is not None])
            places = ", ".join(
                f"c.{sqlite.image_column(schema.position[name])}" for name in columns
            )
            for id_, *values in self._session.execute(
                f"SELECT c.id, {places} FROM json_each(?) AS k CROSS JOIN reunite_change AS c "
                "ON c.id = k.value",
                (_encode(of_version).decode(),),
            ):
                found[id_] = read(values)
        return found

    def view(self, view_hash: str) -> str | None:
        rows = self._session.execute("SELECT text FROM reunite_view WHERE hash = ?", (view_hash,))
        return rows[0][0] if rows else None

    # --- Replicas, outcomes, tokens ---------------------------------------------------------------

    def replica(self, replica_id: str) -> ReplicaRecord | None:
        rows = self._session.execute(f"{_REPLICA} WHERE id = ?", (replica_id,))
        return _replica_record(rows[0]) if rows else None

    def replicas(self) -> Sequence[ReplicaRecord]:
        return [
            _replica_record(row) for row in self._session.execute(f"{_REPLICA} ORDER BY number")
        ]

    def pushes(self, after: int | None) -> Pushes:
        if after is None:
            mark = self._session.execute("SELECT coalesce(max(id), 0) FROM reunite_push")[0][0]
            return Pushes(mark=mark, last_n={})
        found = self._session.execute(_PUSHES, (after,))
        return Pushes(
            mark=max((row[0] for row in found), default=after),
            last_n={replica: last_n for _, replica, last_n in found},
        )

    def outcomes(self, replica_id: str, *, after_n: int) -> Sequence[StoredOutcome]:
        found = [
            outcome
            for replica, text in self._session.execute(_OUTCOMES, (replica_id, after_n))
            for outcome in read_outcomes(replica, text)
            if outcome.n > after_n
        ]
        return sorted(found, key=attrgetter("n"))

    def rejections(self, replica_id: str, *, after_n: int) -> Sequence[StoredOutcome]:
        # Most rows have none: the text is searched before it is read.
        return [
            outcome
            for replica, text in self._session.execute(_REJECTIONS, (replica_id, after_n))
            for outcome in read_outcomes(replica, text)
            if outcome.n > after_n and outcome.outcome.kind is OutcomeKind.REJECTED
        ]

    def outcomes_by_id(self, ids: Sequence[str]) -> Mapping[str, StoredOutcome]:
        rows = self._session.execute(
            _OUTCOMES_BY_SLOT, (_encode(sorted(outcome_slots(ids))).decode(),)
        )
        wanted = set(ids)
        # The first answer comes last and stays.
        return {
            outcome.id: outcome
            for replica, text in rows
            for outcome in reversed(read_outcomes(replica, text))
            if outcome.id in wanted
        }

    def principal_of(self, token_hash: str) -> str | None:
        rows = self._session.execute(
            "SELECT principal FROM reunite_token WHERE hash = ?", (token_hash,)
        )
        return rows[0][0] if rows else None


def _replica_record(row: tuple[Any, ...]) -> ReplicaRecord:
    id_, principal, name, last_n, known_n, created_ms, seen_ms, seen_seq = row
    return ReplicaRecord(
        id=id_,
        principal=principal,
        name=name,
        last_n=last_n,
        known_n=known_n,
        created_ms=created_ms,
        seen_ms=seen_ms,
        seen_seq=seen_seq,
    )
