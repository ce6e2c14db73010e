"""How the API does: `GET performance/` for who has a token, `GET health/` for everybody.

The rule         `health/` answers whatever is down; it is 503 only where `?strict=1` asks for that.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from reunite.dropin.sb_sync import health as looking
from reunite.dropin.sb_sync import monitoring
from reunite.dropin.sb_sync.asking import asking_user, check_enabled
from reunite.dropin.sb_sync.errors import SyncError
from reunite.dropin.sb_sync.limiting import count_request
from reunite.dropin.sb_sync.views import answering

DAYS_DEFAULT = 7
DAYS_MAX = 3_650


@answering("GET")
def performance(request: HttpRequest) -> HttpResponse:
    """`GET performance/?days=7`: what pushes and pulls of all organizations took."""
    check_enabled()
    user = asking_user(request)
    count_request(str(user.pk))
    return JsonResponse(monitoring.report(_days(request.GET.get("days"))))


@answering("GET")
def health(request: HttpRequest) -> HttpResponse:
    """`GET health/`."""
    found = looking.report()
    is_strict = request.GET.get("strict") == "1"
    is_down = found["status"] == looking.UNHEALTHY
    return JsonResponse(found, status=503 if is_strict and is_down else 200)


def _days(given: str | None) -> int:
    if given is None:
        return DAYS_DEFAULT
    if not (given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= DAYS_MAX):
        raise SyncError("validation", f"days: a number from 1 to {DAYS_MAX}.")
    return int(given)
