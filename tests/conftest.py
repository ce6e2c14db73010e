"""What all tests share: how thoroughly hypothesis searches, and a PostgreSQL server. With
REUNITE_POOLER=pgbouncer, every test that uses it reaches it through PgBouncer.

By default, and so in `make check`, the same examples are drawn every time, and no example has to be
done in time: a red run is about the change. `HYPOTHESIS_PROFILE=fresh` draws others, `thorough`
others and many more; a counterexample it finds is kept in `.hypothesis/` and told with a seed.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import pgbouncer
from tests.postgresql_server import PostgresServer, running_server, why_missing

settings.register_profile("same", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("fresh", deadline=None, derandomize=False, print_blob=True)
settings.register_profile(
    "thorough",
    deadline=None,
    derandomize=False,
    print_blob=True,
    max_examples=2_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "same")


# What a shell starts in the background ignores Ctrl-C, and so does all that it starts in turn.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started when the first test needs one."""
    reason = why_missing()
    if reason is not None:
        pytest.skip(f"PostgreSQL is not tested: {reason}")
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer_of(postgresql_server: PostgresServer) -> Iterator[Callable[[str], str]]:
    """What makes of a database's URL the one through PgBouncer."""
    reason = pgbouncer.why_missing()
    if reason is not None:
        pytest.skip(f"PgBouncer is not tested: {reason}")
    with pgbouncer.running_pgbouncer(postgresql_server.url()) as pooled:
        yield lambda url: pooled.rpartition("/")[0] + "/" + url.rpartition("/")[2]


@pytest.fixture
def postgresql(postgresql_server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    url = postgresql_server.new_database()
    if os.environ.get("REUNITE_POOLER") == "pgbouncer":
        yield request.getfixturevalue("pgbouncer_of")(url)
    else:
        yield url
    postgresql_server.drop_database(url)
