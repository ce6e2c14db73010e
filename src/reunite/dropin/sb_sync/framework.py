"""Classes of Django REST Framework, where the project names some: who else may come, and what all
who come must pass.

    SB_SYNC_AUTHENTICATION_CLASSES, else REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]
    SB_SYNC_PERMISSION_CLASSES,     else REST_FRAMEWORK["DEFAULT_PERMISSION_CLASSES"]

What it is       asked after the API's own tokens, which always count. Nothing is imported of the
                 framework, and it need not be installed, as long as no class is named.
What it is not   the framework's defaults: a class that the project does not name decides nothing,
                 so no session opens the API by itself.
The rule         classes that cannot be used let nobody in; `manage.py check` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from reunite.dropin.sb_sync.conf import named
from reunite.dropin.sb_sync.errors import SyncError, TokenError

# Our setting, and the framework's that counts where ours is None.
AUTHENTICATION = ("SB_SYNC_AUTHENTICATION_CLASSES", "DEFAULT_AUTHENTICATION_CLASSES")
PERMISSION = ("SB_SYNC_PERMISSION_CLASSES", "DEFAULT_PERMISSION_CLASSES")


def admitted(request: HttpRequest, user: Any, refusal: TokenError) -> Any:
    """The user who asks, if the project's classes have nothing against it.

    user      who the API's own token says; None for a request without one
    refusal   what is raised if nobody else knows who asks either

    Raises TokenError, SyncError.
    """
    try:
        ways = () if user is not None else classes(AUTHENTICATION)
        conditions = classes(PERMISSION)
    except ImportError as error:
        raise SyncError(
            "configuration", "The classes that decide who may come cannot be used."
        ) from error
    if user is None and not ways:
        raise refusal
    return _asked(request, user, ways, conditions, refusal) if ways or conditions else user


def classes(setting: tuple[str, str]) -> Sequence[Any]:
    """The classes that the project names. Raises ImportError for one that there is not."""
    ours, frameworks = setting
    found = named(ours)
    if found is None:
        found = (getattr(settings, "REST_FRAMEWORK", None) or {}).get(frameworks, ())
    return [import_string(one) if isinstance(one, str) else one for one in found]


def _asked(
    request: HttpRequest,
    user: Any,
    ways: Sequence[Any],
    conditions: Sequence[Any],
    refusal: TokenError,
) -> Any:
    """Ask them as the framework does before a view of its own."""
    from rest_framework.exceptions import (
        APIException,
        AuthenticationFailed,
        NotAuthenticated,
    )
    from rest_framework.request import Request
    from rest_framework.views import APIView

    asked = Request(request, parsers=[_Unread()], authenticators=[way() for way in ways])
    view = APIView()
    view.request, view.args, view.kwargs = asked, (), {}
    view.permission_classes = conditions
    try:
        if user is not None:
            asked.user = user
        found = asked.user
        if not (found is not None and found.is_authenticated and found.is_active):
            raise refusal
        view.check_permissions(asked)
    except (AuthenticationFailed, NotAuthenticated) as error:
        raise TokenError(str(error.detail)) from None
    except APIException as error:
        raise SyncError("authorization", str(error.detail)) from None
    return found


class _Unread:
    """A parser that leaves the body for the API, so that classes see none of it."""

    media_type = "*/*"

    def parse(self, *_: Any) -> dict[str, Any]:
        """What classes see of a body: nothing."""
        return {}
