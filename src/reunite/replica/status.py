"""What a replica tells people: its status in sentences, conflicts and parked changes."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key, parse_key
from reunite.core.values import is_written_alike
from reunite.errors import BadRequestError
from reunite.replica.asked import check_choice
from reunite.replica.state import State
from reunite.stores.sql.quoting import quoted

if TYPE_CHECKING:
    from reunite.replica.file import ReplicaFile


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`pending` changes have no answer yet; `answered` ones wait for the page that shows them."""

    path: str
    url: str
    replica: str
    is_ready: bool
    pending: int
    answered: int
    parked: int
    conflicts: int
    open_conflicts: int
    tables: dict[str, int]
    synced_ms: int
    age_s: float | None
    last_error: str
    sentences: tuple[str, ...]


class ConflictRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict of one of this replica's changes. `column` None is about the whole row.

    Values stand in it as they travel (docs/protocol.md): decimals and large integers as texts, and
    what does not fit its column's type as a text that begins with `reunite:`.
    """

    id: int
    table: str
    key: Key
    column: str | None
    base: Any
    hub: Any
    replica: Any
    result: Any
    policy: str
    is_open: bool
    at_ms: int
    is_decided: bool = False
    decided: Any = None

    @classmethod
    def all(
        cls, connection: sqlite3.Connection, *, open_only: bool = False
    ) -> list[ConflictRecord]:
        """Every conflict in the file, oldest first."""
        decode = msgspec.json.decode
        rows = connection.execute(
            "select id, table_name, key, column_name, base, hub, replica, result, policy, is_open,"
            " at_ms, decided from reunite_conflict where is_open or not ? order by id",
            (open_only,),
        )
        return [
            cls(
                id=row[0],
                table=row[1],
                key=parse_key(row[2]),
                column=row[3],
                base=decode(row[4]),
                hub=decode(row[5]),
                replica=decode(row[6]),
                result=decode(row[7]),
                policy=row[8],
                is_open=bool(row[9]),
                at_ms=row[10],
                is_decided=row[11] is not None,
                decided=None if row[11] is None else decode(row[11]),
            )
            for row in rows
        ]


class ParkedChange(msgspec.Struct, frozen=True, kw_only=True):
    """A rejected change. `set` is what it wanted, `was` what it replaced, by column."""

    id: int
    uid: str
    table: str
    op: Op
    key: Key
    source: Key
    set: dict[str, Any]
    was: dict[str, Any]
    code: str
    reason: str
    columns: tuple[str, ...]
    at_ms: int

    @classmethod
    def all(cls, connection: sqlite3.Connection) -> list[ParkedChange]:
        """Every parked change in the file, oldest first."""
        return [
            _parked(row)
            for row in connection.execute(
                "select id, uid, table_name, op, key, old_key, old, row, code, reason, columns,"
                " at_ms from reunite_parked order by id"
            )
        ]


def _parked(row: Any) -> ParkedChange:
    key = parse_key(row[4])
    was = {} if row[6] is None else msgspec.json.decode(row[6])
    wanted = {} if row[7] is None else msgspec.json.decode(row[7])
    if was and wanted:
        changed = [name for name in wanted if not is_written_alike(was.get(name), wanted[name])]
        wanted = {name: wanted[name] for name in changed}
        was = {name: was.get(name) for name in changed}
    return ParkedChange(
        id=row[0],
        uid=row[1],
        table=row[2],
        op=Op(row[3]),
        key=key,
        source=key if row[5] is None else parse_key(row[5]),
        set=wanted,
        was=was,
        code=row[8],
        reason=row[9],
        columns=tuple(msgspec.json.decode(row[10])),
        at_ms=row[11],
    )


def status_of(
    connection: sqlite3.Connection, state: State, file: ReplicaFile, *, now_ms: int
) -> ReplicaStatus:
    """The status, counted inside the caller's transaction."""

    def count(text: str) -> int:
        return int(connection.execute(text).fetchone()[0])

    # What the triggers have captured counts before it is numbered; a touch is no change.
    pending = count("select count(*) from reunite_outbox where outcome is null"
                    " and (op <> 'update' or row is not null)")  # fmt: skip
    answered = count("select count(*) from reunite_outbox where outcome is not null")
    parked = count("select count(*) from reunite_parked")
    conflicts = count("select count(*) from reunite_conflict")
    open_conflicts = count("select count(*) from reunite_conflict where is_open")
    age_s = (now_ms - state.synced_ms) / 1000 if state.synced_ms else None
    tables = {name: count(f"select count(*) from {quoted(name)}") for name in file.schemas(state)}
    return ReplicaStatus(
        path=str(file.path),
        url=state.url,
        replica=state.replica,
        is_ready=state.is_ready,
        pending=pending,
        answered=answered,
        parked=parked,
        conflicts=conflicts,
        open_conflicts=open_conflicts,
        tables=tables,
        synced_ms=state.synced_ms,
        age_s=age_s,
        last_error=state.last_error,
        sentences=(
            *_sentences(state, pending, answered, parked, open_conflicts, age_s),
            *_of_choice(state, file),
        ),
    )


def _of_choice(state: State, file: ReplicaFile) -> list[str]:
    """Whether the rows that were chosen are told by what the hub does not show any more."""
    try:
        check_choice(state.where, file.schemas(state))
    except BadRequestError as exc:
        return [f"What was chosen means no row any more, choose anew: {exc.message}"]
    return []


def _sentences(
    state: State, pending: int, answered: int, parked: int, open_conflicts: int, age_s: float | None
) -> list[str]:
    sentences = []
    if not state.is_ready:
        sentences.append("The first clone has not finished: run `reunite clone` again.")
    elif age_s is None:
        sentences.append("It was cloned and has not been synced since.")
    else:
        sentences.append(f"It was synced {_age(age_s)} ago.")
    if pending:
        sentences.append(f"{_count(pending, 'change waits', 'changes wait')} to be pushed.")
    else:
        sentences.append("Nothing waits to be pushed.")
    if answered:
        sentences.append(
            f"{_count(answered, 'answered change waits', 'answered changes wait')} for the page "
            "that shows what became of them."
        )
    if parked:
        sentences.append(
            f"{_count(parked, 'change was', 'changes were')} rejected and parked:"
            " see `reunite parked`."
        )
    if open_conflicts:
        sentences.append(
            f"{_count(open_conflicts, 'conflict waits', 'conflicts wait')} for your decision:"
            " see `reunite conflicts`."
        )
    if state.last_error:
        sentences.append(f"The last sync failed: {state.last_error}")
    return sentences


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _age(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return _count(int(seconds // size), name, f"{name}s")
    return _count(int(seconds), "second", "seconds")
