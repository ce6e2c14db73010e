"""Values of columns as messages of the application's own routes have them, and back again."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column, LargeBinary, Select, Table, TypeDecorator, select
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import Mapper, class_mapper

from reunite.dropin.columns import python_type

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


# How SQLite keeps a value is its neutral form, where JSON has none and the type is not a plain one.
_SQLITE = sqlite_dialect()


def plain(value: Any, column: Column[Any] | None = None) -> Any:
    """A value as JSON has it; what JSON has no kind for is a text, as its column says."""
    if column is not None and value is not None and not _is_plain(column):
        value = stored(column, value)
    if isinstance(value, bool | int | float | str | list | dict | None):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def stored(column: Column[Any], value: Any) -> Any:
    """What a node's file keeps for a value of a column. Raises ValueError."""
    bind: Any = column.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
    if value is None or bind is None:
        return value
    try:
        return bind(value)
    except (LookupError, TypeError, AttributeError, StatementError) as exc:
        raise ValueError(str(exc)) from exc


def loaded(column: Column[Any], value: Any) -> Any:
    """The value of a column that a node's file keeps as this; the inverse of `stored`."""
    load: Any = column.type.dialect_impl(_SQLITE).result_processor(_SQLITE, None)
    if value is None or load is None:
        return value
    try:
        return load(value)
    except (LookupError, TypeError, AttributeError) as exc:
        raise ValueError(str(exc)) from exc


def _is_plain(column: Column[Any]) -> bool:
    """Whether values are told by their Python type alone."""
    kind = _kind(column)
    return kind is None or kind in _READERS or kind in (list, dict)


def _kind(column: Column[Any]) -> type | None:
    """The Python type of a column's values; None if that is not known."""
    if isinstance(column.type, TypeDecorator):
        return TypeDecorator
    kind = python_type(column)
    return None if kind is object else kind


def _is_binary(column: Column[Any]) -> bool:
    kind: Any = column.type
    return isinstance(kind, TypeDecorator) and isinstance(kind.impl_instance, LargeBinary)


def typed(column: Column[Any], value: Any) -> Any:
    """The value of a column that `plain` or a request's text says. Raises ValueError."""
    kind = _kind(column)
    if value is None or kind is None:
        return value
    if not _is_plain(column):
        if kind is not TypeDecorator and isinstance(value, kind):
            return value
        return loaded(column, base64.b64decode(value) if _is_binary(column) else value)
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


def columns_of(model: Any) -> dict[str, Column[Any]]:
    """The columns of a class by name, those of the tables that it inherits from among them."""
    if isinstance(model, Table):
        return {str(column.name): column for column in model.columns}
    mapper: Any = class_mapper(model)
    return {str(each.columns[0].name): each.columns[0] for each in mapper.column_attrs}


def rows_of(model: Any) -> Select[Any]:
    """A question for the rows of a class, with those columns."""
    columns = columns_of(model).values()
    if isinstance(model, Table):
        return select(*columns)
    mapper: Any = class_mapper(model)
    question = select(*columns).select_from(mapper.persist_selectable)
    if mapper.single and mapper.polymorphic_on is not None:
        names = [each.polymorphic_identity for each in mapper.self_and_descendants]
        return question.where(mapper.polymorphic_on.in_(names))
    return question


def row_of(obj: Any) -> dict[str, Any]:
    """An object's columns as JSON has them, by column name."""
    mapper: Any = inspect(type(obj))
    return {
        column.name: plain(getattr(obj, mapper.get_property_by_column(column).key), column)
        for column in mapper.local_table.columns
    }


def object_of(model: type, row: Mapping[str, Any]) -> Any:
    """An object of the class that no session has, with these columns; like one that is loaded, it
    is made without `__init__`."""
    mapper: Any = class_mapper(model)
    obj = mapper.class_manager.new_instance()
    for each in mapper.column_attrs:
        column = each.columns[0]
        if column.name in row:
            setattr(obj, each.key, typed(column, row[column.name]))
    return obj


def key_of(model: Any, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key as the session wants it, of what a replica's file or the hub's log says."""
    table = table_of(model)
    return tuple(
        typed(column, value) if _is_plain(column) else loaded(column, value)
        for column, value in zip(table.primary_key, key, strict=True)
    )


def shown_key(model: Any, key: tuple[Any, ...]) -> Any:
    """A key as the original's programs know it, to be given to a session; the value itself, if it
    is one."""
    values = key_of(model, key)
    return values[0] if len(values) == 1 else values


def keys_in_tables(obj: Any) -> dict[str, tuple[Any, ...]]:
    """The key of an object in each table that its class is mapped to, as a file keeps it."""
    mapper: Any = inspect(type(obj))
    return {
        str(table.name): tuple(
            stored(column, getattr(obj, mapper.get_property_by_column(column).key))
            for column in table.primary_key
        )
        for table in mapper.tables
    }


def by_table(models: Iterable[Any]) -> dict[str, Any]:
    """The class of each table; where several share one, the one that the others inherit from."""
    found: dict[str, Any] = {}
    for model in models:
        other = found.setdefault(name_of(model), model)
        if isinstance(other, type) and isinstance(model, type) and issubclass(other, model):
            found[name_of(model)] = model
    return found
