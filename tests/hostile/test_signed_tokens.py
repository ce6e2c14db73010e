"""Forged, foreign and tampered JSON Web Tokens, against each algorithm that may be chosen."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from reunite import Principal
from reunite.errors import CallerError, HubUnreachableError
from reunite.server import SignedTokens
from reunite.server.signed import KEYS_EVERY_S
from tests.hostile.conftest import Town, town_at, watch
from tests.patience import DEADLINE_S

ISSUER, AUDIENCE = "https://login.example", "shop-sync"
SECRET_BYTES = b"0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Maker:
    """Somebody who signs tokens: a private key, and what others may know of it."""

    algorithm: Any
    private: Any
    public: Mapping[str, Any]

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        headers = {"kid": self.public.get("kid")} | header
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=headers)

    def checked_with(self) -> dict[str, Any]:
        if self.algorithm == "HS256":
            return {"secret": self.private}
        return {"keys": {"keys": [self.public]}}

    def pem(self) -> bytes:
        """The public key as everybody may know it."""
        return bytes(
            self.private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


def maker_of(algorithm: str, kid: str = "k1") -> Maker:
    private: Any
    if algorithm == "HS256":
        return Maker(algorithm, SECRET_BYTES, {"kid": kid})
    if algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
        written = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    elif algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
        written = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        private = rsa.generate_private_key(65_537, 2_048)
        written = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return Maker(algorithm, private, {**written, "kid": kid})


@pytest.fixture(scope="module", params=["EdDSA", "ES256", "RS256", "PS256", "HS256"])
def maker(request: pytest.FixtureRequest) -> Maker:
    return maker_of(request.param)


def claims_now(**more: Any) -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "tenant": "acme",
        "exp": int(time.time()) + 600,
    } | more


def checked_by(maker: Maker, **options: Any) -> SignedTokens:
    return SignedTokens(
        **{
            "algorithm": maker.algorithm,
            "issuer": ISSUER,
            "audience": AUDIENCE,
            **maker.checked_with(),
            **options,
        }
    )


def b64(part: bytes | Mapping[str, Any]) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes) -> str:
    return f"{b64(header)}.{b64(claims)}.{b64(signature)}"


def with_hmac(header: Mapping[str, Any], claims: Mapping[str, Any], key: bytes) -> str:
    text = f"{b64(header)}.{b64(claims)}"
    return f"{text}.{b64(hmac.digest(key, text.encode(), hashlib.sha256))}"


def signed_by_hand(maker: Maker, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A token with a valid signature, which a library would refuse to write."""
    text = f"{b64(header)}.{b64(claims)}"
    algorithm = jwt.get_algorithm_by_name(maker.algorithm)
    signature = algorithm.sign(text.encode(), algorithm.prepare_key(maker.private))
    return f"{text}.{b64(signature)}"


def test_a_valid_token_is_its_users(maker: Maker) -> None:
    tokens = checked_by(maker, claims=["teams"])
    claims = tokens.verified(maker.sign(claims_now(teams=["red"], roles=["boss"], other="x")))
    assert claims is not None
    assert tokens._principal(claims) == Principal(
        user="ann", tenant="acme", roles=("boss",), claims={"teams": ["red"]}
    )
    assert tokens.verified(maker.sign(claims_now(aud=["x", AUDIENCE]))) is not None


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"exp": 1},
    "just expired": {"exp": int(time.time()) - 31},
    "never to expire": {"exp": None},
    "expiring at infinity": {"exp": 1e400},
    "expiring as text": {"exp": "never"},
    "expiring in a list": {"exp": [int(time.time()) + 600]},
    "not valid yet": {"nbf": int(time.time()) + 3_600},
    "issued later": {"iat": int(time.time()) + 3_600},
    "of another issuer": {"iss": "https://login.example.evil"},
    "of an issuer alike": {"iss": ISSUER + "/"},
    "of two issuers": {"iss": [ISSUER, "x"]},
    "of no issuer": {"iss": None},
    "for another audience": {"aud": "shop"},
    "for other audiences": {"aud": ["a", "b"]},
    "for nobody": {"aud": None},
    "of nobody": {"sub": None},
    "of an empty name": {"sub": ""},
    "of a number": {"sub": 7},
    "of a list": {"sub": ["ann"]},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_token_with_other_claims_is_none(maker: Maker, wrong: dict[str, Any]) -> None:
    claims = {name: value for name, value in claims_now(**wrong).items() if value is not None}
    header = {"alg": maker.algorithm, "typ": "JWT", "kid": "k1"}
    assert checked_by(maker).verified(signed_by_hand(maker, header, claims)) is None


def forged_by_everybody(maker: Maker, other: Maker) -> Iterator[tuple[str, str]]:
    """Tokens that can be made without the key."""
    good, claims = maker.sign(claims_now()), claims_now(sub="boss")
    head, body, signature = good.split(".")
    for alg in ("none", "None", "NONE", "nOnE", "", None, "HS256 ", "hs256", 1, ["HS256"]):
        header = {"alg": alg, "typ": "JWT", "kid": "k1"}
        for name, made in (("", b""), ("x", b"x"), ("signature", b"\0" * 64)):
            yield f"alg {alg!r}, {name}", by_hand(header, claims, made)
    yield "no alg", by_hand({"typ": "JWT", "kid": "k1"}, claims, b"")
    yield "another's", other.sign(claims, kid="k1")
    yield "other claims", f"{head}.{b64(claims)}.{signature}"
    yield "no signature", f"{head}.{body}."
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{good}.x"
    yield "cut", good[:-4]
    yield "turned", f"{body}.{head}.{signature}"
    yield "zeros", by_hand({"alg": maker.algorithm, "kid": "k1"}, claims, b"\0" * 64)
    yield (
        "another header",
        f"{b64({'alg': maker.algorithm, 'kid': 'k1', 'x': 1})}.{body}.{signature}",
    )
    for kid in ("../../dev/null", "' or 1=1 --", "", "K1", 1, None, ["k1"], {"k1": 1}, "k1\0"):
        yield f"kid {kid!r}", by_hand({"alg": maker.algorithm, "kid": kid}, claims, b"x" * 64)
    for name in ("jwk", "jku", "x5u", "x5c"):
        header = {"alg": other.algorithm, "kid": "k1", name: dict(other.public)}
        yield (
            f"brings {name}",
            jwt.encode(claims, other.private, algorithm=other.algorithm, headers=header),
        )
    for name, value in (("crit", ["exp"]), ("b64", False)):
        header = {"alg": maker.algorithm, "kid": "k1", name: value}
        yield f"asks for {name}", signed_by_hand(maker, header, claims_now())
    if maker.algorithm != "HS256":
        written = json.dumps(dict(maker.public))
        keys = [maker.pem(), maker.pem().strip(), written.encode(), b"", b"k1"]
        for place, key in enumerate(keys):
            header = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
            yield f"signed with what is public, {place}", with_hmac(header, claims, key)
            yield f"and named, {place}", with_hmac(header | {"alg": maker.algorithm}, claims, key)


def test_what_anybody_can_make_is_no_token(maker: Maker) -> None:
    other = maker_of(maker.algorithm if maker.algorithm != "HS256" else "EdDSA", kid="k2")
    tokens = checked_by(maker)
    for name, forged in forged_by_everybody(maker, other):
        assert tokens.verified(forged) is None, name
    for noise in ("", ".", "..", "...", "é.é.é", "a" * 100_000, "{}.{}.{}", "\0.\0.\0"):
        assert tokens.verified(noise) is None


def test_a_token_of_another_algorithm_is_none(maker: Maker) -> None:
    """Also one that is signed with the very key that is trusted for this one."""
    tokens = checked_by(maker)
    for algorithm in {"EdDSA", "ES256", "RS256", "PS256", "HS256"} - {maker.algorithm}:
        assert tokens.verified(maker_of(algorithm).sign(claims_now())) is None
        if {algorithm, maker.algorithm} == {"RS256", "PS256"}:
            same_key = Maker(algorithm, maker.private, maker.public)
            assert tokens.verified(same_key.sign(claims_now())) is None


@pytest.mark.parametrize(
    "options",
    [
        {"algorithm": "none", "keys": {"keys": []}},
        {"algorithm": "HS256", "secret": b"short"},
        {"algorithm": "HS256", "keys": {"keys": []}},
        {"algorithm": "EdDSA", "secret": SECRET_BYTES},
        {"algorithm": "EdDSA"},
        {"algorithm": "EdDSA", "keys": {"keys": []}},
        {"algorithm": "EdDSA", "keys": []},
        {"algorithm": "EdDSA", "keys": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "!"}]}},
        {"algorithm": "EdDSA", "keys": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
        {"algorithm": "EdDSA", "issuer": "", "keys": {"keys": []}},
        {"algorithm": "EdDSA", "audience": "", "keys": {"keys": []}},
    ],
    ids=str,
)
def test_what_could_not_be_safe_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(CallerError):
        SignedTokens(**{"issuer": ISSUER, "audience": AUDIENCE, **options})


def test_keys_for_other_uses_are_passed_over() -> None:
    maker = maker_of("RS256")
    small = rsa.generate_private_key(65_537, 1_024)
    others = [
        {**maker.public, "kid": "a", "use": "enc"},
        {**maker.public, "kid": "b", "alg": "RS512"},
        {**maker.public, "kid": "c", "key_ops": ["encrypt"]},
        {**jwt.algorithms.RSAAlgorithm.to_jwk(small.public_key(), as_dict=True), "kid": "d"},
        maker_of("ES256", kid="e").public,
    ]
    for other in others:
        with pytest.raises(CallerError, match="None of these keys"):
            checked_by(maker, keys={"keys": [other]})
    tokens = checked_by(maker, keys={"keys": [*others, maker.public]})
    assert tokens.verified(maker.sign(claims_now())) is not None
    assert tokens.verified(maker.sign(claims_now(), kid="a")) is None
    with pytest.raises(CallerError, match="Two keys"):
        checked_by(maker, keys={"keys": [maker.public, maker.public]})


def test_keys_that_rotate_are_fetched_and_not_for_every_forged_name() -> None:
    now = [0.0]
    old, new = maker_of("EdDSA", kid="old"), maker_of("EdDSA", kid="new")
    served: list[Any] = [old.public]
    asked: list[float] = []

    def fetch() -> dict[str, Any]:
        asked.append(now[0])
        if not served:
            raise OSError("the provider is away")
        return {"keys": list(served)}

    tokens = checked_by(old, keys=fetch, now_s=lambda: now[0])
    assert tokens.verified(old.sign(claims_now())) is not None
    for number in range(100):
        assert tokens.verified(old.sign(claims_now(), kid=f"forged-{number}")) is None
    assert len(asked) == 1
    served[:] = [new.public]
    now[0] += KEYS_EVERY_S
    assert tokens.verified(new.sign(claims_now())) is not None
    assert tokens.verified(old.sign(claims_now())) is None
    assert len(asked) == 2
    served.clear()
    now[0] += KEYS_EVERY_S
    assert tokens.verified(old.sign(claims_now())) is None
    assert tokens.verified(new.sign(claims_now())) is not None
    assert len(asked) == 3


def test_a_provider_that_is_down_at_first_sends_nobody_to_sign_in_again() -> None:
    """A valid token was answered 401, and devices asked their users for a password."""
    maker = maker_of("EdDSA")
    now, is_up = [0.0], []

    def fetch() -> dict[str, Any]:
        if not is_up:
            raise OSError("SECRET")
        key_set: dict[str, Any] = maker.checked_with()["keys"]
        return key_set

    tokens = checked_by(maker, keys=fetch, now_s=lambda: now[0])
    token = maker.sign(claims_now())
    for passed_s in (0, 10):
        now[0] = passed_s
        with pytest.raises(HubUnreachableError) as caught:
            tokens.verified(token)
        assert caught.value.retry_after_s == KEYS_EVERY_S - passed_s
        assert "SECRET" not in caught.value.message
    assert tokens.verified("no token") is None
    is_up.append(True)
    now[0] = KEYS_EVERY_S
    assert tokens.verified(token) is not None
    is_up.clear()
    now[0] *= 2
    assert tokens.verified(token) is not None, "keys that were had go on to count"


def test_who_comes_while_keys_are_fetched_waits_for_them() -> None:
    maker = maker_of("EdDSA")
    is_asked, may_answer = threading.Event(), threading.Event()

    def fetch() -> dict[str, Any]:
        is_asked.set()
        assert may_answer.wait(DEADLINE_S)
        return {"keys": [maker.public]}

    tokens = checked_by(maker, keys=fetch)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(tokens.verified(maker.sign(claims_now()))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert is_asked.wait(DEADLINE_S)
    may_answer.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(found) == 3
    assert None not in found


# --- At a hub -------------------------------------------------------------------------------------


@pytest.fixture
def revoked() -> set[str]:
    return set()


Signed: TypeAlias = tuple[Town, Callable[..., str], SignedTokens]


@pytest.fixture
def signed_town(database: Path, revoked: set[str]) -> Iterator[Signed]:
    maker = maker_of("EdDSA")
    tokens = checked_by(
        maker,
        is_revoked=lambda claims: bool(
            {claims.get("jti"), claims["sub"], claims.get("tenant")} & revoked
        ),
    )
    with town_at(database, authenticate=tokens) as town:
        yield town, lambda **claims: maker.sign(claims_now(**claims)), tokens


def test_a_signed_token_has_the_rights_of_its_claims(
    signed_town: Signed,
) -> None:
    town, sign, _ = signed_town
    rows = {
        tenant: watch(
            town.with_token(sign(tenant=tenant)).get("v1/query/task"), secrets=False
        ).json()["rows"]
        for tenant in ("acme", "umbrella")
    }
    assert {tenant: [row[0] for row in found] for tenant, found in rows.items()} == {
        "acme": ["k-ann"],
        "umbrella": ["k-bea"],
    }
    own = town.hub.create_token("ann")  # what the hub gave out itself does not count here
    for token in (own, sign(exp=1), sign() + "x", "x"):
        told = watch(town.with_token(token).get("v1/schema"))
        assert (told.status_code, told.json()["code"]) == (401, "not-authenticated")


ODD: dict[str, dict[str, Any]] = {
    "a tenant in a list": {"tenant": ["acme"]},
    "a tenant that is an object": {"tenant": {"a": 1}},
    "a tenant that is true": {"tenant": True},
    "roles of numbers": {"roles": [1]},
    "a claim in a claim": {"teams": [["red"]]},
    "a claim that is an object": {"teams": {"a": {"b": 1}}},
    "a surrogate alone": {"sub": "\ud800"},
    "many claims": {"teams": ["x"] * 5_001},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_a_token_with_claims_that_nobody_can_have_is_refused(
    database: Path, odd: dict[str, Any]
) -> None:
    maker = maker_of("HS256")
    tokens = checked_by(maker, claims=["teams"])
    with town_at(database, authenticate=tokens) as town:
        token = signed_by_hand(maker, {"alg": "HS256", "typ": "JWT"}, claims_now(**odd))
        told = watch(town.with_token(token).get("v1/schema"))
        assert (told.status_code, told.json()["code"]) == (401, "not-authenticated")
        fine = signed_by_hand(maker, {"alg": "HS256", "typ": "JWT"}, claims_now(teams=["red"]))
        assert town.with_token(fine).get("v1/schema").status_code == 200


@pytest.mark.parametrize("what", ["t1", "ann", "acme"], ids=["token", "user", "tenant"])
def test_a_token_that_is_revoked_opens_nothing_and_its_stream_ends(
    signed_town: Signed, revoked: set[str], what: str
) -> None:
    town, sign, _ = signed_town
    assert stream_ends(town, sign(jti="t1"), lambda: revoked.add(what))
    assert town.with_token(sign(jti="t1")).get("v1/schema").status_code == 401


def test_a_stream_ends_when_its_token_expires(
    signed_town: Signed,
) -> None:
    town, sign, tokens = signed_town
    tokens._leeway_s = 3_600
    token = sign(exp=int(time.time()) - 60)
    assert stream_ends(town, token, lambda: setattr(tokens, "_leeway_s", 30))


def stream_ends(town: Town, token: str, then: Callable[[], object]) -> bool:
    """Whether a stream that this token opens is refused after that."""
    client = town.with_token(token)
    headers = {"Content-Type": "application/json"}
    body = b'{"protocol":1,"name":"x"}'
    replica = client.post("v1/register", content=body, headers=headers).json()["replica"]
    cursor = ""
    while True:
        message = {"protocol": 1, "replica": replica, "known": 0}
        page = client.post("v1/pull", json=message | ({"cursor": cursor} if cursor else {})).json()
        cursor = page["cursor"]
        if page.get("checkpoint"):
            break
    parameters = {"protocol": "1", "replica": replica}
    with client.stream(
        "GET", "v1/live", params=parameters, headers={"Last-Event-ID": cursor}
    ) as stream:
        assert stream.status_code == 200
        parts = stream.iter_bytes()
        text = next(parts)
        then()
        for part in parts:
            text += part
    return b"not-authenticated" in text
