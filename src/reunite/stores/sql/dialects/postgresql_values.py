"""PostgreSQL's values on their way to the wire and back.

    rows      `row_sql` has PostgreSQL give each value as a number, a boolean or a text that is, or
              nearly is, its wire form; `row_step` does the rest. `wire_sql` is the same for JSON
    images    the trigger writes a row as `row_to_json` prints it, whatever columns it has by then;
              `image_reader` makes wire form of that
    writing   a whole batch of rows is one JSON text, which `json_to_recordset` takes apart

What PostgreSQL cannot hold (a blob in a text column, U+0000) is refused with ConstraintError.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType
from reunite.core.stored import (
    TAG,
    TAG_BYTES,
    is_tagged,
    stored_of,
    tagged,
    text_form,
    wire_form,
    wire_integer,
)
from reunite.core.values import Row, is_base64, parse_integer
from reunite.errors import ConstraintError
from reunite.stores.sql.dialects.postgresql_reflection import PgColumn
from reunite.stores.sql.dialects.sqlite import UNNEEDED

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_image = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_TEXTS = frozenset({"text", "varchar", "bpchar", "uuid", "date", "time", "timestamp"})
_PLAIN = frozenset({"int2", "int4", "int8", "float4", "float8", "bool"}) | _TEXTS
_REALS = {"Infinity": float("inf"), "-Infinity": float("-inf")}


# --- PostgreSQL → wire form -----------------------------------------------------------------------


def wire_sql(column: PgColumn, column_type: ColumnType, x: str) -> str:
    """The value `x` of a column, so that JSON of it is its wire form as far as that can be. No name
    in it depends on the path that is searched."""
    if column_type is ColumnType.ANY:
        return f"{x}::pg_catalog.text"
    if column_type is ColumnType.JSON:
        json = x if column.base in ("json", "jsonb") else f"pg_catalog.to_json({x})"
        return f"{json}::pg_catalog.text"
    if column.base == "bytea":
        return f"pg_catalog.translate(pg_catalog.encode({x}, 'base64'), E'\\n', '')"
    if column.base == "timestamptz":
        form = '\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\''
        utc = f"({x} AT TIME ZONE 'UTC')"
        return (
            f"CASE WHEN NOT pg_catalog.isfinite({x}) THEN {x}::pg_catalog.text "
            f"WHEN {x} OPERATOR(pg_catalog.>=) '0001-01-01 00:00:00+00' "
            f"THEN pg_catalog.to_char({utc}, {form}) ELSE pg_catalog.to_char({utc}, "
            f'\'YYYY-MM-DD"T"HH24:MI:SS.US"Z BC"\') END'
        )
    if column.base == "oid":
        return f"{x}::pg_catalog.int8"
    return x if column.base in _PLAIN else f"{x}::pg_catalog.text"


def row_sql(column: PgColumn, column_type: ColumnType, x: str) -> str:
    """The value `x` of a column, so that what psycopg makes of it is what JSON of `wire_sql` is."""
    match column.base:
        case "timestamp":
            return f"regexp_replace({x}::text, ' ', 'T')"
        case "uuid" | "date" | "time":
            return f"{x}::text"
        case _:
            return wire_sql(column, column_type, x)


def row_step(column_type: ColumnType, kind: type) -> Callable[[Any], Any] | None:
    """What a value that came as this type still needs; for a `PatternReader`."""
    if kind is type(None) or kind is bool:
        return None
    match column_type:
        case ColumnType.INTEGER:
            return wire_integer if kind is int else _integer_text
        case ColumnType.REAL:
            return _float if kind is float else _real if kind is str else None
        case ColumnType.DECIMAL:
            return _decimal if kind is str else str
        case ColumnType.JSON:
            return wire_form(ColumnType.JSON)
        case ColumnType.ANY:
            return _decode
        case ColumnType.BLOB | ColumnType.BOOLEAN:
            return None
        case _:
            return text_form if kind is str else str


def _integer_text(text: str) -> int | str:
    return wire_integer(int(text))


def _real(text: str) -> Any:
    return tagged(_REALS[text]) if text in _REALS else tagged(text)


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return tagged("NaN" if math.isnan(value) else value)


def _are_finite(values: Sequence[float]) -> bool:
    return math.isfinite(sum(values))


_decimal = wire_form(ColumnType.DECIMAL)

ROW_UNNEEDED = {**UNNEEDED, _float: _are_finite}


# --- Images ---------------------------------------------------------------------------------------

_OFFSET = re.compile(
    r"(\d{4,6}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?([+-]\d\d(?::?\d\d){0,2})( BC)?"
)


def image_reader(columns: Sequence[Column]) -> Callable[[str], Row]:
    """What reads these columns of an image; NULL where the table did not have one then."""
    readers = [(column.name, _IMAGES.get(column.type, _image_text)) for column in columns]

    def read(text: str) -> Row:
        found = _decode_image(text)
        values: list[Any] = []
        for name, read_value in readers:
            raw = found.get(name)
            # As bytes: a Raw is equal to nothing but itself.
            printed = b"null" if raw is None else bytes(raw)
            values.append(None if printed == b"null" else read_value(printed))
        return tuple(values)

    return read


def _image_integer(raw: bytes) -> Any:
    return wire_integer(int(raw.strip(b'"')))


def _image_real(raw: bytes) -> Any:
    value = _decode(raw)
    return _real(value) if isinstance(value, str) else value


def _image_decimal(raw: bytes) -> Any:
    return _decimal(raw.strip(b'"').decode())


def _image_blob(raw: bytes) -> Any:
    text = _decode(raw)
    return base64.b64encode(bytes.fromhex(text[2:])).decode()


def _image_json(raw: bytes) -> Any:
    return wire_form(ColumnType.JSON)(raw.decode())


def _image_datetime(raw: bytes) -> Any:
    return utc_text(str(_decode(raw)))


def _image_text(raw: bytes) -> Any:
    value = _decode(raw)
    return text_form(value if isinstance(value, str) else raw.decode())


_IMAGES: dict[ColumnType, Callable[[bytes], Any]] = {
    ColumnType.INTEGER: _image_integer,
    ColumnType.REAL: _image_real,
    ColumnType.DECIMAL: _image_decimal,
    ColumnType.BOOLEAN: _decode,
    ColumnType.BLOB: _image_blob,
    ColumnType.JSON: _image_json,
    ColumnType.ANY: _decode,
    ColumnType.DATETIME: _image_datetime,
}


def utc_text(text: str) -> str:
    """A time with an offset as the wire has it; other texts as they are."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        return text_form(text)
    day, clock, fraction, offset, era = match.groups()
    micros = (fraction or "").ljust(6, "0")
    if offset in ("+00", "+00:00"):
        return f"{day}T{clock}.{micros}Z{era or ''}"
    if era or len(day) > 10:
        return text_form(text)  # Python knows no such year; the trigger writes UTC anyway
    if len(offset) == 3:
        offset += ":00"
    moment = datetime.fromisoformat(f"{day}T{clock}.{micros}{offset}").astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


# --- Wire form → PostgreSQL -----------------------------------------------------------------------


def records(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """Rows as the JSON text that `recordset` reads: an array of objects c0, c1, …"""
    names = [f"c{place}" for place in range(len(columns))]
    text = _encode([dict(zip(names, row, strict=True)) for row in rows])
    if TAG_BYTES in text:
        text = _encode(
            [
                {
                    name: _untagged(column, value)
                    for name, column, value in zip(names, columns, row, strict=True)
                }
                for row in rows
            ]
        )
    return text.decode()


def _untagged(column: Column, value: Any) -> Any:
    if column.type is ColumnType.ANY or not is_tagged(value):
        return value
    stored = stored_of(value)
    if isinstance(stored, bytes):
        raise ConstraintError(
            f"PostgreSQL cannot hold a blob in the column {column.name!r}.",
            code="check",
            columns=(column.name,),
        )
    if isinstance(stored, float):
        return repr(stored).replace("inf", "Infinity")
    if column.type is ColumnType.JSON and isinstance(stored, str):
        return msgspec.Raw(stored.encode())
    return stored


def copied(columns: Sequence[Column], rows: Sequence[Row]) -> list[Row] | None:
    """Rows as COPY takes them; None if a value is tagged, and has to be looked at by itself."""
    found: list[Sequence[Any]] = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        kinds = set(map(type, values))
        if str in kinds:
            texts = values if len(kinds) == 1 else [v for v in values if isinstance(v, str)]
            if TAG in "".join(texts):
                return None
        if column.type is ColumnType.BLOB or column.type is ColumnType.JSON:
            found.append([stored_value(column, value) for value in values])
        else:
            found.append(values)
    return list(zip(*found, strict=True))


def recordset(columns: Sequence[tuple[PgColumn, Column]], alias: str) -> tuple[str, list[str]]:
    """What selects from such a text, which is a parameter, and the expressions of the values."""
    declared, values = [], []
    for place, (column, of_schema) in enumerate(columns):
        x = f"{alias}.c{place}"
        if column.base == "bytea":
            declared.append(f"c{place} text")
            values.append(f"decode({x}, 'base64')")
        elif of_schema.type is ColumnType.ANY:
            declared.append(f"c{place} jsonb")
            values.append(x)
        else:
            declared.append(f"c{place} {column.sql}")
            values.append(x)
    return f"json_to_recordset(?::json) AS {alias}({', '.join(declared)})", values


def possible_keys(columns: Sequence[tuple[PgColumn, Column]], keys: Sequence[Key]) -> list[Key]:
    """Those of the keys that columns of these types may hold; of types of which nothing is known
    here, and of texts, all."""
    found = [key for key in keys if len(key) == len(columns)]
    for place, (column, of_schema) in enumerate(columns):
        may_hold = _check_of(column, of_schema.type)
        if may_hold is not None:
            found = [key for key in found if is_tagged(key[place]) or may_hold(key[place])]
    return found


def _check_of(column: PgColumn, column_type: ColumnType) -> Callable[[Any], bool] | None:
    """What tells whether a column may hold a value that is not tagged."""
    if column.kind == "e":
        return frozenset(column.labels).__contains__
    if column.base in _INTEGERS:
        return partial(_is_within, _INTEGERS[column.base])
    return _CHECKS.get(column_type)


# As PostgreSQL reads them: a number may come as a text, and what begins like a time is one.
def _is_within(integers: range, value: Any) -> bool:
    try:
        return not isinstance(value, float | bool) and int(value) in integers
    except (TypeError, ValueError):
        return False


def _is_number(value: Any) -> bool:
    try:
        float(value)  # NaN and Infinity too
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def _is_uuid(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if _UUID.fullmatch(value):  # a fifth of the time
        return True
    try:
        return bool(UUID(value))
    except ValueError:
        return False


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and _TIME_START.match(value) is not None


_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME_START = re.compile(r"[+-]?(\d|infinity)")
_INTEGERS = {
    "int2": range(-(2**15), 2**15),
    "int4": range(-(2**31), 2**31),
    "oid": range(2**32),
    "int8": range(-(2**63), 2**63),
}
_CHECKS: Mapping[ColumnType, Callable[[Any], bool]] = {
    ColumnType.UUID: _is_uuid,
    ColumnType.REAL: _is_number,
    ColumnType.DECIMAL: _is_number,
    ColumnType.BOOLEAN: (False, True, "false", "true").__contains__,
    ColumnType.BLOB: lambda value: isinstance(value, str) and is_base64(value),
    ColumnType.DATE: _is_time,
    ColumnType.TIME: _is_time,
    ColumnType.DATETIME: _is_time,
}


def stored_value(column: Column, value: Any) -> Any:
    """A single value as psycopg is given it."""
    if value is None:
        return None
    if is_tagged(value) and column.type is not ColumnType.ANY:
        value = stored_of(value)
    match column.type:
        case ColumnType.INTEGER:
            return parse_integer(value)
        case ColumnType.BLOB:
            return base64.b64decode(value) if isinstance(value, str) else value
        case ColumnType.JSON | ColumnType.ANY:
            return _encode(value).decode()
        case ColumnType.BOOLEAN:
            return bool(value)
        case _:
            return value
