"""Django's users as a hub's directory.

    in an organization     roles are its group; ModelPermission and DataFilter say what it may do
    in none                roles are Django's groups; view, add, change and delete permissions do

What it is       the port `Directory` over Django's models. It is asked with every request, so that
                 whoever is deactivated, leaves a group or loses a permission does at once.
The rule         denied unless allowed: every tracked model is closed to whom nothing is granted,
                 and in an organization those without one are, but for SHARED_MODELS, to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import authenticate, get_user_model

from reunite.contrib.django.conf import setting
from reunite.contrib.django.discovery import TrackedModel, owner_column, tracked_models
from reunite.contrib.django.filters import conditions_of
from reunite.contrib.django.store import DjangoWriteTransaction
from reunite.core.expression import Expression, check_expression
from reunite.core.grants import FLAGS, Flags, Grants, granted
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.core.schema import TableSchema
from reunite.engine.directory import GRANTS_STAMP, NO_TENANT, Granting
from reunite.engine.ports import Transaction

if TYPE_CHECKING:
    from reunite.contrib.django.console import DjangoPermissions
    from reunite.contrib.django.people import DjangoFilters, DjangoPeople
    from reunite.engine.directory import Directory

# A claim of Django's superusers, which also nobody else can have.
SUPERUSER = "is_superuser"

# A claim of who writes by a program of the project's that gives no rows away: who may push a model
# may then change rows of it which it may not read.
BLIND = "writes_blind"

# Django's own permissions, and the flags that they give.
_FLAGS_BY_ACTION = {
    "view": ("pull", "read"),
    "add": ("push", "create"),
    "change": ("push", "update"),
    "delete": ("push", "delete"),
}
_SHARED = frozenset({"pull", "read"})


class DjangoDirectory:
    """Users, organizations and permissions of a project. Threads may share it."""

    def __init__(self, using: str) -> None:
        self._using = using

    @cached_property
    def _tables(self) -> Mapping[str, TrackedModel]:
        """Models and settings stay as they are while a process runs."""
        return tracked_models(self._using)

    # --- The port -----------------------------------------------------------------------------

    def stamp(self, tx: Transaction) -> str:
        return tx.stamp(GRANTS_STAMP)

    def grants(self, tx: Transaction, principal: Principal) -> Grants:
        if isinstance(tx, DjangoWriteTransaction):
            return tx.granted(principal, lambda: self._grants(principal, tx.schemas()))
        return self._grants(principal, tx.schemas())

    def _grants(self, principal: Principal, schemas: Mapping[str, TableSchema]) -> Grants:
        tables = self._tables
        if self._is_superuser(principal):
            return {} if principal.tenant is None else _without_tenant_closed(tables)
        parts = self._parts(principal, tables, schemas)
        return {
            table: granted([(flags, filters) for _, flags, filters in parts.get(table, ())])
            for table in tables
        }

    def granting(self, tx: Transaction, principal: Principal, table: str) -> Sequence[Granting]:
        tables = self._tables
        if table not in tables:
            return ()
        tenant = self._slug(principal)
        return [
            Granting(
                role=role,
                tenant=tenant,
                flags=flags,
                filters=tuple((f"filter {n}", one) for n, one in enumerate(filters, start=1)),
            )
            for role, flags, filters in self._parts(principal, tables, tx.schemas()).get(table, ())
        ]

    def member(self, tx: Transaction, user: str, tenant: str) -> Principal | None:
        found = _active_user(user)
        if found is None:
            return None
        memberships = _memberships(found)
        claims = {"pk": found.pk if isinstance(found.pk, int) else str(found.pk)}
        claims |= {SUPERUSER: bool(found.is_superuser), "is_staff": bool(found.is_staff)}
        if tenant == NO_TENANT:
            if memberships and not found.is_superuser:
                return None  # what organizations have is theirs, and what they have not is nobody's
            roles = tuple(found.groups.order_by("name").values_list("name", flat=True))
            return Principal(user=user, roles=roles, claims=claims)
        for one in memberships:
            if one.organization.slug == tenant:
                return Principal(
                    user=user,
                    tenant=one.organization_id,
                    roles=(one.group.name,),
                    claims=claims,
                )
        return None

    def tenants_of(self, tx: Transaction, user: str) -> Sequence[str]:
        found = _active_user(user)
        if found is None:
            return ()
        return [one.organization.slug for one in _memberships(found)] or [NO_TENANT]

    def tenant_named(self, tx: Transaction, tenant: str | int) -> str | None:
        from reunite.contrib.django.models import Organization

        text = str(tenant)
        if Organization.objects.filter(slug=text).exists() and not isinstance(tenant, int):
            return text
        return self.slug_of(text)

    def bars(self, tx: Transaction, principal: Principal) -> bool:
        from reunite.contrib.django.models import Organization

        model = get_user_model()
        name = {model.USERNAME_FIELD: principal.user}
        for user in model._default_manager.filter(**name):
            if not user.is_active:
                return True
        if not isinstance(principal.tenant, int):
            return False
        return Organization.objects.filter(pk=principal.tenant, is_active=False).exists()

    def knows(self, user: str, password: str) -> bool:
        return authenticate(None, username=user, password=password) is not None

    @cached_property
    def permissions_kept(self) -> DjangoPermissions:
        """The matrix of the console."""
        from reunite.contrib.django.console import DjangoPermissions, keep_hub_acts

        hub = apps.get_app_config("reunite").hub(self._using)
        return DjangoPermissions(self._using, partial(keep_hub_acts, hub), self.previewed)

    @cached_property
    def people_kept(self) -> DjangoPeople:
        """The lists of the console: users, organizations and groups."""
        from reunite.contrib.django.people import DjangoPeople

        return DjangoPeople()

    @cached_property
    def filters_kept(self) -> DjangoFilters:
        """The list of filters of the console."""
        from reunite.contrib.django.people import DjangoFilters

        return DjangoFilters(self._tables)

    def previewed(self, tenant: int, group: str, table: str, flags: Flags) -> Rules:
        """What this group could do with a table in an organization if it had these flags."""
        principal = Principal(user=" ", tenant=tenant, roles=(group,))
        parts = _by_organization(principal, self._tables, {}, instead={table: flags})
        return granted([(found, filters) for _, found, filters in parts.get(table, ())])

    # --- For requests -----------------------------------------------------------------------------

    def now(self, tx: Transaction, principal: Principal) -> Principal | None:
        """A principal as it is now; None for who may not come any more."""
        return self.member(tx, principal.user, self._slug(principal))

    def slug_of(self, organization: str) -> str | None:
        """The name of the organization with this id, as a header spells it."""
        from reunite.contrib.django.models import Organization

        if not (organization.isascii() and organization.isdecimal()):
            return None
        found = Organization.objects.filter(pk=int(organization)).values_list("slug", flat=True)
        return next(iter(found), None)

    def _slug(self, principal: Principal) -> str:
        from reunite.contrib.django.models import Organization

        if principal.tenant is None:
            return NO_TENANT
        found = Organization.objects.filter(pk=principal.tenant).values_list("slug", flat=True)
        # A name that no organization can have.
        return next(iter(found), " ")

    # --- What is stored -------------------------------------------------------------------------

    def _is_superuser(self, principal: Principal) -> bool:
        return principal.claims.get(SUPERUSER) is True

    def _parts(
        self,
        principal: Principal,
        tables: Mapping[str, TrackedModel],
        schemas: Mapping[str, TableSchema],
    ) -> dict[str, list[tuple[str, Flags, Sequence[Expression]]]]:
        """What each role gives, by table."""
        if principal.tenant is None:
            return _by_django(principal, tables)
        return _by_organization(principal, tables, schemas)


def _active_user(name: str) -> Any:
    model = get_user_model()
    try:
        found = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        return None
    return found if found.is_active else None


def _memberships(user: Any) -> Sequence[Any]:
    from reunite.contrib.django.models import UserOrganization

    return list(
        UserOrganization.objects.filter(user=user, is_active=True, organization__is_active=True)
        .select_related("organization", "group")
        .order_by("organization__slug")
    )


def _without_tenant_closed(tables: Any) -> Grants:
    """For a superuser in an organization: everything in it, and what all share, to be read."""
    shared = set(setting("SHARED_MODELS"))
    found: dict[str, Rules] = {}
    for table, one in tables.items():
        if one.tenant is None:
            found[table] = Rules(read=True) if one.label in shared else Rules()
    return found


def _by_django(
    principal: Principal, tables: Any
) -> dict[str, list[tuple[str, Flags, Sequence[Expression]]]]:
    user = _active_user(principal.user)
    if user is None:
        return {}
    held = user.get_all_permissions()
    found: dict[str, list[tuple[str, Flags, Sequence[Expression]]]] = {}
    for table, one in tables.items():
        # A many-to-many table is a part of the model that declares it.
        meta = (one.model._meta.auto_created or one.model)._meta
        flags = dict.fromkeys(FLAGS, False)
        for action, given in _FLAGS_BY_ACTION.items():
            if f"{meta.app_label}.{action}_{meta.model_name}" in held:
                flags |= dict.fromkeys(given, True)
            elif one.model._meta.auto_created and f"{meta.app_label}.change_{meta.model_name}" in (
                held
            ):
                flags |= dict.fromkeys(given, action != "view")
        if any(flags.values()):
            found[table] = [("django", Flags(**flags), ())]
    return found


def _by_organization(
    principal: Principal,
    tables: Any,
    schemas: Mapping[str, TableSchema],
    instead: Mapping[str, Flags] | None = None,
) -> dict[str, list[tuple[str, Flags, Sequence[Expression]]]]:
    """What each group gives, by table.

    schemas    of tables by name; filters that do not fit theirs deny, and the log says so
    instead    flags of tables, for those that are stored
    """
    from reunite.contrib.django.models import DataFilter, ModelPermission

    shared = set(setting("SHARED_MODELS"))
    where = {
        "organization_id": principal.tenant,
        "organization__is_active": True,
        "group__name__in": list(principal.roles),
    }
    filters: dict[tuple[int, str], list[DataFilter]] = {}
    for data_filter in DataFilter.objects.filter(**where, is_active=True):
        filters.setdefault((data_filter.group_id, data_filter.model_name), []).append(data_filter)
    by_label: dict[str, list[ModelPermission]] = {}
    for permission in ModelPermission.objects.filter(**where).select_related("group"):
        by_label.setdefault(permission.model_name, []).append(permission)
    for table, wished in (instead or {}).items():
        _pretend(by_label, principal, owner_label(tables[table].model), wished)
    found: dict[str, list[tuple[str, Flags, Sequence[Expression]]]] = {}
    for table, one in tables.items():
        owner = one.model._meta.auto_created or one.model
        for permission in by_label.get(owner._meta.label, ()):
            flags = {name: getattr(permission, f"can_{name}") for name in FLAGS}
            if principal.claims.get(BLIND) is True and flags["push"]:
                flags |= {"pull": True, "read": True}
            if one.tenant is None:
                is_shared = one.label in shared
                flags = {
                    name: value and is_shared and name in _SHARED for name, value in flags.items()
                }
            through = owner_column(one.model) if one.model._meta.auto_created else None
            fits = _fits(table, schemas)
            stored = filters.get((permission.group_id, permission.model_name), ())
            named = [(f.filter_name, f.filter_condition) for f in stored]
            if permission.filters:
                named.insert(0, ("permission", permission.filters))
            expressions = [
                expression
                for name, condition in named
                for expression in conditions_of(
                    owner, condition, name=name, through=through, known=tables, fits=fits
                )
            ]
            found.setdefault(table, []).append(
                (permission.group.name, Flags(**flags), tuple(expressions))
            )
    return found


def _fits(
    table: str, schemas: Mapping[str, TableSchema]
) -> Callable[[Expression], Expression] | None:
    """What raises for expressions that the table's rows cannot be asked; None where nobody knows
    the table."""
    if table not in schemas:
        return None
    return partial(
        check_expression, schema=schemas[table], path="filter", knows_user=True, schemas=schemas
    )


def owner_label(model: Any) -> str:
    """The model that permissions for this one are given for: a many-to-many table goes with the
    model that declares it."""
    return str((model._meta.auto_created or model)._meta.label)


def _pretend(
    by_label: dict[str, list[Any]], principal: Principal, label: str, flags: Flags
) -> None:
    """Have the permissions for a model as if they had these flags; nothing is stored."""
    from django.contrib.auth.models import Group

    from reunite.contrib.django.models import ModelPermission, Organization

    if not by_label.get(label):
        if not Organization.objects.filter(pk=principal.tenant, is_active=True).exists():
            return
        by_label[label] = [
            ModelPermission(group=group, model_name=label)
            for group in Group.objects.filter(name__in=list(principal.roles))
        ]
    for permission in by_label[label]:
        for name in FLAGS:
            setattr(permission, f"can_{name}", getattr(flags, name))


if TYPE_CHECKING:

    def _as_port(directory: DjangoDirectory) -> Directory:
        return directory
