"""mobync: whether one `apply` of one diff knows how long the log is.

A device that has read everything updates a row: once of an owner whose log has 50,000 diffs, and
once of another one who has hardly any. Three synchronizers: in memory and over SQLAlchemy, which
can tell the last clock, and one with mobync's seven methods alone, over SQLite with an index. The
original, if it is installed, does the same over the last one; it is no dependency of reunite.
"""

from __future__ import annotations

import importlib
import json
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, timed
from reunite.dropin.mobync import (
    InMemorySynchronizer,
    Mobync,
    SqlSynchronizer,
    Synchronizer,
    diffs_table,
)

LOG = 50_000
SHORT_LOG = 10
CALLS = 100
AIM = 1.5
AIM_PLAIN = 3.0
# The original needs most of a second for a call at the longest log.
ORIGINAL_CALLS = 2
ORIGINAL_LOGS = (1_000, 10_000, 50_000)
MODEL = "task"

_FIELDS = ("id", "owner", "logical_clock", "utc_timestamp", "type", "model", "json_data")


def run(settings: Settings) -> Iterator[Figure]:
    """Ours on three synchronizers, then the original's curve."""
    length = settings.scaled(LOG, 1_000)
    makers: list[tuple[str, Callable[[Path], Any], float]] = [
        ("in memory", _in_memory, AIM),
        ("SQLAlchemy", _over_sqlalchemy, AIM),
        ("seven methods", _plain_kind(Synchronizer), AIM_PLAIN),
    ]
    for name, make, aim in makers:
        device_pair = _devices(Mobync, make(settings.folder / f"{name}.db"), length)
        yield _compared(settings, name, device_pair, length, CALLS, aim=aim)
    try:
        original = importlib.import_module("mobync")
    except ImportError:
        print("NOT MEASURED: the original; `uv pip install mobync==0.2.0`", file=sys.stderr)
        return
    make = _plain_kind(original.Synchronizer)
    for logged in ORIGINAL_LOGS:
        count = settings.scaled(logged, logged // 50)
        device_pair = _devices(original.Mobync, make(settings.folder / f"{logged}.db"), count)
        yield _compared(settings, "the original", device_pair, count, ORIGINAL_CALLS, aim=None)


class _Device:
    """A device of an owner with a log of some length, all of which it has read."""

    def __init__(self, mobync: Any, owner: str, clock: int) -> None:
        self._mobync = mobync
        self._owner = owner
        self._clock = clock

    def call(self, count: int) -> Spent:
        """One diff a call; what a call takes."""

        def work() -> None:
            for number in range(count):
                made = _diff(self._owner, "update", f"{self._owner}-1", self._clock, str(number))
                answer = self._mobync.apply(self._clock, [made], self._owner)
                self._clock = answer["logical_clock"]

        spent = timed(work)
        return Spent(spent.wall_s / count, spent.processor_s / count)


def _devices(kind: Callable[[Any], Any], synchronizer: Any, length: int) -> tuple[_Device, _Device]:
    """A device of the long log and one of the short; each has called once, which is when a process
    may read the log."""
    mobync = kind(synchronizer)
    devices = []
    for owner, count in (("ann", length), ("bob", SHORT_LOG)):
        for row in range(2):
            synchronizer.create(MODEL, json.dumps({"id": f"{owner}-{row}", "text": ""}))
        _fill(synchronizer, [_logged(owner, clock) for clock in range(count)])
        devices.append(_Device(mobync, owner, count))
        devices[-1].call(1)
    return devices[0], devices[1]


def _compared(
    settings: Settings,
    name: str,
    devices: tuple[_Device, _Device],
    length: int,
    calls: int,
    *,
    aim: float | None,
) -> Figure:
    far, near = devices
    pairs = Pairs()
    for number in range(settings.rounds):
        settings.wait_until_idle()
        limit, measured = in_turn(number, lambda: near.call(calls), lambda: far.call(calls))
        pairs.add(measured=measured, limit=limit)
    what = f"{name}: a diff at a log of {length:,}"
    return pairs.times("mobync", what, limit=f"a log of {SHORT_LOG}", aim=aim)


def _logged(owner: str, clock: int) -> dict[str, Any]:
    kind = "create" if clock < 2 else "update"
    return _diff(owner, kind, f"{owner}-{clock % 2}", clock, str(clock))


def _diff(owner: str, kind: str, row: str, clock: int, text: str) -> dict[str, Any]:
    data = json.dumps({"id": row, "text": text})
    values = (str(uuid.uuid4()), owner, clock, 1_700_000_000_000 + clock, kind, MODEL, data)
    return dict(zip(_FIELDS, values, strict=True))


def _fill(synchronizer: Any, diffs: Sequence[dict[str, Any]]) -> None:
    """Put diffs into the log, many at a time where there is a way."""
    fill = getattr(synchronizer, "fill", None)
    if fill is not None:
        fill(diffs)
    else:
        for diff in diffs:
            synchronizer.create("diffs", json.dumps(diff))


def _in_memory(_path: Path) -> InMemorySynchronizer:
    return InMemorySynchronizer([MODEL])


class _Filled(SqlSynchronizer):
    def __init__(self, engine: sa.Engine, models: dict[str, sa.Table], diffs: sa.Table) -> None:
        super().__init__(engine, models, diffs)
        self._to_fill = engine, diffs

    def fill(self, diffs: Sequence[dict[str, Any]]) -> None:
        engine, table = self._to_fill
        rows = [
            {**diff, "row_id": json.dumps(json.loads(diff["json_data"])["id"])} for diff in diffs
        ]
        with engine.begin() as connection:
            connection.execute(table.insert(), rows)


def _over_sqlalchemy(path: Path) -> _Filled:
    metadata = sa.MetaData()
    model = sa.Table(
        MODEL, metadata, sa.Column("id", sa.Text, primary_key=True), sa.Column("text", sa.Text)
    )
    diffs = diffs_table(metadata)
    engine = sa.create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    return _Filled(engine, {MODEL: model}, diffs)


class _SevenMethods:
    """What mobync's documents ask for, and nothing else, over two SQLite tables."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL").fetchall()
        self._db.execute(f"CREATE TABLE {MODEL} (id TEXT PRIMARY KEY, text TEXT)")
        self._db.execute(
            "CREATE TABLE diffs (id TEXT PRIMARY KEY, owner TEXT, logical_clock INTEGER, "
            "utc_timestamp INTEGER, type TEXT, model TEXT, json_data TEXT)"
        )
        self._db.execute("CREATE INDEX by_clock ON diffs (owner, logical_clock)")

    def fill(self, diffs: Sequence[dict[str, Any]]) -> None:
        self._db.execute("BEGIN")
        marks = ", ".join(f":{field}" for field in _FIELDS)
        self._db.executemany(f"INSERT INTO diffs VALUES ({marks})", diffs)
        self._db.execute("COMMIT")

    def read(self, where: str, filters: Sequence[Any]) -> str:
        signs = {"equal": "=", "majorOrEqual": ">="}
        tests = [f"{one.field_name} {signs[one.filter_by.name]} ?" for one in filters]
        chosen = f" WHERE {' AND '.join(tests)}" if tests else ""
        rows = self._db.execute(f"SELECT * FROM {where}{chosen}", [one.data for one in filters])
        return json.dumps([dict(row) for row in rows])

    def create(self, where: str, data_json: str) -> None:
        data = json.loads(data_json)
        marks = ", ".join(f":{field}" for field in data)
        self._db.execute(f"INSERT INTO {where} ({', '.join(data)}) VALUES ({marks})", data)

    def update(self, where: str, data_json: str) -> None:
        data = json.loads(data_json)
        sets = ", ".join(f"{field} = :{field}" for field in data)
        self._db.execute(f"UPDATE {where} SET {sets} WHERE id = :id", data)

    def delete(self, where: str, data_json: str) -> None:
        self._db.execute(f"DELETE FROM {where} WHERE id = :id", json.loads(data_json))

    def validate_create(self, owner_id: str, **kwargs: Any) -> bool:
        return bool(kwargs["owner"] == owner_id)

    validate_update = validate_delete = validate_create


def _plain_kind(base: type) -> Callable[[Path], Any]:
    """The seven methods as a synchronizer of ours, or of the original."""
    return type("Plain", (_SevenMethods, base), {})
