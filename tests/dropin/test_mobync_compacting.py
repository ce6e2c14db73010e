"""Compacting keeps the order in which diffs of one clock stand, however it ends."""

import json
from operator import itemgetter
from typing import Any

import pytest

from reunite.dropin.mobync import (
    FilterType,
    InMemorySynchronizer,
    Mobync,
    ReadFilter,
    Synchronizer,
)
from tests.dropin.mobync_world import MODEL, OWNER, Implementation, diff, rows


class FailsAt:
    """Raises at the nth write to the log from now on, once."""

    def __init__(self, synchronizer: Any, number: int) -> None:
        self._left = number
        for name in ("update", "delete"):
            setattr(synchronizer, name, self._wrapped(getattr(synchronizer, name)))

    def _wrapped(self, method: Any) -> Any:
        def write(where: str, data_json: str) -> Any:
            self._left -= 1
            if self._left == 0:
                raise OSError("The disk is full.")
            return method(where, data_json)

        return write


def logged(synchronizer: Synchronizer) -> list[tuple[int, str, str]]:
    """The log in its order."""
    filters = [ReadFilter("owner", FilterType.equal, OWNER)]
    filters.append(ReadFilter("logical_clock", FilterType.majorOrEqual, 0))
    found = sorted(json.loads(synchronizer.read("diffs", filters)), key=itemgetter("logical_clock"))
    return [(one["logical_clock"], one["type"], one["json_data"]) for one in found]


def created_again(synchronizer: Synchronizer) -> Mobync:
    """A log in which one call deleted and created each of two rows, two times."""
    mobync = Mobync(synchronizer)
    clock = 0
    for value in ("0", "1", "2"):
        diffs = [diff("delete", row) for row in ("r", "s") if value != "0"]
        diffs += [diff("create", row, field1=value) for row in ("r", "s")]
        clock = mobync.apply(clock, diffs, OWNER)["logical_clock"]
    return mobync


@pytest.mark.parametrize("make", [lambda: InMemorySynchronizer([MODEL]), Implementation])
def test_a_row_deleted_and_created_again_in_one_call_stays_when_its_log_is_folded(
    make: Any,
) -> None:
    synchronizer = make()
    mobync = created_again(synchronizer)
    assert mobync.compact(OWNER, 100) > 0
    assert [type_ for _, type_, _ in logged(synchronizer)] == ["delete"] * 2 + ["create"] * 2
    told = [json.loads(data) for _, type_, data in logged(synchronizer) if type_ == "create"]
    assert {one["id"]: one["field1"] for one in told} == {"r": "2", "s": "2"}
    assert {row: found["field1"] for row, found in rows(synchronizer).items()} == {
        "r": "2", "s": "2"
    }  # fmt: skip


@pytest.mark.parametrize("make", [lambda: InMemorySynchronizer([MODEL]), Implementation])
def test_compacting_that_fails_leaves_the_log_as_it_was(make: Any) -> None:
    is_done = False
    for number in range(1, 100):
        synchronizer = make()
        mobync = created_again(synchronizer)
        before = logged(synchronizer)
        FailsAt(synchronizer, number)
        try:
            mobync.compact(OWNER, 100)
        except OSError:
            assert logged(synchronizer) == before
        else:
            is_done = True
            break
    assert is_done
    assert number > 3


def test_who_made_a_row_last_stays_so_when_an_older_create_is_changed() -> None:
    synchronizer = InMemorySynchronizer([MODEL])
    for number, owner in enumerate(("first", "second")):
        made = diff("create", "r", id=owner, owner=owner) | {"logical_clock": number}
        synchronizer.create("diffs", json.dumps(made))
    synchronizer.update("diffs", json.dumps({"id": "first", "utc_timestamp": 5}))
    assert synchronizer.row_owner(MODEL, "r") == "second"
