"""Values: how each column type travels, and when two values are the same.

Everywhere in core, protocol and engine a value stands in wire form:

    integer   number; beyond ±(2^53 - 1) decimal text         real      number, also one without "."
    decimal   decimal text, "1.50"                            boolean   true, false
    blob      base64 text (RFC 4648 with padding)             uuid      text
    text      text                                            json      the parsed value itself
    date, time, datetime   text: ISO 8601, times in UTC. SQLite stores any text in such columns,
                           and numbers too; both pass as they are and are compared as such
    any       whatever it is: text, a number, or a tagged value

NULL is None in every column. What does not fit its column's type is *tagged*: `core/stored.py`.
Values from outside are checked (`core/checks.py`); the functions here are total: they must also
give an answer for what a loosely typed database has really stored.
`conformance/values/` is the definition.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable
from decimal import Context, Decimal, Inexact
from typing import Any, TypeAlias

from reunite.core.json_text import JSON_DEPTH_MAX
from reunite.core.schema import ColumnType
from reunite.core.stored import (
    DECIMAL_LENGTH_MAX,
    DECIMAL_TEXT,
    SAFE_INTEGER_MAX,
    is_tagged,
    stored_of,
    wire_integer,
)

__all__ = [
    "DECIMAL_LENGTH_MAX", "INTEGER_MAX", "INTEGER_MIN", "INTEGER_TEXT", "JSON_DEPTH_MAX",
    "SAFE_INTEGER_MAX", "Row", "Value", "add", "canonical", "canonical_text", "is_base64",
    "is_written_alike", "larger", "number_text", "order_key", "parse_integer", "same",
    "wire_integer",
]  # fmt: skip

Value: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
Row: TypeAlias = tuple[Value, ...]

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1

_NONE = type(None)
INTEGER_TEXT = re.compile(r"-?[1-9][0-9]{15,18}")

# Types in which two plain values of one Python type are the same only if they are equal.
_SAME_IF_EQUAL = frozenset({ColumnType.TEXT, ColumnType.JSON})

# Room for the sum of any two decimals within the limits; what needs more is refused, not rounded.
_EXACT = Context(prec=2 * DECIMAL_LENGTH_MAX + 2_000, Emin=-9_999, Emax=9_999, traps=[Inexact])


# --- Integers -------------------------------------------------------------------------------------


def parse_integer(value: Value) -> int:
    """The inverse of `wire_integer`. Raises ValueError for what is no integer in wire form."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and INTEGER_TEXT.fullmatch(value):
        return int(value)
    raise ValueError(f"{value!r} is no integer.")


# --- Blobs ----------------------------------------------------------------------------------------


def is_base64(text: str) -> bool:
    """Whether a text is the wire form of a blob."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return True


# --- Sameness -------------------------------------------------------------------------------------


def same(column_type: ColumnType, a: Value, b: Value) -> bool:
    """Whether two values mean the same in a column of this type.

    So are 1 and 1.0, 0.0 and -0.0, the decimals "1.0" and "1.00", two spellings of one blob, UUIDs
    in upper and lower case, JSON objects whose members stand in another order. Dates and times
    are the same only if their texts are.
    """
    # What nearly all calls need; the rest is for spellings and containers.
    if a is b:
        return True
    kind = type(a)
    if kind is type(b) and kind is not list and kind is not dict:
        if a == b:
            return True
        if column_type in _SAME_IF_EQUAL or (
            kind is not str and column_type is not ColumnType.REAL
        ):
            return False
    if a is None or b is None:
        return False
    return canonical(column_type, a) == canonical(column_type, b)


def is_written_alike(a: Value, b: Value) -> bool:
    """Whether two values are the same JSON. "1.0" and "1.00" are not, though the same decimal."""
    return same(ColumnType.JSON, a, b)


def canonical(column_type: ColumnType, value: Value) -> bool | int | float | str | None:
    """The one representative of all values that are `same`; hashable.

        boolean                    bool
        integer, real              int if there is no fraction, else float
        decimal                    "-125e-2": digits without trailing zeros, exponent; zero is "0e0"
        blob, uuid                 base64 as the encoder writes it; lower case
        json                       text: members sorted by name, numbers as in `number_text`
        text, date, time, datetime as it is

    What the type does not cover stays as it is, numbers without a fraction as int. A tagged number
    counts as the number itself (except in columns of text, where SQLite makes text of it).
    """
    if value is None:
        return None
    if column_type is ColumnType.JSON or isinstance(value, list | dict):
        return _json_text(value)
    if isinstance(value, str):
        stored = stored_of(value) if column_type not in _SAME_IF_EQUAL else value
        if isinstance(stored, int | float):
            return _number_in(column_type, stored)
        function = None if is_tagged(value) else _CANONICAL_OF_TEXT.get(column_type)
        return value if function is None else function(value)
    return _number_in(column_type, value)


def canonical_text(column_type: ColumnType, value: Value) -> str:
    """The representative as text that every language writes alike; for hashes.

    null, true, false, numbers as `number_text`, all else a JSON string: of a json value, the
    string that holds its canonical text. Only `"`, `\\` and control characters are escaped.
    """
    return _scalar_text(canonical(column_type, value))


def _number_in(column_type: ColumnType, number: int | float) -> bool | int | float | str:
    """The representative of a number, whether it was tagged or not, in a column of this type."""
    if column_type is ColumnType.BOOLEAN and number in (0, 1):
        return bool(number)
    if column_type is ColumnType.DECIMAL and math.isfinite(number):
        return _canonical_decimal(repr(number + 0))
    if column_type is ColumnType.REAL and isinstance(number, int):
        number = _float_of(number)  # what a real column makes of it
    return _canonical_number(number)


def _canonical_number(value: int | float) -> int | float:
    return value if isinstance(value, float) and not value.is_integer() else int(value)


def _float_of(value: int) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value


def _canonical_integer(text: str) -> int | str:
    return int(text) if INTEGER_TEXT.fullmatch(text) else text


def _canonical_decimal(text: str) -> str:
    if len(text) > DECIMAL_LENGTH_MAX or not DECIMAL_TEXT.fullmatch(text):
        return text
    number = _EXACT.normalize(Decimal(text))
    sign, digits, exponent = number.as_tuple()
    return f"{'-' * sign}{''.join(map(str, digits))}e{exponent}" if number else "0e0"


def _canonical_blob(text: str) -> str:
    try:
        return base64.b64encode(binascii.a2b_base64(text, strict_mode=True)).decode()
    except ValueError:
        return text


_CANONICAL_OF_TEXT: dict[ColumnType, Callable[[str], int | str]] = {
    ColumnType.INTEGER: _canonical_integer,
    ColumnType.DECIMAL: _canonical_decimal,
    ColumnType.BLOB: _canonical_blob,
    ColumnType.UUID: str.lower,
}


def number_text(number: int | float) -> str:
    """A number as text that every language writes alike.

    Decimal digits if there is no fraction ("-12"), else "~" and the sixteen hexadecimal digits of
    the IEEE 754 double (1.5 is "~3ff8000000000000").
    """
    if isinstance(number, float) and not number.is_integer():
        return "~" + struct.pack(">d", number).hex()
    return str(int(number))


class _Piece(str):
    """Finished text among the values that still have to be written."""

    __slots__ = ()


def _json_text(value: object) -> str:
    # With a list of its own instead of recursion: a database may hold deeper values than we take.
    written: list[str] = []
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        parts: list[object] = []
        if isinstance(item, _Piece):
            written.append(item)
        elif isinstance(item, dict):
            # By code point, as the bytes of UTF-8 sort; JavaScript's own order is another one.
            for name in sorted(item):
                parts += _Piece(f"{',' if parts else '{'}{_quoted(name)}:"), item[name]
            waiting += _Piece("}"), *reversed(parts or [_Piece("{")])
        elif isinstance(item, list | tuple):
            for member in item:
                parts += _Piece("," if parts else "["), member
            waiting += _Piece("]"), *reversed(parts or [_Piece("[")])
        else:
            written.append(_scalar_text(item))
    return "".join(written)


def _scalar_text(item: object) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int | float):
        return number_text(item)
    return "null" if item is None else _quoted(str(item))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- Order and sums -------------------------------------------------------------------------------


def larger(column_type: ColumnType, a: Value, b: Value) -> bool:
    """Whether `a` is larger than `b`; a total order in which `same` values are equal.

    None is less than everything, numbers are less than text. Tagged values stand where what they
    stand for does, tagged blobs after text. Text, dates and times are ordered by
    code point, blobs by their bytes, decimals by value, false before true; json numbers and texts
    likewise, other json values by their canonical text after those.
    """
    return order_key(column_type, a) > order_key(column_type, b)


def order_key(column_type: ColumnType, value: Value) -> tuple[int, Any, str]:
    """What stands in the order of `larger`; equal for values that are `same`, and hashable."""
    if column_type is ColumnType.JSON:
        if isinstance(value, bool | list | dict):
            return 3, _json_text(value), ""
        return order_key(ColumnType.TEXT, value)
    plain = canonical(column_type, value)
    if plain is None:
        return 0, 0, ""
    if not isinstance(plain, str):
        return 1, plain, ""
    if is_tagged(plain):
        stored = stored_of(plain)
        # The text itself comes last: no two values are equal here that are not `same`.
        if isinstance(stored, bytes):
            return 4, stored.hex(), plain
        return (2 if isinstance(stored, str) else 1), stored, plain
    if column_type is ColumnType.DECIMAL and DECIMAL_TEXT.fullmatch(plain):
        return 1, Decimal(plain), ""
    if column_type is ColumnType.BLOB and is_base64(plain):
        return 2, binascii.a2b_base64(plain).hex(), ""
    return 2, plain, ""


def add(column_type: ColumnType, hub: Value, delta_from: Value, delta_to: Value) -> Value:
    """`hub` + `delta_to` - `delta_from`, for counters. None counts as 0.

    integer and decimal are exact; a decimal keeps the longest fraction of the three. If the hub
    still has `delta_from`, the result is `delta_to` as it is written.

    Raises ValueError if one of them is no number, or if the result does not fit: integers into 64
    bits, reals into the finite ones, decimals into DECIMAL_LENGTH_MAX.
    """
    if same(column_type, delta_from, delta_to):
        return hub
    if same(column_type, hub, delta_from):
        return delta_to
    match column_type:
        case ColumnType.INTEGER:
            here, before, after = (
                parse_integer(0 if value is None else value)
                for value in (hub, delta_from, delta_to)
            )
            total = here + after - before
            if not INTEGER_MIN <= total <= INTEGER_MAX:
                raise ValueError("The counter would need more than 64 bits.")
            return wire_integer(total)
        case ColumnType.REAL:
            x, y, z = (_real_of(value) for value in (hub, delta_from, delta_to))
            result = x + (z - y)
            if not math.isfinite(result):
                raise ValueError("The counter would not be finite.")
            return result
        case ColumnType.DECIMAL:
            return _add_decimals(*(_decimal_of(value) for value in (hub, delta_from, delta_to)))
        case _:
            raise ValueError(f"A column of type {column_type} cannot count.")


def _real_of(value: Value) -> float:
    if value is None or isinstance(value, int | float):
        return float(value or 0)
    raise ValueError(f"{value!r} is no number.")


def _decimal_of(value: Value) -> Decimal:
    text = "0" if value is None else value if isinstance(value, str) else repr(value)
    if len(text) > DECIMAL_LENGTH_MAX or not DECIMAL_TEXT.fullmatch(text):
        raise ValueError(f"{value!r} is no decimal.")
    return Decimal(text)


def _add_decimals(hub: Decimal, delta_from: Decimal, delta_to: Decimal) -> str:
    try:
        total = _EXACT.subtract(_EXACT.add(hub, delta_to), delta_from)
    except Inexact as exc:
        raise ValueError("The counter would be too long.") from exc
    text = format(total or abs(total), "f")  # no "-0"
    if len(text) > DECIMAL_LENGTH_MAX:
        raise ValueError("The counter would be too long.")
    return text
