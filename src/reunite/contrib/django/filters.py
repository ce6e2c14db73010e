"""Filters as an administrator writes them, as expressions of reunite.

    {"field": "customer__region", "operator": "exact", "value": "north"}
                     │
                     └─ `_meta`: the foreign key customer_id, then the column region
    {"field": "visits__ward", …}
                     └─ some row of visit whose patient_id is this one has that ward

What it is       lookup paths of Django translated, one step for each foreign key, whichever side
                 it is on. Each condition over many rows looks for one of its own, as each call of
                 Django's `filter` does.
The rule         what cannot be understood denies: an unknown field or operator, a null value, a
                 path to what is not synced. It is logged, without values.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist

from reunite.core.expression import Expression, Some, Via, from_json
from reunite.core.rules import NEVER
from reunite.errors import ReuniteError

logger = logging.getLogger("reunite.django")

_MEANS_NOTHING = "its field, operator or value means nothing, or leads to what is not synced"

OPERATORS = frozenset({"exact", "in", "contains", "gte", "lte", "startswith", "endswith"})


def conditions_of(
    model: Any,
    found: Any,
    *,
    name: str,
    through: str | None = None,
    known: Collection[str] | None = None,
    fits: Callable[[Expression], object] | None = None,
) -> Iterable[Expression]:
    """The expressions of one condition, or of a list of them; NEVER for what means nothing.

    model      whose rows they are about
    name       what the log calls it
    through    the column by which rows of another table lead to the model's, for expressions
               about those
    known      the tables that paths may lead to; None for all
    fits       raises ReuniteError for what the tables do not have, or not of that type
    """
    for one in found if isinstance(found, list) else [found]:
        expression = _condition(model, one, name, through, known)
        if fits is not None and expression != NEVER:
            try:
                fits(expression)
            except ReuniteError as error:
                expression = _denied(model, name, error.code)
        yield expression


class _Step(NamedTuple):
    """A foreign key of a row, and the table that it points to."""

    column: str
    table: str


class Lookup:
    """Paths of Django as expressions about the column at their end.

    ask      what is asked of that column, by its name as reunite says it: "customer_id.region"
    known    the tables that paths may lead to; None for all
    """

    def __init__(self, ask: Callable[[str], Expression], known: Collection[str] | None) -> None:
        self._ask = ask
        self._known = known

    def of(
        self, model: Any, names: Sequence[str], steps: tuple[_Step, ...] = ()
    ) -> Expression | None:
        """The expression; None for what is no path to a column. `steps` lead to the model's row.
        Raises FieldDoesNotExist."""
        name, *rest = names
        field = _field(model, name)
        if field.concrete and (field.many_to_one or field.one_to_one) and rest:
            step = _Step(field.column, field.related_model._meta.db_table)
            is_known = self._knows(step.table)
            return self.of(field.related_model, rest, (*steps, step)) if is_known else None
        if field.concrete and not field.many_to_many:
            columns = [*(step.column for step in steps), field.column]
            return None if rest else self._ask(".".join(columns))
        if field.model._meta.concrete_model is not model._meta.concrete_model:
            return None  # of a model that this one inherits, which has a table of its own
        found = self._some(field, rest, (model._meta.pk.column,))
        if found is not None:
            for step in reversed(steps):
                found = Via((step.column,), step.table, found)
        return found

    def _some(self, field: Any, rest: Sequence[str], key: tuple[str, ...]) -> Expression | None:
        """Whether there is such a row on the other side of a relation to many."""
        if field.many_to_many:
            declared = field.field if field.auto_created else field
            own, other = declared.m2m_column_name(), declared.m2m_reverse_name()
            if field.auto_created:
                own, other = other, own
            step = _Step(other, field.related_model._meta.db_table)
            child = declared.remote_field.through._meta.db_table
            if not (self._knows(child) and (self._knows(step.table) or not rest)):
                return None
            part = self.of(field.related_model, rest, (step,)) if rest else self._ask(other)
        elif field.auto_created and field.field.target_field.primary_key:
            child, own = field.field.model._meta.db_table, field.field.column
            part = self.of(field.field.model, rest or ["pk"]) if self._knows(child) else None
        else:
            return None
        return None if part is None else Some(child, (own,), key, part)

    def _knows(self, table: str) -> bool:
        return self._known is None or table in self._known


def _field(model: Any, name: str) -> Any:
    if name == "pk":
        return model._meta.pk
    by_attname = {field.attname: field for field in model._meta.concrete_fields}
    return by_attname.get(name) or model._meta.get_field(name)


def _condition(
    model: Any, given: Any, name: str, through: str | None, known: Collection[str] | None
) -> Expression:
    try:
        match given:
            case {"field": str(field), "operator": str(operator), "value": value, **rest} if (
                not rest
            ):
                steps = () if through is None else (_Step(through, model._meta.db_table),)

                def ask(path: str) -> Expression:
                    spelled = {"field": path, "operator": operator, "value": value}
                    return from_json(spelled, path="filter", knows_user=True)

                if operator in OPERATORS and value is not None:
                    names = field.replace(".", "__").split("__")
                    found = Lookup(ask, known).of(model, names, steps)
                    if found is not None:
                        return found
                return _denied(model, name, _MEANS_NOTHING)
            case {"and": _} | {"or": _} | {"not": _} if through is None:
                return from_json(given, path="filter", knows_user=True)
            case _:
                return _denied(model, name, "it is no condition")
    except FieldDoesNotExist:
        return _denied(model, name, _MEANS_NOTHING)
    except ReuniteError as error:
        return _denied(model, name, error.code)


def _denied(model: Any, name: str, why: str) -> Expression:
    logger.warning("the filter %r of %s denies all rows: %s", name, model._meta.label, why)
    return NEVER
