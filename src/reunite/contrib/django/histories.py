"""Histories of django-simple-history: what a project has kept of its models before and beside us.

    model.history ──► changes of one object, told as the log's are (`audit`)

What it is       the neighbours of a history's records compared. Nothing is imported of the package.
What it is not   needed: the log has every change since a table is tracked, whoever wrote it.
The rule         fields that look like secrets are named and not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from reunite.core.withheld import looks_secret

HIDDEN = "(hidden)"

_ACTIONS = {"+": "created", "~": "changed", "-": "deleted"}


class FieldChange(NamedTuple):
    """A field that a change gave another value; `old` is None for a row that was made."""

    name: str
    old: Any
    new: Any


class Change(NamedTuple):
    """One change of a row.

    at         None until the change has a number in the log
    user       None for who is not known: another program, or a write without `ActingUser`
    replica    the id of the device that it came from; None for one made in the project
    action     "created", "changed" or "deleted"
    """

    at: datetime | None
    user: str | None
    replica: str | None
    action: str
    fields: Sequence[FieldChange]


def manager_of(model: Any) -> Any:
    """The manager of a model's history, or None for a model that has none."""
    name = getattr(model._meta, "simple_history_manager_attribute", None)
    return None if name is None else getattr(model, name)


def changes_of(instance: Any, *, limit: int) -> list[Change]:
    """The newest changes of an object that its history has, newest first; none without one. One
    query, and one for each user."""
    model = type(instance)
    manager = manager_of(model)
    if manager is None:
        return []
    records = manager.using(instance._state.db).filter(**{model._meta.pk.attname: instance.pk})
    found = list(records.order_by("-history_date", "-history_id")[: limit + 1])
    return [
        _change(model, record, before)
        for record, before in zip(found[:limit], [*found[1:], None], strict=False)
    ]


def begin(model: Any) -> int:
    """A first record for each object that has none; how many there were."""
    manager = manager_of(model)
    key = model._meta.pk.attname
    known = manager.values_list(key, flat=True)
    found = list(model._base_manager.exclude(pk__in=known))
    manager.bulk_history_create(found, batch_size=500)
    return len(found)


def _change(model: Any, record: Any, before: Any) -> Change:
    """A record, given the one before it."""
    names = [field.attname for field in model._meta.concrete_fields]
    kept = [name for name in names if hasattr(record, name)]  # some may be left out of a history
    kind = record.history_type
    old = {} if before is None or kind == "+" else {name: getattr(before, name) for name in kept}
    new = {} if kind == "-" else {name: getattr(record, name) for name in kept}
    if kind == "-" and not old:
        old = {name: getattr(record, name) for name in kept}
    user = getattr(record, "history_user", None)
    return Change(
        at=record.history_date,
        user=None if user is None else str(user),
        replica=None,
        action=_ACTIONS[kind],
        fields=[
            FieldChange(name, _shown(name, old), _shown(name, new))
            for name in kept
            if old.get(name) != new.get(name)
        ],
    )


def _shown(name: str, values: dict[str, Any]) -> Any:
    return HIDDEN if name in values and looks_secret(name) else values.get(name)
