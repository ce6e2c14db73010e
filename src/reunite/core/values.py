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
The checks are for values that come from outside; all other functions are total: they must also
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
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, Inexact
from typing import Any, TypeAlias

import msgspec

from reunite.core.json_text import JSON_DEPTH_MAX, is_json
from reunite.core.schema import Column, ColumnType
from reunite.core.stored import (
    DECIMAL_LENGTH_MAX,
    DECIMAL_TEXT,
    SAFE_INTEGER_MAX,
    TAG,
    is_tagged,
    stored_of,
    takes,
    untagged,
    wire_form,
    wire_integer,
)
from reunite.errors import BadRequestError

__all__ = [
    "DECIMAL_LENGTH_MAX", "INTEGER_MAX", "INTEGER_MIN", "JSON_DEPTH_MAX", "SAFE_INTEGER_MAX",
    "Fault", "Row", "Value", "add", "are_safe", "canonical", "canonical_text", "check_columns",
    "is_written_alike", "larger", "number_text", "order_key", "parse_integer", "same",
    "value_faults", "wire_integer",
]  # fmt: skip

Value: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
Row: TypeAlias = tuple[Value, ...]

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1

_NONE = type(None)
_INTEGER_TEXT = re.compile(r"-?[1-9][0-9]{15,18}")

# Types in which two plain values of one Python type are the same only if they are equal.
_SAME_IF_EQUAL = frozenset({ColumnType.TEXT, ColumnType.JSON})

# Room for the sum of any two decimals within the limits; what needs more is refused, not rounded.
_EXACT = Context(prec=2 * DECIMAL_LENGTH_MAX + 2_000, Emin=-9_999, Emax=9_999, traps=[Inexact])


# --- Checks for values from outside ---------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A value that its column cannot take. `inside` leads to the place in a json value."""

    row: int
    column: int
    inside: str
    reason: str


def check_columns(
    columns: Sequence[Column], rows: Sequence[Row], *, path: str, is_loose: bool = False
) -> None:
    """Refuse rows that do not fit `columns`, which stand in the order of the values.

    columns        one for each value of a row
    path           where the rows stand in the message
    is_loose       take any number and any tagged value in any column: what a loosely typed
                   database may have stored and a replica can only repeat (`was`, keys)

    Raises BadRequestError for the first fault, with a path such as `groups[0].set[3][2]`.
    NULL is accepted everywhere: NOT NULL is the database's to judge. Lone surrogates, NaN and
    infinities cannot arrive in JSON (the decoder refuses them); numbers are checked all the same.

    Works column by column: about 30 ns a value of a plain type.
    """
    for index, row in enumerate(rows) if set(map(len, rows)) - {len(columns)} else ():
        if len(row) != len(columns):
            raise BadRequestError(
                f"The row has {len(row)} values for {len(columns)} columns.",
                path=f"{path}[{index}]",
            )
    for fault in value_faults(columns, rows, is_loose=is_loose):
        raise BadRequestError(
            f"Column {columns[fault.column].name!r}: {fault.reason}",
            path=f"{path}[{fault.row}][{fault.column}]{fault.inside}",
        )


def value_faults(
    columns: Sequence[Column], rows: Sequence[Row], *, is_loose: bool = False
) -> list[Fault]:
    """All values that their columns cannot take, in order of rows; rows have the right length.

    For callers that reject single changes instead of a whole request.
    """
    faults: list[Fault] = []
    if not rows:
        return faults
    for position, (column, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        if _is_plain(column.type, values):
            continue
        for index, value in enumerate(values):
            if value is None or (is_loose and _is_number(value)):
                continue
            fault = (
                _tag_fault(column.type, value, is_loose=is_loose)
                if is_tagged(value)
                else _fault(column.type, value)
            )
            if fault is not None:
                faults.append(Fault(row=index, column=position, inside=fault[0], reason=fault[1]))
    return sorted(faults, key=lambda fault: fault.row)


def _is_plain(column_type: ColumnType, column: Sequence[Value]) -> bool:
    """Whether a look at the whole column shows that it is in order; False means: look closer."""
    kinds = set(map(type, column))
    values: Sequence[Any] = column
    if _NONE in kinds:
        kinds.remove(_NONE)
        values = [value for value in column if value is not None]
    if not kinds:
        return True
    match column_type:
        case ColumnType.TEXT | ColumnType.UUID | ColumnType.ANY:
            return kinds == {str} and _have_no_tag(values)
        case ColumnType.DATE | ColumnType.TIME | ColumnType.DATETIME:
            return kinds == {str} and _have_no_tag(values)
        case ColumnType.INTEGER:
            return kinds == {int} and are_safe(values)
        case ColumnType.REAL:
            are_numbers = kinds <= {int, float} and (int not in kinds or are_safe(values))
            return are_numbers and all(map(math.isfinite, values))
        case ColumnType.BOOLEAN:
            return kinds == {bool}
        case ColumnType.JSON:
            return kinds == {bool} or (kinds == {str} and _have_no_tag(values))
        case ColumnType.DECIMAL:
            is_short = kinds == {str} and max(map(len, values)) <= DECIMAL_LENGTH_MAX
            return is_short and all(map(DECIMAL_TEXT.fullmatch, values))
        case ColumnType.BLOB:
            return False


def are_safe(numbers: Sequence[float]) -> bool:
    """Whether all of some numbers, of which there is one at least, fit a double exactly."""
    return max(numbers) <= SAFE_INTEGER_MAX and min(numbers) >= -SAFE_INTEGER_MAX


def _have_no_tag(texts: Sequence[str]) -> bool:
    return TAG not in "".join(texts)


def _is_number(value: Value) -> bool:
    if isinstance(value, int):
        is_safe = -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX
        return is_safe and not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def _tag_fault(column_type: ColumnType, value: Any, *, is_loose: bool) -> tuple[str, str] | None:
    """The same for a tagged value. From outside a column takes one only if its type has values
    that no other form could carry."""
    try:
        stored = untagged(value)
    except ValueError as exc:
        return "", f"{exc} Text that begins with {TAG!r} is written {TAG}text:{TAG}…"
    if wire_form(column_type)(stored) != value:
        return "", "the value has a form of its own in this column and is not tagged."
    if is_loose or takes(column_type, stored):
        return None
    if column_type is ColumnType.JSON and isinstance(stored, str) and is_json(stored):
        return None
    if isinstance(stored, float) and not math.isfinite(stored):
        return "", "the number is not finite."
    wanted = _EXPECTED.get(column_type, "text")
    kinds = {int: "an integer", float: "a number", str: "text", bytes: "a blob"}
    return "", f"expected {wanted}, not {kinds[type(stored)]}."


_EXPECTED = {
    ColumnType.INTEGER: "an integer",
    ColumnType.REAL: "a number",
    ColumnType.DECIMAL: "a decimal",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.BLOB: "a blob",
    ColumnType.JSON: "JSON",
}


def _fault(column_type: ColumnType, value: Value) -> tuple[str, str] | None:
    """Where inside `value` and why the column cannot take it; None if it can."""
    reason: str | None
    match column_type:
        case ColumnType.JSON:
            return _json_fault(value)
        case ColumnType.INTEGER:
            reason = _integer_fault(value)
        case ColumnType.DECIMAL:
            reason = _decimal_fault(value)
        case ColumnType.BLOB:
            reason = _blob_fault(value)
        case ColumnType.BOOLEAN:
            reason = None if isinstance(value, bool) else _expected("true or false", value)
        case ColumnType.REAL:
            reason = _real_fault(value)
        case ColumnType.TEXT | ColumnType.UUID:
            reason = None if isinstance(value, str) else _expected("text", value)
        case ColumnType.DATE | ColumnType.TIME | ColumnType.DATETIME:
            if isinstance(value, str):
                reason = None
            elif isinstance(value, float):
                reason = _real_fault(value)
            elif _is_number(value):
                reason = None
            else:
                reason = _expected("text or a number", value)
        case ColumnType.ANY:
            is_known = isinstance(value, str) or _is_number(value)
            reason = None if is_known else _expected("text, a number or a tagged value", value)
    return None if reason is None else ("", reason)


def _expected(what: str, value: Value) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "an array"}
    return f"expected {what}, not {kinds.get(type(value), 'an object')}."


def _integer_fault(value: Value) -> str | None:
    if isinstance(value, str):
        number = int(value) if _INTEGER_TEXT.fullmatch(value) else 0
        if -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX:
            return "expected an integer, which is text only beyond 2^53, in plain decimal digits."
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
        if INTEGER_MIN <= number <= INTEGER_MAX and abs(number) > SAFE_INTEGER_MAX:
            return "integers beyond 2^53 travel as text, in plain decimal digits."
    else:
        return _expected("an integer", value)
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        return "the integer needs more than 64 bits."
    return None


def _real_fault(value: Value) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else "the number is not finite."
    if not isinstance(value, int) or isinstance(value, bool):
        return _expected("a number", value)
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        return "the number is too long without an exponent: write 1e20."
    return None


def _decimal_fault(value: Value) -> str | None:
    if not isinstance(value, str):
        return _expected("a decimal as text", value)
    if len(value) > DECIMAL_LENGTH_MAX:
        return f"the decimal has more than {DECIMAL_LENGTH_MAX} characters."
    if not DECIMAL_TEXT.fullmatch(value):
        return "the text is no decimal, such as -12.50."
    return None


def _blob_fault(value: Value) -> str | None:
    if not isinstance(value, str):
        return _expected("base64 text", value)
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return "the text is no base64 (RFC 4648, with padding)."
    return None


def _json_fault(value: Value) -> tuple[str, str] | None:
    # With a list of its own instead of recursion: the depth comes from outside.
    waiting: list[tuple[str, int, object]] = [("", 0, value)]
    while waiting:
        place, depth, item = waiting.pop()
        if isinstance(item, dict):
            if not all(isinstance(name, str) for name in item):
                return place, "the names in an object are text."
            waiting += [(f"{place}.{name}", depth + 1, item[name]) for name in item]
        elif isinstance(item, list):
            waiting += [(f"{place}[{i}]", depth + 1, member) for i, member in enumerate(item)]
        elif (reason := _json_scalar_fault(item)) is not None:
            return place, reason
        if depth >= JSON_DEPTH_MAX and isinstance(item, dict | list):
            return place, f"arrays and objects are nested more than {JSON_DEPTH_MAX} deep."
    return None


def _json_scalar_fault(value: object) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else "the number is not finite."
    if isinstance(value, int):
        is_long = not INTEGER_MIN <= value <= INTEGER_MAX
        return "the integer needs more than 64 bits." if is_long else None
    return None if value is None or isinstance(value, str) else "this is no JSON value."


# --- Integers -------------------------------------------------------------------------------------


def parse_integer(value: Value) -> int:
    """The inverse of `wire_integer`. Raises ValueError for what is no integer in wire form."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _INTEGER_TEXT.fullmatch(value):
        return int(value)
    raise ValueError(f"{value!r} is no integer.")


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
    return int(text) if _INTEGER_TEXT.fullmatch(text) else text


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
    if column_type is ColumnType.BLOB and _blob_fault(plain) is None:
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
    if _decimal_fault(text) is not None:
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
