"""Who asks and for which organization; and what a request's body says.

    Authorization: Bearer …          the token's user, as the database knows it now; else whom
                                     classes of Django REST Framework know (`framework`)
    X-Organization, "organization"   one of that user's, by slug or id, where there are several

The rule         a body is read only up to a limit, and is an object of JSON or nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from django.http import HttpRequest

from reunite.contrib.django.asking import ORGANIZATION_HEADER
from reunite.contrib.django.models import Organization, UserOrganization
from reunite.dropin.sb_sync import framework
from reunite.dropin.sb_sync.conf import named, value
from reunite.dropin.sb_sync.errors import ForeignTokenError, SyncError, TokenError
from reunite.dropin.sb_sync.tokens import user_of_token


class Member(NamedTuple):
    """A user in an organization, with the name of its group there."""

    user: Any
    organization: Organization
    group: str

    @property
    def using(self) -> str:
        """The database that is synced: the one with the organizations."""
        return str(self.organization._state.db or "default")


def asking_user(request: HttpRequest) -> Any:
    """The user who asks. Raises TokenError, SyncError."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user, refusal = None, TokenError("Authentication credentials were not provided.")
    if scheme.lower() == "bearer" and token.strip():
        try:
            user = user_of_token(token.strip())
        except ForeignTokenError as error:
            refusal = error
    return framework.admitted(request, user, refusal)


def memberships_of(user: Any) -> list[UserOrganization]:
    """Where a user is an active member of an active organization, by slug."""
    return list(
        UserOrganization.objects.filter(user=user, is_active=True, organization__is_active=True)
        .select_related("organization", "group")
        .order_by("organization__slug")
    )


def member_of(request: HttpRequest, user: Any, body: dict[str, Any]) -> Member:
    """The user in the organization of this request. Raises SyncError."""
    found = memberships_of(user)
    wanted = request.headers.get(ORGANIZATION_HEADER) or body.get("organization")
    if wanted is not None:
        name = str(wanted)
        found = [one for one in found if name in (one.organization.slug, str(one.organization_id))]
    if not found:
        raise SyncError("authorization", "You are in no organization that may sync here.")
    if len(found) > 1:
        raise SyncError(
            "validation",
            f"Say for which organization in the header {ORGANIZATION_HEADER}.",
            context={"organizations": [one.organization.slug for one in found]},
        )
    (one,) = found
    return Member(user=user, organization=one.organization, group=one.group.name)


def check_enabled() -> None:
    """Raises SyncError while the API is switched off."""
    if not value("CORE", "ENABLED"):
        raise SyncError("configuration", "Sync is switched off here.")


def body_of(request: HttpRequest, *, bytes_max: int | None = None) -> dict[str, Any]:
    """The object that a request's body holds. Raises SyncError."""
    raw = _read(request, named("SB_SYNC_MAX_BODY") if bytes_max is None else bytes_max)
    try:
        found = msgspec.json.decode(raw or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise SyncError("validation", "The body is no JSON.") from None
    if not isinstance(found, dict):
        raise SyncError("validation", "The body is no object of JSON.")
    return found


def _read(request: HttpRequest, bytes_max: int) -> bytes:
    too_large = SyncError(
        "validation", f"A body has at most {bytes_max} bytes: send less at a time.", status=413
    )
    try:
        announced = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        announced = 0
    if announced > bytes_max:
        raise too_large
    try:
        # Not `request.body`, whose own limit is that of a project's forms.
        raw = request.read(bytes_max + 1)
    except OSError:
        raise SyncError("network", "The body did not arrive.") from None
    if len(raw) > bytes_max:
        raise too_large
    return raw
