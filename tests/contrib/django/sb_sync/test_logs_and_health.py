"""The log's file and lines, and what `health/` tells."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections
from django.test.utils import override_settings

from reunite.dropin.sb_sync import conf, health, logs, memory
from tests.contrib.django.conftest import Project

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - sb_sync - [A-Z]+ - .*")


@pytest.fixture(autouse=True)
def looked_at_anew() -> Iterator[None]:
    health.forget()
    yield
    health.forget()
    logs.logger.setLevel("INFO")


def note_push(user: str, organization: str, items: list[Any]) -> None:
    logs.note_push(user, organization, items, logs.summary_of(items))


def lines() -> list[str]:
    return (logs.folder() / logs.FILE).read_text(encoding="utf-8").splitlines()


# --- The log --------------------------------------------------------------------------------------


def test_a_line_is_as_documented_and_has_no_values(project: Project) -> None:
    """SB-27, SB-36."""
    assert not logs.folder().exists()
    items = [{"_model": "myapp.Customer", "name": "Jane Doe", "portal_password": "hunter2"}] * 2
    note_push("john_manager", "Acme Corporation", items)
    logs.note_pull("john_manager", "Acme Corporation", 250)
    push, pull = lines()
    assert LINE.fullmatch(push)
    assert LINE.fullmatch(pull)
    assert push.partition(" - INFO - ")[2] == (
        "PUSH request from user john_manager in Acme Corporation: "
        '{"items": 2, "models": {"myapp.Customer": '
        '{"count": 2, "fields": ["_model", "name", "portal_password"]}}}'
    )
    assert pull.endswith(
        "PULL request completed for user john_manager in Acme Corporation: 250 records"
    )
    assert "Jane" not in push
    assert "hunter" not in push


def test_bodies_are_logged_only_where_that_is_asked_for_and_never_secrets(project: Project) -> None:
    items = [{"_model": "myapp.Task", "code": "a", "more": [{"api_key": "k"}], "password": "p"}]
    with override_settings(SB_SYNC_LOG_BODIES=True):
        note_push("ann", "Acme", items)
        note_push("ann", "Acme", [{"_model": "x", "text": "y" * 20_000}])
    first, second = lines()
    assert first.endswith(
        '{"data": [{"_model": "myapp.Task", "code": "a", "more": [{"api_key": "***"}], '
        '"password": "***"}]}'
    )
    assert len(second) < logs.BODY_MAX + 200


def test_what_is_sent_cannot_begin_a_line_or_fill_the_log(project: Project) -> None:
    note_push("ann\n2024 - forged", "A\rB", [{"_model": "x\ny", "a\nb": 1}, 7, "text"])
    note_push("ann", "Acme", [{"_model": f"m{n}", f"f{n}": n} for n in range(500)])
    note_push("ann", "Acme", [{"_model": "m", **{f"f{n}" * 100: n for n in range(500)}}])
    found = lines()
    assert len(found) == 3
    assert max(map(len, found)) < 12_000


def test_a_day_has_its_file_and_thirty_are_kept(project: Project) -> None:
    """SB-36."""
    folder = logs.folder()
    folder.mkdir()
    for day in range(1, 32):
        (folder / f"{logs.FILE}.2020-01-{day:02}").write_text("old\n")
    (folder / "other.log.2020-01-01").write_text("not ours\n")
    logs.note_pull("ann", "Acme", 1)
    yesterday = time.time() - 86_400
    os.utime(folder / logs.FILE, (yesterday, yesterday))
    logs.note_pull("ann", "Acme", 2)
    assert [line.rpartition(": ")[2] for line in lines()] == ["2 records"]
    aside = sorted(path.name for path in folder.glob(f"{logs.FILE}.*"))
    assert len(aside) == logs.FILES_KEPT
    assert aside[0] == f"{logs.FILE}.2020-01-03"
    day = time.strftime("%Y-%m-%d", time.localtime(yesterday))
    assert (folder / f"{logs.FILE}.{day}").read_text().endswith("1 records\n")
    assert (folder / "other.log.2020-01-01").exists()


def test_of_two_processes_one_puts_the_file_aside_and_no_line_is_lost(project: Project) -> None:
    logs.note_pull("ann", "Acme", 1)
    other = logs.DailyFile()
    record = logging.LogRecord("sb_sync", logging.INFO, "", 0, "from the other", (), None)
    other.emit(record)
    path = logs.folder() / logs.FILE
    yesterday = time.time() - 86_400
    os.utime(path, (yesterday, yesterday))
    other.emit(record)
    logs.note_pull("ann", "Acme", 2)
    other.emit(record)
    other.close()
    assert [line.rpartition(" - ")[2][:8] for line in lines()] == [
        "from the",
        "PULL req",
        "from the",
    ]
    (aside,) = path.parent.glob(f"{logs.FILE}.*")
    assert len(aside.read_text().splitlines()) == 2


def test_the_level_is_the_configuration_s_at_once(project: Project) -> None:
    conf.keep("CORE", "LOG_LEVEL", "WARNING")
    logs.note_pull("ann", "Acme", 1)
    conf.keep("CORE", "LOG_LEVEL", "INFO")
    logs.note_pull("ann", "Acme", 2)
    assert len(lines()) == 1


def test_the_projects_own_logging_decides_where_it_has_something_to_say(project: Project) -> None:
    with override_settings(LOGGING={"version": 1, "loggers": {"sb_sync": {"level": "ERROR"}}}):
        assert logs.is_the_projects()
        before = list(logs.logger.handlers)
        logs.configure()
        assert logs.logger.handlers == before


def test_a_folder_that_cannot_be_written_loses_lines_and_no_request(project: Project) -> None:
    """SB-S19."""
    logs.folder().write_text("no folder")
    logs.note_pull("ann", "Acme", 1)
    found = health.report()
    assert found["status"] == "degraded"
    assert found["checks"]["logging"].startswith("error: ")


def test_a_fresh_project_logs_beside_itself_and_nothing_is_made_before(tmp_path: Path) -> None:
    script = (
        "import django\n"
        "from django.conf import settings\n"
        f"settings.configure(BASE_DIR={str(tmp_path)!r}, INSTALLED_APPS=["
        "'django.contrib.contenttypes', 'django.contrib.auth', 'reunite.contrib.django',"
        "'reunite.dropin.sb_sync'])\n"
        "django.setup()\n"
        "import logging, pathlib\n"
        f"print(sorted(pathlib.Path({str(tmp_path)!r}).iterdir()))\n"
        "logging.getLogger('sb_sync').info('hello')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    assert (tmp_path / "logs" / "sb_sync.log").read_text().endswith(" - sb_sync - INFO - hello\n")


# --- Health ---------------------------------------------------------------------------------------


def test_a_project_that_is_well_says_so(everywhere: Project) -> None:
    """SB-30, SB-S19."""
    found = health.report()
    assert found["status"] == "healthy", found
    assert found["checks"] == dict.fromkeys(
        ("database", "cache", "logging", "triggers", "memory"), "healthy"
    )
    assert 1 < found["memory_usage"] < 5_000
    assert found["performance_metrics"]["total_operations"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["timestamp"])


def test_a_database_that_is_down_is_unhealthy(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "/nowhere/nothing.db")
    found = health.report()
    assert found["status"] == "unhealthy"
    assert found["checks"]["database"] == "error: it does not answer"
    assert "nowhere" not in str(found)
    assert found["performance_metrics"] is None


@pytest.mark.parametrize("how", ["forgets", "fails"])
def test_a_cache_that_does_not_keep_is_degraded(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("redis://secret@10.0.0.7")

    monkeypatch.setattr(cache, "set", fail if how == "fails" else lambda *a, **b: None)
    found = health.report()
    assert found["status"] == "degraded"
    assert found["checks"]["cache"].startswith("error: it does not")
    assert "redis" not in str(found)


def test_triggers_that_are_missing_are_degraded(everywhere: Project) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("drop trigger reunite_clinic_tag_after_insert")
        else:
            cursor.execute("alter table clinic_tag disable trigger user")
    found = health.report()
    assert found["status"] == "degraded"
    assert found["checks"]["triggers"] == "error: 1 tables are not captured as they should be"
    everywhere.hub.uninstall()
    assert health.report()["checks"]["triggers"].startswith("error: 1")  # looked at now and then
    health.forget()
    assert "migrate" in health.report()["checks"]["triggers"]


def test_a_machine_without_memory_is_degraded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_percent", lambda: 99.0)
    assert health.report()["checks"]["memory"].startswith("error: ")


def test_memory_is_known_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    with_psutil = memory.used_mb()
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert abs(memory.used_mb() - with_psutil) < 50
    assert abs(memory._most_mb()) >= with_psutil / 2
    found = memory.machine(Path("/no/such/folder"))
    assert 0 < found.memory_percent <= 100
    assert found.cpu_percent is not None
