"""What the client raises, with the fields that the original has."""

from __future__ import annotations

from typing import Any


class AnswerError(Exception):
    """The server answered something else than was hoped for."""

    def __init__(self, code: int | None, reason: str, response: Any = None) -> None:
        super().__init__(code, reason, response)
        self.code = code
        self.reason = reason
        self.response = response


class RegisterRejected(AnswerError):  # noqa: N818 — names of the original's
    """The server did not make this file a node."""


class PushRejected(AnswerError):  # noqa: N818
    """The server refused a push; nothing of it is stored there, and all of it stays here."""


class PullSuggested(PushRejected):
    """It would be taken after a pull."""


class BadResponseError(AnswerError):
    """What came is no answer to what was asked."""


class ResyncNeeded(BadResponseError):  # noqa: N818
    """The server's log was trimmed past this node: `repair` brings all anew."""


class UniqueConstraintError(Exception):
    """Unpushed rows hold unique values of others. `entries` are (model, key, columns)."""

    def __init__(self, entries: list[tuple[Any, Any, tuple[str, ...]]]) -> None:
        super().__init__(entries)
        self.entries = entries
