"""`reunite serve --limit`: a server's limits, by name."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from reunite.protocol.limits import LOGIN_RATE_MAX
from tests.integration.cli_world import TABLES, execute, run
from tests.integration.http_helpers import JSON, client_of
from tests.integration.processes import ServeProcess


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    execute(path, TABLES)
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_is_what_serve_was_told(file: Path, workers: int) -> None:
    options = ("--limit", "body_bytes_max=100", "--limit", "PRINCIPAL_RATE_MAX=1000")
    with (
        ServeProcess(file, "--workers", str(workers), *options) as served,
        client_of(served.url, served.token) as client,
    ):
        answer = client.post("v1/register", content=b" " * 101, headers=JSON)
        assert (answer.status_code, answer.json()["limit"]) == (413, "BODY_BYTES_MAX")


@pytest.mark.parametrize(
    "text", ["speed=1", "requests_max", "requests_max=0", "requests_max=-1", "requests_max=many"]
)
def test_what_is_no_limit_is_refused(file: Path, text: str) -> None:
    told = run("serve", file, "--limit", text, code=2).stderr
    assert "requests_max" in told


@pytest.mark.parametrize("workers", [1, 2])
def test_a_proxy_that_serve_was_told_says_where_attempts_come_from(
    file: Path, workers: int
) -> None:
    def guess(client: httpx2.Client, number: int) -> int:
        message = {"protocol": 1, "user": f"u{number}", "password": "guess"}
        sender = {"X-Forwarded-For": f"203.0.{number}.1"}
        return client.post("v1/token", json=message, headers=sender).status_code

    options = ("--workers", str(workers), "--proxy", "127.0.0.1", "--proxy", "10.0.0.0/8")
    with ServeProcess(file, *options) as served, client_of(served.url, None) as client:
        # So many that each worker would have had enough of one address.
        assert {guess(client, n) for n in range(workers * LOGIN_RATE_MAX + 1)} == {401}
    for none in ("shop.example", "0.0.0.0/0", "::/0"):
        assert "no address of a proxy" in run("serve", file, "--proxy", none, code=1).stderr


def test_a_column_that_looks_like_a_secret_is_served_where_it_is_named(file: Path) -> None:
    execute(file, "create table account (id integer primary key, name text, api_key text)")

    def columns(*options: str) -> tuple[list[str], str]:
        with ServeProcess(file, *options) as served, client_of(served.url, served.token) as client:
            tables = {one["name"]: one for one in client.get("v1/schema").json()["tables"]}
            told = "\n".join(served.notes)
        return [one["name"] for one in tables["account"]["columns"]], told

    names, told = columns()
    assert names == ["id", "name"]
    assert "reunite serve --include account.api_key" in told
    names, told = columns()
    assert "look like secrets: account.api_key. --include account.api_key syncs one" in told
    assert columns("--include", "account.api_key")[0] == ["id", "name", "api_key"]
    assert columns()[0] == ["id", "name", "api_key"], "it was said"
    assert "no table 'nothing'" in run("serve", file, "--include", "nothing.x", code=1).stderr
    assert "has no column 'x'" in run("serve", file, "--include", "account.x", code=1).stderr
    assert "TABLE.COLUMN" in run("serve", file, "--include", "account", code=2).stderr
