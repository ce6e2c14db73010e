"""Which models are offered: each filter alone, from the settings and from the database."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.db import connections, models
from django.test.utils import override_settings

from reunite.core.withheld import looks_secret
from reunite.dropin.sb_sync import conf, discovery
from tests.contrib.django.clinic import models as clinic
from tests.contrib.django.conftest import Project

SECTION = "MODEL_DISCOVERY"


def offered() -> set[str]:
    return set(discovery.enabled())


def reason(label: str) -> str | None:
    found = discovery.find(label)
    assert found is not None
    return found.reason


def test_the_projects_models_are_offered_and_djangos_are_not(project: Project) -> None:
    assert {"clinic.Patient", "clinic.Ward", "myapp.Customer", "myapp.Order"} <= offered()
    assert not {label for label in offered() if label.split(".")[0] not in ("clinic", "myapp")}
    assert reason("auth.User") == "the app auth is left out"
    assert reason("sb_sync.SyncLog") == "the app sb_sync is left out"
    assert reason("sb_sync.Organization") == "the app reunite is left out"
    assert reason("clinic.LargeWard") == "EXCLUDE_PROXY_MODELS"
    assert "secret" in str(reason("clinic.ApiToken"))
    assert discovery.find("nothing.Nothing") is None
    assert discovery.find("nothing") is None


@pytest.mark.parametrize(
    ("key", "value", "hidden", "shown"),
    [
        ("AUTO_DISCOVER_MODELS", False, ["clinic.Tag", "myapp.Order"], []),
        ("INCLUDE_APPS", ["clinic"], ["myapp.Order"], ["clinic.Tag"]),
        ("EXCLUDE_MODELS", ["myapp.Order"], ["myapp.Order"], ["myapp.Line"]),
        ("INCLUDE_CUSTOM_MODELS", False, ["clinic.Tag", "myapp.Order"], []),
        ("INCLUDE_MODEL_PATTERNS", ["Cust*", "Tag"], ["myapp.Order"], ["clinic.Tag"]),
        ("EXCLUDE_MODEL_PATTERNS", ["Ta?"], ["clinic.Tag"], ["myapp.Task"]),
        ("EXCLUDE_MODELS_WITH_FIELDS", ["created_at"], ["myapp.Task"], ["myapp.Order"]),
        ("REQUIRE_MODELS_WITH_FIELDS", ["organization", "code"], ["myapp.Order"], ["myapp.Task"]),
        ("APP_SPECIFIC_EXCLUSIONS", {"myapp": ["Order"]}, ["myapp.Order"], ["clinic.Tag"]),
        ("INCLUDE_MODEL_TYPES", ["proxy"], ["clinic.Tag"], []),
        ("MAX_MODELS_PER_APP", 2, ["myapp.Order"], ["myapp.Country", "myapp.Customer"]),
    ],
)
def test_each_filter_alone_hides_and_leaves(
    project: Project, key: str, value: Any, hidden: list[str], shown: list[str]
) -> None:
    """SB-S18, SB-34: kept in the database, in SB_SYNC_CONFIG, in REUNITE."""
    conf.keep(SECTION, key, value)
    found = [offered()]
    for row in apps.get_model("reunite", "SyncConfiguration").objects.all():
        row.delete()
    with override_settings(SB_SYNC_CONFIG={SECTION: {key: value}}):
        found.append(offered())
    with override_settings(REUNITE={SECTION: {key: value}}):
        found.append(offered())
    for labels in found:
        assert labels.isdisjoint(hidden), key
        assert labels.issuperset(shown), key
        assert key in str(reason(hidden[0])) or reason(hidden[0]) is None


def test_proxies_are_offered_where_they_are_asked_for(project: Project) -> None:
    conf.keep(SECTION, "EXCLUDE_PROXY_MODELS", False)
    assert reason("clinic.LargeWard") == "INCLUDE_MODEL_TYPES"
    conf.keep(SECTION, "INCLUDE_MODEL_TYPES", ["concrete", "proxy"])
    assert "clinic.LargeWard" in offered()


def test_kinds_by_their_names_and_fields() -> None:
    class HistoricalThing(models.Model):
        class Meta:
            app_label, managed, abstract = "clinic", False, True

    class StaffManager(models.Model):
        class Meta:
            app_label, managed, abstract = "clinic", False, True

    values = {key: conf.unstored(SECTION, key) for key in conf.DEFAULTS[SECTION]}
    judge = discovery._reason
    assert judge(HistoricalThing, "concrete", values) == "EXCLUDE_HISTORICAL_MODELS"
    assert judge(StaffManager, "concrete", values) == "EXCLUDE_MANAGER_MODELS"
    off = {**values, "EXCLUDE_HISTORICAL_MODELS": False, "EXCLUDE_MANAGER_MODELS": False}
    assert judge(HistoricalThing, "concrete", off) == "EXCLUDE_MODEL_PATTERNS: Historical*"
    assert judge(StaffManager, "concrete", off) is None
    assert judge(StaffManager, "abstract", off) == "EXCLUDE_ABSTRACT_MODELS"


def test_abstract_models_are_shown_and_never_offered(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dated(models.Model):
        class Meta:
            abstract = True
            app_label = "clinic"

    Dated.__module__ = clinic.__name__
    monkeypatch.setattr(clinic, "Dated", Dated, raising=False)
    conf.keep(SECTION, "EXCLUDE_ABSTRACT_MODELS", False)
    conf.keep(SECTION, "INCLUDE_MODEL_TYPES", ["concrete", "abstract"])
    found = discovery._look({key: conf.value(SECTION, key) for key in conf.DEFAULTS[SECTION]})
    (dated,) = [one for one in found if one.label == "clinic.Dated"]
    assert (dated.kind, dated.is_enabled) == ("abstract", False)


def test_another_process_knows_what_is_kept(project: Project) -> None:
    """SB-34, SB-S18."""
    conf.keep(SECTION, "EXCLUDE_MODELS", ["myapp.Order"])
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(connections["default"].settings_dict["NAME"]),
    }
    script = (
        "import tests.contrib.django.conftest as project\n"
        f"project._use({database!r})\n"
        "from reunite.dropin.sb_sync import discovery\n"
        "print(discovery.find('myapp.Order').reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "EXCLUDE_MODELS", done.stderr


def test_a_value_of_the_database_goes_before_the_settings_and_is_known_within_seconds(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with override_settings(SB_SYNC_CONFIG={"CORE": {"LOG_LEVEL": "ERROR"}}):
        assert conf.value("CORE", "LOG_LEVEL") == "ERROR"
        conf.keep("CORE", "LOG_LEVEL", "DEBUG")
        assert conf.value("CORE", "LOG_LEVEL") == "DEBUG"
    assert conf.of_settings()["CORE"] == {}
    # Another process changes it: this one looks again when what it knows is old.
    rows = apps.get_model("reunite", "SyncConfiguration").objects
    rows.update(value="INFO")
    assert conf.value("CORE", "LOG_LEVEL") == "DEBUG"
    clock = conf.time.monotonic() + conf.CACHE_S
    monkeypatch.setattr(conf.time, "monotonic", lambda: clock)
    assert conf.value("CORE", "LOG_LEVEL") == "INFO"


def test_a_database_that_does_not_answer_changes_no_value(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf.keep("SECURITY", "RATE_LIMIT_REQUESTS", 3)
    assert conf.value("SECURITY", "RATE_LIMIT_REQUESTS") == 3
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "/nowhere/nothing.db")
    conf.forget()
    assert conf.value("SECURITY", "RATE_LIMIT_REQUESTS") == 3


def test_secrets_have_names() -> None:
    for name in ("password", "portal_password", "api_key", "apikey", "secret_answer", "auth_token"):
        assert looks_secret(name), name
    for name in ("name", "monkey", "tokenizer", "keyboard", "key", "author"):
        assert not looks_secret(name), name


def messages(**settings: Any) -> list[str]:
    with override_settings(**settings):
        return [one.msg for one in run_checks() if one.id.startswith(("sb_sync.E", "reunite.E"))]


def test_the_checks_know_every_setting(project: Project) -> None:
    assert messages() == []
    assert messages(SB_SYNC_CONFIG={"CORE": {"ENABLED": True}}, SB_SYNC_LOG_BODIES=True) == []
    assert messages(REUNITE={"LOG_LEVEL": "DEBUG", "SECURITY": {"RATE_LIMIT_WINDOW": 5}}) == []
    assert messages(REUNITE={"SB_SYNC_LOG_DIR": "other", "INCLUDE_MODEL_PATTERNS": ["A*"]}) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SB_SYNC_LOGS": 1}, "no setting SB_SYNC_LOGS"),
        ({"SB_SYNC_CONFIG": []}, "no object of sections"),
        ({"SB_SYNC_CONFIG": {"CORE": {"NOTHING": 1}}}, "CORE has no key NOTHING"),
        ({"SB_SYNC_CONFIG": {"CORE": {"LOG_LEVEL": "LOUD"}}}, "one of DEBUG"),
        ({"SB_SYNC_CONFIG": {"ADVANCED_FEATURES": {"X": 1}}}, "no section ADVANCED_FEATURES"),
        ({"REUNITE": {"SECURITY": {"JWT_EXPIRATION": "7d"}}}, "a number from 60"),
        ({"REUNITE": {"RATE_LIMIT_WINDOW": 0}}, "a number from 1"),
        ({"REUNITE": {"NOTHING": 1}}, "no setting 'NOTHING'"),
        ({"SB_SYNC_MAX_BODY": 0}, "SB_SYNC_MAX_BODY"),
        ({"SB_SYNC_MAX_ITEMS": "many"}, "SB_SYNC_MAX_ITEMS"),
        ({"SB_SYNC_LOG_DIR": ""}, "SB_SYNC_LOG_DIR"),
        ({"SB_SYNC_LOG_BODIES": "yes"}, "SB_SYNC_LOG_BODIES"),
        ({"SB_SYNC_SHARED_MODELS": ["myapp.Nothing"]}, "no model 'myapp.Nothing'"),
        ({"SB_SYNC_SHARED_MODELS": "myapp.Order"}, "no list"),
        ({"SB_SYNC_FIELDS": {"myapp.Order": ["nothing"]}}, "no field 'nothing'"),
        ({"SB_SYNC_FIELDS": ["myapp.Order"]}, "no dictionary"),
    ],
)
def test_the_checks_refuse_what_means_nothing(
    project: Project, settings: dict[str, Any], words: str
) -> None:
    assert any(words in one for one in messages(**settings)), messages(**settings)
