"""Another program holds a lock: what is said, and that nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reunite import HubUnreachableError, ReuniteError, StorageUnavailableError
from tests.crash.scenarios import make_both
from tests.crash.world import World, heal


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A hub and its replicas with work to do, in a process that waits for locks only a moment."""
    connect = sqlite3.connect

    def impatient(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{**options, "timeout": 0.05})

    monkeypatch.setattr(sqlite3, "connect", impatient)
    made = World(tmp_path, who="run")
    make_both(made)
    made.write_group(made.replica())
    made.write("till", transfers=1)
    made.write("hub", transfers=1)
    yield made
    made.close()


def locked(path: Path, *statements: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    return db


def test_a_locked_hub_is_a_hub_that_cannot_be_reached(world: World) -> None:
    with closing(locked(world.hub_path, "begin immediate")):
        with pytest.raises(StorageUnavailableError, match=r"locked.*\.$"):
            world.hub.number()
        with pytest.raises(HubUnreachableError, match=r"\.$"):
            world.replica().sync()
        world.write_group(world.replica())
    heal(world)


def test_a_locked_replica_says_so_and_keeps_its_work(world: World) -> None:
    till = world.replica()
    with closing(locked(till.path, "begin immediate")):
        for use in (till.sync, till.push, till.pull, lambda: world.write_group(till)):
            with pytest.raises(StorageUnavailableError, match=r"locked.*\.$"):
                use()
        assert till.status().pending == 3 + 3 + 1
    heal(world)


def test_a_replica_that_is_locked_for_everybody_says_so(world: World) -> None:
    world.close()
    path = world.folder / "till.db"
    with (
        closing(locked(path, "pragma locking_mode = exclusive", "begin immediate", "commit")),
        pytest.raises(StorageUnavailableError, match=r"locked.*\.$"),
    ):
        world.replica()
    heal(world)


def test_an_error_of_the_hub_is_told_also_when_the_replica_cannot_note_it(world: World) -> None:
    """A sync notes its last error in the file; if that is locked, the first error counts."""
    till = world.replica()
    world.wire.online = False
    taken = []

    def lock(*_: object) -> None:
        taken.append(locked(till.path, "begin immediate"))

    world.wire.observer.sending = lock  # type: ignore[method-assign]
    with pytest.raises(ReuniteError) as caught:
        till.sync()
    taken[0].close()
    assert isinstance(caught.value, HubUnreachableError)


def test_a_parked_change_that_the_file_refuses_stays_parked_and_says_why(world: World) -> None:
    till = world.replica()
    world.write_refused(till)
    till.sync()
    (parked,) = till.parked()
    refuse = "create trigger refuse before insert on sale begin select raise(abort, 'no'); end"
    locked(till.path, refuse).close()
    with pytest.raises(ReuniteError):
        till.retry(parked.id, {"amount": 1})
    assert till.parked() == [parked]
