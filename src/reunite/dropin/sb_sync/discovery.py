"""Which models the API offers: MODEL_DISCOVERY narrows what `reunite.contrib.django` tracks.

    the app ──► the kind ──► names ──► fields ──► how many of an app ──► is it tracked at all?

What it is       one list, with the reason for each model that is left out. The API, the commands
                 and the console read it; what is set in the database is in it within seconds.
The rule         it can only take away: what the hub does not track is never offered.
"""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db.models.base import ModelBase

from reunite.contrib.django.discovery import OWN_APPS, label_of, reason_against
from reunite.dropin.sb_sync import conf

CONCRETE, ABSTRACT, PROXY = "concrete", "abstract", "proxy"
KINDS = (CONCRETE, ABSTRACT, PROXY)

_SECTION = "MODEL_DISCOVERY"

# The last answer, and what it was made of.
_LAST: list[Any] = ["", ()]


class Found(NamedTuple):
    """A model of the project; `reason` says why it is left out, None for one that is offered."""

    model: Any
    kind: str
    reason: str | None

    @property
    def label(self) -> str:
        """`app.Model`."""
        return label_of(self.model)

    @property
    def is_enabled(self) -> bool:
        """Whether the API offers it."""
        return self.reason is None


def discovered() -> Sequence[Found]:
    """All models of the project, by label. Cost: the settings compared, and what is kept in the
    database read if it is older than some seconds."""
    values = {key: conf.value(_SECTION, key) for key in conf.DEFAULTS[_SECTION]}
    made_of = repr((values, getattr(settings, "REUNITE", None)))
    if _LAST[0] != made_of:
        _LAST[:] = [made_of, tuple(_look(values))]
    found: Sequence[Found] = _LAST[1]
    return found


def enabled() -> Mapping[str, Any]:
    """The models that the API offers, by label."""
    return {found.label: found.model for found in discovered() if found.is_enabled}


def find(label: str) -> Found | None:
    """The model that somebody names, `app.Model`; `sb_sync.Organization` and the other models of
    the directory are found under that name, too."""
    app, _, name = label.partition(".")
    by_label = {found.label.lower(): found for found in discovered()}
    found = by_label.get(label.lower())
    return found or (by_label.get(f"reunite.{name}".lower()) if app == "sb_sync" else None)


def _look(values: Mapping[str, Any]) -> Iterator[Found]:
    """Judge each model of each app."""
    offered: Counter[str] = Counter()
    most = values["MAX_MODELS_PER_APP"]
    for model in sorted(_all_models(), key=label_of):
        kind = _kind(model)
        reason = _app_reason(model, values) or _reason(model, kind, values)
        if reason is None:
            app = model._meta.app_label
            offered[app] += 1
            reason = (
                f"MAX_MODELS_PER_APP: {app} has {most} before it" if offered[app] > most else None
            )
        if reason is None:
            reason = _untracked_reason(model, kind)
        yield Found(model, kind, reason)


def _all_models() -> Iterator[Any]:
    yield from apps.get_models()
    for config in apps.get_app_configs():
        names = vars(config.models_module) if config.models_module else {}
        for one in names.values():
            # A class that is imported into another app's module is its own app's.
            is_abstract = isinstance(one, ModelBase) and one._meta.abstract
            if is_abstract and apps.get_containing_app_config(one.__module__) is config:
                yield one


def _kind(model: Any) -> str:
    return ABSTRACT if model._meta.abstract else PROXY if model._meta.proxy else CONCRETE


def _app_reason(model: Any, values: Mapping[str, Any]) -> str | None:
    app = model._meta.app_label
    only = values["INCLUDE_APPS"]
    if only and app not in only:
        return "its app is not in INCLUDE_APPS"
    if not only and app in OWN_APPS:
        return f"the app {app} is left out"
    if not (values["AUTO_DISCOVER_MODELS"] or app in only):
        return "AUTO_DISCOVER_MODELS is off"
    if not values["INCLUDE_CUSTOM_MODELS"] and _is_custom(app):
        return "INCLUDE_CUSTOM_MODELS is off, and the app is the project's own"
    return None


def _reason(model: Any, kind: str, values: Mapping[str, Any]) -> str | None:
    """What the filters say of a model; None if none of them leaves it out."""
    label, name = label_of(model), str(model._meta.object_name)
    fields = {field.name for field in (*model._meta.fields, *model._meta.many_to_many)}
    here = {"EXCLUDE_MODELS": label in values["EXCLUDE_MODELS"]}
    here["APP_SPECIFIC_EXCLUSIONS"] = name in values["APP_SPECIFIC_EXCLUSIONS"].get(
        model._meta.app_label, ()
    )
    for key in (ABSTRACT, PROXY):
        here[f"EXCLUDE_{key.upper()}_MODELS"] = kind == key
    here["EXCLUDE_HISTORICAL_MODELS"] = name.startswith("Historical") or "history_id" in fields
    here["EXCLUDE_MANAGER_MODELS"] = name.endswith("Manager")
    for key, is_so in here.items():
        if is_so and values[key]:
            return key
    if kind not in values["INCLUDE_MODEL_TYPES"]:
        return "INCLUDE_MODEL_TYPES"
    only = values["INCLUDE_MODEL_PATTERNS"]
    if only and not any(fnmatchcase(name, pattern) for pattern in only):
        return "INCLUDE_MODEL_PATTERNS"
    for pattern in values["EXCLUDE_MODEL_PATTERNS"]:
        if fnmatchcase(name, pattern):
            return f"EXCLUDE_MODEL_PATTERNS: {pattern}"
    for field in values["EXCLUDE_MODELS_WITH_FIELDS"]:
        if field in fields:
            return f"EXCLUDE_MODELS_WITH_FIELDS: {field}"
    for field in values["REQUIRE_MODELS_WITH_FIELDS"]:
        if field not in fields:
            return f"REQUIRE_MODELS_WITH_FIELDS: {field}"
    return None


def _untracked_reason(model: Any, kind: str) -> str | None:
    """Why the hub does not track it."""
    if kind == ABSTRACT:
        return "it is abstract: it has no rows"
    return reason_against(model._meta.concrete_model if kind == PROXY else model)


def _is_custom(app: str) -> bool:
    """Whether an app is the project's own, rather than one that was installed."""
    path = Path(apps.get_app_config(app).path).resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return not any(path.is_relative_to(folder) for folder in installed)
