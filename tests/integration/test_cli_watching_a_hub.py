"""`reunite serve --log` and `--metrics`: what whoever runs a hub gets to see."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.integration.http_helpers import client_of
from tests.integration.processes import COMMAND, ServeProcess, wait_until


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    db = sqlite3.connect(path)
    db.executescript("create table note (id text primary key not null, body text);"
                     "insert into note values ('n1', 'a-value-of-a-row');")  # fmt: skip
    db.close()
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_each_request_is_a_line_without_what_was_in_it(database: Path, workers: int) -> None:
    with ServeProcess(database, "--log", "json", "--workers", workers) as serve:
        with client_of(serve.url, serve.token) as client:
            where = {"where": '{"body":"a-value-of-a-row"}'}
            assert "n1" in client.get("v1/query/note", params=where).text
        with client_of(serve.url, "a-token-of-nobody") as client:
            assert client.get("v1/schema").status_code == 401

        def lines() -> list[str]:
            return [line for line in serve.notes if line.startswith("{")]

        wait_until(lambda: len(lines()) >= 2)
        query, schema = sorted(
            (json.loads(line) for line in lines()), key=lambda one: one["status"]
        )
        assert (query["operation"], query["status"], query["user"]) == ("query", 200, "owner")
        assert query["level"] == "info"
        assert query["client"] == "127.0.0.1"
        assert (schema["operation"], schema["code"], schema["level"]) == (
            "schema",
            "not-authenticated",
            "warning",
        )
        assert "user" not in schema
        for secret in ("a-value-of-a-row", "a-token-of-nobody", serve.token):
            assert secret not in "\n".join(serve.notes)


def test_lines_for_people_are_names_and_values(database: Path) -> None:
    with ServeProcess(database, "--log", "logfmt") as serve:
        with client_of(serve.url, serve.token) as client:
            client.get("v1/schema")
        wait_until(lambda: any("operation=schema" in line for line in serve.notes))
        (line,) = [line for line in serve.notes if "operation=schema" in line]
        assert 'logger=reunite.access event="schema 200 done"' in line
        assert " user=owner " in line


def test_metrics_are_answered_where_they_are_asked_for(database: Path) -> None:
    with ServeProcess(database, "--metrics") as serve, client_of(serve.url, None) as client:
        text = client.get("metrics").text
    assert "reunite_requests_under_way 0" in text
    assert "process_open_fds" in text


def test_workers_do_not_count_for_each_other(database: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "serve", str(database), "--metrics", "--workers", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Each worker counts for itself" in done.stderr
