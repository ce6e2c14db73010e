"""Bytes to messages and back.

Decoding is strict: unknown fields, wrong types and out-of-range numbers are refused with the path
at which they stand. JSON itself cannot carry NaN; infinities and lone surrogates do not decode.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from reunite.errors import BadRequestError, LimitExceededError
from reunite.protocol.limits import BODY_BYTES_MAX

Message = TypeVar("Message")

_encoder = msgspec.json.Encoder()


@cache
def _decoder(message_type: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(message_type)


def encode(message: object) -> bytes:
    """A message as JSON bytes."""
    return _encoder.encode(message)


def decode(
    body: bytes, message_type: type[Message], *, bytes_max: int | None = BODY_BYTES_MAX
) -> Message:
    """JSON bytes as a checked message. Raises BadRequestError, LimitExceededError."""
    if bytes_max is not None and len(body) > bytes_max:
        raise LimitExceededError(
            f"The body has {len(body)} bytes; at most {bytes_max} are taken.",
            limit="BODY_BYTES_MAX",
        )
    try:
        message: Message = _decoder(message_type).decode(body)  # type: ignore[arg-type]
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at ")
        # msgspec begins at `$`; elsewhere paths begin with the name of a field.
        raise BadRequestError(text, path=path.strip("`$").lstrip(".") or None) from exc
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise BadRequestError(f"The body is no JSON that can be read: {exc}") from exc
    return message
