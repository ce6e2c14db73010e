"""What people type, as values: durations, keys, and columns of a row.

    30d                      a duration: s, m, h, d or w
    '["AA"]'                 a key: the JSON array of its values
    name=Laptop              a value in the column's type
    name:=null               a value as JSON

Everything wrong is a usage error, with exit code 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import typer

from reunite.core.checks import check_columns
from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.values import wire_integer
from reunite.errors import BadRequestError

_DURATION = re.compile(r"(?P<count>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhdw])")
_SECONDS_BY_UNIT = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_BOOLEANS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}


def duration_s(text: str) -> float:
    """Seconds of `90s`, `15m`, `12h`, `30d` or `2w`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is no duration: write a number and s, m, h, d or w, such as 30d."
        )
    return float(match["count"]) * _SECONDS_BY_UNIT[match["unit"]]


def key_of(text: str) -> Key:
    """A key from the JSON array that a person typed."""
    try:
        values = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        values = None
    if not isinstance(values, list) or not values:
        raise typer.BadParameter(
            f"{text!r} is no key: write its values as a JSON array, such as '[\"AA\"]' or '[42]'."
        )
    return tuple(values)


def assignments(texts: Sequence[str], schema: TableSchema) -> dict[str, Any]:
    """Values by column from `column=text` and `column:=JSON`.

    `column=text` is read in the column's type; `column:=null` is NULL.
    """
    values = {}
    for text in texts:
        name, sign, right = text.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{text!r} is not of the form column=value or column:=JSON.")
        is_json = name.endswith(":")
        name = name.removesuffix(":")
        if name not in schema.column:
            raise typer.BadParameter(f"The table {schema.name!r} has no column {name!r}.")
        column = schema.column[name]
        values[name] = _json_value(right) if is_json else value_of(right, column)
        check(column, values[name])
    return values


def value_of(text: str, column: Column) -> Any:
    """What a person typed, as a value of the column."""
    try:
        match column.type:
            case ColumnType.INTEGER:
                return wire_integer(int(text))
            case ColumnType.REAL:
                return float(text)
            case ColumnType.BOOLEAN:
                return _BOOLEANS[text.lower()]
            case ColumnType.JSON:
                return _json_value(text)
            case _:
                return text
    except (ValueError, KeyError) as exc:
        raise typer.BadParameter(
            f"{text!r} is no value for {column.name!r}, which is {column.type.value}."
        ) from exc


def check(column: Column, value: Any) -> None:
    """Refuse a value that the column cannot take."""
    try:
        check_columns([column], [(value,)], path=column.name)
    except BadRequestError as exc:
        raise typer.BadParameter(exc.message) from exc


def _json_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as exc:
        raise typer.BadParameter(f"{text!r} is not JSON.") from exc
