"""The Flask extension."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, abort, g, request, session

from reunite import CallerError, Hub, NotAuthenticatedError, Principal, Replica, Rules, row, user
from reunite.contrib.flask import Reunite
from tests.contrib.test_wsgi import notes, served, write


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with sqlite3.connect(tmp_path / "hub.db") as db:
        db.execute("create table note (id text primary key not null, owner text, body text)")
    db.close()
    with Hub(tmp_path / "hub.db") as hub:
        hub.track("note")
        yield hub


def make_app() -> Flask:
    app = Flask("notes")
    app.secret_key = "for tests"

    @app.get("/")
    def home() -> str:
        return "home"

    return app


def test_a_hub_is_beside_the_routes_of_the_application(hub: Hub, tmp_path: Path) -> None:
    app = make_app()
    Reunite(app, hub)
    with (
        served(app) as url,
        Replica.clone(tmp_path / "a.db", f"{url}/sync", token=hub.create_token()) as replica,
    ):
        write(replica, "a")
        replica.sync()
        assert hub.status().changes == 1
    client = app.test_client()
    assert client.get("/").text == "home"
    assert client.get("/sync/livez").json == {"status": "live"}
    assert client.get("/sync/nothing").json["code"] == "not-found"
    assert client.get("/syncing").status_code == 404
    assert client.put("/sync/v1/pull").status_code == 405


def test_a_factory_gives_the_application_later_and_another_prefix(hub: Hub) -> None:
    reunite = Reunite(hub=hub, prefix="api/sync/")
    app = make_app()
    reunite.init_app(app)
    assert app.extensions["reunite"] is reunite
    assert app.test_client().get("/api/sync/livez").status_code == 200
    with pytest.raises(CallerError, match="a place of its own"):
        Reunite(make_app(), hub, prefix="/")
    with pytest.raises(CallerError, match="needs a hub"):
        Reunite(make_app())


def test_the_application_says_who_asks_with_what_flask_gives_it(hub: Hub, tmp_path: Path) -> None:
    mine = row.owner == user.id
    hub.track("note", rules=Rules(read=mine, insert=mine))
    app = make_app()

    @app.before_request
    def remember() -> None:
        g.token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if g.token == "blocked":
            abort(403)

    @app.post("/login")
    def login() -> str:
        session["name"] = "cookie"
        return ""

    def who() -> Principal | str | None:
        if "name" in session:
            return str(session["name"])
        return {"a": "ann", "b": Principal(user="bob")}.get(g.token)

    Reunite(app, hub, authenticate=who)
    with served(app) as url:
        with (
            Replica.clone(tmp_path / "ann.db", f"{url}/sync", token="a") as ann,
            Replica.clone(tmp_path / "bob.db", f"{url}/sync", token="b") as bob,
        ):
            write(ann, "a")
            ann.sync()
            bob.sync()
            assert (notes(ann), notes(bob)) == (["x"], [])
        with pytest.raises(NotAuthenticatedError):
            Replica.clone(tmp_path / "eve.db", f"{url}/sync", token="e")
    browser = app.test_client()
    assert browser.get("/sync/v1/schema").status_code == 401
    assert (
        browser.get("/sync/v1/schema", headers={"Authorization": "Bearer blocked"}).status_code
        == 403
    )
    browser.post("/login")
    assert browser.get("/sync/v1/query/note").json["rows"] == []


@pytest.mark.parametrize("code", [401, 403])
def test_who_is_sent_away_by_the_applications_function_is_nobody(hub: Hub, code: int) -> None:
    app = make_app()
    Reunite(app, hub, authenticate=lambda: abort(code))
    assert app.test_client().get("/sync/v1/schema").status_code == 401


def test_what_the_applications_function_raises_is_no_answer(hub: Hub) -> None:
    app = make_app()
    Reunite(app, hub, authenticate=lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    answer = app.test_client().get("/sync/v1/schema")
    assert answer.status_code == 500
    assert answer.json["code"] == "internal"
    assert "division" not in answer.text
