"""The console in a Django project, which `console_urls.py` has the addresses of.

    staff of the project ──► may look      superusers, and who may change permissions ──► may change

What it is       the console's own application behind Django's sessions and its protection against
                 forged requests; and the matrix over the project's organizations and groups.
What it is not   a log-in: who is nobody is sent to Django's.
The rule         who may come is Django's user of this request, asked each time.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.csrf import csrf_exempt
from starlette.requests import Request
from starlette.types import ASGIApp

from reunite.console import create_console_app
from reunite.console.permissions import CellAsked, RoleColumn
from reunite.console.visitors import READ, RIGHTS, LogIn, Visitor
from reunite.contrib.django.asking import check_not_forged
from reunite.contrib.django.conf import setting
from reunite.contrib.django.discovery import tracked_models
from reunite.contrib.django.exchange import Exchange
from reunite.contrib.django.hubs import DjangoHub
from reunite.contrib.django.models import (
    DataFilter,
    ModelPermission,
    Organization,
    UserOrganization,
)
from reunite.contrib.django.tidying import in_request
from reunite.contrib.django.views import REQUEST, Always, scope_of
from reunite.core.grants import FLAGS, Flags
from reunite.core.rules import Rules
from reunite.directory.noting import Act, acting_by, keep_acts
from reunite.engine.ports import Transaction
from reunite.errors import BadRequestError, NotAllowedError, NotAuthenticatedError
from reunite.hub import SystemClock, random_id

# Django's permission with which staff may change things here.
CHANGE = "reunite.change_modelpermission"


class DjangoGate:
    """Lets in the project's staff."""

    def login(self, request: Request) -> LogIn:
        try:
            url = reverse("admin:login")
        except NoReverseMatch:
            url = resolve_url(settings.LOGIN_URL)
        base = request.scope.get("root_path", "")
        return LogIn(password=False, url=f"{url}?next={base}/")

    def visitor(self, request: Request) -> Visitor:
        asked: HttpRequest = request.scope[REQUEST]
        user = getattr(asked, "user", None)
        if user is None or not user.is_authenticated:
            raise NotAuthenticatedError("Log in to this site.")
        if not (user.is_active and user.is_staff):
            raise NotAllowedError("The console is for the staff of this site.")
        return Visitor(
            user=user.get_username(),
            can=RIGHTS if user.has_perm(CHANGE) else (READ,),
            via="host",
            csrf=get_token(asked),
            csrf_header="X-CSRFToken",
        )

    def check_forgery(self, request: Request, visitor: Visitor) -> None:
        check_not_forged(request.scope[REQUEST])


@csrf_exempt
async def console(request: HttpRequest, path: str = "", using: str = "default") -> HttpResponseBase:
    """The console of one of the project's databases."""
    if using not in setting("DATABASES") or using not in connections:
        raise Http404
    app = _app_of(apps.get_app_config("reunite").hub(using))
    return await Exchange(request).carry(app, scope_of(request, path))


console._non_atomic_requests = Always()


def page(request: HttpRequest, to: str, **names: Any) -> HttpResponseBase:
    """The page that an address of sb-sync's means."""
    # The project may have the console in two places: this is about the one that was asked.
    match = request.resolver_match
    assert match is not None, "it was found by its address"
    base = reverse(f"{match.namespace}:console", kwargs={"path": ""})
    tenant = ""
    if "organization" in names:
        found = Organization.objects.filter(pk=names["organization"]).values_list("slug", flat=True)
        if not found:
            raise Http404
        tenant = f"?tenant={found[0]}"
    return HttpResponseRedirect(f"{base}{to}{tenant}")


@functools.lru_cache(maxsize=20)
def _app_of(hub: DjangoHub) -> ASGIApp:
    return create_console_app(hub, gate=DjangoGate(), streams=None, run=_run)


async def _run(work: Callable[[], Any]) -> Any:
    return await sync_to_async(functools.partial(in_request, work), thread_sensitive=True)()


class DjangoPermissions:
    """Permissions of groups in organizations, by table. A table of many-to-many rows has none of
    its own: it has those of the model that declares it."""

    def __init__(
        self,
        using: str,
        note: Callable[[Sequence[Act]], None],
        previewed: Callable[[int, str, str, Flags], Rules],
    ) -> None:
        self._labels = {
            table: one.model._meta.label
            for table, one in tracked_models(using).items()
            if not one.model._meta.auto_created
        }
        self._note, self._previewed = note, previewed

    def tenants(self, tx: Transaction) -> list[str]:
        return list(Organization.objects.order_by("slug").values_list("slug", flat=True))

    def roles(self, tx: Transaction, tenant: str) -> list[RoleColumn]:
        users = Counter(
            UserOrganization.objects.filter(organization__slug=tenant, is_active=True).values_list(
                "group__name", flat=True
            )
        )
        return [
            RoleColumn(name=name, template="custom", users=users[name])
            for name in Group.objects.order_by("name").values_list("name", flat=True)
        ]

    def cells(self, tx: Transaction, tenant: str) -> dict[tuple[str, str], Flags]:
        stored = {
            (one.group.name, one.model_name): one
            for one in ModelPermission.objects.filter(organization__slug=tenant).select_related(
                "group"
            )
        }
        by_label: dict[str, list[str]] = {}
        for table, label in self._labels.items():
            by_label.setdefault(label, []).append(table)
        return {
            (group, table): Flags(**{name: getattr(one, f"can_{name}") for name in FLAGS})
            for (group, label), one in stored.items()
            for table in by_label.get(label, ())
        }

    def filters(self, tx: Transaction, tenant: str) -> Counter[tuple[str, str]]:
        found = Counter(
            DataFilter.objects.filter(organization__slug=tenant).values_list(
                "group__name", "model_name"
            )
        )
        return Counter(
            {
                (group, table): count
                for (group, label), count in found.items()
                for table, own in self._labels.items()
                if own == label
            }
        )

    def keep(
        self,
        cells: Sequence[tuple[str, str, str, Flags | None]],
        *,
        check: Callable[[Transaction], None],
        actor: str,
    ) -> None:
        with transaction.atomic():
            # Nobody else changes one between the look and the change.
            list(ModelPermission.objects.select_for_update().values_list("pk", flat=True))
            check(None)  # type: ignore[arg-type]
            acts = [self._keep_one(*cell) for cell in cells]
        with acting_by(actor):
            self._note([act for act in acts if act is not None])

    def tenant_value(self, tx: Transaction, tenant: str) -> str | int | None:
        found = Organization.objects.filter(slug=tenant).values_list("pk", flat=True)
        if not found:
            raise BadRequestError(f"There is no organization {tenant!r}.", path="tenant")
        return int(found[0])

    def rules(self, tx: Transaction, asked: CellAsked) -> Rules:
        if asked.table not in self._labels:
            raise _no_own_table(asked.table)
        organization = self.tenant_value(tx, asked.tenant)
        assert isinstance(organization, int)
        flags = asked.flags or Flags()
        return self._previewed(organization, asked.role, asked.table, flags)

    def _keep_one(self, role: str, table: str, tenant: str, flags: Flags | None) -> Act | None:
        label = self._labels.get(table)
        if label is None:
            raise _no_own_table(table)
        group = Group.objects.filter(name=role).first()
        organization = Organization.objects.filter(slug=tenant).first()
        if group is None or organization is None:
            raise BadRequestError(
                "There is no such group, or organization: Django's admin makes them.", path="role"
            )
        where = {"group": group, "organization": organization, "model_name": label}
        former = ModelPermission.objects.filter(**where).first()
        before = None if former is None else former.flags()
        now = None if flags is None else {f"can_{name}": getattr(flags, name) for name in FLAGS}
        if before == now:
            return None
        if now is None:
            ModelPermission.objects.filter(**where).delete()
        else:
            ModelPermission.objects.update_or_create(**where, defaults=now)
        what = "removed" if now is None else "added" if before is None else "changed"
        return Act(f"permission.{what}", f"{tenant} · {role} · {label}", before, now)


def _no_own_table(table: str) -> BadRequestError:
    return BadRequestError(
        f"No model has the table {table!r} as its own: many-to-many rows go with the model that "
        "declares them.",
        path="table",
    )


def keep_hub_acts(hub: DjangoHub, acts: Sequence[Act]) -> None:
    """Note what was done to a project's permissions in the database of its hub."""
    if acts:
        with hub.workings.store.write() as tx:
            keep_acts(tx, acts, at_ms=SystemClock().now_ms(), new_id=random_id())
