"""`manage.py check`: the settings mean something, and what they name is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error
from django.core.checks import Warning as Notice
from django.db import connections
from django.db import models as django_models

from reunite.contrib.django.conf import (
    BULK,
    DEFAULTS,
    MODEL_OPTIONS,
    MORE_NAMES,
    SAVE,
    given,
    setting,
)
from reunite.core.rules import Rules

_LISTS = (
    "DATABASES", "INCLUDE_APPS", "EXCLUDE_APPS", "EXCLUDE_MODELS", "SHARED_MODELS", "ORIGINS",
)  # fmt: skip


def check_settings(app_configs: Any, **_: Any) -> list[Any]:
    """What is wrong with `REUNITE`."""
    if not isinstance(getattr(settings, "REUNITE", {}), dict):
        return [_error("E001", "REUNITE is no dictionary.", 'Write REUNITE = {"KEEP_DAYS": 30}.')]
    found = list(_shapes())
    if found:
        return found
    return [*_databases(), *_models(), *_middleware()]


def _shapes() -> Iterator[Any]:
    others = {name for one in apps.get_app_configs() for name in getattr(one, MORE_NAMES, ())}
    for name in sorted(set(given()) - set(DEFAULTS) - others):
        yield _error(
            "E002", f"REUNITE has no setting {name!r}.", f"There are {', '.join(DEFAULTS)}."
        )
    for name in _LISTS:
        value = setting(name)
        if not isinstance(value, list | tuple | set | frozenset):
            yield _error("E003", f'REUNITE["{name}"] is no list.', f"Write [{value!r}].")
    for name in ("MODELS", "SHOW_FIELDS", "LIMITS"):
        if not hasattr(setting(name), "items"):
            yield _error("E003", f'REUNITE["{name}"] is no dictionary.', "")
    days = setting("KEEP_DAYS")
    if days is not None and not (isinstance(days, int) and days >= 0):
        yield _error("E003", 'REUNITE["KEEP_DAYS"] is no number of days.', "Write 30, or None.")


def _databases() -> Iterator[Any]:
    for alias in setting("DATABASES"):
        if alias not in connections:
            yield _error("E004", f"There is no database {alias!r} in DATABASES.", "")
        elif connections[alias].vendor not in ("sqlite", "postgresql"):
            yield _error(
                "E005",
                f"The database {alias!r} is {connections[alias].vendor}.",
                "reunite syncs SQLite and PostgreSQL.",
            )


def _models() -> Iterator[Any]:
    for place in ("EXCLUDE_MODELS", "SHARED_MODELS", "SHOW_FIELDS", "MODELS"):
        for label in setting(place):
            model = _model(label)
            if model is None:
                yield _error(
                    "E006",
                    f'There is no model {label!r}, which REUNITE["{place}"] names.',
                    'Write "app.Model".',
                )
            elif place == "SHOW_FIELDS":
                yield from _fields(model, setting(place)[label])
            elif place == "MODELS":
                yield from _options(model, setting(place)[label])


def _fields(model: Any, names: Any) -> Iterator[Any]:
    known = {field.name for field in model._meta.get_fields()}
    for name in names:
        if name not in known:
            yield _error("E007", f"{model._meta.label} has no field {name!r}.", "")


def _options(model: Any, options: Any) -> Iterator[Any]:
    label = model._meta.label
    if not hasattr(options, "items"):
        yield _error("E008", f"What MODELS says of {label} is no dictionary.", "")
        return
    for name in sorted(set(options) - MODEL_OPTIONS):
        known = ", ".join(sorted(MODEL_OPTIONS))
        yield _error("E008", f"MODELS has no option {name!r} ({label}).", f"There are {known}.")
    rules = options.get("rules")
    if rules is not None and not isinstance(rules, Rules):
        yield _error("E008", f"The rules of {label} are no Rules.", "Write Rules(read=…).")
    applies = options.get("apply", BULK)
    if applies not in (BULK, SAVE):
        yield _error("E008", f"{label}: apply is {BULK!r} or {SAVE!r}.", "")
    elif applies == SAVE and (model._meta.parents or _is_composite(model)):
        yield _error(
            "E009",
            f"{label} has several tables or a key of several columns: its rows cannot be saved "
            "one table at a time.",
            f"Leave apply={BULK!r}, and check rows in a hook.",
        )


def _is_composite(model: Any) -> bool:
    composite = getattr(django_models, "CompositePrimaryKey", None)
    return composite is not None and isinstance(model._meta.pk, composite)


def _middleware() -> Iterator[Any]:
    wanted = "reunite.contrib.django.middleware.ActingUser"
    if wanted not in settings.MIDDLEWARE:
        yield Notice(
            "What users do in this project is recorded without their names.",
            hint=f"Add {wanted!r} to MIDDLEWARE, behind AuthenticationMiddleware.",
            id="reunite.W001",
        )


def _model(label: Any) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError, AttributeError, TypeError):
        return None


def _error(code: str, message: str, hint: str) -> Any:
    return Error(message, hint=hint or None, id=f"reunite.{code}")
