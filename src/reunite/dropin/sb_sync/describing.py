"""What a model looks like in the API: its fields by the names of items, to the wire and back.

    item's JSON ──clean──► Python ──► wire form, which the hub's engine takes
    wire form   ──────────► JSON, as an item has it

What it is       `_meta` read once for each model of a database.
The rule         what an item may set is a list: fields of the table that can be edited and are no
                 secrets, neither the key nor the organization.
"""

from __future__ import annotations

import binascii
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.utils import timezone
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_string

from reunite.contrib.django.discovery import TrackedModel, tracked_models
from reunite.contrib.django.models import Organization
from reunite.contrib.django.saving import aware_moment, python_value
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.stored import TAG, is_tagged, stored_of, text_form, wire_form, wire_integer
from reunite.dropin.sb_sync.quick import Take, quick

# Models of Django's that a group may be given to read: fields by model. `listing` reads them.
USER = "auth.User"
READ_ONLY_MODELS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        USER: ("id", "username", "first_name", "last_name", "email"),
        "auth.Group": ("id", "name"),
        "contenttypes.ContentType": ("id", "app_label", "model"),
    }
)

# What is never synced, whatever settings name.
NEVER_SYNCED = frozenset({"sessions.Session"})


# Kinds of fields whose values are stored as something else.
_CONVERTED = (
    models.JSONField, models.DecimalField, models.UUIDField, models.DurationField,
    models.BinaryField, models.GenericIPAddressField, models.DateField, models.TimeField,
)  # fmt: skip


class FieldError(Exception):
    """A value that a field does not take: what is wrong with it."""


class Field:
    """A field of a model in items."""

    def __init__(self, field: Any, using: str) -> None:
        self.field = field
        self.name = str(field.attname)
        self.column = str(field.column)
        self.is_pointer = bool(field.is_relation)
        self._using = using
        self._is_sqlite = connections[using].vendor == "sqlite"
        target = field
        while target.is_relation:
            target = target.target_field
        self._target = target
        # One of Django's own, which stores texts and numbers as they are.
        self._is_djangos = all(
            type(one).__module__.startswith("django.db.models") for one in (field, target)
        )
        self._is_plain = self._is_djangos and not isinstance(target, _CONVERTED)
        self.is_clock = bool(
            getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
        )
        self.is_touched = bool(getattr(field, "auto_now", False))

    # -- from items ---------------------------------------------------------------------------

    def clean(self, value: Any) -> Any:
        """What an item says, as the field has it in Python. Raises FieldError."""
        field = self.field
        try:
            if value is None:
                if not field.null:
                    raise ValidationError("This field cannot be null.")
                return None
            found = self._python(value)
            if isinstance(found, str) and "\x00" in found:
                raise ValidationError("Null characters are not allowed.")
            if self.is_pointer:
                return found
            if field.blank and found in field.empty_values:
                return found
            return field.clean(found, None)
        except ValidationError as error:
            raise FieldError(f"{field.name}: {' '.join(error.messages)}") from None
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            raise FieldError(f"{field.name}: this value is of another type.") from None

    def _python(self, value: Any) -> Any:
        target = self._target
        if isinstance(target, models.JSONField):
            return value
        if isinstance(value, list | dict):
            raise ValidationError("This value is of another type.")
        if isinstance(value, bool) and not isinstance(target, models.BooleanField):
            raise ValidationError("This value is of another type.")
        if isinstance(target, models.BinaryField):
            return binascii.a2b_base64(value, strict_mode=True)
        if isinstance(target, models.IntegerField):
            if isinstance(value, float) and not value.is_integer():
                raise ValidationError("This is no integer.")
            found = target.to_python(value)
            if not -(2**63) <= found < 2**63:
                raise ValidationError("This number is too large.")
            return found
        if isinstance(target, models.DateTimeField):
            return aware_moment(target, value, self._using)
        return target.to_python(value)

    def take(self, column_type: ColumnType) -> Take:
        """What makes a wire value of an item's. It raises FieldError."""

        def slow(value: Any) -> Any:
            return self.wire(self.clean(value), column_type)

        if not self._is_djangos:
            return slow
        return quick(self.field, self._target, column_type, slow)

    def python(self, wire: Any) -> Any:
        """A wire value as the field has it in Python."""
        return python_value(self._target, wire, self._using)

    def default(self) -> Any:
        """What a new row gets where an item says nothing. Raises FieldError for a field that must
        be given."""
        field = self.field
        if self.is_clock:
            return self.now()
        if field.has_default():
            return field.get_default()
        if field.null:
            return None
        if not field.blank:
            raise FieldError(f"{field.name}: This field is required.")
        return field.get_default()

    def now(self) -> Any:
        """What a field of the clock gets."""
        return self.field.pre_save(_Nothing(), add=True)

    def wire(self, value: Any, column_type: ColumnType) -> Any:
        """A value of Python's as the engine has it."""
        if value is None:
            return None
        if self._is_plain:
            match value:
                case bool() if column_type is ColumnType.BOOLEAN:
                    return value
                case str() if column_type is ColumnType.TEXT:
                    return text_form(value) if TAG in value else value
                case int() if column_type is ColumnType.INTEGER and type(value) is int:
                    return wire_integer(value)
                case float() if column_type is ColumnType.REAL:
                    return value
        if hasattr(value, "pk"):
            value = value.pk
        if self._is_sqlite:
            connection = connections[self._using]
            stored = self.field.get_db_prep_save(value, connection)
            return wire_form(column_type)(_sqlite_value(stored))
        return self._postgresql_wire(value, column_type)

    def _postgresql_wire(self, value: Any, column_type: ColumnType) -> Any:
        match value:
            case bool():
                return value
            case int() if column_type is ColumnType.DECIMAL:
                return str(value)
            case int() if column_type is ColumnType.INTEGER:
                return wire_integer(int(value))
            case str() if column_type is not ColumnType.JSON:
                return text_form(str(value))
            case datetime():
                moment = value if timezone.is_naive(value) else value.astimezone(UTC)
                text = moment.isoformat(timespec="microseconds").replace("+00:00", "")
                return text if timezone.is_naive(value) else f"{text}Z"
            case date() | time():
                return value.isoformat()
            case timedelta():
                return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"
            case Decimal():
                return format(self._target.get_db_prep_save(value, connections[self._using]), "f")
            case bytes() | bytearray() | memoryview():
                return binascii.b2a_base64(bytes(value), newline=False).decode()
            case float() | list() | dict() | str() | int():
                return value
            case _:
                return str(value)

    # -- to items -----------------------------------------------------------------------------

    @functools.cached_property
    def json(self) -> Callable[[Any], Any]:
        """What makes an item's JSON of a wire value that is not None."""
        kind = self._target
        if isinstance(kind, models.DateTimeField):
            return _moment_json
        if isinstance(kind, models.UUIDField):
            return _uuid_json
        if isinstance(kind, models.DecimalField):
            return functools.partial(_decimal_json, places=kind.decimal_places)
        if isinstance(kind, models.IntegerField):
            return _integer_json
        if isinstance(kind, models.DurationField):
            return _duration_json
        if isinstance(kind, models.JSONField):
            return _stored_json if self._is_sqlite else _as_it_is
        return _plain_json

    def json_of_all(self, values: Sequence[Any]) -> Sequence[Any]:
        """Wire values of one column as items have them."""
        kinds = set(map(type, values))
        convert = self.json
        if convert is _integer_json and kinds <= {int, _NONE}:
            return values
        if convert is _as_it_is or (convert is _plain_json and kinds <= _NEVER_TAGGED):
            return values
        if convert is _plain_json and kinds <= {str, _NONE} and not _has_tag(values):
            return values
        return [None if value is None else convert(value) for value in values]

    def show(self, wire: Any) -> Any:
        """An item's JSON of a wire value."""
        return None if wire is None else self.json(wire)


class Described:
    """A model that can be synced: its table, its fields by the names of items."""

    def __init__(self, one: TrackedModel, using: str) -> None:
        model = one.model
        meta = model._meta
        self.tracked = one
        self.model = model
        self.label = one.label
        self.table = one.table
        self.key = Field(meta.pk, using)
        self.has_id = not any(field.name == "id" for field in meta.fields if field is not meta.pk)
        fields = [Field(field, using) for field in meta.local_concrete_fields]
        own = one.tenant if one.tenant and "." not in one.tenant else None
        # The column of its own foreign key to an organization.
        self.organization = own if own is not None and _is_organization(fields, own) else None
        self.by_column: Mapping[str, Field] = {field.column: field for field in fields}
        self.settable: dict[str, Field] = {}
        for field in fields:
            if not self._may_be_set(field):
                continue
            self.settable[field.name] = field
            if field.is_pointer:
                self.settable.setdefault(str(field.field.name), field)
        self.needs_clean = (
            model.clean is not models.Model.clean
            or model.clean_fields is not models.Model.clean_fields
        )
        self.clocks = [field for field in fields if field.is_touched]
        self.pointers = [field for field in fields if field.is_pointer]
        self._using = using
        self._takes: tuple[TableSchema | None, Mapping[str, tuple[str, Take]]] = (None, {})

    def takes(self, schema: TableSchema) -> Mapping[str, tuple[str, Take]]:
        """By the names that an item may set of a table, the column and what makes its values."""
        known, found = self._takes
        if known is not schema:
            found = {
                name: (field.column, field.take(schema.column[field.column].type))
                for name, field in self.settable.items()
                if field.column in schema.column
            }
            self._takes = schema, found
        return found

    def _may_be_set(self, field: Field) -> bool:
        return not (
            field.field.primary_key
            or field.column == self.organization
            or field.column in self.tracked.secrets
            or not field.field.editable
            or field.is_clock
        )

    def clean_row(self, given: Mapping[str, Any], row: Mapping[str, Any] | None) -> None:
        """Have the model's own `clean` judge a row.

        given   values by name as Python has them
        row     the row that they change, in wire form by column; None for a new one

        Raises FieldError.
        """
        instance = self.model()
        try:
            for column, wire in (row or {}).items():
                if (field := self.by_column.get(column)) is not None:
                    setattr(instance, field.name, python_value(field.field, wire, self._using))
            instance._state.adding = row is None
            for name, value in given.items():
                setattr(instance, name, value)
            if self.model.clean_fields is not models.Model.clean_fields:
                # Its fields are judged already, and pointers for all rows together.
                instance.clean_fields(exclude={field.field.name for field in self.pointers})
            instance.clean()
        except ValidationError as error:
            raise FieldError(_in_words(error)) from None

    def item_of(
        self, schema: TableSchema, shown: TableSchema, row: Sequence[Any]
    ) -> dict[str, Any]:
        """A row of `schema` as a pull gives it to who knows the columns of `shown`."""
        found: dict[str, Any] = {"_model": self.label}
        for name in shown.column_names:
            value = row[schema.position[name]]
            found[self.shown_name(name)] = self.by_column[name].show(value)
        return found

    def shown_name(self, column: str) -> str:
        """The name of a column in the rows of a pull."""
        field = self.by_column[column]
        if column == self.organization:
            return str(field.field.name)
        if field.field.primary_key and self.has_id:
            return "id"
        return field.name

    def is_passed_over(self, name: str) -> bool:
        """Whether an item may have this name although it sets nothing: what a pull has given and
        only the server sets."""
        return any(
            field.is_clock and name in (field.name, field.field.name)
            for field in self.by_column.values()
        )


@functools.lru_cache(maxsize=20)
def described_models(hub: Any) -> Mapping[str, Described]:
    """The models of a hub that the API can sync, by "app.Model"."""
    found = {}
    for one in tracked_models(hub.using).values():
        meta = one.model._meta
        is_plain = not (meta.parents or meta.auto_created or _is_composite(meta.pk))
        if is_plain and one.label not in READ_ONLY_MODELS and one.label not in NEVER_SYNCED:
            found[one.label] = Described(one, hub.using)
    return found


def in_order(models: Mapping[str, Described]) -> list[str]:
    """The labels of models, those that others point to first."""
    by_model = {one.model: label for label, one in models.items()}
    found: dict[str, None] = {}
    waiting: set[str] = set()

    def add(label: str) -> None:
        if label in found or label in waiting:
            return
        waiting.add(label)
        for field in models[label].pointers:
            parent = by_model.get(field.field.related_model)
            if parent is not None:
                add(parent)
        found[label] = None

    for label in sorted(models):
        add(label)
    return list(found)


def canonical_label(label: str) -> str:
    """A model's name as Django spells it; other names as they are."""
    try:
        return str(apps.get_model(label)._meta.label)
    except (LookupError, ValueError):
        return label


def _in_words(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        " ".join(messages) if name == "__all__" else f"{name}: {' '.join(messages)}"
        for name, messages in error.message_dict.items()
    )


def _is_organization(fields: list[Field], column: str) -> bool:
    return any(
        field.column == column and field.field.related_model is Organization for field in fields
    )


def _is_composite(key: Any) -> bool:
    kind = getattr(models, "CompositePrimaryKey", None)
    return kind is not None and isinstance(key, kind)


class _Nothing:
    """An instance without anything, on which a field of the clock may set itself."""


def _sqlite_value(found: Any) -> Any:
    """What the adapters of Django's driver would make of it."""
    match found:
        case memoryview() | bytearray():
            return bytes(found)
        case Decimal():
            return format(found, "f")
        case date() | time():
            return str(found)
        case _:
            return found


_NONE = type(None)
_NEVER_TAGGED = frozenset({bool, int, float, _NONE})


def _has_tag(texts: Sequence[Any]) -> bool:
    return TAG in "".join([text for text in texts if text is not None])


def _as_it_is(wire: Any) -> Any:
    return wire


def _stored_json(wire: Any) -> Any:
    """What a JSONField's text on SQLite says; of a text that is no JSON, itself."""
    text = _plain_json(wire)
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _plain_json(wire: Any) -> Any:
    return stored_of(wire) if is_tagged(wire) else wire


def _integer_json(wire: Any) -> Any:
    try:
        return int(wire)
    except ValueError:
        return _plain_json(wire)


def _decimal_json(wire: Any, *, places: int) -> Any:
    try:
        return f"{Decimal(str(wire)):.{places}f}"
    except ArithmeticError:
        return _plain_json(wire)


def _uuid_json(wire: Any) -> Any:
    text = str(_plain_json(wire))
    if len(text) == 32:
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return text


def _moment_json(wire: Any) -> Any:
    """ISO 8601: as PostgreSQL's wire has it, of SQLite's texts, which are in UTC."""
    text = str(_plain_json(wire))
    if "T" in text or " " not in text:
        return text
    return text.replace(" ", "T", 1) + ("Z" if settings.USE_TZ else "")


def _duration_json(wire: Any) -> Any:
    """As Django writes it: "3 04:05:06.000007"."""
    found = timedelta(microseconds=wire) if isinstance(wire, int) else parse_duration(str(wire))
    return _plain_json(wire) if found is None else duration_string(found)
