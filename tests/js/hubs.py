"""Hubs for the tests of the browser client: one process, with as many hubs as the tests ask for.

Each line on stdin is a command, answered by a line on stdout; the end of stdin ends all of them.
`hub` is the file of the one that is meant.

    {"do": "open", "hub": …, "tables": SQL, "track": {table: options}, "rules": {table: Python}}
        makes the tables and serves them; answers {"url", "token"}
    {"do": "stop", "hub": …}, {"do": "start", "hub": …}     a hub that is down and comes back
    {"do": "close", "hub": …}
    {"do": "sql", "hub": …, "sql": …, "values": […]}        a statement of another program
    {"do": "token", "hub": …, "principal": …}
    {"do": "migrate", "hub": …, "sql": …}                   a script while capture is off
    {"do": "clone", "hub": …, "replica": …}                 a Python replica of the hub
    {"do": "run", "hub": …, "replica": …, "sql": …, "values": […]}, {"do": "sync", …}
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from reunite import Hub, Replica, Rules, row, user
from reunite.server.embedding import ServerThread

NAMES = {"Rules": Rules, "row": row, "user": user}


class Served:
    """One hub over a file, and the server in front of it."""

    def __init__(self, file: str, command: dict[str, Any]) -> None:
        self.file = file
        self.options = command
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(command["tables"])
        self.port = 0
        self.replicas: dict[str, Replica] = {}
        self.start()

    def start(self) -> None:
        self.hub = Hub(self.file)
        rules = self.options.get("rules", {})
        for table, options in self.options["track"].items():
            known = dict(options)
            if table in rules:
                known["rules"] = eval(rules[table], NAMES)  # the test's own words
            self.hub.track(table, **known)
        self.server = ServerThread(self.hub, port=self.port)
        self.port = int(self.server.url.rsplit(":", 1)[1].strip("/"))

    def stop(self) -> None:
        self.server.close()
        self.hub.close()

    def close(self) -> None:
        for replica in self.replicas.values():
            replica.close()
        self.stop()

    def clone(self, name: str) -> None:
        file = Path(self.file).with_name(f"{name}.db")
        token = self.hub.create_token("owner")
        self.replicas[name] = Replica.clone(file, url=self.server.url, token=token)

    def run(self, name: str, statement: str, values: list[Any]) -> list[Any]:
        with self.replicas[name].transaction() as connection:
            return connection.execute(statement, values).fetchall()

    def execute(self, statement: str, values: list[Any]) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            connection.execute("pragma foreign_keys = on")
            rows = connection.execute(statement, values).fetchall()
        self.hub.number()
        return rows

    def migrate(self, script: str) -> None:
        with self.hub.migrating(), closing(sqlite3.connect(self.file, timeout=30)) as connection:
            connection.executescript(script)


SERVED: dict[str, Served] = {}


def answer(command: dict[str, Any]) -> dict[str, Any]:
    file = command["hub"]
    match command["do"]:
        case "open":
            SERVED[file] = served = Served(file, command)
            return {"url": served.server.url, "token": served.hub.create_token("owner")}
        case "close":
            SERVED.pop(file).close()
        case "stop":
            SERVED[file].stop()
        case "start":
            SERVED[file].start()
        case "sql":
            return {"rows": SERVED[file].execute(command["sql"], command["values"])}
        case "token":
            return {"token": SERVED[file].hub.create_token(command["principal"])}
        case "clone":
            SERVED[file].clone(command["replica"])
        case "run":
            found = SERVED[file].run(command["replica"], command["sql"], command["values"])
            return {"rows": [list(values) for values in found]}
        case "sync":
            SERVED[file].replicas[command["replica"]].sync()
        case "migrate":
            SERVED[file].migrate(command["sql"])
    return {}


def main() -> None:
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as exc:
            found = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(found), flush=True)
    for served in SERVED.values():
        served.close()


main()
