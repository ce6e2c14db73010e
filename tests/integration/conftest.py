"""Fixtures of the tests of the command: a hub with two devices, before and after they quarrel; and
poolers in front of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli_world import World, execute, run
from tests.integration.pooler import Pooler


@pytest.fixture(params=["a stand-in", "PgBouncer"])
def pooled(request: pytest.FixtureRequest, postgresql: str) -> Iterator[str]:
    """The URL of the test's database through a pooler in transaction mode."""
    if request.param == "PgBouncer":
        through: Callable[[str], str] = request.getfixturevalue("pgbouncer_of")
        yield through(postgresql)
    else:
        with Pooler(postgresql) as pooler:
            yield pooler.url


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def cloned(world: World) -> World:
    world.clone()
    return world


@pytest.fixture
def in_conflict(cloned: World) -> World:
    """Both devices renamed an airline; the tablet came second."""
    execute(cloned.laptop, "update airlines set name = 'Laptop Air' where carrier = 'AA'")
    execute(cloned.tablet, "update airlines set name = 'Tablet Air' where carrier = 'AA'")
    run("sync", cloned.laptop)
    run("sync", cloned.tablet)
    return cloned


@pytest.fixture
def parked(cloned: World) -> World:
    """The hub rejected a plane of an airline that was deleted meanwhile."""
    execute(cloned.laptop, "insert into planes values ('N1', 4, 'AA')")
    execute(cloned.hub_file, "delete from planes; delete from airlines where carrier = 'AA'")
    run("sync", cloned.laptop)
    return cloned
