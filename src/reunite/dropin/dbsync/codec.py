"""Values of columns as messages of the application's own routes have them, and back again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import Mapper

_READERS: dict[type, Any] = {
    bytes: base64.b64decode,
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    Decimal: lambda text: Decimal(str(text)),
    UUID: UUID,
    bool: bool,
    float: float,
    int: int,
    str: str,
}


def plain(value: Any) -> Any:
    """A value as JSON has it; what JSON has no kind for is a text."""
    if isinstance(value, bool | int | float | str | list | dict | None):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def typed(column: Column[Any], value: Any) -> Any:
    """The value of a column that `plain` or a request's text says. Raises ValueError."""
    if value is None:
        return None
    try:
        kind = column.type.python_type
    except NotImplementedError:
        return value
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind is bool and isinstance(value, str):
        return value.lower() in ("1", "true", "t", "yes")
    try:
        return _READERS.get(kind, lambda given: given)(value)
    except (ArithmeticError, TypeError) as exc:
        raise ValueError(str(exc)) from exc


def table_of(model: Any) -> Any:
    """The table that a class is mapped to; a table itself. Raises TypeError for anything else."""
    if isinstance(model, Table):
        return model
    mapper: Any = inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise TypeError(f"{model!r} is neither a mapped class nor a table")
    return mapper.local_table


def label_of(model: Any) -> str:
    """What messages call a class: its name; of a table, the table's."""
    return str(model.name if isinstance(model, Table) else model.__name__)


def name_of(model: Any) -> str:
    """The name of that table."""
    return str(table_of(model).name)


def row_of(obj: Any) -> dict[str, Any]:
    """An object's columns as JSON has them, by column name."""
    mapper: Any = inspect(type(obj))
    return {
        column.name: plain(getattr(obj, mapper.get_property_by_column(column).key))
        for column in mapper.local_table.columns
    }


def object_of(model: type, row: Mapping[str, Any]) -> Any:
    """An object of the class that no session has, with these columns."""
    mapper: Any = inspect(model)
    values = {
        mapper.get_property_by_column(column).key: typed(column, row[column.name])
        for column in mapper.local_table.columns
        if column.name in row
    }
    return model(**values)


def key_of(model: type, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key as the session wants it, in the mapper's order, of the engine's values."""
    table = table_of(model)
    return tuple(typed(column, value) for column, value in zip(table.primary_key, key, strict=True))


def shown_key(key: tuple[Any, ...]) -> Any:
    """A key as the original's programs know it: the value itself, if it is one."""
    return key[0] if len(key) == 1 else key
