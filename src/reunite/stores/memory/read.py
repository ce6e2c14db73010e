"""Transaction: answers from one published state of the memory store."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, cast

import msgspec

from reunite.core.change import Op, OutcomeKind
from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.matching import row_judge
from reunite.core.principal import Principal
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.engine.directory import RECORD_KINDS
from reunite.engine.kept import COUNTED_MAX
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
from reunite.errors import UnknownTableError
from reunite.stores.memory.state import State, last_id_of
from reunite.stores.memory.tables import Table, default_of


class _Reach:
    """Where the steps of expressions lead."""

    def __init__(self, state: State) -> None:
        self._tables = state.tables
        self.schemas = {name: table.schema for name, table in state.tables.items()}

    def row(self, table: str, key: Key) -> Row | None:
        return self._tables[table].rows.get(key)

    def pointing(self, table: str, columns: Sequence[str], key: Key) -> Iterable[Row]:
        found, names = self._tables[table], tuple(columns)
        return (row for row in found.rows.values() if found.values_in(names, row) == key)


class MemoryTransaction:
    """Transaction over one published state."""

    def __init__(self, state: State) -> None:
        self._state = state

    # --- Commits and the log --------------------------------------------------------------------

    def head(self) -> Head:
        return self._state.head()

    def has_news(self) -> bool:
        return self._state.log.last > self._state.head().last_id

    def commit(self, seq: int) -> Commit | None:
        commits, trimmed = self._state.commits, self._state.trimmed
        if commits.base < seq <= commits.last:
            return commits[seq]
        return trimmed if trimmed is not None and trimmed.seq == seq else None

    def commits(self, *, after: int, limit: int) -> Sequence[Commit]:
        return self._state.commits.after(after, limit)

    def trimmed_seq(self) -> int:
        return self._state.commits.base

    def trimmed_id(self) -> int:
        return self._state.log.base

    def last_change_id(self) -> int:
        return self._state.log.last

    def mark(self) -> int:
        return self._state.log.last

    def rules(self) -> str:
        return self._state.rules

    def records(self, kind: type[Record], **where: str | int) -> Sequence[Record]:
        found = self._state.records.get(kind, {})
        return [
            cast(Record, record)
            for _, record in sorted(found.items())
            if all(getattr(record, name) == value for name, value in where.items())
        ]

    def latest(
        self,
        kind: type[Record],
        *,
        limit: int,
        since: str | int | None = None,
        before: str | int | None = None,
        **where: str | int,
    ) -> Sequence[Record]:
        found = in_stretch(self.records(kind, **where), since, before)
        order = RECORD_KINDS[kind].order or ""
        return sorted(found, key=attrgetter(order), reverse=True)[:limit]

    def record_count(
        self,
        kind: type[msgspec.Struct],
        *,
        since: str | int | None = None,
        limit: int = COUNTED_MAX,
        **where: str | int,
    ) -> int:
        return min(len(in_stretch(self.records(kind, **where), since, None)), limit)

    def stamp(self, name: str) -> str:
        return self._state.stamps.get(name, "")

    def touched(self, after: Position, *, limit: int) -> Sequence[Touch]:
        read, following = self.commit(after.seq), self.commit(after.seq + 1)
        start = 0 if read is None else read.last_id
        start = max(start, after.id if following is None else min(after.id, following.last_id))
        return self._touches(max(start, self.trimmed_id()), limit)

    def _touches(self, after_id: int, limit: int | None) -> list[Touch]:
        log, commits = self._state.log, self._state.commits
        seq = commits.first_with(after_id + 1, by=last_id_of)
        touches = []
        for change_id, entry in enumerate(log.after(after_id, limit), start=after_id + 1):
            while seq <= commits.last and commits[seq].last_id < change_id:
                seq += 1
            touches.append(
                Touch(
                    id=change_id,
                    seq=seq if seq <= commits.last else None,
                    table=entry.table,
                    key=entry.key,
                    old_key=entry.old_key,
                    is_erased=entry.is_erased,
                )
            )
        return touches

    def entries(self, table: str, keys: Iterable[Key], *, after_id: int) -> Sequence[LogEntry]:
        log = self._state.log
        found = {number for key in keys for number in log.numbers_of((table, key), after=after_id)}
        return [self._log_entry(number) for number in sorted(found)]

    def log(
        self,
        *,
        after_id: int,
        until_id: int,
        limit: int,
        only: LogFilter = ALL_ENTRIES,
        newest_first: bool = False,
    ) -> Sequence[LogEntry]:
        first = max(after_id, self._state.log.base) + 1
        last = min(until_id, self._state.log.last)
        ids = range(last, first - 1, -1) if newest_first else range(first, last + 1)
        entries = map(self._log_entry, ids)
        return list(itertools.islice(filter(only.means, entries), limit))

    def _log_entry(self, change_id: int) -> LogEntry:
        entry, commits, pushes = self._state.log[change_id], self._state.commits, self._state.pushes
        seq = commits.first_with(change_id, by=last_id_of)
        commit = commits[seq] if seq <= commits.last else None
        number = pushes.first_with(change_id, by=last_id_of)
        push = pushes[number] if number <= pushes.last else None
        if push is not None and push.first_id > change_id:
            push = None
        origin = None if push is None else push.origins.get(change_id)
        return LogEntry(
            id=change_id,
            place=change_id,
            seq=None if commit is None else commit.seq,
            at_ms=None if commit is None else commit.at_ms,
            table=entry.table,
            key=entry.key,
            old_key=entry.old_key,
            op=entry.op,
            old=entry.old,
            old_columns=entry.old_columns,
            replica=None if push is None else push.replica,
            principal=None if push is None else push.principal,
            n=None if origin is None else origin.first_n,
            pushed_op=None if origin is None else origin.op,
            stamp=None if origin is None else origin.stamp,
            is_erased=entry.is_erased,
        )

    # --- Rows -----------------------------------------------------------------------------------

    def schemas(self) -> Mapping[str, TableSchema]:
        tables = self._state.tables
        return {name: table.schema for name, table in tables.items() if table.captured}

    def last_schema(self, table: str) -> TableSchema | None:
        found = self._state.tables.get(table)
        return None if found is None else found.schema

    def _table(self, name: str) -> Table:
        table = self._state.tables.get(name)
        if table is None:
            raise UnknownTableError(f"There is no table {name!r} here.")
        return table

    def _reach(self) -> _Reach:
        return _Reach(self._state)

    def rows(self, table: str, keys: Iterable[Key]) -> Mapping[Key, Row]:
        rows = self._table(table).rows
        return {key: rows[key] for key in keys if key in rows}

    def defaults(self, table: str) -> Row:
        found = self._table(table)
        return tuple(default_of(found, name) for name in found.schema.column_names)

    def scan(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Row]:
        found = self._table(table)
        if where is None:
            return [found.rows[key] for key in found.keys_after(after, limit)]
        judge = row_judge(where, found.schema, self._reach())
        rows = (found.rows[key] for key in found.keys_after(after))
        return list(itertools.islice((row for row in rows if judge(row)), limit))

    def pack(self) -> None:
        return None

    def scan_keys(
        self, table: str, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> Sequence[Key]:
        key_of = self._table(table).key_of
        return [key_of(row) for row in self.scan(table, after=after, limit=limit, where=where)]

    def find(
        self,
        table: str,
        where: Mapping[str, Value],
        *,
        after: Key | None,
        limit: int,
        only: Expression | None = None,
    ) -> Sequence[Row]:
        found = self._table(table)
        judge = None if only is None else row_judge(only, found.schema, self._reach())
        columns = tuple(where)
        wanted = tuple(where.values())
        rows = (found.rows[key] for key in found.keys_after(after))
        matching = (
            row
            for row in rows
            if found.values_in(columns, row) == wanted and (judge is None or judge(row))
        )
        return list(itertools.islice(matching, limit))

    def pointing(
        self,
        table: str,
        columns: Sequence[str],
        keys: Collection[Key],
        *,
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        found, wanted, names = self._table(table), set(keys), tuple(columns)
        rows = (found.rows[key] for key in found.keys_after(after))
        pointing = (row for row in rows if found.values_in(names, row) in wanted)
        return list(itertools.islice(pointing, limit))

    def row_count(
        self, table: str, *, where: Expression | None = None, limit: int | None = None
    ) -> int:
        found = self._table(table)
        count = len(found.rows)
        if where is not None:
            judge = row_judge(where, found.schema, self._reach())
            count = sum(map(bool, map(judge, found.rows.values())))
        return count if limit is None else min(count, limit)

    # --- Views ----------------------------------------------------------------------------------

    def old_values(
        self, table: str, ids: Sequence[int], columns: Sequence[str]
    ) -> Mapping[int, Row | None]:
        found: dict[int, Row | None] = {}
        for number in ids:
            entry = self._state.log[number]
            if entry.is_erased and entry.op is not Op.INSERT:
                continue
            if entry.old is None:
                found[number] = None
            elif set(columns).issubset(entry.old_columns):
                values = dict(zip(entry.old_columns, entry.old, strict=True))
                found[number] = tuple(values[name] for name in columns)
        return found

    def view(self, view_hash: str) -> str | None:
        return self._state.views.get(view_hash)

    def views(self) -> Mapping[str, str]:
        return dict(self._state.views)

    def erasures(self, table: str | None = None, keys: Iterable[Key] = ()) -> Sequence[Erasure]:
        wanted = set(keys)
        return [
            erasure
            for erasure in self._state.erasures
            if table is None or (erasure.table == table and erasure.key in wanted)
        ]

    def last_erasures(self, limit: int) -> Sequence[Erasure]:
        return self._state.erasures[-limit:]

    # --- Replicas, outcomes, tokens -------------------------------------------------------------

    def statistics(self) -> LogStatistics:
        log, commits = self._state.log, self._state.commits
        first = commits.after(commits.base, 1)
        return LogStatistics(
            changes=Counter(entry.table for entry in log.after(log.base)),
            oldest=first[0] if first else None,
            bytes_total=None,
            bytes_log=None,
        )

    def replica(self, replica_id: str) -> ReplicaRecord | None:
        return self._state.replicas.get(replica_id)

    def replicas(self) -> Sequence[ReplicaRecord]:
        return list(self._state.replicas.values())

    def pushes(self, after: int | None) -> Pushes:
        if after is None:
            return Pushes(mark=0, last_n={})
        return Pushes(mark=0, last_n={each.id: each.last_n for each in self.replicas()})

    def outcomes(self, replica_id: str, *, after_n: int) -> Sequence[StoredOutcome]:
        found = itertools.takewhile(
            lambda outcome: outcome.n > after_n,
            self._state.outcomes.backwards(("replica", replica_id)),
        )
        return list(found)[::-1]

    def rejections(self, replica_id: str, *, after_n: int) -> Sequence[StoredOutcome]:
        return [
            outcome
            for outcome in self.outcomes(replica_id, after_n=after_n)
            if outcome.outcome.kind is OutcomeKind.REJECTED
        ]

    def outcomes_by_id(self, ids: Sequence[str]) -> Mapping[str, StoredOutcome]:
        outcomes = self._state.outcomes
        numbers_by_id = {id_: outcomes.numbers_of(("id", id_)) for id_ in ids}
        return {id_: outcomes[numbers[0]] for id_, numbers in numbers_by_id.items() if numbers}

    def principal_of(self, token_hash: str) -> Principal | None:
        token = self._state.tokens.get(token_hash)
        return None if token is None else token[0]


def in_stretch(
    records: Sequence[Record], since: str | int | None, before: str | int | None
) -> list[Record]:
    """The records of a stretch of their order."""

    def at(record: Record) -> Any:
        return getattr(record, RECORD_KINDS[type(record)].order or "")

    return [
        record
        for record in records
        if (since is None or at(record) >= since) and (before is None or at(record) < before)
    ]
