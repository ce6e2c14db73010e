"""Somebody without a password, with an old refresh token, or with a token of another make."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reunite import Hub
from reunite.directory import Attempts
from reunite.directory.passwords import Passwords
from reunite.directory.signing import AUDIENCE
from reunite.engine.directory import ISSUER_STAMP, KeyRecord
from reunite.errors import CallerError, LimitExceededError
from reunite.protocol.limits import LOGIN_RATE_MAX
from reunite.server import ServerThread
from reunite.stores.sql import open_store
from tests.hostile.conftest import Town, rows_of, town_at, watch
from tests.integration.http_helpers import JSON, client_of

PASSWORD = "correct horse battery"


class Door:
    """A client that has no token yet."""

    def __init__(self, town: Town) -> None:
        self.client = client_of(town.server.url, None)

    def send(self, path: str, message: Any) -> httpx2.Response:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return watch(self.client.post(path, content=body, headers=JSON))

    def log_in(self, user: str, password: str = PASSWORD, **fields: Any) -> httpx2.Response:
        message = {"protocol": 1, "user": user, "password": password} | fields
        return self.send("v1/token", message)

    def refresh(self, refresh: str, attempt: str = "first") -> httpx2.Response:
        message = {"protocol": 1, "refresh": refresh, "attempt": attempt}
        return self.send("v1/token/refresh", message)


@pytest.fixture
def door(town: Town) -> Iterator[Door]:
    """Ann and Bea may log in, each to her tenant; Carl may not, Dora has no password."""
    directory = town.hub.directory
    directory.add_role("Users", template="full_access")
    for tenant in ("acme", "umbrella"):
        directory.add_tenant(tenant)
    for user, tenant in (("ann", "acme"), ("bea", "umbrella"), ("carl", "acme"), ("dora", "acme")):
        directory.add_user(user, password=None if user == "dora" else PASSWORD)
        directory.add_member(user, "Users", tenant=tenant)
    directory.set_user_active("carl", False)
    directory.add_user("stray", password=PASSWORD)
    found = Door(town)
    yield found
    found.client.close()


def parts_of(token: str) -> list[dict[str, Any]]:
    return [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in token.split(".")[:2]
    ]


def key_of(hub: Hub) -> KeyRecord:
    with hub._store.read() as tx:
        (key,) = tx.records(KeyRecord)
    return key


def test_whatever_is_wrong_with_a_log_in_is_answered_alike(town: Town, door: Door) -> None:
    """Nobody learns who there is, who may come, and whose tenant which is."""
    answers = {
        door.log_in(user, password, **fields).content
        for user, password, fields in (
            ("ann", "not this one", {}),
            ("nobody", PASSWORD, {}),
            ("carl", PASSWORD, {}),
            ("dora", PASSWORD, {}),
            ("dora", "", {}),
            ("stray", PASSWORD, {}),
            ("ann", PASSWORD, {"tenant": "umbrella"}),
            ("ann", PASSWORD, {"tenant": ""}),
            ("ann' or '1'='1", PASSWORD, {}),
        )
    }
    assert len(answers) == 1
    assert json.loads(answers.pop())["code"] == "not-authenticated"
    assert door.log_in("ann").status_code == 200


def test_a_name_that_there_is_not_costs_as_much_work(town: Town) -> None:
    """One hash is checked for every question, with the same parameters: counted, not timed."""
    asked: list[str] = []

    class Counting:
        def hash(self, password: str) -> str:
            return f"hash of {password}"

        def verify(self, kept: str, password: str) -> bool:
            asked.append(kept)
            return kept == f"hash of {password}"

    passwords = Passwords(Counting())  # type: ignore[arg-type]
    kept = passwords.hash(PASSWORD)
    assert passwords.matches(kept, PASSWORD)
    for of_user, given in ((kept, "wrong"), ("", PASSWORD), ("", ""), (kept, "x" * 5_000)):
        before = len(asked)
        assert not passwords.matches(of_user, given)
        assert len(asked) == before + 1


def test_passwords_are_guessed_a_few_times_a_minute(town: Town, door: Door) -> None:
    """For a name, from an address; and one that there is not counts the same."""
    town.hub._sessions._attempts._now_s = lambda: 0.0  # however long the hashes take
    for number in range(LOGIN_RATE_MAX):
        assert door.log_in("ann" if number % 2 else "nobody", "guess").status_code == 401
    refused = door.log_in("ann")
    assert refused.status_code == 429
    assert refused.json()["limit"] == "LOGIN_RATE_MAX"
    assert "retry-after" in refused.headers
    assert door.log_in("bea").status_code == 429, "from the same address"


@pytest.mark.parametrize(
    ("proxies", "status"),
    [((), 429), (("10.0.0.0/8",), 429), (("127.0.0.1",), 401)],
    ids=["nobody's", "another proxy's", "ours"],
)
def test_an_address_in_a_header_is_believed_of_a_proxy_that_was_named(
    database: Path, proxies: tuple[str, ...], status: int
) -> None:
    with town_at(database, proxies=proxies) as town:
        town.hub._sessions._attempts._now_s = lambda: 0.0
        client = client_of(town.server.url, None)

        def guess(number: int) -> int:
            message = {"protocol": 1, "user": f"u{number}", "password": "guess"}
            sender = {"X-Forwarded-For": f"203.0.{number}.1"}
            return client.post("v1/token", json=message, headers=sender).status_code

        with client:
            assert {guess(number) for number in range(LOGIN_RATE_MAX)} == {401}
            assert guess(LOGIN_RATE_MAX) == status


def test_what_is_no_address_of_a_proxy_is_refused(database: Path) -> None:
    with (
        pytest.raises(CallerError, match="no address of a proxy"),
        town_at(database, proxies=["proxy.example"]),
    ):
        pass


def test_attempts_are_counted_by_name_from_everywhere_and_by_network() -> None:
    now = [0.0]
    attempts = Attempts(now_s=lambda: now[0], rate_max=2)
    for number in range(2):
        attempts.begin("ann", f"10.0.0.{number}")
    with pytest.raises(LimitExceededError):
        attempts.begin("ann", "10.0.0.9")
    attempts.begin("bob", "10.0.0.9")
    attempts.begin("x", "2001:db8::1")
    attempts.begin("y", "2001:db8::2")
    with pytest.raises(LimitExceededError):
        attempts.begin("z", "2001:db8::3")
    now[0] = 30.0
    attempts.begin("ann", "10.0.0.10")
    with pytest.raises(LimitExceededError):
        attempts.begin("ann", "10.0.0.11")
    now[0] = 600.0
    for _ in range(20):
        attempts.begin("ann", "10.0.0.1")()


@pytest.mark.parametrize(
    "forged",
    [
        "none",
        "alg",
        "kid",
        "other-key",
        "issuer",
        "audience",
        "sub",
        "session",
        "tenant",
        "typ",
        "crit",
        "expired",
        "refresh",
    ],
)
def test_a_token_that_the_hub_did_not_sign_so_opens_nothing(
    town: Town, door: Door, forged: str
) -> None:
    answer = door.log_in("ann").json()
    good, key = answer["token"], key_of(town.hub)
    header, claims = parts_of(good)
    with town.hub._store.read() as tx:
        assert claims["iss"] == tx.stamp(ISSUER_STAMP)
    own = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.secret))
    public = own.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    signing: Any = own
    algorithm = "EdDSA"
    match forged:
        case "none":
            signing, algorithm = None, "none"
        case "alg":  # the public key as a secret
            signing, algorithm = public, "HS256"
        case "kid":
            header["kid"] = "0" * 16
        case "other-key":
            signing = Ed25519PrivateKey.generate()
        case "issuer":
            claims["iss"] = "https://login.example"
        case "audience":
            claims["aud"] = "another"
        case "sub":
            claims["sub"] = "bea"
        case "session":
            claims["sid"] = "0" * 32
        case "tenant":
            claims["ten"] = "umbrella"
        case "typ":
            header["typ"] = "JWT"
        case "crit":
            header["crit"] = ["exp"]
        case "expired":
            claims["exp"] = claims["iat"] - 3_600
    headers = {name: value for name, value in header.items() if name != "alg"}
    made = jwt.encode(claims, signing, algorithm=algorithm, headers=headers)
    token = answer["refresh"] if forged == "refresh" else made
    assert watch(town.with_token(good).get("v1/schema")).status_code == 200
    assert watch(town.with_token(token).get("v1/schema")).status_code == 401
    assert claims["aud"] == AUDIENCE or forged == "audience"


def test_the_token_of_another_hub_of_the_same_name_opens_nothing(
    town: Town, door: Door, tmp_path: Path
) -> None:
    good = door.log_in("ann").json()["token"]
    with Hub(open_store(tmp_path / "other.db", create=True)) as other:
        other._store.track([])
        other.directory.add_role("Users")
        other.directory.add_tenant("acme")
        other.directory.add_user("ann", password=PASSWORD)
        other.directory.add_member("ann", "Users", tenant="acme")
        with ServerThread(other) as server, client_of(server.url, good) as client:
            assert client.get("v1/schema").status_code == 401


def test_a_refresh_token_that_is_used_again_ends_the_log_in(town: Town, door: Door) -> None:
    first = door.log_in("ann").json()
    second = door.refresh(first["refresh"]).json()
    assert door.refresh(first["refresh"], "of a thief").status_code == 401
    assert door.refresh(second["refresh"]).status_code == 401, "the owner's one is worth nothing"
    for token in (first["token"], second["token"]):
        assert watch(town.with_token(token).get("v1/schema")).status_code == 401
    assert town.hub.log_ins() == []


def test_an_older_refresh_token_ends_the_log_in_whatever_attempt_it_names(
    town: Town, door: Door
) -> None:
    first = door.log_in("ann").json()
    second = door.refresh(first["refresh"], "a").json()
    door.refresh(second["refresh"], "b")
    assert door.refresh(first["refresh"], "a").status_code == 401
    assert town.hub.log_ins() == []


def test_what_is_no_refresh_token_ends_no_log_in(town: Town, door: Door) -> None:
    first = door.log_in("ann").json()
    for text in ("", ".", "a.b", "x" * 10_000, first["token"], "\u0000.\u2028", "é.é"):
        assert door.refresh(text).status_code == 401
    assert door.refresh(first["refresh"], "").status_code == 401
    assert door.refresh(first["refresh"]).status_code == 200


def test_who_logs_in_gets_no_replica_and_no_row_of_another(town: Town, door: Door) -> None:
    """Neither by a replica's id nor by asking for another tenant."""
    for table in ("task", "team"):
        for tenant in ("acme", "umbrella"):
            town.hub.directory.permit("Users", table, tenant=tenant)
    bea = town.with_token(door.log_in("bea").json()["token"])
    ann = town.with_token(door.log_in("ann").json()["token"])
    register = json.dumps({"protocol": 1, "name": "device"}).encode()
    theirs = bea.post("v1/register", content=register, headers=JSON).json()["replica"]
    answers = {
        watch(
            ann.post(
                "v1/pull",
                content=json.dumps({"protocol": 1, "replica": name, "known": 0}).encode(),
                headers=JSON,
            )
        ).content
        for name in (theirs, "0" * len(theirs))
    }
    assert len(answers) == 1
    assert json.loads(answers.pop())["code"] == "replica-unknown"
    found = watch(ann.get("v1/query/task")).json()["rows"]
    assert [row[0] for row in found] == ["k-ann"]


def test_bodies_of_strangers_are_small_and_are_messages(town: Town, door: Door) -> None:
    assert door.log_in("ann", "x" * 20_000).json()["limit"] == "BODY_BYTES_MAX"
    for body in (
        b"",
        b"[]",
        b"{",
        b'{"protocol":1}',
        b'{"protocol":1,"user":1,"password":"x"}',
        b"[" * 5_000,
        b'{"protocol":1,"user":"ann","password":"x","is_admin":true}',
    ):
        assert door.send("v1/token", body).status_code in (400, 413)
    assert door.log_in("ann", device="\x1b[31m").status_code == 400
    assert watch(door.client.get("v1/token")).status_code == 405


def test_a_hub_whose_host_says_who_comes_gives_out_no_tokens(database: Path) -> None:
    with town_at(database, authenticate=lambda request: None) as town:
        door = Door(town)
        with door.client:
            assert door.log_in("ann").status_code == 404


def test_the_database_holds_no_password_and_no_refresh_token(
    town: Town, door: Door, database: Path
) -> None:
    answer = door.log_in("ann").json()
    door.refresh(answer["refresh"])
    held = b"".join(path.read_bytes() for path in database.parent.glob("town.db*"))
    family, _, secret = answer["refresh"].partition(".")
    for text in (PASSWORD, family, secret, answer["token"]):
        assert text.encode() not in held
    assert b"$argon2id$" in held
    assert rows_of(database)
