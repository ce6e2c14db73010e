"""The line of one sync call: every message of the replica is signed and sent to one URL.

The rule         an answer of the application's route is an answer of the hub, a problem that is
                 raised as the replica knows it, or a refusal that the caller is told as it came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec

from reunite.dropin.dbsync.client import errors
from reunite.dropin.dbsync.client.net import Monitor
from reunite.errors import (
    NotAReplicaError,
    ReplicaBusyError,
    ReuniteError,
    StorageUnavailableError,
)
from reunite.protocol.problem import Problem, error_from

Answer = TypeVar("Answer")


class Speaker(Protocol):
    """Who signs and sends: the client."""

    def signed(
        self, operation: str, body: bytes, extra: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """A message of this node; none if it is no node yet."""
        ...

    def send(
        self, method: str, url: str, data: Any, options: Mapping[str, Any]
    ) -> tuple[int, str, Any]:
        """Status, reason and body of an answer."""
        ...

    def refused(self, code: int, reason: str, answer: Any) -> errors.PushRejected:
        """What a refusal of a push is."""
        ...


class Telling:
    """What a monitor hears, in order and each step once, however many requests a call makes."""

    def __init__(self, monitor: Monitor, step: str) -> None:
        self._monitor = monitor
        self._step = step
        self._heard: set[str] = set()
        self._operations = 0

    def hear(self, status: dict[str, Any]) -> None:
        """Pass on what the network tells."""
        name = status["status"]
        if name == "connect" and name in self._heard:
            return
        self._heard.add(name)
        self.tell(**status)

    def tell(self, **status: Any) -> None:
        """Say something to the monitor, if there is one."""
        if self._monitor is not None:
            self._monitor(status)

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Tell the monitor of an error before it is raised; the network has told of its own."""
        try:
            yield
        except (errors.AnswerError, errors.UniqueConstraintError) as exc:
            self.tell(status="error", reason=str(exc))
            raise

    def take(self, page: Mapping[str, Any]) -> None:
        """A page has come, and is about to be applied if it is a checkpoint."""
        if self._step in self._heard:
            return
        for table in page.get("tables", ()):
            self._operations += sum(len(table.get(part, ())) for part in _CHANGES)
        if page.get("checkpoint"):
            self._heard.add(self._step)
            more = {"operations": self._operations} if self._step == "merging" else {}
            self.tell(status=self._step, **more)


_CHANGES = ("puts", "deletes", "evicts")

# Errors that say nothing of the server.
_OF_THE_FILE = (NotAReplicaError, ReplicaBusyError, StorageUnavailableError)


class Line:
    """A transport of the replica over one URL of the application's."""

    is_remote = False  # one message at a time: their counters rise

    def __init__(
        self,
        speaker: Speaker,
        url: str,
        *,
        method: str = "POST",
        extra: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        refusal: type[errors.AnswerError],
        telling: Telling | None = None,
    ) -> None:
        self._speaker = speaker
        self._url = url
        self._method = method
        self._extra = extra or {}
        self._telling = telling or Telling(None, "merging")
        self._options = {**(options or {}), "monitor": self._telling.hear}
        self._refusal = refusal
        self.version: int | None = None
        self.is_latest = False
        self.taken: int | None = None  # of this node's numbers, up to which one
        self.answer: Any = None
        self._code: int | None = None
        self._problem: ReuniteError | None = None  # that the server told of

    def carry(self, use_case: Callable[[], Answer]) -> Answer:
        """Run a use case of the replica over this line; what it gives. What it finds wrong with the
        server's answers is a refusal; what is wrong with the file stays what it is."""
        try:
            return use_case()
        except ReuniteError as exc:
            if isinstance(exc, _OF_THE_FILE) and exc is not self._problem:
                raise
            raise self._refusal(self._code, str(exc), self.answer) from exc

    def call(self, operation: str, body: bytes) -> bytes:
        """One message and its answer."""
        message = self._speaker.signed(operation, body, self._extra)
        if message is None:
            raise self._refusal(None, "this node is not registered")
        if self._method == "GET":
            message = {**self._extra, "message": json.dumps(message)}
        code, reason, answer = self._speaker.send(self._method, self._url, message, self._options)
        self.answer, self._code = answer, code
        if not is_good(code) or not isinstance(answer, Mapping):
            if self._refusal is errors.PushRejected:
                raise self._speaker.refused(code, reason, answer)
            raise self._refusal(code, reason, answer)
        if answer.get("suggest_pull") is True:
            raise self._speaker.refused(code, reason, answer)
        if answer.get("resync_needed") is True:
            raise errors.ResyncNeeded(code, "the server's log begins after this node", answer)
        if "problem" in answer:
            try:
                problem = msgspec.convert(answer["problem"], Problem)
            except msgspec.ValidationError as exc:
                raise self._refusal(code, "the answer cannot be read", answer) from exc
            self._problem = error_from(problem)
            raise self._problem
        version = answer.get("new_version_id")
        if not isinstance(version, int) or not isinstance(answer.get("answer"), Mapping):
            raise self._refusal(code, "the answer has no version", answer)
        self.version = version
        self.is_latest = answer.get("is_latest") is True
        taken = answer.get("taken")
        self.taken = taken if isinstance(taken, int) else None
        if operation == "pull":
            self._telling.take(answer["answer"])
        return msgspec.json.encode(answer["answer"])

    def close(self) -> None:
        """Nothing is held between two messages."""


def is_good(code: int) -> bool:
    """Whether a status is one of success."""
    return 200 <= code < 300
