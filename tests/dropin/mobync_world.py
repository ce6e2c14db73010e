"""What the tests of the mobync drop-in share: synchronizers, diffs, and devices in memory."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from reunite.dropin.mobync import FilterType, Mobync, ReadFilter, Synchronizer
from tests.patience import DEADLINE_S

OWNER = "asdf"
MODEL = "model1"

_numbers = itertools.count()


class Implementation(Synchronizer):
    """A synchronizer as mobync's README asks for it, over a dictionary: no optional method."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {MODEL: [], "model2": [], "diffs": []}

    def read(self, where: str, filters: list[ReadFilter]) -> str:
        rows = self.tables[where]
        for chosen in filters:
            if chosen.filter_by == FilterType.equal:
                rows = [row for row in rows if row[chosen.field_name] == chosen.data]
            elif chosen.filter_by == FilterType.majorOrEqual:
                rows = [row for row in rows if row[chosen.field_name] >= chosen.data]
            else:
                raise AssertionError("The README's read handles only those two.")
        return json.dumps(rows)

    def create(self, where: str, data_json: str) -> object:
        data = json.loads(data_json)
        assert not self._found(where, data["id"]), "a primary key is used once"
        self.tables[where].append(data)
        return data

    def update(self, where: str, data_json: str) -> None:
        data = json.loads(data_json)
        self._found(where, data["id"])[0].update(data)

    def delete(self, where: str, data_json: str) -> None:
        (row,) = self._found(where, json.loads(data_json)["id"])
        self.tables[where].remove(row)

    def validate_create(self, owner_id: str, **kwargs: Any) -> bool:
        return bool(kwargs["owner"] == owner_id)

    def validate_update(self, owner_id: str, **kwargs: Any) -> bool:
        return bool(kwargs["owner"] == owner_id)

    def validate_delete(self, owner_id: str, **kwargs: Any) -> bool:
        return bool(kwargs["owner"] == owner_id)

    def _found(self, where: str, row: object) -> list[dict[str, Any]]:
        return [each for each in self.tables[where] if each["id"] == row]


def diff(
    type_: str,
    row: str,
    *,
    id: str | None = None,  # noqa: A002 — the diff's own word
    at: int = 1000,
    owner: str = OWNER,
    model: str = MODEL,
    **values: Any,
) -> dict[str, Any]:
    """A diff as a device sends it."""
    return {
        "id": id or f"d{next(_numbers):09}",
        "owner": owner,
        "logical_clock": 0,
        "utc_timestamp": at,
        "type": type_,
        "model": model,
        "json_data": json.dumps({"id": row, **values}),
    }


def rows(synchronizer: Synchronizer, model: str = MODEL) -> dict[str, dict[str, Any]]:
    """All rows of a model by their ids."""
    found = json.loads(synchronizer.read(model, []))
    return {row["id"]: {f: v for f, v in row.items() if f != "id"} for row in found}


def log(synchronizer: Synchronizer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(synchronizer.read("diffs", []))
    return found


def without_nulls(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A SQL row has NULL where a dictionary has nothing."""
    return {
        row: {f: v for f, v in values.items() if v is not None} for row, values in table.items()
    }


class Device:
    """What a device of mobync does: it applies its own edits, keeps their diffs until an answer
    comes, and applies the answer in order."""

    def __init__(self, mobync: Mobync, *, owner: str = OWNER, skew: int = 0) -> None:
        self.mobync = mobync
        self.owner = owner
        self.skew = skew
        self.clock = 0
        self.rows: dict[str, dict[str, Any]] = {}
        self.pending: list[dict[str, Any]] = []
        self.conflicts: list[dict[str, Any]] = []

    def edit(self, type_: str, row: str, *, at: int = 1000, **values: Any) -> dict[str, Any]:
        made = diff(type_, row, at=at + self.skew, owner=self.owner, **values)
        self.pending.append(made)
        self.apply(made)
        return made

    def apply(self, one: dict[str, Any]) -> None:
        data = json.loads(one["json_data"])
        row = data.pop("id")
        if one["type"] == "create":
            self.rows[row] = data
        elif one["type"] == "delete":
            self.rows.pop(row, None)
        elif row in self.rows:
            self.rows[row] |= data

    def call(self, **options: Any) -> dict[str, Any]:
        """What the server answers; the device does not hear it."""
        sent = json.loads(json.dumps(self.pending))
        return self.mobync.apply(self.clock, sent, self.owner, **options)

    def hear(self, answer: dict[str, Any]) -> None:
        for one in answer["diffs"]:
            self.apply(one)
        self.clock = answer["logical_clock"]
        self.pending.clear()
        self.conflicts += answer.get("conflicts", [])

    def sync(self, *, limit: int | None = None) -> dict[str, Any]:
        answer = self.call(limit=limit)
        self.hear(answer)
        while answer.get("has_more"):
            answer = self.call(limit=limit)
            self.hear(answer)
        return answer


def at_once(*works: Callable[[], object]) -> None:
    """Run functions at the same moment, each in a thread; raises what one of them raised."""
    barrier = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        barrier.wait(DEADLINE_S)
        try:
            work()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    if errors:
        raise errors[0]


def live(seed: int, synchronizer: Synchronizer, *, steps: int = 100) -> list[Device]:
    """Three devices that edit and sync at random, lose answers, send twice and call at once; in the
    end all have synced twice."""
    chance = random.Random(seed)
    mobync = Mobync(synchronizer)
    devices = [Device(mobync, skew=chance.choice([0, 0, -5_000, 700])) for _ in range(3)]
    for step in range(steps):
        device = chance.choice(devices)
        _edit(chance, device, step)
        if chance.random() < 0.3:
            _sync(chance, device, devices)
    for device in devices * 2:
        device.sync()
    return devices


def _edit(chance: random.Random, device: Device, step: int) -> None:
    at = 10_000 + step * chance.choice([0, 10])
    kind = chance.choice(["create", "update", "update", "update", "delete"])
    if kind == "create" or not device.rows:
        # Ids are few, so that two devices make the same row, or make one again.
        row = f"row{chance.randrange(12)}"
        if row not in device.rows:
            device.edit("create", row, at=at, **_values(chance))
    elif kind == "update":
        device.edit("update", chance.choice(sorted(device.rows)), at=at, **_values(chance))
    else:
        device.edit("delete", chance.choice(sorted(device.rows)), at=at)


def _values(chance: random.Random) -> dict[str, Any]:
    fields = chance.sample(["field1", "field2", "field3"], chance.randrange(1, 4))
    return {field: chance.choice(["a", "b", "", "\u00e4"]) for field in fields}


def _sync(chance: random.Random, device: Device, devices: list[Device]) -> None:
    kind = chance.random()
    if kind < 0.05:
        mobync = device.mobync
        # What every device has read may be folded away: what waits for an answer is not resent.
        read_by_all = min(each.clock for each in devices)
        if not any(each.pending for each in devices):
            mobync.compact(device.owner, read_by_all)
    elif kind < 0.15:
        device.sync(limit=chance.choice([1, 3]))
    elif kind < 0.3:
        device.call()  # the answer is lost
    elif kind < 0.4:
        device.call()
        device.sync()
    elif kind < 0.55:
        other = chance.choice([each for each in devices if each is not device])
        at_once(device.sync, other.sync)
    else:
        device.sync()
