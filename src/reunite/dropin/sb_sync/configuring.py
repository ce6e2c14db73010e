"""The keys of configuration: what each may be and does; read from and written to files.

    CORE.LOG_LEVEL ──► one of the levels        a value that is none is refused, wherever it stands
    a file: {"core_settings": {"LOG_LEVEL": …}, …} as JSON, YAML or lines of an environment

What it is       what `manage_config`, the console and `manage.py check` say of values.
The rule         a key that is not here is refused: none is taken and then has no effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from django.db import transaction

from reunite.contrib.django.models import SyncConfiguration
from reunite.dropin.sb_sync import conf, discovery, logs
from reunite.dropin.sb_sync.permissions import TEMPLATES
from reunite.errors import BadRequestError

SECTIONS = tuple(conf.DEFAULTS)
FORMATS = ("json", "yaml", "env")

# Shown without its value, and written to files only.
SECRET = ("SECURITY", "JWT_SECRET_KEY")
HIDDEN = "(set)"

STORED, SETTINGS, DEFAULT = "database", "settings", "default"

# Sections of the original whose keys did nothing there.
WITHOUT_KEYS = ("ADVANCED", "ERROR", "PERFORMANCE")


class Kind(NamedTuple):
    """What a value may be, and that in words."""

    is_one: Callable[[Any], bool]
    words: str


def _number(least: int, most: int) -> Kind:
    return Kind(
        lambda value: isinstance(value, int) and not isinstance(value, bool)
        and least <= value <= most,
        f"a number from {least} to {most}",
    )  # fmt: skip


def _one_of(*values: str) -> Kind:
    return Kind(lambda value: value in values, f"one of {', '.join(values)}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


_BOOL = Kind(lambda value: isinstance(value, bool), "true or false")
_TEXTS = Kind(_are_texts, "a list of texts")
_OF_APPS = Kind(
    lambda value: isinstance(value, Mapping) and all(_are_texts(one) for one in value.values()),
    "an object of lists, by app",
)
_KINDS = Kind(
    lambda value: _are_texts(value) and set(value) <= set(discovery.KINDS),
    f"a list of {', '.join(discovery.KINDS)}",
)

KEYS: Mapping[str, Mapping[str, Kind]] = {
    "CORE": {
        "ENABLED": _BOOL,
        "LOG_LEVEL": _one_of(*logs.LEVELS),
        "DEFAULT_BATCH_SIZE": _number(1, 100_000),
        "MAX_BATCH_SIZE": _number(1, 100_000),
    },
    "SECURITY": {
        "ENABLE_RATE_LIMITING": _BOOL,
        "RATE_LIMIT_REQUESTS": _number(1, 1_000_000),
        "RATE_LIMIT_WINDOW": _number(1, 86_400),
        "JWT_SECRET_KEY": Kind(
            lambda value: value is None or (isinstance(value, str) and len(value) >= 32),
            "null for SECRET_KEY, or 32 characters or more",
        ),
        "JWT_ALGORITHM": _one_of("HS256", "HS384", "HS512"),
        "JWT_EXPIRATION": _number(60, 365 * 86_400),
    },
    "MODEL_DISCOVERY": {
        **dict.fromkeys(
            ("AUTO_DISCOVER_MODELS", "INCLUDE_CUSTOM_MODELS", "EXCLUDE_ABSTRACT_MODELS",
             "EXCLUDE_PROXY_MODELS", "EXCLUDE_HISTORICAL_MODELS", "EXCLUDE_MANAGER_MODELS"),
            _BOOL,
        ),
        **dict.fromkeys(
            ("INCLUDE_APPS", "EXCLUDE_MODELS", "INCLUDE_MODEL_PATTERNS", "EXCLUDE_MODEL_PATTERNS",
             "EXCLUDE_MODELS_WITH_FIELDS", "REQUIRE_MODELS_WITH_FIELDS"),
            _TEXTS,
        ),
        "APP_SPECIFIC_EXCLUSIONS": _OF_APPS,
        "INCLUDE_MODEL_TYPES": _KINDS,
        "MAX_MODELS_PER_APP": _number(1, 100_000),
    },
    "PERMISSIONS": {
        "DEFAULT_PERMISSION_TEMPLATE": _one_of(*TEMPLATES),
        # Rows are always those of the organization; more than that, filters say.
        "DEFAULT_FILTER_TEMPLATE": _one_of("organization"),
    },
}  # fmt: skip

# Accepted, and without any effect of their own.
NO_EFFECT: Mapping[tuple[str, str], str] = {
    ("PERMISSIONS", "DEFAULT_FILTER_TEMPLATE"): "rows are always those of the organization",
    ("MODEL_DISCOVERY", "EXCLUDE_ABSTRACT_MODELS"): "abstract models have no rows to offer",
}


def problems(values: Any, *, place: str = "") -> list[str]:
    """What is wrong with `{section: {key: value}}`."""
    if not isinstance(values, Mapping):
        return [f"{place}it is no object of sections."]
    told = []
    for section, of_section in values.items():
        if section in WITHOUT_KEYS and of_section == {}:
            continue
        if section not in KEYS:
            told.append(f"{place}there is no section {section}: there are {', '.join(KEYS)}.")
        elif not isinstance(of_section, Mapping):
            told.append(f"{place}{section} is no object of keys.")
        else:
            told += (f"{place}{one}" for one in _of_section(section, of_section))
    return told


def current(sections: Any = SECTIONS) -> dict[str, dict[str, Any]]:
    """The values that count now."""
    return {
        section: {key: _plain(conf.value(section, key)) for key in KEYS[section]}
        for section in sections
    }


def sources(sections: Any = SECTIONS) -> dict[str, dict[str, str]]:
    """Where each of them comes from: STORED, SETTINGS or DEFAULT."""
    kept = {(one.section, one.key) for one in SyncConfiguration.objects.filter(is_active=True)}
    given = conf.of_settings()
    return {
        section: {
            key: STORED
            if (section, key) in kept
            else SETTINGS
            if key in given.get(section, {})
            else DEFAULT
            for key in KEYS[section]
        }
        for section in sections
    }


def without_secret(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The values, to be shown."""
    section, key = SECRET
    return {
        name: {
            one: HIDDEN if (name, one) == (section, key) and value is not None else value
            for one, value in of_section.items()
        }
        for name, of_section in values.items()
    }


def store(values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Keep values in the database, those that are not what the settings say anyway; the names of
    those that are kept. One transaction. Raises BadRequestError for values with `problems`."""
    told = problems(values)
    if told:
        raise BadRequestError(" ".join(told))
    kept = []
    with transaction.atomic():
        for section, of_section in values.items():
            for key, value in of_section.items():
                if _plain(value) == _plain(conf.unstored(section, key)):
                    for one in SyncConfiguration.objects.filter(section=section, key=key):
                        one.delete()
                else:
                    conf.keep(section, key, _plain(value))
                    kept.append(f"{section}.{key}")
    conf.forget()
    return kept


def reset(sections: Any = SECTIONS) -> int:
    """Remove what the database keeps; how many values there were."""
    found = list(SyncConfiguration.objects.filter(section__in=list(sections)))
    with transaction.atomic():
        for one in found:
            one.delete()
    conf.forget()
    return len(found)


# --- Files ------------------------------------------------------------------------------------


def written(values: Mapping[str, Mapping[str, Any]], how: str) -> str:
    """Values as a file has them. Raises BadRequestError for YAML without PyYAML."""
    if how == "env":
        return "".join(
            f"SB_SYNC_{section}__{key}={json.dumps(value)}\n"
            for section, of_section in values.items()
            for key, value in of_section.items()
        )
    named = {f"{section.lower()}_settings": dict(keys) for section, keys in values.items()}
    if how == "yaml":
        return str(_yaml().safe_dump(named, sort_keys=False, allow_unicode=True))
    return json.dumps(named, indent=2, ensure_ascii=False) + "\n"


def read(text: str, how: str) -> dict[str, dict[str, Any]]:
    """The values that a file has, by section. Raises BadRequestError for one that is none."""
    if how == "env":
        return _read_lines(text)
    try:
        found = _yaml().safe_load(text) if how == "yaml" else json.loads(text)
    except BadRequestError:
        raise
    except Exception as error:  # each reader has errors of its own
        raise BadRequestError(f"That is no {how.upper()}: {error}.") from error
    if not isinstance(found, dict):
        raise BadRequestError("That is no object of sections: export shows what one looks like.")
    return {str(name).removesuffix("_settings").upper(): one for name, one in found.items()}


def _read_lines(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, value = line.partition("=")
        section, _, key = name.strip().removeprefix("SB_SYNC_").partition("__")
        try:
            found.setdefault(section, {})[key] = json.loads(value)
        except ValueError as error:
            raise BadRequestError(f"Line {number} is no NAME=JSON.") from error
    return found


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise BadRequestError("YAML needs a package: pip install pyyaml.") from error
    return yaml


def _of_section(section: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        kind = KEYS[section].get(key)
        if kind is None:
            yield f"{section} has no key {key}: there are {', '.join(KEYS[section])}."
        elif not kind.is_one(value):
            yield f"{section}.{key} is to be {kind.words}."


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
