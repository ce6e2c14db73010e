"""Passwords: Argon2id hashes, and one measure of work for every question.

The rule         whether there is such a user, whether it has a password and whether it is active
                 must not be told by how long the answer takes: one hash is checked for each.
"""

from __future__ import annotations

import secrets
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from reunite.errors import BadRequestError, CallerError, LimitExceededError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# Characters of a password. Shorter ones are guessed, longer ones only make work.
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 1_024

# Hashes that are checked at a time, each with 64 MiB, and those that may wait for their turn.
HASHES_MAX = 2
HASHES_WAITING_MAX = 4


class Passwords:
    """Makes and checks hashes. Threads may share it."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._given = hasher
        self._slots = threading.BoundedSemaphore(HASHES_MAX)
        self._places = threading.BoundedSemaphore(HASHES_MAX + HASHES_WAITING_MAX)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        if self._given is not None:
            return self._given
        try:
            from argon2 import PasswordHasher
        except ImportError as exc:
            raise CallerError(
                "Passwords need the package argon2-cffi: pip install 'reunite[server]'."
            ) from exc
        return PasswordHasher()  # Argon2id, with the parameters of RFC 9106

    @cached_property
    def _of_nobody(self) -> str:
        """What is checked where there is nothing to check: no password fits it."""
        return self._hasher.hash(secrets.token_hex(32))

    def hash(self, password: str) -> str:
        """The hash to keep. Raises BadRequestError for what is no password to take."""
        if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
            raise BadRequestError(
                f"A password has {PASSWORD_LENGTH_MIN} characters or more, up to "
                f"{PASSWORD_LENGTH_MAX}: choose another one.",
                path="password",
            )
        try:
            return self._hasher.hash(password)
        except UnicodeEncodeError:
            raise BadRequestError("A password is text.", path="password") from None

    def matches(self, kept: str, password: str) -> bool:
        """Whether this is the password of the hash; never where there is none (""). Raises
        LimitExceededError when too many are being checked."""
        if not self._places.acquire(blocking=False):
            raise LimitExceededError(
                "Many are logging in: try again shortly.", limit="LOGIN_RATE_MAX"
            )
        try:
            with self._slots:
                nobody = self._of_nobody
                is_right = self._verifies(kept or nobody, password[:PASSWORD_LENGTH_MAX])
        finally:
            self._places.release()
        return is_right and bool(kept) and len(password) <= PASSWORD_LENGTH_MAX

    def _verifies(self, kept: str, password: str) -> bool:
        from argon2.exceptions import Argon2Error, InvalidHashError

        try:
            return self._hasher.verify(kept, password)
        except (Argon2Error, InvalidHashError, UnicodeEncodeError):
            return False
