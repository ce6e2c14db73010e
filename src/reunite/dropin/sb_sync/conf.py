"""The values that sb-sync's names mean: from the database, else the settings, else the default.

    SyncConfiguration (section, key) ──► SB_SYNC_CONFIG[section][key]
                                     ──► REUNITE[section][key] or REUNITE[key]
                                     ──► the default

The rule         a value that is kept in the database is known to every process within CACHE_S.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import Error as DjangoError
from django.db import transaction

# How old what this process knows of the database's values may be.
CACHE_S = 5.0

# For how long the sync log and measurements are kept where nobody says otherwise.
LOGS_KEPT_DAYS = 90
METRICS_KEPT_DAYS = 30

DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "CORE": MappingProxyType(
            {
                "ENABLED": True,
                "LOG_LEVEL": "INFO",
                "DEFAULT_BATCH_SIZE": 1_000,  # rows that bulk operations write at once
                "MAX_BATCH_SIZE": 10_000,  # rows that they write at once at most
            }
        ),
        "SECURITY": MappingProxyType(
            {
                "ENABLE_RATE_LIMITING": True,
                "RATE_LIMIT_REQUESTS": 100,
                "RATE_LIMIT_WINDOW": 60,
                "JWT_SECRET_KEY": None,  # SECRET_KEY
                "JWT_ALGORITHM": "HS256",
                "JWT_EXPIRATION": 7 * 24 * 60 * 60,
            }
        ),
        "MODEL_DISCOVERY": MappingProxyType(
            {
                "AUTO_DISCOVER_MODELS": True,
                "INCLUDE_APPS": (),
                "EXCLUDE_MODELS": (),
                "INCLUDE_CUSTOM_MODELS": True,
                "EXCLUDE_ABSTRACT_MODELS": True,
                "EXCLUDE_PROXY_MODELS": True,
                "EXCLUDE_HISTORICAL_MODELS": True,
                "EXCLUDE_MANAGER_MODELS": True,
                "INCLUDE_MODEL_PATTERNS": (),
                "EXCLUDE_MODEL_PATTERNS": (
                    "Historical*", "Log", "Cache", "Session", "Permission",
                ),
                "EXCLUDE_MODELS_WITH_FIELDS": (),
                "REQUIRE_MODELS_WITH_FIELDS": (),
                "APP_SPECIFIC_EXCLUSIONS": MappingProxyType(
                    {"auth": ("Group", "Permission"), "admin": ("LogEntry",)}
                ),
                "INCLUDE_MODEL_TYPES": ("concrete",),
                "MAX_MODELS_PER_APP": 100,
            }
        ),
        "PERMISSIONS": MappingProxyType(
            {
                "DEFAULT_PERMISSION_TEMPLATE": "read_write",
                "DEFAULT_FILTER_TEMPLATE": "organization",
            }
        ),
    }
)  # fmt: skip

# Names of settings that stand alone.
NAMES: Mapping[str, Any] = MappingProxyType(
    {
        "SB_SYNC_LOG_DIR": "logs",
        "SB_SYNC_MAX_BODY": 10 * 1024 * 1024,
        "SB_SYNC_MAX_ITEMS": 10_000,
        "SB_SYNC_SHARED_MODELS": (),
        "SB_SYNC_FIELDS": MappingProxyType({}),
        "SB_SYNC_LOG_BODIES": False,
        "SB_SYNC_AUTHENTICATION_CLASSES": None,  # those of REST_FRAMEWORK
        "SB_SYNC_PERMISSION_CLASSES": None,
    }
)


class _Stored:
    """What the database says, read again when it is older than CACHE_S."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Mapping[tuple[str, str], Any] = {}
        self._until = 0.0

    def values(self) -> Mapping[tuple[str, str], Any]:
        now = time.monotonic()
        with self._lock:
            if now < self._until:
                return self._values
        found = _read()
        with self._lock:
            if found is not None:  # else what was known goes on to count
                self._values = found
            self._until = now + CACHE_S
            return self._values

    def forget(self) -> None:
        with self._lock:
            self._until = 0.0


_STORED = _Stored()


def value(section: str, key: str) -> Any:
    """The value of a key, such as `value("SECURITY", "RATE_LIMIT_WINDOW")`. Raises KeyError for a
    key that there is not."""
    default = DEFAULTS[section][key]
    stored = _STORED.values()
    if (section, key) in stored:
        return stored[section, key]
    return _given(section, key, default)


def unstored(section: str, key: str) -> Any:
    """What would count if the database kept nothing. Raises KeyError as `value`."""
    return _given(section, key, DEFAULTS[section][key])


def of_settings() -> Mapping[str, Mapping[str, Any]]:
    """The keys that the settings give a value, by section."""
    missing = object()
    return {
        section: {
            key: given
            for key in keys
            if (given := _given(section, key, missing)) is not missing
        }
        for section, keys in DEFAULTS.items()
    }  # fmt: skip


def setting_names() -> frozenset[str]:
    """What this app reads of the dictionary REUNITE."""
    keys = {key for section in DEFAULTS.values() for key in section}
    return frozenset({*DEFAULTS, *keys, *NAMES})


def _given(section: str, key: str, default: Any) -> Any:
    """What the settings say."""
    ours, reunites = getattr(settings, "SB_SYNC_CONFIG", {}), getattr(settings, "REUNITE", {})
    for place in (ours, reunites):
        of_section = place.get(section, {}) if isinstance(place, Mapping) else {}
        if isinstance(of_section, Mapping) and key in of_section:
            return of_section[key]
    return reunites.get(key, default) if isinstance(reunites, Mapping) else default


def named(name: str) -> Any:
    """The value of a setting that stands alone, such as `named("SB_SYNC_MAX_BODY")`."""
    if hasattr(settings, name):
        return getattr(settings, name)
    given = getattr(settings, "REUNITE", {})
    return given.get(name, NAMES[name]) if isinstance(given, Mapping) else NAMES[name]


def keep(section: str, key: str, wanted: Any, *, description: str = "") -> None:
    """Keep a value in the database. Raises KeyError for a key that there is not."""
    from reunite.contrib.django.models import SyncConfiguration

    DEFAULTS[section][key]
    SyncConfiguration.objects.update_or_create(
        section=section,
        key=key,
        defaults={"value": wanted, "is_active": True, "description": description},
    )
    forget()


def forget() -> None:
    """Read the database's values again when they are asked for next."""
    _STORED.forget()


def _read() -> Mapping[tuple[str, str], Any] | None:
    from reunite.contrib.django.models import SyncConfiguration

    try:
        with transaction.atomic():  # a failure leaves the caller's transaction as it was
            rows = SyncConfiguration.objects.filter(is_active=True)
            return {(section, key): found for section, key, found in
                    rows.values_list("section", "key", "value")}  # fmt: skip
    except DjangoError:  # before `migrate`, or it does not answer
        return None
