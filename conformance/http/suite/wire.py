"""HTTP to the hub under test: every answer is looked at before a case sees it.

What holds of all answers (the protocol's header, JSON, the shape of problems) is checked here, so
that each case checks it too. Where several URLs are given, they are doors to one database:
requests go to them by turns, so a retry reaches another process than the request did.
"""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from suite.cases import NotCheckedError, WrongError, must, same

TIMEOUT_S = 60
TABLES = ["item", "note", "product", "sale", "seat"]


@dataclass(kw_only=True)
class Answer:
    """What came back: the status, headers in lower case, and the body as JSON."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    body: Any


@dataclass(kw_only=True)
class Hub:
    """The hub under test. `other` is a second hub, with another log, if one was given."""

    urls: list[str]
    token: str
    other: Hub | None = None
    _turns: Any = field(default_factory=count)

    def second(self) -> Hub:
        """The other hub. Raises NotCheckedError where none was given."""
        if self.other is None:
            raise NotCheckedError("needs a second hub: --other-url and --other-token")
        return self.other

    def url(self) -> str:
        """The URL whose turn it is."""
        return self.urls[next(self._turns) % len(self.urls)]

    def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """A request as it is. A header of None is left out."""
        sent = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        return _exchange(
            self.url(),
            method,
            path,
            content,
            {name: value for name, value in sent.items() if value is not None},
        )

    def ask(self, method: str, path: str, message: Any = None, **options: Any) -> Answer:
        """A request with a message as JSON."""
        content = None if message is None else encode(message)
        return self.send(method, path, content=content, **options)

    def call(self, operation: str, message: Any) -> Any:
        """The body of a success. Raises WrongError for a problem."""
        answer = self.ask("POST", f"v1/{operation}", message)
        if answer.status != 200:
            raise WrongError(f"a {operation} was refused: {answer.status} {_brief(answer)}")
        return answer.body

    def refusal(self, operation: str, message: Any) -> dict[str, Any]:
        """The problem with which an operation must be refused."""
        answer = self.ask("POST", f"v1/{operation}", message)
        must(answer.status != 200, f"a {operation} was not refused: {_brief(answer)}")
        problem: dict[str, Any] = answer.body
        return problem


def encode(message: Any) -> bytes:
    """A message as JSON in UTF-8."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False).encode()


def decode(content: bytes) -> Any:
    """JSON as it stands, refusing what JSON does not have."""
    return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_object)


def _refuse_constant(text: str) -> Any:
    raise WrongError(f"an answer holds {text}, which JSON does not have")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    must(len(found) == len(pairs), "an answer holds an object with a member that stands twice")
    return found


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.netloc, timeout=TIMEOUT_S, context=ssl.create_default_context()
        ), parts.path.rstrip("/")
    return http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S), parts.path.rstrip("/")


def _exchange(
    url: str, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
) -> Answer:
    connection, prefix = _connection(url)
    try:
        # A body that is refused before it was read: the answer is there already.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, f"{prefix}/{path}", body=content, headers=dict(headers))
        response = connection.getresponse()
        raw = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
    return checked(response.status, found, raw)


def checked(status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
    """An answer of which holds what the protocol says of all. Raises WrongError."""
    must(
        headers.get("reunite-protocol", "").isdecimal(),
        f"an answer ({status}) does not carry Reunite-Protocol with a number",
    )
    content = raw
    encoding = headers.get("content-encoding", "identity")
    if encoding == "gzip":
        content = gzip.decompress(raw)
    elif encoding != "identity":
        return Answer(status=status, headers=headers, content=raw, body=None)
    media_type = headers.get("content-type", "").partition(";")[0].strip()
    expected = "application/json" if status == 200 else "application/problem+json"
    same(media_type, expected, f"the type of an answer with status {status}")
    try:
        body = decode(content)
    except ValueError as exc:
        raise WrongError(f"an answer ({status}) is no JSON: {exc}") from exc
    answer = Answer(status=status, headers=headers, content=content, body=body)
    if status != 200:
        _check_problem(answer)
    return answer


def _check_problem(answer: Answer) -> None:
    problem = answer.body
    must(isinstance(problem, dict), "a problem is no JSON object")
    for name in ("type", "title", "code", "detail"):
        must(isinstance(problem.get(name), str), f"a problem has no text {name!r}")
    same(problem.get("status"), answer.status, "the status in a problem")
    must(problem["type"].endswith(problem["code"]), "a problem's type does not end in its code")
    must(problem["detail"], "a problem's detail is empty")
    if answer.status in (429, 503):
        must("retry-after" in answer.headers, f"{answer.status} came without Retry-After")
    if answer.status == 401:
        challenge = answer.headers.get("www-authenticate", "")
        must(challenge.startswith("Bearer"), "401 came without WWW-Authenticate: Bearer")
    must(answer.status != 500, f"the hub failed: {problem['detail']}")


def _brief(answer: Answer) -> str:
    if isinstance(answer.body, dict) and "code" in answer.body:
        problem = answer.body
        return f"{problem['code']} at {problem.get('path')}: {problem.get('detail')}"
    return answer.content[:200].decode(errors="replace")
