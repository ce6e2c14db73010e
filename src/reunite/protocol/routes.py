"""The routes of the hub: which operation is which method, path and pair of messages.

Server, HTTP transport, OpenAPI description and manual are all read from this table. Paths stand
under the mount point of the hub, without a leading slash.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from reunite.protocol.live import EVENT_TYPE, LiveRequest
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.push import PushAnswer, PushRequest, SchemaAnswer
from reunite.protocol.query import QueryAnswer, QueryRequest
from reunite.protocol.register import RegisterAnswer, RegisterRequest
from reunite.protocol.repair import RepairAnswer, RepairRequest
from reunite.protocol.token import RefreshRequest, TokenAnswer, TokenRequest

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"

# Every answer of a hub carries its protocol version in this header. An answer without it comes
# from something else: another web server, or a proxy or login page in between.
PROTOCOL_HEADER = "Reunite-Protocol"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `request` is what a POST carries, or what a GET says in its URL; `media_type`
    is that of the answer, where a stream has an `answer` in each of its main events."""

    operation: str
    method: Literal["GET", "POST"]
    path: str
    request: type[msgspec.Struct] | None
    answer: type[msgspec.Struct]
    summary: str
    media_type: str = JSON_TYPE


ROUTES: Mapping[str, Route] = MappingProxyType(
    {
        route.operation: route
        for route in (
            Route(
                operation="register",
                method="POST",
                path="v1/register",
                request=RegisterRequest,
                answer=RegisterAnswer,
                summary="Become a replica: get an identity, key blocks and the schema",
            ),
            Route(
                operation="push",
                method="POST",
                path="v1/push",
                request=PushRequest,
                answer=PushAnswer,
                summary="Send the groups of an outbox, get an outcome for each change",
            ),
            Route(
                operation="pull",
                method="POST",
                path="v1/pull",
                request=PullRequest,
                answer=Page,
                summary="Get the next page after a cursor, or the first of a snapshot",
            ),
            Route(
                operation="live",
                method="GET",
                path="v1/live",
                request=LiveRequest,
                answer=Page,
                summary="Get pages as they arise, on a stream of server-sent events",
                media_type=EVENT_TYPE,
            ),
            Route(
                operation="repair",
                method="POST",
                path="v1/repair",
                request=RepairRequest,
                answer=RepairAnswer,
                summary="Compare a table by sums, and get the rows that differ",
            ),
            Route(
                operation="schema",
                method="GET",
                path="v1/schema",
                request=None,
                answer=SchemaAnswer,
                summary="The tables that the token's principal may ask for",
            ),
            Route(
                operation="query",
                method="GET",
                path="v1/query/{table}",
                request=QueryRequest,
                answer=QueryAnswer,
                summary="Rows of one table by key, without being a replica",
            ),
        )
    }
)

# What needs no token, where a hub gives out tokens for names and passwords.
TOKEN_ROUTES: Mapping[str, Route] = MappingProxyType(
    {
        route.operation: route
        for route in (
            Route(
                operation="token",
                method="POST",
                path="v1/token",
                request=TokenRequest,
                answer=TokenAnswer,
                summary="Log in with a name and a password",
            ),
            Route(
                operation="refresh",
                method="POST",
                path="v1/token/refresh",
                request=RefreshRequest,
                answer=TokenAnswer,
                summary="Get the next tokens for a refresh token, which is good once",
            ),
        )
    }
)
