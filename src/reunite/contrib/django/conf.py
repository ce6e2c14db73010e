"""The settings `REUNITE = {…}`, each with its default and what it does.

The rule         a name that is not here is an error of `manage.py check`, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.conf import settings

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        # Aliases of the databases that are hubs.
        "DATABASES": ("default",),
        # Whether models are tracked that nobody names; without, those of MODELS and INCLUDE_APPS.
        "AUTO_DISCOVER_MODELS": True,
        # Labels of the only apps to look at; none: all but Django's own and those for log-ins.
        "INCLUDE_APPS": (),
        "EXCLUDE_APPS": (),
        # "app.Model" of models that stay at home.
        "EXCLUDE_MODELS": (),
        # "app.Model": what `Hub.track` takes (merge, rows, rules, tenant, policy), and `apply`.
        "MODELS": MappingProxyType({}),
        # "app.Model": names of fields that travel although they look like secrets.
        "SHOW_FIELDS": MappingProxyType({}),
        # "app.Model" of models without organization that members of all of them may read.
        "SHARED_MODELS": (),
        # Days that the log is kept, where every replica has read it; None: until you trim it.
        "KEEP_DAYS": None,
        # Whose web pages may talk to the hub besides the project's own.
        "ORIGINS": (),
        # Whether processes note the sync log and the figures that the console shows.
        "CONSOLE": False,
        # Limits of the server by name, as `hub.asgi` takes them.
        "LIMITS": MappingProxyType({}),
    }
)

# Names in the same dictionary that other apps read: each has them in its `AppConfig.sync_settings`.
MORE_NAMES = "sync_settings"

# What an entry of MODELS may say.
MODEL_OPTIONS = frozenset({"merge", "rows", "rules", "tenant", "policy", "apply"})

# How what replicas push reaches the tables of a model.
BULK, SAVE = "bulk", "save"


def given() -> Mapping[str, Any]:
    """What the project has set."""
    found = getattr(settings, "REUNITE", {})
    return found if isinstance(found, Mapping) else {}


# Settings of the drop-in for sb-sync that say the same in its words, and add to ours.
_SB_SYNC_NAMES = MappingProxyType(
    {"SHARED_MODELS": "SB_SYNC_SHARED_MODELS", "SHOW_FIELDS": "SB_SYNC_FIELDS"}
)


def setting(name: str) -> Any:
    """The value of a setting, or its default."""
    found = given().get(name, DEFAULTS[name])
    alias = _SB_SYNC_NAMES.get(name)
    more = None if alias is None else getattr(settings, alias, None) or given().get(alias)
    if not more:
        return found
    if isinstance(found, Mapping) and isinstance(more, Mapping):
        labels = {*found, *more}
        return {label: (*found.get(label, ()), *more.get(label, ())) for label in labels}
    return (*found, *more)
