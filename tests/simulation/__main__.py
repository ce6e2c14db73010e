"""`python -m tests.simulation`: the simulator, with a PostgreSQL server where its hub needs one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from reunite.testing.simulator.__main__ import main as simulate
from tests.postgresql_server import running_server, why_missing

SERVER_VARIABLE = "REUNITE_POSTGRESQL"


def main(arguments: Sequence[str]) -> int:
    """What `python -m reunite.testing.simulator` does with these arguments; the exit code."""
    if "postgresql" not in arguments or os.environ.get(SERVER_VARIABLE):
        return simulate(arguments)
    reason = why_missing()
    if reason is not None:
        print(f"PostgreSQL is not simulated: {reason}", file=sys.stderr)
        return 2
    with running_server() as server:
        os.environ[SERVER_VARIABLE] = server.url()
        return simulate(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
