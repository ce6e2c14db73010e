"""Transactions that read: one snapshot of rows and log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from reunite.core.change import Op, OutcomeKind
from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.principal import Principal, principal_of_text
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.engine.directory import STAMPS
from reunite.engine.kept import COUNTED_MAX
from reunite.engine.pack import Pack
from reunite.engine.ports import (
    ALL_ENTRIES,
    Commit,
    Erasure,
    Head,
    LogEntry,
    LogFilter,
    LogStatistics,
    Position,
    Pushes,
    Record,
    ReplicaRecord,
    StoredOutcome,
    Touch,
)
from reunite.errors import StorageFaultError
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.dialect import Dialect, LogState, TouchRecord
from reunite.stores.sql.directory import count_records, latest_records, read_records
from reunite.stores.sql.erasing import read_erasures, read_last_erasures
from reunite.stores.sql.outcomes import outcome_slots, read_outcomes
from reunite.stores.sql.ports import Session, UnreadableTextError

# The replica and the number of the pushed change that an entry goes back to stand beside the
# origin whose run of ids it is in.
_ENTRY = """
    SELECT m.seq, m.at_ms, r.id, p.principal, o.first_n + c.id - o.first_id, o.op, o.stamp,
           {place}, {entry}
    FROM {source}
    LEFT JOIN reunite_commit AS m ON {in_commit}
    LEFT JOIN reunite_push AS p ON {in_push}
    LEFT JOIN reunite_replica AS r ON r.number = p.replica
    LEFT JOIN reunite_origin AS o ON o.last_id >= c.id AND o.first_id = (
        SELECT first_id FROM reunite_origin WHERE first_id <= c.id ORDER BY first_id DESC LIMIT 1)
"""
REPLICA = """
    SELECT number, id, principal, name, last_n, known_n, created_ms, seen_ms, seen_seq, tenant,
        views
    FROM reunite_replica
"""
_OUTCOMES = """
    SELECT r.id, o.outcomes FROM reunite_replica AS r
    JOIN reunite_outcome AS o ON o.replica = r.number AND o.last_n > ?2
    WHERE r.id = ?1 ORDER BY o.last_n
"""
_REJECTIONS = """
    SELECT r.id, o.outcomes FROM reunite_replica AS r
    JOIN reunite_outcome AS o ON o.replica = r.number AND o.last_n > ?2
    WHERE r.id = ?1 AND {position}(outcomes, '"rejected"') > 0 ORDER BY o.last_n
"""
_OUTCOMES_BY_SLOT = """
    SELECT r.id, o.outcomes FROM reunite_outcome AS o
    JOIN reunite_replica AS r ON r.number = o.replica
    WHERE o.id IN (SELECT s.outcome FROM {numbers}
                   {joined} reunite_outcome_slot AS s ON s.slot = {number})
    ORDER BY o.id DESC
"""

_OPS_OF_CHANGES = """
    SELECT c.id, c.op, c.schema FROM {numbers} {joined} reunite_change AS c ON c.id = {number}
    WHERE c.table_name = ?2
"""
_IMAGES_OF_CHANGES = """
    SELECT c.id, {columns} FROM {numbers} {joined} reunite_change AS c ON c.id = {number}
"""

# What a `LogFilter` asks of an entry, in the words of `_ENTRY`.
_ASKED = {
    "table": "c.table_name =",
    "principal": "p.principal =",
    "replica": "r.id =",
    "since_ms": "m.at_ms >=",
    "until_ms": "m.at_ms <",
}

# Answers that a snapshot keeps, in case they are asked for again.
_ANSWERS_MAX = 20
_KEYS_KEPT_MAX = 100

Answer = TypeVar("Answer")

_OPS = {op.value: op for op in Op}


def _op(change: int, text: str) -> Op:
    """Raises StorageFaultError for what the log of an undamaged database never holds."""
    try:
        return _OPS[text]
    except KeyError:
        raise StorageFaultError(
            f"The log is damaged: change {change} has the operation {text!r}, which there is not. "
            "Restore the database from a backup."
        ) from None


_encode = msgspec.json.Encoder().encode


class _Statements:
    """Statements that a dialect has words of its own in."""

    def __init__(self, dialect: Dialect) -> None:
        words = dialect.log.words
        parts = {name: getattr(words, name) for name in ("place", "entry", "in_commit", "in_push")}
        source, condition = words.after_keys
        self.entries = f"{_ENTRY.format(source=source, **parts)} {condition} ORDER BY c.id"
        self.log = f"{_ENTRY.format(source='reunite_change AS c', **parts)} {words.in_range}"
        own = {name: getattr(dialect, name) for name in ("joined", "position", "numbers", "number")}
        self.rejections = _REJECTIONS.format(**own)
        self.outcomes_by_slot = _OUTCOMES_BY_SLOT.format(**own)
        self.ops = _OPS_OF_CHANGES.format(**own)
        self.images = _IMAGES_OF_CHANGES.format(columns="{columns}", **own)


@cache
def _statements(dialect: Dialect) -> _Statements:
    return _Statements(dialect)


class SqlTransaction:
    """The port `Transaction` over a session. `meta` is what `reunite_meta` holds in it."""

    _locks_rows = False

    def __init__(self, session: Session, catalogue: Catalogue, meta: Mapping[str, Any]) -> None:
        self._session = session
        self._catalogue = catalogue
        self._trimmed_seq: int = meta["trimmed_seq"]
        self._trimmed_id: int = meta["trimmed_id"]
        self._rules: str = meta.get("rules", "")
        self._stamps = {name: str(meta.get(f"stamp:{name}", "")) for name in STAMPS}
        self._log = session.dialect.log
        self._log_state: LogState | None = None
        # What was asked last is often asked again: for each view, or in the next step of a push.
        self._found: dict[object, Any] = {}
        self._replicas: dict[str, tuple[int, ReplicaRecord] | None] = {}
        self._statements = _statements(session.dialect)

    def rules(self) -> str:
        return self._rules

    def stamp(self, name: str) -> str:
        return self._stamps.get(name, "")

    def records(self, kind: type[Record], **where: str | int) -> Sequence[Record]:
        return read_records(self._session, kind, where)

    def latest(
        self,
        kind: type[Record],
        *,
        limit: int,
        since: str | int | None = None,
        before: str | int | None = None,
        **where: str | int,
    ) -> Sequence[Record]:
        return latest_records(self._session, kind, where, since=since, before=before, limit=limit)

    def record_count(
        self,
        kind: type[msgspec.Struct],
        *,
        since: str | int | None = None,
        limit: int = COUNTED_MAX,
        **where: str | int,
    ) -> int:
        return count_records(self._session, kind, where, since=since, limit=limit)

    # --- Commits ----------------------------------------------------------------------------------

    def _state(self) -> LogState:
        """Where the log stood when this was asked first."""
        if self._log_state is None:
            self._log_state = self._log.state(self._session)
        return self._log_state

    def head(self) -> Head:
        return self._state().head

    def has_news(self) -> bool:
        return self._state().has_news

    def commit(self, seq: int) -> Commit | None:
        if seq < self._trimmed_seq:
            return None  # it may wait to be swept
        return self._once(
            ("commit", seq), lambda: next(iter(self._commits("seq = ?", seq, 1)), None)
        )

    def _once(self, question: object, ask: Callable[[], Answer]) -> Answer:
        """The answer to a question, which does not change while this snapshot is read."""
        if question not in self._found:
            if self._locks_rows:
                return ask()
            if len(self._found) >= _ANSWERS_MAX:
                self._found.clear()
            self._found[question] = ask()
        answer: Answer = self._found[question]
        return answer

    def commits(self, *, after: int, limit: int) -> Sequence[Commit]:
        return self._commits("seq > ?", max(after, self._trimmed_seq), limit)

    def _commits(self, condition: str, seq: int, limit: int) -> list[Commit]:
        rows = self._session.execute(
            f"SELECT seq, first_id, last_id, {self._log.words.changes}, at_ms, nonce "
            f"FROM reunite_commit WHERE {condition} ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [
            Commit(
                seq=seq,
                first_id=first_id,
                last_id=last_id,
                changes=changes,
                at_ms=at_ms,
                nonce=nonce,
            )
            for seq, first_id, last_id, changes, at_ms, nonce in rows
        ]

    def trimmed_seq(self) -> int:
        return self._trimmed_seq

    def trimmed_id(self) -> int:
        return self._trimmed_id

    def last_change_id(self) -> int:
        return max(self._state().last_change_id, self._trimmed_id)

    def mark(self) -> int:
        return max(self._state().mark, self._trimmed_id)

    # --- Log --------------------------------------------------------------------------------------

    def touched(self, after: Position, *, limit: int) -> Sequence[Touch]:
        has_news = self._locks_rows or self._state().has_news
        if not has_news and after.seq >= self.head().seq:
            return []

        def read() -> list[Touch]:
            records = self._log.touched(
                self._session,
                seq=after.seq,
                after_id=after.id,
                limit=limit,
                has_news=has_news,
                **self._trimmed(),
            )
            return self._touches(records)

        return self._once(("touched", after, limit), read)

    def _touches(self, records: Sequence[TouchRecord]) -> list[Touch]:
        readers = {
            (table, version): self._catalogue.key_reader(self._session, table, abs(version))
            for table, version in {(record[2], record[5]) for record in records}
        }
        touches = []
        for seq, id_, table, key, old_key, version in records:
            read = readers[table, version]
            touches.append(
                Touch(
                    id=id_,
                    seq=seq,
                    table=table,
                    key=read(key),
                    old_key=None if old_key is None else read(old_key),
                    is_erased=version < 0,
                )
            )
        return touches

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        plan = self._catalogue.last(self._session, table)
        if plan is None:
            return []
        texts = plan.log_keys(self._session, keys)
        parameters = self._log.keys_parameters(
            _encode(texts).decode(), table, after_id=after_id, **self._trimmed()
        )
        return self._entries(self._statements.entries, parameters)

    def log(
        self,
        *,
        after_id: int,
        until_id: int,
        limit: int,
        only: LogFilter = ALL_ENTRIES,
        newest_first: bool = False,
    ) -> Sequence[LogEntry]:
        parameters = self._log.range_parameters(
            after_id=after_id, until_id=until_id, limit=limit, **self._trimmed()
        )
        more = ""
        for name, condition in _ASKED.items():
            value = getattr(only, name)
            if value is not None:
                parameters = (*parameters, value)
                more += f" AND {condition} ?{len(parameters)}"
        order = "c.id DESC" if newest_first else "c.id"
        statement = f"{self._statements.log}{more} ORDER BY {order} LIMIT ?3"
        return self._entries(statement, parameters)

    def _trimmed(self) -> dict[str, int]:
        return {"trimmed_seq": self._trimmed_seq, "trimmed_id": self._trimmed_id}

    def _entries(self, sql: str, parameters: Sequence[Any]) -> list[LogEntry]:
        entries = []
        for (
            seq, at_ms, replica, principal, n, pushed_op, stamp, place,
            id_, table, key, old_key, op, version, *image,
        ) in self._read(sql, parameters):  # fmt: skip
            plan = self._catalogue.version(self._session, table, abs(version))
            has_image = version >= 0 and op != Op.INSERT
            entries.append(
                LogEntry(
                    id=id_,
                    place=place,
                    seq=seq,
                    at_ms=at_ms,
                    table=table,
                    key=plan.read_key(key),
                    old_key=None if old_key is None else plan.read_key(old_key),
                    op=_op(id_, op),
                    old=plan.read_image(image) if has_image else None,
                    old_columns=plan.schema.column_names,
                    replica=replica,
                    principal=principal,
                    n=n,
                    pushed_op=None if pushed_op is None else _op(id_, pushed_op),
                    stamp=stamp,
                    is_erased=version < 0,
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
        changes = self._log.changes_by_table(self._session, **self._trimmed())
        oldest = self.commits(after=self._trimmed_seq, limit=1)
        bytes_total, bytes_log = self._session.dialect.sizes(self._session)
        return LogStatistics(
            changes=dict(changes),
            oldest=oldest[0] if oldest else None,
            bytes_total=bytes_total,
            bytes_log=bytes_log,
        )

    # --- Rows -------------------------------------------------------------------------------------

    def schemas(self) -> Mapping[str, TableSchema]:
        return dict(self._catalogue.schemas)

    def last_schema(self, table: str) -> TableSchema | None:
        plan = self._catalogue.last(self._session, table)
        return None if plan is None else plan.schema

    def rows(self, table: str, keys: Iterable[Key]) -> Mapping[Key, Row]:
        keys = tuple(keys)
        if len(keys) > _KEYS_KEPT_MAX:
            return self._rows(table, keys)
        return self._once((table, keys), lambda: self._rows(table, keys))

    def _rows(self, table: str, keys: Sequence[Key]) -> Mapping[Key, Row]:
        plan = self._catalogue.plan(table)
        found = plan.rows(self._session, keys, locked=self._locks_rows)
        places = plan.schema.key_positions
        if len(places) == 1:
            (place,) = places
            return {(row[place],): row for row in found}
        return {tuple([row[place] for place in places]): row for row in found}

    def defaults(self, table: str) -> Row:
        return self._catalogue.plan(table).defaults(self._session)

    def scan(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Row]:
        plan = self._catalogue.plan(table)
        return plan.scan(self._session, after=after, limit=limit, where=where)

    def pack(self) -> Pack | None:
        return self._session.dialect.pack(self._session, self._catalogue)

    def scan_keys(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Key]:
        plan = self._catalogue.plan(table)
        return plan.scan_keys(self._session, after=after, limit=limit, where=where)

    def find(
        self,
        table: str,
        where: Mapping[str, Value],
        *,
        after: Key | None,
        limit: int,
        only: Expression | None = None,
    ) -> Sequence[Row]:
        plan = self._catalogue.plan(table)
        return plan.find(self._session, dict(where), after=after, limit=limit, only=only)

    def pointing(
        self,
        table: str,
        columns: Sequence[str],
        keys: Collection[Key],
        *,
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        plan = self._catalogue.plan(table)
        return plan.pointing(self._session, columns, keys, after=after, limit=limit)

    def row_count(
        self, table: str, *, where: Expression | None = None, limit: int | None = None
    ) -> int:
        return self._catalogue.plan(table).count(self._session, where, limit=limit)

    # --- Views ------------------------------------------------------------------------------------

    def old_values(
        self, table: str, ids: Sequence[int], columns: Sequence[str]
    ) -> Mapping[int, Row | None]:
        wanted = [self._catalogue.plan(table).schema.column[name].type for name in columns]
        ids_by_version: dict[int, list[int]] = {}
        found: dict[int, Row | None] = {}
        for id_, op, version in self._session.execute(
            self._statements.ops, (_encode(ids).decode(), table)
        ):
            if op == Op.INSERT:
                found[id_] = None
            elif version >= 0:
                ids_by_version.setdefault(version, []).append(id_)
        for version, of_version in ids_by_version.items():
            plan = self._catalogue.version(self._session, table, version)
            known = [plan.schema.column.get(name) for name in columns]
            if [column and column.type for column in known] != wanted:
                continue
            selected, read = plan.image_of(columns)
            for id_, *values in self._session.execute(
                self._statements.images.format(columns=selected), (_encode(of_version).decode(),)
            ):
                found[id_] = read(values)
        return found

    def view(self, view_hash: str) -> str | None:
        rows = self._session.execute("SELECT text FROM reunite_view WHERE hash = ?", (view_hash,))
        return rows[0][0] if rows else None

    def views(self) -> Mapping[str, str]:
        return dict(self._session.execute("SELECT hash, text FROM reunite_view"))

    def erasures(self, table: str | None = None, keys: Iterable[Key] = ()) -> Sequence[Erasure]:
        return read_erasures(self._session, table, keys)

    def last_erasures(self, limit: int) -> Sequence[Erasure]:
        return read_last_erasures(self._session, limit)

    # --- Replicas, outcomes, tokens ---------------------------------------------------------------

    def replica(self, replica_id: str) -> ReplicaRecord | None:
        found = self._numbered_replica(replica_id)
        return None if found is None else found[1]

    def _numbered_replica(self, replica_id: str) -> tuple[int, ReplicaRecord] | None:
        """A replica's record and its number in our tables."""
        if replica_id not in self._replicas:
            rows = self._session.execute(f"{REPLICA} WHERE id = ?", (replica_id,))
            self._replicas[replica_id] = replica_record(rows[0]) if rows else None
        return self._replicas[replica_id]

    def replicas(self) -> Sequence[ReplicaRecord]:
        rows = self._session.execute(f"{REPLICA} ORDER BY number")
        return [replica_record(row)[1] for row in rows]

    def pushes(self, after: int | None) -> Pushes:
        mark, last_n = self._log.pushes(self._session, after)
        return Pushes(mark=mark, last_n=last_n)

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
            for replica, text in self._session.execute(
                self._statements.rejections, (replica_id, after_n)
            )
            for outcome in read_outcomes(replica, text)
            if outcome.n > after_n and outcome.outcome.kind is OutcomeKind.REJECTED
        ]

    def outcomes_by_id(self, ids: Sequence[str]) -> Mapping[str, StoredOutcome]:
        rows = self._session.execute(
            self._statements.outcomes_by_slot, (_encode(sorted(outcome_slots(ids))).decode(),)
        )
        wanted = set(ids)
        # The first answer comes last and stays.
        return {
            outcome.id: outcome
            for replica, text in rows
            for outcome in reversed(read_outcomes(replica, text))
            if outcome.id in wanted
        }

    def principal_of(self, token_hash: str) -> Principal | None:
        rows = self._session.execute(
            "SELECT principal, rights FROM reunite_token WHERE hash = ?", (token_hash,)
        )
        return principal_of_text(*rows[0]) if rows else None


def replica_record(row: tuple[Any, ...]) -> tuple[int, ReplicaRecord]:
    """What `REPLICA` selects: the number in our tables, and the record."""
    number, id_, principal, name, last_n, known_n, created_ms, seen_ms, seen_seq, tenant, views = (
        row
    )
    return number, ReplicaRecord(
        id=id_,
        principal=principal,
        name=name,
        last_n=last_n,
        known_n=known_n,
        created_ms=created_ms,
        seen_ms=seen_ms,
        seen_seq=seen_seq,
        tenant=tenant,
        views=tuple(views.split()),
    )
