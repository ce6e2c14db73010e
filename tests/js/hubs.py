"""Hubs for the tests of the browser client: one process, with as many hubs as the tests ask for.

Each line on stdin is a command, answered by a line on stdout; the end of stdin ends all of them.
`hub` is the file of the one that is meant.

    {"do": "open", "hub": …, "tables": SQL, "track": {table: options}, "rules": {table: Python}}
        makes the tables and serves them; answers {"url", "token"}
        with "sealed": {option: value} it stands behind a sealed door, and the token is the door's
    {"do": "stop", "hub": …}, {"do": "start", "hub": …}     a hub that is down and comes back
    {"do": "close", "hub": …}
    {"do": "sql", "hub": …, "sql": …, "values": […]}        a statement of another program
    {"do": "token", "hub": …, "principal": …}
    {"do": "end", "hub": …, "token": …}                     a token that is good no longer
    {"do": "migrate", "hub": …, "sql": …}                   a script while capture is off
    {"do": "clone", "hub": …, "replica": …}                 a Python replica of the hub
        with "seed": number its wire loses requests and answers by chance; {"do": "heal", "hub": …,
        "replica": …} mends the wire, and {"do": "crash", …} opens the file anew
    {"do": "pass", "hub": …, "seconds": …}                  time passes for a sealed door
    {"do": "rotate", "hub": …}, {"do": "revoke", "hub": …, "token": …}
    {"do": "run", "hub": …, "replica": …, "sql": …, "values": […]}, {"do": "sync", …}
"""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import uvicorn

from reunite import Hub, HubUnreachableError, Principal, Replica, Rules, row, user
from reunite.replica.http import HttpTransport
from reunite.replica.transport import Transport
from reunite.server.embedding import ServerThread, listen
from reunite.server.sealed import DoorKeys, SealedDoor

# A door that is closed while streams are open says so at length.
logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

NAMES = {"Rules": Rules, "row": row, "user": user}


class BadWire:
    """A replica's way to a hub that loses one request in ten and one answer in ten, while it is
    bad."""

    is_remote = True

    def __init__(self, transport: Transport, seed: int) -> None:
        self._transport = transport
        self._dice = random.Random(seed)
        self.is_bad = False

    def call(self, operation: str, body: bytes) -> bytes:
        fate = self._dice.randrange(10) if self.is_bad else None
        if fate == 0:
            raise HubUnreachableError("The request was lost.")
        answer = self._transport.call(operation, body)
        if fate == 1:
            raise HubUnreachableError("The answer was lost.")
        return answer

    def close(self) -> None:
        """The wire outlives the replica: another one goes on with it."""

    def end(self) -> None:
        self._transport.close()


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
        self.wires: dict[str, BadWire] = {}
        self.labels: dict[str, str] = {}
        self.server: ServerThread | House
        self.start()

    def start(self) -> None:
        self.hub = Hub(self.file)
        rules = self.options.get("rules", {})
        for table, options in self.options["track"].items():
            known = dict(options)
            if table in rules:
                known["rules"] = eval(rules[table], NAMES)  # the test's own words
            self.hub.track(table, **known)
        sealed = self.options.get("sealed")
        if sealed is None:
            self.server = ServerThread(self.hub, port=self.port)
            self.url, self.token = self.server.url, self.hub.create_token("owner")
            self.port = int(self.server.url.rsplit(":", 1)[1].strip("/"))
        else:
            self.server = self.house = House(self, self.port, sealed)
            self.url, self.token = self.house.url, self.house.keys.token()
            self.port = self.house.port

    def stop(self) -> None:
        self.server.close()
        self.hub.close()

    def close(self) -> None:
        for replica in self.replicas.values():
            replica.close()
        for wire in self.wires.values():
            wire.end()
        self.stop()

    def clone(self, name: str, seed: int | None) -> None:
        token = self.hub.create_token("owner")
        if seed is None:
            file = self.file_of(name)
            self.replicas[name] = Replica.clone(file, url=self.server.url, token=token)
            return
        wire = self.wires[name] = BadWire(HttpTransport(self.server.url, token=token), seed)
        self.replicas[name] = Replica.clone(self.file_of(name), transport=wire)
        wire.is_bad = True

    def crash(self, name: str) -> None:
        self.replicas[name].close()
        self.replicas[name] = Replica(self.file_of(name), transport=self.wires[name])

    def sync(self, name: str) -> None:
        is_bad = name in self.wires and self.wires[name].is_bad
        with suppress(*((HubUnreachableError,) if is_bad else ())):
            self.replicas[name].sync()

    def file_of(self, name: str) -> Path:
        return Path(self.file).with_name(f"{name}.db")

    def run(self, name: str, statement: str, values: list[Any]) -> list[Any]:
        with self.replicas[name].transaction() as connection:
            return connection.execute(statement, values).fetchall()

    def token_for(self, principal: str) -> str:
        label = f"token {len(self.labels)}"
        token = self.hub.create_token(principal, label=label)
        self.labels[token] = label
        return token

    def execute(self, statement: str, values: list[Any]) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            connection.execute("pragma foreign_keys = on")
            rows = connection.execute(statement, values).fetchall()
        self.hub.number()
        return rows

    def migrate(self, script: str) -> None:
        with self.hub.migrating(), closing(sqlite3.connect(self.file, timeout=30)) as connection:
            connection.executescript(script)


class House:
    """A hub behind a sealed door, with a clock of its own."""

    def __init__(self, served: Served, port: int, options: dict[str, Any]) -> None:
        self.now_s = time.time()
        self.keys = DoorKeys(Path(served.file).parent / "keys", clock=lambda: self.now_s)
        inner = served.hub.asgi(authenticate=lambda _: Principal(user="owner"))
        self.door = SealedDoor(inner, self.keys, clock=lambda: self.now_s, **options)
        self.listener = listen("127.0.0.1", port)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/sync/001"
        # Streams do not end by themselves.
        config = uvicorn.Config(self.door, log_config=None, timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        run = self.server.run
        self.thread = threading.Thread(target=run, args=([self.listener],), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()


SERVED: dict[str, Served] = {}


def answer(command: dict[str, Any]) -> dict[str, Any]:
    file = command["hub"]
    match command["do"]:
        case "open":
            SERVED[file] = served = Served(file, command)
            return {"url": served.url, "token": served.token}
        case "close":
            SERVED.pop(file).close()
        case "stop":
            SERVED[file].stop()
        case "start":
            SERVED[file].start()
        case "sql":
            return {"rows": SERVED[file].execute(command["sql"], command["values"])}
        case "token":
            return {"token": SERVED[file].token_for(command["principal"])}
        case "end":
            SERVED[file].hub.revoke_token(SERVED[file].labels[command["token"]])
        case "clone":
            SERVED[file].clone(command["replica"], command.get("seed"))
        case "heal":
            SERVED[file].wires[command["replica"]].is_bad = False
        case "crash":
            SERVED[file].crash(command["replica"])
        case "pass":
            SERVED[file].house.now_s += command["seconds"]
        case "rotate":
            return {"token": SERVED[file].house.keys.rotate()}
        case "revoke":
            SERVED[file].house.door.revoke(command["token"])
        case "run":
            found = SERVED[file].run(command["replica"], command["sql"], command["values"])
            return {"rows": [list(values) for values in found]}
        case "sync":
            SERVED[file].sync(command["replica"])
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
