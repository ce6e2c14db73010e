"""Where the console is: under a mount point, and behind WSGI; and how its API is described."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from reunite import Hub, Principal
from reunite.console import one_time_code
from reunite.console.describing import openapi
from reunite.console.operations import OPERATIONS
from reunite.hub import with_console
from reunite.server import ServerThread


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        db.execute("create table product (id text primary key not null, name text)")
    with Hub(tmp_path / "shop.db") as hub:
        hub.track("product")
        yield hub


def test_under_a_mount_point_the_page_and_its_cookie_are_of_that_path(hub: Hub) -> None:
    def mounted(app: Any) -> Any:
        return Starlette(routes=[Mount("/sync", app)])

    with ServerThread(hub, around=mounted, **with_console({})) as server:
        url = f"{server.url}/sync/console"
        page = httpx2.get(f"{url}/deep/down", trust_env=False)
        assert '<base href="/sync/console/">' in page.text
        code = {"code": one_time_code(hub)}
        begun = httpx2.post(f"{url}/api/session/code", json=code, trust_env=False)
        assert begun.status_code == 200
        assert "Path=/sync/console/" in begun.headers["set-cookie"]
        assert begun.json()["hub"]["url"] == f"{server.url}/sync/"
        assert begun.json()["streams"] is True


def test_behind_wsgi_there_are_no_streams_and_all_else_is_there(hub: Hub) -> None:
    token = hub.create_token(Principal(user="robot", roles=("console:read",)))
    app = hub.wsgi(console=True)

    def ask(path: str) -> tuple[str, bytes]:
        begun: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "/sync",
            "PATH_INFO": path,
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "HTTP_HOST": "shop.example",
            "wsgi.input": io.BytesIO(),
            "wsgi.url_scheme": "http",
        }
        body = b"".join(app(environ, lambda status, headers: begun.append(status)))
        return begun[0], body

    assert b'<base href="/sync/console/">' in ask("/console/")[1]
    session = json.loads(ask("/console/api/session")[1])
    assert (session["user"], session["streams"], session["csrf"]) == ("robot", False, None)
    assert json.loads(ask("/console/api/pulse")[1])["topics"]["commits"] == "0"
    assert ask("/console/api/events")[0].startswith("404")
    assert json.loads(ask("/console/api/overview")[1])["tables"]["tracked"] == 1


def test_a_hub_without_a_console_has_nothing_there(hub: Hub) -> None:
    with ServerThread(hub) as server:
        assert httpx2.get(f"{server.url}/console/", trust_env=False).status_code == 404


def test_the_description_has_every_operation_with_its_role(hub: Hub) -> None:
    described = openapi()
    for (method, path), one in OPERATIONS.items():
        found = described["paths"]["/" + path.replace(":path}", "}")][method.lower()]
        assert one.right in found["description"]
    assert json.dumps(described), "it is JSON"
    names = [
        found["operationId"] for path in described["paths"].values() for found in path.values()
    ]
    assert len(names) == len(set(names))
