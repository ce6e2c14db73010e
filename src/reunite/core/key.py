"""Keys: the tuple of a row's primary-key values, on the wire a JSON array.

`key_text` is the one spelling of a key as text: compact JSON, as SQLite's `json_array` prints it,
so that a key written by a trigger and one written by Python are equal as text.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from reunite.core.values import Value

Key: TypeAlias = tuple[Value, ...]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple)


def key_text(key: Key) -> str:
    """`(1, "a")` → `[1,"a"]`."""
    return _encoder.encode(key).decode()


def parse_key(text: str | bytes) -> Key:
    """The inverse of `key_text`. Raises msgspec.DecodeError for what is no JSON array."""
    return _decoder.decode(text)
