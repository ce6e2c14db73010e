"""Which paths answer somebody who is nobody: walked from the routes themselves."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
from starlette.routing import Route

from reunite import Hub
from reunite.console import console_routes
from reunite.server import ServerThread
from reunite.server.app import create_app
from tests.docs.files import ROOT
from tests.patience import DEADLINE_S

# There is nothing at these: whoever asks is told so.
NOTHING = {404}
UNKNOWN = {401}


def test_the_paths_that_need_no_token_are_these_and_no_others(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        db.execute("create table product (id text primary key not null, name text)")
    with Hub(tmp_path / "shop.db") as hub:
        hub.track("product")
        routes = create_app(hub, metrics=True, routes=console_routes).routes
        asked = [
            (method, route.path)
            for route in routes
            if isinstance(route, Route)
            for method in (route.methods or {"GET"}) - {"HEAD"}
        ]
        assert len(asked) > 60
        with (
            ServerThread(hub, metrics=True, routes=console_routes) as server,
            httpx2.Client(base_url=server.url, trust_env=False, timeout=DEADLINE_S) as client,
        ):
            found = {
                path.replace(":path}", "}").removeprefix("/")
                for method, path in asked
                if _answers(client, method, path)
            }
    assert found == _listed()


def _answers(client: httpx2.Client, method: str, path: str) -> bool:
    """Whether there is an answer to somebody without a token."""
    url = re.sub(r"\{\w+(:path)?\}", "reunite.js" if path.startswith("/client/") else "x", path)
    body: dict[str, Any] = {} if method == "GET" else {"json": {}}
    status = client.request(method, url, **body).status_code
    assert status < 500, (method, path)
    if path.startswith("/client/"):
        return True  # a file of the browser client, or none
    return status not in UNKNOWN | NOTHING


def _listed() -> set[str]:
    """The paths that SECURITY.md names."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    (promise,) = re.findall(r"^- \*\*Few paths need no token:\*\*.*$", text, re.MULTILINE)
    return {name for name in re.findall(r"`([^`]+)`", promise) if not name.startswith("test_")}
