"""The OpenAPI 3.1 description of the console's API, made from the table of operations."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from reunite.console.news import Pulse
from reunite.console.operations import Download, Operation
from reunite.console.registry import OPERATIONS
from reunite.console.sessions import CodeGiven, PasswordGiven, Session
from reunite.console.visitors import COOKIE, CSRF_HEADER
from reunite.protocol.live import EVENT_TYPE
from reunite.protocol.problem import Problem
from reunite.protocol.routes import JSON_TYPE, PROBLEM_TYPE

_REF = "#/components/schemas/{name}"


@cache
def openapi_json() -> bytes:
    """The description as JSON."""
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=2)


def openapi() -> dict[str, Any]:
    """The description; the server's URL is the folder that it was fetched from."""
    kinds = {id(one.given): one.given for one in OPERATIONS.values()}
    answers = [one.answer for one in OPERATIONS.values() if _is_json(one.answer)]
    types = [*kinds.values(), *answers, Session, PasswordGiven, CodeGiven, Pulse, Problem]
    found, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = {id(kind): schema for kind, schema in zip(types, found, strict=True)}
    paths: dict[str, Any] = _sessions(schema_of)
    for one in OPERATIONS.values():
        path = "/" + one.path.replace(":path}", "}")
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, schema_of, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reunite console",
            "version": "1",
            "summary": "See and steer a hub.",
            "description": "What a session's cookie sends must carry the header that "
            f"`GET session` names, {CSRF_HEADER} usually, where it changes something.",
        },
        "servers": [{"url": "."}],
        "security": [{"session": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "A problem; its `code` says which, its `detail` what to do.",
                    "content": {PROBLEM_TYPE: {"schema": schema_of[id(Problem)]}},
                }
            },
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _is_json(answer: Any) -> bool:
    return answer is not None and answer is not type(None) and answer is not Download


def _operation(
    one: Operation, schema_of: dict[int, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    if one.answer is type(None):
        done: dict[str, Any] = {"204": {"description": "Done."}}
    elif one.answer is Download:
        done = {"200": {"description": "A file.", "content": {"text/csv": {}}}}
    else:
        content = {JSON_TYPE: {"schema": schema_of[id(one.answer)]}}
        done = {"200": {"description": "Done.", "content": content}}
    described: dict[str, Any] = {
        "operationId": f"{one.method.lower()}_{one.name}",
        "summary": one.summary,
        "description": f"Needs the role `{one.right}`.",
        "responses": done | {"default": {"$ref": "#/components/responses/Problem"}},
    }
    # Where two kinds have one name, the schema has another.
    schema = schemas[schema_of[id(one.given)]["$ref"].rpartition("/")[2]]
    parameters = [_parameter(name, "path", schema) for name in one.in_path]
    if one.in_query:
        names = [field.encode_name for field in msgspec.structs.fields(one.given)]
        parameters += [
            _parameter(name, "query", schema) for name in names if name not in one.in_path
        ]
    else:
        described["requestBody"] = {
            "required": True,
            "content": {JSON_TYPE: {"schema": schema_of[id(one.given)]}},
        }
    if parameters:
        described["parameters"] = parameters
    return described


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = schema["properties"].get(name, {"type": "string"})
    return {
        "name": name,
        "in": place,
        "required": place == "path" or name in schema.get("required", ()),
        "schema": found,
    }


def _sessions(schema_of: dict[int, Any]) -> dict[str, Any]:
    def answer(kind: type[msgspec.Struct]) -> dict[str, Any]:
        return {
            "200": {
                "description": "Done.",
                "content": {JSON_TYPE: {"schema": schema_of[id(kind)]}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        }

    def body(kind: type[msgspec.Struct]) -> dict[str, Any]:
        content = {JSON_TYPE: {"schema": schema_of[id(kind)]}}
        return {"requestBody": {"required": True, "content": content}}

    return {
        "/session": {
            "get": {
                "operationId": "get_session",
                "summary": "Who is there, and what they may do",
                "responses": answer(Session),
            },
            "post": {
                "operationId": "log_in",
                "summary": "Begin a session with a name and a password",
                "security": [],
                **body(PasswordGiven),
                "responses": answer(Session),
            },
            "delete": {
                "operationId": "log_out",
                "summary": "End the session",
                "responses": {
                    "204": {"description": "Done."},
                    "default": {"$ref": "#/components/responses/Problem"},
                },
            },
        },
        "/session/code": {
            "post": {
                "operationId": "log_in_with_code",
                "summary": "Begin a session with a code that was printed; good once",
                "security": [],
                **body(CodeGiven),
                "responses": answer(Session),
            }
        },
        "/events": {
            "get": {
                "operationId": "events",
                "summary": "The pulse whenever it changes, as a stream of server-sent events",
                "responses": {
                    "200": {
                        "description": "Events `pulse`, whose data is a Pulse, and `bye`.",
                        "content": {EVENT_TYPE: {"schema": {"type": "string"}}},
                    },
                    "default": {"$ref": "#/components/responses/Problem"},
                },
            }
        },
    }
