"""JSON texts: which of them can travel as the value that they say.

A json column holds text. Most of it travels as the JSON value itself, and the other side writes it
down again: spaces are lost, nothing else. Where more would be lost, the text itself must travel:

    no JSON at all, or nested deeper than JSON_DEPTH_MAX     `null`, which NULL would stand for
    a name twice in one object                               integers beyond 64 bits
    numbers with more digits than a double has               lone surrogates
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

# Nested arrays and objects in a value of a json column.
JSON_DEPTH_MAX = 64

_INTEGER_MAX = 2**63
_LONG_DIGITS = re.compile(r"[0-9]{19}")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def is_json(text: str) -> bool:
    """Whether this is JSON (RFC 8259); what is nested too deeply for Python counts as none."""
    try:
        _STRICT_READER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def parse_json_text(text: str) -> Any:
    """The value that the text says. Raises ValueError where the text itself must travel."""
    try:
        value = _decode(text)
    except (ValueError, RecursionError) as exc:  # also of UTF-8
        raise ValueError("This is no JSON that can be read.") from exc
    if value is None:
        raise ValueError("NULL means no value.")
    kind = type(value)
    if kind is str or kind is bool:
        return value
    if not _is_written_back(text, value):
        try:
            _LOSSLESS_READER.decode(text)
        except RecursionError as exc:
            raise ValueError("The JSON is nested too deeply.") from exc
    if text.count("[") + text.count("{") > JSON_DEPTH_MAX and _depth(value) > JSON_DEPTH_MAX:
        raise ValueError("The JSON is nested too deeply.")
    return value


def _is_written_back(text: str, value: Any) -> bool:
    """Whether the usual writers make the same text of the value, so that nothing was lost."""
    if _LONG_DIGITS.search(text) is not None:
        return False
    compact: bytes = _encode(value)
    return compact == text.encode() or json.dumps(value) == text


def _depth(value: Any) -> int:
    """How many arrays and objects are nested."""
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        level = [
            member
            for item in level
            for member in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON.")


def _lossless_integer(text: str) -> int:
    if len(text) > 20 or not -_INTEGER_MAX <= int(text) < _INTEGER_MAX:
        raise ValueError("The integer needs more than 64 bits.")
    return int(text)


def _lossless_real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or Decimal(text) != Decimal(repr(number)):
        raise ValueError("The number has more digits than a double.")
    return number


def _lossless_object(members: Sequence[tuple[str, Any]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise ValueError("A name stands twice in one object.")


_STRICT_READER = json.JSONDecoder(parse_constant=_refuse, parse_int=str, parse_float=str)
_LOSSLESS_READER = json.JSONDecoder(
    parse_constant=_refuse,
    parse_int=_lossless_integer,
    parse_float=_lossless_real,
    object_pairs_hook=_lossless_object,
)
