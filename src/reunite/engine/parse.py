"""From a push message to checked changes: the door after which the engine trusts its values.

Everything a replica can get wrong about shapes, types and numbers is refused here, with the path
at which it stands, before a transaction is open.

Changes stay in their runs until somebody asks for one: a push of new rows is mostly settled by the
run, and an object for each change would cost as much as half of its row's insert.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec

from reunite.core.change import Change, Op
from reunite.core.checks import value_faults
from reunite.core.key import Key
from reunite.core.schema import Affinity, Column, ColumnType, TableSchema
from reunite.core.sizes import (
    FIELD_BYTES_MAX,
    ROW_BYTES_MAX,
    UNSEEN,
    Look,
    excesses,
    looked_at,
)
from reunite.core.stamp import clamp, parse_stamp
from reunite.core.stored import DECIMAL_TEXT
from reunite.core.values import Row
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError, LimitExceededError, SchemaChangedError
from reunite.protocol.limits import FORMERS_MAX, PUSH_CHANGES_MAX
from reunite.protocol.push import GroupMessage, PushRequest, Run

_ID_LENGTH = 32
# Digits of a decimal without an exponent that is larger than any double.
_INFINITE_DIGITS_MIN = 309
_ID = re.compile("[0-9a-f]{32}")


class CheckedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has the right shape, with the number of its first change, its changes' keys, and
    one stamp for all or one for each. `is_plain`: nothing that it sets is tagged."""

    run: Run
    first_n: int
    keys: Sequence[Key]
    stamps: Sequence[str]
    is_plain: bool

    def changes(self) -> Iterator[Change]:
        """The changes one by one."""
        run, stamps = self.run, self.stamps
        for i, change_id in enumerate(run.ids):
            yield Change(
                id=change_id,
                n=self.first_n + i,
                table=run.table,
                op=run.op,
                key=self.keys[i],
                old_key=run.old_keys[i] if run.old_keys else None,
                columns=run.columns,
                set=run.set[i] if run.set else (),
                was=run.was[i] if run.was else (),
                stamp=stamps[i] if len(stamps) > 1 else stamps[0],
                mark=run.mark,
                covered=run.covered,
            )


class PushedGroup:
    """A local transaction of a replica: applied whole or not at all.

    `is_divisible` marks the run of other programs' changes, whose borders SQLite's triggers
    cannot see; a rejected one is split by bisection.
    """

    def __init__(self, runs: Sequence[CheckedRun], *, is_divisible: bool) -> None:
        self.runs = runs
        self.is_divisible = is_divisible

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """All changes in order, made when they are first asked for."""
        return tuple(chain.from_iterable(run.changes() for run in self.runs))

    @property
    def inserts_only(self) -> bool:
        """Whether the group does nothing but insert."""
        return all(run.run.op is Op.INSERT for run in self.runs)


class ChangeFault(msgspec.Struct, frozen=True):
    """Why a change cannot be taken, whatever the hub holds: the code and reason of a rejection."""

    code: str
    reason: str


class ParsedPush(msgspec.Struct, frozen=True, kw_only=True):
    """A push that has the right shape. `faults` says what is wrong with the values of single
    changes, by id: their groups are rejected, so that one bad value never holds up the rest."""

    groups: list[PushedGroup]
    faults: dict[str, ChangeFault]

    def runs(self) -> Iterator[CheckedRun]:
        """The runs of all groups."""
        return chain.from_iterable(group.runs for group in self.groups)


def parse_push(
    request: PushRequest, tables: Tables, *, now_ms: int, look: Look = UNSEEN
) -> ParsedPush:
    """The request's groups as numbered changes; stamps of a fast clock are clamped to now. `look`
    is what was seen of all its rows: where that is not enough, they are looked at by the run.

    Raises BadRequestError, UnknownTableError, LimitExceededError, SchemaChangedError.
    """
    if request.first_n < 1 or request.known < 0:
        raise BadRequestError("Numbers start at 1.", path="first_n")
    count = sum(len(run.ids) for group in request.groups for run in group.runs)
    if count > PUSH_CHANGES_MAX:
        raise LimitExceededError(
            f"A push carries at most {PUSH_CHANGES_MAX} changes; this one has {count}.",
            limit="PUSH_CHANGES_MAX",
        )
    if len(request.formers) > FORMERS_MAX:
        raise LimitExceededError(
            f"A push names at most {FORMERS_MAX} earlier identities.", limit="FORMERS_MAX"
        )
    groups = []
    faults: dict[str, ChangeFault] = {}
    n = request.first_n
    for index, message in enumerate(request.groups):
        path = f"groups[{index}]"
        runs = tuple(_checked_runs(message, request, tables, n, path, now_ms, faults, look))
        if not runs:
            raise BadRequestError("A group has no changes.", path=path)
        groups.append(PushedGroup(runs, is_divisible=message.divisible))
        n += sum(len(run.run.ids) for run in runs)
    parsed = ParsedPush(groups=groups, faults=faults)
    if len(set().union(*(run.run.ids for run in parsed.runs()))) != count:
        raise BadRequestError("A change id stands twice in one push.", path="groups")
    return parsed


def _checked_runs(
    message: GroupMessage,
    request: PushRequest,
    tables: Tables,
    n: int,
    path: str,
    now_ms: int,
    faults: dict[str, ChangeFault],
    seen: Look,
) -> Iterator[CheckedRun]:
    for index, run in enumerate(message.runs):
        run_path = f"{path}.runs[{index}]"
        schema = tables.schema(run.table, path=f"{run_path}.table")
        if request.schemas.get(run.table) != schema.version:
            raise SchemaChangedError(
                f"The table {run.table!r} has version {schema.version} here: pull first.",
                path=f"schemas.{run.table}",
            )
        _check_run(run, schema, run_path)
        look = seen if seen.is_small and seen.is_plain else looked_at(run.set)
        faults.update(_faults(run, schema, run_path, look))
        keys: Sequence[Key] = run.keys
        if run.op is Op.INSERT:
            keys = _keys_of_inserts(run, schema)
        stamps = _stamps(run, request.replica, run_path, now_ms)
        yield CheckedRun(run=run, first_n=n, keys=keys, stamps=stamps, is_plain=look.is_plain)
        n += len(run.ids)


def _faults(run: Run, schema: TableSchema, path: str, look: Look) -> dict[str, ChangeFault]:
    """What is wrong with the values that changes set or name, by change id."""
    columns = [schema.column[name] for name in run.columns]
    key_columns = [schema.column[name] for name in schema.key]
    found: dict[str, ChangeFault] = {}
    for excess in () if look.is_small else excesses(columns, run.set):
        name = None if excess.column is None else columns[excess.column].name
        place = "" if excess.column is None else f"[{excess.column}]"
        found[run.ids[excess.row]] = ChangeFault(
            "limit-exceeded",
            f"{_too_large(name, excess.size)} (at {path}.set[{excess.row}]{place})",
        )
    # Keys name rows that are there, whatever they hold; those of moves are in `set`, too.
    for name, shape, rows, is_loose in (
        ("set", columns, run.set, False),
        ("keys", key_columns, run.keys, True),
        ("old_keys", key_columns, run.old_keys, True),
    ):
        is_plain = look.is_plain and rows is run.set
        for fault in value_faults(shape, rows, is_loose=is_loose, is_plain=is_plain):
            reason = (
                f"Column {shape[fault.column].name!r}: {fault.reason} "
                f"(at {path}.{name}[{fault.row}][{fault.column}]{fault.inside})"
            )
            found.setdefault(run.ids[fault.row], ChangeFault("bad-value", reason))
    for row, name in _infinite_in_sqlite(columns, run.set):
        reason = f"Column {name!r}: the decimal is larger than any number here."
        found.setdefault(run.ids[row], ChangeFault("bad-value", reason))
    for fault in value_faults(columns, run.was, is_loose=True):
        reason = f"Column {columns[fault.column].name!r}: {fault.reason}"
        found.setdefault(run.ids[fault.row], ChangeFault("bad-value", reason))
    return found


def _infinite_in_sqlite(
    columns: Sequence[Column], rows: Sequence[Row]
) -> Iterator[tuple[int, str]]:
    """Row and column of decimals that a hub's SQLite would make infinite numbers of."""
    for position, column in enumerate(columns):
        if column.type is not ColumnType.DECIMAL or column.effective_affinity is Affinity.TEXT:
            continue
        for index, row in enumerate(rows):
            value = row[position]
            if not isinstance(value, str) or not _may_be_infinite(value):
                continue
            if DECIMAL_TEXT.fullmatch(value) and math.isinf(float(value)):
                yield index, column.name


def _may_be_infinite(decimal: str) -> bool:
    return "e" in decimal or "E" in decimal or len(decimal) >= _INFINITE_DIGITS_MIN


def _too_large(column: str | None, size: int) -> str:
    if column is None:
        return (
            f"The row: {size:,} bytes are more than one change may set (ROW_BYTES_MAX, "
            f"{ROW_BYTES_MAX:,}): keep less in it, or divide it between rows."
        )
    return (
        f"Column {column!r}: {size:,} bytes are more than a field may hold (FIELD_BYTES_MAX, "
        f"{FIELD_BYTES_MAX:,}): divide it between rows, or keep it elsewhere and its address here."
    )


def _keys_of_inserts(run: Run, schema: TableSchema) -> Sequence[Key]:
    positions = [run.columns.index(name) for name in schema.key]
    if len(positions) == 1:
        return list(zip(map(itemgetter(positions[0]), run.set), strict=True))
    return [tuple(row[position] for position in positions) for row in run.set]


def _check_run(run: Run, schema: TableSchema, path: str) -> None:
    _check_ids(run.ids, path)
    if len(set(run.columns)) != len(run.columns):
        raise BadRequestError("A column stands twice.", path=f"{path}.columns")
    try:
        columns = [schema.column[name] for name in run.columns]
    except KeyError as exc:
        raise BadRequestError(
            f"The table {schema.name!r} has no column {exc.args[0]!r}.", path=f"{path}.columns"
        ) from None
    if not 0 <= run.mark < 2**63:
        raise BadRequestError("A mark is a change id of the hub.", path=f"{path}.mark")
    if run.covered < 0:
        raise BadRequestError("What a checkpoint covers is a number.", path=f"{path}.covered")
    count = len(run.ids)
    needed = {
        Op.INSERT: {"set"},
        Op.UPDATE: {"set", "was", "keys"},
        Op.DELETE: {"was", "keys"},
    }[run.op]
    if run.op is Op.UPDATE and run.old_keys:
        needed = needed | {"old_keys"}
    parts: dict[str, Sequence[tuple[Any, ...]]] = {
        "set": run.set,
        "was": run.was,
        "keys": run.keys,
        "old_keys": run.old_keys,
    }
    for name, part in parts.items():
        expected = count if name in needed else 0
        if len(part) != expected:
            raise BadRequestError(
                f"A run of {count} {run.op} changes has {expected} entries here, not {len(part)}.",
                path=f"{path}.{name}",
            )
    key_columns = [schema.column[name] for name in schema.key]
    # What SQLite let a replica store, it can only repeat; here just the shapes must be right.
    for name, shape in (("set", columns), ("was", columns), ("keys", key_columns),
                        ("old_keys", key_columns)):  # fmt: skip
        if set(map(len, parts[name])) <= {len(shape)}:
            continue
        for i, row in enumerate(parts[name]):
            if len(row) != len(shape):
                raise BadRequestError(
                    f"There are {len(row)} values for {len(shape)} columns.",
                    path=f"{path}.{name}[{i}]",
                )
    if run.op is Op.INSERT:
        if set(run.columns) != set(schema.column_names):
            raise BadRequestError("An insert sets every column.", path=f"{path}.columns")
        for name in schema.key:
            position = run.columns.index(name)
            values = [row[position] for row in run.set]
            if None in values:
                i = values.index(None)
                raise BadRequestError("A key has no NULL.", path=f"{path}.set[{i}][{position}]")
            _check_plain(values, path, f"set[{{}}][{position}]")
    for part_name in ("keys", "old_keys"):
        for i, key in enumerate(parts[part_name]):
            if None in key:
                raise BadRequestError("A key has no NULL.", path=f"{path}.{part_name}[{i}]")
        _check_plain(parts[part_name], path, f"{part_name}[{{}}]")
    if run.op is Op.UPDATE:
        _check_moves(run, schema, path)


def _check_plain(values: Sequence[Any], path: str, place: str) -> None:
    """Refuse arrays and objects in keys: no key has any, and they cannot be looked up."""
    try:
        set(values)
    except TypeError:
        for i, value in enumerate(values):
            try:
                hash(value)
            except TypeError:
                raise BadRequestError(
                    "A key's values are no arrays and no objects.", path=f"{path}.{place.format(i)}"
                ) from None


def _check_moves(run: Run, schema: TableSchema, path: str) -> None:
    """A key column among `columns` means that the key moves, and says the same as the keys."""
    named = [(i, run.columns.index(name)) for i, name in enumerate(schema.key)
             if name in run.columns]  # fmt: skip
    if named and not run.old_keys:
        raise BadRequestError(
            "A change of a key column names its old key.", path=f"{path}.old_keys"
        )
    for i, (key, old_key) in enumerate(zip(run.keys, run.old_keys, strict=True) if run.old_keys
                                       else ()):  # fmt: skip
        moved = tuple(old_key)
        for key_index, position in named:
            moved = (*moved[:key_index], run.set[i][position], *moved[key_index + 1 :])
        if moved != key or old_key == key:
            raise BadRequestError(
                "The key is not the old key with the columns set.", path=f"{path}.keys[{i}]"
            )


def _check_ids(ids: Sequence[str], path: str) -> None:
    # Bytes as digits and back is a fourth of what it takes to match a pattern.
    joined = "".join(ids)
    try:
        are_lowercase_digits = bytes.fromhex(joined).hex() == joined
    except ValueError:
        are_lowercase_digits = False
    if are_lowercase_digits and set(map(len, ids)) <= {_ID_LENGTH}:
        return
    for i, change_id in enumerate(ids):
        if not _ID.fullmatch(change_id):
            raise BadRequestError(
                "A change id is 32 lowercase hexadecimal digits.", path=f"{path}.ids[{i}]"
            )


def _stamps(run: Run, replica: str, path: str, now_ms: int) -> Sequence[str]:
    """Checked and clamped; what a stamp says of its replica is not believed but set."""
    if len(run.stamps) not in (1, len(run.ids)) or not run.ids:
        raise BadRequestError("A run has one stamp, or one for each change.", path=f"{path}.stamps")
    stamps = []
    for i, text in enumerate(run.stamps):
        try:
            stamp = parse_stamp(text)
        except ValueError:
            raise BadRequestError("This is no stamp.", path=f"{path}.stamps[{i}]") from None
        stamp = msgspec.structs.replace(stamp, replica=replica)
        stamps.append(str(clamp(stamp, now_ms=now_ms)))
    return stamps
