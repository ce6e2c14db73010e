"""Who comes without a token, with one of another hub, or with what only looks like one."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import httpx2
import pytest

from reunite import Hub, Principal
from reunite.errors import BadRequestError
from reunite.protocol.routes import ROUTES
from tests.hostile.conftest import ANN, JSON, MALLORY, SCHEMA, Somebody, Town, rows_of, track, watch
from tests.hostile.test_signed_tokens import stream_ends

PATHS = [(route.method, route.path.replace("{table}", "task")) for route in ROUTES.values()]

STRANGE: dict[str, list[tuple[bytes, bytes]]] = {
    "none": [],
    "empty": [(b"Authorization", b"")],
    "no token": [(b"Authorization", b"Bearer")],
    "no scheme": [(b"Authorization", b"TOKEN")],
    "another scheme": [(b"Authorization", b"Basic TOKEN")],
    "a scheme that begins alike": [(b"Authorization", b"Bearers TOKEN")],
    "another first": [(b"Authorization", b"Bearer x"), (b"Authorization", b"Bearer TOKEN")],
    "a comma": [(b"Authorization", b"Bearer x, Bearer TOKEN")],
    "two words": [(b"Authorization", b"Bearer TOKEN TOKEN")],
    "another header": [(b"X-Authorization", b"Bearer TOKEN")],
    "a cookie": [(b"Cookie", b"authorization=Bearer TOKEN; token=TOKEN")],
    "the name of a user": [(b"Authorization", b"Bearer ann"), (b"X-Forwarded-User", b"ann")],
    "cut short": [(b"Authorization", b"Bearer CUT")],
    "its hash": [(b"Authorization", b"Bearer HASH")],
    "other letters": [(b"Authorization", b"Bearer SWAPPED")],
    "SQL": [(b"Authorization", b"Bearer ' or '1'='1")],
    "a pattern": [(b"Authorization", b"Bearer %")],
    "no ASCII": [(b"Authorization", b"Bearer \xff\xfe\xe9")],
    "long": [(b"Authorization", b"Bearer " + b"x" * 30_000)],
    "unsigned": [(b"Authorization", b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.")],
}  # fmt: skip


@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE.keys())
def test_without_a_token_nothing_is_told(town: Town, headers: list[tuple[bytes, bytes]]) -> None:
    token = town.hub.create_token(ANN)
    stands_for = {
        b"TOKEN": token.encode(),
        b"CUT": token[:-1].encode(),
        b"HASH": hashlib.sha256(token.encode()).hexdigest().encode(),
        b"SWAPPED": token.swapcase().encode(),
    }
    sent = []
    for name, value in headers:
        for word, text in stands_for.items():
            value = value.replace(word, text)
        sent.append((name, value))
    sent.append((b"Content-Type", b"application/json"))
    answers = set()
    with httpx2.Client(base_url=town.server.url, trust_env=False) as client:
        for method, path in PATHS:
            body = b"{}" if method == "POST" else None
            answers.add(watch(client.request(method, path, headers=sent, content=body)).content)
    assert len(answers) == 1
    assert b'"not-authenticated"' in answers.pop()


def test_a_token_in_the_url_is_no_token(town: Town) -> None:
    token = town.hub.create_token(ANN)
    for parameter in ("token", "access_token", "authorization"):
        with httpx2.Client(base_url=town.server.url, trust_env=False) as client:
            told = client.get("v1/schema", params={parameter: token})
        assert watch(told).status_code == 401
        assert token not in told.text


def test_the_token_of_another_hub_opens_nothing(town: Town, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "other.db")
    db.executescript(SCHEMA)
    db.close()
    with Hub(tmp_path / "other.db") as other:
        track(other)
        token = other.create_token(ANN)
    told = watch(town.with_token(token).get("v1/schema"))
    assert (told.status_code, told.json()["code"]) == (401, "not-authenticated")


@pytest.mark.parametrize(("method", "path"), PATHS, ids=str)
def test_a_revoked_token_opens_nothing(town: Town, method: str, path: str) -> None:
    client = town.with_token(town.hub.create_token(ANN, label="lost"))
    assert watch(client.get("v1/schema")).status_code == 200
    town.hub.revoke_token("lost")
    told = watch(client.request(method, path, json={} if method == "POST" else None))
    assert told.status_code == 401


def test_a_body_cannot_say_who_asks(database: Path, town: Town, mallory: Somebody) -> None:
    """Fields that a message does not have are refused, and none of them has a principal."""
    for name in ("principal", "user", "tenant", "roles", "claims"):
        for operation in ("register", "push", "pull"):
            message = mallory.push_message() if operation == "push" else mallory.pull_message()
            if operation == "register":
                message = {"protocol": 1, "name": "x"}
            told = mallory.send(operation, message | {name: "ann"})
            assert (told.status_code, told.json()["code"]) == (400, "bad-request")
    for name in ("X-User", "X-Tenant", "X-Forwarded-User", "X-Remote-User", "Remote-User"):
        told = mallory.get("v1/query/task", headers={name: "umbrella"})
        assert [found[0] for found in told.json()["rows"]] == ["k-ann"]


def test_the_database_holds_no_token(database: Path, town: Town) -> None:
    token = town.hub.create_token(MALLORY)
    db = sqlite3.connect(database)
    dump = "\n".join(db.iterdump())
    db.close()
    assert hashlib.sha256(token.encode()).hexdigest() in dump
    assert token not in dump


def test_tokens_that_are_too_short_are_refused(town: Town) -> None:
    for chosen in ("", "secret", "x" * 15, "with a blank in it", "ünicode-is-no-token"):
        with pytest.raises(BadRequestError):
            town.hub.create_token(ANN, token=chosen)
    made = {town.hub.create_token(ANN) for _ in range(20)}
    assert len(made) == 20
    assert min(map(len, made)) >= 43  # 256 bits, six to a letter


def test_principals_that_look_alike_are_others(town: Town) -> None:
    """Owners, tenants and their types are compared exactly."""
    replica = town.somebody(Principal(user="max", tenant="7")).replica
    for other in (
        Principal(user="max", tenant=7),
        Principal(user="Max", tenant="7"),
        Principal(user="max"),
        Principal(user="max ", tenant="7"),
        Principal(user="max", tenant=" 7"),
        Principal(user='max","tenant":"7', tenant=None),
    ):
        somebody = town.somebody(other)
        told = somebody.pull(replica=replica)
        assert told.json()["code"] == "replica-unknown"


def test_asking_for_a_token_that_is_none_leaves_nothing_in_the_database(
    database: Path, town: Town
) -> None:
    before = rows_of(database)
    client = town.with_token("x" * 40)
    for _ in range(20):
        assert watch(client.post("v1/register", content=b"{}", headers=JSON)).status_code == 401
    assert rows_of(database) == before
    assert town.hub.status().replicas == ()


@pytest.mark.parametrize("end", ["user", "tenant", "removed user", "removed tenant"])
def test_a_stream_ends_with_the_user_and_the_tenant_of_its_token(town: Town, end: str) -> None:
    directory = town.hub.directory
    directory.add_tenant("acme")
    directory.add_user("ann")
    ends = {
        "user": lambda: directory.set_user_active("ann", False),
        "tenant": lambda: directory.set_tenant_active("acme", False),
        "removed user": lambda: directory.remove_user("ann"),
        "removed tenant": lambda: directory.remove_tenant("acme"),
    }
    token = town.hub.create_token(Principal(user="ann", tenant="acme"))
    assert stream_ends(town, token, ends[end])
    assert town.with_token(token).get("v1/schema").status_code == 401
