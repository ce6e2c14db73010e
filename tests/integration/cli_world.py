"""What the tests of the command share: calling it, and a hub with two devices to call it on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from reunite.cli.app import app
from reunite.hub import Hub
from reunite.server import ServerThread
from tests.patience import DEADLINE_S

TABLES = """
    create table airlines (carrier text not null primary key, name text, motto text);
    create table planes (tailnum text not null primary key, seats integer not null
        check (seats > 0), carrier text references airlines (carrier));
    create table notes (id integer primary key, text text not null);
    insert into airlines values ('AA', 'American Airlines Inc.', null), ('UA', 'United', 'Fly');
    insert into planes values ('N10156', 55, 'UA'), ('N102UW', 182, 'AA');
"""


def run(*arguments: object, code: int = 0, typed: str | None = None) -> Result:
    """Run the command in this process; it must end with `code`."""
    result = CliRunner(env={"REUNITE_TOKEN": None}).invoke(
        app, [str(argument) for argument in arguments], input=typed
    )
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def run_json(*arguments: object, code: int = 0) -> Any:
    """The one object that the command prints with --json."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


def run_lines(*arguments: object) -> list[Any]:
    """The objects that the command prints with --json, one a line."""
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


def execute(path: Path, script: str) -> None:
    """Write with SQLite and nothing of reunite."""
    with closing(sqlite3.connect(path, timeout=DEADLINE_S)) as db:
        db.execute("pragma foreign_keys = on")
        db.executescript(script)


def rows(path: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, timeout=DEADLINE_S)) as db:
        return db.execute(question).fetchall()


class World:
    """A hub's file, its hub while it is served, and two replicas of it."""

    def __init__(self, folder: Path) -> None:
        self.hub_file = folder / "hub.db"
        self.laptop = folder / "laptop.db"
        self.tablet = folder / "tablet.db"
        execute(self.hub_file, TABLES)
        self.hub = Hub(self.hub_file)
        self.hub.track_all()
        self.token = self.hub.create_token(label="test")
        self.server = ServerThread(self.hub)
        self.url = self.server.url

    def clone(self) -> None:
        for file in (self.laptop, self.tablet):
            run("clone", self.url, file, "--token", self.token)

    def close(self) -> None:
        self.server.close()
        self.hub.close()
