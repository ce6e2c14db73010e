"""What a hub does for web pages: it serves them the client, and lets those of other origins in."""

import gzip
import hashlib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import reunite.server
from reunite.errors import BadRequestError
from reunite.server.app import create_app
from tests.integration.fake_hub import TOKEN, FakeHub

MODULE = (Path(reunite.server.__file__).parent / "client.js").read_bytes()
SHOP = "https://shop.example"


def client(**options: object) -> TestClient:
    return TestClient(create_app(FakeHub(), **options))  # type: ignore[arg-type]


def test_the_client_is_served_to_whoever_asks_as_javascript() -> None:
    with client() as web:
        answer = web.get("/client.js", headers={"Accept-Encoding": "identity"})
    assert answer.content == MODULE
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"connect" in MODULE.rpartition(b"export{")[2]


def test_a_browser_that_has_the_client_is_told_so() -> None:
    with client() as web:
        first = web.get("/client.js")
        again = web.get("/client.js", headers={"If-None-Match": first.headers["etag"]})
        other = web.get("/client.js", headers={"If-None-Match": '"of an older release"'})
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (other.status_code, other.content) == (200, MODULE)
    assert hashlib.sha256(MODULE).hexdigest()[:32] in first.headers["etag"]


def test_the_client_travels_compressed() -> None:
    packed = {"Accept-Encoding": "gzip"}
    with client() as web, web.stream("GET", "/client.js", headers=packed) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        body = b"".join(answer.iter_raw())
    assert gzip.decompress(body) == MODULE


def test_what_the_client_loads_later_is_kept_for_good_and_is_of_this_release_alone() -> None:
    (part,) = (Path(reunite.server.__file__).parent / "client").iterdir()
    assert f"./client/{part.name}".encode() in MODULE
    with client() as web:
        answer = web.get(f"/client/{part.name}", headers={"Origin": SHOP})
        other = web.get("/client/of-an-older-release.js")
        outside = web.get("/client/..%2fclient.js")
    assert answer.content == part.read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (other.status_code, outside.status_code) == (404, 404)


def test_pages_of_origins_that_are_named_may_talk_to_the_hub_and_others_may_not() -> None:
    asked = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,content-encoding",
    }
    with client(origins=[SHOP]) as web:
        allowed = web.options("/v1/pull", headers=asked)
        refused = web.options("/v1/pull", headers={**asked, "Origin": "https://evil.example"})
        answer = web.get("/livez", headers={"Origin": SHOP})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SHOP
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert "Reunite-Protocol" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_without_origins_no_other_page_may() -> None:
    with client() as web:
        answer = web.get("/livez", headers={"Origin": SHOP, "Authorization": f"Bearer {TOKEN}"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https:"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(BadRequestError, match="is no origin"):
        client(origins=[origin])
