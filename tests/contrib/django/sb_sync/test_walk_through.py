"""The README's client, as it stands there, over a real server; and several of them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection

from reunite.dropin.sb_sync import conf
from tests.contrib.django.myapp.models import Customer
from tests.contrib.django.sb_sync.conftest import PASSWORD, World
from tests.contrib.test_wsgi import served

DEADLINE_S = 120.0
WRITERS, READERS = 4, 2


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with ExitStack() as stack:
        yield stack.enter_context(served(WSGIHandler())) + "/api/sync"


def sign_in(url: str, user: str) -> dict[str, str]:
    answer = httpx2.post(f"{url}/auth/token/", data={"username": user, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_the_readme_s_client_works_over_http(world: World, url: str) -> None:
    headers = sign_in(url, "john_manager")
    push_data = {
        "data": [
            {
                "_model": "myapp.Customer",
                "name": "John Doe",
                "department": "SALES",
                "assigned_manager_id": world.users["john_manager"].pk,
            }
        ]
    }
    pushed = httpx2.post(f"{url}/push/", json=push_data, headers=headers)
    assert (pushed.status_code, pushed.json()["status"]) == (200, "success")
    pull_data = {
        "models": {
            "myapp.Customer": "2024-01-14T10:00:00Z",
            "myapp.Order": "2024-01-14T10:00:00Z",
        },
        "batch_size": 100,
    }
    pulled = httpx2.post(f"{url}/pull/", json=pull_data, headers=headers).json()
    assert [row["name"] for row in pulled["data"]] == ["John Doe"]
    assert set(pulled["metadata"]) == {"myapp.Customer", "myapp.Order"}
    assert httpx2.post(f"{url}/push/", json=push_data).status_code == 401


def test_what_many_push_at_once_comes_to_each_reader_once(world: World, url: str) -> None:
    """SB-S12: 4 clients push 1,000 rows each while 2 pull in a loop."""
    conf.keep("SECURITY", "ENABLE_RATE_LIMITING", False)
    rows = 1_000 if connection.vendor == "sqlite" else 500
    headers = sign_in(url, "john_manager")
    is_over = threading.Event()
    failures: list[BaseException] = []
    given: list[list[int]] = [[] for _ in range(READERS)]

    def ask(client: Any, path: str, body: Any) -> Any:
        """A client that tries again when it is told to."""
        for _ in range(100):
            answer = client.post(f"{url}/{path}", json=body, headers=headers, timeout=DEADLINE_S)
            if answer.status_code == 200:
                return answer.json()
            assert answer.json()["error"]["retryable"], answer.text
        raise AssertionError("it never came through")

    def write(number: int) -> None:
        with httpx2.Client() as client:
            for start in range(0, rows, 250):
                items = [
                    {"_model": "myapp.Customer", "name": f"{number}-{n}"}
                    for n in range(start, start + 250)
                ]
                assert ask(client, "push/", {"data": items})["status"] == "success"

    def read(number: int) -> None:
        place, is_last = None, False
        with httpx2.Client() as client:
            while True:
                was_over = is_over.is_set()
                body = {"models": {"myapp.Customer": place}, "batch_size": 300}
                found = ask(client, "pull/", body)
                place = found["metadata"]["myapp.Customer"]["last_sync"]
                given[number] += [row["id"] for row in found["data"]]
                if is_last and not found["data"]:
                    return
                is_last = was_over

    def guarded(work: Any, number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    def threads(work: Any, count: int) -> list[threading.Thread]:
        found = [threading.Thread(target=guarded, args=(work, n)) for n in range(count)]
        for thread in found:
            thread.start()
        return found

    readers, writers = threads(read, READERS), threads(write, WRITERS)
    for thread in writers:
        thread.join(DEADLINE_S)
    is_over.set()
    for thread in readers:
        thread.join(DEADLINE_S)
    assert failures == []
    wanted = set(Customer.objects.values_list("pk", flat=True))
    assert len(wanted) == WRITERS * rows
    for keys in given:
        assert len(keys) == len(set(keys))
        assert set(keys) == wanted
