"""The two addresses at which sb-sync's own pages change permissions: one flag, or many at once.

    POST permissions/update/        {organization_id, group_id, model_name, permission_type, value}
    POST permissions/bulk-update/   {organization_id, group_id, permissions: [{model_name,
                                     permission_type, value, group_id?}, …]}

What it is       for scripts that a project has; the console itself has an API of its own.
The rule         only the six flags, only of what is named, all of a request or nothing of it; for
                 whom the console lets change things, with the token against forged requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from reunite.contrib.django.console import CHANGE
from reunite.contrib.django.middleware import acting_as
from reunite.contrib.django.models import ModelPermission, Organization
from reunite.contrib.django.signals import noting_once
from reunite.errors import BadRequestError

# Changes in one request.
CHANGES_MAX = 10_000

# The largest primary key that every database has.
_ID_MAX = 2**31 - 1


def _answering(change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[..., Any]:
    """A view of a change: refusals are told in the answer, as sb-sync's pages expect."""

    def view(request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)
        if user is None or not (user.is_active and user.is_staff and user.has_perm(CHANGE)):
            told = {"success": False, "error": "Permissions are changed by who may: log in."}
            return JsonResponse(told, status=403)
        try:
            given = json.loads(request.body)
            if not isinstance(given, dict):
                raise BadRequestError("The body is no object of JSON.")
            with acting_as(user), transaction.atomic(), noting_once():
                return JsonResponse({"success": True, **change(given)})
        except BadRequestError as error:
            return JsonResponse({"success": False, "error": error.message})
        except ValueError:
            return JsonResponse({"success": False, "error": "The body is no JSON."})

    return require_POST(csrf_protect(view))


def _update(given: Mapping[str, Any]) -> dict[str, Any]:
    row = _set(given, _organization(given), given.get("group_id"))
    permission = {
        "organization_id": row.organization_id,
        "group_id": row.group_id,
        "model_name": row.model_name,
        **row.flags(),
    }
    return {"message": f"Permission for {row.model_name} updated", "permission": permission}


def _update_many(given: Mapping[str, Any]) -> dict[str, Any]:
    changes = given.get("permissions")
    if not isinstance(changes, list) or len(changes) > CHANGES_MAX:
        raise BadRequestError(f"permissions: a list of at most {CHANGES_MAX} changes.")
    organization = _organization(given)
    for one in changes:
        if not isinstance(one, dict):
            raise BadRequestError("permissions: each change is an object.")
        _set(one, organization, one.get("group_id", given.get("group_id")))
    return {
        "message": f"{len(changes)} permissions updated",
        "updated_count": len(changes),
    }


def _organization(given: Mapping[str, Any]) -> Organization:
    found: Organization = _found(Organization, given.get("organization_id"), "organization")
    return found


def _set(given: Mapping[str, Any], organization: Organization, group_id: Any) -> ModelPermission:
    """One flag of one group for one model. A row that is made has no other flag."""
    flag, value = given.get("permission_type"), given.get("value")
    if flag not in ModelPermission.FLAGS:
        raise BadRequestError(f"permission_type: one of {', '.join(ModelPermission.FLAGS)}.")
    if not isinstance(value, bool):
        raise BadRequestError("value: true or false.")
    try:
        label = str(apps.get_model(given.get("model_name"))._meta.label)
    except (LookupError, ValueError, AttributeError, TypeError):
        raise BadRequestError("model_name: there is no such model.") from None
    row, _ = ModelPermission.objects.select_for_update().get_or_create(
        organization=organization,
        group=_found(Group, group_id, "group"),
        model_name=label,
        defaults=dict.fromkeys(ModelPermission.FLAGS, False),
    )
    setattr(row, flag, value)
    row.save()
    return row


def _found(model: Any, pk: Any, name: str) -> Any:
    if isinstance(pk, str) and pk.isascii() and pk.isdecimal():
        pk = int(pk[:11])
    is_id = isinstance(pk, int) and not isinstance(pk, bool) and 0 < pk <= _ID_MAX
    found = model.objects.filter(pk=pk).first() if is_id else None
    if found is None:
        raise BadRequestError(f"{name}_id: there is no such {name}.")
    return found


update_permission = _answering(_update)
bulk_update_permissions = _answering(_update_many)
