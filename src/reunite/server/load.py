"""What a server does at a time, in all and for each principal.

    place()              a request has come: counted for the server
    place.admit(who)     it is known whose it is: counted for them too
    place.hold(bytes)    it has so much in memory, of its body or its answer
    place.close()        its answer has been written

The rule         a place is closed when its answer has left, not when it is ready: who reads slowly
                 takes from their own share, and nobody can take all of the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from reunite.core.principal import Principal, tenant_text
from reunite.errors import LimitExceededError
from reunite.server.limits import ServerLimits

# Shares of principals of whom nothing is under way are looked through when there are more.
_SHARES_KEPT = 10_000


class Share:
    """What one principal has of the server just now."""

    __slots__ = ("allowance", "at", "held", "requests", "streams")

    def __init__(self, allowance: float, at: float) -> None:
        self.requests = 0
        self.held = 0
        self.streams = 0
        self.allowance = allowance
        self.at = at


class Load:
    """What all requests of an application hold together. Threads may share it."""

    def __init__(
        self, limits: ServerLimits, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._now_s = now_s
        self._lock = threading.Lock()
        self._shares: dict[tuple[str, str], Share] = {}
        self.requests = 0
        self.held = 0

    def place(self) -> Place:
        """A place for one request. Raises LimitExceededError when the server has too much to do."""
        with self._lock:
            if self.requests >= self._limits.requests_max:
                raise LimitExceededError(
                    f"The hub has {self.requests} requests to answer: try again shortly.",
                    limit="REQUESTS_MAX",
                )
            self.requests += 1
        return Place(self)

    def open_stream(self, principal: Principal) -> Callable[[], None]:
        """Count a stream of this principal; what is called when it has ended. Raises
        LimitExceededError."""
        share = self._share(principal)
        with self._lock:
            if share.streams >= self._limits.principal_streams_max:
                raise LimitExceededError(
                    f"You have {share.streams} live streams here: pull, and try again later.",
                    limit="PRINCIPAL_STREAMS_MAX",
                )
            share.streams += 1

        def end() -> None:
            nonlocal share
            with self._lock:
                share.streams -= 1
            share = Share(0, 0)  # called again, it ends nothing more

        return end

    def _share(self, principal: Principal) -> Share:
        key = principal.user, tenant_text(principal)
        with self._lock:
            share = self._shares.get(key)
            if share is None:
                if len(self._shares) >= _SHARES_KEPT:
                    self._forget_idle()
                share = Share(self._limits.principal_burst_max, self._now_s())
                self._shares[key] = share
            return share

    def _forget_idle(self) -> None:
        """Those who have nothing under way and may ask as much as anybody new."""
        now = self._now_s()
        self._shares = {
            key: share
            for key, share in self._shares.items()
            if share.requests or share.streams or self._refilled(share, now) < self._burst
        }

    @property
    def _burst(self) -> float:
        return self._limits.principal_burst_max

    def _refilled(self, share: Share, now: float) -> float:
        grown = share.allowance + (now - share.at) * self._limits.principal_rate_max
        return min(grown, self._burst)

    # -- called by places ---------------------------------------------------------------------

    def admit(self, principal: Principal, held: int) -> Share:
        """Count a request, which holds so many bytes, for its principal."""
        share, limits = self._share(principal), self._limits
        with self._lock:
            if share.requests >= limits.principal_requests_max:
                raise LimitExceededError(
                    f"You have {share.requests} requests under way here: wait for their answers.",
                    limit="PRINCIPAL_REQUESTS_MAX",
                )
            self._check_held(share, held)
            now = self._now_s()
            share.allowance, share.at = self._refilled(share, now), now
            if share.allowance < 1:
                raise LimitExceededError(
                    f"More than {limits.principal_rate_max} requests a second are too many for "
                    "long: try again shortly.",
                    limit="PRINCIPAL_RATE_MAX",
                )
            share.allowance -= 1
            share.requests += 1
            share.held += held
        return share

    def hold(self, share: Share | None, size: int) -> None:
        """Count bytes in memory."""
        with self._lock:
            if self.held + size > self._limits.bodies_bytes_max:
                raise LimitExceededError(
                    "The hub reads and writes too much at a time: try again shortly.",
                    limit="BODIES_BYTES_MAX",
                )
            if share is not None:
                self._check_held(share, size)
                share.held += size
            self.held += size

    def _check_held(self, share: Share, size: int) -> None:
        if share.held + size > self._limits.principal_bytes_max:
            raise LimitExceededError(
                "You send or fetch too much at a time: wait for the answers under way.",
                limit="PRINCIPAL_BYTES_MAX",
            )

    def release(self, share: Share | None, held: int) -> None:
        """A place is closed."""
        with self._lock:
            self.requests -= 1
            self.held -= held
            if share is not None:
                share.requests -= 1
                share.held -= held


class Place:
    """A request's place on the server; `with` closes it, as `close` does."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._share: Share | None = None
        self._held = 0
        self._is_closed = False

    def admit(self, principal: Principal) -> None:
        """The request is this principal's. Raises LimitExceededError if they have too much under
        way, or come too often."""
        if self._share is None:
            self._share = self._load.admit(principal, self._held)

    def hold(self, size: int) -> None:
        """The request has so many more bytes in memory. Raises LimitExceededError."""
        self._load.hold(self._share, size)
        self._held += size

    def close(self) -> None:
        """Give the place to others. May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self._load.release(self._share, self._held)

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
