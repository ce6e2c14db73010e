"""A hub of 200 tables and 50 roles with permissions for all, for browser tests of the matrix.

Speaks as `console_hub.py` does: prints `{"url": …}`, and answers `{"do": "sql", …}`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from reunite import Hub
from reunite.console import console_routes
from reunite.core.grants import TEMPLATES
from reunite.server import ServerThread

TABLES, ROLES = 200, 50
PASSWORD = "correct horse battery"


def fill(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        for n in range(TABLES):
            db.execute(f"create table table_{n:03} (id text primary key not null, name text)")


def people(hub: Hub) -> None:
    directory = hub.directory
    roles = [f"role {n:02}" for n in range(ROLES)]
    for name in (*roles, "console:write"):
        directory.add_role(name)
    directory.add_user("cleo", password=PASSWORD)
    directory.add_member("cleo", "console:write")
    directory.permit_all(
        [
            (role, f"table_{n:03}", "", TEMPLATES["read_only"])
            for role in roles
            for n in range(TABLES)
        ]
    )


def answer(file: Path, command: dict[str, Any]) -> dict[str, Any]:
    with closing(sqlite3.connect(file, timeout=30)) as db, db:
        return {"rows": db.execute(command["sql"], command.get("values", [])).fetchall()}


def main() -> None:
    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "large.db"
        fill(file)
        hub = stack.enter_context(Hub(file))
        hub.track_all()
        people(hub)
        server = stack.enter_context(ServerThread(hub, routes=console_routes))
        print(json.dumps({"url": f"{server.url.rstrip('/')}/console/"}), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(file, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
