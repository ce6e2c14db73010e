"""Who sent a request: the holder of a token of the hub's, or who is logged in to Django.

    Authorization: Bearer …    a token from `POST v1/token` or `manage.py reunite token`
    a session of Django's      with Django's protection against forged requests

The rule         whoever it is, the directory says who that is now: a user who was deactivated, or
                 left the organization, is nobody.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

from reunite.contrib.django.hubs import DjangoHub
from reunite.core.principal import Principal
from reunite.errors import NotAllowedError, NotAuthenticatedError

# The header in which a user with several organizations chooses one, by slug or id.
ORGANIZATION_HEADER = "X-Organization"

_NOBODY = (
    "Send a token in the header `Authorization: Bearer …`, or log in to this site; `POST v1/token` "
    "gives a token for a name and a password."
)


def sender_of(request: HttpRequest, hub: DjangoHub) -> Principal:
    """Who sent a request. Raises NotAuthenticatedError, NotAllowedError."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return _holder(token.strip(), hub)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise NotAuthenticatedError(_NOBODY)
    check_not_forged(request)
    return _member(user.get_username(), request.headers.get(ORGANIZATION_HEADER), hub)


def check_not_forged(request: HttpRequest) -> None:
    """Raise NotAllowedError for a request with a session whose CSRF token is missing or wrong."""
    guard = _CsrfGuard(lambda _: None)
    guard.process_request(request)
    if guard.process_view(request, None, (), {}) is not None:
        raise NotAllowedError(
            "A request with a session needs Django's CSRF token in the header X-CSRFToken."
        )


class _CsrfGuard(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def _holder(token: str, hub: DjangoHub) -> Principal:
    found = hub.authenticate(token)
    with hub.reading() as tx:
        now = hub.users.now(tx, found)
    if now is None:
        raise NotAuthenticatedError("The user of this token may not come any more.")
    return now


def _member(user: str, wanted: str | None, hub: DjangoHub) -> Principal:
    with hub.reading() as tx:
        names = list(hub.users.tenants_of(tx, user))
        if wanted:
            names = [name for name in names if name in (wanted, hub.users.slug_of(wanted))]
        if len(names) > 1:
            raise NotAllowedError(
                f"Say for which organization in the header {ORGANIZATION_HEADER}: you are in "
                f"{', '.join(names)}."
            )
        found = hub.users.member(tx, user, names[0]) if names else None
    if found is None:
        raise NotAllowedError("You are in no organization that may sync here.")
    return found
