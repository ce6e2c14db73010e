"""`role`, another name of `group`: in constructors, in filters and as a property.

    UserOrganization(user=…, organization=…, role=UserOrganization.SALES)
    ModelPermission.objects.filter(role="Sales")

What it is       an alias for who writes `role`, by a group's name or as the group. The column is
                 `group`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import Group
from django.db import models

ADMIN = "Administrators"
MANAGER = "Managers"
USER = "Users"
ANALYST = "Analysts"
SALES = "Sales"
SUPPORT = "Support"
READ_ONLY = "Read Only"


class RoleQuerySet(models.QuerySet):
    """A query that knows `role`."""

    def filter(self, *conditions: Any, **lookups: Any) -> Any:
        """Django's, with lookups of `role`."""
        return super().filter(*conditions, **_of_groups(lookups))

    def exclude(self, *conditions: Any, **lookups: Any) -> Any:
        """Django's, with lookups of `role`."""
        return super().exclude(*conditions, **_of_groups(lookups))


class HasRole(models.Model):
    """A model with a foreign key `group`."""

    objects = RoleQuerySet.as_manager()

    class Meta:
        """As Django reads it."""

        abstract = True

    @property
    def role(self) -> Any:
        """The group."""
        return self.group

    @role.setter
    def role(self, role: Any) -> None:
        """Set the group: one of Django's groups, or its name; a group of that name is made."""
        self.group = Group.objects.get_or_create(name=role)[0] if isinstance(role, str) else role


def _of_groups(lookups: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in lookups.items():
        first, _, rest = name.partition("__")
        if first != "role":
            found[name] = value
        elif rest == "" and isinstance(value, str):
            found["group__name"] = value
        elif rest == "in" and _are_names(value):
            found["group__name__in"] = value
        else:
            found[f"group{name.removeprefix('role')}"] = value
    return found


def _are_names(values: Any) -> bool:
    return isinstance(values, Iterable) and all(isinstance(one, str) for one in values)
