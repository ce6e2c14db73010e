"""Who there is in a project, for the lists of the console.

    Organization ──► tenants    Group ──► roles    the project's users    DataFilter ──► filters

What it is       what Django keeps, to be looked at; each entry with the address where Django's
                 admin changes it, where there is one.
What it is not   a second place to change it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.urls import NoReverseMatch, reverse

from reunite.console.filters import FilterItem
from reunite.console.people import Held, RoleItem, TenantItem, UserItem
from reunite.contrib.django.directory import owner_label
from reunite.contrib.django.discovery import TrackedModel
from reunite.contrib.django.filters import conditions_of
from reunite.contrib.django.models import (
    DataFilter,
    ModelPermission,
    Organization,
    UserOrganization,
)
from reunite.engine.directory import NO_TENANT, SessionRecord
from reunite.engine.explain import expression_text
from reunite.engine.ports import Transaction


def admin_url(one: Any) -> str | None:
    """Where Django's admin changes this object; None where it does not have it."""
    meta = one._meta
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[one.pk])
    except NoReverseMatch:
        return None


def _ms(at: Any) -> int:
    return 0 if at is None else int(at.timestamp() * 1_000)


class DjangoPeople:
    """The project's organizations, groups and users."""

    def tenants(self, tx: Transaction) -> Sequence[TenantItem]:
        users: defaultdict[int, set[Any]] = defaultdict(set)
        members = UserOrganization.objects.filter(is_active=True)
        for organization, user in members.values_list("organization_id", "user_id"):
            users[organization].add(user)
        replicas = Counter(record.tenant for record in tx.replicas())
        return [
            TenantItem(
                name=one.slug,
                title=one.name,
                value=one.pk,
                is_active=one.is_active,
                created_ms=_ms(one.created_at),
                users=len(users[one.pk]),
                replicas=replicas[str(one.pk)],
                url=admin_url(one),
            )
            for one in Organization.objects.order_by("slug")
        ]

    def roles(self, tx: Transaction) -> Sequence[RoleItem]:
        users: defaultdict[int, set[Any]] = defaultdict(set)
        members = UserOrganization.objects.filter(is_active=True)
        for group, user in members.values_list("group_id", "user_id"):
            users[group].add(user)
        for group, user in Group.user_set.through.objects.values_list(
            "group_id", f"{get_user_model()._meta.model_name}_id"
        ):
            users[group].add(user)
        return [
            RoleItem(
                name=one.name,
                template="custom",
                created_ms=0,
                users=len(users[one.pk]),
                url=admin_url(one),
            )
            for one in Group.objects.order_by("name")
        ]

    def users(self, tx: Transaction, q: str, place: int, limit: int) -> Sequence[UserItem]:
        model = get_user_model()
        name = model.USERNAME_FIELD
        found = model._default_manager.filter(**{f"{name}__icontains": q}).order_by(name)
        shown = list(found.prefetch_related("groups")[place : place + limit])
        held: defaultdict[Any, list[Held]] = defaultdict(list)
        members = UserOrganization.objects.filter(user__in=shown, is_active=True)
        for user, slug, group in members.order_by("organization__slug", "group__name").values_list(
            "user_id", "organization__slug", "group__name"
        ):
            held[user].append(Held(tenant=slug, role=group))
        log_ins = Counter(one.user_name for one in tx.records(SessionRecord))
        replicas = Counter(record.principal for record in tx.replicas())
        return [
            UserItem(
                name=user.get_username(),
                is_active=user.is_active,
                has_password=user.has_usable_password(),
                claims={
                    name: True
                    for name in ("is_superuser", "is_staff")
                    if getattr(user, name, False)
                },
                created_ms=_ms(getattr(user, "date_joined", None)),
                roles=[
                    *(Held(tenant=NO_TENANT, role=group.name) for group in user.groups.all()),
                    *held[user.pk],
                ],
                log_ins=log_ins[user.get_username()],
                replicas=replicas[user.get_username()],
                url=admin_url(user),
            )
            for user in shown
        ]


class DjangoFilters:
    """What narrows the permissions of groups: filters, and the conditions of permissions."""

    def __init__(self, tables: Mapping[str, TrackedModel]) -> None:
        self._models: dict[str, Any] = {}
        self._known = tables
        self._tables: dict[str, str] = {}
        for table, one in tables.items():
            if not one.model._meta.auto_created:
                self._models[owner_label(one.model)] = one.model
                self._tables[owner_label(one.model)] = table

    def filters(
        self, tenant: str | None, role: str | None, table: str | None
    ) -> Sequence[FilterItem]:
        asked = {"organization__slug": tenant, "group__name": role}
        where = {name: value for name, value in asked.items() if value is not None}
        order = ("organization__slug", "group__name", "model_name")
        narrowed = [
            self._item(one, one.filter_name, one.filter_condition, one.is_active)
            for one in DataFilter.objects.filter(**where)
            .select_related("organization", "group")
            .order_by(*order, "filter_name")
        ]
        narrowed += [
            self._item(one, "of the permission", one.filters, True)
            for one in ModelPermission.objects.filter(**where, filters__isnull=False)
            .select_related("organization", "group")
            .order_by(*order)
            if one.filters
        ]
        return [one for one in narrowed if table is None or one.table == table]

    def _item(self, one: Any, name: str, condition: Any, is_active: bool) -> FilterItem:
        model = self._models.get(one.model_name)
        conditions = (
            () if model is None else conditions_of(model, condition, name=name, known=self._known)
        )
        return FilterItem(
            tenant=one.organization.slug,
            role=one.group.name,
            table=self._tables.get(one.model_name, one.model_name),
            name=name,
            condition=msgspec.Raw(msgspec.json.encode(condition)),
            text=" & ".join(expression_text(each) for each in conditions),
            is_active=is_active,
            etag="",
            url=admin_url(one),
        )
