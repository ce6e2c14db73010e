"""Filters as an administrator writes them, as expressions of reunite.

    {"field": "customer__region", "operator": "exact", "value": "north"}
                     │
                     └─ `_meta`: the foreign key customer_id, then the column region

What it is       lookup paths of Django translated, one step for each foreign key.
The rule         what cannot be understood denies: an unknown field or operator, a null value, a
                 path over a to-many relation. It is logged, without values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import FieldDoesNotExist

from reunite.core.expression import Expression, from_json
from reunite.core.rules import NEVER
from reunite.errors import ReuniteError

logger = logging.getLogger("reunite.django")

OPERATORS = frozenset({"exact", "in", "contains", "gte", "lte", "startswith", "endswith"})


def conditions_of(
    model: Any, found: Any, *, name: str, through: str | None = None
) -> Iterable[Expression]:
    """The expressions of one condition, or of a list of them; NEVER for what means nothing.

    model      whose rows they are about
    name       what the log calls it
    through    the column by which rows of another table lead to the model's, for expressions
               about those
    """
    for one in found if isinstance(found, list) else [found]:
        yield _condition(model, one, name, through)


def column_path(model: Any, lookup: str) -> str | None:
    """`customer__region` as reunite says it, "customer_id.region"; None for what is no path over
    foreign keys to a column."""
    steps: list[str] = []
    *names, last = lookup.replace(".", "__").split("__")
    try:
        for name in names:
            field = model._meta.get_field(name)
            if not (field.concrete and (field.many_to_one or field.one_to_one)):
                return None
            steps.append(field.column)
            model = field.related_model
        field = _field(model, last)
    except FieldDoesNotExist:
        return None
    if field is None or not field.concrete or field.many_to_many:
        return None
    return ".".join([*steps, field.column])


def _field(model: Any, name: str) -> Any:
    if name == "pk":
        return model._meta.pk
    by_attname = {field.attname: field for field in model._meta.concrete_fields}
    return by_attname.get(name) or model._meta.get_field(name)


def _condition(model: Any, given: Any, name: str, through: str | None) -> Expression:
    try:
        match given:
            case {"field": str(field), "operator": str(operator), "value": value, **rest} if (
                not rest
            ):
                path = column_path(model, field)
                if path is None or operator not in OPERATORS or value is None:
                    return _denied(model, name, "its field, operator or value means nothing")
                path = path if through is None else f"{through}.{path}"
                spelled = {"field": path, "operator": operator, "value": value}
                return from_json(spelled, path="filter", knows_user=True)
            case {"and": _} | {"or": _} | {"not": _} if through is None:
                return from_json(given, path="filter", knows_user=True)
            case _:
                return _denied(model, name, "it is no condition")
    except ReuniteError as error:
        return _denied(model, name, error.code)


def _denied(model: Any, name: str, why: str) -> Expression:
    logger.warning("the filter %r of %s denies all rows: %s", name, model._meta.label, why)
    return NEVER
