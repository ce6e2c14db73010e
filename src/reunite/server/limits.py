"""The limits of one server process, by name. Those of a single request are in `protocol.limits`.

What is over `REQUESTS_MAX` or `BODIES_BYTES_MAX` is answered 429 with Retry-After: it may come
again. The memory that requests hold is at most `BODIES_BYTES_MAX`, and `BODY_BYTES_MAX` for each
of `WORKERS_MAX` while it is decompressed, before what a use case needs itself.
"""

from __future__ import annotations

import msgspec

from reunite.protocol.limits import BODY_BYTES_MAX, BODY_DEPTH_MAX

# Use cases that run at the same time, each in a thread of its own. Others wait for their turn.
WORKERS_MAX = 8

# Requests under way, those that wait for a worker or for their body included.
REQUESTS_MAX = 512

# Bytes of bodies held by all requests under way.
BODIES_BYTES_MAX = 256 * 1024 * 1024

# Seconds in which nothing of a body arrives before the request is given up (408).
BODY_IDLE_S_MAX = 30

# Live streams of one server process. Replicas that come later pull, and try again (429).
STREAMS_MAX = 5_000

# Seconds after which a stream that had nothing to say gives a sign of life.
HEARTBEAT_S = 15


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that one application enforces; `hub.asgi(requests_max=50)` sets one of them."""

    body_bytes_max: int = BODY_BYTES_MAX
    body_depth_max: int = BODY_DEPTH_MAX
    workers_max: int = WORKERS_MAX
    requests_max: int = REQUESTS_MAX
    bodies_bytes_max: int = BODIES_BYTES_MAX
    body_idle_s_max: int = BODY_IDLE_S_MAX
    streams_max: int = STREAMS_MAX
    heartbeat_s: int = HEARTBEAT_S
