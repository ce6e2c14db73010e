"""Tokens: a name and a password, or a refresh token, for a token that soon expires.

    TokenRequest ──► TokenAnswer (token, refresh)     … the token expires …
    RefreshRequest ──► TokenAnswer (the next of both)

The rule         a refresh token is good once. Who sends it again with the same `attempt` had no
                 answer and gets one; with another it is not who got the answer, and all tokens of
                 that log-in end.
"""

from __future__ import annotations

import msgspec


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log in. `tenant` is the name of one, needed by members of several; "" is outside of any.
    `device` is a name by which people know what logs in."""

    protocol: int
    user: str
    password: str
    tenant: str | None = None
    device: str = ""

    def __repr__(self) -> str:
        return f"TokenRequest(user={self.user!r})"


class RefreshRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for the next tokens. `attempt` is random text, new for each refresh token and kept
    until its answer has been."""

    protocol: int
    refresh: str
    attempt: str

    def __repr__(self) -> str:
        return "RefreshRequest()"


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A token for `Authorization: Bearer`, good for `expires_s` seconds, and what asks for the
    next one, good until `refresh_expires_s` have passed without."""

    token: str
    expires_s: int
    refresh: str
    refresh_expires_s: int
    user: str
    tenant: str

    def __repr__(self) -> str:
        return f"TokenAnswer(user={self.user!r}, tenant={self.tenant!r})"
