"""What all tests share: how thoroughly hypothesis searches, and a PostgreSQL server.

`HYPOTHESIS_PROFILE=thorough make test` looks much longer. CI draws the same examples every time, so
that a red run is about the change; fresh examples are for people and for the simulator.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql_server import PostgresServer, running_server, why_missing

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "thorough",
    deadline=None,
    max_examples=2_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev")
)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started when the first test needs one."""
    reason = why_missing()
    if reason is not None:
        pytest.skip(f"PostgreSQL is not tested: {reason}")
    with running_server() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    url = postgresql_server.new_database()
    yield url
    postgresql_server.drop_database(url)
