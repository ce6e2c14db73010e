"""A hub with a console, and browsers before it, by HTTP alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from reunite import Hub, Replica
from reunite.console import console_routes, one_time_code
from reunite.server import ServerThread
from reunite.testing import FakeClock
from tests.patience import DEADLINE_S

PASSWORD = "correct horse battery"


class Browser:
    """Somebody before the console: cookies, and the header that changes need."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(
            base_url=f"{url}/console/api/", trust_env=False, timeout=DEADLINE_S
        )
        self.headers: dict[str, str] = {}

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {} if body is None else {"json": body}
        return self.client.request(method, path, headers=self.headers | named, **given)

    def do(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.ask(method, path, body, **headers)
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    def begun(self, answer: httpx2.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        if found["csrf"] is not None:
            self.headers = {found["csrf"]["header"]: found["csrf"]["token"]}
        return found


class World:
    """A shop's hub on an SQLite file, with a clock of its own, and its console."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.file = folder / "shop.db"
        with closing(sqlite3.connect(self.file)) as db:
            db.executescript("""
                create table product (id text primary key not null, name text, price integer);
                create table sale (
                    id text primary key not null, product text references product, store integer
                );
                insert into product values ('p1', 'Tea', 3), ('p2', 'Milk', 2);
            """)
        self.clock = FakeClock()
        self.hub = stack.enter_context(Hub(self.file, clock=self.clock))
        self.hub.track("product")
        self.hub.track("sale")
        self.server = stack.enter_context(ServerThread(self.hub, routes=console_routes))

    def write(self, sql: str) -> None:
        with closing(sqlite3.connect(self.file)) as db:
            db.executescript(sql)

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as db:
            return db.execute(sql, parameters).fetchall()

    def replica(self, name: str, **options: Any) -> Replica:
        token = self.hub.create_token(options.pop("user", "ann"))
        return self.stack.enter_context(
            Replica.clone(self.folder / f"{name}.db", self.server.url, token=token, **options)
        )

    def browser(self) -> Browser:
        browser = Browser(self.server.url)
        self.stack.callback(browser.client.close)
        return browser

    def owner(self) -> Browser:
        """Somebody with a printed link."""
        browser = self.browser()
        browser.begun(browser.ask("POST", "session/code", {"code": one_time_code(self.hub)}))
        return browser

    def member(self, name: str, right: str) -> Browser:
        """Somebody who logs in."""
        directory = self.hub.directory
        directory.add_role(right)
        directory.add_user(name, password=PASSWORD)
        directory.add_member(name, right)
        browser = self.browser()
        browser.begun(browser.ask("POST", "session", {"user": name, "password": PASSWORD}))
        return browser


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)
