"""A page of a DSNSync, in Python: a replica that talks through the sealed door, over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
from starlette.types import Receive, Scope, Send

from reunite.dropin.dsn_sync import DSNSync
from reunite.errors import HubUnreachableError, SchemaChangedError, SealError
from reunite.protocol.problem import Problem, error_from
from reunite.replica import Replica
from tests.patience import DEADLINE_S
from tests.sealed.knocking import Inner, Knocker, Refused

USERS = {"key": "user_id", "fields": ["name", "email", "cart", "status"]}
ALICE = {"name": "Alice", "email": "alice@example.com", "cart": [], "status": "active"}


class OverNetwork:
    """What a `Knocker` talks to: the server at a URL. `lose` loses so many answers of operations
    whose sealed bytes have gone through."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://127.0.0.1:{parts.port}"
        self._client = httpx2.Client(verify=False, timeout=DEADLINE_S)
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        self.paths.append(scope["path"])
        try:
            answer = self._client.post(self._base + scope["path"], content=body)
        except httpx2.HTTPError as error:
            raise HubUnreachableError("The server does not answer.") from error
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        await send({"type": "http.response.body", "body": answer.content})

    def close(self) -> None:
        self._client.close()


class Door:
    """A transport of a replica, through the sealed door."""

    is_remote = False

    def __init__(self, url: str, token: str) -> None:
        self.network = OverNetwork(url)
        self.knocker = Knocker(self.network, token, door=urlsplit(url).path)
        self._has_said_hello = False
        self._lock = threading.Lock()
        self.answers_to_lose = 0

    def say_hello_with(self, token: str) -> None:
        """Begin anew with the next request."""
        self.knocker.token, self._has_said_hello = token, False

    def ask(self, method: str, path: str, body: bytes = b"") -> Inner:
        with self._lock:
            return asyncio.run(self._ask(method, path, body))

    async def _ask(self, method: str, path: str, body: bytes) -> Inner:
        try:
            if not self._has_said_hello:
                await self.knocker.hello()
                self._has_said_hello = True
            return await self.knocker.ask_until_open(method, path, body)
        except Refused as refused:
            raise SealError("refused", code=refused.code) from refused

    def call(self, operation: str, body: bytes) -> bytes:
        method = "GET" if operation == "schema" else "POST"
        answer = self.ask(method, f"/v1/{operation}", body)
        if operation == "push" and self.answers_to_lose:
            self.answers_to_lose -= 1
            raise HubUnreachableError("The answer was lost.")
        if answer.status != 200:
            raise error_from(msgspec.json.decode(answer.body, type=Problem))
        return answer.body

    def close(self) -> None:
        self.network.close()


class Page:
    """A client: what `connectDSN` does, as a replica in a file."""

    def __init__(self, file: Path, url: str, token: str) -> None:
        self.door = Door(url, token)
        self.replica = Replica.clone(file, transport=self.door)

    def get_all(self, table: str) -> dict[str, dict[str, Any]]:
        self.replica.sync()
        with self.replica.transaction() as db:
            cursor = db.execute(f'select * from "{table}"')
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        return {
            row["dsn_sync_key"]: {
                name: json.loads(text)
                for name, text in row.items()
                if text is not None and not name.startswith("dsn_sync_")
            }
            for row in rows
        }

    def create(self, table: str, key: str, data: dict[str, Any]) -> bool:
        fields = {"dsn_sync_key": key, "dsn_sync_made": f"{id(self)} {key}"}
        fields |= {name: json.dumps(value) for name, value in data.items()}
        names = ", ".join(f'"{name}"' for name in fields)
        marks = ", ".join("?" * len(fields))
        return self._write(f'insert into "{table}" ({names}) values ({marks})', *fields.values())

    def update(self, table: str, key: str, data: dict[str, Any]) -> bool:
        sets = ", ".join(f'"{name}" = ?' for name in data)
        texts = [json.dumps(value) for value in data.values()]
        return self._write(f'update "{table}" set {sets} where dsn_sync_key = ?', *texts, key)

    def delete(self, table: str, key: str) -> bool:
        return self._write(f'delete from "{table}" where dsn_sync_key = ?', key)

    def _write(self, statement: str, *values: str) -> bool:
        before = len(self.replica.parked())
        with self.replica.transaction() as db:
            db.execute(statement, values)
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.replica.sync()
                return len(self.replica.parked()) == before
            except SchemaChangedError:
                assert time.monotonic() < end  # its tables get other fields faster than it reads
            except HubUnreachableError:
                if self.door.answers_to_lose:
                    continue
                self.replica.sync()
                return len(self.replica.parked()) == before

    @property
    def refusals(self) -> list[str]:
        return [parked.code for parked in self.replica.parked()]

    def close(self) -> None:
        self.replica.close()
        self.door.close()


@contextmanager
def running(folder: Path, database: str | None = None, **options: Any) -> Iterator[DSNSync]:
    """A backend on a free port that listens, without TLS unless told otherwise."""
    options = {"tls": "off", "data_dir": folder / "dsn", **options}
    sync = DSNSync(0, database, **options)
    try:
        assert sync.start(), sync.last_error
        yield sync
    finally:
        sync.close()


@contextmanager
def page_of(sync: DSNSync, folder: Path, name: str = "page") -> Iterator[Page]:
    page = Page(folder / f"{name}.db", sync.get_url(), sync.get_token())
    try:
        yield page
    finally:
        page.close()
