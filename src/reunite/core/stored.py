"""Stored values: what a loosely typed database holds, and its wire form in a column of a type.

SQLite keeps an integer, a real, a text or a blob in almost any column, whatever its type. What fits
the type has the form of `core/values.py`. What does not is told by its kind:

    integer     a number; beyond ±(2^53 - 1) "reunite:integer:9007199254740993"
    real        a number, if it has a fraction; else, and if it is infinite, "reunite:real:" and the
                sixteen hexadecimal digits of the IEEE 754 double, such as 7ff0000000000000
    text        "reunite:text:" and the text; plain in columns that take text, unless it begins
                with "reunite:" itself
    blob        "reunite:blob:" and base64

Such a string is *tagged*. It is a string like any other for whoever compares, hashes or keeps
values; only a database is given what it stands for.

The rule         a stored value has one wire form in a column, and a wire form one stored value.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from reunite.core.json_text import parse_json_text
from reunite.core.schema import ColumnType

Stored: TypeAlias = int | float | str | bytes

# What a tagged value begins with, as text and in the bytes of a message.
TAG = "reunite:"
TAG_BYTES = b'"reunite:'

# Larger integers do not survive a JavaScript number, so they travel as text.
SAFE_INTEGER_MAX = 2**53 - 1

# Characters of a decimal. Its exponent has at most three digits, so sums stay small.
DECIMAL_LENGTH_MAX = 1_000
DECIMAL_TEXT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")

_INTEGER_TAG, _REAL_TAG = f"{TAG}integer:", f"{TAG}real:"
_TEXT_TAG, _BLOB_TAG = f"{TAG}text:", f"{TAG}blob:"

# Columns in which a text is a value like any other.
_TAKES_TEXT = frozenset(
    {
        ColumnType.ANY, ColumnType.TEXT, ColumnType.UUID,
        ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME,
    }
)  # fmt: skip


def is_tagged(value: object) -> bool:
    """Whether a value in wire form stands for another one."""
    return isinstance(value, str) and value.startswith(TAG)


def tagged(stored: Stored) -> str:
    """A stored value, told by its kind."""
    if isinstance(stored, int):
        return f"{_INTEGER_TAG}{int(stored)}"
    if isinstance(stored, float):
        # Minus zero as zero: no comparison of a database tells them apart, so neither may a key.
        return _REAL_TAG + struct.pack(">d", stored + 0.0).hex()
    if isinstance(stored, str):
        return _TEXT_TAG + stored
    return _BLOB_TAG + base64.b64encode(stored).decode()


def untagged(text: str) -> Stored:
    """The inverse of `tagged`. Raises ValueError for what that would not have written."""
    stored: Stored
    if text.startswith(_TEXT_TAG):
        return text.removeprefix(_TEXT_TAG)
    if text.startswith(_INTEGER_TAG):
        digits = text.removeprefix(_INTEGER_TAG)
        if len(digits) > 20:
            raise ValueError("The integer needs more than 64 bits.")
        stored = int(digits)
        if not -(2**63) <= stored < 2**63:
            raise ValueError("The integer needs more than 64 bits.")
    elif text.startswith(_REAL_TAG):
        packed = bytes.fromhex(text.removeprefix(_REAL_TAG))
        if len(packed) != 8:
            raise ValueError("A real has sixteen hexadecimal digits.")
        real: float = struct.unpack(">d", packed)[0]
        if math.isnan(real):
            raise ValueError("NaN is no value.")
        stored = real
    elif text.startswith(_BLOB_TAG):
        stored = binascii.a2b_base64(text.removeprefix(_BLOB_TAG), strict_mode=True)
    else:
        raise ValueError("The tag is none of reunite's.")
    if tagged(stored) != text:
        raise ValueError("The tagged value is not written as it should be.")
    return stored


def stored_of(value: Any) -> Any:
    """What a tagged value stands for; other values, and tags that nobody wrote, as they are."""
    if not is_tagged(value):
        return value
    try:
        return untagged(value)
    except ValueError:
        return value


def wire_integer(number: int) -> int | str:
    """An integer in wire form: text beyond ±SAFE_INTEGER_MAX."""
    return number if -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX else str(number)


def by_kind(stored: Stored) -> Any:
    """The wire form of a value that its column's type has none for."""
    if isinstance(stored, int) and -SAFE_INTEGER_MAX <= stored <= SAFE_INTEGER_MAX:
        return int(stored)
    if isinstance(stored, float) and math.isfinite(stored) and not stored.is_integer():
        return stored
    return tagged(stored)


def text_form(text: str) -> str:
    """The wire form of a text where texts are values like any other."""
    return _TEXT_TAG + text if text.startswith(TAG) else text


def wire_form(column_type: ColumnType) -> Callable[[Any], Any]:
    """What gives stored values (not None) of a column of this type their wire form."""
    return _FORMS.get(column_type, _loose_form)


def _loose_form(stored: Stored) -> Any:
    return text_form(stored) if isinstance(stored, str) else by_kind(stored)


def _integer_form(stored: Stored) -> Any:
    return wire_integer(stored) if isinstance(stored, int) else by_kind(stored)


def _real_form(stored: Stored) -> Any:
    is_finite = isinstance(stored, float) and math.isfinite(stored)
    return stored if is_finite else by_kind(stored)


def _decimal_form(stored: Stored) -> Any:
    if isinstance(stored, int):
        return str(int(stored))
    if isinstance(stored, float) and math.isfinite(stored):
        return repr(stored + 0.0)  # one zero only
    is_decimal = (
        isinstance(stored, str)
        and len(stored) <= DECIMAL_LENGTH_MAX
        and DECIMAL_TEXT.fullmatch(stored) is not None
    )
    return stored if is_decimal else by_kind(stored)


def _boolean_form(stored: Stored) -> Any:
    return stored == 1 if isinstance(stored, int) and stored in (0, 1) else by_kind(stored)


def _blob_form(stored: Stored) -> Any:
    if isinstance(stored, bytes):
        return base64.b64encode(stored).decode()
    return by_kind(stored)


def _json_form(stored: Stored) -> Any:
    if isinstance(stored, int) or (isinstance(stored, float) and math.isfinite(stored)):
        return stored  # inside JSON, integers stay numbers
    if isinstance(stored, str):
        try:
            value = parse_json_text(stored)
        except ValueError:
            return _TEXT_TAG + stored
        return _TEXT_TAG + stored if is_tagged(value) else value
    return by_kind(stored)


_FORMS: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.INTEGER: _integer_form,
    ColumnType.REAL: _real_form,
    ColumnType.DECIMAL: _decimal_form,
    ColumnType.BOOLEAN: _boolean_form,
    ColumnType.BLOB: _blob_form,
    ColumnType.JSON: _json_form,
}


def takes(column_type: ColumnType, stored: Stored) -> bool:
    """Whether a column of this type takes a value whose wire form is tagged, from outside."""
    if isinstance(stored, float) and not math.isfinite(stored):
        return False
    if column_type is ColumnType.ANY:
        return True
    if isinstance(stored, bytes):
        return False
    is_time = column_type in {ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME}
    return column_type in _TAKES_TEXT if isinstance(stored, str) else is_time
