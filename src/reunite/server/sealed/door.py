"""The sealed door: an ASGI application that opens what comes in and seals what goes out.

    POST /sync/001   hello ──► welcome          a handshake under a token's secret
    POST /sync/001   request ──► answer         opened, answered by the application behind, sealed

Doors            the path changes every `requests_per_door` requests; the next one travels in the
                 sealed answers. The current door and the one before it take requests; a hello is
                 taken at each, since whoever comes late knows an old one only.
What is outside  a hello's key id, sessions' ids, lengths and times. Refusals are told unsealed, as
                 problems: whoever believes a forged one does no more than say hello again.
The rule         a request reaches the application frame by frame, but its end only when all seals
                 held; so nothing that was cut, altered or said before acts.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from functools import partial

import anyio
import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reunite.errors import LimitExceededError, ReuniteError, SealError
from reunite.protocol.problem import http_problem, problem_from, told_outside
from reunite.server.limits import BODY_IDLE_S_MAX
from reunite.server.problems import COMMON_HEADERS, problem_response
from reunite.server.sealed.frames import (
    HEAD_BYTES_MAX,
    HELLO,
    KEY_ID_BYTES,
    REQUEST,
    SESSION_BYTES,
    WELCOME,
    Opening,
    Parts,
    Sealing,
)
from reunite.server.sealed.keys import DoorKey, DoorKeys, parse_token
from reunite.server.sealed.noise import KEY_BYTES, NoiseError, Responder
from reunite.server.sealed.sessions import SESSION_S_MAX, Session, Sessions

logger = logging.getLogger("reunite.sealed")

# What both ends agree on besides the token's secret: another version would be another prologue.
PROLOGUE = b"reunite sealed door 1"

# Where the application behind finds, in its scope, who asks: the key id of the token.
SCOPE_KEY = "reunite.sealed"

REQUESTS_PER_DOOR = 100

SEALED_TYPE = "application/octet-stream"

# Pages of any origin may knock: what opens is the token, and no browser sends one by itself.
HEADERS = {**COMMON_HEADERS, "Access-Control-Allow-Origin": "*"}

# Bytes of a hello; it has nothing to say besides the handshake.
HELLO_BYTES_MAX = 1_024

_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")


class RequestHead(msgspec.Struct, forbid_unknown_fields=True):
    """What stands before the body of a sealed request. `path` is that of the application behind,
    with its query string; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str] = {}


class AnswerHead(msgspec.Struct, omit_defaults=True):
    """What stands before the body of a sealed answer.

    door     the path for the next request
    token    what to use for the next hello, if it is another one than this session's
    """

    status: int
    headers: dict[str, str]
    door: str
    token: str | None = None


class Welcome(msgspec.Struct):
    """The payload of the handshake's answer.

    door        the path for the next request
    ends_in_s   seconds until the session ends, at most
    token       what to use for the next hello, if it is another one
    """

    door: str
    ends_in_s: float
    token: str | None = None


class SealedDoor:
    """An application that serves `app` through sealed messages, and nothing else.

        app = SealedDoor(hub.asgi(authenticate=by_door), DoorKeys(folder, clock=time.time))

    app                  what answers; `scope["reunite.sealed"]` names the key id of the token
    path                 where the doors are: `/sync` has `/sync/001`, `/sync/002` and so on
    requests_per_door    after how many the path changes
    clock                seconds since 1970
    random               so many random bytes
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: DoorKeys,
        *,
        path: str = "/sync",
        requests_per_door: int = REQUESTS_PER_DOOR,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._app, self._keys = app, keys
        self._prefix = path.rstrip("/") + "/"
        self._requests_per_door = requests_per_door
        self._clock, self._random = clock, random
        self._sessions = Sessions(clock)
        self._requests = 0
        self._reloading = anyio.CapacityLimiter(1)

    @property
    def path(self) -> str:
        """The path of the door that is current now."""
        return f"{self._prefix}{self._door:03d}"

    @property
    def _door(self) -> int:
        return self._requests // self._requests_per_door + 1

    def revoke(self, token: str) -> None:
        """End a token and all sessions that it began."""
        self._keys.revoke(token)
        self._sessions.end_of_key(parse_token(token)[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = self._number_of(scope)
        if number is None:
            problem = http_problem("not-found", "There is nothing at this path.")
            await problem_response(problem, HEADERS)(scope, receive, send)
            return
        incoming = _Incoming(receive)
        answering = _Answering(send)
        try:
            with anyio.fail_after(BODY_IDLE_S_MAX):
                (kind,) = await incoming.exactly(1)
            if kind == HELLO:
                await self._welcome(scope, incoming, answering)
            elif kind == REQUEST:
                await self._serve(number, scope, incoming, answering)
            else:
                raise NoiseError("It is neither a hello nor a request.")
        except (NoiseError, ReuniteError, TimeoutError) as error:
            await self._refuse(error, scope, answering)

    def _number_of(self, scope: Scope) -> int | None:
        """The number of the door at this path; None if none was ever there."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        text = path.removeprefix(self._prefix)
        is_door = path.startswith(self._prefix) and text.isascii() and text.isdigit()
        if scope["method"] != "POST" or not is_door or len(text) > 18:
            return None
        return int(text)

    async def _refuse(self, error: Exception, scope: Scope, answering: _Answering) -> None:
        client = scope["client"][0] if scope.get("client") else "?"
        if isinstance(error, TimeoutError):
            problem = http_problem("request-timeout", "The rest did not arrive in time.")
        else:
            if not isinstance(error, ReuniteError):
                detail = f"{error} Say hello again, and seal it anew."
                error = SealError(detail, code="seal-broken")
            problem = problem_from(told_outside(error))
        logger.info("refused %s from %s: %s", scope["path"], client, problem.code)
        if not answering.has_begun:
            await answering.whole(problem_response(problem, HEADERS))

    # -- hello --------------------------------------------------------------------------------

    async def _welcome(self, scope: Scope, incoming: _Incoming, answering: _Answering) -> None:
        with anyio.fail_after(BODY_IDLE_S_MAX):
            message = await incoming.all(bytes_max=HELLO_BYTES_MAX)
        key = await self._key(message[:KEY_ID_BYTES])
        responder = Responder(
            key.secret, ephemeral=self._random(KEY_BYTES), prologue=PROLOGUE + key.id
        )
        responder.read(message[KEY_ID_BYTES:])
        # Half of a token's life at most: then a client that goes on is told the next token in time.
        now = self._clock()
        ends_in_s = min(SESSION_S_MAX, self._keys.life_s / 2, key.ends_at - now)
        welcome = Welcome(door=self.path, ends_in_s=ends_in_s, token=self._keys.newer_than(key.id))
        answer = responder.write(msgspec.json.encode(welcome))
        assert responder.ciphers is not None, "the handshake is complete"
        session = Session(
            self._random(SESSION_BYTES), key.id, responder.ciphers, ends_at=now + ends_in_s
        )
        self._sessions.add(session)
        body = bytes([WELCOME]) + session.id + answer
        await answering.whole(Response(body, 200, dict(HEADERS), media_type=SEALED_TYPE))

    async def _key(self, key_id: bytes) -> DoorKey:
        """The token of this id, also one that another object has made. Raises SealError."""
        if not self._keys.knows(key_id):
            # One at a time: strangers may say any id, and keep no thread from those who work.
            await anyio.to_thread.run_sync(self._keys.reload, limiter=self._reloading)
        return self._keys.find(key_id)

    # -- requests -----------------------------------------------------------------------------

    async def _serve(
        self, number: int, scope: Scope, incoming: _Incoming, answering: _Answering
    ) -> None:
        if not self._door - 1 <= number <= self._door:
            raise SealError(
                "This door is closed. Say hello: the answer names the one that is open.",
                code="door-closed",
            )
        with anyio.fail_after(BODY_IDLE_S_MAX):
            session = self._sessions.of(await incoming.exactly(SESSION_BYTES))
            # The token may have ended, or been revoked, since.
            self._keys.find(session.key_id)
            request = _Request(incoming, session)
            head = await request.head()
        self._sessions.note_use(session)
        self._requests += 1
        answer = _Answer(answering, session, request, partial(self._head, session))
        inner = _inner_scope(scope, head, session)
        try:
            await self._app(inner, request.receive, answer.send)
        except ClientDisconnect:
            if request.failure is None:
                raise
        if request.failure is not None and not answering.has_begun:
            raise request.failure

    def _head(self, session: Session, status: int, headers: dict[str, str]) -> AnswerHead:
        newer = self._keys.newer_than(session.key_id)
        return AnswerHead(status=status, headers=headers, door=self.path, token=newer)


def _inner_scope(scope: Scope, head: RequestHead, session: Session) -> Scope:
    """What the application behind is asked. Raises NoiseError for what no HTTP request has."""
    path, _, query = head.path.partition("?")
    is_sound = path.startswith("/") and head.path.isascii() and head.path.isprintable()
    if not is_sound or " " in head.path or not head.method.isalpha():
        raise NoiseError("The head is no request's.")
    headers = []
    for name, value in head.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise NoiseError("A header is none.")
        headers.append((name.encode(), value.encode()))
    return {
        **{name: scope[name] for name in ("asgi", "http_version", "scheme") if name in scope},
        "type": "http",
        "method": head.method.upper(),
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": scope.get("client"),
        "server": scope.get("server"),
        SCOPE_KEY: session.key_id,
    }


class _Incoming:
    """The bytes of the outer request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waiting = b""
        self.has_ended = False
        self.is_gone = False

    async def more(self) -> bytes:
        """What is there by now; it waits for something, or for the end."""
        if self._waiting:
            data, self._waiting = self._waiting, b""
            return data
        while not self.has_ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.has_ended = self.is_gone = True
                break
            self.has_ended = not message.get("more_body", False)
            if message.get("body"):
                return bytes(message["body"])
        return b""

    async def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self.more()
            if not more:
                raise NoiseError("It was cut short.")
            data += more
        self._waiting = data[count:]
        return data[:count]

    async def all(self, *, bytes_max: int) -> bytes:
        data = b""
        while more := await self.more():
            data += more
            if len(data) > bytes_max:
                raise LimitExceededError("A hello is shorter.", limit="HELLO_BYTES_MAX")
        return data

    async def until_gone(self) -> Message:
        """Wait for the client to go away."""
        while not self.is_gone:
            self.is_gone = (await self._receive())["type"] == "http.disconnect"
        return {"type": "http.disconnect"}


class _Request:
    """A sealed request, opened as it arrives."""

    def __init__(self, incoming: _Incoming, session: Session) -> None:
        self._incoming = incoming
        self._opening = Opening(
            session.ciphers.receiving, session.admit, session=session.id, request=None
        )
        self._parts = Parts()
        self._body = b""
        self._is_whole = False  # whether all seals held and nothing is missing
        self._is_told = False  # whether the application has the end of the body
        self.failure: NoiseError | ReuniteError | None = None

    @property
    def number(self) -> int:
        """The number of its first frame."""
        return self._opening.request

    async def head(self) -> RequestHead:
        """What it asks for. Raises NoiseError, SealError."""
        while self._parts.head is None:
            await self._read()
        try:
            return msgspec.json.decode(self._parts.head, type=RequestHead)
        except msgspec.DecodeError as error:
            raise NoiseError("The head is no request's.") from error

    async def _read(self) -> None:
        """Open what comes next; at the end, see that nothing is missing or too much."""
        data = await self._incoming.more()
        if not data:
            self._opening.finish()
            self._is_whole = True
            if self._parts.head is None:
                raise NoiseError("It has no head.")
        self._body += b"".join([self._parts.feed(text) for text in self._opening.feed(data)])

    async def receive(self) -> Message:
        """The next ASGI message for the application behind."""
        if self._is_told:
            return await self._incoming.until_gone()
        try:
            # The last frame is told only when nothing follows it.
            while not self._is_whole and (self._opening.is_complete or not self._body):
                await self._read()
        except (NoiseError, ReuniteError) as error:
            # To the application the client is gone: it does nothing with half a request.
            self.failure, self._is_told = error, True
            self._incoming.is_gone = True
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        self._is_told = self._is_whole
        return {"type": "http.request", "body": body, "more_body": not self._is_told}


class _Answering:
    """The outer answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def whole(self, response: Response) -> None:
        await self.begin(response.status_code, response.raw_headers)
        await self.go_on(bytes(response.body), more=False)

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def go_on(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class _Answer:
    """The application's answer, sealed message by message: an event of a stream waits for none."""

    def __init__(
        self,
        answering: _Answering,
        session: Session,
        request: _Request,
        head: Callable[[int, dict[str, str]], AnswerHead],
    ) -> None:
        self._answering = answering
        self._request = request
        self._make_head = head
        self._sealing = Sealing(
            session.ciphers.sending,
            session.take_number,
            session=session.id,
            request=request.number,
        )
        self._head: bytes | None = None

    async def send(self, message: Message) -> None:
        if self._request.failure is not None:
            return  # what an application says to half a request is no answer
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body":
            body, more = bytes(message.get("body", b"")), message.get("more_body", False)
            if self._head is not None:
                sealed = self._sealing.begin(self._head, body, is_last=not more)
                self._head = None
            elif body or not more:
                sealed = self._sealing.go_on(body, is_last=not more)
            else:
                return
            await self._answering.go_on(sealed, more=more)

    async def _begin(self, message: Message) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in message.get("headers", ())
        }
        self._head = msgspec.json.encode(self._make_head(message["status"], headers))
        assert len(self._head) <= HEAD_BYTES_MAX, "the application's own headers are few"
        outer = {**HEADERS, "Content-Type": SEALED_TYPE}
        raw = [(name.lower().encode(), value.encode()) for name, value in outer.items()]
        await self._answering.begin(200, raw)
        if headers.get("content-type", "").startswith("text/event-stream"):
            # Nobody knows when the first event comes.
            sealed = self._sealing.begin(self._head, is_last=False)
            self._head = None
            await self._answering.go_on(sealed, more=True)
