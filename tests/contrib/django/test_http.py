"""The protocol under a project's own URLs, with its users."""

from __future__ import annotations

import inspect
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from typing import Any

import pytest
import uvicorn
from django.contrib.auth import get_user_model
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections, transaction
from django.test import AsyncClient, Client

from reunite import NotAuthenticatedError, Replica
from reunite.contrib.django.tidying import tidy
from reunite.contrib.django.views import _apps_of
from tests.contrib.django.clinic.models import Tag
from tests.contrib.django.conftest import Project
from tests.contrib.django.test_capture import rows, write
from tests.contrib.test_wsgi import served
from tests.integration.live_helpers import LiveReplica
from tests.patience import DEADLINE_S

PULL = {"protocol": 1}


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json", headers=headers)


@pytest.fixture
def url(everywhere: Project) -> Any:
    """A server of the project."""
    with ExitStack() as stack:
        yield stack.enter_context(served(WSGIHandler()))


def test_a_user_of_django_clones_and_syncs_over_http(everywhere: Project, url: str) -> None:
    everywhere.user("ann", "clinic.view_tag", "clinic.add_tag")
    Tag.objects.create(name="a")
    with Replica.clone(
        everywhere.folder / "ann.db", f"{url}/sync", username="ann", password="secret"
    ) as replica:
        assert rows(replica, "select name from clinic_tag") == [("a",)]
        assert not rows(replica, "select name from sqlite_schema where name = 'auth_user'")
        write(replica, "insert into clinic_tag (name) values ('b')")
        assert replica.sync().rejected == 0
        assert Tag.objects.filter(name="b").exists()
        write(replica, "update clinic_tag set name = 'z' where name = 'a'")
        report = replica.sync()
        assert (report.rejected, replica.parked()[0].code) == (1, "not-allowed")
    with pytest.raises(NotAuthenticatedError):
        Replica.clone(everywhere.folder / "x.db", f"{url}/sync", username="ann", password="wrong")


def token_of(user: str, password: str = "secret") -> str:
    answer = post(Client(), "/sync/v1/token", {"protocol": 1, "user": user, "password": password})
    assert answer.status_code == 200, answer.content
    return str(answer.json()["token"])


def test_a_token_ends_with_the_password_and_with_the_user(project: Project) -> None:
    ann = project.user("ann", "clinic.view_tag")

    def status(token: str) -> int:
        return (
            Client()
            .get("/sync/v1/schema", headers={"Authorization": f"Bearer {token}"})
            .status_code
        )

    token = token_of("ann")
    assert status(token) == 200
    ann.set_password("other")
    ann.save()
    assert status(token) == 401
    token = token_of("ann", "other")
    made = project.hub.create_token(project.hub.users.member(None, "ann", ""))
    assert (status(token), status(made)) == (200, 200)
    get_user_model().objects.filter(username="ann").update(is_active=False)
    assert (status(token), status(made)) == (401, 401)


def test_a_session_needs_the_token_against_forgery(project: Project) -> None:
    project.user("ann", "clinic.view_tag")
    client = Client(enforce_csrf_checks=True)
    assert post(client, "/sync/v1/pull", PULL).status_code == 401
    assert client.login(username="ann", password="secret")
    assert post(client, "/sync/v1/register", {"protocol": 1, "name": "page"}).status_code == 403
    client.get("/admin/login/")
    answer = post(
        client,
        "/sync/v1/register",
        {"protocol": 1, "name": "page"},
        **{"X-CSRFToken": client.cookies["csrftoken"].value},
    )
    assert answer.status_code == 200, answer.content


def test_one_path_more_or_less_is_django_s(project: Project) -> None:
    client = Client()
    assert client.get("/sync/livez").json() == {"status": "live"}
    assert client.get("/sync/readyz").json() == {"status": "ready"}
    assert client.get("/sync/v1/nothing").json()["code"] == "not-found"
    assert client.get("/sync/else").status_code == 404
    assert client.get("/sync/db/other/livez").status_code == 404
    assert client.get("/sync/client.js").status_code == 200
    for part in files("reunite.server").joinpath("client").iterdir():
        assert client.get(f"/sync/client/{part.name}").status_code == 200
    assert client.get("/sync/client/none.js").status_code == 404


def test_a_client_of_django_s_syncs_inside_a_test_s_transaction(project: Project) -> None:
    """As `django.test.TestCase` does it: what the view did is gone with the transaction."""
    project.user("ann", "clinic.view_tag")
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    with transaction.atomic():
        Tag.objects.create(name="uncommitted")
        headers = {"Authorization": f"Bearer {token_of('ann')}"}
        answer = Client().get("/sync/v1/query/clinic_tag", headers=headers)
        assert answer.status_code == 200, answer.content
        assert "uncommitted" in answer.content.decode()
        transaction.set_rollback(True)
    assert not Tag.objects.exists()


async def _over_asgi(token: str) -> Any:
    client = AsyncClient()
    return await client.get("/sync/v1/schema", headers={"Authorization": f"Bearer {token}"})


def test_the_same_view_answers_under_asgi(project: Project) -> None:
    from asgiref.sync import async_to_sync

    project.user("ann", "clinic.view_tag")
    answer = async_to_sync(_over_asgi)(token_of("ann"))
    assert answer.status_code == 200
    assert "clinic_tag" in answer.content.decode()


@contextmanager
def served_by_uvicorn() -> Iterator[str]:
    """The project's URL, on uvicorn as teams run it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(ASGIHandler(), log_level="warning", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def test_streams_bring_what_the_orm_writes_under_asgi(everywhere: Project) -> None:
    ann = everywhere.user("ann", "clinic.view_tag", "clinic.add_tag")
    with ExitStack() as stack:
        url = stack.enter_context(served_by_uvicorn())
        replica = Replica.clone(
            everywhere.folder / "ann.db", f"{url}/sync", username="ann", password="secret"
        )
        live = stack.enter_context(LiveReplica(replica, "clinic_tag"))
        live.seen.until_phase("live")
        assert _apps_of(everywhere.hub, True)[1].state.streams.count == 1
        Tag.objects.create(name="from the ORM")
        live.until_rows("select name from clinic_tag", [("from the ORM",)])
        write(replica, "insert into clinic_tag (name) values ('z')")
        live.seen.until(lambda: replica.status().pending == 0)
        assert Tag.objects.filter(name="z").exists()
        ann.user_permissions.clear()
        Tag.objects.create(name="not for Ann")
        replica.sync()
        assert live.rows("select name from clinic_tag") == []


def test_a_large_answer_is_whole(project: Project) -> None:
    project.user("ann", "clinic.view_tag")
    Tag.objects.bulk_create(Tag(name=f"{n:05}" * 10) for n in range(5_000))
    headers = {"Authorization": f"Bearer {token_of('ann')}"}
    answer = Client().get("/sync/v1/query/clinic_tag?limit=1000", headers=headers)
    assert not answer.streaming
    assert len(answer.json()["rows"]) == 1_000


def test_the_door_gives_tokens_on_every_python(project: Project) -> None:
    """Which looks for a protocol's methods in the class from 3.12 on."""
    assert callable(inspect.getattr_static(tidy(project.hub), "admit"))
