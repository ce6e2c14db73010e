"""A client of a sealed door, as it would be written elsewhere: it talks to an ASGI application."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

from reunite.server.sealed.door import PROLOGUE
from reunite.server.sealed.frames import HELLO, REQUEST, SESSION_BYTES, Opening, Parts, Sealing
from reunite.server.sealed.keys import parse_token
from reunite.server.sealed.noise import Ciphers, Initiator


class Refused(Exception):  # noqa: N818 — the door says no; nothing has gone wrong
    """The door answered with a problem, unsealed."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("code"))
        self.status, self.problem = status, problem
        self.code: str = problem["code"]


@dataclass
class Outer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


async def outer(
    app: ASGIApp, path: str, pieces: Sequence[bytes], *, method: str = "POST", gone: bool = False
) -> Outer:
    """Ask an ASGI application over HTTP; with `gone` the client leaves before its body ends."""
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    last: Message = {"type": "http.request", "body": b"", "more_body": False}
    messages.append({"type": "http.disconnect"} if gone else last)
    answer: list[Message] = []
    stay = asyncio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await stay.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in answer[1:])
    headers = {name.decode(): value.decode() for name, value in answer[0]["headers"]}
    return Outer(answer[0]["status"], headers, body)


@dataclass
class Inner:
    """A sealed answer, opened."""

    status: int
    headers: dict[str, str]
    body: bytes
    door: str


@dataclass
class Knocker:
    """One client: a token, a session once it said hello, and the door that it knows."""

    app: ASGIApp
    token: str
    door: str = "/sync/001"
    session: bytes = b""
    ciphers: Ciphers | None = None
    welcome: dict[str, Any] = field(default_factory=dict)
    sent: int = 0

    def hello_message(self) -> tuple[Initiator, bytes]:
        key_id, secret = parse_token(self.token)
        initiator = Initiator(secret, ephemeral=os.urandom(32), prologue=PROLOGUE + key_id)
        return initiator, bytes([HELLO]) + key_id + initiator.write()

    async def hello(self) -> None:
        initiator, message = self.hello_message()
        answer = await outer(self.app, self.door, [message])
        if answer.status != 200:
            raise Refused(answer.status, json.loads(answer.body))
        self.session = answer.body[1 : 1 + SESSION_BYTES]
        self.welcome = json.loads(initiator.read(answer.body[1 + SESSION_BYTES :]))
        self.door = self.welcome["door"]
        self.token = self.welcome["token"] or self.token
        self.ciphers = initiator.ciphers
        self.sent = 0

    def take_number(self) -> int:
        self.sent += 1
        return self.sent - 1

    def sealed(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """A request as it goes through the door, and its number."""
        assert self.ciphers is not None
        sealing = Sealing(
            self.ciphers.sending, self.take_number, session=self.session, request=None
        )
        head = {"method": method, "path": path, "headers": headers or {}}
        frames = sealing.begin(json.dumps(head).encode(), body)
        return sealing.request, bytes([REQUEST]) + self.session + frames

    def opened(self, number: int, body: bytes) -> Inner:
        assert self.ciphers is not None
        opening = Opening(
            self.ciphers.receiving, lambda _: None, session=self.session, request=number
        )
        parts = Parts()
        text = b"".join([parts.feed(text) for text in opening.feed(body)])
        opening.finish()
        assert parts.head is not None
        head = json.loads(parts.head)
        self.door, self.token = head["door"], head.get("token", self.token)
        return Inner(head["status"], head["headers"], text, head["door"])

    async def say(self, message: bytes, *, door: str | None = None) -> Outer:
        """Send a sealed request that there is already. Raises Refused."""
        size = 10_000
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        answer = await outer(self.app, door or self.door, pieces)
        if answer.status != 200:
            raise Refused(answer.status, json.loads(answer.body))
        return answer

    async def ask(self, method: str, path: str, body: bytes = b"") -> Inner:
        """Ask once. Raises Refused."""
        headers = {"content-type": "application/json"} if body else {}
        number, message = self.sealed(method, path, body, headers)
        return self.opened(number, (await self.say(message)).body)

    async def ask_until_open(self, method: str, path: str, body: bytes = b"") -> Inner:
        """Ask, and say hello again where the door was closed meanwhile."""
        for _ in range(5):
            try:
                return await self.ask(method, path, body)
            except Refused as refused:
                if refused.code not in ("door-closed", "session-unknown"):
                    raise
                await self.hello()
        raise AssertionError("The door does not open.")


async def streamed(app: ASGIApp, path: str, message: bytes) -> AsyncIterator[bytes]:
    """The pieces of an answer as they are sent, until the caller goes away."""
    queue: asyncio.Queue[Message] = asyncio.Queue()
    leave = asyncio.Event()
    first = [message]

    async def receive() -> Message:
        if first:
            return {"type": "http.request", "body": first.pop(), "more_body": False}
        await leave.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "asgi": {}}
    task = asyncio.create_task(app(scope, receive, queue.put))  # type: ignore[arg-type]
    try:
        started = await queue.get()
        assert started["status"] == 200
        while True:
            yield (await queue.get())["body"]
    finally:
        leave.set()
        await task
