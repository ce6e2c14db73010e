"""The README's commands, line by line, in a fresh project that also has django-simple-history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SETTINGS = """
INSTALLED_APPS += [
    "reunite.contrib.django", "reunite.dropin.sb_sync", "simple_history", "myapp"
]
MIDDLEWARE += ["reunite.contrib.django.middleware.ActingUser"]
SB_SYNC_LOG_DIR = "logs"
"""

MODELS = """
from django.db import models
from simple_history.models import HistoricalRecords

from reunite.dropin.sb_sync.models import Organization


class Customer(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    history = HistoricalRecords()
"""

LINES = """
setup_audit_trails --action setup
setup_audit_trails --action check
setup_audit_trails --action cleanup
setup_organizations --action create_org --org-name "Acme Corporation" --org-slug acme-corp
setup_organizations --action create_org --org-name "Global Retail" --org-slug global-retail
setup_organizations --action create_org --org-name "City University" --org-slug city-university
setup_organizations --action create_groups
setup_organizations --action add_user --username john_manager --org-slug acme-corp \
--group-name Managers
setup_organizations --action add_user --username mary_sales --org-slug global-retail \
--group-name Sales
setup_organizations --action add_user --username bob_analyst --org-slug city-university \
--group-name Analysts
setup_organizations --action setup_example
dynamic_permissions --action discover
dynamic_permissions --action discover --app-label myapp
dynamic_permissions --action generate --org-slug acme-corp --permission-template read_write \
--output-file permissions.json
dynamic_permissions --action apply --org-slug acme-corp --config-file permissions.json
dynamic_permissions --action export --org-slug acme-corp --output-file current_permissions.json
dynamic_permissions --action validate --config-file permissions.json
dynamic_permissions --action template
show_models --action summary
show_models --action all
show_models --action enabled
show_models --action default
show_models --action details --verbose
show_models --action enabled --app-label myapp
cleanup_sync_logs
optimize_performance --action analyze --days 7
optimize_performance --action optimize --force
optimize_performance --action cleanup
optimize_performance --action monitor
manage_config --action show
manage_config --action export --file config.json --format json
manage_config --action import --file config.json --format json
manage_config --action validate
manage_config --action summary
manage_config --action reset --force
setup_organizations --action set_permissions --org-slug acme-corp --config-file permissions.json
setup_audit_trails --action setup --model sb_sync.Organization
setup_audit_trails --action check --model sb_sync.ModelPermission
"""

SCRIPT = """
import shlex, sys
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import reverse
for name in ("john_manager", "mary_sales", "bob_analyst"):
    User.objects.create_user(name, password="secret")
for line in sys.stdin.read().strip().splitlines():
    print("$", line)
    call_command(*shlex.split(line))
from myapp.models import Customer
from reunite.dropin.sb_sync.models import Organization
acme = Organization.objects.get(slug="acme-corp")
one = Customer.objects.create(organization=acme, name="a")
one.name = "b"
one.save()
print("$ check")
call_command("setup_audit_trails", "--action", "check", "--json")
"""


def test_every_command_line_of_the_readme_works_in_a_fresh_project(tmp_path: Path) -> None:
    """SB-S1, SB-1, SB-33."""

    def run(*arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "mysite.settings"},
            capture_output=True,
            text=True,
            input=given,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "django", "startproject", "mysite", ".")
    app = tmp_path / "myapp"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "models.py").write_text(MODELS)
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write(SETTINGS)
    run("manage.py", "makemigrations", "myapp", "-v0")
    run("manage.py", "migrate", "-v0")
    assert "No changes" in run("manage.py", "makemigrations", "--check")
    assert "no issues" in run("manage.py", "check")
    told = run("-c", SCRIPT, given=LINES)
    assert told.count("$ ") == len(LINES.strip().splitlines()) + 1
    assert "Successfully deleted 0 old sync log entries" in told
    check = told.rpartition("$ check")[2]
    # Its own history of a model, and the hub's log of the same rows.
    assert '"myapp.Customer": 2' in check
    assert '"myapp.Customer": "2 changes"' in check
    assert "myapp.Customer" in (tmp_path / "permissions.json").read_text()
