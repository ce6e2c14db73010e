"""The OpenAPI 3.1 description of the routes, built from the route table and the message types."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from reunite.protocol.live import EVENT_TYPE, LAST_EVENT_HEADER
from reunite.protocol.pack import PACK_TYPE
from reunite.protocol.problem import Problem, codes
from reunite.protocol.routes import (
    JSON_TYPE,
    PROBLEM_TYPE,
    PROTOCOL_HEADER,
    ROUTES,
    TOKEN_ROUTES,
    Route,
)
from reunite.protocol.version import PROTOCOL_VERSION

_REF = "#/components/schemas/{name}"

# What each operation may be answered besides success; the codes are in the problem's description.
_POST_STATUSES = (400, 401, 403, 404, 408, 409, 413, 415, 422, 426, 429, 500, 503)
_GET_STATUSES = (400, 401, 403, 404, 409, 413, 426, 429, 500, 503)


@cache
def openapi_json() -> bytes:
    """The description as JSON."""
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=2)


def openapi() -> dict[str, Any]:
    """The description; the server's URL is the folder that it was fetched from."""
    routes = (*ROUTES.values(), *TOKEN_ROUTES.values())
    types = [route.answer for route in routes]
    types += [route.request for route in routes if route.request is not None]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault("/" + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reunite hub",
            "version": str(PROTOCOL_VERSION),
            "summary": "Clone the tables of a database, write offline, and sync.",
            "description": "docs/protocol.md tells how the messages are used. "
            f"Every answer carries the header {PROTOCOL_HEADER} with the hub's protocol version.",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": paths | _probes(),
        "components": {
            "schemas": schemas,
            "responses": _responses(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    statuses = _POST_STATUSES if route.method == "POST" else _GET_STATUSES
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "responses": {
            "200": {"description": "Done.", "content": _answer_content(route)},
            **{str(status): {"$ref": _response_ref(status)} for status in statuses},
        },
    }
    if route.method == "POST" and route.request is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.request)}
    if route.operation in TOKEN_ROUTES:
        operation["security"] = []
    if route.operation == "query":
        operation["parameters"] = _query_parameters()
    elif route.operation == "live":
        operation["parameters"] = _live_parameters()
    return operation


def _live_parameters() -> list[dict[str, Any]]:
    def parameter(name: str, description: str, kind: str) -> dict[str, Any]:
        return {
            "name": name,
            "in": "query",
            "description": description,
            "content": {JSON_TYPE: {"schema": {"type": kind}}},
        }

    return [
        {
            "name": LAST_EVENT_HEADER,
            "in": "header",
            "required": True,
            "description": "The cursor of the last checkpoint.",
            "schema": {"type": "string"},
        },
        {
            "name": "replica",
            "in": "query",
            "required": True,
            "description": "The identity that registering gave.",
            "schema": {"type": "string"},
        },
        parameter("protocol", "The version that the client speaks.", "integer")
        | {"required": True},
        parameter("tables", "As in a pull.", "array"),
        parameter("where", "As in a pull.", "object"),
    ]


def _query_parameters() -> list[dict[str, Any]]:
    return [
        {"name": "table", "in": "path", "required": True, "schema": {"type": "string"}},
        {
            "name": "where",
            "in": "query",
            "description": "Columns and the values they must equal.",
            "content": {JSON_TYPE: {"schema": {"type": "object"}}},
        },
        {
            "name": "after",
            "in": "query",
            "description": "The key after which to go on: `next` of the answer before.",
            "content": {JSON_TYPE: {"schema": {"type": "array"}}},
        },
        {
            "name": "limit",
            "in": "query",
            "description": "How many rows at most.",
            "schema": {"type": "integer", "minimum": 1},
        },
    ]


def _probes() -> dict[str, Any]:
    def probe(name: str, summary: str, description: str) -> dict[str, Any]:
        return {
            "get": {
                "operationId": name,
                "summary": summary,
                "security": [],
                "responses": {
                    "200": {
                        "description": description,
                        "content": {JSON_TYPE: {"schema": {"type": "object"}}},
                    },
                    "500": {"$ref": _response_ref(500)},
                    "503": {"$ref": _response_ref(503)},
                },
            }
        }

    return {
        "/livez": probe("livez", "Does the process answer?", "It does."),
        "/readyz": probe("readyz", "Does the database answer as well?", "It does."),
        "/openapi.json": probe("openapi", "This description", "OpenAPI 3.1."),
    }


def _responses() -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted({*_POST_STATUSES, *_GET_STATUSES}):
        found = [code for code, kind in codes().items() if kind.status == status]
        if status == 429:
            found = ["limit-exceeded"]
        responses[f"Problem{status}"] = {
            "description": "A problem with the code " + " or ".join(f"`{code}`" for code in found),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    return responses


def _response_ref(status: int) -> str:
    return f"#/components/responses/Problem{status}"


def _answer_content(route: Route) -> dict[str, Any]:
    if route.media_type == EVENT_TYPE:
        return {EVENT_TYPE: {"schema": {"type": "string"}}}
    content = _content(route.answer)
    if route.operation == "pull":
        content[PACK_TYPE] = {"schema": {"type": "string", "contentMediaType": PACK_TYPE}}
    return content


def _content(message: type[msgspec.Struct]) -> dict[str, Any]:
    return {JSON_TYPE: {"schema": {"$ref": _REF.format(name=message.__name__)}}}
