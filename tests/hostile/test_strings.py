"""SQL, patterns, paths and control characters in every string of every message."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from reunite import Hub
from reunite.server import ServerThread
from tests.hostile.conftest import (
    MALLORY,
    SCHEMA,
    Somebody,
    Town,
    client_of,
    delete,
    insert,
    track,
    update,
)

NASTY = [
    "'", '"', "`", ";", "--", "/*", "\\", "%", "_", "?", ":1", "$1", "%s", "{0}", "${x}", "{{x}}",
    "' or '1'='1", "\" or \"1\"=\"1", "'; drop table task; --", "'); delete from task; --",
    "x' union select hash from reunite_token --", "task\"; drop table task; --", "task;task",
    "1; attach database '/tmp/x' as x", "pg_sleep(10)", "\\'; drop table task; --", "task--",
    "reunite_token", "reunite_change", "sqlite_master", "main.task", "public.task", "TASK", "task ",
    "rowid", "_rowid_", "oid", "ctid", "xmin", "load_extension('x')", "../../etc/passwd", "C:\\x",
    "task/../reunite_token", "\u0000", "task\u0000", "\n", "\r\nX-Header: 1", "\x1b[31m", "\u2028",
    "\ufeffid", "ｔask", "\U0001f4a9", "a" * 5_000, "__class__", "constructor", "null", "true", "0",
]  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are strings, and names of fields that the message chooses."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from leaves(one, (*path, place))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield (*path, "NAME", name)
            yield from leaves(one, (*path, name))


def replaced(message: Any, path: tuple[Any, ...], text: str) -> Any:
    """The message with another string there."""
    other = copy.deepcopy(message)
    inside = other
    is_name = len(path) > 1 and path[-2] == "NAME"
    for step in path[: -2 if is_name else -1]:
        inside = inside[step]
    if is_name:
        inside[text] = inside.pop(path[-1])
    else:
        inside[path[-1]] = text
    return other


def messages(one: Somebody) -> dict[str, Any]:
    """A message of each operation that has strings wherever there may be some."""
    cursor = one.pull_all()[-1].cursor
    terms = [
        {"field": "title", "operator": "exact", "value": "x"},
        {"field": "owner", "operator": "in", "value": ["x", "y"]},
    ]
    where = {"task": {"and": terms}}
    group = [insert("k-1", title="x"), update("k-1", {"title": "x"}, {"title": "y"})]
    return {
        "register": {"protocol": 1, "name": "x", "tables": ["task"], "where": where},
        "push": one.push_message(
            *group, delete("k-1", {"title": "y"}), known_id="x" * 32, lease={"task": 1}
        )
        | {"formers": [{"replica": "x", "n": 1}]},
        "pull": one.pull_message(cursor=cursor, tables=["task"], where=where, known_id=""),
        "repair": {"protocol": 1, "replica": one.replica, "cursor": cursor, "tables": ["task"],
                   "table": "task", "ask": "rows", "keys": [["k-ann"]], "after": ["k"]},
    }  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    where: Any = tmp_path / "town.db"
    if request.param == "sqlite":
        db = sqlite3.connect(where)
        db.executescript(SCHEMA)
        db.close()
    else:
        where = request.getfixturevalue("postgresql")
        with psycopg.connect(where, autocommit=True) as server:
            server.execute(SCHEMA.replace("blob", "bytea"))  # type: ignore[arg-type]
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(where))
        track(hub)
        server_thread = stack.enter_context(ServerThread(hub))
        yield Town(
            hub,
            server_thread,
            lambda token: stack.enter_context(client_of(server_thread.url, token)),
        )


def still_there(town: Town) -> list[Any]:
    """What is at the hub, as one who may see it all of acme's is told; and that its log works."""
    ann = town.somebody(MALLORY)
    found = ann.get("v1/query/task").json()["rows"]
    assert town.hub.status().tables == ("task", "team")
    return [shown for shown in found if shown[0] == "k-ann"]


@pytest.mark.parametrize("operation", ["register", "push", "pull", "repair"])
def test_strings_are_values_wherever_they_stand(town: Town, operation: str) -> None:
    before = still_there(town)
    mallory = town.somebody(MALLORY)
    mallory.sends_sql = True
    message = messages(mallory)[operation]
    statuses = set()
    places = list(leaves(message))
    assert len(places) > 5
    for number, path in enumerate(places):
        # All nasty strings at every place would take minutes; each place meets a fifth of them.
        for text in NASTY[number % 5 :: 5]:
            told = mallory.send(operation, replaced(message, path, text))
            statuses.add(told.status_code)
            assert told.status_code in (200, 400, 404, 409, 413, 422), (path, text, told.text)
    assert 400 in statuses
    assert still_there(town) == before


def test_strings_in_urls_are_values_too(town: Town) -> None:
    before = still_there(town)
    mallory = town.somebody(MALLORY)
    mallory.sends_sql = True
    for text in NASTY:
        if "\x00" not in text:
            told = mallory.get(f"v1/query/{quote(text, safe='')}")
            assert told.status_code in (200, 404), (text, told.text)
        wheres: list[Any] = [
            {"id": text},
            {text: "x"},
            {"title": [text]},
            {"title": {text: 1}},
            text,
        ]
        for where in wheres:
            told = mallory.get("v1/query/task", params={"where": json.dumps(where)})
            assert told.status_code in (200, 400, 409), (where, told.text)
        for parameter in ("after", "limit", "where", "order", text):
            told = mallory.get("v1/query/task", params={parameter: text})
            assert told.status_code in (200, 400), (parameter, text, told.text)
        told = mallory.get("v1/query/task", params={"after": json.dumps([text])})
        assert told.status_code in (200, 400, 409)
        stream = {"protocol": "1", "replica": text, "tables": json.dumps([text])}
        told = mallory.get("v1/live", params=stream, headers={"Last-Event-ID": "W10"})
        assert told.status_code in (400, 404, 409)
    assert still_there(town) == before


def test_strings_that_are_stored_come_back_as_they_were(town: Town) -> None:
    mallory = town.somebody(MALLORY)
    mallory.sends_sql = True
    for number, text in enumerate(NASTY):
        outcomes = mallory.push(insert(f"k-{number}", title=text))
        if outcomes:
            assert outcomes[0]["code"] in ("bad-value", "check"), (text, outcomes)
            continue
        where = json.dumps({"id": f"k-{number}"})
        (found,) = mallory.get("v1/query/task", params={"where": where}).json()["rows"]
        assert found[4] == text
