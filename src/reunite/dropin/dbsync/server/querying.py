"""Reading for programs: `handle_query`, and `handle_repair` without a node's message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Column, Engine

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.codec import columns_of, label_of, plain, rows_of, typed


def queried(
    engine: Engine, models: Iterable[Any], data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Rows that equal all that `data` says: `{"payload": {"City": […]}}`; None as the payload
    where there is no such class or column."""
    data = data or {}
    name = str(data.get("model", ""))
    found = {label_of(model): model for model in models}.get(name)
    if found is None:
        core.logger.warning("query for a class that is not tracked: %r", name)
        return {"payload": None}
    columns, question = columns_of(found), rows_of(found)
    for field, value in data.items():
        if field == "model":
            continue
        column = columns.get(field.removeprefix(f"{name}_"))
        if column is None or not field.startswith(f"{name}_"):
            core.logger.warning("query for a column that there is not: %r", field)
            return {"payload": None}
        try:
            question = question.where(column == typed(column, value))
        except ValueError:
            return {"payload": {name: []}}
    return {"payload": {name: _rows(engine, columns, question)}}


def everything(engine: Engine, models: Iterable[Any]) -> dict[str, Any]:
    """All rows of all classes, by the class's name."""
    return {label_of(model): _rows(engine, columns_of(model), rows_of(model)) for model in models}


def _rows(
    engine: Engine, columns: Mapping[str, Column[Any]], question: Any
) -> list[dict[str, Any]]:
    with engine.connect() as db:
        return [
            {
                name: plain(value, column)
                for (name, column), value in zip(columns.items(), row, strict=True)
            }
            for row in db.execute(question)
        ]
