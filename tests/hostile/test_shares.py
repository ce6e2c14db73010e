"""One principal that wants all of the server, and the others who are answered meanwhile."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from reunite import Principal
from tests.hostile.conftest import ANN, MALLORY, Somebody, Town, town_at, watch
from tests.integration.http_helpers import connection_to
from tests.patience import DEADLINE_S


def limit_of(response: httpx2.Response) -> str:
    told = watch(response)
    assert told.status_code == 429
    assert int(told.headers["retry-after"]) >= 1
    limit: str = told.json()["limit"]
    return limit


def test_who_comes_too_often_waits_and_others_do_not(database: Path) -> None:
    with town_at(database, principal_rate_max=1, principal_burst_max=20) as town:
        mallory, ann = town.somebody(MALLORY), town.somebody(ANN)
        told = [mallory.client.get("v1/schema") for _ in range(30)]
        assert limit_of(told[-1]) == "PRINCIPAL_RATE_MAX"
        # With every token of theirs, and every operation.
        again = town.with_token(town.hub.create_token(MALLORY))
        assert limit_of(again.get("v1/query/task")) == "PRINCIPAL_RATE_MAX"
        body = b'{"protocol":1,"name":"x"}'
        headers = {"Content-Type": "application/json"}
        assert limit_of(again.post("v1/register", content=body, headers=headers)) == (
            "PRINCIPAL_RATE_MAX"
        )
        assert ann.get("v1/schema").status_code == 200


def test_bodies_that_never_come_take_nobody_elses_place(database: Path) -> None:
    with town_at(database, principal_requests_max=3, requests_max=20) as town, ExitStack() as stack:
        token = town.hub.create_token(MALLORY)
        head = (
            f"POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 90000\r\n\r\n"
        ).encode()
        answer = b""
        while b"PRINCIPAL_REQUESTS_MAX" not in answer:
            connection = stack.enter_context(connection_to(town.server))
            connection.settimeout(0.5)
            connection.sendall(head)
            with suppress(TimeoutError):
                answer = connection.recv(65_536)
        assert town.somebody(ANN).get("v1/schema").status_code == 200


def opened_stream(stack: ExitStack, one: Somebody, cursor: str) -> httpx2.Response:
    return stack.enter_context(
        one.client.stream(
            "GET",
            "v1/live",
            params={"protocol": "1", "replica": one.replica},
            headers={"Last-Event-ID": cursor},
        )
    )


def test_streams_of_one_principal_leave_room_for_others(database: Path) -> None:
    with town_at(database, principal_streams_max=4) as town, ExitStack() as stack:
        devices = [town.somebody(MALLORY) for _ in range(8)]
        opened = [opened_stream(stack, device, device.pull_all()[-1].cursor) for device in devices]
        assert [stream.status_code for stream in opened] == [200] * 4 + [429] * 4
        cursor = devices[0].pull_all()[-1].cursor
        assert limit_of(devices[7].pull(cursor=cursor, wait_s=5)) == "PRINCIPAL_STREAMS_MAX"
        ann = town.somebody(ANN)
        stream = opened_stream(stack, ann, ann.pull_all()[-1].cursor)
        assert stream.status_code == 200


def test_a_stream_that_ended_makes_room(database: Path) -> None:
    with town_at(database, principal_streams_max=1) as town:
        one = town.somebody(MALLORY)
        cursor = one.pull_all()[-1].cursor
        for _ in range(5):
            with ExitStack() as stack:
                told = opened_stream(stack, one, cursor)
                deadline = time.monotonic() + DEADLINE_S
                # The hub may not have noticed yet that the one before ended.
                while told.status_code == 429 and time.monotonic() < deadline:
                    time.sleep(0.01)
                    told = opened_stream(stack, one, cursor)
                assert told.status_code == 200
                assert next(told.iter_bytes())


def test_a_hundred_streams_of_one_replica_are_one(town: Town) -> None:
    """Another stream of the same file takes the place of the one before."""
    one = town.somebody(MALLORY)
    cursor = one.pull_all()[-1].cursor
    with ExitStack() as stack:
        streams = [opened_stream(stack, one, cursor) for _ in range(100)]
        for stream in streams[:-1]:
            assert b"event: pull" in stream.read()
        assert next(streams[-1].iter_bytes())


@pytest.mark.parametrize("label", ["user", "tenant"])
def test_the_share_is_of_the_user_in_its_tenant(database: Path, label: str) -> None:
    other = {"user": Principal(user="max", tenant="acme"), "tenant": Principal(user="mallory")}
    with town_at(database, principal_rate_max=1, principal_burst_max=3) as town:
        client = town.with_token(town.hub.create_token(MALLORY))
        while client.get("v1/schema").status_code == 200:
            pass
        client = town.with_token(town.hub.create_token(other[label]))
        assert client.get("v1/schema").status_code == 200
