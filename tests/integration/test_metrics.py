"""What a server counts and tells of its requests, and what it keeps to itself."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest

from reunite.core.change import OutcomeKind
from reunite.errors import CallerError
from reunite.protocol.codec import encode
from reunite.protocol.push import OutcomeMessage, PushAnswer
from reunite.server import ServerThread, create_app
from tests.integration.fake_hub import PULL, PUSH, STAMP, TOKEN, FakeHub, raises
from tests.integration.http_helpers import JSON, client_of
from tests.patience import DEADLINE_S


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def client(hub: FakeHub) -> Iterator[httpx2.Client]:
    with ServerThread(hub, metrics=True) as server, client_of(server.url) as client:
        yield client


def metrics(client: httpx2.Client) -> dict[str, float]:
    response = client.get("metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert response.headers["x-content-type-options"] == "nosniff"
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_requests_and_refusals_are_counted_by_code(hub: FakeHub, client: httpx2.Client) -> None:
    client.post("v1/pull", content=PULL, headers=JSON)
    client.post("v1/pull", content=PULL, headers=JSON)
    client.post("v1/pull", content=b"{", headers=JSON)
    client.post("v1/pull", content=PULL, headers=JSON | {"Authorization": "Bearer nobody"})
    client.post("v1/pull", content=b"[" * 100 + b"]" * 100, headers=JSON)
    client.get("v1/nothing/at/all")
    client.get("livez")
    hub.behaviour["schema"] = raises(RuntimeError("secret"))
    client.get("v1/schema")
    found = metrics(client)
    assert found['reunite_requests_total{operation="pull",status="200"}'] == 2
    assert found['reunite_requests_total{operation="pull",status="400"}'] == 1
    assert found['reunite_requests_total{operation="unknown",status="404"}'] == 1
    assert found['reunite_requests_total{operation="livez",status="200"}'] == 1
    assert found['reunite_refusals_total{code="not-authenticated",limit=""}'] == 1
    assert found['reunite_refusals_total{code="limit-exceeded",limit="BODY_DEPTH_MAX"}'] == 1
    assert found['reunite_refusals_total{code="internal",limit=""}'] == 1
    assert found['reunite_request_seconds_count{operation="pull"}'] == 5
    assert found['reunite_request_seconds_bucket{le="+Inf",operation="pull"}'] == 5
    assert found["reunite_received_bytes_total"] == 3 * len(PULL) + 201
    assert found["reunite_sent_bytes_total"] > 0
    assert found["reunite_requests_under_way"] == 0
    assert found["reunite_streams"] == 0


def test_changes_that_are_refused_are_counted(hub: FakeHub, client: httpx2.Client) -> None:
    outcome = OutcomeMessage(n=1, id="c1", kind=OutcomeKind.REJECTED, code="not-allowed", reason="")
    answer = PushAnswer(first_n=1, last_n=1, outcomes=(outcome,), stamp=STAMP)
    hub.behaviour["push"] = lambda: answer
    for _ in range(2):
        client.post("v1/push", content=PUSH, headers=JSON)
    assert metrics(client)['reunite_changes_refused_total{code="not-allowed"}'] == 2


def test_what_clients_choose_makes_no_new_counters(client: httpx2.Client) -> None:
    metrics(client)
    before = set(metrics(client))
    for number in range(50):
        client.get(f"v1/nothing-{number}?x={number}", headers={"X-Anything": str(number)})
        client.request(f"METHOD{number}", "livez")
    new = set(metrics(client)) - before
    assert len({name.partition("{")[0] for name in new}) <= 6
    assert len(new) < 25, new


def test_metrics_are_there_where_they_are_asked_for(hub: FakeHub) -> None:
    with ServerThread(hub) as server, client_of(server.url) as client:
        assert client.get("metrics").status_code == 404


def test_without_the_package_metrics_are_refused_with_what_to_do(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "reunite.server.metrics", raising=False)
    with pytest.raises(CallerError, match=r"reunite\[metrics\]"):
        create_app(hub, metrics=True)


def test_logs_say_who_asked_for_what_and_never_what_was_in_it(
    hub: FakeHub, client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reunite.access")
    client.post("v1/pull", content=PULL, headers=JSON)
    client.get("v1/query/planes", params={"where": '{"name":"a-value-of-a-row"}'})
    client.get("v1/query/planes", headers={"Authorization": "Bearer a-token-of-nobody"})
    client.post("v1/pull", content=b'{"protocol":"a-payload"}', headers=JSON)
    hub.behaviour["schema"] = raises(RuntimeError("it broke"))
    client.get("v1/schema")

    def told_so_far() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "reunite.access"]

    deadline = time.monotonic() + DEADLINE_S
    while len(told_so_far()) < 5:  # a record follows its answer
        assert time.monotonic() < deadline
        time.sleep(0.01)
    records = told_so_far()
    told = [
        {
            name.removeprefix("reunite_"): value
            for name, value in vars(record).items()
            if name.startswith("reunite_")
        }
        for record in records
    ]
    assert [record.levelname for record in records] == ["INFO", "INFO"] + ["WARNING"] * 3
    assert [(one["operation"], one["status"], one.get("code")) for one in told] == [
        ("pull", 200, None),
        ("query", 200, None),
        ("query", 401, "not-authenticated"),
        ("pull", 400, "bad-request"),
        ("schema", 500, "internal"),
    ]
    assert [one.get("user") for one in told] == ["ann", "ann", None, "ann", "ann"]
    assert told[0]["bytes_in"] == len(PULL)
    assert all(0 <= one["seconds"] < DEADLINE_S for one in told)
    assert len(told[4]["incident"]) == 12
    everything = caplog.text + str(told)
    for secret in ("a-value-of-a-row", "a-token-of-nobody", "a-payload", TOKEN):
        assert secret not in everything


def test_a_push_that_is_no_json_of_ours_is_counted_once(client: httpx2.Client) -> None:
    client.post("v1/push", content=encode({"protocol": 1}), headers=JSON)
    assert metrics(client)['reunite_requests_total{operation="push",status="400"}'] == 1
