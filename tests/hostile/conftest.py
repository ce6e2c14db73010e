"""A hub of two tenants behind its real server, and somebody who means it harm.

    acme       ann, who owns its tasks; mallory, who has a token and nothing else
    umbrella   bea; everything of hers holds SECRET, which no answer to mallory may

Whatever is sent, every answer is looked at: it is a hub's, it is no failure of the hub, and it
holds nothing internal and nothing of others.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from reunite import Hub, Principal, Rules, row, user
from reunite.protocol.codec import decode
from reunite.protocol.pull import Page
from reunite.protocol.routes import PROBLEM_TYPE, PROTOCOL_HEADER
from reunite.server import ServerThread
from tests.integration.http_helpers import JSON, client_of

SECRET = "umbrella-canary"
STAMP = "0190163d8694-0000-r"

ANN = Principal(user="ann", tenant="acme")
BEA = Principal(user="bea", tenant="umbrella")
MALLORY = Principal(user="mallory", tenant="acme")

SCHEMA = f"""
create table team (id text primary key not null, organization text, name text unique);
create table task (
    id text primary key not null, organization text, owner text,
    team_id text references team (id), title text, size integer, extra json, photo blob
);
insert into team values ('t-acme', 'acme', 'Acme'), ('t-umbrella', 'umbrella', '{SECRET} team');
insert into task values
    ('k-ann', 'acme', 'ann', 't-acme', 'Paint', 1, null, null),
    ('k-bea', 'umbrella', 'bea', 't-umbrella', '{SECRET} title', 2, '["{SECRET}"]', null);
"""

COLUMNS = ("id", "organization", "owner", "team_id", "title", "size", "extra", "photo")

# What would tell of the hub's insides: its language and files, its statements and tables. The
# second may be in an answer that repeats what was sent.
_CODE = re.compile(
    r"Traceback|\.py\b|site-packages|sqlite3?\.|psycopg|near \"|syntax error|0x[0-9a-f]{8}",
    re.IGNORECASE,
)
_SQL = re.compile(
    r"reunite_[a-z]+|\b(?:select|insert into|update) .+ (?:from|values|set) ", re.IGNORECASE
)


def watch(
    response: httpx2.Response, *, secrets: bool = True, sent_sql: bool = False
) -> httpx2.Response:
    """Fail if an answer is not what any answer must be."""
    text = response.text
    assert response.status_code < 500, text
    assert PROTOCOL_HEADER in response.headers
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"].startswith("no-store")
    if response.status_code >= 400:
        assert response.headers["content-type"] == PROBLEM_TYPE
        assert not _CODE.search(text), text
        assert sent_sql or not _SQL.search(text), text
    if secrets:
        assert SECRET not in text, text
    return response


class Somebody:
    """A client that says what it wants, message by message."""

    def __init__(self, client: httpx2.Client, *, secrets: bool = True) -> None:
        self.client = client
        self._secrets = secrets
        self.sends_sql = False
        self.replica = ""
        self.epoch = ""
        self._next_n = 1

    def send(self, operation: str, message: dict[str, Any] | bytes) -> httpx2.Response:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self._watch(self.client.post(f"v1/{operation}", content=body, headers=JSON))

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self._watch(self.client.get(path, **options))

    def _watch(self, response: httpx2.Response) -> httpx2.Response:
        return watch(response, secrets=self._secrets, sent_sql=self.sends_sql)

    def register(self, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.send(
            "register", {"protocol": 1, "name": "device"} | fields
        ).json()
        self.replica, self.epoch = answer["replica"], answer["epoch"]
        self._next_n = 1
        return answer

    def push_message(self, *runs: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """A push in which each run is a group."""
        return {
            "protocol": 1,
            "epoch": self.epoch,
            "replica": self.replica,
            "known": 0,
            "first_n": self._next_n,
            "schemas": {"team": 1, "task": 1},
            "groups": [{"runs": [run]} for run in runs],
        } | fields

    def push(self, *runs: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """Send each run as a group; what did not simply take effect."""
        response = self.send("push", self.push_message(*runs, **fields))
        assert response.status_code == 200, response.text
        answer = response.json()
        self._next_n = answer["last_n"] + 1
        outcomes: list[dict[str, Any]] = answer["outcomes"]
        return outcomes

    def codes(self, *runs: dict[str, Any], **fields: Any) -> list[str]:
        """How the changes of these runs were refused."""
        return [outcome.get("code", outcome["kind"]) for outcome in self.push(*runs, **fields)]

    def pull_message(self, **fields: Any) -> dict[str, Any]:
        return {"protocol": 1, "replica": self.replica, "known": 0} | fields

    def pull(self, **fields: Any) -> httpx2.Response:
        return self.send("pull", self.pull_message(**fields))

    def pull_all(self, **fields: Any) -> list[Page]:
        """The pages up to a checkpoint."""
        pages: list[Page] = []
        while not (pages and pages[-1].checkpoint):
            response = self.pull(**fields | ({"cursor": pages[-1].cursor} if pages else {}))
            assert response.status_code == 200, response.text
            pages.append(decode(response.content, Page))
            assert len(pages) < 50
        return pages


_ids = itertools.count(1)


def change_id() -> str:
    """A fresh one."""
    return f"0190163d8694{next(_ids):020x}"


def insert(key: str, **values: Any) -> dict[str, Any]:
    """A run that inserts one task."""
    shown = {"id": key, "organization": None, "owner": "mallory"} | values
    return {
        "table": "task",
        "op": "insert",
        "columns": COLUMNS,
        "mark": 0,
        "covered": 2**40,
        "stamps": [STAMP],
        "ids": [change_id()],
        "set": [[shown.get(name) for name in COLUMNS]],
    }


def update(key: str, was: dict[str, Any], now: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A run that updates one task."""
    return {
        "table": "task",
        "op": "update",
        "columns": list(now),
        "mark": 0,
        "covered": 2**40,
        "stamps": [STAMP],
        "ids": [change_id()],
        "keys": [[key]],
        "set": [list(now.values())],
        "was": [[was[name] for name in now]],
    } | fields


def delete(key: str, was: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A run that deletes one task."""
    return {
        "table": "task",
        "op": "delete",
        "columns": list(was),
        "mark": 0,
        "covered": 2**40,
        "stamps": [STAMP],
        "ids": [change_id()],
        "keys": [[key]],
        "was": [list(was.values())],
    } | fields


class Town:
    """The hub, its server, and those who come to it."""

    def __init__(self, hub: Hub, server: ServerThread, open_client: Callable[[str], Any]) -> None:
        self.hub = hub
        self.server = server
        self._open_client = open_client

    def somebody(self, principal: Principal, *, secrets: bool = True) -> Somebody:
        """A client with a token and a replica of this principal."""
        one = Somebody(self._open_client(self.hub.create_token(principal)), secrets=secrets)
        one.register()
        return one

    def with_token(self, token: str) -> httpx2.Client:
        """A client that sends this as its token."""
        client: httpx2.Client = self._open_client(token)
        return client


def track(hub: Hub) -> None:
    """Both tables, each tenant's apart; tasks are written by who owns them."""
    mine = row.owner == user.id
    hub.track("team", tenant="organization", rules=Rules(read=True))
    hub.track(
        "task",
        tenant="organization",
        rules=Rules(read=True, insert=mine, update=mine, delete=mine),
    )


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "town.db"
    db = sqlite3.connect(path)
    db.executescript(SCHEMA)
    db.close()
    return path


@contextmanager
def town_at(database: Path, **options: Any) -> Iterator[Town]:
    """The town over this database; `options` are those of the server."""
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(database))
        track(hub)
        server = stack.enter_context(ServerThread(hub, **options))
        yield Town(hub, server, lambda token: stack.enter_context(client_of(server.url, token)))


@pytest.fixture
def town(database: Path) -> Iterator[Town]:
    with town_at(database) as town:
        yield town


@pytest.fixture
def mallory(town: Town) -> Somebody:
    return town.somebody(MALLORY)


def rows_of(database: Path, table: str = "task") -> list[tuple[Any, ...]]:
    """What the table holds."""
    db = sqlite3.connect(database)
    try:
        return db.execute(f"select * from {table} order by id").fetchall()
    finally:
        db.close()
