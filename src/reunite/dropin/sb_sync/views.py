"""The API's views: one request in, one answer in JSON out.

    POST auth/token/     a name and a password for a token

The rule         what goes wrong is answered in the shapes of `errors`; what nobody expected is
                 logged here and answered without a word of it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from django.contrib.auth import authenticate
from django.db import Error as DjangoError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from reunite.contrib.django.views import Always
from reunite.dropin.sb_sync.asking import body_of, check_enabled, memberships_of
from reunite.dropin.sb_sync.errors import SyncError, TokenError, TooManyError
from reunite.dropin.sb_sync.limiting import check_login, count_failed_login
from reunite.dropin.sb_sync.tokens import make_token
from reunite.errors import ReuniteError, StorageUnavailableError

logger = logging.getLogger("sb_sync")

# A name and a password.
_TOKEN_BYTES_MAX = 64 * 1024

View = Callable[[HttpRequest], HttpResponse]


def answering(method: str) -> Callable[[View], View]:
    """Decorate a view of the API, for one method: errors are answered, and no session counts, so
    that no page of others can ask in somebody's name."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        def answer(request: HttpRequest) -> HttpResponse:
            if request.method != method:
                refused = SyncError("validation", f"Send this by {method}.", status=405).answer()
                refused["Allow"] = method
                return refused
            return _answered(view, request)

        # What a request stores is stored whole by itself.
        answer._non_atomic_requests = Always()
        return answer

    return decorate


def _answered(view: View, request: HttpRequest) -> HttpResponse:
    try:
        return view(request)
    except (SyncError, TokenError, TooManyError) as refusal:
        return refusal.answer()
    except (StorageUnavailableError, DjangoError):
        logger.exception("the database failed in %s", request.path)
        return SyncError("database", "The database cannot be used for the moment.").answer()
    except ReuniteError as error:
        return SyncError("validation", error.message).answer()
    except Exception:
        logger.exception("unexpected in %s", request.path)
        return SyncError("unknown", "Something unexpected happened; it was logged.").answer()


@answering("POST")
def token(request: HttpRequest) -> HttpResponse:
    """`POST auth/token/`: `{username, password}`, as JSON or as a form."""
    check_enabled()
    check_login(request)
    given = _credentials(request)
    missing = [name for name in ("username", "password") if not given.get(name)]
    if missing:
        raise SyncError(
            "validation",
            f"There is no {' and no '.join(missing)}.",
            context={"missing_fields": missing},
        )
    name, password = str(given["username"]), str(given["password"])
    user = authenticate(request, username=name, password=password)
    if user is None:
        count_failed_login(request)
        raise SyncError(
            "authentication", "This name and password do not match.", context={"username": name}
        )
    return JsonResponse(
        {
            "token": make_token(user),
            "user": {
                "id": user.pk,
                "username": user.get_username(),
                "email": getattr(user, user.get_email_field_name(), ""),
            },
            "organizations": [
                {
                    "id": one.organization_id,
                    "name": one.organization.name,
                    "slug": one.organization.slug,
                    "group": one.group.name,
                }
                for one in memberships_of(user)
            ],
        }
    )


def _credentials(request: HttpRequest) -> Any:
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        if int(request.META.get("CONTENT_LENGTH") or 0) > _TOKEN_BYTES_MAX:
            raise SyncError("validation", "A name and a password are shorter.", status=413)
        return request.POST
    return body_of(request, bytes_max=_TOKEN_BYTES_MAX)
