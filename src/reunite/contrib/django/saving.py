"""Pushed rows through the model: `full_clean()`, `save()` and `delete()`, with their signals.

What it is       wire values as a model's fields have them, and one call of the model for each row.
What it is not   fast: a row costs what it costs in the admin. Models that do not ask for it are
                 written in bulk.
The rule         what the model raises reaches the caller; nothing is saved half-checked.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.utils import timezone

from reunite.contrib.django.discovery import TrackedModel
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.stored import is_tagged
from reunite.core.values import Row
from reunite.engine.ports import Update


def insert_rows(one: TrackedModel, schema: TableSchema, rows: Sequence[Row], *, using: str) -> None:
    """Save new rows. Raises ValidationError."""
    fields = _fields(one.model)
    for row in rows:
        instance = one.model()
        for name, value in zip(schema.column_names, row, strict=True):
            if name in fields:
                _set(instance, fields[name], value, using)
        instance.full_clean()
        instance.save(using=using, force_insert=True)


def update_rows(
    one: TrackedModel, schema: TableSchema, updates: Sequence[Update], *, using: str
) -> None:
    """Save changed rows; those that are not there are passed over. Raises ValidationError."""
    if not updates:
        return
    fields, key = _fields(one.model), one.model._meta.pk
    for update in updates:
        changes = dict(zip(update.columns, update.values, strict=True))
        pk = python_value(key, update.key[0], using)
        if key.column in changes:
            # The ORM takes another key for another row.
            moved = python_value(key, changes.pop(key.column), using)
            one.model._base_manager.using(using).filter(pk=pk).update(**{key.attname: moved})
            pk = moved
        instance = one.model._base_manager.using(using).filter(pk=pk).first()
        if instance is None:
            continue
        for name, value in changes.items():
            if name in fields:
                _set(instance, fields[name], value, using)
        instance.full_clean()
        instance.save(using=using)


def delete_rows(one: TrackedModel, schema: TableSchema, keys: Sequence[Key], *, using: str) -> None:
    """Delete rows, with what their models say of those that point to them."""
    if not keys:
        return
    pks = [python_value(one.model._meta.pk, key[0], using) for key in keys]
    for instance in one.model._base_manager.using(using).filter(pk__in=pks):
        instance.delete(using=using)


def _fields(model: Any) -> Mapping[str, Any]:
    return {field.column: field for field in model._meta.local_concrete_fields}


def _set(instance: Any, field: Any, value: Any, using: str) -> None:
    setattr(instance, field.attname, python_value(field, value, using))


def python_value(field: Any, value: Any, using: str) -> Any:
    """A wire value as the field has it in Python. Raises ValidationError."""
    if value is None:
        return None
    if is_tagged(value):
        raise ValidationError(f"{field.name}: this value is of another type than the field.")
    while field.is_relation:
        field = field.target_field
    for kind, convert in _CONVERSIONS.items():
        if isinstance(field, kind):
            return convert(field, value, using)
    return field.to_python(value)


def _bytes(field: Any, value: Any, using: str) -> Any:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError) as exc:
        raise ValidationError(f"{field.name}: no base64.") from exc


def aware_moment(field: Any, value: Any, using: str) -> Any:
    """What a DateTimeField makes of a text, with a zone where the project's times have one."""
    found: datetime | None = field.to_python(value)
    if found is not None and settings.USE_TZ and timezone.is_naive(found):
        return timezone.make_aware(found, connections[using].timezone)
    if found is not None and not settings.USE_TZ and timezone.is_aware(found):
        return timezone.make_naive(found, connections[using].timezone)
    return found


def _duration(field: Any, value: Any, using: str) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return timedelta(microseconds=value) if is_number else field.to_python(value)


def _json(field: Any, value: Any, using: str) -> Any:
    """As the database keeps it: a value, or on SQLite the text of one."""
    if connections[using].vendor != "sqlite" or not isinstance(value, str):
        return value
    try:
        return json.loads(value, cls=field.decoder)
    except ValueError as exc:
        raise ValidationError(f"{field.name}: no JSON.") from exc


_CONVERSIONS: Mapping[type, Callable[[Any, Any, str], Any]] = {
    models.BinaryField: _bytes,
    models.DateTimeField: aware_moment,
    models.DurationField: _duration,
    models.JSONField: _json,
}
