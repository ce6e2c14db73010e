"""Errors of the API: a type, which says status, severity and whether to try again.

    {"error": {"type", "message", "severity", "retryable", "timestamp", "context", "retry_info"}}

The rule         a message is for the caller: no SQL, no path, no text of an exception stands in it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.http import HttpResponse, JsonResponse


class Kind(NamedTuple):
    """What a type of error means."""

    status: int
    severity: str
    is_retryable: bool = False


KINDS: Mapping[str, Kind] = {
    "validation": Kind(400, "medium"),
    "authentication": Kind(401, "high"),
    "authorization": Kind(403, "high"),
    "database": Kind(500, "high", is_retryable=True),
    "network": Kind(503, "medium", is_retryable=True),
    "timeout": Kind(408, "medium", is_retryable=True),
    "rate_limit": Kind(429, "medium", is_retryable=True),
    "configuration": Kind(500, "high"),
    "security": Kind(403, "critical"),
    "performance": Kind(503, "medium"),
    "unknown": Kind(500, "medium"),
}

# How a client is to try again; the server never waits inside a request.
RETRY_INFO = {"max_retries": 3, "base_delay": 1, "max_delay": 60, "backoff_factor": 2}


class SyncError(Exception):
    """A request that is refused. `kind` is a name of KINDS; `status` goes before its own."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or KINDS[kind].status
        self.context = context

    def answer(self) -> HttpResponse:
        """The answer to the client."""
        kind = KINDS[self.kind]
        body: dict[str, Any] = {
            "type": self.kind,
            "message": self.message,
            "severity": kind.severity,
            "retryable": kind.is_retryable,
            "timestamp": time.time(),
        }
        if self.context:
            body["context"] = dict(self.context)
        if kind.is_retryable:
            body["retry_info"] = RETRY_INFO
        return JsonResponse({"error": body}, status=self.status)


class TokenError(Exception):
    """A request without a token that counts: 401, in the words of Django REST Framework."""

    def answer(self) -> HttpResponse:
        """The answer to the client."""
        answer = JsonResponse({"detail": str(self)}, status=401)
        answer["WWW-Authenticate"] = "Bearer"
        return answer


class ForeignTokenError(TokenError):
    """A token that is none of the API's own: somebody else's, perhaps, or nobody's."""


class TooManyError(Exception):
    """More requests than are allowed; `retry_after_s` says when to come again."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def answer(self) -> HttpResponse:
        """The answer to the client."""
        body = {
            "error": "Rate limit exceeded",
            "message": str(self),
            "retry_after": self.retry_after_s,
        }
        answer = JsonResponse(body, status=429)
        answer["Retry-After"] = str(self.retry_after_s)
        return answer
