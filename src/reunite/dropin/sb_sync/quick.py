"""The quick way into a field: values that it takes as they are, without Django's steps for each.

    "Tea"  ──quick──► "Tea"            a text that is not empty and not too long, a number in range
    other  ──quick──► clean, wire      all else: what `Field` makes of it, or says against it

What it is       for a field of Django's own kinds, its limits read once; a push of a thousand items
                 asks ten thousand times.
The rule         it takes nothing that `Field.clean` would refuse or change: in doubt it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models

from reunite.core.schema import ColumnType
from reunite.core.stored import SAFE_INTEGER_MAX, TAG

# An item's value to its wire form. Raises FieldError.
Take: TypeAlias = Callable[[Any], Any]

# Methods of Django's by which a field judges a value; one with another of its own is asked.
_JUDGING = ("clean", "validate", "run_validators")


def quick(field: Any, target: Any, column_type: ColumnType, slow: Take) -> Take:
    """What takes values of a field whose values are stored as they are.

    target   the field that it points to, through all foreign keys; else itself
    slow     the way of all values, which says what is wrong with one
    """
    if field.is_relation:
        # Which row it is, is asked for all items together.
        checks: Sequence[Any] = ()
    elif field.choices or any(
        getattr(type(field), name) is not getattr(models.Field, name) for name in _JUDGING
    ):
        return slow
    else:
        checks = field.validators
    match target, column_type:
        case models.IntegerField(), ColumnType.INTEGER:
            return _integer(checks, slow)
        case models.FloatField(), ColumnType.REAL:
            return _real(checks, slow)
        case models.BooleanField(), ColumnType.BOOLEAN if not checks:
            return _truth(slow)
        case ((models.CharField() | models.TextField()), ColumnType.TEXT):
            return _text(checks, slow)
        case models.DateField(), ColumnType.DATE if type(target) is models.DateField and not checks:
            return _day(slow)
    return slow


def _integer(checks: Sequence[Any], slow: Take) -> Take:
    least, most, others = -SAFE_INTEGER_MAX, SAFE_INTEGER_MAX, []
    for check in checks:
        # A limit that is a function may be another one each time.
        if type(check) is MinValueValidator and isinstance(check.limit_value, int):
            least = max(least, check.limit_value)
        elif type(check) is MaxValueValidator and isinstance(check.limit_value, int):
            most = min(most, check.limit_value)
        else:
            others.append(check)

    def take(value: Any) -> Any:
        if type(value) is int and least <= value <= most and (not others or _pass(others, value)):
            return value
        return slow(value)

    return take


def _real(checks: Sequence[Any], slow: Take) -> Take:
    def take(value: Any) -> Any:
        # What is infinite or no number differs from itself less itself.
        if type(value) is float and value - value == 0 and (not checks or _pass(checks, value)):
            return value
        return slow(value)

    return take


def _truth(slow: Take) -> Take:
    def take(value: Any) -> Any:
        return value if type(value) is bool else slow(value)

    return take


def _text(checks: Sequence[Any], slow: Take) -> Take:
    most, others = None, []
    for check in checks:
        if type(check) is MaxLengthValidator and isinstance(check.limit_value, int):
            most = check.limit_value if most is None else min(most, check.limit_value)
        else:
            others.append(check)

    def take(value: Any) -> Any:
        if (
            type(value) is str
            and value
            and (most is None or len(value) <= most)
            and "\x00" not in value
            and TAG not in value
            and (not others or _pass(others, value))
        ):
            return value
        return slow(value)

    return take


def _day(slow: Take) -> Take:
    def take(value: Any) -> Any:
        # 2026-01-31, the one way in which it is stored; Django reads others too.
        if type(value) is str and len(value) == 10 and value[4] == value[7] == "-":
            try:
                if date.fromisoformat(value).isoformat() == value:
                    return value
            except ValueError:
                pass
        return slow(value)

    return take


def _pass(checks: Sequence[Any], value: Any) -> bool:
    try:
        for check in checks:
            check(value)
    except ValidationError:
        return False
    return True
