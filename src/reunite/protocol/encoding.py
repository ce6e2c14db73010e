"""Content encodings: how bodies are compressed, and how much may come out of a compressed one.

    zstd    where the interpreter has it (the extra `zstd`); about 1 GB/s at level 1
    gzip    always; level 1, about 300 MB/s. Level 6 would be slower than the database

What is decompressed is bounded before it is made: a bomb of a few bytes is refused after
`bytes_max`, not after it has filled the memory.
"""

from __future__ import annotations

import sys
import zlib
from importlib import import_module
from typing import Any, Protocol

from reunite.errors import BadRequestError, LimitExceededError

# None where neither the interpreter nor the extra has it.
zstd: Any
try:
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
except ImportError:
    zstd = None

# Names as they stand in Content-Encoding and Accept-Encoding, best first.
ENCODINGS: tuple[str, ...] = ("zstd", "gzip") if zstd is not None else ("gzip",)
ACCEPT_ENCODING = ", ".join(ENCODINGS)


class _Decompressor(Protocol):
    """What gzip's and zstd's have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_LEVEL = 1
_GZIP_FORMAT = 31  # the largest window, with gzip's header and trailer
_ZSTD_WINDOW_LOG_MAX = 23  # 8 MB, the most that RFC 9659 lets an HTTP body ask for


def compress(body: bytes, encoding: str) -> bytes:
    """`body` in one of `ENCODINGS`."""
    if encoding == "zstd":
        packed: bytes = zstd.compress(body, _LEVEL)
        return packed
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return compressor.compress(body) + compressor.flush()


def decompress(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """What was compressed with one of `ENCODINGS`.

    Raises LimitExceededError (`BODY_BYTES_MAX`) when it is longer than `bytes_max`, and
    BadRequestError when it is cut short or is no such encoding. Holds at most `bytes_max` and a
    little more, whatever the body pretends to be.
    """
    try:
        return _unpack(body, _decompressor(encoding), bytes_max=bytes_max)
    except (zlib.error, _ZstdError) as exc:
        raise BadRequestError(
            f"The body is not what its Content-Encoding {encoding} says."
        ) from exc


def accepted(header: str | None) -> str | None:
    """The best of `ENCODINGS` that an Accept-Encoding header takes, or None for no encoding.

    Among equally welcome ones ours decides; `*` and quality values are understood (RFC 9110).
    """
    quality: dict[str, float] = {}
    for part in (header or "").lower().split(","):
        name, _, parameters = part.partition(";")
        try:
            value = float(parameters.partition("=")[2]) if "q=" in parameters else 1.0
        except ValueError:
            value = 0.0
        quality[name.strip()] = value
    fallback = quality.get("*", 0.0)
    best = max(ENCODINGS, key=lambda name: quality.get(name, fallback))
    return best if quality.get(best, fallback) > 0 else None


def _decompressor(encoding: str) -> _Decompressor:
    if encoding == "zstd":
        window = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
        frame: _Decompressor = zstd.ZstdDecompressor(options=window)
        return frame
    return zlib.decompressobj(_GZIP_FORMAT)


def _unpack(body: bytes, decompressor: _Decompressor, *, bytes_max: int) -> bytes:
    """One member or frame, and nothing after it: a row of tiny ones would cost without end."""
    unpacked = decompressor.decompress(body, bytes_max + 1)
    if len(unpacked) > bytes_max:
        raise LimitExceededError(
            f"The body is longer than {bytes_max} bytes when it is decompressed: send less at a "
            "time.",
            limit="BODY_BYTES_MAX",
        )
    if not decompressor.eof:
        raise BadRequestError("The compressed body ends too early.")
    if decompressor.unused_data:
        raise BadRequestError("Something follows the end of the compressed body.")
    return unpacked


class _NoZstdError(Exception):
    """Stands in for zstd's error where there is no zstd."""


_ZstdError: type[Exception] = zstd.ZstdError if zstd is not None else _NoZstdError
