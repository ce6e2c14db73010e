"""Principals: who is asking. Made from a token by the server, never from a request's body."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """`user` owns the replicas that it registers."""

    user: str
