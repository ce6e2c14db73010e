"""SQLite's log form: rows in a replica's outbox, and keys in every log, as triggers write them.

The triggers run in other programs, so there is no function of ours, and yet nothing is lost. The
form is JSON. Reals have 20 digits where they need them (with 17, SQLite's printf misses one in a
hundred), blobs are hexadecimal digits, since SQLite's SQL has no base64.

    column      stored          log form
    real        real            0.1 or 0.10000000000000000555
    blob        blob            "C0FFEE"; what is no blob stands in an array of one: ["text"]
    boolean     0, 1            false, true
    any other   real, blob      {"reunite:real": "1.5"}, {"reunite:blob": "C0FFEE"}
                all else        a number or a string; so json is a string that holds its text

In a key, what the wire form spells otherwise is tagged too: {"reunite:text": "five"} in an integer
column, {"reunite:integer": "9007199254740993"} in one of another type.

The rule         these texts are stored in triggers: changing one means a new layout version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeAlias

import msgspec

from reunite.core.key import Key, key_text
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.stored import TAG, wire_form
from reunite.core.values import SAFE_INTEGER_MAX, Row, Value
from reunite.stores.sql.dialects.sqlite import SAFE, PatternReader, Storer, step_of, wire_blob
from reunite.stores.sql.quoting import quoted

# A function with more arguments is refused by SQLite as it is usually built (127), so the image of
# a wider row is an array of arrays, each of at most this many values.
IMAGE_PIECE_COLUMNS = 100

# Reals within these bounds and with this many units to the one are printed exactly by SQLite's own
# json_array, which writes 15 digits.
_SHORT_REAL_MAX = "1e8"
_SHORT_REAL_UNITS = "1e6"
_REAL_TAG, _BLOB_TAG = f"{TAG}real", f"{TAG}blob"
_TEXT_TAG, _INTEGER_TAG = f"{TAG}text", f"{TAG}integer"
_TAG_BYTES = TAG.encode()

# Key columns of other types are spelled in the log as `core.key.key_text` spells them.
_ODD_KEYS = frozenset(
    {
        ColumnType.REAL, ColumnType.DECIMAL, ColumnType.BLOB, ColumnType.JSON, ColumnType.BOOLEAN,
    }
)  # fmt: skip
_LONG_INTEGER = re.compile(r"-?[1-9][0-9]{15,18}")

_decode_json = msgspec.json.Decoder().decode
_decode_rows = msgspec.json.Decoder(list[tuple[Any, ...]]).decode
_decode_key = msgspec.json.Decoder(tuple).decode
_encode_json = msgspec.json.Encoder().encode

# Values that have the same form in an outbox and on the wire.
_SafeInteger: TypeAlias = Annotated[int, msgspec.Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)]
_PLAIN: Mapping[ColumnType, Any] = {
    ColumnType.INTEGER: _SafeInteger | None,
    ColumnType.REAL: int | float | None,
    ColumnType.BOOLEAN: bool | None,
} | dict.fromkeys(
    (ColumnType.TEXT, ColumnType.UUID, ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME),
    str | None,
)


# --- Stored → log form in an outbox --------------------------------------------------------------


def image(schema: TableSchema, alias: str, defaults: Mapping[str, str] | None = None) -> str:
    """The whole row `alias` (OLD, NEW or a table) as the JSON array that the log keeps.

    `defaults` are those of NOT NULL columns, which UPDATE OR REPLACE puts in place of NULL.
    """
    values = []
    for column in schema.columns:
        x = f"{alias}.{quoted(column.name)}"
        if defaults and column.name in defaults:
            x = f"coalesce({x}, {defaults[column.name]})"
        values.append(_log_expression(schema, column, x))
    if len(values) <= IMAGE_PIECE_COLUMNS:
        return _json_array(values)
    starts = range(0, len(values), IMAGE_PIECE_COLUMNS)
    return _json_array([_json_array(values[i : i + IMAGE_PIECE_COLUMNS]) for i in starts])


def key_image(schema: TableSchema, alias: str, *, rowid: str | None = None) -> str:
    """The key of the row `alias` as the JSON array that the log keeps.

    `rowid` is the column that is the rowid, if that is known: it holds nothing but integers.
    """
    expressions = [f"{alias}.{quoted(name)}" for name in schema.key]
    if schema.key == (rowid,):
        return f"json_array({_safe_integer(expressions[0])})"
    return key_image_of(schema, expressions)


def key_image_of(schema: TableSchema, expressions: Sequence[str]) -> str:
    """The same for values of the key's columns that stand in `expressions`."""
    return _json_array(
        [
            _key_expression(schema, schema.column[name], x)
            for name, x in zip(schema.key, expressions, strict=True)
        ]
    )


def key_image_of_given(schema: TableSchema, expressions: Sequence[str]) -> str:
    """The same for values that have not been through the table's columns yet."""
    affinities = {ColumnType.REAL: "REAL", ColumnType.DECIMAL: "NUMERIC"}
    stored = []
    for name, x in zip(schema.key, expressions, strict=True):
        affinity = affinities.get(schema.column[name].type)
        stored.append(f"CAST({x} AS {affinity})" if affinity else x)
    return key_image_of(schema, stored)


def _json_array(values: Sequence[str]) -> str:
    return f"json_array({', '.join(values)})"


def _log_expression(schema: TableSchema, column: Column, x: str) -> str:
    if _is_rowid(schema, column):
        return x
    match column.type:
        case ColumnType.REAL:
            units = f"CAST({x} * {_SHORT_REAL_UNITS} + ({x} > 0) - 0.5 AS INTEGER)"
            return (
                f"CASE WHEN {x} BETWEEN -{_SHORT_REAL_MAX} AND {_SHORT_REAL_MAX} "
                f"AND {units} / {_SHORT_REAL_UNITS} = {x} THEN {x} "
                f"WHEN {x} BETWEEN -1e308 AND 1e308 THEN json(printf('%!.20g', {x})) "
                f"ELSE {_log_any(x)} END"
            )
        case ColumnType.BOOLEAN:
            known = "WHEN 0 THEN json('false') WHEN 1 THEN json('true')"
            return f"CASE {x} {known} ELSE {_log_any(x)} END"
        case ColumnType.BLOB:
            return (
                f"CASE typeof({x}) WHEN 'blob' THEN hex({x}) WHEN 'null' THEN NULL "
                f"ELSE json_array({_log_any(x)}) END"
            )
        case _:
            return _log_any(x)


def _key_expression(schema: TableSchema, column: Column, x: str) -> str:
    if _is_rowid(schema, column):
        return _safe_integer(x)
    match column.type:
        case ColumnType.INTEGER:
            text = f"json_object('{_TEXT_TAG}', {x})"
            return (
                f"CASE typeof({x}) WHEN 'integer' THEN {_safe_integer(x)} WHEN 'text' THEN {text} "
                f"ELSE {_log_any(x)} END"
            )
        case ColumnType.BOOLEAN | ColumnType.REAL | ColumnType.BLOB:
            return _log_expression(schema, column, x)
        case _:
            integer = f"json_object('{_INTEGER_TAG}', CAST({x} AS TEXT))"
            return (
                f"CASE typeof({x}) WHEN 'text' THEN {x} WHEN 'integer' THEN "
                f"CASE WHEN {x} {SAFE} THEN {x} ELSE {integer} END ELSE {_log_any(x)} END"
            )


def _safe_integer(x: str) -> str:
    return f"CASE WHEN {x} {SAFE} THEN {x} ELSE CAST({x} AS TEXT) END"


def _is_rowid(schema: TableSchema, column: Column) -> bool:
    """Whether the column can hold nothing but integers."""
    return schema.generated_key and schema.key == (column.name,)


def _log_any(x: str) -> str:
    """Any value: those that JSON would not carry whole are tagged."""
    real = f"json_object('{_REAL_TAG}', printf('%!.20g', {x}))"
    blob = f"json_object('{_BLOB_TAG}', hex({x}))"
    return f"CASE typeof({x}) WHEN 'real' THEN {real} WHEN 'blob' THEN {blob} ELSE {x} END"


# --- Log form in an outbox → wire form ------------------------------------------------------------


def log_to_wire(schema: TableSchema) -> Callable[[str], Row]:
    """What reads images of rows that were logged under this version of the schema."""
    return _log_reader(schema.columns)


def logs_to_wire(schema: TableSchema) -> Callable[[Sequence[str]], list[Row]]:
    """The same for many images, in a quarter of the time: where all values are of their columns'
    types, as the decoder can tell, there is nothing left to do."""
    types = [column.type for column in schema.columns]
    is_wide = len(types) > IMAGE_PIECE_COLUMNS
    reader = PatternReader(types, _log_step)
    plain = _plain_rows_decoder(types)

    def read(texts: Sequence[str]) -> list[Row]:
        text = f"[{','.join(texts)}]"
        if plain is not None and TAG not in text:
            with suppress(msgspec.ValidationError):
                return plain.decode(text)
        rows = _decode_rows(text)
        if is_wide:
            rows = [tuple(value for piece in row for value in piece) for row in rows]
        return reader.read_all(rows)

    return read


def are_plain(schema: TableSchema) -> Callable[[bytes], bool]:
    """What tells whether rows of images, in brackets and with commas between, are in wire form as
    they stand."""
    plain = _plain_rows_decoder([column.type for column in schema.columns])

    def tell(rows: bytes) -> bool:
        if plain is None or _TAG_BYTES in rows:
            return False
        try:
            plain.decode(rows)
        except msgspec.DecodeError:  # which values of other types raise, too
            return False
        return True

    return tell


def _plain_rows_decoder(
    types: Sequence[ColumnType],
) -> msgspec.json.Decoder[list[tuple[Any, ...]]] | None:
    """What decodes rows of values none of which `_log_step` has anything to do for, if no text of
    them is tagged; None if it would have for some type, or if images of so many columns are in
    pieces."""
    if len(types) > IMAGE_PIECE_COLUMNS or not all(each in _PLAIN for each in types):
        return None
    row = tuple[tuple(_PLAIN[column_type] for column_type in types)]  # type: ignore[misc,valid-type]
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]


def log_key_to_wire(schema: TableSchema) -> Callable[[str], Row]:
    """What reads keys from the log."""
    read = _log_reader([schema.column[name] for name in schema.key])
    if not _has_plain_key(schema):
        return read

    def read_plain(text: str) -> Row:
        # Whatever is tagged, in the log or on the wire, shows by one of these.
        return read(text) if "{" in text or TAG in text else _decode_key(text)

    return read_plain


def plain_key_text(schema: TableSchema) -> Callable[[Row], str | None]:
    """What prints a key as the log does, if `core.key.key_text` prints it so; None else."""
    if not _has_plain_key(schema):
        return lambda key: None

    def text_of(key: Row) -> str | None:
        text = key_text(key)
        return None if TAG in text or float in map(type, key) else text

    return text_of


def _has_plain_key(schema: TableSchema) -> bool:
    """Whether `core.key.key_text` writes the table's keys as the log does, except odd values."""
    return not any(schema.column[name].type in _ODD_KEYS for name in schema.key)


def _log_reader(columns: Sequence[Column]) -> Callable[[str], Row]:
    is_wide = len(columns) > IMAGE_PIECE_COLUMNS
    reader = PatternReader([column.type for column in columns], _log_step)

    def read(text: str) -> Row:
        values = _decode_json(text)
        if is_wide:
            values = [value for piece in values for value in piece]
        return reader.read(values)

    return read


def _log_step(column_type: ColumnType, kind: type) -> Callable[[Any], Value] | None:
    """What a value of this JSON type needs in a column of this type."""
    form = wire_form(column_type)
    if kind is type(None) or kind is bool:
        return None
    if column_type is ColumnType.BLOB:
        return _log_blob if kind is str else lambda value: form(_logged(value[0]))
    if kind is dict:
        return lambda value: form(_logged(value))
    if column_type is ColumnType.REAL and kind in (int, float):
        return None  # how SQLite prints 5.0 is its own matter
    if column_type is ColumnType.INTEGER and kind is str:
        return lambda value: value if _LONG_INTEGER.fullmatch(value) else form(value)
    return step_of(column_type, kind)


def _logged(value: Any) -> Any:
    """The stored value that stands in the log, tagged or not."""
    if not isinstance(value, dict):
        return value
    ((tag, text),) = value.items()
    match tag:
        case "reunite:real":
            return float(text)
        case "reunite:blob":
            return bytes.fromhex(text)
        case "reunite:integer":
            return int(text)
        case _:
            return text


def _log_blob(text: str) -> str:
    return wire_blob(bytes.fromhex(text))


# --- Wire form → log form -------------------------------------------------------------------------


def wire_to_log(schema: TableSchema) -> Callable[[Row], str]:
    """What prints a row as `log_to_wire` reads it; for a replica that rewrites its outbox."""
    columns = schema.columns
    storer = Storer(columns)
    is_wide = len(columns) > IMAGE_PIECE_COLUMNS

    def printed(row: Row) -> str:
        values: list[Any] = [
            _log_value(column.type, value)
            for column, value in zip(columns, storer.row(row), strict=True)
        ]
        if is_wide:
            starts = range(0, len(values), IMAGE_PIECE_COLUMNS)
            values = [values[i : i + IMAGE_PIECE_COLUMNS] for i in starts]
        return _encode_json(values).decode()

    return printed


def key_to_log(schema: TableSchema) -> Callable[[Key], str]:
    """What prints a key as `log_key_to_wire` reads it."""
    columns = [schema.column[name] for name in schema.key]
    storer = Storer(columns)
    plain = plain_key_text(schema)

    def printed(key: Key) -> str:
        text = plain(key)
        if text is None:
            values = zip(columns, storer.row(key), strict=True)
            text = _encode_json([_log_key_value(c.type, value) for c, value in values]).decode()
        return text

    return printed


def _log_key_value(column_type: ColumnType, stored: Any) -> Any:
    if column_type is ColumnType.BLOB:
        return _log_value(column_type, stored)
    is_integer = column_type is ColumnType.INTEGER
    if isinstance(stored, str) and is_integer and not _LONG_INTEGER.fullmatch(stored):
        return {_TEXT_TAG: stored}
    if isinstance(stored, int) and abs(stored) > SAFE_INTEGER_MAX and not is_integer:
        return {_INTEGER_TAG: str(stored)}
    return _log_value(column_type, stored)


def _log_value(column_type: ColumnType, stored: Any) -> Any:
    """A stored value in log form; decimals and long integers may still be text."""
    if column_type is ColumnType.BLOB:
        if stored is None:
            return None
        is_blob = isinstance(stored, bytes)
        return stored.hex().upper() if is_blob else [_log_value(ColumnType.ANY, stored)]
    if isinstance(stored, bytes):
        return {_BLOB_TAG: stored.hex()}
    if isinstance(stored, float):
        is_plain = column_type is ColumnType.REAL and math.isfinite(stored)
        return stored if is_plain else {_REAL_TAG: repr(stored)}
    return stored
