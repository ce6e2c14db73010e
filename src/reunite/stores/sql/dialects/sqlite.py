"""SQLite's expressions: values on their way to the wire and back.

Three forms of a value, and where each is made:

    stored      what SQLite holds; any column may hold anything, whatever its declared type. A hub's
                log keeps old rows so, one column of `reunite_change` for one of theirs: cheapest
                for whoever writes, and nothing is lost
    wire form   `core/values.py`, and `core/stored.py` for what does not fit its column; made by
                `select_list` in SQL, finished by `to_wire` where SQL has no such value (true,
                false, parsed JSON), or by `stored_to_wire` from an old row; `Storer` leads back
    log form    in an outbox, and of keys: `sqlite_log.py`

Text whose bytes are no UTF-8 (SQLite does not look) is taken for a blob: nobody's programs could
read it as text.
"""

from __future__ import annotations

import base64
import binascii
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from reunite.core.checks import are_safe
from reunite.core.schema import Affinity, Column, ColumnType, TableSchema
from reunite.core.stored import (
    TAG,
    TAG_BYTES,
    is_tagged,
    stored_of,
    text_form,
    wire_form,
    wire_integer,
)
from reunite.core.values import SAFE_INTEGER_MAX, Row, Value
from reunite.stores.sql.quoting import literal, quoted

_REAL_MAX = "1.7976931348623157e308"
SAFE = f"BETWEEN -{SAFE_INTEGER_MAX} AND {SAFE_INTEGER_MAX}"
_TAKES_TEXT = frozenset(
    {
        ColumnType.ANY, ColumnType.TEXT, ColumnType.UUID,
        ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME,
    }
)  # fmt: skip
# Patterns of types that a reader of rows remembers; tables without types may have more.
PATTERNS_MAX = 1_000

_DIGITS = re.compile(r"[+-]?[0-9]+")
_DECIMAL_DIGITS_EXACT = 15


# --- Stored → wire form -------------------------------------------------------------------------


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that `select_list` names."""
    encoding = str(connection.execute("PRAGMA encoding").fetchone()[0])

    def wire(column_type: str, kind: str, value: Any) -> Any:
        if kind == "text":
            # As bytes, for sqlite3 gives a function no text that is no text.
            with suppress(UnicodeDecodeError):
                value = value.decode(encoding)
        return wire_form(ColumnType(column_type))(value)

    connection.create_function("reunite_wire", 3, wire, deterministic=True)
    connection.create_function("reunite_blob", 1, wire_blob, deterministic=True)


def wire_blob(value: bytes) -> str:
    """A stored blob in wire form."""
    return base64.b64encode(value).decode()


def select_list(schema: TableSchema, *, alias: str = "t") -> str:
    """The columns of a row, each in wire form as far as SQL has it.

    Needs `register_functions`; common values pass without calling them.
    """
    return ", ".join(
        wire_expression(column.type, f"{alias}.{quoted(column.name)}") for column in schema.columns
    )


def wire_expression(column_type: ColumnType, x: str) -> str:
    """The value `x` of a column of this type in wire form, as far as SQL has it."""
    of_text = f"CASE typeof({x}) WHEN 'text' THEN CAST({x} AS BLOB) ELSE {x} END"
    otherwise = f"reunite_wire('{column_type}', typeof({x}), {of_text})"
    match column_type:
        case ColumnType.INTEGER:
            return f"CASE WHEN {x} {SAFE} THEN {x} WHEN {x} IS NOT NULL THEN {otherwise} END"
        case ColumnType.REAL:
            return (
                f"CASE WHEN {x} BETWEEN -{_REAL_MAX} AND {_REAL_MAX} THEN {x} "
                f"WHEN {x} IS NOT NULL THEN {otherwise} END"
            )
        case ColumnType.DECIMAL:
            return (
                f"CASE typeof({x}) WHEN 'integer' THEN CAST({x} AS TEXT) WHEN 'null' THEN NULL "
                f"ELSE {otherwise} END"
            )
        case ColumnType.BLOB:
            return (
                f"CASE typeof({x}) WHEN 'blob' THEN reunite_blob({x}) WHEN 'null' THEN NULL "
                f"ELSE {otherwise} END"
            )
        case ColumnType.BOOLEAN | ColumnType.JSON:
            # An expression has no declared type: then a connection that converts values by those
            # types, as Django's do, leaves this one alone.
            return f"+{x}"
        case _:
            return f"CASE WHEN {_is_own_text(x)} THEN {x} WHEN {x} IS NOT NULL THEN {otherwise} END"


def _is_own_text(x: str) -> str:
    """Whether a value is text that stands for itself. By comparisons, which are cheaper than
    functions: numbers come before all text, blobs after, and tagged texts in between."""
    begin, end = literal(TAG), literal(TAG[:-1] + chr(ord(TAG[-1]) + 1))
    return (
        f"(+{x} < {begin} COLLATE BINARY AND +{x} >= '' COLLATE BINARY "
        f"OR +{x} >= {end} COLLATE BINARY AND +{x} < x'')"
    )


# Types whose values SQL leaves as they are stored.
_FINISHED_LATER = frozenset({ColumnType.BOOLEAN, ColumnType.JSON})


def to_wire(schema: TableSchema) -> Callable[[Row], Row] | None:
    """What finishes a row of `select_list`; None if nothing is left to do."""
    return _row_converter(
        {
            index: wire_form(column.type)
            for index, column in enumerate(schema.columns)
            if column.type in _FINISHED_LATER
        }
    )


def unreadable_to_wire(schema: TableSchema) -> Callable[[Sequence[Any]], Row]:
    """What comes before it for a row that had text which is no text: that came as bytes."""
    forms = [
        None if column.type in _FINISHED_LATER else wire_form(column.type)
        for column in schema.columns
    ]

    def convert(row: Sequence[Any]) -> Row:
        return tuple(
            form(value) if form is not None and isinstance(value, bytes) else value
            for form, value in zip(forms, row, strict=True)
        )

    return convert


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


_encode_json = msgspec.json.Encoder().encode


# --- Wire form → stored -------------------------------------------------------------------------


class Storer:
    """Turns values of some columns into what SQLite is given.

    Integers as text, short decimals and booleans need nothing: the column's affinity and the
    driver make numbers of them.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        functions = {
            index: function
            for index, column in enumerate(columns)
            if (function := _stored_value(column)) is not None
        }
        self._plain = _row_converter(functions)
        self._loose = _row_converter(
            {index: _unless_tagged(functions.get(index)) for index in range(len(columns))}
        )

    def rows(self, rows: Sequence[Row], *, is_tagged: bool | None = None) -> Iterable[Row]:
        """Rows; `is_tagged` says whether there is a tagged value among them, None: look."""
        if is_tagged is None:
            is_tagged = has_tagged(rows)
        convert = self._loose if is_tagged else self._plain
        return rows if convert is None else map(convert, rows)

    def row(self, row: Row) -> Row:
        """A single row, such as a key."""
        convert = self._loose if any(map(is_tagged, row)) else self._plain
        return row if convert is None else convert(row)


def has_tagged(rows: Sequence[Row]) -> bool:
    """Whether a value of these rows is tagged. About 15 ns a value."""
    return TAG_BYTES in _encode_json(rows)


def _stored_value(column: Column) -> Callable[[Any], Any] | None:
    is_number = column.effective_affinity not in (Affinity.TEXT, Affinity.BLOB)
    match column.type:
        case ColumnType.BLOB:
            return _stored_blob
        case ColumnType.JSON:
            return _stored_json_or_number if is_number else _stored_json
        case ColumnType.DECIMAL if is_number:
            return _stored_decimal
    return None


def _unless_tagged(function: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if is_tagged(value):
            return stored_of(value)
        return value if function is None else function(value)

    return convert


def _stored_blob(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return value


def _stored_json(value: Any) -> str:
    return _encode_json(value).decode()


def _stored_json_or_number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else _stored_json(value)


def _stored_decimal(value: Any) -> Any:
    """SQLite reads up to 15 digits exactly, Python all of them."""
    if not isinstance(value, str) or len(value) <= _DECIMAL_DIGITS_EXACT:
        return value
    try:
        number = int(value) if _DIGITS.fullmatch(value) else float(value)
    except ValueError:
        return value
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        return float(value)
    return number


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
    return PatternReader([column.type for column in columns], _stored_step).read


def _stored_step(column_type: ColumnType, kind: type) -> Callable[[Any], Any] | None:
    return None if kind is type(None) else step_of(column_type, kind)


def step_of(column_type: ColumnType, kind: type) -> Callable[[Any], Any]:
    """The wire form of stored values of one kind: of the common ones, what `read_all` knows."""
    if kind is str and column_type in _TAKES_TEXT:
        return text_form
    return (
        wire_integer
        if kind is int and column_type is ColumnType.INTEGER
        else wire_form(column_type)
    )


def _have_no_tag(texts: Sequence[str]) -> bool:
    return TAG not in "".join(texts)


# By step: what tells of many values at once that none of them needs it.
Unneeded = Mapping[Callable[[Any], Any], Callable[[Sequence[Any]], bool]]
UNNEEDED: Unneeded = {wire_integer: are_safe, text_form: _have_no_tag}


class PatternReader:
    """Converts rows of values by their columns' types and their own.

    Rows come in few patterns of Python types, so what each pattern needs is worked out once.
    """

    def __init__(
        self,
        types: Sequence[ColumnType],
        step: Callable[[ColumnType, type], Callable[[Any], Any] | None],
        unneeded: Unneeded = UNNEEDED,
    ) -> None:
        self._types = types
        self._step = step
        self._unneeded = unneeded
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

    def read_all(self, rows: list[Row]) -> list[Row]:
        """Many rows, column by column: most columns hold values of one type, which stay."""
        columns: list[Sequence[Any]] = []
        is_plain_table = True
        for column_type, values in zip(self._types, zip(*rows, strict=True), strict=bool(rows)):
            steps = {kind: self._step(column_type, kind) for kind in set(map(type, values))}
            needed = set(steps.values())
            if any(needed) and not self._is_unneeded(needed, values):
                is_plain_table = False
                columns.append([
                    value if (step := steps[type(value)]) is None else step(value)
                    for value in values
                ])  # fmt: skip
            else:
                columns.append(values)
        return rows if is_plain_table else list(zip(*columns, strict=True))

    def _is_unneeded(self, needed: set[Callable[[Any], Any] | None], values: Sequence[Any]) -> bool:
        """Whether the values are fine without the one step that all of them have."""
        step = needed.pop() if len(needed) == 1 else None
        check = None if step is None else self._unneeded.get(step)
        return check is not None and check(values)


# --- The database itself -------------------------------------------------------------------------


def largest_rowid_given(execute: Callable[[str, Sequence[Any]], list[Any]], table: str) -> int:
    """The largest rowid that an AUTOINCREMENT table has ever given; 0 for other tables."""
    if not execute("SELECT 1 FROM sqlite_schema WHERE name = ?", ("sqlite_sequence",)):
        return 0
    found = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
    return int(found[0][0]) if found else 0


def sizes(session: Any) -> tuple[int, int | None]:
    """Bytes of the whole database, and of reunite's own tables in it, where SQLite was built to
    tell (most are). Reads every page of those tables."""
    total = size(session)
    if not session.execute("SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'"):
        return total, None
    ((own,),) = session.execute(
        "SELECT coalesce(sum(pgsize), 0) FROM sqlite_schema AS s CROSS JOIN dbstat AS d "
        "ON d.name = s.name AND d.aggregate = 1 WHERE s.tbl_name LIKE 'reunite\\_%' ESCAPE '\\'"
    )
    return total, int(own)


def size(session: Any) -> int:
    """Bytes of the whole database."""
    pages, each = (int(session.execute(f"PRAGMA page_{name}")[0][0]) for name in ("count", "size"))
    return pages * each
