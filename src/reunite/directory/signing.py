"""The hub's own signed tokens: JSON Web Tokens, and the keys that sign them.

    token ──► key by its id ──► the algorithm of that key ──► signature, issuer, audience, expiry

The rule         a key has one algorithm, and it is the key that says which; what a token's header
                 says is compared with it and never followed.
"""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from reunite.directory.cache import StampedCache
from reunite.engine.directory import ISSUER_STAMP, MEMBERS_STAMP, KeyRecord
from reunite.engine.ports import Transaction, WriteTransaction
from reunite.errors import BadRequestError, CallerError

logger = logging.getLogger("reunite.hub")

KeyAlgorithm: TypeAlias = Literal["EdDSA", "HS256"]

# How long a token is good. What a user may do is looked up with each request; only a log-in that
# ended by itself, by its refresh token's expiry, waits for this.
ACCESS_S = 900

# How far the clocks of processes on one database may differ.
LEEWAY_S = 10

# For whom the tokens are: for nobody but a hub.
AUDIENCE = "reunite"

# The type in a token's header (RFC 9068).
_TYPE = "at+jwt"

_LENGTH_MAX = 4_096
_ALGORITHMS = ("EdDSA", "HS256")
_SECRET_BYTES = 32
_NEEDED = ("iss", "aud", "sub", "sid", "ten", "iat", "exp", "jti")


class _Key(NamedTuple):
    algorithm: str
    signing: Any
    verifying: Any
    retired_ms: int


def looks_signed(token: str) -> bool:
    """Whether a text has the form of a signed token."""
    return token.startswith("eyJ") and token.count(".") == 2


class Signing:
    """Signs and verifies, with keys that are in the database."""

    def __init__(self) -> None:
        self._cache = StampedCache()

    def sign(
        self, tx: WriteTransaction, *, user: str, tenant: str, session: str, now_ms: int
    ) -> str:
        """A token of this log-in, with the newest key; with the first one, if there is none."""
        record = newest_key(tx) or self.rotate(tx, "EdDSA", now_ms=now_ms)
        key = self._key(tx, record.id)
        assert key is not None
        now_s = now_ms // 1_000
        claims = {
            "iss": tx.stamp(ISSUER_STAMP),
            "aud": AUDIENCE,
            "sub": user,
            "ten": tenant,
            "sid": session,
            "jti": secrets.token_hex(8),
            "iat": now_s,
            "exp": now_s + ACCESS_S,
        }
        headers = {"kid": record.id, "typ": _TYPE}
        token: str = _jwt().encode(claims, key.signing, algorithm=record.algorithm, headers=headers)
        return token

    def claims(self, tx: Transaction, token: str, *, now_ms: int) -> Mapping[str, Any] | None:
        """What a token says, None unless all of it is as it must be."""
        if len(token) > _LENGTH_MAX:
            return None
        jwt = _jwt()
        try:
            header = jwt.get_unverified_header(token)
            name = header.get("kid")
            key = self._key(tx, name) if isinstance(name, str) else None
            if key is None or header.get("alg") != key.algorithm or header.get("typ") != _TYPE:
                return None
            if "crit" in header or not _is_good(key.retired_ms, now_ms):
                return None
            found: dict[str, Any] = jwt.decode(
                token,
                key.verifying,
                algorithms=[key.algorithm],
                audience=AUDIENCE,
                issuer=tx.stamp(ISSUER_STAMP),
                # Times are those of the hub's clock, and looked at below.
                options={"require": list(_NEEDED), "verify_exp": False, "verify_iat": False},
            )
        except Exception as exc:
            # Whatever a forged token makes the parser stumble over, it is no valid one. The text
            # of the exception may repeat it.
            logger.debug("a token of the hub's own kind is refused: %s", type(exc).__name__)
            return None
        expires_s = found["exp"]
        is_timely = isinstance(expires_s, int) and now_ms < (expires_s + LEEWAY_S) * 1_000
        is_whole = all(isinstance(found[name], str) for name in ("sub", "ten", "sid"))
        return found if is_timely and is_whole else None

    def rotate(
        self,
        tx: WriteTransaction,
        algorithm: KeyAlgorithm,
        *,
        now_ms: int,
        is_sudden: bool = False,
    ) -> KeyRecord:
        """Sign with a new key from now on. Tokens of the former ones are good until they expire,
        or no more, if it `is_sudden`."""
        if algorithm not in _ALGORITHMS:
            raise BadRequestError(
                f"There is no algorithm {algorithm!r} here: choose one of {', '.join(_ALGORITHMS)}."
            )
        if not tx.stamp(ISSUER_STAMP):
            tx.keep_stamp(ISSUER_STAMP, f"reunite:{secrets.token_hex(16)}")
        for former in tx.records(KeyRecord):
            if is_sudden or not _is_good(former.retired_ms, now_ms):
                tx.drop_records(KeyRecord, id=former.id)
            elif not former.retired_ms:
                tx.put_record(msgspec.structs.replace(former, retired_ms=now_ms))
        record = KeyRecord(
            id=secrets.token_hex(8),
            algorithm=algorithm,
            secret=_new_secret(algorithm),
            created_ms=now_ms,
        )
        tx.put_record(record)
        return record

    def _key(self, tx: Transaction, name: str) -> _Key | None:
        return self._cache.get(tx.stamp(MEMBERS_STAMP), name, lambda: _read_key(tx, name))


def newest_key(tx: Transaction) -> KeyRecord | None:
    """The key that signs."""
    found = [key for key in tx.records(KeyRecord) if not key.retired_ms]
    return max(found, key=lambda key: (key.created_ms, key.id)) if found else None


def signing_keys(tx: Transaction) -> Sequence[KeyRecord]:
    """All keys whose tokens may still be good."""
    return tx.records(KeyRecord)


def _is_good(retired_ms: int, now_ms: int) -> bool:
    return not retired_ms or now_ms < retired_ms + (ACCESS_S + LEEWAY_S) * 1_000


def _read_key(tx: Transaction, name: str) -> _Key | None:
    found = tx.records(KeyRecord, id=name)
    if not found:
        return None
    record = found[0]
    if record.algorithm == "HS256":
        secret = base64.b64decode(record.secret)
        return _Key("HS256", secret, secret, record.retired_ms)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(record.secret))
    return _Key("EdDSA", private, private.public_key(), record.retired_ms)


def _new_secret(algorithm: str) -> str:
    """What a key of either algorithm is made of: 32 random bytes."""
    _jwt()
    return base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _jwt() -> Any:
    try:
        import jwt
    except ImportError as exc:
        raise CallerError("Log-ins need the package PyJWT: pip install 'reunite[server]'.") from exc
    return jwt
