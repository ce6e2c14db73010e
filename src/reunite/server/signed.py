"""Signed tokens: JSON Web Tokens that somebody else gives out, such as your identity provider.

    Authorization: Bearer eyJ… ──► algorithm as pinned? ──► key by its id ──► signature
        ──► issuer, audience, times ──► is it revoked? ──► Principal

The rule         the token says nothing about how it is to be checked: algorithm and keys are the
                 host's, and what a header says of either is compared, never followed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from starlette.requests import Request

from reunite.core.principal import Principal, check_principal
from reunite.errors import CallerError, HubUnreachableError, NotAuthenticatedError, ReuniteError
from reunite.server.asking import bearer_token

try:
    import jwt
except ImportError as exc:
    raise CallerError(
        "Signed tokens need the package PyJWT: pip install 'reunite[server]'."
    ) from exc

logger = logging.getLogger("reunite.server")

Algorithm: TypeAlias = Literal["EdDSA", "ES256", "RS256", "PS256", "HS256"]

# A set of keys as in RFC 7517: {"keys": [{"kty": …, "kid": …}]}.
Keys: TypeAlias = Mapping[str, Any]

# Characters of a signed token; longer ones are no tokens.
SIGNED_TOKEN_LENGTH_MAX = 16_384

# Bytes of a secret of HS256; shorter ones could be guessed from any token.
SECRET_BYTES_MIN = 32

# How far clocks may differ.
LEEWAY_S = 30

# A key that is not known is asked for at most so often, whatever tokens name.
KEYS_EVERY_S = 60.0

# What each algorithm's keys are, in the words of RFC 7518.
_KEY_TYPES = {
    "EdDSA": ("OKP", ("Ed25519",)),
    "ES256": ("EC", ("P-256",)),
    "RS256": ("RSA", (None,)),
    "PS256": ("RSA", (None,)),
}
_OF_RSA = ("RS256", "PS256")
_RSA_BITS_MIN = 2_048

# Claims that a principal has under names of its own, or that are about the token.
_OWN = frozenset({"sub", "tenant", "roles"})


class SignedTokens:
    """For `authenticate=`: principals by signed tokens.

        tokens = SignedTokens(keys=fetch_keys, algorithm="EdDSA",
                              issuer="https://login.example", audience="shop-sync")
        app.mount("/sync", hub.asgi(authenticate=tokens))

    keys         a key set, or a function that returns one: it is called for the first token, and
                 again when a token names a key that is not in it, at most every `KEYS_EVERY_S`;
                 until it has given keys for the first time, requests are answered 503
    secret       instead of `keys`, and for HS256 only: `SECRET_BYTES_MIN` bytes or more
    algorithm    the only one that counts
    issuer       what `iss` must be
    audience     what `aud` must be, or hold
    claims       names of claims that rules may ask for as `user.name`, besides `sub` (the user),
                 `tenant` and `roles`
    principal    instead of that: who the verified claims stand for, or None for nobody
    is_revoked   asked with the verified claims of each request and, while a stream runs, every few
                 seconds: True refuses them. `jti`, `sub` or `tenant` may be what you look up.

    Tokens need `exp` and `sub`. A stream ends when its token expires. Threads may share it. Raises
    CallerError for keys and secrets that the algorithm cannot use.
    """

    def __init__(
        self,
        *,
        algorithm: Algorithm,
        issuer: str,
        audience: str,
        keys: Keys | Callable[[], Keys] | None = None,
        secret: bytes | None = None,
        claims: Sequence[str] = (),
        principal: Callable[[Mapping[str, Any]], Principal | None] | None = None,
        is_revoked: Callable[[Mapping[str, Any]], bool] | None = None,
        leeway_s: int = LEEWAY_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (issuer and audience):
            raise CallerError(
                "Name the issuer and the audience: a token for others is none for us."
            )
        if (algorithm == "HS256") != (secret is not None) or (secret is None) == (keys is None):
            raise CallerError("HS256 is checked with a secret, every other algorithm with keys.")
        if algorithm != "HS256" and algorithm not in _KEY_TYPES:
            known = ", ".join([*_KEY_TYPES, "HS256"])
            raise CallerError(f"There is no algorithm {algorithm!r} here: choose one of {known}.")
        if secret is not None and len(secret) < SECRET_BYTES_MIN:
            raise CallerError(
                f"A secret of {len(secret)} bytes can be guessed: take {SECRET_BYTES_MIN} random "
                "ones or more."
            )
        self._algorithm = algorithm
        self._issuer = issuer
        self._audience = audience
        self._secret = secret
        self._fetch = keys if callable(keys) else None
        self._names = tuple(name for name in claims if name not in _OWN)
        self._principal = principal or self._principal_of
        self._is_revoked = is_revoked
        self._leeway_s = leeway_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._fetched_at: float | None = None
        self._keys: dict[str | None, Any] = {}
        if keys is not None and self._fetch is None:
            self._keys = _checked_keys(keys, algorithm)  # type: ignore[arg-type]
            if not self._keys:
                raise CallerError(f"None of these keys is one for {algorithm}.")

    def __call__(self, request: Request) -> Principal | None:
        """Who sent the request; None for everything that is no valid token."""
        try:
            claims = self.verified(bearer_token(request))
        except NotAuthenticatedError:
            return None
        if claims is None:
            return None
        found = self._principal(claims)
        if not isinstance(found, Principal):
            return found  # None, or a mistake of the host's, which is not the client's
        try:
            return check_principal(found)
        except ReuniteError as exc:
            # Signed as it must be, and yet of nobody: a tenant that is a list, a role that is 1.
            logger.warning("a signed token is refused: %s", exc.message)
            return None

    def verified(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token, None unless all of it is as it must be. Raises
        HubUnreachableError while there are no keys to check it with."""
        if len(token) > SIGNED_TOKEN_LENGTH_MAX:
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = self._key_for(header)
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except HubUnreachableError:
            raise
        except Exception as exc:
            # Whatever a forged token makes the parser stumble over, it is no valid one. The text
            # of the exception may repeat it.
            logger.debug("a signed token is refused: %s", type(exc).__name__)
            return None
        if not claims["sub"] or (self._is_revoked is not None and self._is_revoked(claims)):
            return None
        return claims

    # -- keys ---------------------------------------------------------------------------------

    def _key_for(self, header: Mapping[str, Any]) -> Any:
        """The key that this header may be checked with; None if there is none."""
        if header.get("alg") != self._algorithm or "crit" in header or "b64" in header:
            return None
        if self._secret is not None:
            return self._secret
        name = header.get("kid")
        if name is not None and not isinstance(name, str):
            return None
        found = self._find(name)
        if found is None and self._may_fetch():
            found = self._find(name)
            if not self._keys:
                raise HubUnreachableError(
                    "The hub cannot check tokens yet, since the keys of those who sign them cannot "
                    "be had: try again later.",
                    retry_after_s=self._next_fetch_in_s(),
                )
        return found

    def _next_fetch_in_s(self) -> float:
        passed = self._now_s() - (self._fetched_at or 0.0)
        return max(KEYS_EVERY_S - passed, 1.0)

    def _find(self, name: str | None) -> Any:
        """By its id; a token without one means the only key that there is."""
        keys = self._keys
        if name is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(name)

    def _may_fetch(self) -> bool:
        """Ask for the keys anew unless that was just done; whether there is a way to."""
        if self._fetch is None:
            return False
        # Whoever needs a key meanwhile waits for it.
        with self._lock:
            now = self._now_s()
            if self._fetched_at is None or now - self._fetched_at >= KEYS_EVERY_S:
                self._fetched_at = now
                try:
                    self._keys = _checked_keys(self._fetch(), self._algorithm) or self._keys
                except Exception as exc:
                    # The keys of before go on to count, and the next minute brings another try.
                    logger.warning("the keys of signed tokens cannot be had: %r", exc)
        return True

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal | None:
        roles = claims.get("roles", ())
        return Principal(
            user=claims["sub"],
            tenant=claims.get("tenant"),
            roles=tuple(roles) if isinstance(roles, list) else (),
            claims={name: claims[name] for name in self._names if claims.get(name) is not None},
        )


def _checked_keys(keys: Keys, algorithm: str) -> dict[str | None, Any]:
    """Those keys of a set that this algorithm may be checked with, by id. Others are passed over:
    a provider's set holds keys for other uses too. Raises CallerError for what is no set."""
    found: dict[str | None, Any] = {}
    whole: Any = keys  # a provider's answer, whatever the types say
    given = whole.get("keys") if isinstance(whole, Mapping) else None
    if not isinstance(given, list):
        raise CallerError('A key set is an object such as {"keys": [{"kty": "OKP", …}]}.')
    for key in given:
        if isinstance(key, dict) and _fits(key, algorithm):
            try:
                checked = jwt.PyJWK(key, algorithm=algorithm)
            except Exception as exc:
                raise CallerError(
                    f"The key {key.get('kid')!r} cannot be read ({type(exc).__name__}): its "
                    "parameters are not those of RFC 7518."
                ) from None
            if key.get("kid") in found:
                raise CallerError(f"Two keys have the id {key.get('kid')!r}: tokens name one.")
            if algorithm not in _OF_RSA or checked.key.key_size >= _RSA_BITS_MIN:
                found[key.get("kid")] = checked
    return found


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    kind, curves = _KEY_TYPES[algorithm]
    return (
        key.get("kty") == kind
        and key.get("crv") in curves
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and "verify" in key.get("key_ops", ["verify"])
    )
