"""A hub with a console and a life behind it, for the tests of the console in a browser.

Real flights, tasks around them, people with roles, and two devices. Prints `{"url": …}`; then each
line on stdin is a command, answered by a line on stdout, and the end of stdin ends it.

    {"do": "link"}                                      a link that opens the console once
    {"do": "sql", "sql": …, "values": […]}              a statement of the backend's own; its rows
    {"do": "run", "replica": name, "sql": …, …}         a statement on a device
    {"do": "sync", "replica": name}
    {"do": "leave", "user": name}                       their log-ins and sessions end
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples/web"))

from data import build  # noqa: E402  (the examples are programs, not a package)

from reunite import Hub, Principal, Replica, row  # noqa: E402
from reunite.cli.console import console_link  # noqa: E402
from reunite.console import console_routes  # noqa: E402
from reunite.server import ServerThread  # noqa: E402

PASSWORD = "correct horse battery"

# Somebody once typed this wherever a text fits.
HOSTILE = """<img src=x onerror="window.harmed=1">'"</script><script>window.harmed=1</script>"""


class Stage:
    """The hub, its server and its devices."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack, self.file = folder, stack, folder / "flights.db"
        build(self.file)
        self.sql("update task set owner = ? where id = 'task-4'", HOSTILE)
        self.sql('create table "<b>odd</b>" (id text primary key not null, "<i>x</i>" text)')
        self.sql('insert into "<b>odd</b>" values (?, ?)', HOSTILE, HOSTILE)
        self.hub = stack.enter_context(Hub(self.file))
        self.hub.track("task", merge={"note": "ask", "flight_id": "ask"})
        for table in ("airline", "flight", "product", "purchase", "<b>odd</b>"):
            self.hub.track(table)
        self.people()
        self.server = stack.enter_context(ServerThread(self.hub, routes=console_routes))
        self.devices = {name: self.device(name, user) for name, user in DEVICES.items()}
        self.history()
        self.hub.every(seconds=3600, name="hourly report")(lambda: None)

    def people(self) -> None:
        directory = self.hub.directory
        directory.add_groups()
        directory.add_role("console:write")
        directory.add_role("console:read")
        directory.add_tenant("newark", title="Newark Liberty")
        for name, role in PEOPLE.items():
            directory.add_user(name, password=PASSWORD)
            directory.add_member(name, role)
        directory.add_user("<b>eve</b>", claims={"note": HOSTILE})
        for table in ("airline", "flight", "task", "product", "purchase", "<b>odd</b>"):
            directory.permit("Administrators", table)
        for table in ("airline", "flight", "task"):
            directory.permit("Users", table)
        directory.permit("Analysts", "flight")
        directory.permit("Managers", "task", tenant="newark")
        directory.add_filter("Users", "flight", "no-united", row.carrier != "UA")

    def device(self, name: str, user: str) -> Replica:
        token = self.hub.create_token(Principal(user=user, roles=(PEOPLE[user],)))
        path = self.folder / f"{name}.db"
        return self.stack.enter_context(Replica.clone(path, self.server.url, token=token))

    def history(self) -> None:
        """Edits that meet, and one that is refused."""
        for name, note in (("till", "Eight tonnes"), ("tablet", "Nine tonnes")):
            self.run(name, "update task set note = ? where id = 'task-0'", note)
        self.run("till", "update task set lane = 'Done' where id = 'task-2'")
        self.run("tablet", "insert into task (id, title) values ('task-9', ?)", HOSTILE)
        self.run("tablet", "delete from task where id = 'task-3'")
        for name in self.devices:
            self.devices[name].sync()
        self.sql("update flight set delay = 12 where id = (select min(id) from flight)")

    def sql(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=30)) as db, db:
            return db.execute(sql, values).fetchall()

    def run(self, name: str, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.folder / f"{name}.db", timeout=30)) as db, db:
            return db.execute(sql, values).fetchall()

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        values = command.get("values", [])
        match command["do"]:
            case "link":
                return {"link": console_link(self.hub, self.server.url)}
            case "sql":
                rows = self.sql(command["sql"], *values)
                self.hub.number()
                return {"rows": rows}
            case "run":
                return {"rows": self.run(command["replica"], command["sql"], *values)}
            case "sync":
                self.devices[command["replica"]].sync()
                return {}
            case "leave":
                self.hub.directory.set_user_active(command["user"], False)
                return {}
        raise ValueError(f"nobody can {command['do']}")


DEVICES = {"till": "ada", "tablet": "ben"}
PEOPLE = {
    "ada": "Administrators",
    "ben": "Users",
    "cleo": "console:write",
    "dora": "console:write",
    "rita": "console:read",
}


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(folder, stack)
        print(json.dumps({"url": f"{stage.server.url.rstrip('/')}/console/"}), flush=True)
        for line in sys.stdin:
            try:
                answer = stage.do(json.loads(line))
            except Exception as error:  # the test says what it expected
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
