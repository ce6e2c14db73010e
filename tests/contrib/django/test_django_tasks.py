"""sb-sync's tasks in Django's own framework, where Django has one; `make newest` has."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import django
import pytest
from django.test import override_settings

from reunite.dropin.sb_sync import tasks
from tests.contrib.django.conftest import Project
from tests.contrib.django.myapp.models import Customer

MODULE = "reunite.dropin.sb_sync.django_tasks"
IMMEDIATE = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}

has_tasks = pytest.mark.skipif(django.VERSION < (6,), reason="this Django has no tasks")


@has_tasks
def test_the_seven_tasks_are_djangos(project: Project) -> None:
    from django.tasks import Task, TaskResultStatus

    acme = project.organization("acme")
    module = importlib.import_module(MODULE)
    found = {name: getattr(module, name) for name in module.__all__}
    # The same seven, and each where a worker looks for it.
    assert {*found, "BEAT_SCHEDULE", "schedule"} == set(tasks.__all__)
    for name, one in found.items():
        assert isinstance(one, Task)
        assert one.module_path == f"{MODULE}.{name}"
    with override_settings(TASKS=IMMEDIATE):
        rows = [{"organization_id": acme.pk, "name": "a"}]
        arguments = {"bulk_sync_operation": ("myapp.Customer", tasks.CREATE, rows)}
        for name, one in found.items():
            result = one.enqueue(*arguments.get(name, ()))
            assert result.status == TaskResultStatus.SUCCESSFUL, (name, result.errors)
            assert isinstance(result.return_value, dict), name
    assert Customer.objects.get().name == "a"


@pytest.mark.skipif(find_spec("django.tasks") is not None, reason="this Django has tasks")
def test_an_older_django_has_functions_and_says_what_is_missing(project: Project) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"django\.tasks"):
        importlib.import_module(MODULE)
    assert tasks.memory_optimization().keys() >= {"initial_memory", "memory_freed"}
