"""Reading for programs: `handle_query`, and `handle_repair` without a node's message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, select

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.codec import label_of, plain, table_of, typed


def queried(engine: Engine, models: Iterable[type], data: Mapping[str, Any]) -> dict[str, Any]:
    """Rows that equal all that `data` says: `{"payload": {"City": […]}}`; None as the payload
    where there is no such class or column."""
    name = str(data.get("model", ""))
    found = {label_of(model): model for model in models}.get(name)
    if found is None:
        core.logger.warning("query for a class that is not tracked: %r", name)
        return {"payload": None}
    table = table_of(found)
    question = select(table)
    for field, value in data.items():
        if field == "model":
            continue
        column = table.columns.get(field.removeprefix(f"{name}_"))
        if column is None or not field.startswith(f"{name}_"):
            core.logger.warning("query for a column that there is not: %r", field)
            return {"payload": None}
        try:
            question = question.where(column == typed(column, value))
        except ValueError:
            return {"payload": {name: []}}
    return {"payload": {name: _rows(engine, question)}}


def everything(engine: Engine, models: Iterable[type]) -> dict[str, Any]:
    """All rows of all classes, by the class's name."""
    return {label_of(model): _rows(engine, select(table_of(model))) for model in models}


def _rows(engine: Engine, question: Any) -> list[dict[str, Any]]:
    with engine.connect() as db:
        return [
            {name: plain(value) for name, value in row._mapping.items()}
            for row in db.execute(question)
        ]
