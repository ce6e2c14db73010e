"""What became of organizations, memberships, permissions, filters and configuration: who, when,
which fields, from what to what.

    Organization.history, organization.history        `DirectoryHistory`, newest first

What it is       a line for each `save()` and `delete()` of these models, whoever calls it: admin,
                 console, commands, the project's own code.
What it is not   the history of the project's rows: that is the hub's log (`audit.changes_of`).
The rule         values of what is named like a secret are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.db.models.signals import post_delete, post_save, pre_save

from reunite.contrib.django.middleware import acting_user
from reunite.core.withheld import looks_secret

MODELS = ("Organization", "UserOrganization", "ModelPermission", "DataFilter", "SyncConfiguration")
CREATED, CHANGED, DELETED = "+", "~", "-"

_HIDDEN = "(hidden)"
_BEFORE = "_reunite_before"

_RESTING: ContextVar[bool] = ContextVar("reunite_trail_resting", default=False)


class HistoryOf:
    """`history` of a model: of all its objects, or of one."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        rows = apps.get_model("reunite", "DirectoryHistory").objects.filter(
            model_name=owner._meta.label
        )
        return rows if instance is None else rows.filter(object_id=str(instance.pk))


def connect() -> None:
    """Listen. Safe to repeat."""
    for name in MODELS:
        follow(apps.get_model("reunite", name))


def follow(model: Any, *, from_birth: bool = True) -> None:
    """Listen to what becomes of a model, which has `history = HistoryOf()`. Safe to repeat.

    from_birth   a line for each object that is made; without, the object is its own record until
                 somebody changes or deletes it
    """
    note_save = _note_save if from_birth else _note_change
    for signal, receiver in (
        (pre_save, _look), (post_save, note_save), (post_delete, _note_delete),
    ):  # fmt: skip
        signal.connect(receiver, sender=model, dispatch_uid=f"reunite-trail-{model.__name__}")


def has_trail(model: Any) -> bool:
    """Whether a model is followed here."""
    return isinstance(vars(model).get("history"), HistoryOf)


@contextmanager
def resting() -> Iterator[None]:
    """What the block deletes in this thread is housekeeping, and nobody's deed."""
    token = _RESTING.set(True)
    try:
        yield
    finally:
        _RESTING.reset(token)


def begin(model: Any) -> int:
    """A first line for each object of a model that has none, so that every trail has a beginning;
    how many there were."""
    history = apps.get_model("reunite", "DirectoryHistory")
    known = history.objects.filter(model_name=model._meta.label).values_list("object_id", flat=True)
    known = set(known)
    found = [one for one in model._base_manager.all() if str(one.pk) not in known]
    for one in found:
        _write(one, CREATED, {}, _values(one), "default")
    return len(found)


def _look(sender: Any, instance: Any, raw: bool, using: str, **_: Any) -> None:
    """Before a save: what is there."""
    if raw or instance.pk is None:
        return
    there = sender._base_manager.using(using).filter(pk=instance.pk).first()
    setattr(instance, _BEFORE, None if there is None else _values(there))


def _note_save(sender: Any, instance: Any, raw: bool, using: str, **_: Any) -> None:
    if raw:
        return
    before = instance.__dict__.pop(_BEFORE, None)
    _write(instance, CREATED if before is None else CHANGED, before or {}, _values(instance), using)


def _note_change(sender: Any, created: bool, **arguments: Any) -> None:
    if not created:
        _note_save(sender, **arguments)


def _note_delete(sender: Any, instance: Any, using: str, **_: Any) -> None:
    if _RESTING.get():
        return
    _write(instance, DELETED, _values(instance), {}, using)


def _values(instance: Any) -> dict[str, Any]:
    """The fields of an object that people set."""
    return {
        field.name: getattr(instance, field.attname)
        for field in instance._meta.concrete_fields
        if not (getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))
    }


def _write(
    instance: Any, kind: str, before: dict[str, Any], after: dict[str, Any], using: str
) -> None:
    changes = {
        name: [before.get(name), after.get(name)]
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }
    if kind == CHANGED and not changes:
        return
    if looks_secret(str(getattr(instance, "key", ""))):  # a value of configuration
        changes = {
            name: [_HIDDEN, _HIDDEN] if name == "value" else pair for name, pair in changes.items()
        }
    apps.get_model("reunite", "DirectoryHistory").objects.using(using).create(
        model_name=instance._meta.label,
        object_id=str(instance.pk),
        object_repr=str(instance)[:200],
        history_type=kind,
        history_user=acting_user(using),
        changes=changes,
    )
