"""Questions to the server about its rows: `client.query_server`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.inspection import inspect

from reunite.dropin.dbsync.client import errors
from reunite.dropin.dbsync.client.line import is_good
from reunite.dropin.dbsync.codec import columns_of, label_of, object_of, plain, typed


class BadResponseError(errors.AnswerError):
    """What came is no answer to a question."""


def question(model: type, filters: Mapping[str, Any]) -> dict[str, Any]:
    """`{"model": "City", "City_name": "x"}`, of attributes and their values."""
    is_table = isinstance(model, Table)
    columns: Any = columns_of(model) if is_table else inspect(model).columns
    asked: dict[str, Any] = {"model": label_of(model)}
    for name, value in filters.items():
        column = columns.get(name)
        told = name if column is None else column.name
        asked[f"{label_of(model)}_{told}"] = plain(value, column)
    return asked


def objects(model: type, code: int, reason: str, answer: Any) -> list[Any] | None:
    """The objects of an answer, which no session has; of a plain table, dictionaries. None if it
    has no such class or column. Raises BadResponseError."""
    if not is_good(code) or not isinstance(answer, Mapping) or "payload" not in answer:
        raise BadResponseError(code, reason, answer)
    payload = answer["payload"]
    if payload is None:
        return None
    try:
        rows = payload[label_of(model)]
        if isinstance(model, Table):
            return [{name: typed(model.c[name], row[name]) for name in row} for row in rows]
        return [object_of(model, row) for row in rows]
    except (KeyError, TypeError, ValueError) as exc:
        raise BadResponseError(code, reason, answer) from exc
