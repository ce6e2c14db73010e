"""The endpoint: the one of mobync's README, and the ready-made one, over real HTTP."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, request
from werkzeug.serving import make_server

from reunite.dropin.mobync import (
    InconsistentClock,
    InMemorySynchronizer,
    Mobync,
    MobyncClient,
    MobyncError,
    UnknownModel,
    flask_blueprint,
)
from reunite.errors import HubUnreachableError, NotAuthenticatedError
from tests.dropin.mobync_world import MODEL, OWNER, Implementation, diff, rows
from tests.patience import DEADLINE_S


def get_owner_id_from_auth(auth_token: str) -> str | None:
    return {"secret": OWNER}.get(auth_token)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The application on a free port, and its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(DEADLINE_S)
        server.server_close()


def readme_app(implementation: Implementation) -> Flask:
    """The route as mobync's README has it."""
    app = Flask(__name__)
    mobync = Mobync(implementation)

    @app.route("/sync", methods=["POST"])
    def sync() -> Any:
        data = request.get_json()

        if "auth_token" not in data or "diffs" not in data:
            abort(400)

        if "logical_clock" not in data or "diffs" not in data:
            abort(400)

        owner_id = get_owner_id_from_auth(data["auth_token"])

        try:
            res = mobync.apply(data["logical_clock"], data["diffs"], owner_id or "")
        except Exception:
            abort(400)

        return res

    return app


def test_the_endpoint_of_the_readme_serves_two_devices(tmp_path: Path) -> None:
    implementation = Implementation()
    with serving(readme_app(implementation)) as url:
        options: Any = {
            "url": f"{url}/sync",
            "owner": OWNER,
            "auth_token": "secret",
            "models": {MODEL: ["field1"]},
        }
        with (
            MobyncClient(tmp_path / "a.db", **options) as a,
            MobyncClient(tmp_path / "b.db", **options) as b,
        ):
            row = a.create(MODEL, {"field1": "x"})
            a.sync()
            b.sync()
            assert b.rows(MODEL) == [{"id": row, "field1": "x"}]
        stranger = options | {"auth_token": "wrong"}
        with MobyncClient(tmp_path / "c.db", **stranger) as c:
            c.create(MODEL, {"field1": "y"})
            with pytest.raises(MobyncError, match="status 400"):
                c.sync()
    assert list(rows(implementation)) == [row]


def test_another_name_for_the_table_of_diffs() -> None:
    implementation = Implementation()
    implementation.tables["new_name"] = implementation.tables.pop("diffs")
    mobync = Mobync(implementation, diffs_model_name="new_name")
    mobync.apply(0, [diff("create", "uuid1", field1="a")], OWNER)
    assert len(implementation.tables["new_name"]) == 1


class Failing(InMemorySynchronizer):
    def create(self, where: str, data_json: str) -> None:
        raise RuntimeError("The password of the database is tiger.")


def ready_made(synchronizer: InMemorySynchronizer) -> Flask:
    app = Flask(__name__)
    app.register_blueprint(flask_blueprint(Mobync(synchronizer), get_owner_id_from_auth))
    return app


def test_the_ready_made_endpoint(tmp_path: Path) -> None:
    app = ready_made(InMemorySynchronizer([MODEL]))
    client = app.test_client()
    body = {"auth_token": "secret", "logical_clock": 0, "diffs": [diff("create", "uuid1")]}
    answer = client.post("/sync", json=body)
    assert (answer.status_code, answer.get_json()["logical_clock"]) == (200, 1)
    page = client.post("/sync", json=body | {"diffs": [], "limit": 1, "version": 1})
    assert len(page.get_json()["diffs"]) == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"auth_token": "wrong"}, 401, "not-authenticated"),
        ({"auth_token": None}, 401, "not-authenticated"),
        ({"diffs": None}, 400, "mobync-error"),
        ({"diffs": [{}]}, 400, "inconsistent-diff"),
        ({"diffs": [diff("create", "uuid1", owner="bob")]}, 400, "unauthorized"),
        ({"diffs": [diff("create", "uuid1", model="x")]}, 400, "unknown-model"),
        ({"logical_clock": -1}, 400, "inconsistent-clock"),
        ({"logical_clock": 9}, 400, "resync_needed"),
        ({"limit": "x"}, 400, "mobync-error"),
        ({"limit": 0}, 400, "mobync-error"),
    ],
)
def test_what_is_refused_says_why(change: dict[str, Any], status: int, code: str) -> None:
    client = ready_made(InMemorySynchronizer([MODEL])).test_client()
    body = {"auth_token": "secret", "logical_clock": 0, "diffs": []} | change
    answer = client.post("/sync", json=body)
    said = answer.get_json()
    assert (answer.status_code, said["success"], said["code"]) == (status, False, code)
    assert said["message"]


@pytest.mark.parametrize("key", ["auth_token", "logical_clock", "diffs"])
def test_a_missing_key_is_refused(key: str) -> None:
    client = ready_made(InMemorySynchronizer([MODEL])).test_client()
    body = {"auth_token": "secret", "logical_clock": 0, "diffs": []}
    del body[key]  # type: ignore[misc]
    assert client.post("/sync", json=body).status_code == 400
    for text in ("[]", "no JSON", ""):
        refused = client.post("/sync", data=text, content_type="application/json")
        assert refused.status_code == 400


@pytest.mark.parametrize(
    "blamed",
    [diff("create", "uuid1", owner="bob"), diff("create", "uuid1", model="x"),
     diff("create", "uuid1") | {"json_data": "none"}],
)  # fmt: skip
def test_the_diff_that_is_to_blame_is_named(blamed: dict[str, Any]) -> None:
    client = ready_made(InMemorySynchronizer([MODEL])).test_client()
    diffs = [diff("create", "uuid2"), blamed]
    body = {"auth_token": "secret", "logical_clock": 0, "diffs": diffs}
    assert client.post("/sync", json=body).get_json()["diff"] == blamed["id"]
    body = body | {"logical_clock": 9, "diffs": []}
    assert "diff" not in client.post("/sync", json=body).get_json()


def test_nothing_internal_leaks(caplog: pytest.LogCaptureFixture) -> None:
    client = ready_made(Failing([MODEL])).test_client()
    body = {"auth_token": "secret", "logical_clock": 0, "diffs": [diff("create", "uuid1")]}
    with caplog.at_level(logging.ERROR, "reunite.mobync"):
        answer = client.post("/sync", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["diff"] == body["diffs"][0]["id"]  # type: ignore[index]
    assert "tiger" not in answer.get_data(as_text=True)
    assert "tiger" in caplog.text


def test_a_client_raises_what_the_endpoint_says(tmp_path: Path) -> None:
    synchronizer = InMemorySynchronizer([MODEL])
    with serving(ready_made(synchronizer)) as url:

        def device(name: str, **options: Any) -> MobyncClient:
            options = {"auth_token": "secret", "models": {MODEL: ["field1"]}} | options
            return MobyncClient(tmp_path / f"{name}.db", owner=OWNER, url=f"{url}/sync", **options)

        with device("a", auth_token="wrong") as a, pytest.raises(NotAuthenticatedError):
            a.sync()
        with device("b", models={"other": []}) as b:
            b.create("other", {})
            with pytest.raises(UnknownModel):
                b.sync()
        with device("c") as c:
            c.create(MODEL, {"field1": "kept"})
            c.sync()
            synchronizer.delete(
                "diffs", json.dumps({"id": json.loads(synchronizer.read("diffs", []))[0]["id"]})
            )
            synchronizer.delete(MODEL, json.dumps({"id": c.rows(MODEL)[0]["id"]}))
            c.sync()
            assert (c.clock, c.rows(MODEL)) == (0, [])
    with device("d") as d:
        row = d.create(MODEL, {"field1": "waits"})
        with pytest.raises(HubUnreachableError):
            d.sync()
        assert [found["id"] for found in d.rows(MODEL)] == [row]
    assert InconsistentClock("x").code == "inconsistent-clock"
