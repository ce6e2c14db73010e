"""Django's own models as lists: an organization's members, the groups, the content types.

    nothing yet, a time  ──► the list from its beginning
    a place              ──► its next rows; after the last of them nothing
    a place in a list    ──► from the beginning: the list as it is now
    that has changed

What it is       how READ_ONLY_MODELS are pulled. Their changes are in no log, so a list is read
                 whole each time, and a digest of it says whether it is still the same one.
What it is not   a feed: nothing tells which row is gone. Who has the list to its end may drop what
                 is not in it.
The rule         members of the request's organization and nobody else, and the fields that
                 READ_ONLY_MODELS has, whatever settings and requests name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import models

from reunite.contrib.django.filters import conditions_of
from reunite.contrib.django.models import DataFilter, ModelPermission, UserOrganization
from reunite.core.asked import fields_of
from reunite.core.expression import And, Expression
from reunite.core.matching import row_judge
from reunite.core.principal import Principal
from reunite.core.rules import bind_rule
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.stored import text_form
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.conf import value
from reunite.dropin.sb_sync.describing import READ_ONLY_MODELS, USER
from reunite.dropin.sb_sync.places import ListPlace

logger = logging.getLogger("sb_sync")

_encode = msgspec.json.Encoder().encode


class ListPage(NamedTuple):
    """The next rows of a list; none of one that the client has."""

    rows: list[dict[str, Any]]
    place: ListPlace
    has_more: bool
    is_first: bool  # it begins here, again or for the first time

    @property
    def is_last(self) -> bool:
        """Whether the client has the whole list with these rows."""
        return not self.has_more and (self.is_first or bool(self.rows))


def is_offered(label: str) -> bool:
    """Whether this is one of the lists, and nobody has excluded it."""
    return label in READ_ONLY_MODELS and label not in value("MODEL_DISCOVERY", "EXCLUDE_MODELS")


def list_page(
    member: Member, principal: Principal, label: str, place: Any, *, limit: int
) -> ListPage:
    """The next `limit` rows at most of a list for a member.

    place   a ListPlace; anything else means the beginning

    Cost: three queries, and the list read whole, whichever page it is.
    """
    names, rows = _read(member, label)
    rows = _passing(member, principal, label, names, rows)
    digest = hashlib.blake2b(_encode(rows), digest_size=16).hexdigest()
    is_first = not isinstance(place, ListPlace) or place.digest != digest
    begin = 0 if is_first else place.read
    page = rows[begin : begin + limit]
    end = begin + len(page)
    return ListPage(
        rows=[{"_model": label, **dict(zip(names, row, strict=True))} for row in page],
        place=ListPlace(digest=digest, read=end),
        has_more=end < len(rows),
        is_first=is_first,
    )


def _read(member: Member, label: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names that the rows of a list have, and all of its rows."""
    model = _model(label)
    known = {field.name for field in model._meta.concrete_fields}
    spelled = {"id": "pk"}
    if label == USER:
        spelled |= {"username": model.USERNAME_FIELD, "email": model.get_email_field_name()}
    fields = {name: spelled.get(name, name) for name in READ_ONLY_MODELS[label]}
    fields = {name: field for name, field in fields.items() if field == "pk" or field in known}
    found = model._default_manager.using(member.using).order_by("pk")
    if label == USER:
        members = UserOrganization.objects.using(member.using).filter(
            organization=member.organization, is_active=True
        )
        found = found.filter(pk__in=members.values("user"))
        if "is_active" in known:
            found = found.filter(is_active=True)
    rows = found.values_list(*fields.values())
    return list(fields), [tuple([_json(one) for one in row]) for row in rows]


def _passing(
    member: Member,
    principal: Principal,
    label: str,
    names: Sequence[str],
    rows: list[tuple[Any, ...]],
) -> list[tuple[Any, ...]]:
    """The rows that pass all filters of the member's group. One that asks a field which is not
    given passes none."""
    conditions = [] if member.user.is_superuser else list(_conditions(member, label))
    if not conditions:
        return rows
    schema = _schema(label, names)
    asked = And(tuple(conditions))
    unknown = set(fields_of(asked)) - set(names)
    if unknown:
        logger.warning(
            "a filter of %s asks for %s, which is not given: nothing passes",
            label,
            ", ".join(sorted(unknown)),
        )
    bound = bind_rule(asked, schema, principal, {schema.name: schema})
    if bound is None:
        return rows
    judge = row_judge(bound, schema)
    return [
        row
        for row in rows
        if judge([text_form(one) if isinstance(one, str) else one for one in row]) is True
    ]


def _conditions(member: Member, label: str) -> Iterator[Expression]:
    # Filters are spelled as of Django's own user, whose names the rows have.
    model = User if label == USER else apps.get_model(label)
    where = {
        "organization": member.organization,
        "group__name": member.group,
        "model_name": label,
    }
    for given in ModelPermission.objects.filter(**where).values_list("filters", flat=True):
        if given:
            yield from conditions_of(model, given, name="permission")
    for one in DataFilter.objects.filter(**where, is_active=True):
        yield from conditions_of(model, one.filter_condition, name=one.filter_name)


def _schema(label: str, names: Sequence[str]) -> TableSchema:
    is_number = isinstance(_model(label)._meta.pk, models.IntegerField)
    columns = [
        Column(
            name=name,
            type=ColumnType.INTEGER if name == "id" and is_number else ColumnType.TEXT,
        )
        for name in names
    ]
    return TableSchema(name=label, columns=tuple(columns), key=("id",))


def _model(label: str) -> Any:
    """The model whose rows a list has: a project may have users of its own."""
    return get_user_model() if label == USER else apps.get_model(label)


def _json(one: Any) -> Any:
    """A value as a row has it: keys and texts of any kind of field."""
    return one if one is None or isinstance(one, int) else str(one)
