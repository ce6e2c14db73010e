"""Questions to the server about its rows: `client.query_server`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.inspection import inspect

from reunite.dropin.dbsync.client import errors
from reunite.dropin.dbsync.codec import object_of, plain


class BadResponseError(errors.AnswerError):
    """What came is no answer to a question."""


def question(model: type, filters: Mapping[str, Any]) -> dict[str, Any]:
    """`{"model": "City", "City_name": "x"}`, of attributes and their values."""
    columns: Any = inspect(model).columns
    asked: dict[str, Any] = {"model": model.__name__}
    for name, value in filters.items():
        column = columns[name].name if name in columns else name
        asked[f"{model.__name__}_{column}"] = plain(value)
    return asked


def objects(model: type, code: int, reason: str, answer: Any) -> list[Any] | None:
    """The objects of an answer, which no session has; None if it has no such class or column.
    Raises BadResponseError."""
    if not isinstance(answer, Mapping) or "payload" not in answer:
        raise BadResponseError(code, reason, answer)
    payload = answer["payload"]
    if payload is None:
        return None
    try:
        return [object_of(model, row) for row in payload[model.__name__]]
    except (KeyError, TypeError, ValueError) as exc:
        raise BadResponseError(code, reason, answer) from exc
