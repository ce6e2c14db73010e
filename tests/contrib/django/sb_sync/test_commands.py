"""The eight commands, as the README has them, with their flags, outputs and refusals."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.utils import timezone

from reunite.contrib.django.models import (
    DataFilter,
    ModelPermission,
    Organization,
    SyncConfiguration,
    UserOrganization,
)
from reunite.dropin.sb_sync import conf, permissions
from reunite.dropin.sb_sync.models import PerformanceMetrics, SyncLog
from tests.contrib.django.conftest import Project
from tests.contrib.django.sb_sync.conftest import World


def told(command: str, *arguments: str, **options: Any) -> Any:
    out = StringIO()
    call_command(command, *arguments, "--json", stdout=out, **options)
    return json.loads(out.getvalue())


def said(command: str, *arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(
        command, *arguments, stdout=out, stderr=options.pop("stderr", StringIO()), **options
    )
    return out.getvalue()


# --- setup_organizations --------------------------------------------------------------------------


def test_organizations_groups_and_members_are_made_once(project: Project) -> None:
    project.user("john_manager")
    make = ("setup_organizations", "--action")
    create = (*make, "create_org", "--org-name", "Acme Corporation", "--org-slug", "acme-corp")
    assert told(*create) == {
        "organization": "acme-corp",
        "name": "Acme Corporation",
        "created": True,
    }
    assert told(*create)["created"] is False
    assert len(told(*make, "create_groups")["created"]) == 7
    assert told(*make, "create_groups")["created"] == []
    add = (*make, "add_user", "--username", "john_manager", "--org-slug", "acme-corp")
    assert told(*add, "--group-name", "Managers")["created"] is True
    assert told(*add, "--group-name", "Sales")["created"] is False
    assert UserOrganization.objects.get().group.name == "Sales"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create_org", "--org-name", "Acme"], "--org-slug"),
        (["create_org", "--org-name", "Taken", "--org-slug", "acme-2"], "already"),
        (["add_user", "--username", "ann", "--org-slug", "no", "--group-name", "G"], "no organ"),
        (["add_user", "--username", "no", "--org-slug", "taken", "--group-name", "G"], "no user"),
        (
            ["add_user", "--username", "ann", "--org-slug", "taken", "--group-name", "no"],
            "no group",
        ),
        (["add_user", "--username", "ann", "--org-slug", "taken"], "--group-name"),
        (["set_permissions", "--org-slug", "taken"], "--config-file"),
        (["set_permissions", "--org-slug", "taken", "--config-file", "no.json"], "cannot be read"),
        (["auto_setup", "--org-slug", "taken", "--app-label", "no"], "no app"),
    ],
)
def test_what_is_missing_is_said(project: Project, arguments: list[str], words: str) -> None:
    project.user("ann")
    Organization.objects.create(name="Taken", slug="taken")
    with pytest.raises(CommandError, match=words):
        call_command("setup_organizations", "--action", *arguments)
    assert Organization.objects.count() == 1


def test_the_example_is_made_and_can_be_made_again(project: Project) -> None:
    first = told("setup_organizations", "--action", "setup_example")
    assert first["created"] == ["acme-corp", "global-retail", "city-university"]
    assert first["permissions_created"] == 3 * 7 * 4
    assert DataFilter.objects.filter(organization__slug="acme-corp").count() == 2
    again = told("setup_organizations", "--action", "setup_example")
    assert (again["created"], again["permissions_created"], again["filters_created"]) == ([], 0, 0)
    row = ModelPermission.objects.get(
        organization__slug="acme-corp", group__name="Analysts", model_name="sessions.Session"
    )
    assert (row.can_pull, row.can_read, row.can_push) == (True, True, False)


def test_auto_setup_gives_every_group_what_it_stands_for(project: Project) -> None:
    organization = project.organization("acme-corp")
    arguments = ("--action", "auto_setup", "--org-slug", "acme-corp", "--app-label", "myapp")
    dry = told("setup_organizations", *arguments, "--exclude-models", "Line", "--dry-run")
    assert (dry["dry_run"], ModelPermission.objects.count(), Group.objects.count()) == (True, 0, 0)
    done = told("setup_organizations", *arguments, "--exclude-models", "Line,myapp.Task")
    assert "myapp.Customer" in done["models"]
    assert not {"myapp.Line", "myapp.Task"} & set(done["models"])
    found = permissions.export(organization)
    assert found["Managers"]["myapp.Customer"] == dict(permissions.TEMPLATES["read_write"])
    assert found["Analysts"]["myapp.Customer"] == dict(permissions.TEMPLATES["read_only"])


# --- dynamic_permissions --------------------------------------------------------------------------


def test_a_generated_file_is_valid_and_what_is_exported_is_equal(
    readme: World, tmp_path: Path
) -> None:
    """SB-S16, SB-33."""
    permissions.make_groups()
    file, copy = str(tmp_path / "permissions.json"), str(tmp_path / "copy.json")
    call = "dynamic_permissions"
    errors = StringIO()
    said(
        call, "--action", "generate", "--org-slug", "acme-corp", "--permission-template",
        "read_write", "--output-file", file, "--app-label", "myapp", stderr=errors,
    )  # fmt: skip
    assert "7 groups, 6 models, 42 permissions" in errors.getvalue()
    assert told(call, "--action", "validate", "--config-file", file)["valid"] is True
    apply = ("--action", "apply", "--org-slug", "acme-corp", "--config-file", file)
    dry = told(call, *apply, "--dry-run")
    assert ModelPermission.objects.filter(group__name="Analysts").count() == 5  # of another's
    done = told(call, *apply)
    assert {name: dry[name] for name in done} == done
    assert done["created"] + done["updated"] > 0
    assert told(call, *apply)["updated"] == 0
    said(call, "--action", "export", "--org-slug", "acme-corp", "--output-file", copy)
    assert json.loads(Path(copy).read_text()) == json.loads(Path(file).read_text())
    # Without a file stdout has the JSON and nothing else.
    shown = said(call, "--action", "export", "--org-slug", "acme-corp")
    assert json.loads(shown) == json.loads(Path(copy).read_text())


def test_apply_replaces_and_keeps_the_filters_of_what_stays(readme: World, tmp_path: Path) -> None:
    row = ModelPermission.objects.get(organization=readme.acme, model_name="myapp.Customer")
    row.filters = {"field": "age", "operator": "gte", "value": 18}
    row.save()
    flags = dict(permissions.TEMPLATES["read_only"])
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"Managers": {"myapp.Customer": flags}}))
    done = told(
        "dynamic_permissions", "--action", "import", "--org-slug", "acme-corp", "--config-file",
        str(file),
    )  # fmt: skip
    assert (done["updated"], done["deleted"]) == (1, 4)
    assert permissions.export(readme.acme) == {"Managers": {"myapp.Customer": flags}}
    row.refresh_from_db()
    assert row.filters == {"field": "age", "operator": "gte", "value": 18}
    # What others may do is as it was.
    assert ModelPermission.objects.filter(organization=readme.retail).count() == 5


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ([], "no object"),
        ({"Nobody": {}}, "no group 'Nobody'"),
        ({"Managers": []}, "no object of models"),
        ({"Managers": {"myapp.Nothing": {}}}, "no such model"),
        ({"Managers": {"myapp.Order": {"can_push": True}}}, "six flags"),
        ({"Managers": {"myapp.Order": dict.fromkeys(permissions.FLAGS, 1)}}, "true or false"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(
    readme: World, tmp_path: Path, file: Any, words: str
) -> None:
    before = permissions.export(readme.acme)
    path = tmp_path / "p.json"
    path.write_text(json.dumps(file))
    out = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command(
            "dynamic_permissions", "--action", "validate", "--config-file", str(path), stdout=out
        )
    assert (stopped.value.code, words in out.getvalue()) == (1, True)
    for action in ("apply", "import"):
        with pytest.raises(CommandError, match=words):
            call_command(
                "dynamic_permissions", "--action", action, "--org-slug", "acme-corp",
                "--config-file", str(path),
            )  # fmt: skip
    assert permissions.export(readme.acme) == before
    path.write_text("{")
    with pytest.raises(CommandError, match="no JSON"):
        call_command("dynamic_permissions", "--action", "validate", "--config-file", str(path))


def test_groups_that_are_named_get_the_whole_template(readme: World) -> None:
    call = ("dynamic_permissions", "--action", "generate", "--app-label", "myapp")
    for template in permissions.TEMPLATES:
        found = json.loads(said(*call, "--groups", "Analysts", "--permission-template", template))
        assert found["Analysts"]["myapp.Order"] == dict(permissions.TEMPLATES[template])
    found = json.loads(said(*call, "--permission-template", "full_access"))
    assert found["Analysts"]["myapp.Order"] == dict(permissions.TEMPLATES["read_only"])
    assert set(told("dynamic_permissions", "--action", "template")["templates"]) == set(
        permissions.TEMPLATES
    )
    found = told("dynamic_permissions", "--action", "discover", "--app-label", "myapp")
    assert "myapp.Customer" in found["models"]["myapp"]
    Group.objects.all().delete()
    with pytest.raises(CommandError, match="create_groups"):
        said(*call)


def test_the_default_template_is_the_configuration_s(readme: World) -> None:
    conf.keep("PERMISSIONS", "DEFAULT_PERMISSION_TEMPLATE", "read_only")
    found = json.loads(said("dynamic_permissions", "--action", "generate", "--groups", "Managers"))
    assert found["Managers"]["myapp.Order"] == dict(permissions.TEMPLATES["read_only"])


# --- show_models ----------------------------------------------------------------------------------


def test_models_are_shown_with_the_reasons_against_them(project: Project) -> None:
    summary = told("show_models")
    assert summary["enabled"] == len(told("show_models", "--action", "enabled")["models"])
    assert summary["models"] == len(told("show_models", "--action", "all")["models"])
    off = {
        one["model"]: one["reason"] for one in told("show_models", "--action", "disabled")["models"]
    }
    assert "auth.User" in off
    assert "secret" in off["clinic.ApiToken"]
    only = told("show_models", "--action", "default", "--app-label", "myapp")["models"]
    assert {one["model"].partition(".")[0] for one in only} == {"myapp"}
    words = said("show_models", "--action", "details", "--app-label", "myapp", "--verbose")
    assert "name: CharField, required, 100 at most" in words
    assert "never sent: portal_password" in words
    verbose = told("show_models", "--action", "all", "--verbose")["models"]
    customer = next(one for one in verbose if one["model"] == "myapp.Customer")
    assert customer["organization"] == "organization_id"
    with pytest.raises(CommandError, match="no app"):
        call_command("show_models", "--app-label", "nothing")


# --- cleanup_sync_logs and optimize_performance ---------------------------------------------------


def old_rows() -> None:
    for days in (1, 31, 91):
        log = SyncLog.objects.create(operation="PUSH", status="SUCCESS", object_count=1)
        metric = PerformanceMetrics.objects.create(operation_type="PUSH", processing_time=days)
        at = timezone.now() - timedelta(days=days)
        SyncLog.objects.filter(pk=log.pk).update(timestamp=at)
        PerformanceMetrics.objects.filter(pk=metric.pk).update(timestamp=at)


def test_old_lines_of_the_log_go(project: Project) -> None:
    old_rows()
    assert said("cleanup_sync_logs", "--dry-run") == "1 old sync log entries would be deleted\n"
    assert said("cleanup_sync_logs") == "Successfully deleted 1 old sync log entries\n"
    assert told("cleanup_sync_logs", "--days", "30") == {"deleted": 1}
    assert SyncLog.objects.count() == 1
    with pytest.raises(CommandError):
        call_command("cleanup_sync_logs", "--days", "-1")


def test_performance_is_analyzed_cleaned_up_optimized_and_watched(everywhere: Project) -> None:
    """SB-33, SB-37."""
    old_rows()
    call = ("optimize_performance", "--action")
    found = told(*call, "analyze", "--days", "7")
    assert (found["total_operations"], found["average_processing_time_s"]) == (1, 1.0)
    assert told(*call, "analyze", "--days", "40")["slow_operations"] == 1
    assert told(*call, "cleanup", "--dry-run") == {
        "dry_run": True, "deleted_logs": 1, "deleted_metrics": 2
    }  # fmt: skip
    assert told(*call, "cleanup") == {"deleted_logs": 1, "deleted_metrics": 2}
    assert told(*call, "optimize")["optimized"] is False
    done = told(*call, "optimize", "--force")
    assert done["optimized"] is True
    assert done["analyzed_tables"] > 4
    assert done["cached_models"] > 4
    watched = told(*call, "monitor")
    assert 0 < watched["memory_percent"] <= 100
    assert watched["connections"] >= 1
    assert watched["process_memory_mb"] > 1


def test_what_is_short_is_warned_of(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from reunite.dropin.sb_sync import memory

    short = memory.Machine(cpu_percent=81, memory_percent=85, disk_percent=99)
    monkeypatch.setattr(memory, "machine", lambda folder: short)
    warnings = told("optimize_performance", "--action", "monitor")["warnings"]
    assert [one.partition(" ")[0] for one in warnings] == ["cpu", "disk"]


# --- manage_config --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["json", "yaml", "env"])
def test_an_exported_configuration_can_be_imported(
    project: Project, tmp_path: Path, how: str
) -> None:
    """SB-S17."""
    file = str(tmp_path / "config")
    conf.keep("SECURITY", "RATE_LIMIT_REQUESTS", 7)
    conf.keep("SECURITY", "JWT_SECRET_KEY", "x" * 40)
    before = told("manage_config", "show")
    assert before["SECURITY"]["RATE_LIMIT_REQUESTS"] == {"value": 7, "from": "database"}
    assert "xxx" not in json.dumps(before)
    export = ("manage_config", "--action", "export", "--format", how)
    assert "xxx" not in said(*export)
    said(*export, "--file", file)
    assert Path(file).stat().st_mode & 0o077 == 0
    assert told("manage_config", "reset", "--dry-run")["removed"] == 2
    assert told("manage_config", "--action", "reset", "--force")["removed"] == 2
    assert told("manage_config", "show")["SECURITY"]["RATE_LIMIT_REQUESTS"]["value"] == 100
    arguments = ("--file", file, "--format", how)
    assert told("manage_config", "validate", *arguments)["valid"] is True
    assert "stored" not in told("manage_config", "import", *arguments, "--dry-run")
    stored = told("manage_config", "import", *arguments)["stored"]
    assert stored == ["SECURITY.RATE_LIMIT_REQUESTS", "SECURITY.JWT_SECRET_KEY"]
    assert told("manage_config", "show") == before
    assert conf.value("SECURITY", "JWT_SECRET_KEY") == "x" * 40


def test_a_configuration_that_is_wrong_is_refused(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for text, words in (
        ("{", "no JSON"),
        ("[]", "no object"),
        ('{"core_settings": {"ENABLED": "yes"}}', "true or false"),
        ('{"core_settings": {"NOTHING": 1}}', "no key NOTHING"),
        ('{"nothing_settings": {}}', "no section"),
        ('{"security_settings": {"JWT_ALGORITHM": "none"}}', "HS256"),
    ):
        file.write_text(text)
        with pytest.raises(CommandError, match=words):
            call_command("manage_config", "import", "--file", str(file))
    assert SyncConfiguration.objects.count() == 0
    with pytest.raises(SystemExit):
        call_command("manage_config", "validate", "--file", str(file), stdout=StringIO())
    for wrong in ([], ["show", "--action", "export"]):
        with pytest.raises(CommandError, match="one action"):
            call_command("manage_config", *wrong)
    with pytest.raises(CommandError, match="--file"):
        call_command("manage_config", "import")


def test_a_section_is_shown_and_reset_by_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf.keep("CORE", "LOG_LEVEL", "DEBUG")
    conf.keep("SECURITY", "RATE_LIMIT_WINDOW", 5)
    assert list(told("manage_config", "show", "--section", "core")) == ["CORE"]
    assert told("manage_config", "show", "--section", "advanced") == {}
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was done"):
        call_command("manage_config", "reset", "--section", "core")
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert told("manage_config", "reset", "--section", "core")["removed"] == 1
    summary = told("manage_config", "summary")
    assert summary["values_from"] == {"default": 26, "database": 1}
    words = said("manage_config", "show", "--section", "permissions")
    assert "no effect: rows are always those of the organization" in words


def test_yaml_without_its_package_names_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(CommandError, match="pip install pyyaml"):
        call_command("manage_config", "export", "--format", "yaml")


# --- configure_model_discovery --------------------------------------------------------------------


def test_discovery_is_configured_listed_and_reset(project: Project) -> None:
    """SB-S18."""
    call = "configure_model_discovery"
    found = told(call, "--set-include-apps", "myapp", "--set-max-models", "2", "--test-discovery")
    assert found["offered"] == ["myapp.Country", "myapp.Customer"]
    assert "MAX_MODELS_PER_APP" in found["left_out"]["myapp.Order"]
    assert told(call, "--list-current")["current"]["MAX_MODELS_PER_APP"] == 2
    exclusions = json.dumps({"myapp": ["Order"]})
    dry = told(call, "--set-app-exclusions", exclusions, "--dry-run")
    assert dry["set"] == {"APP_SPECIFIC_EXCLUSIONS": {"myapp": ["Order"]}}
    assert SyncConfiguration.objects.count() == 2
    with pytest.raises(CommandError, match="no JSON"):
        call_command(call, "--set-app-exclusions", "{")
    with pytest.raises(CommandError, match="from 1"):
        call_command(call, "--set-max-models", "0")
    assert told(call, "--reset-to-defaults")["removed"] == 2
    assert "clinic.Tag" in told(call, "--test-discovery")["offered"]
