"""Checks of values from outside: which of them their columns cannot take, and where they stand.

The rule         after these checks the engine trusts a value to be in the wire form of its column
                 (`core/values.py`); whatever cannot be refused here must be total there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from reunite.core.json_text import JSON_DEPTH_MAX, is_json
from reunite.core.schema import Column, ColumnType
from reunite.core.stored import (
    DECIMAL_LENGTH_MAX,
    DECIMAL_TEXT,
    SAFE_INTEGER_MAX,
    TAG,
    is_tagged,
    takes,
    untagged,
    wire_form,
)
from reunite.core.values import INTEGER_MAX, INTEGER_MIN, INTEGER_TEXT, Row, Value, is_base64
from reunite.errors import BadRequestError

_NONE = type(None)

# What is in order at once, by the type of its column. Other values may be, too: large reals,
# texts in place of large integers, whatever stands in columns of other types.
_SAFE = msgspec.Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)
_PLAIN: Mapping[ColumnType, Any] = MappingProxyType(
    dict.fromkeys(
        (
            ColumnType.TEXT,
            ColumnType.UUID,
            ColumnType.ANY,
            ColumnType.DATE,
            ColumnType.TIME,
            ColumnType.DATETIME,
        ),
        str | None,
    )
    | {
        ColumnType.INTEGER: Annotated[int, _SAFE] | None,
        ColumnType.REAL: Annotated[float, _SAFE] | None,
        ColumnType.BOOLEAN: bool | None,
    }
)


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
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    is_loose: bool = False,
    is_plain: bool = False,
) -> list[Fault]:
    """All values that their columns cannot take, in order of rows; rows have the right length.

    For callers that reject single changes instead of a whole request. `is_plain` says that no
    value is tagged, which is then not looked for.
    """
    faults: list[Fault] = []
    if not rows or (is_plain and _are_plain(columns, rows)):
        return faults
    for position, (column, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        if _is_in_order(column.type, values, is_plain=is_plain):
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


def _are_plain(columns: Sequence[Column], rows: Sequence[Row]) -> bool:
    """Whether all values of rows without tags are in order. About 6 ns a value; False means: look
    closer."""
    plain = _plain_rows(tuple(column.type for column in columns))
    if plain is None:
        return False
    try:
        msgspec.convert({"rows": rows}, plain)
    except msgspec.ValidationError:
        return False
    return True


@lru_cache(maxsize=1_000)
def _plain_rows(types: tuple[ColumnType, ...]) -> Any:
    if not all(each in _PLAIN for each in types):
        return None
    row: Any = tuple[tuple(_PLAIN[each] for each in types)]  # type: ignore[misc]
    # What a struct's fields are is worked out once, what other types are each time.
    return msgspec.defstruct("_PlainRows", [("rows", list[row])])


def _is_in_order(column_type: ColumnType, column: Sequence[Value], *, is_plain: bool) -> bool:
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
            return kinds == {str} and (is_plain or _have_no_tag(values))
        case ColumnType.DATE | ColumnType.TIME | ColumnType.DATETIME:
            return kinds == {str} and (is_plain or _have_no_tag(values))
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
        number = int(value) if INTEGER_TEXT.fullmatch(value) else 0
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
    return None if is_base64(value) else "the text is no base64 (RFC 4648, with padding)."


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
