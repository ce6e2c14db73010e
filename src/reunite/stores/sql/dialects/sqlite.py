"""SQLite's expressions: values on their way to the wire, into the log, and back.

Three forms of a value, and where each is made:

    stored      what SQLite holds; any column may hold anything, whatever its declared type. A hub's
                log keeps old rows so, one column of `reunite_change` for one of theirs: cheapest
                for whoever writes, and nothing is lost
    wire form   `core/values.py`; made by `select_list` in SQL, finished by `to_wire` where SQL has
                no such value (true, false, parsed JSON), or by `stored_to_wire` from an old row;
                `to_database` leads back
    log form    JSON in an outbox's `old` and `row`, and in every `key`, made by triggers that run
                in other programs: no function of ours, no loss. Reals with 20 digits where they
                need them (with 17, SQLite's printf misses one in a hundred), blobs in hexadecimal
                digits, since SQLite's SQL has no base64; `log_to_wire` reads it

    column      stored          log form
    real        real            0.1 or 0.10000000000000000555
    blob        blob            "C0FFEE"; what is no blob stands in an array of one: ["text"]
    boolean     0, 1            false, true
    json        valid text      the value itself; other text as a string
    any other   real, blob      {"reunite:real": "1.5"}, {"reunite:blob": "C0FFEE"}

The rule         these texts are stored in triggers: changing one means a new layout version.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.values import SAFE_INTEGER_MAX, Row, Value, are_safe, wire_integer

# A function with more arguments is refused by SQLite as it is usually built (127), so the image of
# a wider row is an array of arrays, each of at most this many values.
IMAGE_PIECE_COLUMNS = 100

_REAL_MAX = "1.7976931348623157e308"
# Reals within these bounds and with this many units to the one are printed exactly by SQLite's own
# json_array, which writes 15 digits.
_SHORT_REAL_MAX = "1e8"
_SHORT_REAL_UNITS = "1e6"
_REAL_TAG = "reunite:real"
_BLOB_TAG = "reunite:blob"
_SAFE = f"BETWEEN -{SAFE_INTEGER_MAX} AND {SAFE_INTEGER_MAX}"
# Patterns of types that a reader of rows remembers; tables without types may have more.
PATTERNS_MAX = 1_000

_TEXT_LIKE = frozenset({ColumnType.TEXT, ColumnType.UUID})
_TIMES = frozenset({ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME})
# Key columns of these types are spelled in the log exactly as `core.key.key_text` spells them.
_PLAIN_KEYS = _TEXT_LIKE | _TIMES | {ColumnType.INTEGER, ColumnType.BOOLEAN}


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


# --- Stored → wire form -------------------------------------------------------------------------


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that `select_list` names."""
    connection.create_function("reunite_wire", 1, wire_value, deterministic=True)
    connection.create_function("reunite_text", 1, wire_text, deterministic=True)


def wire_value(value: Any) -> Any:
    """A stored value in wire form, whatever its column; for those that no fast path covers."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, int):
        return wire_integer(value)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def wire_text(value: Any) -> Any:
    """A stored value of a column whose wire form is text."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value not in (float("inf"), float("-inf")):
        return repr(value + 0.0)  # what SQLite prints of -0.0 depends on the way
    return wire_value(value)


def select_list(schema: TableSchema, *, alias: str = "t") -> str:
    """The columns of a row, each in wire form as far as SQL has it.

    Needs `register_functions`; common values pass without calling them.
    """
    return ", ".join(
        wire_expression(column, f"{alias}.{quoted(column.name)}") for column in schema.columns
    )


def wire_expression(column: Column, x: str) -> str:
    """The value `x` of a column in wire form, as far as SQL has it."""
    match column.type:
        case ColumnType.INTEGER:
            return f"CASE WHEN {x} {_SAFE} THEN {x} WHEN {x} IS NOT NULL THEN reunite_wire({x}) END"
        case ColumnType.REAL:
            return (
                f"CASE WHEN {x} BETWEEN -{_REAL_MAX} AND {_REAL_MAX} THEN {x} "
                f"WHEN {x} IS NOT NULL THEN reunite_wire({x}) END"
            )
        case ColumnType.TEXT | ColumnType.UUID:
            return _unless_text(x, f"reunite_text({x})")
        case ColumnType.DATE | ColumnType.TIME | ColumnType.DATETIME:
            return _unless_text(x, f"reunite_wire({x})")
        case ColumnType.DECIMAL:
            return (
                f"CASE typeof({x}) WHEN 'integer' THEN CAST({x} AS TEXT) WHEN 'text' THEN {x} "
                f"WHEN 'null' THEN NULL ELSE reunite_text({x}) END"
            )
        case ColumnType.BLOB:
            return f"CASE typeof({x}) WHEN 'blob' THEN reunite_wire({x}) ELSE {x} END"
        case ColumnType.BOOLEAN | ColumnType.JSON:
            return x


def _unless_text(x: str, otherwise: str) -> str:
    return f"CASE typeof({x}) WHEN 'text' THEN {x} WHEN 'null' THEN NULL ELSE {otherwise} END"


def to_wire(schema: TableSchema) -> Callable[[Row], Row] | None:
    """What finishes a row of `select_list`; None if nothing is left to do."""
    return _row_converter(
        {
            index: _WIRE_FINISHERS[column.type]
            for index, column in enumerate(schema.columns)
            if column.type in _WIRE_FINISHERS
        }
    )


def _row_converter(
    functions: dict[int, Callable[[Any], Value]],
) -> Callable[[Row], Row] | None:
    if not functions:
        return None
    steps = tuple(functions.items())

    def convert(row: Row) -> Row:
        values = list(row)
        for index, function in steps:
            value = values[index]
            if value is not None:
                values[index] = function(value)
        return tuple(values)

    return convert


def _wire_boolean(value: Any) -> Any:
    if value in (0, 1) and not isinstance(value, str | bytes):
        return value == 1
    return wire_value(value)


def _wire_json(value: Any) -> Any:
    if isinstance(value, int):
        return value  # inside JSON, integers stay numbers
    if not isinstance(value, str):
        return wire_value(value)
    try:
        return _decode_json(value)
    except (msgspec.DecodeError, RecursionError):
        return value


_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode
_WIRE_FINISHERS: dict[ColumnType, Callable[[Any], Value]] = {
    ColumnType.BOOLEAN: _wire_boolean,
    ColumnType.JSON: _wire_json,
}


# --- Wire form → stored -------------------------------------------------------------------------


def to_database(columns: Sequence[Column]) -> Callable[[Row], Row] | None:
    """What turns values of these columns into what SQLite is given; None if nothing does.

    Integers as text, decimals and booleans need nothing: the column's affinity and the driver
    make numbers of them.
    """
    return to_database_types([column.type for column in columns])


def to_database_types(types: Sequence[ColumnType]) -> Callable[[Row], Row] | None:
    """The same for columns of these types."""
    return _row_converter(
        {
            index: _DATABASE_VALUES[column_type]
            for index, column_type in enumerate(types)
            if column_type in _DATABASE_VALUES
        }
    )


def _stored_blob(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return value


def _stored_json(value: Any) -> str:
    return _encode_json(value).decode()


_DATABASE_VALUES: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.BLOB: _stored_blob,
    ColumnType.JSON: _stored_json,
}


# --- Stored → log → wire form -------------------------------------------------------------------


def image_column(place: int) -> str:
    """The column of a hub's `reunite_change` that holds what stood in a row's column."""
    return f"c{place}"


def widen_log(connection: sqlite3.Connection, count: int) -> None:
    """Give a hub's `reunite_change` columns for the images of rows with `count` columns."""
    names = {
        name
        for (name,) in connection.execute("SELECT name FROM pragma_table_info('reunite_change')")
    }
    for place in range(count):
        if image_column(place) not in names:
            connection.execute(f"ALTER TABLE reunite_change ADD COLUMN {image_column(place)}")


def stored_to_wire(columns: Sequence[Column]) -> Callable[[Sequence[Any]], Row]:
    """What brings values of these columns, as SQLite gives them, into the same form as
    `select_list` and `to_wire` do."""
    return _PatternReader([column.type for column in columns], _stored_step).read


def _stored_step(column_type: ColumnType, kind: type) -> Callable[[Any], Any] | None:
    if kind is type(None):
        return None
    match column_type:
        case ColumnType.BOOLEAN:
            return _wire_boolean
        case ColumnType.JSON:
            return _wire_json
        case ColumnType.BLOB:
            return wire_value if kind is bytes else None
        case ColumnType.TEXT | ColumnType.UUID | ColumnType.DECIMAL:
            return None if kind is str else wire_text
        case _:
            return None if kind is str else wire_value


class _PatternReader:
    """Converts rows of values by their columns' types and their own.

    Rows come in few patterns of Python types, so what each pattern needs is worked out once.
    """

    def __init__(
        self,
        types: Sequence[ColumnType],
        step: Callable[[ColumnType, type], Callable[[Any], Any] | None],
    ) -> None:
        self._types = types
        self._step = step
        self._steps: dict[tuple[type, ...], list[tuple[int, Callable[[Any], Any]]]] = {}

    def read(self, values: Sequence[Any]) -> Row:
        pattern = tuple(map(type, values))
        steps = self._steps.get(pattern)
        if steps is None:
            steps = [
                (index, function)
                for index, kind in enumerate(pattern)
                if (function := self._step(self._types[index], kind)) is not None
            ]
            if len(self._steps) < PATTERNS_MAX:
                self._steps[pattern] = steps
        row = list(values)
        for index, function in steps:
            row[index] = function(row[index])
        return tuple(row)

    def read_all(self, rows: Sequence[Sequence[Any]]) -> list[Row]:
        """Many rows, column by column: most columns hold values of one type, which stay."""
        columns: list[Sequence[Any]] = []
        for column_type, values in zip(self._types, zip(*rows, strict=True), strict=bool(rows)):
            steps = {kind: self._step(column_type, kind) for kind in set(map(type, values))}
            if set(steps.values()) == {wire_integer} and are_safe(values):
                steps = {}
            if any(steps.values()):
                columns.append([
                    value if (step := steps[type(value)]) is None else step(value)
                    for value in values
                ])  # fmt: skip
            else:
                columns.append(values)
        return list(zip(*columns, strict=True))


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


def largest_rowid_given(execute: Callable[[str, Sequence[Any]], list[Any]], table: str) -> int:
    """The largest rowid that an AUTOINCREMENT table has ever given; 0 for other tables."""
    if not execute("SELECT 1 FROM sqlite_schema WHERE name = ?", ("sqlite_sequence",)):
        return 0
    found = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
    return int(found[0][0]) if found else 0


def sizes(session: Any) -> tuple[int, int | None]:
    """Bytes of the whole database, and of reunite's own tables in it, where SQLite was built to
    tell (most are). Reads every page of those tables."""
    pages, size = (int(session.execute(f"PRAGMA page_{name}")[0][0]) for name in ("count", "size"))
    if not session.execute("SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'"):
        return pages * size, None
    ((own,),) = session.execute(
        "SELECT coalesce(sum(pgsize), 0) FROM sqlite_schema AS s CROSS JOIN dbstat AS d "
        "ON d.name = s.name AND d.aggregate = 1 WHERE s.tbl_name LIKE 'reunite\\_%' ESCAPE '\\'"
    )
    return pages * size, int(own)


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
        case ColumnType.JSON:
            return (
                f"CASE WHEN typeof({x}) = 'text' AND json_valid({x}) THEN json({x}) "
                f"ELSE {_log_any(x)} END"
            )
        case _:
            return _log_any(x)


def _key_expression(schema: TableSchema, column: Column, x: str) -> str:
    if _is_rowid(schema, column):
        return _safe_integer(x)
    match column.type:
        case ColumnType.INTEGER:
            integer = _safe_integer(x)
            return f"CASE typeof({x}) WHEN 'integer' THEN {integer} ELSE {_log_any(x)} END"
        case ColumnType.TEXT | ColumnType.UUID:
            return (
                f"CASE typeof({x}) WHEN 'text' THEN {x} WHEN 'integer' THEN CAST({x} AS TEXT) "
                f"ELSE {_log_any(x)} END"
            )
        case _:
            return _log_expression(schema, column, x)


def _safe_integer(x: str) -> str:
    return f"CASE WHEN {x} {_SAFE} THEN {x} ELSE CAST({x} AS TEXT) END"


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
    """The same for many images, in less than half the time."""
    is_wide = len(schema.columns) > IMAGE_PIECE_COLUMNS
    reader = _PatternReader([column.type for column in schema.columns], _log_step)

    def read(texts: Sequence[str]) -> list[Row]:
        rows = _decode_json(f"[{','.join(texts)}]")
        if is_wide:
            rows = [[value for piece in row for value in piece] for row in rows]
        return reader.read_all(rows)

    return read


def log_key_to_wire(schema: TableSchema) -> Callable[[str], Row]:
    """What reads keys from the log."""
    return _log_reader([schema.column[name] for name in schema.key])


def has_plain_key(schema: TableSchema) -> bool:
    """Whether `core.key.key_text` writes the table's keys as the log does."""
    return all(schema.column[name].type in _PLAIN_KEYS for name in schema.key)


def _log_reader(columns: Sequence[Column]) -> Callable[[str], Row]:
    is_wide = len(columns) > IMAGE_PIECE_COLUMNS
    reader = _PatternReader([column.type for column in columns], _log_step)

    def read(text: str) -> Row:
        values = _decode_json(text)
        if is_wide:
            values = [value for piece in values for value in piece]
        return reader.read(values)

    return read


def _log_step(column_type: ColumnType, kind: type) -> Callable[[Any], Value] | None:
    """What a value of this JSON type needs in a column of this type."""
    if kind is type(None):
        return None
    if kind is dict:
        return _untagged(column_type)
    if column_type is ColumnType.BLOB:
        inside = _untagged(column_type)
        return _from_hexadecimal if kind is str else lambda value: inside(value[0])
    if column_type is ColumnType.JSON or kind not in (int, float):
        return None
    if column_type in _TEXT_LIKE or column_type is ColumnType.DECIMAL:
        return wire_text
    return wire_integer if kind is int else None


def _untagged(column_type: ColumnType) -> Callable[[Any], Any]:
    """What reads tagged values; other objects stay, for somebody's JSON may look like ours."""
    finish = wire_text if column_type in _TEXT_LIKE | {ColumnType.DECIMAL} else wire_value

    def untagged(value: Any) -> Any:
        if isinstance(value, dict) and len(value) == 1:
            with suppress(ValueError, TypeError):
                if _REAL_TAG in value:
                    return finish(float(value[_REAL_TAG]))
                if _BLOB_TAG in value:
                    return _from_hexadecimal(value[_BLOB_TAG])
        return value

    return untagged


def _from_hexadecimal(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


# --- Wire form → log form -------------------------------------------------------------------------


def wire_to_log(schema: TableSchema) -> Callable[[Row], str]:
    """What prints a row as `log_to_wire` reads it; for a replica that rewrites its outbox."""
    blobs = [i for i, column in enumerate(schema.columns) if column.type is ColumnType.BLOB]
    is_wide = len(schema.columns) > IMAGE_PIECE_COLUMNS

    def printed(row: Row) -> str:
        values: list[Any] = list(row)
        for index in blobs:
            values[index] = _blob_in_log(values[index])
        if is_wide:
            starts = range(0, len(values), IMAGE_PIECE_COLUMNS)
            values = [values[i : i + IMAGE_PIECE_COLUMNS] for i in starts]
        return _encode_json(values).decode()

    return printed


def _blob_in_log(value: Value) -> Any:
    if not isinstance(value, str):
        return None if value is None else [value]
    stored = _stored_blob(value)
    return stored.hex().upper() if isinstance(stored, bytes) else [value]
