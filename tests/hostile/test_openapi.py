"""Requests that a program makes up from the hub's own description, sent to a real hub."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reunite import Hub
from reunite.server import create_app
from tests.hostile.conftest import MALLORY, SCHEMA, SECRET, rows_of, track
from tests.integration.fake_hub import FakeHub

LIMITS = {"principal_rate_max": 1_000_000, "principal_burst_max": 1_000_000}


class Door:
    """An application whose description is there before its hub is."""

    def __init__(self) -> None:
        self.app: Any = create_app(FakeHub())
        self.token = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


door = Door()
schema = schemathesis.openapi.from_asgi("/openapi.json", door)


@pytest.fixture(scope="module", autouse=True)
def hub() -> Iterator[Hub]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "town.db"
        db = sqlite3.connect(path)
        db.executescript(SCHEMA)
        db.close()
        with Hub(path) as hub:
            track(hub)
            before = rows_of(path)
            door.app, door.token = hub.asgi(**LIMITS), hub.create_token(MALLORY)
            yield hub
            assert rows_of(path) == before


@schema.parametrize()
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
def test_whatever_is_made_up_is_answered_as_described(case: schemathesis.Case) -> None:
    answer = case.call_and_validate(
        headers={"Authorization": f"Bearer {door.token}"},
        checks=[
            not_a_server_error,
            content_type_conformance,
            response_schema_conformance,
            status_code_conformance,
        ],
    )
    assert SECRET not in answer.text
