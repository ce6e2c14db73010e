"""The tokens that open a sealed door: made, kept encrypted, replaced in time.

    token       key id "." secret, as in `3q2-7wAAAAE.…`; whoever has it may open the door

At rest they are encrypted with AES-256-GCM, under a key from a secret that the host has (through
scrypt), or from a file of its own beside them that only its owner may read.

The rule        a new token is made when the newest has lived half of its life, and the old one
                goes on until its end: whoever was there in between has been told the new one.
"""

from __future__ import annotations

import math
import os
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from reunite.errors import CallerError, SealError
from reunite.server.sealed.frames import KEY_ID_BYTES
from reunite.server.sealed.noise import KEY_BYTES

# Seconds that a token opens the door.
TOKEN_S = 24 * 3600

_KEYS_NAME, _SECRET_NAME = "door.keys", "door.secret"
_NONCE_BYTES, _SALT_BYTES = 12, 16
_BOUND = b"reunite door keys 1"


class DoorKey(msgspec.Struct, frozen=True):
    """One token: its name, its secret, and when it ends, in seconds since 1970."""

    id: bytes
    secret: bytes
    ends_at: float

    @property
    def token(self) -> str:
        return f"{_text(self.id)}.{_text(self.secret)}"


class _File(msgspec.Struct):
    salt: bytes
    nonce: bytes
    keys: bytes


class Vault(Protocol):
    """Where the encrypted tokens are kept."""

    def read(self) -> bytes | None:
        """What was written last; None if nothing ever was."""
        ...

    def replace(self, known: bytes | None, data: bytes) -> bool:
        """Write this, whole or not at all, if what is there is still `known`; whether it was."""
        ...


# Objects of one process may share a file; two processes may not share a door either.
_replacing_a_file = threading.Lock()


class _FileVault:
    """A file that its owner alone may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, known: bytes | None, data: bytes) -> bool:
        with _replacing_a_file:
            if self.read() != known:
                return False
            _write_private(self._path, data)
            return True


class DoorKeys:
    """The tokens of one door, kept in a folder.

    folder     where `door.keys` is, and `door.secret` if no secret is given; made if missing
    vault      where the tokens are, instead of `door.keys`
    secret     what encrypts them, such as the environment's DSN_SYNC_SECRET
    life_s     seconds that a token is valid
    clock      seconds since 1970
    random     so many random bytes

    Threads may share it, and several objects a vault: none forgets what another one keeps.

    Raises CallerError when `door.keys` was written under another secret, or is damaged. Opening
    with a secret takes about a tenth of a second, by design.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secret: str | None = None,
        vault: Vault | None = None,
        life_s: float = TOKEN_S,
        clock: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not 0 < life_s < math.inf:
            raise CallerError("A token needs a life of more than 0 seconds, and an end.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._vault = vault or _FileVault(folder / _KEYS_NAME)
        self._secret = secret.encode() if secret else _own_secret(folder / _SECRET_NAME, random)
        self._is_host_secret = bool(secret)
        self._life_s, self._clock, self._random = life_s, clock, random
        self._salt = b""
        self._wrapping: AESGCM | None = None
        self._lock = threading.RLock()
        self._known: bytes | None = None  # what the vault held when `_keys` was read or written
        self._keys: list[DoorKey] = []
        self.reload()

    @property
    def life_s(self) -> float:
        return self._life_s

    def token(self) -> str:
        """A token with at least half of its life before it; a new one where needed."""
        return self._newest().token

    def newer_than(self, key_id: bytes) -> str | None:
        """The token to use from now on instead of this one; None if there is no newer."""
        newest = self._newest()
        return None if newest.id == key_id else newest.token

    def rotate(self) -> str:
        """A new token, at once. The others go on until their ends; `revoke` ends them."""
        made = self._made()
        self._change(lambda keys: [*self._worth_knowing(keys), made])
        return made.token

    def revoke(self, token: str) -> None:
        """A token opens nothing from now on, nor do sessions that it began. Raises SealError
        `key-unknown` for a text that is no token."""
        key_id, _ = parse_token(token)
        self._change(lambda keys: [key for key in keys if key.id != key_id])

    def adopt(self, others: DoorKeys) -> None:
        """Take over tokens that were given out under other keys and have not ended."""
        now = self._clock()

        def with_others(keys: list[DoorKey]) -> list[DoorKey]:
            known = {key.id for key in keys}
            found = [key for key in others._keys if key.ends_at > now and key.id not in known]
            return sorted([*keys, *found], key=lambda key: key.ends_at) if found else keys

        self._change(with_others)

    def knows(self, key_id: bytes) -> bool:
        """Whether there is such a token, also one that has ended, as far as is known here."""
        return any(key.id == key_id for key in self._keys)

    def reload(self) -> None:
        """Read the vault again: another object may have made or ended tokens."""
        with self._lock:
            data = self._vault.read()
            if data != self._known:
                self._keys = [] if data is None else self._opened(data)
                self._known = data

    def find(self, key_id: bytes) -> DoorKey:
        """The token of this id. Raises SealError `key-unknown` or `key-expired`."""
        for key in self._keys:
            if key.id == key_id:
                if key.ends_at <= self._clock():
                    raise SealError("The token has expired. Get a new one.", code="key-expired")
                return key
        raise SealError("The door knows no such token.", code="key-unknown")

    def _newest(self) -> DoorKey:
        if self._is_due(self._keys):
            made = self._made()
            # Another thread or object may have made one meanwhile: then that is the newest.
            self._change(
                lambda keys: [*self._worth_knowing(keys), made] if self._is_due(keys) else keys
            )
        return self._keys[-1]  # they stand as they were made

    def _is_due(self, keys: list[DoorKey]) -> bool:
        return not keys or keys[-1].ends_at - self._clock() < self._life_s / 2

    def _made(self) -> DoorKey:
        return DoorKey(
            id=self._random(KEY_ID_BYTES),
            secret=self._random(KEY_BYTES),
            ends_at=self._clock() + self._life_s,
        )

    def _worth_knowing(self, keys: list[DoorKey]) -> list[DoorKey]:
        """Without those that ended long ago; others are known for a while, so that whoever comes
        with one hears why not."""
        now = self._clock()
        return [key for key in keys if key.ends_at + self._life_s > now]

    # -- at rest ------------------------------------------------------------------------------

    def _change(self, change: Callable[[list[DoorKey]], list[DoorKey]]) -> None:
        """Keep what this makes of the tokens that there are; it is asked again if another object
        changed them meanwhile."""
        with self._lock:
            while (keys := change(self._keys)) != self._keys:
                data = self._locked(keys)
                if self._vault.replace(self._known, data):
                    self._known, self._keys = data, keys
                    return
                self.reload()

    def _opened(self, data: bytes) -> list[DoorKey]:
        try:
            file = msgspec.json.decode(data, type=_File)
            plain = self._unlocked(file.salt).decrypt(file.nonce, file.keys, _BOUND)
            return msgspec.json.decode(plain, type=list[DoorKey])
        except (msgspec.DecodeError, InvalidTag, ValueError) as error:
            raise CallerError(
                f"The tokens in {_KEYS_NAME} cannot be read: they were written under another "
                "secret, or are damaged. Give the secret that they were written under, or delete "
                "the tokens: then every client needs a new one."
            ) from error

    def _locked(self, keys: list[DoorKey]) -> bytes:
        wrapping = self._wrapping or self._unlocked(self._random(_SALT_BYTES))
        nonce = self._random(_NONCE_BYTES)
        sealed = wrapping.encrypt(nonce, msgspec.json.encode(keys), _BOUND)
        return msgspec.json.encode(_File(salt=self._salt, nonce=nonce, keys=sealed))

    def _unlocked(self, salt: bytes) -> AESGCM:
        """What encrypts the file, under this salt."""
        if self._wrapping is not None and salt == self._salt:
            return self._wrapping
        key = self._secret
        if self._is_host_secret:
            key = Scrypt(salt=salt, length=KEY_BYTES, n=2**15, r=8, p=1).derive(self._secret)
        self._salt, self._wrapping = salt, AESGCM(key)
        return self._wrapping


def parse_token(token: object) -> tuple[bytes, bytes]:
    """The key id and the secret of a token. Raises SealError `key-unknown` if it is none."""
    key_id, dot, secret = token.partition(".") if isinstance(token, str) else ("", "", "")
    if dot:
        found = _bytes(key_id), _bytes(secret)
        if (len(found[0]), len(found[1])) == (KEY_ID_BYTES, KEY_BYTES):
            return found
    raise SealError("This is no token of a sealed door.", code="key-unknown")


def _own_secret(path: Path, random: Callable[[int], bytes]) -> bytes:
    with _replacing_a_file:
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            secret = random(KEY_BYTES)
            _write_private(path, secret)
    if len(secret) != KEY_BYTES:
        raise CallerError(f"{path.name} is damaged: it should have {KEY_BYTES} bytes.")
    return secret


def _write_private(path: Path, data: bytes) -> None:
    """Replace a file whole, readable by its owner only."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except (Base64Error, UnicodeEncodeError, ValueError):
        return b""
