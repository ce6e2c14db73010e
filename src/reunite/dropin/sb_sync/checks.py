"""`manage.py check`: every name that the settings give this app is known, and its value means
something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error

from reunite.dropin.sb_sync import conf, configuring, framework

_HINT = "`manage.py manage_config show` lists the keys and their values."


def check_settings(app_configs: Any, **_: Any) -> list[Any]:
    """What is wrong with SB_SYNC_… and with this app's keys of REUNITE."""
    return [*_names(), *_config(), *_shapes(), *_classes()]


def _names() -> Iterator[Any]:
    known = {*conf.NAMES, "SB_SYNC_CONFIG"}
    for name in dir(settings):
        if name.startswith("SB_SYNC_") and name not in known:
            yield Error(
                f"There is no setting {name}.",
                hint=f"There are {', '.join(sorted(known))}.",
                id="sb_sync.E001",
            )


def _config() -> Iterator[Any]:
    told = configuring.problems(getattr(settings, "SB_SYNC_CONFIG", {}), place="SB_SYNC_CONFIG: ")
    found = getattr(settings, "REUNITE", {})
    if isinstance(found, Mapping):
        sections = {name: found[name] for name in configuring.SECTIONS if name in found}
        alone = {
            section: {key: found[key] for key in keys if key in found and not _is_the_hubs(key)}
            for section, keys in configuring.KEYS.items()
        }
        for values in (sections, alone):
            told += configuring.problems(values, place="REUNITE: ")
    for text in told:
        yield Error(text, hint=_HINT, id="sb_sync.E002")


def _is_the_hubs(key: str) -> bool:
    """Whether `reunite.contrib.django` reads it too, and says what is wrong with it."""
    from reunite.contrib.django.conf import DEFAULTS

    return key in DEFAULTS


def _shapes() -> Iterator[Any]:
    for name in ("SB_SYNC_MAX_BODY", "SB_SYNC_MAX_ITEMS"):
        value = conf.named(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield Error(f"{name} is no number of 1 or more.", id="sb_sync.E003")
    if not isinstance(conf.named("SB_SYNC_LOG_BODIES"), bool):
        yield Error("SB_SYNC_LOG_BODIES is neither True nor False.", id="sb_sync.E003")
    if not conf.named("SB_SYNC_LOG_DIR"):
        yield Error("SB_SYNC_LOG_DIR is no folder.", hint="Write 'logs'.", id="sb_sync.E003")
    shared, fields = conf.named("SB_SYNC_SHARED_MODELS"), conf.named("SB_SYNC_FIELDS")
    if not isinstance(shared, list | tuple | set | frozenset):
        yield Error("SB_SYNC_SHARED_MODELS is no list.", id="sb_sync.E003")
        shared = ()
    if not isinstance(fields, Mapping):
        yield Error("SB_SYNC_FIELDS is no dictionary.", id="sb_sync.E003")
        fields = {}
    for label in (*shared, *fields):
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError, AttributeError, TypeError):
            yield Error(
                f"There is no model {label!r}.", hint="Write 'app.Model'.", id="sb_sync.E004"
            )
            continue
        known = {field.name for field in model._meta.get_fields()}
        for name in fields.get(label, ()) if label in fields else ():
            if name not in known:
                yield Error(f"{label} has no field {name!r}.", id="sb_sync.E004")


def _classes() -> Iterator[Any]:
    """What `framework` cannot use."""
    for setting in (framework.AUTHENTICATION, framework.PERMISSION):
        names = f"{setting[0]}, REST_FRAMEWORK[{setting[1]!r}]"
        try:
            found = framework.classes(setting)
        except ImportError as error:
            yield Error(
                f"{names}: {error}. Until that is mended, nobody may push or pull.",
                hint="Install djangorestframework, or name other classes.",
                id="sb_sync.E005",
            )
            continue
        for one in found:
            if hasattr(one, "perms_map"):
                yield Error(
                    f"{names}: {one.__name__} asks a view for its queryset; the API has none.",
                    hint=f"Name others for the API alone, in {setting[0]}.",
                    id="sb_sync.E005",
                )
