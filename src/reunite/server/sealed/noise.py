"""The Noise handshake NNpsk0 with X25519, AES-256-GCM and SHA-256, as published.

    -> psk, e          the initiator's message, under the pre-shared key
    <- e, ee           the responder's; from here on both have two keys that nobody else has

Source             The Noise Protocol Framework, revision 34, sections 5, 7 and 9.
What it gives      both ends know the pre-shared key, and what is sent after the handshake stays
                   secret when that key is lost later.
What it does not   the payload of the first message can be replayed, and is read by whoever gets
                   the pre-shared key later: it carries nothing that acts.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROTOCOL_NAME = b"Noise_NNpsk0_25519_AESGCM_SHA256"

# Bytes of a public key, of a pre-shared key, of a tag; and of the longest message that Noise knows.
KEY_BYTES = 32
TAG_BYTES = 16
MESSAGE_BYTES_MAX = 65_535


class NoiseError(Exception):
    """A message is no part of this conversation: another key, altered, cut, or out of turn."""


def nonce_of(number: int) -> bytes:
    """The nonce of message `number` (from 0 on) for AES-GCM: 4 zero bytes, 8 bytes big-endian."""
    return b"\x00\x00\x00\x00" + number.to_bytes(8, "big")


class Cipher:
    """One direction of a conversation, after the handshake."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, number: int, text: bytes, bound: bytes = b"") -> bytes:
        """Encrypt; `number` may be used once for this key. `bound` is authenticated with it."""
        return self._aead.encrypt(nonce_of(number), text, bound)

    def open(self, number: int, sealed: bytes, bound: bytes = b"") -> bytes:
        """Decrypt. Raises NoiseError if it was not sealed with this key, number and `bound`."""
        try:
            return self._aead.decrypt(nonce_of(number), sealed, bound)
        except InvalidTag as error:
            raise NoiseError("The seal is broken.") from error


class Ciphers(NamedTuple):
    """Both directions, as one end has them."""

    sending: Cipher
    receiving: Cipher


class _Symmetric:
    """What both ends mix from everything that was said (section 5.2)."""

    def __init__(self, prologue: bytes, psk: bytes) -> None:
        if len(psk) != KEY_BYTES:
            raise ValueError(f"A pre-shared key has {KEY_BYTES} bytes, this one has {len(psk)}.")
        # The name has just the length of a hash, so it is the first one.
        self.hash = self._chaining = PROTOCOL_NAME
        self._cipher: Cipher | None = None
        self._number = 0
        self.mix_hash(prologue)
        self._chaining, mixed, key = _expand(self._chaining, psk, 3)
        self.mix_hash(mixed)
        self._rekey(key)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining, key = _expand(self._chaining, material, 2)
        self._rekey(key)

    def mix_public(self, public: bytes) -> None:
        """A public key on its way; patterns with a psk mix it into the key too (section 9.2)."""
        self.mix_hash(public)
        self.mix_key(public)

    def seal(self, text: bytes) -> bytes:
        assert self._cipher is not None, "the psk was mixed"
        sealed = self._cipher.seal(self._number, text, self.hash)
        self._number += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        assert self._cipher is not None, "the psk was mixed"
        text = self._cipher.open(self._number, sealed, self.hash)
        self._number += 1
        self.mix_hash(sealed)
        return text

    def split(self) -> tuple[Cipher, Cipher]:
        """The initiator's direction, and the responder's."""
        first, second = _expand(self._chaining, b"", 2)
        return Cipher(first), Cipher(second)

    def _rekey(self, key: bytes) -> None:
        self._cipher, self._number = Cipher(key), 0


class Initiator:
    """The end that begins. `write`, then `read`; then `ciphers` and `hash` are there.

    psk          32 bytes that both ends have
    ephemeral    32 random bytes, used for this handshake only
    prologue     what both ends must agree on besides, such as the name of the key
    """

    def __init__(self, psk: bytes, *, ephemeral: bytes, prologue: bytes = b"") -> None:
        self._symmetric = _Symmetric(prologue, psk)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self.ciphers: Ciphers | None = None

    @property
    def hash(self) -> bytes:
        """The hash of everything that was said; the same at both ends after the handshake."""
        return self._symmetric.hash

    def write(self, payload: bytes = b"") -> bytes:
        """The first message. Its payload must not act: it can be replayed."""
        public = self._ephemeral.public_key().public_bytes_raw()
        self._symmetric.mix_public(public)
        return public + self._symmetric.seal(payload)

    def read(self, message: bytes) -> bytes:
        """The payload of the answer. Raises NoiseError."""
        public, sealed = _parts(message)
        self._symmetric.mix_public(public)
        self._symmetric.mix_key(_shared(self._ephemeral, public))
        payload = self._symmetric.open(sealed)
        mine, theirs = self._symmetric.split()
        self.ciphers = Ciphers(sending=mine, receiving=theirs)
        return payload


class Responder:
    """The end that answers. `read`, then `write`; then `ciphers` and `hash` are there."""

    def __init__(self, psk: bytes, *, ephemeral: bytes, prologue: bytes = b"") -> None:
        self._symmetric = _Symmetric(prologue, psk)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._theirs = b""
        self.ciphers: Ciphers | None = None

    @property
    def hash(self) -> bytes:
        """The hash of everything that was said; the same at both ends after the handshake."""
        return self._symmetric.hash

    def read(self, message: bytes) -> bytes:
        """The payload of the first message. Raises NoiseError."""
        self._theirs, sealed = _parts(message)
        self._symmetric.mix_public(self._theirs)
        return self._symmetric.open(sealed)

    def write(self, payload: bytes = b"") -> bytes:
        """The answer. Raises NoiseError if the initiator's public key is none."""
        public = self._ephemeral.public_key().public_bytes_raw()
        self._symmetric.mix_public(public)
        self._symmetric.mix_key(_shared(self._ephemeral, self._theirs))
        sealed = self._symmetric.seal(payload)
        theirs, mine = self._symmetric.split()
        self.ciphers = Ciphers(sending=mine, receiving=theirs)
        return public + sealed


def _parts(message: bytes) -> tuple[bytes, bytes]:
    if not KEY_BYTES + TAG_BYTES <= len(message) <= MESSAGE_BYTES_MAX:
        raise NoiseError("The message has not the length of a handshake.")
    return message[:KEY_BYTES], message[KEY_BYTES:]


def _shared(mine: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:  # a point of low order: the result would be no secret
        raise NoiseError("The public key is none.") from error


def _expand(chaining: bytes, material: bytes, count: int) -> list[bytes]:
    """HKDF as Noise has it (section 4.3): `count` outputs of 32 bytes."""
    key = hmac.digest(chaining, material, "sha256")
    outputs: list[bytes] = []
    for index in range(1, count + 1):
        before = outputs[-1] if outputs else b""
        outputs.append(hmac.digest(key, before + bytes([index]), "sha256"))
    return outputs
