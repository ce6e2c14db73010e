"""What a replica keeps of the hub's answers for people to see: conflicts, and parked changes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping

import msgspec

from reunite.core.change import Conflict, Op, Outcome, OutcomeKind
from reunite.core.key import key_text
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.protocol.push import OutcomeMessage
from reunite.replica.pending import Pending, Place, changed_columns

# Where a value stood in the message: for who writes a client, not for who wrote the row.
_PLACE = re.compile(r" \(at groups\[[^ ]*\)$")

_INSERT_CONFLICT = """
    insert into reunite_conflict
        (uid, n, table_name, key, column_name, base, hub, replica, result, policy, is_open, at_ms)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_PARKED = """
    insert into reunite_parked
        (uid, n, table_name, op, key, old_key, old, row, stamp, at_ms, code, reason, columns)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Records:
    """Writes records inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, *, now_ms: int) -> None:
        self._connection = connection
        self._now_ms = now_ms

    def note_conflicts(self, pending: Pending, outcome: Outcome) -> int:
        """Keep the conflicts of an outcome for people to see; how many."""
        if not outcome.conflicts:
            return 0
        self._connection.executemany(
            _INSERT_CONFLICT,
            [
                (
                    pending.uid,
                    pending.n,
                    pending.table,
                    key_text(outcome.key or pending.key),
                    conflict.column,
                    _json(conflict.base),
                    _json(conflict.hub),
                    _json(conflict.replica),
                    _json(conflict.result),
                    conflict.policy,
                    conflict.is_open,
                    self._now_ms,
                )
                for conflict in outcome.conflicts
            ],
        )
        return len(outcome.conflicts)

    def park(self, pending: Pending, schema: TableSchema, *, is_evicted: bool = False) -> None:
        """Keep a rejected change, with its reason, for someone to retry, edit or discard. Of a row
        that was evicted, only what the change wanted stays."""
        outcome = pending.outcome
        assert outcome is not None, "only rejected changes are parked"
        old, row = _named(schema, pending.old), _named(schema, pending.row)
        if is_evicted and pending.op is not Op.INSERT:
            old, row = None, _wanted(schema, pending)
        self._park(pending, pending.op, old, row, outcome)

    def forget(self, erased: Collection[Place]) -> None:
        """Take the values out of all records about these rows; that there were any stays."""
        places = [(table, key_text(key)) for table, key in erased]
        self._connection.executemany(
            "update reunite_conflict set base = 'null', hub = 'null', replica = 'null',"
            " result = 'null', decided = null, is_open = 0 where table_name = ? and key = ?",
            places,
        )
        self._connection.executemany(
            "update reunite_parked set old = null, row = null, reason = 'The row was erased.'"
            " where table_name = ?1 and (key = ?2 or old_key = ?2)",
            places,
        )

    def park_values(
        self, pending: Pending, was: Mapping[str, Value], wanted: Mapping[str, Value]
    ) -> None:
        """Keep the values that a change set in columns that are gone; the rest of it goes on."""
        if any(value is not None for value in wanted.values()):
            names = tuple(wanted)
            outcome = Outcome(
                kind=OutcomeKind.REJECTED,
                code="schema-changed",
                reason=f"The hub's table {pending.table} has no {', '.join(names)} any more; the "
                "rest of the change goes on.",
                columns=names,
            )
            self._park(pending, Op.UPDATE, _json(was), _json(wanted), outcome)

    def _park(
        self, pending: Pending, op: Op, old: str | None, row: str | None, outcome: Outcome
    ) -> None:
        self._connection.execute(
            _INSERT_PARKED,
            (
                pending.uid,
                pending.n,
                pending.table,
                op,
                key_text(pending.key),
                None if pending.old_key is None else key_text(pending.old_key),
                old,
                row,
                pending.stamp,
                pending.at_ms,
                outcome.code or "",
                _PLACE.sub("", outcome.reason or ""),
                _json(outcome.columns),
            ),
        )


def outcome_of(message: OutcomeMessage) -> Outcome:
    """The outcome that a message carries."""
    return Outcome(
        kind=message.kind,
        key=message.key,
        code=message.code,
        reason=message.reason,
        columns=message.columns,
        conflicts=tuple(
            Conflict(
                column=conflict.column,
                base=conflict.base,
                hub=conflict.hub,
                replica=conflict.replica,
                result=conflict.result,
                policy=conflict.policy,
                is_open=conflict.is_open,
            )
            for conflict in message.conflicts
        ),
    )


def _named(schema: TableSchema, row: Row | None) -> str | None:
    """A row with its columns' names, since the table may change before anyone looks."""
    return None if row is None else _json(dict(zip(schema.column_names, row, strict=True)))


def _wanted(schema: TableSchema, pending: Pending) -> str | None:
    """What an update set, with its columns' names."""
    if pending.row is None or pending.old is None:
        return None
    names = schema.column_names
    return _json({names[i]: pending.row[i] for i in changed_columns(schema, pending)})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
