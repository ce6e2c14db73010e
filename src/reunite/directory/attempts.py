"""Attempts to log in: how many may fail, for each name and from each address.

The rule         an attempt counts before its password is looked at, so that many at once are no
                 way around; one that succeeds is given back. A name that there is not counts like
                 any other.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable

from reunite.errors import LimitExceededError
from reunite.protocol.limits import LOGIN_RATE_MAX

_WINDOW_S = 60.0

# Names and addresses that are remembered. Beyond, those whose time is over go, then the oldest.
_KEPT_MAX = 20_000


class Attempts:
    """Counts attempts of one process. Threads may share it."""

    def __init__(self, *, now_s: Callable[[], float], rate_max: int = LOGIN_RATE_MAX) -> None:
        self._now_s = now_s
        self._rate_max = rate_max
        self._lock = threading.Lock()
        # How many are left, and since when.
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def begin(self, name: str, address: str) -> Callable[[], None]:
        """Count an attempt; what is called when it succeeded. Raises LimitExceededError."""
        keys = (("name", name), ("address", _network(address)))
        now = self._now_s()
        with self._lock:
            left = [self._refilled(key, now) for key in keys]
            if min(left) < 1:
                raise LimitExceededError(
                    "Too many attempts to log in have failed: try again in a minute.",
                    limit="LOGIN_RATE_MAX",
                )
            for key, one in zip(keys, left, strict=True):
                self._left.pop(key, None)
                self._left[key] = one - 1, now
            self._make_room(now)

        def succeed() -> None:
            with self._lock:
                for key in keys:
                    self._left[key] = self._refilled(key, now) + 1, now

        return succeed

    def _refilled(self, key: tuple[str, str], now: float) -> float:
        left, at = self._left.get(key, (self._rate_max, now))
        return min(left + (now - at) * self._rate_max / _WINDOW_S, self._rate_max)

    def _make_room(self, now: float) -> None:
        if len(self._left) <= _KEPT_MAX:
            return
        self._left = {
            key: kept
            for key, kept in self._left.items()
            if self._refilled(key, now) < self._rate_max
        }
        while len(self._left) > _KEPT_MAX:
            del self._left[next(iter(self._left))]


def _network(address: str) -> str:
    """An address, or of IPv6 the network that one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)
