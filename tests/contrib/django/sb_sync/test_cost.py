"""What a push does not do: Django's steps for each value, and asking twice for the same rights.

The quick way into a field says what the slow one says, of every value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from reunite.core.schema import ColumnType
from reunite.core.stored import TAG
from reunite.dropin.sb_sync.describing import Field, FieldError
from tests.contrib.django.clinic.models import Everything, Patient, Visit
from tests.contrib.django.conftest import Project
from tests.contrib.django.myapp.models import Customer, Line, Order, Task
from tests.contrib.django.sb_sync.conftest import World

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 32_768, 2**31, 2**53 - 1, 2**53, 2**63, -(2**63), 10**30,
    0.0, -0.0, 1.0, 2.5, -1e300, 1e300, float("inf"), float("-inf"), float("nan"),
    "", " ", "Tea", "Zoë", "\x00", "a\x00b", TAG, f"{TAG}text:x", f"x {TAG}", "x" * 20, "x" * 21,
    "x" * 101, "ann@example.com", "ann@", "\ud800", "7", "2.5", "true", "one", "two",
    "2026-03-01", "2026-3-1", "20260301", "2026-W09-7", "2026-02-30", "0001-01-01", "2026-03-01 ",
    "2026-03-01T12:00:00Z", "12:30", "3 04:05:06", "9f1d8a3e-7c1b-4a53-8f0e-0c9b2a3d4e5f",
    "127.0.0.1", [], {}, [1], {"a": 1},
]  # fmt: skip


def said(work: Any) -> tuple[str, str]:
    """The kind of what comes, or of what is raised, and how it is written."""
    try:
        found = work()
    except FieldError as error:
        return "refused", str(error)
    return type(found).__name__, repr(found)


class Shouted(models.CharField):
    """With a step of its own."""

    def clean(self, value: Any, model_instance: Any) -> Any:
        return str(super().clean(value, model_instance)).upper()


def no_tea(value: Any) -> None:
    if value == "Tea":
        raise ValidationError("No tea.")


def alone() -> Iterator[tuple[models.Field, ColumnType]]:
    """Fields of no model, with what a project adds to them."""
    yield models.CharField(max_length=20, choices=[("one", "1"), ("two", "2")]), ColumnType.TEXT
    yield models.CharField(max_length=20, validators=[no_tea]), ColumnType.TEXT
    yield models.SlugField(), ColumnType.TEXT
    yield models.TextField(validators=[RegexValidator("^[a-z]+$")], blank=True), ColumnType.TEXT
    yield Shouted(max_length=20), ColumnType.TEXT
    yield models.IntegerField(validators=[MinValueValidator(lambda: 5)]), ColumnType.INTEGER
    yield models.IntegerField(validators=[MinValueValidator(1)]), ColumnType.INTEGER
    yield models.IntegerField(choices=[(1, "one"), (7, "seven")]), ColumnType.INTEGER
    yield models.FloatField(validators=[MinValueValidator(0.5)]), ColumnType.REAL
    yield models.BooleanField(), ColumnType.BOOLEAN


def test_both_ways_are_one(everywhere: Project) -> None:
    with everywhere.hub.reading() as tx:
        schemas = everywhere.hub.tables_at(tx).schemas
    fields: list[tuple[Any, ColumnType]] = []
    for model in (Everything, Patient, Visit, Customer, Order, Line, Task):
        columns = schemas[model._meta.db_table].column
        fields += [
            (field, columns[field.column].type)
            for field in model._meta.local_concrete_fields
            if field.column in columns
        ]
    for name, (field, column_type) in enumerate(alone()):
        field.set_attributes_from_name(f"alone{name}")
        fields.append((field, column_type))
    assert len(fields) > 40
    for field, column_type in fields:
        found = Field(field, "default")
        take = found.take(column_type)
        for value in VALUES:
            slowly = said(lambda: found.wire(found.clean(value), column_type))  # noqa: B023
            assert said(lambda: take(value)) == slowly, (field, column_type, value)  # noqa: B023


def test_plain_values_go_through_none_of_djangos_steps(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project.hub.reading() as tx:
        columns = project.hub.tables_at(tx).schemas["clinic_everything"].column
    plain = {"big": 7, "flag": True, "ratio": 2.5, "text": "Tea", "day": "2026-03-01"}
    takes = {
        name: Field(Everything._meta.get_field(name), "default").take(columns[name].type)
        for name in plain
    }
    for name in ("clean", "run_validators", "get_db_prep_save"):
        monkeypatch.setattr(models.Field, name, None)
    assert {name: take(plain[name]) for name, take in takes.items()} == plain


def test_a_push_asks_once_for_the_rights_of_who_pushes(readme: World) -> None:
    api = readme.api("john_manager")
    with CaptureQueriesContext(connection) as queries:
        found = api.push({"_model": "myapp.Customer", "name": "a"})
    assert found["status"] == "success"
    asked = [one["sql"] for one in queries if "sync_data_filter" in one["sql"]]
    assert len(asked) == 1, asked
