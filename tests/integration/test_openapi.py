"""The OpenAPI description is valid, complete, and true: generated requests keep to it."""

from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reunite.protocol.problem import codes
from reunite.protocol.routes import ROUTES
from reunite.server import create_app
from reunite.server.openapi import openapi
from tests.integration.fake_hub import TOKEN, FakeHub

schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(FakeHub()))


@schema.parametrize()
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: schemathesis.Case) -> None:
    case.call_and_validate(
        headers={"Authorization": f"Bearer {TOKEN}"},
        checks=[
            not_a_server_error,
            content_type_conformance,
            response_schema_conformance,
            status_code_conformance,
        ],
    )


def test_every_route_is_described() -> None:
    described: dict[str, Any] = openapi()["paths"]
    for route in ROUTES.values():
        operation = described["/" + route.path][route.method.lower()]
        assert operation["operationId"] == route.operation
    assert {"/livez", "/readyz", "/openapi.json"} <= set(described)


def test_every_code_is_in_the_description_of_an_answer() -> None:
    text = " ".join(
        answer["description"] for answer in openapi()["components"]["responses"].values()
    )
    # The first answers methods that are not described; the second is a replica's own.
    nowhere = {"method-not-allowed", "replica-busy"}
    assert {code for code in codes() if f"`{code}`" not in text} == nowhere


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.operation)
def test_message_schemas_are_json_schemas(route: Any) -> None:
    components = openapi()["components"]
    for message in filter(None, (route.request, route.answer)):
        jsonschema_rs.validator_for(
            {"$ref": f"#/components/schemas/{message.__name__}", "components": components}
        )
