"""Foreign keys of items: every row that one names must be the organization's, or everybody's.

    to a synced model    a row that the member sees, or that the same push makes
    to users             a member of the organization
    to an organization   its own
    to other models      a row of the organization's, if they have one; else any row

The rule         one statement for each model that is pointed to. A row of others and one that there
                 is not are refused alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model

from reunite.contrib.django.models import Organization
from reunite.core.key import Key
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.describing import Field
from reunite.dropin.sb_sync.items import CREATED, Item, ItemError
from reunite.engine.ports import Transaction
from reunite.engine.rights import Rights
from reunite.engine.tables import Tables


class Pointing:
    """Checks the foreign keys of the items of one push."""

    def __init__(self, tx: Transaction, member: Member, tables: Tables, rights: Rights) -> None:
        self._tx = tx
        self._member = member
        self._tables = tables
        self._rights = rights

    def check(self, items: Sequence[Item]) -> None:
        """Fail those that point to what they may not."""
        made = {
            (item.described.table, item.key)
            for item in items
            if item.action == CREATED and item.key is not None
        }
        by_field: dict[tuple[str, str], list[Item]] = {}
        for item in items:
            for field in item.described.pointers:
                is_own = field.column == item.described.organization
                if not is_own and item.given.get(field.column) is not None:
                    by_field.setdefault((item.label, field.column), []).append(item)
        for (_, column), pointing in by_field.items():
            field = pointing[0].described.by_column[column]
            parent = field.field.related_model._meta.db_table
            values = {item.given[column] for item in pointing}
            values -= {key[0] for table, key in made if table == parent}
            lost = self._lost(field, values)
            for item in pointing:
                if item.given[column] in lost:
                    name = field.name
                    item.failure = ItemError("tenant", f"{name}: There is no such row.")

    def _lost(self, field: Field, values: Collection[Any]) -> Collection[Any]:
        """Those of these values, in wire form, that the member must not point to."""
        if not values:
            return ()
        related = field.field.related_model
        schema = self._tables.schemas.get(related._meta.db_table)
        is_key = field.field.target_field.primary_key
        if schema is not None and is_key and len(schema.key) == 1:
            keys: set[Key] = {(value,) for value in values}
            return {key[0] for key in keys - self._rights.seen(schema.name, keys)}
        return self._not_of_ours(field, related, values)

    def _not_of_ours(self, field: Field, related: Any, values: Collection[Any]) -> Collection[Any]:
        """The same of models that are not synced."""
        organization = self._member.organization
        rows = related._base_manager.using(self._member.using)
        target = field.field.target_field
        by_python: Mapping[Any, Any] = {field.python(value): value for value in values}
        rows = rows.filter(**{f"{target.attname}__in": list(by_python)})
        if related is get_user_model():
            rows = rows.filter(
                user_organizations__organization=organization, user_organizations__is_active=True
            )
        elif related is Organization:
            rows = rows.filter(pk=organization.pk)
        elif (own := _organization_field(related)) is not None:
            rows = rows.filter(**{own: organization})
        found = set(rows.values_list(target.attname, flat=True))
        return {wire for python, wire in by_python.items() if python not in found}


def _organization_field(model: Any) -> str | None:
    for field in model._meta.concrete_fields:
        if field.is_relation and field.related_model is Organization:
            return str(field.name)
    return None
