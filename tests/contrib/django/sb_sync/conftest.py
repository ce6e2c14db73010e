"""The README's project: three organizations, three users, and a client for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from reunite.dropin.sb_sync import conf
from tests.contrib.django.conftest import Project

API = "/api/sync"
PASSWORD = "secret"
READ_WRITE = ("push", "pull", "create", "update", "read")


class Api:
    """What a client of one user does."""

    def __init__(self, user: str, *, password: str = PASSWORD, **headers: str) -> None:
        self.user = user
        self.client = Client()
        answer = self.post("auth/token/", {"username": user, "password": password})
        assert answer.status_code == 200, answer.content
        self.token = answer.json()["token"]
        self.headers = {"Authorization": f"Bearer {self.token}", **headers}

    headers: dict[str, str] | None = None

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.post(
            f"{API}/{path}",
            body,
            content_type="application/json",
            headers={**(self.headers or {}), **headers},
        )

    def push(self, *items: dict[str, Any], headers: Any = None, **more: Any) -> Any:
        """The answer's body."""
        answer = self.post("push/", {"data": list(items), **more}, **(headers or {}))
        return answer.json()

    def pull(self, models: Any = None, **more: Any) -> Any:
        body = {"models": models, **more} if models is not None else more
        answer = self.post("pull/", body)
        assert answer.status_code == 200, answer.content
        return answer.json()


class World:
    """The README's organizations and users; `grant` says what groups may do."""

    MODELS = ("myapp.Customer", "myapp.Order", "myapp.Line", "myapp.Task", "myapp.Report")

    def __init__(self, project: Project) -> None:
        self.project = project
        self.users = {
            name: project.user(name, email=f"{name}@example.com")
            for name in ("john_manager", "mary_sales", "bob_analyst")
        }
        self.acme = project.organization("acme-corp", john_manager="Managers")
        self.retail = project.organization("global-retail", mary_sales="Sales")
        self.city = project.organization("city-university", bob_analyst="Analysts")
        self.city.name = "City University"
        self.city.save()
        for model in self.MODELS:
            self.grant(self.acme, "Managers", model, *READ_WRITE, "delete")
            self.grant(self.retail, "Sales", model, *READ_WRITE)
            self.grant(self.city, "Analysts", model, "pull", "read")

    def grant(self, organization: Any, group: str, model: str, *flags: str) -> None:
        self.project.permit(organization, group, model, *flags)

    def api(self, user: str, **headers: str) -> Api:
        return Api(user, **headers)


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    """Nobody's requests are counted yet, and stored values are read anew."""
    cache.clear()
    conf.forget()
    yield
    cache.clear()
    conf.forget()


@pytest.fixture
def world(everywhere: Project) -> World:
    """On SQLite and on PostgreSQL."""
    return World(everywhere)


@pytest.fixture
def readme(project: Project) -> World:
    """On SQLite."""
    return World(project)


def customer(name: str, **more: Any) -> dict[str, Any]:
    return {"_model": "myapp.Customer", "name": name, **more}


def codes(answer: dict[str, Any]) -> list[str | None]:
    return [result.get("code") for result in answer["results"]]
