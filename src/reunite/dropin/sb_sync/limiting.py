"""How often somebody may ask: counted in Django's cache, so that processes share what it shares.

    requests     RATE_LIMIT_REQUESTS in RATE_LIMIT_WINDOW seconds, for each user
    log-ins      LOGINS_MAX in a minute that fail, from each address

The rule         a cache that does not answer limits nobody; it keeps nobody out either.
"""

from __future__ import annotations

import hashlib
import time

from django.core.cache import cache
from django.http import HttpRequest

from reunite.dropin.sb_sync.conf import value
from reunite.dropin.sb_sync.errors import TooManyError

# Attempts to log in that may fail in LOGINS_WINDOW_S seconds, from one address.
LOGINS_MAX = 10
LOGINS_WINDOW_S = 60


def count_request(user: str) -> None:
    """Count a request of a user. Raises TooManyError for one too many."""
    if not value("SECURITY", "ENABLE_RATE_LIMITING"):
        return
    most = int(value("SECURITY", "RATE_LIMIT_REQUESTS"))
    window_s = max(1, int(value("SECURITY", "RATE_LIMIT_WINDOW")))
    if _count("requests", user, window_s) > most:
        raise TooManyError(
            f"At most {most} requests in {window_s} seconds.", retry_after_s=window_s
        )


def check_login(request: HttpRequest) -> None:
    """Raises TooManyError if too many log-ins from this address have failed."""
    if _counted("logins", _address(request), LOGINS_WINDOW_S) >= LOGINS_MAX:
        raise TooManyError(
            f"At most {LOGINS_MAX} failed log-ins in {LOGINS_WINDOW_S} seconds.",
            retry_after_s=LOGINS_WINDOW_S,
        )


def count_failed_login(request: HttpRequest) -> None:
    """Count a log-in that failed."""
    _count("logins", _address(request), LOGINS_WINDOW_S)


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def _count(what: str, whose: str, window_s: int) -> int:
    """One more; how many there are in this window."""
    name = _name(what, whose, window_s)
    cache.add(name, 0, timeout=2 * window_s)
    try:
        return int(cache.incr(name))
    except ValueError:  # it was dropped in between
        return 1


def _counted(what: str, whose: str, window_s: int) -> int:
    return int(cache.get(_name(what, whose, window_s), 0))


def _name(what: str, whose: str, window_s: int) -> str:
    # Names of users have characters that a cache's keys may not have.
    who = hashlib.blake2b(whose.encode("utf-8", "replace"), digest_size=12).hexdigest()
    return f"sb_sync:{what}:{who}:{int(time.time()) // window_s}"
