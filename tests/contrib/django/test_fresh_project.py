"""`docs/howto/django.md`, line by line, on what `django-admin startproject` makes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "django.md"
_BLOCK = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


class Site:
    """A project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> str:
        """What a command tells; it must not fail."""
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", *arguments],
            cwd=self.folder,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "mysite.settings"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def append(self, name: str, text: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write("\n" + text)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.run("-m", "django", "startproject", "mysite", ".")
    site.manage("startapp", "shop")
    for name, text in _BLOCK.findall(HOWTO.read_text()):
        site.append(name, text)
    return site


def test_the_how_to_works_as_it_stands(site: Site) -> None:
    site.manage("makemigrations", "shop")
    assert "shop_product is tracked" in site.manage("migrate")
    assert "shop_product" not in site.manage("migrate")
    assert "shop.Product: table shop_product" in site.manage("reunite", "status")
    assert "problems: 0" in site.manage("reunite", "doctor")
    assert "no issues" in site.manage("check")
    assert "OK" in site.manage("test", "shop")
    assert "No changes" in site.manage("makemigrations", "--check")


def test_what_runs_in_transactions_of_requests_is_tested_too(site: Site) -> None:
    site.append("mysite/settings.py", 'DATABASES["default"]["ATOMIC_REQUESTS"] = True\n')
    site.manage("makemigrations", "shop")
    assert "OK" in site.manage("test", "shop")


def test_a_deployment_s_checks_find_nothing_of_ours(site: Site) -> None:
    told = site.manage("check", "--deploy")
    assert "reunite" not in told
