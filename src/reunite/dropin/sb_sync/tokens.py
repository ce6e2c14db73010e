"""The API's tokens: JWT, signed by the project's key, that end with their user's password.

    user_id, username, iat, exp, jti, stamp ◄── of the password's hash

The rule         a token says who its bearer was; who that is now, the database is asked each time.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils.crypto import constant_time_compare

from reunite.dropin.sb_sync.conf import value
from reunite.dropin.sb_sync.errors import ForeignTokenError, SyncError, TokenError

# What a server's clock may be behind another's, in seconds.
LEEWAY_S = 10

_ALGORITHMS = ("HS256", "HS384", "HS512")

# Characters of a password's stamp: it tells two passwords apart and is no way to either.
_STAMP_LENGTH = 32


def make_token(user: Any) -> str:
    """A token for a user. Raises SyncError if its algorithm is none that a secret signs."""
    now = int(time.time())
    claims = {
        "user_id": _plain(user.pk),
        "username": user.get_username(),
        "iat": now,
        "exp": now + int(value("SECURITY", "JWT_EXPIRATION")),
        "jti": secrets.token_hex(16),
        "stamp": _stamp(user),
    }
    return jwt.encode(claims, _key(), algorithm=_algorithm())


def user_of_token(token: str) -> Any:
    """The active user of a token. Raises TokenError, which is a ForeignTokenError for a token that
    somebody else may have made; SyncError."""
    try:
        claims = jwt.decode(
            token,
            _key(),
            algorithms=[_algorithm()],
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenError("Token expired") from None
    except jwt.InvalidTokenError:
        raise ForeignTokenError("Invalid token") from None
    pk, stamp = claims.get("user_id"), claims.get("stamp")
    if pk is None or not isinstance(stamp, str):
        raise ForeignTokenError("Invalid token payload")
    try:
        user = get_user_model()._default_manager.filter(pk=pk, is_active=True).first()
    except (TypeError, ValueError):
        raise TokenError("Invalid token payload") from None
    if user is None:
        raise TokenError("User not found")
    if not constant_time_compare(stamp, _stamp(user)):
        raise TokenError("Invalid token")
    return user


def _stamp(user: Any) -> str:
    return str(user.get_session_auth_hash())[:_STAMP_LENGTH]


def _key() -> str:
    return str(value("SECURITY", "JWT_SECRET_KEY") or settings.SECRET_KEY)


def _algorithm() -> str:
    found = str(value("SECURITY", "JWT_ALGORITHM"))
    if found not in _ALGORITHMS:
        raise SyncError("configuration", "The algorithm for tokens is none of this server's.")
    return found


def _plain(pk: Any) -> Any:
    return pk if isinstance(pk, int) else str(pk)
